//! Messages of the system bus, as our own client reads them.

use crate::wire::{FIXED, Message, Reader};

/// What came from the bus.
pub fn bus(data: &[u8]) {
    if let Some(header) = data.get(..FIXED)
        && let Ok(length) = Message::length(header)
    {
        assert!(length >= FIXED, "a message of {length} bytes");
    }
    if data.len() >= FIXED
        && let Ok(message) = Message::decode(data)
    {
        values(message.body());
    }
    values(Reader::new(data));
}

fn values(reader: Reader<'_>) {
    let mut strings = reader.clone();
    while strings.string().is_ok() {}
    let mut numbers = reader.clone();
    while numbers.u32().is_ok() {}
    let mut variants = reader;
    while variants.variant_string().is_ok() {}
}
