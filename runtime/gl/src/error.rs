//! Why a command failed, and with which status.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::Classify as _;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The output could not be written.
    #[error("write to standard output")]
    Output {
        #[source]
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file that was opened before the run is not there by its name any more.
    #[error("write {}: it is not the file that it was when the program began", path.display())]
    Replaced { path: PathBuf },
    /// Something that was tried to see whether it can be done.
    #[error("{what}")]
    Seen {
        what: String,
        #[source]
        source: std::io::Error,
    },
    /// A profile that makes no filter.
    #[error("export the seccomp section of {name}: the profile has no key in [seccomp]")]
    NoFilter { name: String },
    /// An audit log.
    #[error(transparent)]
    Audit(Box<gl_audit::Error>),
    /// An image.
    #[error(transparent)]
    Image(Box<gl_image::Error>),
    /// A profile.
    #[error(transparent)]
    Profile(Box<gl_profile::Error>),
    /// A recording.
    #[error(transparent)]
    Record(Box<gl_record::Error>),
    /// A sandbox.
    #[error(transparent)]
    Sandbox(Box<gl_sandbox::Error>),
    /// An option that loosens the profile.
    #[error("{option}: profile {profile} says {from}, and {to} allows more")]
    Loosens {
        option: &'static str,
        profile: String,
        from: String,
        to: String,
    },
    /// An option or an environment variable that makes no sense.
    #[error("{what}: {problem}")]
    Usage {
        what: String,
        problem: Cow<'static, str>,
    },
    /// A line of a profile that a tier does not enforce.
    #[error("enforce {place}: {why}")]
    Line {
        place: String,
        why: String,
        hint: String,
    },
    /// A line of a profile.
    #[error(transparent)]
    Refused(Box<gl_profile::translate::Refused>),
}

impl From<gl_audit::Error> for Error {
    fn from(err: gl_audit::Error) -> Self {
        Self::Audit(Box::new(err))
    }
}

impl From<gl_image::Error> for Error {
    fn from(err: gl_image::Error) -> Self {
        Self::Image(Box::new(err))
    }
}

impl From<gl_profile::Error> for Error {
    fn from(err: gl_profile::Error) -> Self {
        Self::Profile(Box::new(err))
    }
}

impl From<gl_profile::translate::Refused> for Error {
    fn from(err: gl_profile::translate::Refused) -> Self {
        Self::Refused(Box::new(err))
    }
}

impl From<gl_record::Error> for Error {
    fn from(err: gl_record::Error) -> Self {
        Self::Record(Box::new(err))
    }
}

impl From<gl_sandbox::Error> for Error {
    fn from(err: gl_sandbox::Error) -> Self {
        Self::Sandbox(Box::new(err))
    }
}

impl Error {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Audit(err) => err.hint(),
            Self::Image(err) => err.hint(),
            Self::Profile(err) => err.hint(),
            Self::Refused(err) => err.hint(),
            Self::Line { hint, .. } => Some(Cow::Borrowed(hint)),
            Self::NoFilter { .. } => Some(Cow::Borrowed(
                "set seccomp.default in it, or let it extend a built-in profile",
            )),
            Self::Record(err) => err.hint(),
            Self::Sandbox(err) => err.hint(),
            Self::Loosens { .. } => Some(Cow::Borrowed(
                "leave it out, name another profile, or say aloud that it may: --allow",
            )),
            Self::Usage { .. } => Some(Cow::Borrowed("see gl run --help")),
            Self::Replaced { .. } => Some(Cow::Borrowed(
                "name a file in a directory that the sandbox cannot write to",
            )),
            Self::Output { .. } | Self::File { .. } | Self::Write { .. } | Self::Seen { .. } => {
                None
            }
        }
    }
}
