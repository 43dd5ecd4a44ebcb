//! Why a cgroup operation failed.

use std::borrow::Cow;
use std::path::PathBuf;

use gl_spec::{Class, Classify};
use rustix::io::Errno;

use crate::controller::Controller;

/// Why a cgroup operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The systemd driver.
    #[error(transparent)]
    Systemd(#[from] crate::systemd::Error),
    /// The kernel refused to give a cgroup to a user.
    #[error("give {} to the container's root", path.display())]
    Give {
        /// The directory or file.
        path: PathBuf,
        /// What `fchownat` said.
        #[source]
        source: Errno,
    },
    /// There are no cgroups where they belong.
    #[error("find cgroups at /sys/fs/cgroup: filesystem type {found:#x} holds none")]
    NotMounted {
        /// The type of the filesystem that is there.
        found: rustix::fs::FsWord,
    },
    /// The kernel refused to show a directory.
    #[error("inspect {}", path.display())]
    Inspect {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// A file of the kernel has unexpected content.
    #[error("parse {:?} of {}", text, path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The part that is not understood.
        text: String,
    },
    /// A file that no config field stands for could not be written.
    #[error("write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        value: String,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// The path of the cgroup cannot be used.
    #[error("place the cgroup at {path:?}: {fault}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// The kernel refused to make a directory.
    #[error("make cgroup {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// What `mkdirat` said.
        #[source]
        source: Errno,
    },
    /// A cgroup that is to be created exists and is in use.
    #[error("create cgroup {}: it has {processes} processes already", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// How many processes are in it and below.
        processes: usize,
    },
    /// A cgroup that is to be created exists and is frozen.
    #[error("create cgroup {}: it is frozen", path.display())]
    Frozen {
        /// The directory in the freezer hierarchy.
        path: PathBuf,
    },
    /// The `tasks` file could not be opened.
    #[error("open {} to join it", path.display())]
    Join {
        /// The file.
        path: PathBuf,
        /// What `openat2` said.
        #[source]
        source: Errno,
    },
    /// A limit was asked for whose controller this host does not have.
    #[error("set {field}: this host has no {controller} controller ({file})")]
    NoController {
        /// The config field.
        field: Cow<'static, str>,
        /// The controller.
        controller: Controller,
        /// The file that would be written.
        file: Cow<'static, str>,
    },
    /// A limit was asked for whose controller the cgroups above do not pass on (v2).
    #[error("set {field}: enable {controller} in {}", path.display())]
    NotEnabled {
        /// The config field.
        field: Cow<'static, str>,
        /// The controller.
        controller: Controller,
        /// The `cgroup.subtree_control` that lacks it.
        path: PathBuf,
        /// What the kernel said to adding it.
        #[source]
        source: Errno,
    },
    /// A limit was asked for that only cgroup v1 has.
    #[error("set {field}: cgroup v2 has no such limit")]
    V1Only {
        /// The config field.
        field: Cow<'static, str>,
    },
    /// The program that decides on devices could not be installed (v2).
    #[error("set linux.resources.devices: {step} for {}", path.display())]
    Devices {
        /// What of it failed.
        step: &'static str,
        /// The cgroup.
        path: PathBuf,
        /// What `bpf` said.
        #[source]
        source: Errno,
    },
    /// A limit was asked for whose file this kernel does not have.
    #[error("set {field}: this kernel has no {}", path.display())]
    NoFile {
        /// The config field.
        field: Cow<'static, str>,
        /// The file.
        path: PathBuf,
    },
    /// The kernel refused a value.
    #[error("set {field} to {value:?} in {}", path.display())]
    Set {
        /// The config field.
        field: Cow<'static, str>,
        /// The value as written.
        value: String,
        /// The file.
        path: PathBuf,
        /// What `write` said.
        #[source]
        source: Errno,
    },
    /// A config field has a value that no cgroup can take.
    #[error("set {field} to {value:?}: {reason}")]
    Value {
        /// The config field.
        field: Cow<'static, str>,
        /// The value as given.
        value: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// Processes cannot be stopped on this host.
    #[error("freeze processes: this host has no freezer controller")]
    NoFreezer,
    /// Memory is not accounted on this host.
    #[error("watch for out-of-memory kills: this host has no memory controller")]
    NoMemory,
    /// CPU time is not counted on this host.
    #[error(
        "read the CPU time: this host does not count it for cgroups; mount the cpuacct controller"
    )]
    NoCpuTime,
    /// The processes did not all stop in time.
    #[error("freeze {}: not all processes stopped within {waited_ms} ms", path.display())]
    FreezeTimeout {
        /// The cgroup.
        path: PathBuf,
        /// How long was waited, milliseconds.
        waited_ms: u64,
    },
    /// Processes are left in the cgroup after the time allowed.
    #[error("wait for {} to be empty: {processes} processes left", path.display())]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// How many are left.
        processes: usize,
    },
    /// A signal could not be sent.
    #[error("signal process {pid} of {}", path.display())]
    Signal {
        /// The cgroup.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// What `pidfd_send_signal` or `pidfd_open` said.
        #[source]
        source: Errno,
    },
    /// The kernel refused to remove a directory.
    #[error("remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// What `rmdir` said.
        #[source]
        source: Errno,
    },
    /// Waiting failed.
    #[error("wait for processes of {}", path.display())]
    Wait {
        /// The cgroup.
        path: PathBuf,
        /// What `ppoll` or `pidfd_open` said.
        #[source]
        source: Errno,
    },
    /// Notification of out-of-memory kills could not be set up or read.
    #[error("watch {} for out-of-memory kills", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
}

/// What is wrong with a cgroup path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// It names the root or the runtime's own cgroup.
    #[error("it names no cgroup of its own")]
    Root,
    /// It is relative, and the runtime is in no cgroup of the hierarchy.
    #[error("it is relative, and the runtime has no cgroup to start from")]
    Outside,
    /// It is meant for one controller of cgroup v2.
    #[error("cgroup v2 has one hierarchy for all controllers, so none can be named")]
    Controller,
    /// A name has control characters.
    #[error("it has control characters")]
    Control,
    /// A name is over 255 bytes.
    #[error("a name in it is longer than 255 bytes")]
    TooLong,
    /// It is not in the form of the systemd driver.
    #[error("with the systemd driver it is SLICE:PREFIX:NAME, such as system.slice:box:ID")]
    Parts,
    /// A name has characters that systemd does not take.
    #[error("the name of a unit has letters, digits and :-_.\\ only")]
    UnitName,
    /// A slice has no name of a slice.
    #[error("a slice is called NAME.slice, and a dash in it stands between two names")]
    Slice,
    /// A stored path is not in the form in which paths are stored.
    #[error("it is not a cleaned path")]
    Unclean,
}

impl Error {
    /// What the kernel said, if it was the kernel.
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Inspect { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Make { source, .. }
            | Self::Join { source, .. }
            | Self::Set { source, .. }
            | Self::NotEnabled { source, .. }
            | Self::Devices { source, .. }
            | Self::Signal { source, .. }
            | Self::Remove { source, .. }
            | Self::Wait { source, .. }
            | Self::Give { source, .. }
            | Self::Watch { source, .. } => Some(*source),
            Self::Systemd(_)
            | Self::NotMounted { .. }
            | Self::Parse { .. }
            | Self::Path { .. }
            | Self::InUse { .. }
            | Self::Frozen { .. }
            | Self::NoController { .. }
            | Self::V1Only { .. }
            | Self::NoFile { .. }
            | Self::NoFreezer
            | Self::NoMemory
            | Self::NoCpuTime
            | Self::Value { .. }
            | Self::FreezeTimeout { .. }
            | Self::NotEmpty { .. } => None,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match (self, self.errno()) {
            (Self::Systemd(err), _) => err.class(),
            (_, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Class::Denied,
            (Self::Set { .. } | Self::NotEnabled { .. }, Some(Errno::BUSY)) => Class::Conflict,
            (Self::Set { .. }, Some(Errno::NOENT | Errno::NODEV)) => Class::NotFound,
            (Self::Path { .. } | Self::Value { .. } | Self::Set { .. }, _) => Class::Invalid,
            (
                Self::NotMounted { .. }
                | Self::NoController { .. }
                | Self::NotEnabled { .. }
                | Self::V1Only { .. }
                | Self::NoFreezer
                | Self::NoMemory
                | Self::NoCpuTime
                | Self::NoFile { .. },
                _,
            ) => Class::Unsupported,
            (Self::InUse { .. } | Self::Frozen { .. }, _) => Class::Conflict,
            (_, Some(Errno::NOENT)) => Class::NotFound,
            _ => Class::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Set { .. }
            | Self::Value { .. }
            | Self::NoController { .. }
            | Self::NotEnabled { .. }
            | Self::V1Only { .. }
            | Self::Devices { .. }
            | Self::NoFile { .. } => "E_CGROUP_LIMIT",
            Self::Path { .. } => "E_CGROUP_PATH",
            Self::InUse { .. } | Self::Frozen { .. } => "E_CGROUP_IN_USE",
            Self::NotMounted { .. } => "E_CGROUP_UNSUPPORTED",
            Self::Systemd(err) => err.code(),
            _ => "E_CGROUP",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Systemd(err) => err.field(),
            Self::NoController { field, .. }
            | Self::NotEnabled { field, .. }
            | Self::V1Only { field }
            | Self::NoFile { field, .. }
            | Self::Set { field, .. }
            | Self::Value { field, .. } => Some(Cow::Borrowed(field)),
            Self::Devices { .. } => Some(Cow::Borrowed("linux.resources.devices")),
            Self::Path { .. } | Self::InUse { .. } | Self::Frozen { .. } => {
                Some(Cow::Borrowed("linux.cgroupsPath"))
            }
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match (self, self.errno()) {
            (Self::Systemd(err), _) => return err.hint(),
            (Self::NoController { .. }, _) => {
                "leave the limit out, or give the host the controller: mounted below /sys/fs/cgroup (cgroup v1), \
                 or in the cgroup.controllers of the topmost cgroup (v2), which cgroup_disable= at boot takes away"
            }
            (Self::NoFile { .. }, _) => "leave the limit out, or boot a kernel that has it",
            (Self::Set { .. }, Some(Errno::BUSY)) => {
                "the container uses more than that now; lower its use first or ask for more"
            }
            (Self::Set { .. }, Some(Errno::INVAL)) => {
                "the value is out of range, or contradicts another limit here or further up"
            }
            (Self::InUse { .. } | Self::Frozen { .. }, _) => {
                "choose another linux.cgroupsPath, or end what runs there"
            }
            (Self::V1Only { .. }, _) => "leave the limit out, or say it in linux.resources.unified",
            (Self::NotEnabled { .. }, Some(Errno::BUSY)) => {
                "that cgroup has processes: move them to one below it, or choose a linux.cgroupsPath that is not below it"
            }
            (Self::NotEnabled { .. }, _) => {
                "have the owner of that cgroup delegate the controller: write it with a + in front to that file"
            }
            (Self::Devices { .. }, Some(Errno::PERM)) => {
                "it takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, on the host"
            }
            (Self::Devices { .. }, _) => "boot a kernel with CONFIG_CGROUP_BPF",
            (_, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                "cgroups are made as root and on a writable /sys/fs/cgroup; without root use \
                 --systemd-cgroup, or set linux.cgroupsPath below a cgroup that is delegated to you"
            }
            _ => return None,
        };
        Some(Cow::Borrowed(hint))
    }
}
