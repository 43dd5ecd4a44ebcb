//! Protocol Buffers on the wire, as much as CRIU's requests and answers take: whole numbers, strings and
//! messages in messages (<https://protobuf.dev/programming-guides/encoding>).

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `int32`, `uint32`, `bool` or an enum.
    Number(u64),
    /// `string` or a message.
    Bytes(&'a [u8]),
}

/// Wire types.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// The seven lowest bits.
fn low(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low & 0x7f
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push(low(value) | 0x80);
            value >>= 7;
        }
        self.bytes.push(low(value));
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    /// A field with a whole number; a negative one takes ten bytes.
    pub(crate) fn number(&mut self, field: u32, value: i64) {
        self.key(field, VARINT);
        self.varint(value.cast_unsigned());
    }

    /// A field with a string.
    pub(crate) fn text(&mut self, field: u32, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A field with a message.
    pub(crate) fn message(&mut self, field: u32, value: &Self) {
        self.text(field, &value.bytes);
    }

    /// What goes over the wire.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The fields of a message, in their order; none if it is not well-formed. What is of no type that CRIU
/// uses is passed over.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).ok()?;
        match key & 7 {
            VARINT => all.push((field, Value::Number(take_varint(&mut bytes)?))),
            LENGTH => {
                let len = usize::try_from(take_varint(&mut bytes)?).ok()?;
                all.push((field, Value::Bytes(take(&mut bytes, len)?)));
            }
            EIGHT_BYTES => drop(take(&mut bytes, 8)?),
            FOUR_BYTES => drop(take(&mut bytes, 4)?),
            _ => return None,
        }
    }
    Some(all)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_encoding_guide_shows() {
        let mut message = Message::default();
        message.number(1, 150);
        assert_eq!(message.as_bytes(), [0x08, 0x96, 0x01]);
        let mut message = Message::default();
        message.text(2, "testing");
        assert_eq!(message.as_bytes(), b"\x12\x07testing");
        let mut inner = Message::default();
        inner.number(1, 150);
        let mut message = Message::default();
        message.message(3, &inner);
        assert_eq!(message.as_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = Message::default();
        message.number(1, -2);
        message.text(63, "x");
        message.number(34, 0);
        let want = [
            (1, Value::Number((-2_i64).cast_unsigned())),
            (63, Value::Bytes(b"x")),
            (34, Value::Number(0)),
        ];
        assert_eq!(fields(message.as_bytes()).unwrap(), want);
    }

    #[test]
    fn a_message_cut_short_or_with_an_endless_number_is_none() {
        let mut message = Message::default();
        message.text(2, "testing");
        message.number(300, 1 << 40);
        let bytes = message.as_bytes();
        for len in [1, 2, 5, 10, bytes.len() - 1] {
            assert_eq!(fields(&bytes[..len]), None, "{len}");
        }
        assert_eq!(fields(&[0x08; 1]), None);
        assert_eq!(fields(&[0xff; 32]), None);
        assert_eq!(fields(&[0x0b]), None);
        // Twelve bytes of a type that is passed over, and one that is not there.
        assert_eq!(fields(b"\x09abcdefgh").unwrap(), []);
        assert_eq!(fields(b"\x0dabc"), None);
    }
}
