//! Why a sandbox could not be had.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

/// Why a sandbox could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The container that it is.
    #[error(transparent)]
    Container(#[from] gl_container::Error),
    /// The program of the tier `basic`.
    #[error(transparent)]
    Basic(#[from] gl_basic::Error),
    /// The processes that look after it.
    #[error(transparent)]
    Launch(#[from] gl_launch::Error),
    /// The image that it runs on.
    #[error(transparent)]
    Image(Box<gl_image::Error>),
    /// The user whom an image names.
    #[error("find the user {user:?} of the image: {problem}")]
    User {
        /// As the image has it.
        user: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A config that a sandbox cannot hold to.
    #[error("use {field} of {}: {problem}", path.display())]
    Bundle {
        /// The config.
        path: PathBuf,
        /// Its field.
        field: String,
        /// What is wrong with that.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Its name.
    #[error(transparent)]
    Spec(#[from] gl_spec::Error),
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
    /// A path that is to be seen inside.
    #[error("{option} {}: {problem}", path.display())]
    Path {
        /// The option or the key that names it.
        option: String,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// A tier that cannot be had in this way.
    #[error("run in tier {tier}: {problem}")]
    Tier {
        /// The tier.
        tier: &'static str,
        /// What is missing.
        problem: Cow<'static, str>,
        /// What to do.
        remedy: &'static str,
    },
    /// The host refused something else.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The process that runs the sandbox was killed.
    #[error("run the sandbox: the process that looks after it was killed by signal {signal}")]
    Killed {
        /// The signal.
        signal: i32,
    },
    /// The same, and what it made is still there.
    #[error("take away what is left of a sandbox whose process was killed by signal {signal}")]
    Left {
        /// The signal.
        signal: i32,
        /// Why it is still there.
        #[source]
        source: Box<Error>,
    },
}

impl From<gl_image::Error> for Error {
    fn from(err: gl_image::Error) -> Self {
        Self::Image(Box::new(err))
    }
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let failed = Self::file(action, path);
        move |err| failed(Errno::from_io_error(&err).unwrap_or(Errno::IO))
    }

    pub(crate) fn host(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Host { what, source }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Container(err) => err.class(),
            Self::Basic(err) => err.class(),
            Self::Launch(err) => err.class(),
            Self::Spec(err) => err.class(),
            Self::Image(err) => err.class(),
            Self::Path { .. } | Self::User { .. } | Self::Bundle { .. } => Class::Invalid,
            Self::Tier { .. } => Class::Unsupported,
            Self::File { .. } | Self::Host { .. } | Self::Killed { .. } | Self::Left { .. } => {
                Class::Internal
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Container(err) => err.code(),
            Self::Basic(err) => err.code(),
            Self::Launch(err) => err.code(),
            Self::Spec(err) => err.code(),
            Self::Image(err) => err.code(),
            Self::User { .. } => "E_IMAGE_USER",
            Self::Bundle { .. } => "E_BUNDLE",
            Self::File { .. } => "E_FILE",
            Self::Path { .. } => "E_PATH",
            Self::Tier { .. } => "E_TIER",
            Self::Host { .. } => "E_HOST",
            Self::Killed { .. } => "E_KILLED",
            Self::Left { .. } => "E_LEFT",
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Container(err) => err.hint(),
            Self::Basic(err) => err.hint(),
            Self::Launch(err) => err.hint(),
            Self::Spec(err) => err.hint(),
            Self::Image(err) => err.hint(),
            Self::User { .. } => Some("give the image such a user, or a number for one".into()),
            Self::Tier { remedy, .. } | Self::Bundle { remedy, .. } => Some(Cow::Borrowed(remedy)),
            Self::Path { .. } => {
                Some("name a path that exists, without links that lead elsewhere".into())
            }
            _ => None,
        }
    }
}
