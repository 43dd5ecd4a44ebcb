//! Why nothing was recorded.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

/// Why nothing was recorded, or no profile written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run itself.
    #[error(transparent)]
    Basic(#[from] gl_basic::Error),
    /// A profile.
    #[error(transparent)]
    Profile(Box<gl_profile::Error>),
    /// The filter of the recording.
    #[error(transparent)]
    Seccomp(#[from] gl_seccomp::Error),
    /// A file could not be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// There is a file already.
    #[error("write {}: it is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A call that no profile can be made to allow.
    #[error("include {call}: {problem}")]
    Include {
        /// The call.
        call: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The host refused something.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// Whoever wanted a recording is gone.
    #[error("record the command: the process that waits for it was killed")]
    Abandoned,
    /// A command that no process can be given.
    #[error("record the command: {what} has a zero byte")]
    Nul {
        /// Which part of it.
        what: &'static str,
    },
    /// A name that no profile can have.
    #[error("name the profile {name:?}: that is no name, or one that is built in")]
    Name {
        /// It.
        name: String,
    },
    /// Profiles that have no union.
    #[error("merge {profile}: {key}: {problem}")]
    Merge {
        /// The profile.
        profile: String,
        /// The key, with its place.
        key: String,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
}

impl From<gl_profile::Error> for Error {
    fn from(err: gl_profile::Error) -> Self {
        Self::Profile(Box::new(err))
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Basic(err) => err.class(),
            Self::Profile(err) => err.class(),
            Self::Seccomp(err) => err.class(),
            Self::Exists { .. }
            | Self::Include { .. }
            | Self::Nul { .. }
            | Self::Name { .. }
            | Self::Merge { .. } => Class::Invalid,
            Self::Write { .. } | Self::Host { .. } | Self::Abandoned => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Basic(err) => err.code(),
            Self::Profile(err) => err.code(),
            Self::Seccomp(err) => err.code(),
            Self::Write { .. } => "E_FILE",
            Self::Exists { .. } => "E_EXISTS",
            Self::Include { .. } => "E_INCLUDE",
            Self::Host { .. } => "E_HOST",
            Self::Abandoned => "E_KILLED",
            Self::Nul { .. } => "E_NUL",
            Self::Name { .. } => "E_NAME",
            Self::Merge { .. } => "E_MERGE",
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Basic(err) => err.hint(),
            Self::Profile(err) => err.hint(),
            Self::Seccomp(err) => err.hint(),
            Self::Exists { .. } => Some("name another file, or write over it: --force".into()),
            Self::Name { .. } => {
                Some("give it one of a-z, 0-9, _ and - that begins with a letter: --name".into())
            }
            Self::Merge { .. } => Some(
                "profiles of gl record can be merged, and others that say no more than those; put the \
                 rest into a profile that extends the union"
                    .into(),
            ),
            _ => None,
        }
    }
}
