//! Why an entry could not be written, or a log not be read.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use gl_spec::{Class, Classify};

/// Why an entry could not be written, or a log not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or made.
    #[error("open the audit log {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written to the file.
    #[error("use the audit log {}: {fault}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// The file could not be locked or read.
    #[error("read the audit log {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The entry could not be written. Nothing of it is left in the file, unless that could not be
    /// shortened either; the next entry then says so.
    #[error("write to the audit log {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The last line is not one that this log has written.
    #[error("go on with the audit log {}: its last line is not as it was written", path.display())]
    LastLine {
        /// The file.
        path: PathBuf,
    },
    /// The log was taken away again and again while an entry was to be written.
    #[error("write to the audit log {}: the file is replaced all the time", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// An entry is larger than a line may be.
    #[error("write an audit entry of {bytes} bytes: there may be {limit}")]
    TooLong {
        /// Its size as a line.
        bytes: usize,
        /// The largest line.
        limit: usize,
    },
    /// journald could not be reached.
    #[error("send an audit entry to journald at {}", path.display())]
    Journal {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// A symbolic link.
    #[error("it is a symbolic link")]
    Link,
    /// A directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotFile,
    /// Another user's.
    #[error("it belongs to another user")]
    Owner,
    /// Its group or everybody may write to it.
    #[error("others may write to it")]
    Mode,
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Unsafe { .. } => Class::Denied,
            Self::LastLine { .. } | Self::Replaced { .. } => Class::Conflict,
            Self::TooLong { .. } => Class::Invalid,
            Self::Open { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Journal { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Class::NotFound,
                io::ErrorKind::PermissionDenied => Class::Denied,
                _ => Class::Internal,
            },
        }
    }

    fn code(&self) -> &'static str {
        "E_AUDIT"
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Unsafe { fault, .. } => match fault {
                FileFault::Link | FileFault::NotFile => "name a regular file",
                FileFault::Owner => "give it to the user who writes it",
                FileFault::Mode => "take the write bits of group and others from it",
            },
            Self::LastLine { .. } => "look at it with gl audit verify, then move it away",
            Self::Journal { .. } => "see whether systemd-journald runs, or log to a file",
            Self::Open { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Replaced { .. }
            | Self::TooLong { .. } => return None,
        };
        Some(Cow::Borrowed(hint))
    }
}
