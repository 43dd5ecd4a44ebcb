//! What a profile asks of a launch that config.json has no words for, or that must bind every later
//! process and `update` as well.
//!
//! Stored beside the container's config, so that `exec` is bound by the same.

use serde::{Deserialize, Serialize};

use crate::oci::{LinuxPids, LinuxResources};

/// Rights of `landlock(7)` that every process of the container gives up before its program runs.
///
/// Numbers are those of `linux/landlock.h`; which of them a kernel knows was decided by whoever made
/// this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landlock {
    /// `LANDLOCK_ACCESS_FS_*` that are denied where no path allows them.
    pub filesystem: u64,
    /// `LANDLOCK_ACCESS_NET_*` that are denied where no port allows them.
    pub network: u64,
    /// `LANDLOCK_SCOPE_*` that are in force.
    pub scoped: u64,
    /// What is allowed below paths.
    pub paths: Vec<PathRule>,
    /// What is allowed on TCP ports.
    pub ports: Vec<PortRule>,
}

/// Rights on a path of the container and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRule {
    /// Absolute, in the container. One that is not there allows nothing.
    pub path: String,
    /// `LANDLOCK_ACCESS_FS_*`; those that only directories have are left out for a file.
    pub access: u64,
    /// Whether links on the way are followed, within the container.
    pub links: Links,
}

/// What happens to symbolic links on the way to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// They are followed within the container's root.
    Follow,
    /// One is an error: the image must not choose what becomes writable.
    Refuse,
}

/// Rights on a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRule {
    /// The port.
    pub port: u16,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub access: u64,
}

/// Why greenlang ended a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its wall-clock time was over.
    Timeout,
    /// Its processes had used up their CPU time.
    CpuTime,
    /// It had more processes than it may have.
    Pids,
    /// The process that watches its limits was told to end.
    Unwatched,
}

impl EndReason {
    /// The word for it in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu_time",
            Self::Pids => "pids",
            Self::Unwatched => "unwatched",
        }
    }
}

/// An AppArmor profile that exists for one container only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppArmor {
    /// Its name in the kernel.
    pub name: String,
    /// What `apparmor_parser` reads.
    pub text: String,
}

/// Which profile a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileName {
    /// Its name.
    pub name: String,
    /// SHA-256 of its resolved values, hexadecimal.
    pub hash: String,
}

/// The highest value of a resource limit, soft and hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RlimitBound {
    /// `RLIMIT_*`, the number of `<asm-generic/resource.h>`.
    pub resource: u32,
    /// The highest value.
    pub max: u64,
}

/// What no process of the container goes beyond, init or exec, whatever its own document says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessBounds {
    /// Capabilities that are kept at most, bit n for capability number n.
    pub capabilities: Option<u64>,
    /// `no_new_privs` is set.
    pub no_new_privileges: bool,
    /// Bits that new files never get.
    pub umask: u32,
    /// Resource limits; several of one kind all hold.
    pub rlimits: Vec<RlimitBound>,
    /// AppArmor profiles in force on top of the process's own.
    pub apparmor: Vec<String>,
}

/// Files of cgroup v2 that say the same as the limits of [`ResourceBounds`]: with a profile none of them is
/// set by `linux.resources.unified`.
pub const BOUND_FILES: [&str; 5] = [
    "memory.max",
    "memory.swap.max",
    "pids.max",
    "cpu.max",
    "cpu.max.burst",
];

/// What no `update` goes beyond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceBounds {
    /// Bytes of memory; as many of memory and swap together.
    pub memory: Option<i64>,
    /// Tasks.
    pub tasks: Option<i64>,
    /// CPU time in percent of one CPU.
    pub cpu_percent: Option<u32>,
}

/// Limits as a document states them, of those that [`ResourceBounds`] is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatedLimits {
    /// `memory.limit`, bytes.
    pub memory: Option<i64>,
    /// `memory.swap`, bytes of memory and swap together.
    pub swap: Option<i64>,
    /// `pids.limit`.
    pub tasks: Option<i64>,
    /// `cpu.quota`, microseconds.
    pub quota: Option<i64>,
    /// `cpu.period`, microseconds.
    pub period: Option<u64>,
}

impl StatedLimits {
    /// What `resources` state.
    pub fn of(resources: &LinuxResources) -> Self {
        let memory = resources.memory().as_ref();
        let cpu = resources.cpu().as_ref();
        Self {
            memory: memory.and_then(|memory| memory.limit()),
            swap: memory.and_then(|memory| memory.swap()),
            tasks: resources.pids().as_ref().map(LinuxPids::limit),
            quota: cpu.and_then(|cpu| cpu.quota()),
            period: cpu.and_then(|cpu| cpu.period()),
        }
    }
}

/// The network of a container that has none beyond loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolated {
    /// Loopback is up.
    Loopback,
    /// Nothing is.
    Nothing,
}

/// A line of a profile that is not in force as it says, as the host lacks what it takes and the profile
/// says to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// The profile.
    pub profile: String,
    /// The key, such as `limits.memory_limit_bytes`.
    pub key: String,
    /// What the host lacks.
    pub missing: String,
    /// What holds in its place; empty for nothing.
    pub instead: String,
}

/// How long the set-up of a container may take, what the runtime does of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupTimeout {
    /// Milliseconds of `create` and `start` together.
    pub ms: u64,
    /// The line of the profile that says so, for errors.
    pub line: String,
}

/// Everything writable of a container on one filesystem, which is gone with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskQuota {
    /// How much it holds, bytes.
    pub bytes: u64,
    /// Where it stores them.
    pub kept: Kept,
    /// The line of the profile that says so, for errors.
    pub line: String,
}

/// Where what a container writes is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// In memory: a tmpfs.
    Memory,
    /// In a file without a name: an ext4 on a loop device.
    Disk,
}

/// Everything that a profile adds to a config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    /// The profiles, in the order in which they were applied: the chosen one, then the host's floor.
    pub profiles: Vec<ProfileName>,
    /// The container gets a kernel of its own.
    pub gvisor: bool,
    /// A profile has a filter of system calls.
    pub filtered: bool,
    /// What cannot be enforced is left out instead of refused, as all profiles allow.
    pub degrades: bool,
    /// Lines that are not in force as they say.
    pub lost: Vec<Lost>,
    /// Landlock rulesets, each in force on top of those before.
    pub landlock: Vec<Landlock>,
    /// By what the kernel's audit tells the denials of those rulesets from others: the name of the process
    /// that puts them in force. Without one it is told nothing.
    pub landlock_mark: Option<String>,
    /// AppArmor profiles that were made for this container: loaded at create, unloaded at delete.
    pub apparmor: Vec<AppArmor>,
    /// Bounds of every process.
    pub process: ProcessBounds,
    /// Bounds of limits.
    pub resources: ResourceBounds,
    /// The limits that the engine asked for, where [`Extras::resources`] has bounds.
    pub asked: Option<StatedLimits>,
    /// No network, whatever hooks put into the namespace.
    pub network: Option<Isolated>,
    /// What can be written together, where the root can be.
    pub disk_quota: Option<DiskQuota>,
    /// The time of its set-up.
    pub setup_timeout: Option<SetupTimeout>,
    /// Wall-clock time, milliseconds from `start`, after which the container is ended.
    pub execution_timeout_ms: Option<u64>,
    /// CPU time of all its processes together, milliseconds, after which the container is ended.
    pub cpu_time_ms: Option<u64>,
    /// Processes, threads not counted, above which the container is ended.
    pub max_processes: Option<u32>,
}
