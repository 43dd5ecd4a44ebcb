//! The names of cgroup controllers, as the kernel and the mount points spell them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cgroup controller, or the controller-less hierarchy of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Controller {
    /// Processor time: shares, quota, burst, idle, real time.
    Cpu,
    /// Accounting of processor time.
    Cpuacct,
    /// Processors and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Access to device nodes.
    Devices,
    /// Stopping and continuing all processes.
    Freezer,
    /// Block input and output (v1).
    Blkio,
    /// Block input and output (v2).
    Io,
    /// Number of processes.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// RDMA handles and objects.
    Rdma,
    /// Network class of packets.
    NetCls,
    /// Network priority by interface.
    NetPrio,
    /// Grouping for `perf`.
    PerfEvent,
    /// Scalar resources.
    Misc,
    /// The `name=systemd` hierarchy: no limits, but every process is in it.
    Systemd,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Blkio,
        Self::Io,
        Self::Pids,
        Self::Hugetlb,
        Self::Rdma,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Misc,
        Self::Systemd,
    ];

    /// The name of its directory below `/sys/fs/cgroup`, which is also its mount option except
    /// that systemd's is `name=systemd` there.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Blkio => "blkio",
            Self::Io => "io",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::Rdma => "rdma",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Misc => "misc",
            Self::Systemd => "systemd",
        }
    }

    /// The controller of that name, in either of systemd's spellings.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("name=").unwrap_or(name);
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
