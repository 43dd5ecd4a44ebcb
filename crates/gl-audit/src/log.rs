//! A log in a file.
//!
//! Every entry is one `write` to a file opened with `O_APPEND`, under an exclusive `flock` that is held
//! while the last line is read: any number of writers make one chain. What a write that failed has left is
//! cut off again. A file that log rotation has renamed is left to itself: the new one begins with a
//! `rotated` entry on the hash that the old one ends with.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gl_spec::Timestamp;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::entry::{Entry, Event};
use crate::error::{Error, FileFault};
use crate::hash::Hash;
use crate::line::{MAX_LINE, torn, write};
use crate::tail::Tail;

/// When an entry counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once the kernel has it: it outlives the program, but perhaps not a loss of power.
    Kernel,
    /// Once the disk has it (`fdatasync` after each entry).
    Disk,
}

/// A log that entries are appended to.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: OwnedFd,
    durability: Durability,
}

/// A log that is replaced more often while one entry is written is an error.
const ATTEMPTS: usize = 16;

impl Log {
    /// Opens a log, making the file with mode 0600 if it is missing.
    ///
    /// The last component of the path is not followed if it is a link; the directories before it are the
    /// caller's choice.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if it cannot be opened, [`Error::Unsafe`] if it is no regular file, belongs to
    /// somebody else, or others may write to it.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path, OFlags::CREATE)?,
            durability,
        })
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an entry with the time of now, and returns its hash.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if it cannot be written: the file is then as it was. [`Error::LastLine`] if the
    /// log does not end as it was written, [`Error::TooLong`] for more than 1 MiB, and those of
    /// [`Log::open`] if the file was replaced.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<Hash, Error> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            lock(&self.file, FlockOperation::LockExclusive).map_err(|err| self.unread(err))?;
            let appended = if self.is_current()? {
                self.append_locked(entry, before).map(Some)
            } else {
                // Rotated: the chain goes on in the file that has the name now.
                before = self.last()?.or(before);
                Ok(None)
            };
            lock(&self.file, FlockOperation::Unlock).map_err(|err| self.unread(err))?;
            if let Some(hash) = appended? {
                return Ok(hash);
            }
            self.file = open(&self.path, OFlags::CREATE)?;
        }
        Err(Error::Replaced {
            path: self.path.clone(),
        })
    }

    fn unread(&self, source: io::Error) -> Error {
        Error::Read {
            path: self.path.clone(),
            source,
        }
    }

    /// Whether the open file is the one that has the name.
    fn is_current(&self) -> Result<bool, Error> {
        let failed = |errno: Errno| self.unread(errno.into());
        let ours = rustix::fs::fstat(&self.file).map_err(failed)?;
        match rustix::fs::lstat(&self.path) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The hash that the open file ends with, if it ends with a line.
    fn last(&self) -> Result<Option<Hash>, Error> {
        let (tail, _) = Tail::of(self.file.as_fd()).map_err(|err| self.unread(err))?;
        Ok(match tail {
            Tail::Line(hash) | Tail::Unended(hash) => Some(hash),
            Tail::Empty | Tail::Torn(..) | Tail::Broken => None,
        })
    }

    fn append_locked(&self, entry: &Entry<'_>, before: Option<Hash>) -> Result<Hash, Error> {
        let (tail, len) = Tail::of(self.file.as_fd()).map_err(|err| self.unread(err))?;
        let mut text = String::new();
        let prev = match tail {
            Tail::Line(hash) => hash,
            Tail::Unended(hash) => {
                text.push('\n');
                hash
            }
            Tail::Torn(hash, bytes) => {
                text.push('\n');
                self.own(Event::Torn, &torn(&bytes), hash, &mut text)
            }
            Tail::Empty => match before.or_else(|| self.last_of_rotated()) {
                Some(hash) => self.own(Event::Rotated, &Map::new(), hash, &mut text),
                None => Hash::NONE,
            },
            Tail::Broken => {
                return Err(Error::LastLine {
                    path: self.path.clone(),
                });
            }
        };
        let (line, hash) = write(entry, now(), prev);
        if line.len() > MAX_LINE {
            return Err(Error::TooLong {
                bytes: line.len(),
                limit: MAX_LINE,
            });
        }
        text.push_str(&line);
        self.write(text.as_bytes(), len)?;
        Ok(hash)
    }

    /// Adds an entry of the log's own.
    fn own(&self, event: Event, data: &Map<String, Value>, prev: Hash, text: &mut String) -> Hash {
        let entry = Entry {
            event,
            id: "",
            profile_hash: None,
            tier: "",
            mode: "",
            data,
        };
        let (line, hash) = write(&entry, now(), prev);
        text.push_str(&line);
        hash
    }

    /// The last hash of `PATH.1`, where log rotation has put the file before this one. Whatever is wrong
    /// with that file, a chain can begin anew.
    fn last_of_rotated(&self) -> Option<Hash> {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        let path = PathBuf::from(name);
        let file = open(&path, OFlags::empty()).ok()?;
        lock(&file, FlockOperation::LockShared).ok()?;
        let durability = self.durability;
        let log = Self {
            path,
            file,
            durability,
        };
        log.last().ok()?
    }

    fn write(&self, bytes: &[u8], len: u64) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Write {
            path: self.path.clone(),
            source,
        };
        if let Err(source) = write_all(self.file.as_fd(), bytes) {
            // What is left if this fails, too (a file that may only grow), the next writer tells.
            rustix::fs::ftruncate(&self.file, len).ok();
            return Err(failed(source));
        }
        match self.durability {
            Durability::Kernel => Ok(()),
            Durability::Disk => {
                rustix::fs::fdatasync(&self.file).map_err(|errno| failed(errno.into()))
            }
        }
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}

pub(crate) fn lock(file: &OwnedFd, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            locked => return Ok(locked?),
        }
    }
}

/// Opens a log for appending and checks that it is ours alone.
fn open(path: &Path, extra: OFlags) -> Result<OwnedFd, Error> {
    let unsafe_for = |fault| Error::Unsafe {
        path: path.to_owned(),
        fault,
    };
    // NONBLOCK: a pipe must not hold us up.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::CLOEXEC | extra;
    let file = rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR);
    let failed = |errno: Errno| Error::Open {
        path: path.to_owned(),
        source: errno.into(),
    };
    let file = file.map_err(|errno| match errno {
        Errno::LOOP => unsafe_for(FileFault::Link),
        Errno::ISDIR | Errno::NXIO => unsafe_for(FileFault::NotFile),
        errno => failed(errno),
    })?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    fault(&stat).map_or(Ok(file), |fault| Err(unsafe_for(fault)))
}

/// What is wrong with a file that is to be appended to.
fn fault(stat: &Stat) -> Option<FileFault> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some(FileFault::NotFile);
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Some(FileFault::Owner);
    }
    (stat.st_mode & 0o022 != 0).then_some(FileFault::Mode)
}
