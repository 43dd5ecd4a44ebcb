//! D-Bus messages as bytes: what a caller of systemd needs, and no more.
//!
//! D-Bus Specification, "Type System" and "Message Protocol". Every value is aligned to its size from
//! the start of the message; bodies start aligned to 8, so they are built and read on their own. All
//! is little-endian, as every machine that greenlang runs on is, and so its bus.

/// Bytes of the part of a header that has always the same size.
pub(crate) const FIXED: usize = 16;

/// Longer messages than this are no answer of systemd to anything that is asked here.
const MAX_BYTES: usize = 16 << 20;

const CALL: u8 = 1;
const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;

/// Codes of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// What kind of message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reply,
    Error,
    Signal,
    /// A call to us, or something newer.
    Other,
}

/// Values written one after the other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u32(value.into());
    }

    /// A string or an object path. One with a zero byte in it ends there: it has been refused before.
    pub(crate) fn string(&mut self, value: &str) {
        self.u32(length(value.len()));
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    pub(crate) fn signature(&mut self, value: &str) {
        self.byte(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    /// An array whose elements are aligned to `to`: its length does not count the first padding.
    pub(crate) fn array(&mut self, to: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.bytes.len();
        self.align(to);
        let first = self.bytes.len();
        elements(self);
        let len = length(self.bytes.len() - first).to_le_bytes();
        self.bytes[at - 4..at].copy_from_slice(&len);
    }
}

/// No message is that long.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A method to call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// None on a connection without a bus.
    pub(crate) destination: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) signature: &'a str,
    pub(crate) body: &'a Writer,
}

impl Call<'_> {
    /// The whole message.
    pub(crate) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut out = Writer::default();
        for byte in [LITTLE_ENDIAN, CALL, 0, VERSION] {
            out.byte(byte);
        }
        out.u32(length(self.body.bytes.len()));
        out.u32(serial);
        out.array(8, |out| {
            let mut text = |code, signature: &str, value: &str| {
                out.align(8);
                out.byte(code);
                out.signature(signature);
                match signature {
                    "g" => out.signature(value),
                    _ => out.string(value),
                }
            };
            text(field::PATH, "o", self.path);
            text(field::INTERFACE, "s", self.interface);
            text(field::MEMBER, "s", self.member);
            if let Some(destination) = self.destination {
                text(field::DESTINATION, "s", destination);
            }
            if !self.signature.is_empty() {
                text(field::SIGNATURE, "g", self.signature);
            }
        });
        out.align(8);
        out.bytes.extend(&self.body.bytes);
        out.bytes
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Of the call that it answers; 0 for none.
    pub(crate) reply_to: u32,
    pub(crate) interface: String,
    pub(crate) member: String,
    /// The name of the error.
    pub(crate) error: String,
    pub(crate) signature: String,
    body: Vec<u8>,
}

impl Message {
    /// How long the message is that begins with these bytes, at least [`FIXED`].
    pub(crate) fn length(start: &[u8]) -> Result<usize, &'static str> {
        let mut reader = Reader::new(start);
        if reader.byte()? != LITTLE_ENDIAN {
            return Err("it does not speak little-endian D-Bus");
        }
        reader.at = 4;
        let body = reader.usize()?;
        reader.at = 12;
        let fields = reader.usize()?;
        let len = FIXED
            .checked_add(fields)
            .and_then(|head| head.checked_next_multiple_of(8)?.checked_add(body));
        len.filter(|len| *len <= MAX_BYTES)
            .ok_or("a message is too long")
    }

    /// Reads a whole message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let body_len = Reader { bytes, at: 4 }.usize()?;
        let mut message = Self {
            kind: match bytes.get(1) {
                Some(2) => Kind::Reply,
                Some(3) => Kind::Error,
                Some(4) => Kind::Signal,
                _ => Kind::Other,
            },
            reply_to: 0,
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            signature: String::new(),
            body: Vec::new(),
        };
        let mut reader = Reader { bytes, at: 12 };
        let end = reader.usize()?.checked_add(FIXED).ok_or(SHORT)?;
        while reader.at < end {
            message.read_field(&mut reader)?;
        }
        let start = bytes.len().checked_sub(body_len).ok_or(SHORT)?;
        if start < end {
            return Err(SHORT);
        }
        message.body = bytes[start..].to_vec();
        Ok(message)
    }

    fn read_field(&mut self, reader: &mut Reader<'_>) -> Result<(), &'static str> {
        reader.align(8);
        let code = reader.byte()?;
        let signature = reader.signature()?;
        match (code, signature.as_str()) {
            (field::INTERFACE, "s") => self.interface = reader.string()?,
            (field::MEMBER, "s") => self.member = reader.string()?,
            (field::ERROR_NAME, "s") => self.error = reader.string()?,
            (field::REPLY_SERIAL, "u") => self.reply_to = reader.u32()?,
            (field::SIGNATURE, "g") => self.signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.string()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return Err("a header field has an unknown type"),
        }
        Ok(())
    }

    /// The values of the body, from the first.
    pub(crate) fn body(&self) -> Reader<'_> {
        Reader::new(&self.body)
    }
}

const SHORT: &str = "a message ends too early";

/// Values read one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(len).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, &'static str> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_err| SHORT)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn usize(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.u32()?).map_err(|_err| SHORT)
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Result<String, &'static str> {
        let len = self.usize()?;
        self.text(len)
    }

    fn signature(&mut self) -> Result<String, &'static str> {
        let len = self.byte()?;
        self.text(len.into())
    }

    fn text(&mut self, len: usize) -> Result<String, &'static str> {
        let text = self.take(len)?.to_vec();
        self.byte()?;
        String::from_utf8(text).map_err(|_err| "a string is not UTF-8")
    }

    /// A string in a variant.
    pub(crate) fn variant_string(&mut self) -> Result<String, &'static str> {
        match self.signature()?.as_str() {
            "s" | "o" => self.string(),
            _ => Err("a property is not a string"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Writer {
        let mut body = Writer::default();
        body.string(text);
        body
    }

    /// As `busctl --xml` and the specification have it, byte by byte.
    #[test]
    fn a_call_is_written_as_the_specification_says() {
        let body = body("ab");
        let call = Call {
            destination: Some("d.e"),
            path: "/p",
            interface: "i.f",
            member: "Mem",
            signature: "s",
            body: &body,
        };
        let want: Vec<u8> = [
            &b"l\x01\0\x01\x07\0\0\0\x05\0\0\0\x4f\0\0\0"[..],
            b"\x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0",
            b"\x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0",
            b"\x03\x01s\0\x03\0\0\0Mem\0\0\0\0\0",
            b"\x06\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\x02\0\0\0ab\0",
        ]
        .concat();
        let mut want = want;
        // The array of fields ends with the signature, before the padding.
        want[12] = u8::try_from(16 + 16 + 16 + 16 + 7).unwrap();
        assert_eq!(call.encode(5), want);
    }

    #[test]
    fn arrays_of_structs_are_padded_before_their_first_element() {
        let mut out = Writer::default();
        out.array(8, |out| {
            out.align(8);
            out.string("k");
            out.u64(7);
        });
        assert_eq!(
            out.bytes(),
            b"\x10\0\0\0\0\0\0\0\x01\0\0\0k\0\0\0\x07\0\0\0\0\0\0\0"
        );
        let mut empty = Writer::default();
        empty.array(8, |_| {});
        assert_eq!(empty.bytes(), b"\0\0\0\0\0\0\0\0");
    }

    /// A signal as the bus sends it: with a sender, which is not kept.
    fn signal() -> Vec<u8> {
        let mut out = Writer::default();
        for byte in [b'l', 4, 1, 1] {
            out.byte(byte);
        }
        let mut body = Writer::default();
        body.u32(3);
        body.string("/job/3");
        body.string("x.scope");
        body.string("done");
        out.u32(length(body.bytes.len()));
        out.u32(9);
        out.array(8, |out| {
            let texts = [
                (1, "o", "/p"),
                (2, "s", "i.f"),
                (3, "s", "JobRemoved"),
                (7, "s", ":1.2"),
            ];
            for (code, signature, text) in texts {
                out.align(8);
                out.byte(code);
                out.signature(signature);
                out.string(text);
            }
            out.align(8);
            out.byte(8);
            out.signature("g");
            out.signature("uoss");
        });
        out.align(8);
        out.bytes.extend(body.bytes());
        out.bytes
    }

    #[test]
    fn a_signal_is_read_with_its_values() {
        let bytes = signal();
        assert_eq!(Message::length(&bytes[..FIXED]), Ok(bytes.len()));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.kind, Kind::Signal);
        assert_eq!(message.interface, "i.f");
        assert_eq!(message.member, "JobRemoved");
        assert_eq!(message.signature, "uoss");
        let mut body = message.body();
        assert_eq!(body.u32(), Ok(3));
        assert_eq!(body.string().unwrap(), "/job/3");
        assert_eq!(body.string().unwrap(), "x.scope");
        assert_eq!(body.string().unwrap(), "done");
        assert_eq!(body.string(), Err(SHORT));
    }

    #[test]
    fn a_message_that_is_cut_off_or_wrong_is_an_error_at_every_length() {
        let bytes = signal();
        for len in FIXED..bytes.len() {
            // The body is taken from the end, so what matters is that nothing panics and that no
            // shorter one is taken for the whole.
            let read = Message::decode(&bytes[..len]);
            let same = read.is_ok_and(|message| message == Message::decode(&bytes).unwrap());
            assert!(!same, "{len} bytes");
        }
        assert_eq!(
            Message::length(b"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            Err("it does not speak little-endian D-Bus")
        );
        assert_eq!(
            Message::length(b"l\x04\x01\x01\xff\xff\xff\xff\x09\0\0\0\xff\xff\xff\xff"),
            Err("a message is too long")
        );
    }

    #[test]
    fn a_variant_of_another_type_is_refused() {
        let mut out = Writer::default();
        out.signature("u");
        out.u32(1);
        let read = Reader::new(out.bytes()).variant_string();
        assert_eq!(read, Err("a property is not a string"));
    }
}
