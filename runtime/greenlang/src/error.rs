//! Why a command failed, as its user sees it.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

use crate::args;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The command line cannot be understood.
    #[error(transparent)]
    Usage {
        /// Why.
        source: args::Error,
    },
    /// A document or a container id is not accepted.
    #[error(transparent)]
    Spec {
        /// Why.
        source: gl_spec::Error,
    },
    /// A container could not be made, found, changed or removed.
    #[error(transparent)]
    Container {
        /// Why.
        source: gl_container::Error,
    },
    /// The notices of a container cannot be waited for.
    #[error("wait for notices of the container")]
    Watch {
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The log file cannot be opened for appending.
    #[error("open log file {}", path.display())]
    OpenLog {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file that was named cannot be read.
    #[error("read {}", path.display())]
    ReadFile {
        /// Its path, or `-` for standard input.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The new config.json cannot be written.
    #[error("write {}", path.display())]
    WriteConfig {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nobody takes what is printed.
    #[error("write to standard output")]
    Output {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host's `ps` cannot be run.
    #[error("run ps on the host")]
    RunPs {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host's `ps` failed.
    #[error("run ps on the host: it said {said:?}")]
    PsFailed {
        /// What it wrote, in short.
        said: String,
    },
    /// The host's `ps` was asked for a table without process ids.
    #[error("read the table of ps: it has no column PID")]
    NoPidColumn,
    /// Not in this version.
    #[error("run {command}: this version cannot")]
    NotSupported {
        /// The verb, or the verb and an option.
        command: &'static str,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Usage { source } => source.class(),
            Self::Spec { source } => source.class(),
            Self::Container { source } => source.class(),
            Self::OpenLog { source, .. }
            | Self::ReadFile { source, .. }
            | Self::WriteConfig { source, .. } => class_of(source),
            Self::Output { .. } | Self::RunPs { .. } | Self::Watch { .. } => Class::Internal,
            Self::PsFailed { .. } | Self::NoPidColumn => Class::Invalid,
            Self::NotSupported { .. } => Class::Unsupported,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Usage { source } => source.code(),
            Self::Spec { source } => source.code(),
            Self::Container { source } => source.code(),
            Self::Watch { .. } => "E_HOST",
            Self::OpenLog { .. } => "E_LOG",
            Self::ReadFile { .. } => "E_READ",
            Self::WriteConfig { .. } => "E_WRITE",
            Self::Output { .. } => "E_OUTPUT",
            Self::RunPs { .. } | Self::PsFailed { .. } | Self::NoPidColumn => "E_PS",
            Self::NotSupported { .. } => "E_UNSUPPORTED",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Spec { source } => source.field(),
            Self::Container { source } => source.field(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Usage { source } => source.hint(),
            Self::Spec { source } => source.hint(),
            Self::Container { source } => source.hint(),
            Self::Watch { .. } => None,
            Self::OpenLog { .. } => Some(Cow::Borrowed(
                "name a file in a directory that exists and that you may write to",
            )),
            Self::WriteConfig { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some(Cow::Borrowed("remove it first"))
            }
            Self::WriteConfig { .. } => Some(Cow::Borrowed(
                "name a directory that exists and that you may write to",
            )),
            Self::ReadFile { .. } => Some(Cow::Borrowed(
                "name a file that exists and that you may read",
            )),
            Self::Output { .. } => Some(Cow::Borrowed("read all that is printed")),
            Self::RunPs { .. } => Some(Cow::Borrowed("install procps, or use --format json")),
            Self::PsFailed { .. } => Some(Cow::Borrowed("use options that ps knows")),
            Self::NoPidColumn => Some(Cow::Borrowed("ask ps for the column pid")),
            Self::NotSupported { .. } => Some(Cow::Borrowed(
                "`greenlang features` says what this version can do",
            )),
        }
    }
}

fn class_of(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::PermissionDenied => Class::Denied,
        io::ErrorKind::AlreadyExists => Class::Conflict,
        _ => Class::Invalid,
    }
}

impl From<args::Error> for Error {
    fn from(source: args::Error) -> Self {
        Self::Usage { source }
    }
}

impl From<gl_container::Error> for Error {
    fn from(source: gl_container::Error) -> Self {
        Self::Container { source }
    }
}

impl From<gl_spec::Error> for Error {
    fn from(source: gl_spec::Error) -> Self {
        Self::Spec { source }
    }
}
