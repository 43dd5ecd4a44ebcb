//! `getrusage(2)`: what ended children have used.

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::io::Errno;

use crate::check::check;

/// What all children of this process that were waited for have used, and their own children in the same
/// way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChildrenUsage {
    /// Processor time in user space.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that one of them had in use, in KiB.
    pub most_kib: u64,
}

/// Reads it.
///
/// # Errors
///
/// None that a caller can cause; reported all the same.
pub fn children_usage() -> Result<ChildrenUsage, Errno> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live structure of the type that the call fills.
    let ret = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    check(ret.into())?;
    // SAFETY: zero-initialised above and filled by the call; all bit patterns are valid for its integers.
    let usage = unsafe { usage.assume_init() };
    Ok(ChildrenUsage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        most_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros))
}
