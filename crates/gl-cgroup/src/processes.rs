//! Signalling the processes of a cgroup by pidfd, and removing it once they are gone.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::chain::rmdir;
use crate::error::Error;
use crate::layout::shown;
use crate::tree::Subtree;
use crate::wait;

/// How long processes get to stop before they are signalled anyway.
pub(crate) const KILL_FREEZE_LIMIT: Duration = Duration::from_millis(500);

/// How often the list is read again for new processes. Only one that forks faster than it is
/// signalled, where nothing can be frozen, comes near.
const KILL_ROUNDS: usize = 1000;

/// Signals every process of a cgroup and below it, and lists them in `done`.
///
/// A pidfd is opened first and the list read again after it, so that an id that was given to a
/// stranger meanwhile is not hit. Where they do not stand still, this goes on until the list shows
/// nobody new.
pub(crate) fn signal(tree: &Subtree<'_>, signal: Signal, done: &mut Vec<i32>) -> Result<(), Error> {
    for _ in 0..KILL_ROUNDS {
        let mut new = Vec::new();
        for pid in tree.pids()?.into_iter().filter(|pid| !done.contains(pid)) {
            new.extend(open(tree, pid)?.map(|pidfd| (pid, pidfd)));
        }
        if new.is_empty() {
            return Ok(());
        }
        let now = tree.pids()?;
        for (pid, pidfd) in new.iter().filter(|(pid, _)| now.contains(pid)) {
            send(tree, *pid, pidfd, signal)?;
        }
        done.extend(new.iter().map(|(pid, _)| *pid));
    }
    Err(Error::NotEmpty {
        path: shown(tree.path()),
        processes: tree.pids()?.len(),
    })
}

/// A pidfd of a process; none if it is gone or outside our pid namespace.
fn open(tree: &Subtree<'_>, pid: i32) -> Result<Option<OwnedFd>, Error> {
    let Some(target) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    match pidfd_open(target, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(source) => Err(Error::Signal {
            path: shown(tree.path()),
            pid,
            source,
        }),
    }
}

fn send(tree: &Subtree<'_>, pid: i32, pidfd: &OwnedFd, signal: Signal) -> Result<(), Error> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(source) => Err(Error::Signal {
            path: shown(tree.path()),
            pid,
            source,
        }),
    }
}

/// Removes a cgroup and all below it, once `wait` says that its processes are gone.
pub(crate) fn remove(
    tree: &Subtree<'_>,
    deadline: Instant,
    mut wait_empty: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        if is_removed(tree)? {
            return Ok(());
        }
        wait_empty()?;
        tree.remove_below()?;
        if is_removed(tree)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Remove {
                path: shown(tree.path()),
                source: Errno::BUSY,
            });
        }
        // Empty and yet busy: the last process is on its way out.
        wait::pause(Duration::from_millis(1)).map_err(|source| Error::Wait {
            path: shown(tree.path()),
            source,
        })?;
    }
}

/// Tries to remove one directory; not done if something is in it.
fn is_removed(tree: &Subtree<'_>) -> Result<bool, Error> {
    match rmdir(tree.base(), tree.path()) {
        Ok(()) => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(source) => Err(Error::Remove {
            path: shown(tree.path()),
            source,
        }),
    }
}

/// Whether a cgroup is gone: before a file was opened, or after it.
pub(crate) fn is_gone(source: Errno) -> bool {
    matches!(source, Errno::NOENT | Errno::NODEV)
}
