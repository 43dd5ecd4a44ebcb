//! Why CRIU did not do what it was asked for.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

use crate::find::{OLDEST, Version};

/// What CRIU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Save processes, and end them or not.
    Dump,
    /// Save their memory only, and let them run on.
    PreDump,
    /// Bring processes back.
    Restore,
    /// Say what the host can do.
    Features,
    /// Say which version it is.
    Version,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dump => "save the container",
            Self::PreDump => "save the container's memory",
            Self::Restore => "bring the container back",
            Self::Features => "look at the host",
            Self::Version => "tell its version",
        })
    }
}

/// Why CRIU did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("find criu: it is in none of the host's directories for programs")]
    NotFound,
    /// It could be somebody else's program.
    #[error("use {} as criu: {problem}", path.display())]
    NotTrusted {
        /// The file, or a directory above it.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is too old.
    #[error("use criu {found}: {needed} or newer is needed for {what}")]
    TooOld {
        /// Its version.
        found: Version,
        /// The oldest that will do.
        needed: Version,
        /// What for.
        what: &'static str,
    },
    /// The host lacks something.
    #[error("use {option}: criu says that this host cannot do it")]
    Lacking {
        /// The option of the command line.
        option: &'static str,
    },
    /// A config file that others could have written.
    #[error("use {} as CRIU's config file: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] gl_launch::Error),
    /// The connection to it failed.
    #[error("talk to criu")]
    Talk {
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// It ended without an answer, or answered what nobody asked.
    #[error("talk to criu: {problem}")]
    Answer {
        /// What is wrong.
        problem: &'static str,
    },
    /// It says that it failed.
    #[error("criu could not {operation}{}", suffix(said))]
    Failed {
        /// What it was asked for.
        operation: Operation,
        /// What it said, in short: see `Error::explained`.
        said: String,
    },
    /// A file.
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

fn suffix(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!(": {text}"),
    }
}

impl Error {
    /// The same with what is in the log, and where that is.
    #[must_use]
    pub fn explained(self, log: Option<&str>, path: &std::path::Path) -> Self {
        match self {
            Self::Failed { operation, said } => {
                let mut parts: Vec<&str> = log.into_iter().collect();
                parts.extend(Some(&*said).filter(|said| log.is_none() && !said.is_empty()));
                let said = match parts.is_empty() {
                    true => format!("see {}", path.display()),
                    false => format!("{} (all of it: {})", parts.join("; "), path.display()),
                };
                Self::Failed { operation, said }
            }
            other => other,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::NotFound | Self::TooOld { .. } | Self::Lacking { .. } => Class::Unsupported,
            Self::NotTrusted { .. } | Self::Config { .. } => Class::Denied,
            Self::Start(err) => err.class(),
            Self::Talk { .. } | Self::Answer { .. } | Self::Failed { .. } | Self::File { .. } => {
                Class::Internal
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } | Self::Answer { .. } | Self::Talk { .. } => "E_CRIU_FAILED",
            Self::Start(err) => err.code(),
            _ => "E_CRIU",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Config { .. } => Some(r#"annotations["org.criu.config"]"#.into()),
            Self::Lacking { option } => Some(Cow::Borrowed(option)),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::NotFound => {
                Some(format!("install criu, {OLDEST} or newer (Debian: apt install criu)").into())
            }
            Self::NotTrusted { .. } => Some(
                "give the file and every directory above it to root, writable by nobody else"
                    .into(),
            ),
            Self::TooOld { .. } => Some("install a newer criu".into()),
            Self::Lacking { .. } => Some("`criu check --all` says what the kernel lacks".into()),
            Self::Config { .. } => {
                Some("put the file into /etc/criu, as root's and writable by nobody else".into())
            }
            Self::Failed { .. } => Some("docs/checkpoint.md tells what CRIU needs".into()),
            _ => None,
        }
    }
}
