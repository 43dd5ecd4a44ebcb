//! Why a launch failed, in terms of the config.

use std::borrow::Cow;
use std::ffi::CString;
use std::path::PathBuf;

use gl_plan::{Kind, Plan};
use gl_spec::{Class, Classify};
use rustix::io::Errno;

use crate::hook::HookError;
use crate::record::Record;
use crate::rootless;
use crate::step::{Own, Step};

/// Why a process could not be launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that the config takes from the host.
    #[error(transparent)]
    Prepare(#[from] gl_rootfs::Error),
    /// A namespace that is entered by path.
    #[error("enter linux.namespaces[{index}], {}", path.display())]
    Namespace {
        /// Position in `linux.namespaces`.
        index: usize,
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A path that is no namespace, or one of another kind.
    #[error("enter linux.namespaces[{index}], {}: it is no {} namespace", path.display(), kind.name())]
    NamespaceKind {
        /// Position in `linux.namespaces`.
        index: usize,
        /// Its path.
        path: PathBuf,
        /// The kind that the config says.
        kind: Kind,
    },
    /// Something to be set in a namespace that the config enters by path and that is the host's.
    #[error("set {field}: linux.namespaces[{index}] is the namespace of the host")]
    HostSetting {
        /// The config field.
        field: String,
        /// Position of its namespace in `linux.namespaces`.
        index: usize,
    },
    /// A system call that no container can be made without.
    #[error("call {call}(2), which Linux has since {since}")]
    Kernel {
        /// Its name.
        call: &'static str,
        /// The first version that has it.
        since: &'static str,
        /// What the kernel, or a filter, said.
        #[source]
        source: Errno,
    },
    /// The kernel refused the fork.
    #[error("start a process in the namespaces of the container")]
    Fork {
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// An id map was refused.
    #[error("write {field}")]
    IdMap {
        /// The config field.
        field: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A resource limit was refused.
    #[error("set process.rlimits[{index}]")]
    Rlimit {
        /// Position in `process.rlimits`.
        index: usize,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The OOM score adjustment was refused.
    #[error("set process.oomScoreAdj to {value}")]
    OomScore {
        /// The value.
        value: i32,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// An `AppArmor` profile that the kernel does not have.
    #[error("use process.apparmorProfile: the profile {profile:?} is not loaded")]
    Profile {
        /// Its name, as the config has it; of a stack, the one that is missing.
        profile: String,
    },
    /// A context that the `SELinux` policy does not have.
    #[error("use {field}: the policy has no context {context:?}")]
    Context {
        /// The config field.
        field: &'static str,
        /// The context.
        context: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A hook that the runtime runs.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The host refused something that the config has no part in.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The program cannot be found or not be executed.
    #[error("exec: {program:?}: {problem}")]
    Program {
        /// `args[0]`.
        program: String,
        /// In the words that engines look for.
        problem: Cow<'static, str>,
        /// What the kernel said.
        errno: Errno,
    },
    /// A step of the child.
    #[error("{what}{}", subject(.field, .note))]
    Step {
        /// What was being done.
        what: &'static str,
        /// The config field, if the step belongs to one.
        field: Option<String>,
        /// Path, parameter, or the filesystem's own message.
        note: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The way to root of a user namespace.
    #[error(transparent)]
    Rootless(#[from] rootless::Error),
    /// An interface that was to become the container's.
    #[error("{what} linux.netDevices[{device:?}]")]
    NetDevice {
        /// What was being done, a verb.
        what: &'static str,
        /// Its name on the host.
        device: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The child went away without a word.
    #[error("launch the container: its init process was killed")]
    Killed,
    /// The time of the set-up was over.
    #[error("wait for the init process: it is not done")]
    Late,
    /// Nobody waits at the gate.
    #[error("start the container: it is not waiting for a start")]
    NotWaiting,
    /// The agent that takes the seccomp listener.
    #[error("hand the seccomp listener to {}", path.display())]
    Listener {
        /// `linux.seccomp.listenerPath`.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

fn subject(field: &Option<String>, note: &str) -> String {
    match (field, note) {
        (Some(field), "") => format!(" ({field})"),
        (Some(field), note) => format!(" ({field}: {note})"),
        (None, "") => String::new(),
        (None, note) => format!(" ({note})"),
    }
}

/// The engine's words for an errno of a program; `None` leaves the kernel's.
fn program_problem(step: Own, program: &str, errno: Errno) -> Cow<'static, str> {
    match (step, errno) {
        (Own::LookupPath, Errno::NOENT) => "executable file not found in $PATH".into(),
        (Own::LookupFile, Errno::NOENT | Errno::NOTDIR) => {
            format!("stat {program}: no such file or directory").into()
        }
        (_, Errno::NOENT) => "no such file or directory".into(),
        (_, Errno::ISDIR) => "is a directory: permission denied".into(),
        (_, Errno::ACCESS | Errno::PERM) => "permission denied".into(),
        (_, Errno::NOEXEC) => "exec format error".into(),
        (_, errno) => errno.to_string().into(),
    }
}

impl Error {
    /// Turns a child's failure record into an error, with the plan's words for what it names.
    pub(crate) fn from_record(record: &Record, args: &[CString], plan: Option<&Plan>) -> Self {
        let source = record.failure();
        let Some(step) = Step::from_number(record.step) else {
            return Self::Host {
                what: "read the record of the child",
                source: Errno::PROTO,
            };
        };
        if let Step::Own(own @ (Own::LookupPath | Own::LookupFile | Own::Execve)) = step {
            let program = args.first().map(|name| name.to_string_lossy().into_owned());
            let program = program.unwrap_or_default();
            return Self::Program {
                problem: program_problem(own, &program, source),
                program,
                errno: source,
            };
        }
        Self::Step {
            what: step.describe(),
            field: field(step, usize::from(record.index), plan),
            note: String::from_utf8_lossy(record.note.as_bytes()).into_owned(),
            source,
        }
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Namespace { source, .. }
            | Self::Kernel { source, .. }
            | Self::Fork { source }
            | Self::IdMap { source, .. }
            | Self::Rlimit { source, .. }
            | Self::OomScore { source, .. }
            | Self::NetDevice { source, .. }
            | Self::Host { source, .. }
            | Self::Listener { source, .. }
            | Self::Context { source, .. }
            | Self::Step { source, .. } => Some(*source),
            Self::Program { errno, .. } => Some(*errno),
            Self::Prepare(_)
            | Self::Rootless(_)
            | Self::Hook(_)
            | Self::Killed
            | Self::Late
            | Self::NotWaiting
            | Self::Profile { .. }
            | Self::HostSetting { .. }
            | Self::NamespaceKind { .. } => None,
        }
    }
}

/// The config field that a step works on.
fn field(step: Step, index: usize, plan: Option<&Plan>) -> Option<String> {
    use gl_rootfs::Step as Tree;
    let listed = |name: &str| Some(format!("{name}[{index}]"));
    match step {
        Step::Rootfs(tree) => match tree {
            Tree::MountPoint
            | Tree::OpenFilesystem
            | Tree::SetParameter
            | Tree::CreateFilesystem
            | Tree::Attach
            | Tree::SetAttributes
            | Tree::SetPropagation
            | Tree::CloneMount
            | Tree::CopyUp
            | Tree::MountCgroup
            | Tree::RefuseTarget => listed("mounts"),
            Tree::MakeDevice | Tree::CheckDevice => plan
                .and_then(|plan| plan.devices.get(index))
                .map(|device| device.field.clone()),
            Tree::LabelMount | Tree::CheckLabel => Some("linux.mountLabel".to_owned()),
            Tree::Sysctl => Some("linux.sysctl".to_owned()),
            Tree::Mask => listed("linux.maskedPaths"),
            Tree::ReadonlyPath => listed("linux.readonlyPaths"),
            Tree::OpenPtmx | Tree::OpenTerminal | Tree::BindConsole => {
                Some("process.terminal".to_owned())
            }
            Tree::ReadonlyRoot => Some("root.readonly".to_owned()),
            Tree::RootPropagation => Some("linux.rootfsPropagation".to_owned()),
            Tree::AttachRoot => Some("root.path".to_owned()),
            Tree::DetachHost
            | Tree::MakeLink
            | Tree::OpenProc
            | Tree::Pivot
            | Tree::DropOldRoot => None,
        },
        Step::Own(own) => match own {
            Own::JoinNamespace => listed("linux.namespaces"),
            Own::JoinCgroup => Some("linux.cgroupsPath".to_owned()),
            Own::Hostname => Some("hostname".to_owned()),
            Own::Domainname => Some("domainname".to_owned()),
            Own::Cwd | Own::CwdOutside => Some("process.cwd".to_owned()),
            Own::Affinity => Some("process.execCPUAffinity".to_owned()),
            Own::Scheduler => Some("process.scheduler".to_owned()),
            Own::IoPriority => Some("process.ioPriority".to_owned()),
            Own::MemoryPolicy => Some("linux.memoryPolicy".to_owned()),
            Own::Personality => Some("linux.personality".to_owned()),
            Own::Rlimit => listed("process.rlimits"),
            Own::Groups | Own::Ids => Some("process.user".to_owned()),
            Own::Bounding | Own::Capabilities | Own::Ambient => {
                Some("process.capabilities".to_owned())
            }
            Own::Label | Own::LabelCheck if index == 0 => {
                Some("process.apparmorProfile".to_owned())
            }
            Own::Label | Own::LabelCheck | Own::KeyringLabel => {
                Some("process.selinuxLabel".to_owned())
            }
            Own::Seccomp | Own::Listener => Some("linux.seccomp".to_owned()),
            _ => None,
        },
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Prepare(err) => err.class(),
            Self::Rootless(err) => err.class(),
            Self::Hook(_) | Self::Killed | Self::Late => Class::Internal,
            Self::NotWaiting => Class::Conflict,
            Self::HostSetting { .. }
            | Self::NamespaceKind { .. }
            | Self::Profile { .. }
            | Self::Context { .. } => Class::Invalid,
            Self::Program { errno, .. } if *errno == Errno::NOENT => Class::NotFound,
            _ => match self.errno() {
                Some(Errno::PERM | Errno::ACCESS) => Class::Denied,
                Some(Errno::NOSYS | Errno::OPNOTSUPP) => Class::Unsupported,
                Some(Errno::INVAL | Errno::NODEV | Errno::NOENT | Errno::NOTDIR) => Class::Invalid,
                _ => Class::Internal,
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Prepare(err) => err.code(),
            Self::Rootless(err) => err.code(),
            Self::HostSetting { .. } | Self::Namespace { .. } | Self::NamespaceKind { .. } => {
                "E_NAMESPACE"
            }
            Self::Kernel { .. } => "E_KERNEL",
            Self::Fork { .. } => "E_FORK",
            Self::IdMap { .. } => "E_IDMAP",
            Self::Rlimit { .. } => "E_RLIMIT",
            Self::OomScore { .. } => "E_OOM_SCORE",
            Self::Profile { .. } | Self::Context { .. } => "E_LABEL",
            Self::Hook(_) => "E_HOOK",
            Self::Host { .. } => "E_HOST",
            Self::Program { .. } => "E_PROGRAM",
            Self::Step { field, .. } => match field.as_deref() {
                Some(field) if field.starts_with("mounts") => "E_MOUNT",
                Some(field) if field.starts_with("linux.seccomp") => "E_SECCOMP",
                _ => "E_LAUNCH",
            },
            Self::Killed => "E_KILLED",
            Self::Late => "E_SETUP_TIMEOUT",
            Self::NetDevice { .. } => "E_NET_DEVICE",
            Self::NotWaiting => "E_STATE",
            Self::Listener { .. } => "E_SECCOMP",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Prepare(err) => err.field(),
            Self::Namespace { index, .. } | Self::NamespaceKind { index, .. } => {
                Some(format!("linux.namespaces[{index}].path").into())
            }
            Self::HostSetting { field, .. } => Some(field.as_str().into()),
            Self::Fork { .. } => Some("linux.namespaces".into()),
            Self::IdMap { field, .. } => Some((*field).into()),
            Self::Rlimit { index, .. } => Some(format!("process.rlimits[{index}]").into()),
            Self::OomScore { .. } => Some("process.oomScoreAdj".into()),
            Self::NetDevice { device, .. } => Some(format!("linux.netDevices[{device:?}]").into()),
            Self::Profile { .. } => Some("process.apparmorProfile".into()),
            Self::Context { field, .. } => Some((*field).into()),
            Self::Program { .. } => Some("process.args[0]".into()),
            Self::Step { field, .. } => field.as_deref().map(Cow::Borrowed),
            Self::Listener { .. } => Some("linux.seccomp.listenerPath".into()),
            Self::Hook(
                HookError::Start { field, .. }
                | HookError::Run { field, .. }
                | HookError::Status { field, .. }
                | HookError::Signal { field, .. }
                | HookError::Timeout { field, .. }
                | HookError::Deadline { field, .. },
            ) => Some(field.as_str().into()),
            Self::Host { .. }
            | Self::Kernel { .. }
            | Self::Rootless(_)
            | Self::Killed
            | Self::Late
            | Self::NotWaiting => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Prepare(err) => return err.hint(),
            Self::Rootless(err) => return err.hint(),
            Self::Namespace { .. } | Self::NamespaceKind { .. } => {
                "name a namespace file of that type that still exists".into()
            }
            Self::HostSetting { .. } => {
                "leave it out, or give the container a namespace of its own".into()
            }
            Self::Kernel { .. } => {
                "greenlang takes Linux 5.12 or newer; on such a kernel a seccomp filter around \
                 greenlang hides the call: allow it there"
                    .into()
            }
            Self::Fork { source } if *source == Errno::AGAIN => {
                "the pids limit or RLIMIT_NPROC of the caller is reached".into()
            }
            Self::Fork { source } if *source == Errno::NOSPC => {
                "a limit in /proc/sys/user/max_*_namespaces is reached".into()
            }
            Self::IdMap { .. } => {
                "ranges must not overlap, must be the caller's, and must fit into one page as text"
                    .into()
            }
            Self::Rlimit { .. } => {
                "raising a hard limit needs CAP_SYS_RESOURCE; lower it to the host's".into()
            }
            Self::OomScore { .. } => "lowering it needs CAP_SYS_RESOURCE".into(),
            Self::Profile { .. } => {
                "load it with apparmor_parser --replace FILE, or name one that aa-status lists"
                    .into()
            }
            Self::Context { .. } => {
                "write user:role:type:level of the policy that is loaded (seinfo lists them)".into()
            }
            Self::Hook(_) => "look at what the hook wrote to the runtime's stderr".into(),
            Self::Program { errno, .. } if *errno == Errno::NOENT => {
                "the program, or the interpreter that it names, must exist in the container".into()
            }
            Self::Program { .. } => {
                "the program must be an executable file for this user and its security label".into()
            }
            Self::Step { what, source, .. }
                if matches!(*source, Errno::ACCESS | Errno::PERM)
                    && *what == Step::Own(Own::JoinCgroup).describe() =>
            {
                "without root it takes write access to a cgroup above both the container's and the \
                 caller's: call greenlang inside the delegated tree (systemd-run --user --scope \
                 -p Delegate=yes), or give it --systemd-cgroup"
                    .into()
            }
            Self::Step { what, source, .. }
                if *source == Errno::NODEV
                    && *what == gl_rootfs::Step::OpenFilesystem.describe() =>
            {
                "the kernel has no filesystem of this type".into()
            }
            Self::Step { .. } | Self::Fork { .. } | Self::Host { .. } | Self::Late => return None,
            Self::NetDevice { source, .. } => match *source {
                Errno::NODEV => {
                    "name an interface of the network namespace that greenlang runs in".into()
                }
                Errno::EXIST => {
                    "give it a name that no interface has inside, or one that ends in %d".into()
                }
                Errno::INVAL => "an interface such as lo cannot leave its network namespace".into(),
                _ => return None,
            },
            Self::Killed => "look for an OOM kill or a seccomp kill in the kernel log".into(),
            Self::NotWaiting => "a container starts once; create a new one".into(),
            Self::Listener { .. } => "start the seccomp agent that listens there".into(),
        })
    }
}
