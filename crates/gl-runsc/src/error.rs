//! Why a container could not be handed to runsc.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

use crate::version::MINIMUM;

/// Why a container could not be handed to runsc.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no runsc.
    #[error("find runsc: it is in none of {}", looked.join(", "))]
    NotFound {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// There is one that somebody else than root could have made.
    #[error("use {} as runsc: {problem}", path.display())]
    NotTrusted {
        /// Its path, or that of a directory above it.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Its version is too old, or cannot be told.
    #[error("use {} as runsc: its version is {seen:?}, and {MINIMUM} is the oldest that works", path.display())]
    Version {
        /// Its path.
        path: PathBuf,
        /// What it said.
        seen: String,
    },
    /// No platform of it works on this host.
    #[error("use {} as runsc: no platform works here: {}", path.display(), said.join("; "))]
    Platform {
        /// Its path.
        path: PathBuf,
        /// Each platform that was tried with what it said.
        said: Vec<String>,
    },
    /// Something that the config asks for and nobody can enforce in gVisor.
    #[error("enforce {field} in gVisor: {problem}")]
    Refused {
        /// The config field.
        field: String,
        /// What is in the way.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The program of the container is not there.
    #[error("exec: {program:?}: executable file not found in $PATH")]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// The program of the container is a path that is not there.
    #[error("exec: {program:?}: no such file or directory")]
    NoFile {
        /// Its path.
        program: String,
    },
    /// runsc did not do what it was asked for.
    #[error("{verb} with runsc: {said}")]
    Failed {
        /// What it was asked for.
        verb: &'static str,
        /// Its own words.
        said: String,
    },
    /// runsc did not answer in time.
    #[error("{verb} with runsc: no answer within {seconds} s")]
    Late {
        /// What it was asked for.
        verb: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file or directory.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done, a verb.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        move |err| Self::File {
            action,
            path: path.into(),
            source: Errno::from_io_error(&err).unwrap_or(Errno::IO),
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. }
            | Self::Version { .. }
            | Self::Platform { .. }
            | Self::Refused { .. } => Class::Unsupported,
            Self::NotTrusted { .. } => Class::Denied,
            Self::NoProgram { .. } | Self::NoFile { .. } => Class::NotFound,
            Self::Failed { .. } | Self::Late { .. } | Self::File { .. } => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. }
            | Self::NotTrusted { .. }
            | Self::Version { .. }
            | Self::Platform { .. } => "E_RUNSC",
            Self::Refused { .. } => "E_GVISOR_UNENFORCEABLE",
            Self::NoProgram { .. } | Self::NoFile { .. } => "E_EXEC",
            Self::Failed { .. } | Self::Late { .. } => "E_RUNSC_FAILED",
            Self::File { .. } => "E_FILE",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Refused { field, .. } => Some(Cow::Borrowed(field)),
            Self::NoProgram { .. } | Self::NoFile { .. } => Some("process.args[0]".into()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::NotFound { .. } => Some(
                "install runsc (Debian: apt install runsc), or name it in /etc/greenlang/config.toml: \
                 runsc = \"/path/to/runsc\""
                    .into(),
            ),
            Self::NotTrusted { .. } => Some(
                "give the file and every directory above it to root, writable by nobody else".into(),
            ),
            Self::Version { .. } => Some("install a newer runsc".into()),
            Self::Platform { .. } => Some(
                "see docs/gvisor.md on platforms; runsc_platform in /etc/greenlang/config.toml chooses one"
                    .into(),
            ),
            Self::Refused { remedy, .. } => Some(Cow::Borrowed(remedy)),
            Self::Failed { said, .. } if said.contains("root network namespace") => Some(
                "gVisor's own network does not work on this kernel: use allow_network = false".into(),
            ),
            _ => None,
        }
    }
}
