//! Why a program could not be run.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

/// Why a program could not be run, or what is left of it not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line of the profile that this host cannot enforce.
    #[error(transparent)]
    Refused(#[from] gl_profile::translate::Refused),
    /// The seccomp part of the profile.
    #[error(transparent)]
    Profile(#[from] gl_profile::Error),
    /// The seccomp filter.
    #[error(transparent)]
    Seccomp(#[from] gl_seccomp::Error),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] gl_cgroup::Error),
    /// The start of the program.
    #[error(transparent)]
    Launch(#[from] gl_launch::Error),
    /// A text with a NUL byte, where there can be none.
    #[error("pass {what} on: it has a NUL byte")]
    Nul {
        /// Which.
        what: &'static str,
    },
    /// A file or directory of the host.
    #[error("{what} {}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The host refused something that no path or line has a part in.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

impl Error {
    pub(crate) fn host(what: &'static str) -> impl Fn(Errno) -> Self {
        move |source| Self::Host { what, source }
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    fn inner(&self) -> Option<&dyn Classify> {
        match self {
            Self::Refused(err) => Some(err),
            Self::Profile(err) => Some(err),
            Self::Seccomp(err) => Some(err),
            Self::Cgroup(err) => Some(err),
            Self::Launch(err) => Some(err),
            Self::Nul { .. } | Self::File { .. } | Self::Host { .. } => None,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match (self.inner(), self) {
            (Some(inner), _) => inner.class(),
            (None, Self::Nul { .. }) => Class::Invalid,
            (None, Self::File { source, .. } | Self::Host { source, .. }) => match *source {
                Errno::PERM | Errno::ACCESS => Class::Denied,
                Errno::NOENT | Errno::NOTDIR => Class::NotFound,
                Errno::NOSYS | Errno::OPNOTSUPP => Class::Unsupported,
                _ => Class::Internal,
            },
            (None, _) => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match (self.inner(), self) {
            (Some(inner), _) => inner.code(),
            (None, Self::Nul { .. }) => "E_ARGUMENT",
            (None, Self::File { .. }) => "E_FILE",
            (None, _) => "E_HOST",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        self.inner().and_then(Classify::field)
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        if let Self::Launch(gl_launch::Error::Program { errno, .. }) = self
            && *errno == Errno::ACCESS
        {
            let hint = "the program must be executable, and below a path of read_only_paths or \
                        read_write_paths, or the working directory";
            return Some(hint.into());
        }
        self.inner().and_then(Classify::hint)
    }
}
