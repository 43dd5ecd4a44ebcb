//! Waiting without sleeping blindly: on pidfds where there is something to wait for, else on a bare
//! `ppoll` time-out, for kernel state that gives no event.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The moment after `limit`; one too far to tell is 30 years away.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit)
        .unwrap_or(now + Duration::from_secs(1_000_000_000))
}

/// Lets `time` pass.
pub(crate) fn pause(time: Duration) -> Result<(), Errno> {
    match poll(&mut [], Some(&timespec(time))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(err) => Err(err),
    }
}

/// Waits until the process has exited or `deadline` is over. One that is not there, or that is
/// outside our pid namespace (0), gives nothing to wait on: a millisecond passes.
pub(crate) fn exit_of(pid: i32, deadline: Instant) -> Result<(), Errno> {
    let short = Duration::from_millis(1);
    let Some(pid) = Pid::from_raw(pid) else {
        return pause(short);
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH | Errno::INVAL) => return pause(short),
        Err(err) => return Err(err),
    };
    until(&mut [PollFd::new(&pidfd, PollFlags::IN)], deadline)
}

/// Waits until one of `fds` has something or `deadline` is over.
pub(crate) fn until(fds: &mut [PollFd<'_>], deadline: Instant) -> Result<(), Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(fds, Some(&timespec(left))) {
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(err) => return Err(err),
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
