//! The init process as the kernel shows it: alive, and the same that was started.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FsWord, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::record::Init;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    /// `Z` and `X` are over.
    state: u8,
    start_time: u64,
}

/// Reads when a process started.
pub(crate) fn start_time(pid: i32) -> Result<u64, Errno> {
    stat(pid).map(|stat| stat.start_time)
}

/// The file system that pidfds are in from Linux 6.9 on (`PID_FS_MAGIC`).
const PIDFS: FsWord = 0x5049_4446;

/// What tells the process of a pidfd from every other since the boot; none where the kernel does not say.
///
/// # Kernel
///
/// The inode number of a pidfd, since 6.9.
pub(crate) fn identity(pidfd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    if rustix::fs::fstatfs(pidfd)?.f_type != PIDFS {
        return Ok(None);
    }
    Ok(Some(rustix::fs::fstat(pidfd)?.st_ino))
}

/// Whether init still runs: not gone, not a zombie, and not a later process of the same id.
pub(crate) fn alive(init: Init) -> Result<bool, Errno> {
    Ok(open(init)?.is_some())
}

/// A descriptor of init, if that still runs.
pub(crate) fn open(init: Init) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Pid::from_raw(init.pid) else {
        return Ok(None);
    };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // The id is nobody's, or a thread's by now.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if init.pidfs.is_some() && identity(pidfd.as_fd())? != init.pidfs {
        return Ok(None);
    }
    // A signal by the descriptor reaches the process that this looked at, or nobody.
    let same = match stat(init.pid) {
        Ok(stat) => stat.start_time == init.start_time && !matches!(stat.state, b'Z' | b'X' | b'x'),
        Err(Errno::NOENT | Errno::SRCH) => false,
        Err(errno) => return Err(errno),
    };
    Ok(same.then_some(pidfd))
}

fn stat(pid: i32) -> Result<Stat, Errno> {
    let path = format!("/proc/{pid}/stat");
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut line = [0; 1024];
    let len = rustix::io::read(&file, &mut line)?;
    parse(line.get(..len).unwrap_or_default()).ok_or(Errno::INVAL)
}

/// The name in parentheses may hold anything, so fields count from the last of those.
fn parse(line: &[u8]) -> Option<Stat> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line.get(end + 1..)?.split(|byte| *byte == b' ').skip(1);
    let state = *fields.next()?.first()?;
    // Field 22 of proc_pid_stat(5); the state is field 3.
    let start_time = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some(Stat { state, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_parentheses_and_spaces_does_not_shift_fields() {
        let tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        for name in ["(a)", "(a b)", "(a) S 9)", "())"] {
            let seen = parse(format!("77 {name}{tail}").as_bytes()).unwrap();
            assert_eq!(
                seen,
                Stat {
                    state: b'S',
                    start_time: 4242
                },
                "{name}"
            );
        }
    }

    #[test]
    fn we_are_alive_and_a_later_process_of_our_id_is_not_us() {
        let own = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty()).unwrap();
        let pid = own.as_raw_nonzero().get();
        let us = Init {
            pid,
            start_time: start_time(pid).unwrap(),
            pidfs: identity(pidfd.as_fd()).unwrap(),
        };
        assert!(alive(us).unwrap());
        let start_time = us.start_time + 1;
        assert!(!alive(Init { start_time, ..us }).unwrap());
        // Within one tick the start is the same.
        let pidfs = us.pidfs.map(|inode| inode + 1);
        assert_eq!(alive(Init { pidfs, ..us }).unwrap(), pidfs.is_none());
        // As an older greenlang stored it.
        assert!(alive(Init { pidfs: None, ..us }).unwrap());
    }
}
