//! Where the report of a run goes. Opened before anything runs, so that one that cannot be written keeps the program
//! from running.
//!
//! The process that writes it has none of our descriptors, and so opens it by its name again. The program may have
//! had a hand in that name, where it can write to the directory: only the file that was opened first is written
//! to, and none is made.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gl_sandbox::Report;
use rustix::fs::OFlags;

use super::text;
use crate::error::Error;
use crate::output;

/// Where it goes.
pub(super) enum Output {
    Nowhere,
    Text,
    Stdout,
    File(Target),
}

/// A file.
pub(super) struct Target {
    path: PathBuf,
    is: Identity,
    /// As long as it is open, no other file gets its number, and whoever reads a pipe hears no end of it before
    /// there was a report.
    _held: File,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl Output {
    pub(super) fn open(target: Option<&str>) -> Result<Self, Error> {
        Ok(match target {
            None => Self::Nowhere,
            Some("text") => Self::Text,
            Some("-") => Self::Stdout,
            Some(path) => Self::File(Target::open(Path::new(path))?),
        })
    }

    pub(super) fn write(&self, report: &Report) -> Result<(), Error> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Text => {
                output::note(&text::short(report));
                Ok(())
            }
            Self::Stdout => output::json(report),
            Self::File(target) => {
                let json = serde_json::to_vec_pretty(report);
                let json = json.map_err(|err| target.failed(err.into()))?;
                target.replace(&json)
            }
        }
    }
}

impl Target {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        Ok(Self {
            path: std::path::absolute(path).map_err(failed)?,
            is: Identity::of(&found),
            _held: file,
        })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// Writes the file; of one that cannot be written whole nothing is left.
    fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| self.failed(source);
        // A pipe that nobody reads any more is an error, and nothing to wait for.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.path);
        let mut file = file.map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if Identity::of(&found) != self.is {
            return Err(Error::Replaced {
                path: self.path.clone(),
            });
        }
        rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(|errno| failed(errno.into()))?;
        if found.is_file() {
            file.set_len(0).map_err(failed)?;
        }
        let written = file.write_all(bytes).and_then(|()| sync(&file));
        if written.is_err() {
            // What cannot be cut off, such as a pipe, keeps what it has.
            file.set_len(0).ok();
        }
        written.map_err(failed)
    }
}

/// Waits until a file is on its disk, if it has one.
fn sync(file: &File) -> std::io::Result<()> {
    match file.sync_data() {
        Err(err) if err.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}
