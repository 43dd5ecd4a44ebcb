//! What a host has of what profiles limit.

/// The most that a container could use on a host, however it is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of memory.
    pub memory: u64,
    /// Processors.
    pub processors: u64,
    /// Tasks at a time (`kernel.pid_max`).
    pub tasks: u64,
    /// Open files of a process (`fs.nr_open`).
    pub files: u64,
}

impl Capacity {
    /// Nobody has looked: no bound at all.
    pub const UNKNOWN: Self = Self {
        memory: u64::MAX,
        processors: u64::MAX,
        tasks: u64::MAX,
        files: u64::MAX,
    };
}

impl Default for Capacity {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
