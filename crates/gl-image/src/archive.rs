//! Tar archives as a stream of entries: ustar, GNU long names and sparse files, pax records.
//!
//! Which bytes are headers is decided as Go's `archive/tar` decides it, which the engines that made the
//! images use, so that no archive has one content for them and another one here.

use std::io::{self, Read};

use tar::Header;

use crate::error::Fault;

const BLOCK: usize = 512;
/// Bytes of one long name or set of pax records.
const MAX_EXTENSION: u64 = 1 << 20;
/// Parts of one sparse file.
const MAX_PARTS: usize = 64 << 10;

/// A source of bytes that can pass some over.
pub(crate) trait Stream: Read {
    /// Passes over bytes; `UnexpectedEof` if there are not as many.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// A file with holes: offsets and lengths of what is not a hole, in order.
    Sparse(Vec<(u64, u64)>),
    Directory,
    Symlink,
    Hardlink,
    Fifo,
    Char,
    Block,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// The lowest twelve bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Bytes of the file, holes counted.
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the entries of an archive. It is also the reader of the current entry's data.
pub(crate) struct Archive<S> {
    source: S,
    /// Data of the current entry that was not read yet, and the padding after it.
    left: u64,
    padding: u64,
}

impl<S: Stream> Archive<S> {
    pub(crate) fn new(source: S) -> Self {
        Self {
            source,
            left: 0,
            padding: 0,
        }
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    pub(crate) fn into_source(self) -> S {
        self.source
    }

    /// Goes on to the next entry; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let mut extras = Extras::default();
        loop {
            let block = match self.header()? {
                Some(block) => block,
                None if extras == Extras::default() => return Ok(None),
                None => return Err(Fault::Truncated),
            };
            let header = Header::from_byte_slice(&block);
            let size = field(&header.as_old().size, "size")?;
            self.data(size);
            match header.as_old().linkflag[0] {
                b'L' => extras.name = Some(cut(self.extension(size)?)),
                b'K' => extras.link = Some(cut(self.extension(size)?)),
                b'x' => extras.read_pax(&self.extension(size)?)?,
                // Global records: comments of git and the like. No engine gives them a meaning.
                b'g' => {}
                _ => return self.entry(header, extras, size).map(Some),
            }
        }
    }

    fn data(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Reads the next header; `None` at the end.
    fn header(&mut self) -> Result<Option<[u8; 512]>, Fault> {
        let rest = self.left.checked_add(self.padding);
        let rest = rest.ok_or(Fault::Header { what: "size" })?;
        (self.left, self.padding) = (0, 0);
        let skipped = self.source.skip(rest);
        skipped.map_err(Fault::call("unpack it"))?;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; 512] {
            // The end is two such blocks; many writers leave the second one out, but nothing follows.
            return match self.block()? {
                Some(block) if block != [0; 512] => Err(Fault::Header { what: "end" }),
                _ => Ok(None),
            };
        }
        let sum = |as_byte: fn(u8) -> i64| -> i64 {
            let spaces = 8 * i64::from(b' ');
            let before = block[..148].iter();
            spaces
                + before
                    .chain(&block[156..])
                    .map(|b| as_byte(*b))
                    .sum::<i64>()
        };
        let stored = number(&block[148..156]);
        // Old writers summed signed bytes.
        if stored != Some(sum(i64::from)) && stored != Some(sum(|b| i64::from(b.cast_signed()))) {
            return Err(Fault::Header { what: "checksum" });
        }
        Ok(Some(block))
    }

    /// Reads 512 bytes; `None` if there is not one more.
    fn block(&mut self) -> Result<Option<[u8; 512]>, Fault> {
        let mut block = [0; BLOCK];
        let mut read = 0;
        while read < block.len() {
            match self.source.read(&mut block[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => return Err(Fault::Truncated),
                Ok(count) => read += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::from_io("unpack it", err)),
            }
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > MAX_EXTENSION {
            let (of, limit) = ("bytes in one extended header", MAX_EXTENSION);
            return Err(Fault::Limit { of, limit });
        }
        let mut bytes = Vec::new();
        let read = self.read_to_end(&mut bytes);
        read.map_err(Fault::call("unpack it"))?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header, extras: Extras, size: u64) -> Result<Entry, Fault> {
        let old = header.as_old();
        let name = extras
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extras.link.unwrap_or_else(|| cut(old.linkname.to_vec()));
        let stored = extras.size.unwrap_or(size);
        let (mut kind, has_data) = match old.linkflag[0] {
            // Before POSIX a directory was a file whose name ends with a slash.
            0 if name.ends_with(b"/") => (Kind::Directory, true),
            b'0' | 0 | b'7' => (Kind::File, true),
            b'S' => (Kind::Sparse(Vec::new()), true),
            b'1' => (Kind::Hardlink, false),
            b'2' => (Kind::Symlink, false),
            b'3' => (Kind::Char, false),
            b'4' => (Kind::Block, false),
            b'5' => (Kind::Directory, false),
            b'6' => (Kind::Fifo, false),
            other => {
                let kind = char::from(other);
                return Err(Fault::Kind { kind });
            }
        };
        if extras.sparse {
            return Err(Fault::Kind { kind: 'S' });
        }
        self.data(if has_data { stored } else { 0 });
        let mut size = stored;
        if let Kind::Sparse(parts) = &mut kind {
            (*parts, size) = self.parts(header)?;
        }
        let id = |from_pax: Option<u64>, bytes: &[u8], what| {
            let id = from_pax.map_or_else(|| field(bytes, what), Ok)?;
            let small = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            small.ok_or(Fault::Id { id })
        };
        let seconds = number(&old.mtime).ok_or(Fault::Header { what: "mtime" })?;
        let number_of = |bytes: Option<[u8; 8]>, what| {
            let value = bytes.map_or(Ok(0), |bytes| field(&bytes, what))?;
            u32::try_from(value).map_err(|_large| Fault::Header { what })
        };
        let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
            (Some(ustar), _) => (Some(ustar.dev_major), Some(ustar.dev_minor)),
            (_, Some(gnu)) => (Some(gnu.dev_major), Some(gnu.dev_minor)),
            _ => (None, None),
        };
        let mode = field(&old.mode, "mode")? & 0o7777;
        Ok(Entry {
            mode: u32::try_from(mode).unwrap_or_default(),
            uid: id(extras.uid, &old.uid, "uid")?,
            gid: id(extras.gid, &old.gid, "gid")?,
            mtime: extras.mtime.unwrap_or((seconds, 0)),
            device: match kind {
                Kind::Char | Kind::Block => (
                    number_of(major, "major number")?,
                    number_of(minor, "minor number")?,
                ),
                _ => (0, 0),
            },
            xattrs: extras.xattrs,
            name,
            link,
            kind,
            size,
        })
    }

    /// Reads where the parts of a sparse file of GNU's old form go, and how large it is.
    fn parts(&mut self, header: &Header) -> Result<(Vec<(u64, u64)>, u64), Fault> {
        const BROKEN: Fault = Fault::Header { what: "sparse map" };
        let gnu = header.as_gnu().ok_or(BROKEN)?;
        let size = field(&gnu.realsize, "real size")?;
        let (mut parts, mut end, mut stored) = (Vec::new(), 0u64, 0u64);
        let mut add = |offset: &[u8], len: &[u8]| {
            if offset[0] == 0 || len[0] == 0 {
                return Ok(());
            }
            let (offset, len) = (field(offset, "sparse map")?, field(len, "sparse map")?);
            if offset < end || parts.len() == MAX_PARTS {
                return Err(BROKEN);
            }
            end = offset.checked_add(len).ok_or(BROKEN)?;
            stored = stored.checked_add(len).ok_or(BROKEN)?;
            parts.push((offset, len));
            Ok(())
        };
        for part in &gnu.sparse {
            add(&part.offset, &part.numbytes)?;
        }
        let mut more = gnu.isextended[0] == 1;
        while more {
            let mut block = [0; BLOCK];
            let read = self.source.read_exact(&mut block);
            read.map_err(Fault::call("unpack it"))?;
            for part in block[..504].as_chunks::<24>().0 {
                add(&part[..12], &part[12..])?;
            }
            more = block[504] == 1;
        }
        if stored != self.left || end > size {
            return Err(BROKEN);
        }
        Ok((parts, size))
    }
}

impl<S: Stream> Read for Archive<S> {
    /// Reads data of the current entry.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.source.read(&mut buf[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// What stood before an entry's header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extras {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
}

impl Extras {
    /// Reads pax records: length, space, key, `=`, value, newline. A value may hold any byte.
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), Fault> {
        const BROKEN: Fault = Fault::Header { what: "pax record" };
        while !records.is_empty() {
            let space = records.iter().position(|b| *b == b' ').ok_or(BROKEN)?;
            let len = std::str::from_utf8(&records[..space]).ok();
            let len: usize = len.and_then(|len| len.parse().ok()).ok_or(BROKEN)?;
            let record = records.get(space + 1..len).ok_or(BROKEN)?;
            let record = record.strip_suffix(b"\n").ok_or(BROKEN)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or(BROKEN)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[len..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let number = |what| {
            let text = std::str::from_utf8(value).ok();
            let number = text.and_then(|text| text.parse::<u64>().ok());
            number.ok_or(Fault::Header { what })
        };
        match key {
            // An empty value takes a record back.
            b"path" => self.name = (!value.is_empty()).then(|| value.to_vec()),
            b"linkpath" => self.link = (!value.is_empty()).then(|| value.to_vec()),
            b"size" => self.size = Some(number("size")?),
            b"uid" => self.uid = Some(number("uid")?),
            b"gid" => self.gid = Some(number("gid")?),
            b"mtime" => self.mtime = Some(time(value).ok_or(Fault::Header { what: "mtime" })?),
            key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(other, _)| other != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Seconds with a fraction, as pax writes times.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

/// A number that cannot be negative.
fn field(bytes: &[u8], what: &'static str) -> Result<u64, Fault> {
    let value = number(bytes).and_then(|value| u64::try_from(value).ok());
    value.ok_or(Fault::Header { what })
}

/// A number in octal digits, or in two's complement if the first bit is set. No digits are 0.
fn number(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        // The second bit is the sign.
        let negative = first & 0x40 != 0;
        let start = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
        let shift = |value: i128, byte: &u8| value.checked_mul(256)?.checked_add(i128::from(*byte));
        let value = rest.iter().try_fold(start, shift)?;
        return i64::try_from(value).ok();
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_matches([' ', '\0']);
    // Some writers leave bytes of an older, longer value behind the zero byte.
    let text = text.split_once(['\0', ' ']).map_or(text, |(text, _)| text);
    if text.is_empty() {
        return Some(0);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    i64::from_str_radix(text, 8).ok()
}

/// A text up to its first zero byte.
fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    bytes
}

#[cfg(test)]
mod tests;
