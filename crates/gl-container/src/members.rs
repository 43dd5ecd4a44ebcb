//! The processes of a container that has no cgroup: those in the pid namespace of its init, and in
//! pid namespaces below that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

/// How often the list is read again for processes that were forked meanwhile.
const ROUNDS: usize = 100;

/// How deep the kernel nests pid namespaces (`MAX_PID_NS_LEVEL`).
const LEVELS: usize = 32;

/// The process ids, ascending, as they are here. A process that cannot be looked at is none of them:
/// whoever made the container may look at all of it.
pub(crate) fn pids(init: Pid) -> Result<Vec<i32>, Errno> {
    let wanted = identity(&open(init)?)?;
    let proc = rustix::fs::openat(CWD, "/proc", directory(), Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&proc)? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        if is_member(pid, wanted) {
            found.push(pid.as_raw_nonzero().get());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Signals each of them once, init last.
///
/// By pidfd, and only then looked at: a number may have gone to a stranger since it was listed.
pub(crate) fn signal(init: Pid, pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let wanted = identity(&open(init)?)?;
    let mut done = vec![init.as_raw_nonzero().get()];
    for _ in 0..ROUNDS {
        let new: Vec<i32> = match pids(init) {
            Ok(all) => all.into_iter().filter(|pid| !done.contains(pid)).collect(),
            // Init has ended, and with it everybody.
            Err(Errno::NOENT | Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if new.is_empty() {
            break;
        }
        for pid in new.iter().copied().filter_map(Pid::from_raw) {
            match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                Ok(one) if is_member(pid, wanted) => sent(one.as_fd(), signal)?,
                Ok(_) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
        done.extend(new);
    }
    sent(pidfd, signal)
}

fn sent(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    match gl_sys::pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{}/ns/pid", pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn identity(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether a process is in that pid namespace or below it.
fn is_member(pid: Pid, wanted: (u64, u64)) -> bool {
    let Ok(mut namespace) = open(pid) else {
        return false;
    };
    for _ in 0..LEVELS {
        if identity(&namespace) == Ok(wanted) {
            return true;
        }
        match gl_sys::parent_namespace(namespace.as_fd()) {
            Ok(above) => namespace = above,
            // The topmost that we may see.
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_among_the_processes_of_our_own_namespace() {
        let own = rustix::process::getpid();
        let all = pids(own).unwrap();
        assert!(all.contains(&own.as_raw_nonzero().get()), "{all:?}");
        assert!(all.is_sorted(), "{all:?}");
    }
}
