//! What the processes of a cgroup have used, in few reads: for a look at the end of each run.

use std::time::Duration;

use crate::cgroup::{Cgroup, Inner};
use crate::error::Error;
use crate::stats::{Blkio, Tasks};

/// What all processes of a cgroup have used, those that have ended included. What this host does not count is
/// zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processor time.
    pub cpu: Duration,
    /// Its part in user mode.
    pub user: Duration,
    /// Its part in the kernel.
    pub system: Duration,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// The most memory in use at a time, in bytes.
    pub memory_peak: u64,
    /// How many processes the kernel has killed for lack of memory.
    pub oom_kills: u64,
    /// What the limit of tasks has met.
    pub tasks: Tasks,
    /// Bytes read from block devices.
    pub disk_read: u64,
    /// Bytes written to block devices.
    pub disk_written: u64,
}

impl Spent {
    /// Adds up what was read and written on all devices.
    pub(crate) fn on_disk(&mut self, blkio: &Blkio) {
        let sum = |op: &str| {
            let all = blkio.io_service_bytes_recursive.iter();
            let all = all.filter(|entry| entry.op.eq_ignore_ascii_case(op));
            all.fold(0_u64, |sum, entry| sum.saturating_add(entry.value))
        };
        self.disk_read = sum("read");
        self.disk_written = sum("write");
    }
}

impl Cgroup {
    /// Reads what its processes have used.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Parse`].
    pub fn spent(&self) -> Result<Spent, Error> {
        match &self.inner {
            Inner::V1(group) => group.spent(),
            Inner::V2(group, _) => group.spent(),
        }
    }
}
