//! Why something could not be done with a container.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify, Status};
use rustix::io::Errno;

use crate::stages;

/// Why something could not be done with a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its config, its id or another document.
    #[error(transparent)]
    Spec(#[from] gl_spec::Error),
    /// The host cannot do what the config asks.
    #[error(transparent)]
    Refused(#[from] gl_plan::Refusal),
    /// Its seccomp section.
    #[error(transparent)]
    Seccomp(#[from] gl_seccomp::Error),
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] gl_cgroup::Error),
    /// Its launch.
    #[error(transparent)]
    Launch(#[from] gl_launch::Error),
    /// CRIU.
    #[error(transparent)]
    Criu(#[from] gl_criu::Error),
    /// Something that a checkpoint would lose.
    #[error("save or restore the container: {problem} ({field})")]
    NotSaved {
        /// The field of the config or the profile.
        field: String,
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// What was saved is not what the config says.
    #[error("restore the container: it would be weaker than its config in {field}: {seen}")]
    Weaker {
        /// The field of the config.
        field: String,
        /// What was seen instead.
        seen: String,
    },
    /// Its sandbox in gVisor.
    #[error(transparent)]
    Runsc(#[from] gl_runsc::Error),
    /// An AppArmor profile of the container's own.
    #[error("{action} the AppArmor profile {profile}: {said}")]
    AppArmor {
        /// What was being done, a verb.
        action: &'static str,
        /// Its name.
        profile: String,
        /// What the parser said.
        said: String,
    },
    /// Its group of the resctrl filesystem.
    #[error("use linux.intelRdt: {problem}")]
    Rdt {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The set-up took longer than the profile lets it.
    #[error("set the container up within {} s, by {line}", ms.div_ceil(1000))]
    SetupTimeout {
        /// The line of the profile.
        line: String,
        /// The limit.
        ms: u64,
        /// What was not done then.
        #[source]
        source: Box<Self>,
    },
    /// The filesystem that a profile's disk quota takes.
    #[error("hold {line}: {problem}")]
    DiskQuota {
        /// The line of the profile.
        line: String,
        /// What is wrong.
        problem: String,
    },
    /// A limit above that of the container's profile.
    #[error("update {field}: profile {profile} allows at most {bound}")]
    Bound {
        /// The field of the resources.
        field: String,
        /// The most that it may be.
        bound: String,
        /// The profile.
        profile: String,
    },
    /// The profile that was asked for.
    #[error(transparent)]
    Profile(Box<gl_profile::Error>),
    /// A line of the profile.
    #[error(transparent)]
    Unenforceable(Box<gl_profile::translate::Refused>),
    /// The container is not there.
    #[error("container {id:?} does not exist")]
    Missing {
        /// The id.
        id: String,
    },
    /// The id is in use.
    #[error("container with given ID already exists: {id}")]
    Exists {
        /// The id.
        id: String,
    },
    /// The container has no process that could be signalled or paused.
    #[error("container not running")]
    NotRunning {
        /// What it is instead.
        status: Status,
    },
    /// The container is not paused.
    #[error("container not paused: it is {status}")]
    NotPaused {
        /// What it is instead.
        status: Status,
    },
    /// The container is in the wrong state.
    #[error("{verb} container {id}: it is {status}")]
    WrongStatus {
        /// What was to be done.
        verb: &'static str,
        /// The id.
        id: String,
        /// The state that it is in.
        status: Status,
    },
    /// The container runs and force was not asked for.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The id.
        id: String,
        /// The state that it is in.
        status: Status,
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
    /// The file for the times of a command's stages.
    #[error("note the times of stages in {}", path.display())]
    Stages {
        /// Its path.
        path: PathBuf,
        /// What the kernel said; `EINVAL` for what is no file of the caller's own.
        #[source]
        source: Errno,
    },
    /// The state root is not safe to use.
    #[error("use {} as the state root: {problem}", path.display())]
    Root {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A stored file does not say what it should.
    #[error("read {}: it is not what was written there", path.display())]
    Corrupt {
        /// Its path.
        path: PathBuf,
    },
    /// The container was created without a cgroup.
    #[error("find the container's cgroup: it was created without one")]
    NoCgroup,
    /// Without a cgroup and a pid namespace of its own, its processes cannot be told from others.
    #[error("find the container's processes: it has no cgroup and shares its pid namespace")]
    SharedPids,
    /// A mapping of an id that the user does not own.
    #[error("use {field}: id {id} is not the user's, who owns {owned}")]
    NotOwned {
        /// The mapping.
        field: String,
        /// The first id of it that is somebody else's.
        id: u32,
        /// All that are the user's, in words.
        owned: String,
    },
    /// An option that the config contradicts.
    #[error("use {option}: {problem}")]
    Option {
        /// The option, with its dashes.
        option: &'static str,
        /// What is wrong.
        problem: Cow<'static, str>,
        /// What to do.
        remedy: &'static str,
    },
    /// The signal could not be sent.
    #[error("send signal {signal} to the container")]
    Signal {
        /// Its number.
        signal: i32,
        /// What the kernel said.
        #[source]
        source: Errno,
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
}

impl From<gl_profile::Error> for Error {
    fn from(err: gl_profile::Error) -> Self {
        Self::Profile(Box::new(err))
    }
}

impl From<gl_profile::translate::Refused> for Error {
    fn from(err: gl_profile::translate::Refused) -> Self {
        Self::Unenforceable(Box::new(err))
    }
}

impl Error {
    pub(crate) fn host(what: &'static str) -> impl Fn(Errno) -> Self {
        move |source| Self::Host { what, source }
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(Errno) -> Self {
        move |source| Self::File {
            action,
            path: path.into(),
            source,
        }
    }

    fn inner(&self) -> Option<&dyn Classify> {
        match self {
            Self::Spec(err) => Some(err),
            Self::Refused(err) => Some(err),
            Self::Seccomp(err) => Some(err),
            Self::Cgroup(err) => Some(err),
            Self::Launch(err) => Some(err),
            Self::Criu(err) => Some(err),
            Self::Runsc(err) => Some(err),
            Self::Profile(err) => Some(&**err),
            Self::Unenforceable(err) => Some(&**err),
            _ => None,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        if let Some(inner) = self.inner() {
            return inner.class();
        }
        match self {
            Self::Missing { .. } => Class::NotFound,
            Self::Exists { .. }
            | Self::NotRunning { .. }
            | Self::NotPaused { .. }
            | Self::WrongStatus { .. }
            | Self::NotStopped { .. } => Class::Conflict,
            Self::Stages {
                source: Errno::INVAL | Errno::LOOP,
                ..
            } => Class::Invalid,
            Self::File { source, .. }
            | Self::Signal { source, .. }
            | Self::Stages { source, .. }
            | Self::Host { source, .. } => match *source {
                Errno::NOENT => Class::NotFound,
                Errno::PERM | Errno::ACCESS => Class::Denied,
                Errno::NOSYS => Class::Unsupported,
                _ => Class::Internal,
            },
            Self::Root { .. } | Self::Option { .. } | Self::Bound { .. } => Class::Invalid,
            Self::NotOwned { .. } => Class::Denied,
            Self::DiskQuota { .. } | Self::Rdt { .. } => Class::Unsupported,
            Self::SharedPids | Self::NoCgroup | Self::NotSaved { .. } => Class::Unsupported,
            Self::Weaker { .. } => Class::Denied,
            _ => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        if let Some(inner) = self.inner() {
            return inner.code();
        }
        match self {
            Self::Missing { .. } => "E_NOT_FOUND",
            Self::Exists { .. } => "E_EXISTS",
            Self::NotRunning { .. }
            | Self::NotPaused { .. }
            | Self::WrongStatus { .. }
            | Self::NotStopped { .. } => "E_STATE",
            Self::File { .. } => "E_FILE",
            Self::Root { .. } => "E_ROOT",
            Self::Stages { .. } => "E_STAGES",
            Self::DiskQuota { .. } => "E_DISK_QUOTA",
            Self::SetupTimeout { .. } => "E_SETUP_TIMEOUT",
            Self::Rdt { .. } => "E_INTEL_RDT",
            Self::Option { .. } => "E_OPTION",
            Self::Signal { .. } => "E_SIGNAL",
            Self::Corrupt { .. } => "E_CORRUPT",
            Self::NotOwned { .. } => "E_IDMAP",
            Self::SharedPids | Self::NoCgroup => "E_CGROUP",
            Self::NotSaved { .. } => "E_CHECKPOINT",
            Self::Weaker { .. } => "E_WEAKER",
            _ => "E_HOST",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Option { option, .. } => Some(Cow::Borrowed(option)),
            Self::NotOwned { field, .. }
            | Self::NotSaved { field, .. }
            | Self::Weaker { field, .. } => Some(Cow::Borrowed(field)),
            Self::Rdt { .. } => Some(Cow::Borrowed("linux.intelRdt")),
            Self::Stages { .. } => Some(Cow::Borrowed(stages::VARIABLE)),
            _ => self.inner().and_then(Classify::field),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Missing { .. } => Some("list shows the containers of this state root".into()),
            Self::Exists { .. } => Some("delete it first, or take another id".into()),
            Self::Root { .. } => Some(
                "set XDG_RUNTIME_DIR to a directory of yours with mode 0700, or name one with --root"
                    .into(),
            ),
            Self::File { source, path, .. }
                if *source == Errno::ACCESS && path.starts_with("/run/greenlang") =>
            {
                Some("set XDG_RUNTIME_DIR, or name a directory of yours with --root".into())
            }
            Self::Stages { source, .. } if [Errno::INVAL, Errno::LOOP].contains(source) => {
                Some("GREENLANG_STAGES takes a file of the caller's own, which may be a new one".into())
            }
            Self::NotStopped { .. } => Some("kill it first, or use delete --force".into()),
            Self::NotRunning { status } => Some(format!("it is {status}").into()),
            Self::NoCgroup => Some(
                "without root a cgroup takes a delegated one to be made in: set linux.cgroupsPath \
                 below it, or use --systemd-cgroup"
                    .into(),
            ),
            Self::SharedPids => {
                Some("give it a pid namespace of its own, or a cgroup that can be made".into())
            }
            Self::SetupTimeout { .. } => Some(
                "see what its hooks wait for, or allow more time with setup_timeout".into(),
            ),
            Self::DiskQuota { .. } => {
                Some("set readonly_root = true, or leave the quota out".into())
            }
            Self::NotOwned { .. } => Some(
                "map ids that /etc/subuid and /etc/subgid give to the user, or the user's own"
                    .into(),
            ),
            Self::Weaker { .. } => Some(
                "restore it with the config that it was saved under: docs/checkpoint.md".into(),
            ),
            Self::NotSaved { remedy, .. } => Some(Cow::Borrowed(remedy)),
            Self::Option { remedy, .. } | Self::Rdt { remedy, .. } => Some(Cow::Borrowed(remedy)),
            Self::Corrupt { .. } => Some("delete --force removes the container".into()),
            _ => self.inner().and_then(Classify::hint),
        }
    }
}
