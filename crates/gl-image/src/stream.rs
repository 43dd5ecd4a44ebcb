//! Bytes of an image on their way: parts of files, decompression, digests, limits, progress.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{Mode, OFlags};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest as _, Sha256};

use crate::archive::Stream;
use crate::digest::Digest;
use crate::error::Fault;

/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

/// How far an unpacking has come: bytes that were read of the image as it is stored. Each layer is read
/// twice, once to verify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read in all.
    pub total: u64,
}

/// Counts what is read, and tells somebody.
pub(crate) struct Meter<'m> {
    progress: Progress,
    tell: &'m mut dyn FnMut(Progress),
}

impl<'m> Meter<'m> {
    pub(crate) fn new(total: u64, tell: &'m mut dyn FnMut(Progress)) -> Self {
        let progress = Progress { done: 0, total };
        Self { progress, tell }
    }

    fn add(&mut self, bytes: usize) {
        self.progress.done += bytes as u64;
        (self.tell)(self.progress);
    }
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    file: Arc<File>,
    start: u64,
    len: u64,
    pos: u64,
}

impl Section {
    /// All of a file, as long as it is now.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            start: 0,
            len,
            pos: 0,
        })
    }

    /// The next `len` bytes, as a part of its own.
    pub(crate) fn next(&self, len: u64) -> Result<Self, Fault> {
        if len > self.len - self.pos {
            return Err(Fault::Truncated);
        }
        Ok(Self {
            file: Arc::clone(&self.file),
            start: self.start + self.pos,
            len,
            pos: 0,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The digest of the whole part.
    pub(crate) fn digest(&self, meter: &RefCell<Meter<'_>>) -> Result<Digest, Fault> {
        let mut source = Metered {
            inner: Self {
                pos: 0,
                ..self.clone()
            },
            meter,
        };
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => return Ok(Digest::finish(hash)),
                Ok(count) => hash.update(&chunk[..count]),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::from_io("read it", err)),
            }
        }
    }

    /// How the part is compressed, by its first bytes.
    pub(crate) fn form(&self) -> Result<Form, Fault> {
        let mut start = Vec::new();
        let head = Self {
            pos: 0,
            ..self.clone()
        };
        head.take(4)
            .read_to_end(&mut start)
            .map_err(Fault::call("read it"))?;
        Ok(match *start {
            [0x1f, 0x8b, ..] => Form::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Form::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Form::Zstd,
            _ => Form::Plain,
        })
    }
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.pos).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self
            .file
            .read_at(&mut buf[..wanted], self.start + self.pos)?;
        if count == 0 {
            // The file has become shorter.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pos += count as u64;
        Ok(count)
    }
}

impl Stream for Section {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.len - self.pos {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pos += bytes;
        Ok(())
    }
}

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Gzip,
    Zstd,
}

struct Metered<'a, 'm> {
    inner: Section,
    meter: &'a RefCell<Meter<'m>>,
}

impl Read for Metered<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.meter.borrow_mut().add(count);
        Ok(count)
    }
}

/// Opens a part for reading what it unpacks to.
pub(crate) fn unpacked<'a>(
    section: &Section,
    meter: &'a RefCell<Meter<'_>>,
) -> Result<Box<dyn Read + 'a>, Fault> {
    let form = section.form()?;
    let inner = Section {
        pos: 0,
        ..section.clone()
    };
    let source = BufReader::with_capacity(CHUNK, Metered { inner, meter });
    Ok(match form {
        Form::Plain => Box::new(source),
        Form::Gzip => Box::new(MultiGzDecoder::new(source)),
        Form::Zstd => Box::new(Frames::new(source)),
    })
}

/// Zstandard frames one after another, skippable ones passed over.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            within: false,
        }
    }

    /// Begins the next frame that holds something.
    fn begin(&mut self) -> io::Result<()> {
        let mut magic = [0; 4];
        self.source.read_exact(&mut magic)?;
        if !matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
            // The decoder wants to see the magic number itself.
            let frame = (&magic[..]).chain(&mut self.source);
            self.decoder.reset(frame).map_err(io::Error::other)?;
            self.within = true;
            return Ok(());
        }
        let mut len = [0; 4];
        self.source.read_exact(&mut len)?;
        let len = u64::from(u32::from_le_bytes(len));
        let passed = io::copy(&mut self.source.by_ref().take(len), &mut io::sink())?;
        if passed < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            if !self.within {
                self.begin()?;
                continue;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buf.len());
                let decoded = self.decoder.decode_blocks(&mut self.source, some);
                decoded.map_err(io::Error::other)?;
            }
            let count = Read::read(&mut self.decoder, buf)?;
            if count > 0 {
                return Ok(count);
            }
            self.within = false;
        }
    }
}

/// A layer unpacked: hashed as it is read, and cut off with an error where it grows too large.
pub(crate) struct Bounded<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
    bounds: Bounds,
}

/// Where a layer is cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes that the image may still unpack to, of how many in all.
    pub(crate) left: u64,
    pub(crate) limit: u64,
    /// Bytes beyond which this layer is taken for a bomb, and the factor that this comes from.
    pub(crate) bomb: u64,
    pub(crate) ratio: u64,
}

impl<R: Read> Bounded<R> {
    pub(crate) fn new(inner: R, bounds: Bounds) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
            bounds,
        }
    }

    /// Reads what is left, such as padding, and returns digest and size of all.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64), Fault> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.read(&mut chunk) {
                Ok(0) => return Ok((Digest::finish(self.hash), self.bytes)),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Fault::from_io("unpack it", err)),
            }
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hash.update(&buf[..count]);
        self.bytes += count as u64;
        let Bounds {
            left,
            limit,
            bomb,
            ratio,
        } = self.bounds;
        if self.bytes > bomb {
            return Err(io::Error::other(Fault::Bomb { ratio }));
        }
        if self.bytes > left {
            let of = "bytes unpacked";
            return Err(io::Error::other(Fault::Limit { of, limit }));
        }
        Ok(count)
    }
}

impl<R: Read> Stream for Bounded<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if io::copy(&mut self.take(bytes), &mut io::sink())? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Unpacks a compressed archive of images to a file without a name, so that its parts can be found.
pub(crate) fn spooled(section: &Section, bounds: Bounds) -> Result<Section, Fault> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let dir = std::env::temp_dir();
    let file = rustix::fs::open(&dir, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(file.map_err(Fault::call("make a temporary file"))?);
    let mut tell = |_| {};
    let meter = RefCell::new(Meter::new(section.len(), &mut tell));
    let mut source = Bounded::new(unpacked(section, &meter)?, bounds);
    let copied = io::copy(&mut source, &mut file);
    copied.map_err(Fault::call("unpack it to a temporary file"))?;
    Section::whole(file).map_err(Fault::call("read it"))
}

#[cfg(test)]
mod tests;
