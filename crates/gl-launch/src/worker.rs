//! Work in a process of its own, while this one only looks after it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::Error;
use crate::fork::{Place, fork};

/// Does `work` in a child, which keeps the three streams and is given a descriptor that becomes readable when
/// this process ends. The result of `work` is its exit status.
///
/// # Errors
///
/// [`Error::Fork`]; `EDEADLK` if this process has more than one thread.
pub fn worker(work: impl FnOnce(OwnedFd) -> i32) -> Result<(Pid, OwnedFd), Error> {
    worker_with(None, |front, _| work(front))
}

/// As [`worker`], with one more descriptor that the child keeps.
///
/// # Errors
///
/// As [`worker`].
pub fn worker_with(
    given: Option<OwnedFd>,
    work: impl FnOnce(OwnedFd, Option<OwnedFd>) -> i32,
) -> Result<(Pid, OwnedFd), Error> {
    let failed = |source: Errno| Error::Fork { source };
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let own = own.map_err(failed)?;
    fork(
        Place::default(),
        0,
        (own, given),
        |(own, given)| std::iter::once(own).chain(given).map(AsFd::as_fd).collect(),
        |(own, given), _| work(own, given),
    )
    .map_err(failed)
}
