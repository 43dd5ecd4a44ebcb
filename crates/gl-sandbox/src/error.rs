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
    /// The name is another sandbox's.
    #[error("make sandbox {id}: there is one of this name")]
    Taken {
        /// The name.
        id: String,
    },
    /// There is no such sandbox.
    #[error("find sandbox {id}: you have none of this name")]
    Unknown {
        /// The name, or its beginning.
        id: String,
    },
    /// The beginning of a name that several sandboxes have.
    #[error("find sandbox {id}: {} begin with that", candidates.join(", "))]
    Ambiguous {
        /// The beginning.
        id: String,
        /// Their names.
        candidates: Vec<String>,
    },
    /// The program of the sandbox does not run yet.
    #[error("{verb} sandbox {id}: it is only being made")]
    Starting {
        /// What was to be done.
        verb: &'static str,
        /// Its name.
        id: String,
    },
    /// The sandbox has ended.
    #[error("{verb} sandbox {id}: it has ended")]
    Over {
        /// What was to be done.
        verb: &'static str,
        /// Its name.
        id: String,
    },
    /// The sandbox has not ended.
    #[error("remove sandbox {id}: it has not ended")]
    Alive {
        /// Its name.
        id: String,
    },
    /// The sandbox does not end, though it was killed.
    #[error("remove sandbox {id}: it was killed, and has not ended after {seconds} s")]
    Stuck {
        /// Its name.
        id: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The sandbox belongs to a command that runs.
    #[error("{verb} sandbox {id}: it was started without --detach")]
    Attached {
        /// What was to be done.
        verb: &'static str,
        /// Its name.
        id: String,
    },
    /// What the sandbox came to is not known any more.
    #[error("wait for sandbox {id}: it has ended, and was removed")]
    Gone {
        /// Its name.
        id: String,
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
            Self::Path { .. }
            | Self::User { .. }
            | Self::Bundle { .. }
            | Self::Attached { .. }
            | Self::Ambiguous { .. } => Class::Invalid,
            Self::Unknown { .. } | Self::Gone { .. } => Class::NotFound,
            Self::Taken { .. } | Self::Starting { .. } | Self::Over { .. } | Self::Alive { .. } => {
                Class::Conflict
            }
            Self::Tier { .. } => Class::Unsupported,
            Self::File { .. }
            | Self::Host { .. }
            | Self::Killed { .. }
            | Self::Left { .. }
            | Self::Stuck { .. } => Class::Internal,
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
            Self::Taken { .. } => "E_TAKEN",
            Self::Unknown { .. } => "E_UNKNOWN",
            Self::Ambiguous { .. } => "E_AMBIGUOUS",
            Self::Starting { .. } => "E_STARTING",
            Self::Over { .. } => "E_OVER",
            Self::Alive { .. } => "E_ALIVE",
            Self::Stuck { .. } => "E_STUCK",
            Self::Attached { .. } => "E_ATTACHED",
            Self::Gone { .. } => "E_GONE",
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
            Self::Taken { .. } => {
                Some("choose another --name, or remove that one with gl rm".into())
            }
            Self::Unknown { .. } => Some("gl ps --all lists yours".into()),
            Self::Ambiguous { .. } => Some("write more of the name".into()),
            Self::Starting { .. } => Some("wait until gl ps shows that it is running".into()),
            Self::Alive { .. } => Some("end it first with gl kill, or remove it with --force".into()),
            Self::Attached { .. } => Some(
                "what it writes and its status go to the command that runs it; start it with --detach to have them here".into(),
            ),
            Self::Gone { .. } => Some("start it without --rm to have its status here".into()),
            _ => None,
        }
    }
}
