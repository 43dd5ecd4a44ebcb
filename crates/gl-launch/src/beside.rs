//! What a process that waits for another one does meanwhile.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Work to be done while a container starts or runs: an agent that answers its denied calls, somebody
/// whose end is to be noticed.
pub trait Beside {
    /// What is waited for: readable, or at its end. One at its end has to be left out from then on.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// The descriptor of this position is ready.
    fn ready(&mut self, position: usize);

    /// Takes the listener of a filter whose agent listens at `path`, where this is that agent; any other gives it back.
    fn take_listener(&mut self, _path: &Path, listener: OwnedFd) -> Option<OwnedFd> {
        Some(listener)
    }
}

/// Nothing.
impl Beside for () {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn ready(&mut self, _position: usize) {}
}

/// Waits until one of `own` is ready, and does what comes up beside; which of them are.
///
/// # Errors
///
/// What `poll(2)` says.
pub fn wait_beside(own: &[BorrowedFd<'_>], beside: &mut dyn Beside) -> Result<Vec<bool>, Errno> {
    loop {
        let ready = wait_beside_until(own, None, beside)?;
        if ready.contains(&true) {
            return Ok(ready);
        }
    }
}

/// As [`wait_beside`], at most until then: none is ready if that came first.
///
/// # Errors
///
/// What `poll(2)` says.
pub fn wait_beside_until(
    own: &[BorrowedFd<'_>],
    until: Option<Instant>,
    beside: &mut dyn Beside,
) -> Result<Vec<bool>, Errno> {
    loop {
        let others = beside.descriptors();
        let all = own.iter().chain(&others);
        let mut fds: Vec<_> = all
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, left(until).as_ref()) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let others = ready.split_off(own.len());
        // From the last: an earlier one may change the positions of those behind it.
        for (position, _) in others.iter().enumerate().rev().filter(|(_, ready)| **ready) {
            beside.ready(position);
        }
        let over = until.is_some_and(|until| until <= Instant::now());
        if ready.contains(&true) || over {
            return Ok(ready);
        }
    }
}

fn left(until: Option<Instant>) -> Option<Timespec> {
    let left = until?.saturating_duration_since(Instant::now());
    Some(Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    })
}
