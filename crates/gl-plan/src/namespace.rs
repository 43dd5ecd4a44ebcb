//! Which namespaces a container creates, joins or shares: `linux.namespaces`.

use std::path::PathBuf;

use gl_spec::oci::{LinuxNamespace, LinuxNamespaceType};

/// A kind of namespace, by its `CLONE_NEW*` bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// `CLONE_NEWTIME`.
    Time = 0x0000_0080,
    /// `CLONE_NEWNS`.
    Mount = 0x0002_0000,
    /// `CLONE_NEWCGROUP`.
    Cgroup = 0x0200_0000,
    /// `CLONE_NEWUTS`.
    Uts = 0x0400_0000,
    /// `CLONE_NEWIPC`.
    Ipc = 0x0800_0000,
    /// `CLONE_NEWUSER`.
    User = 0x1000_0000,
    /// `CLONE_NEWPID`.
    Pid = 0x2000_0000,
    /// `CLONE_NEWNET`.
    Network = 0x4000_0000,
}

impl Kind {
    /// The `CLONE_NEW*` bit.
    pub fn bit(self) -> u64 {
        self as u64
    }

    /// The name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Network => "network",
            other => other.proc_name(),
        }
    }

    /// The name under `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Mount => "mnt",
            Self::Cgroup => "cgroup",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "net",
        }
    }
}

impl From<LinuxNamespaceType> for Kind {
    fn from(typ: LinuxNamespaceType) -> Self {
        match typ {
            LinuxNamespaceType::Mount => Self::Mount,
            LinuxNamespaceType::Cgroup => Self::Cgroup,
            LinuxNamespaceType::Uts => Self::Uts,
            LinuxNamespaceType::Ipc => Self::Ipc,
            LinuxNamespaceType::User => Self::User,
            LinuxNamespaceType::Pid => Self::Pid,
            LinuxNamespaceType::Network => Self::Network,
            LinuxNamespaceType::Time => Self::Time,
        }
    }
}

/// A namespace to enter by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Position in `linux.namespaces`.
    pub index: usize,
    /// The kind that the path must be of.
    pub kind: Kind,
    /// A `/proc/PID/ns/*` file or a bind mount of one, on the host.
    pub path: PathBuf,
}

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `CLONE_NEW*` bits of those to create.
    pub new: u64,
    /// Those to enter.
    pub join: Vec<Join>,
}

impl Namespaces {
    /// Whether the container has a namespace of this kind of its own, new or entered.
    pub fn has(&self, kind: Kind) -> bool {
        self.creates(kind) || self.joins(kind).is_some()
    }

    /// Whether a new namespace of this kind is created.
    pub fn creates(&self, kind: Kind) -> bool {
        self.new & kind.bit() != 0
    }

    /// The existing namespace of this kind that is entered.
    pub fn joins(&self, kind: Kind) -> Option<&Join> {
        self.join.iter().find(|join| join.kind == kind)
    }
}

pub(crate) fn build(list: &[LinuxNamespace]) -> Namespaces {
    let mut namespaces = Namespaces::default();
    for (index, entry) in list.iter().enumerate() {
        let kind = Kind::from(entry.typ());
        match entry
            .path()
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
        {
            None => namespaces.new |= kind.bit(),
            Some(path) => namespaces.join.push(Join {
                index,
                kind,
                path: path.clone(),
            }),
        }
    }
    namespaces
}
