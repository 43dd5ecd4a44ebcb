//! What a detached program writes: for each stream a row of files of bounded size.
//!
//! The worker reads the program's pipes. A file is called by its stream and by how many bytes were written
//! before it: `stdout.0`, `stdout.2097152`. With a new one the oldest goes, so that two are left: the newest
//! [`SEGMENT`] bytes are always there, and never more than twice as many. Whoever reads them knows from the
//! names how many bytes are missing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::Error;
use crate::home::Place;

/// Bytes of one file.
pub const SEGMENT: u64 = 2 << 20;
/// Files of one stream.
const FILES: usize = 2;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }

    fn file(self, offset: u64) -> String {
        format!("{}.{offset}", self.name())
    }

    /// The stream that a file of this name belongs to, and how many bytes were before it.
    pub(crate) fn of_file(name: &str) -> Option<(Self, u64)> {
        let (stream, offset) = name.split_once('.')?;
        let stream = [Self::Out, Self::Err]
            .into_iter()
            .find(|one| one.name() == stream)?;
        let number = offset.parse().ok()?;
        // One spelling for each.
        (stream.file(number) == name).then_some((stream, number))
    }

    /// The offsets of its files, ascending.
    fn offsets(self, dir: &Place) -> Result<Vec<u64>, Errno> {
        let mut all = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            let found = name.and_then(Self::of_file);
            all.extend(found.filter(|one| one.0 == self).map(|one| one.1));
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// One stream being written down.
#[derive(Debug)]
struct Writing {
    stream: Stream,
    dir: OwnedFd,
    /// None at its end.
    pipe: Option<OwnedFd>,
    file: Option<File>,
    /// The offsets of the files that are there, ascending.
    files: Vec<u64>,
    /// Bytes that have come so far.
    position: u64,
}

/// Both streams being written down.
#[derive(Debug)]
pub(crate) struct Logs([Writing; 2]);

impl Logs {
    /// Makes the files, and gives the ends that a program writes to.
    pub(crate) fn open(dir: &Place) -> Result<(Self, [OwnedFd; 2]), Error> {
        let (out, out_end) = Writing::open(Stream::Out, dir)?;
        let (err, err_end) = Writing::open(Stream::Err, dir)?;
        Ok((Self([out, err]), [out_end, err_end]))
    }

    /// What is waited for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.0.iter().filter_map(|one| one.pipe.as_ref());
        open.map(AsFd::as_fd)
    }

    /// The descriptor of this position is ready.
    pub(crate) fn ready(&mut self, position: usize) {
        let mut open = self.0.iter_mut().filter(|one| one.pipe.is_some());
        if let Some(one) = open.nth(position) {
            one.copy();
        }
    }

    /// Takes what is there after the program's end.
    pub(crate) fn drain(&mut self) {
        for one in &mut self.0 {
            while one.copy() {}
        }
    }
}

impl Writing {
    fn open(stream: Stream, dir: &Place) -> Result<(Self, OwnedFd), Error> {
        let failed = || Error::host("make a pipe");
        let (pipe, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed())?;
        rustix::io::ioctl_fionbio(&pipe, true).map_err(failed())?;
        let own = rustix::io::fcntl_dupfd_cloexec(dir, 3);
        let mut writing = Self {
            stream,
            dir: own.map_err(Error::file("open", dir.path()))?,
            pipe: Some(pipe),
            file: None,
            files: vec![0],
            position: 0,
        };
        let file = writing.make_file();
        writing.file = Some(file.map_err(Error::file("make", dir.path().join(stream.file(0))))?);
        Ok((writing, end))
    }

    /// Copies what is there once; whether there was something.
    fn copy(&mut self) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        let mut buffer = [0; 16_384];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(len @ 1..) => {
                self.take(buffer.get(..len).unwrap_or_default());
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    /// Writes these down. What a full disk does not take is lost, and seen to be: the program does not have to
    /// stand still for its logs.
    fn take(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        let begun = self.files.last().copied().unwrap_or(0);
        if self.file.is_some() && self.position + len > begun + SEGMENT {
            self.file = None;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes).is_ok(),
            None => self.take_into_new(bytes),
        };
        if !written {
            // The next file says by its name where it goes on.
            self.file = None;
        }
        self.position += len;
    }

    /// Begins a file, and removes the oldest once this one has something to say.
    fn take_into_new(&mut self, bytes: &[u8]) -> bool {
        let Ok(mut file) = self.make_file() else {
            return false;
        };
        let written = file.write_all(bytes).is_ok();
        if !written && file.metadata().is_ok_and(|meta| meta.len() == 0) {
            self.remove(self.position);
            return false;
        }
        self.file = Some(file);
        self.files.push(self.position);
        while self.files.len() > FILES {
            let oldest = self.files.remove(0);
            self.remove(oldest);
        }
        written
    }

    fn make_file(&self) -> Result<File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let name = self.stream.file(self.position);
        rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    fn remove(&self, offset: u64) {
        // One that cannot be removed goes with its directory.
        rustix::fs::unlinkat(&self.dir, self.stream.file(offset), AtFlags::empty()).ok();
    }
}

/// The next piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// As many bytes that are not kept any more.
    Lost(u64),
}

/// A stream that is read from its beginning, also while it is written.
#[derive(Debug)]
pub(crate) struct Reading {
    stream: Stream,
    /// The file, and how many bytes were before it.
    file: Option<(File, u64)>,
    position: u64,
}

impl Reading {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            file: None,
            position: 0,
        }
    }

    /// The next piece; none where there is no more for now.
    pub(crate) fn next(&mut self, dir: &Place) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(bytes) = self.rest(dir)? {
                return Ok(Some(Piece::Bytes(bytes)));
            }
            let offsets = self.stream.offsets(dir);
            let offsets = offsets.map_err(Error::file("read", dir.path()))?;
            let own = self.file.as_ref().map(|file| file.1);
            let mut newer = offsets
                .into_iter()
                .filter(|one| own.is_none_or(|own| own < *one));
            let Some(next) = newer.next() else {
                return Ok(None);
            };
            // There is a newer one, so ours is written to its end: this is what came since we looked.
            if let Some(bytes) = self.rest(dir)? {
                return Ok(Some(Piece::Bytes(bytes)));
            }
            let Some(file) = dir.file(&self.stream.file(next))? else {
                // Gone since; there is a newer one.
                continue;
            };
            self.file = Some((file.into(), next));
            let lost = next.saturating_sub(self.position);
            self.position = next;
            if lost > 0 {
                return Ok(Some(Piece::Lost(lost)));
            }
        }
    }

    fn rest(&mut self, dir: &Place) -> Result<Option<Vec<u8>>, Error> {
        let Some((file, offset)) = &mut self.file else {
            return Ok(None);
        };
        let mut buffer = vec![0; 65_536];
        let read = file.read(&mut buffer);
        let len = read.map_err(Error::io(
            "read",
            dir.path().join(self.stream.file(*offset)),
        ))?;
        buffer.truncate(len);
        self.position += len as u64;
        Ok((len > 0).then_some(buffer))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> (Self, Place) {
            let dir = std::env::temp_dir().join(format!("gl-logs-{name}-{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            let place = Place::open(&dir).unwrap().unwrap();
            (Self(dir), place)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn all(reading: &mut Reading, dir: &Place) -> (u64, Vec<u8>) {
        let (mut lost, mut bytes) = (0, Vec::new());
        while let Some(piece) = reading.next(dir).unwrap() {
            match piece {
                Piece::Lost(more) => lost += more,
                Piece::Bytes(more) => bytes.extend(more),
            }
        }
        (lost, bytes)
    }

    #[test]
    fn names_of_files_are_read_in_one_spelling() {
        for (name, want) in [
            ("stdout.0", Some((Stream::Out, 0))),
            ("stderr.2097152", Some((Stream::Err, 2_097_152))),
            ("stdout.00", None),
            ("stdout.+1", None),
            ("stdout", None),
            ("report.json", None),
        ] {
            assert_eq!(Stream::of_file(name), want, "{name}");
        }
    }

    #[test]
    fn newest_bytes_are_kept_and_the_rest_is_told() {
        let (_scratch, dir) = Scratch::new("bound");
        let (mut writing, _end) = Writing::open(Stream::Out, &dir).unwrap();
        let mut follower = Reading::new(Stream::Out);
        let chunk = |number: u64| vec![u8::try_from(number % 251).unwrap(); 16_384];
        let total = 5 * SEGMENT / 16_384;
        for number in 0..total {
            writing.take(&chunk(number));
            if number == 10 {
                assert_eq!(all(&mut follower, &dir).1.len(), 11 * 16_384);
            }
        }
        let (lost, bytes) = all(&mut Reading::new(Stream::Out), &dir);
        assert_eq!(lost + bytes.len() as u64, 5 * SEGMENT);
        assert_eq!(lost, 3 * SEGMENT, "of five files two are kept");
        for (index, piece) in bytes.chunks(16_384).enumerate() {
            let number = lost / 16_384 + index as u64;
            assert_eq!(piece, chunk(number), "chunk {number}");
        }
        // Who had stopped at the eleventh chunk learns how much was missed since: its file was still open.
        let (lost, bytes) = all(&mut follower, &dir);
        assert_eq!(lost, 2 * SEGMENT);
        assert_eq!(bytes.len() as u64, 3 * SEGMENT - 11 * 16_384);
    }

    #[test]
    fn reader_goes_on_where_the_writer_does() {
        let (_scratch, dir) = Scratch::new("follow");
        let (mut writing, end) = Writing::open(Stream::Err, &dir).unwrap();
        let mut reading = Reading::new(Stream::Err);
        assert_eq!(reading.next(&dir).unwrap(), None);
        for text in [&b"one\n"[..], b"two\n"] {
            rustix::io::write(&end, text).unwrap();
            assert!(writing.copy());
            assert_eq!(
                reading.next(&dir).unwrap(),
                Some(Piece::Bytes(text.to_vec()))
            );
            assert_eq!(reading.next(&dir).unwrap(), None);
        }
        drop(end);
        assert!(!writing.copy());
        assert!(writing.pipe.is_none());
    }

    #[test]
    fn bytes_that_could_not_be_written_are_told() {
        let (_scratch, dir) = Scratch::new("full");
        let (mut writing, _end) = Writing::open(Stream::Out, &dir).unwrap();
        writing.take(b"before");
        // As of a disk that is full: nothing can be written through this.
        writing.file = Some(File::open("/dev/null").unwrap());
        writing.take(b"gone");
        writing.take(b"after");
        let mut reading = Reading::new(Stream::Out);
        let mut pieces = Vec::new();
        while let Some(piece) = reading.next(&dir).unwrap() {
            pieces.push(piece);
        }
        let want = [
            Piece::Bytes(b"before".to_vec()),
            Piece::Lost(4),
            Piece::Bytes(b"after".to_vec()),
        ];
        assert_eq!(pieces, want);
    }
}
