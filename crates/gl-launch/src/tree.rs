//! The processes below one, as `/proc` shows them: for where no cgroup holds them together.
//!
//! A list of processes is a look at a moving thing: who has to be sure asks again.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// It has ended, and nobody has waited for it.
    pub ended: bool,
    /// Its threads.
    pub threads: u32,
    /// Processor time of it and of its children that it has waited for, in ticks of the kernel's clock (100
    /// a second).
    pub ticks: u64,
    /// When it was started, in ticks since boot.
    pub started: u64,
}

/// Everybody below `root`, as far as they are its descendants at this moment.
///
/// # Errors
///
/// What reading `/proc` says.
pub fn descendants(root: Pid) -> Result<Vec<Task>, Errno> {
    let all = everybody()?;
    let mut found: Vec<Task> = Vec::new();
    let mut parents = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for task in all.iter().filter(|task| task.parent == parent) {
            parents.push(task.pid);
            found.push(*task);
        }
    }
    Ok(found)
}

/// Kills everybody below `root`, as far as seen; to how many a signal was sent.
///
/// # Errors
///
/// As [`descendants`].
pub(crate) fn kill_below(root: Pid, since: u64) -> Result<usize, Errno> {
    let all = descendants(root)?;
    let killed = all.iter().filter(|task| task.started >= since);
    Ok(killed.filter(|task| kill(task)).count())
}

/// Kills a process, if its id is still its own.
fn kill(task: &Task) -> bool {
    let Some(pid) = Pid::from_raw(task.pid).filter(|_| !task.ended) else {
        return false;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    // Opened first and looked at again: it is the same process, whose id was not given to a stranger.
    let same = read(task.pid).is_ok_and(|now| now.started == task.started);
    same && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}

/// A process.
///
/// # Errors
///
/// What reading `/proc` says; `ENOENT` or `ESRCH` if it is gone.
pub fn task(pid: Pid) -> Result<Task, Errno> {
    read(pid.as_raw_nonzero().get())
}

fn everybody() -> Result<Vec<Task>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let mut all = Vec::new();
    for entry in Dir::read_from(&proc)? {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        let pid = name.and_then(|name| name.parse::<i32>().ok());
        // One that is gone meanwhile is nobody.
        all.extend(pid.and_then(|pid| read(pid).ok()));
    }
    Ok(all)
}

fn read(pid: i32) -> Result<Task, Errno> {
    let path = format!("/proc/{pid}/stat");
    let file: OwnedFd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; 1024];
    let len = rustix::io::read(file.as_fd(), &mut text)?;
    parse(pid, text.get(..len).unwrap_or_default()).ok_or(Errno::PROTO)
}

/// `/proc/PID/stat` as `proc_pid_stat(5)` has it; the name of the program may hold anything, a parenthesis
/// too.
fn parse(pid: i32, text: &[u8]) -> Option<Task> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end.checked_add(1)?..)?).ok()?;
    // The first of these is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // Those of children that it has waited for are signed.
    let times = [number(14)?, number(15)?, number(16)?, number(17)?];
    Some(Task {
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
        threads: u32::try_from(number(20)?).ok()?,
        ticks: times.iter().sum(),
        started: number(22)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_a_parenthesis_is_no_field() {
        let text = b"7 (a) R 9 (b) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 5 0 777 1 2";
        let task = parse(7, text).unwrap();
        assert_eq!((task.parent, task.ended, task.threads), (3, false, 5));
        assert_eq!((task.ticks, task.started), (100, 777));
    }

    #[test]
    fn own_child_is_below_us() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let own = rustix::process::getpid();
        let below = descendants(own).unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(below.iter().any(|task| task.pid == id), "{below:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
