//! The init process as the kernel shows it: alive, and the same that was started.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
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

/// Whether init still runs: not gone, not a zombie, and not a later process of the same id.
pub(crate) fn alive(init: Init) -> Result<bool, Errno> {
    match stat(init.pid) {
        Ok(stat) => {
            Ok(stat.start_time == init.start_time && !matches!(stat.state, b'Z' | b'X' | b'x'))
        }
        Err(Errno::NOENT | Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A descriptor of init, if that still runs.
pub(crate) fn open(init: Init) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Pid::from_raw(init.pid) else {
        return Ok(None);
    };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    // Only now: the id cannot be given to another process while we hold the descriptor, so what
    // the check sees is what the descriptor is of, or is over.
    Ok(alive(init)?.then_some(pidfd))
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
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let start_time = start_time(pid).unwrap();
        assert!(alive(Init { pid, start_time }).unwrap());
        assert!(
            !alive(Init {
                pid,
                start_time: start_time + 1
            })
            .unwrap()
        );
    }
}
