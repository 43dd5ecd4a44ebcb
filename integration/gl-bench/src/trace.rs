//! Follows a command and all that it starts with `ptrace(2)`, for the peak memory of each process.
//!
//! A process is one program in it: an exec begins another one, with memory of its own. The kernel keeps the peak of
//! a memory (`VmHWM`) until its end, so it is read where the process is about to exit and where it is about to exec.
//! What runs in the container's root after an exec is the container's program: followed, but not listed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ptrace;

/// A command to follow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Program with its arguments.
    pub(crate) command: Vec<String>,
    /// What to wait for before the next one.
    pub(crate) until: Until,
}

/// What ends a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Until {
    /// The end of the process that was called: what it leaves is followed beside the next step.
    Called,
    /// The end of every process.
    All,
}

/// One process of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Index of the step that it began in.
    pub(crate) step: usize,
    /// What the kernel called it last.
    pub(crate) name: String,
    /// Where it comes from.
    pub(crate) begun: Begun,
    /// Whether it ended by becoming the container's program.
    pub(crate) contained: bool,
    /// The most memory that it had resident, in KiB.
    pub(crate) peak: u64,
    /// How much of what was resident in the end is of no file, in KiB.
    pub(crate) anonymous: u64,
}

/// Where a process comes from; others by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Begun {
    /// It is the command itself.
    Called,
    /// A fork: it begins with all that the other one has, page by page shared until one writes.
    Fork(usize),
    /// A fork with `CLONE_VM`: the memory of both is one, and its peak is that of both until then.
    Shared(usize),
    /// An exec in the other one, whose memory is gone with it.
    Exec(usize),
}

/// Becomes `command`, once the parent follows. Does not come back but with an error.
pub(crate) fn become_traced(command: &[String]) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return Error::Usage {
            reason: "traced needs a command".to_owned(),
        };
    };
    if let Err(errno) = ptrace::be_followed() {
        return trace("be followed", errno);
    }
    Error::Start {
        program: program.clone(),
        source: Command::new(program).args(arguments).exec(),
    }
}

fn trace(action: &'static str, errno: Errno) -> Error {
    Error::Trace {
        action,
        source: errno.into(),
    }
}

/// What a thread is part of, and what it is about to do.
#[derive(Debug, Clone, Copy)]
struct Thread {
    /// The thread group, by its leader.
    group: Pid,
    /// Flags of the clone that it has called last.
    flags: u64,
}

/// Follows the commands of one measurement.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// All of the runtime's that have been seen.
    processes: Vec<Process>,
    /// Which of them each thread group is now; none for the container's program.
    now: HashMap<Pid, Option<usize>>,
    threads: HashMap<Pid, Thread>,
    /// New ones that have stopped before their parent said whose they are.
    early: HashSet<Pid>,
    /// Device and inode of the container's root.
    inside: (u64, u64),
    step: usize,
    /// A child whose end means that the time is over.
    watchdog: Pid,
}

impl Tracer {
    /// A tracer of containers with this root that gives up once the child `watchdog` has ended.
    pub(crate) fn new(rootfs: &str, watchdog: &Child) -> Result<Self, Error> {
        let root = fs::metadata(rootfs).map_err(|source| Error::File {
            action: "look at",
            path: rootfs.into(),
            source,
        })?;
        Ok(Self {
            processes: Vec::new(),
            now: HashMap::new(),
            threads: HashMap::new(),
            early: HashSet::new(),
            inside: (root.dev(), root.ino()),
            step: 0,
            watchdog: Pid::from_child(watchdog),
        })
    }

    /// Follows a command that stops itself in [`become_traced`]; its wait status in words if it failed.
    pub(crate) fn follow(&mut self, called: &Child, until: Until) -> Result<Option<String>, Error> {
        let called = Pid::from_child(called);
        match ptrace::wait(Some(called)) {
            Ok((_, status)) if status.stopped() => {}
            Ok((_, status)) => return Ok(Some(words(status))),
            Err(errno) => return Err(trace("wait for the command", errno)),
        }
        ptrace::follow(called).map_err(|errno| trace("follow the command", errno))?;
        let thread = Thread {
            group: called,
            flags: 0,
        };
        self.threads.insert(called, thread);
        resume(called, 0)?;
        let mut failed = None;
        while self.threads.contains_key(&called) || until == Until::All && !self.threads.is_empty()
        {
            let status = ptrace::wait(None);
            let (pid, status) = status.map_err(|errno| trace("wait for a process", errno))?;
            if pid == called && !status.stopped() && status.as_raw() != 0 {
                failed = Some(words(status));
            }
            self.see(pid, status)?;
        }
        self.step += 1;
        Ok(failed)
    }

    /// The processes in the order of their start.
    pub(crate) fn into_processes(self) -> Vec<Process> {
        self.processes
    }

    /// Ends all that is still followed.
    pub(crate) fn kill(&mut self) {
        for &pid in self.threads.keys().chain(&self.early) {
            match kill_process(pid, Signal::KILL) {
                // One that is gone is what is wanted.
                Ok(()) | Err(_) => {}
            }
        }
        while !self.threads.is_empty() {
            let seen = ptrace::wait(None).map(|(pid, status)| self.see(pid, status));
            if !matches!(seen, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Takes note of what a wait has given, and lets a stopped thread go on.
    fn see(&mut self, pid: Pid, status: WaitStatus) -> Result<(), Error> {
        let Some(signal) = status.stopping_signal() else {
            self.threads.remove(&pid);
            self.early.remove(&pid);
            self.now.remove(&pid);
            return match pid == self.watchdog {
                true => Err(trace("wait for the end of the command", Errno::TIME)),
                false => Ok(()),
            };
        };
        match status.as_raw() >> 16 {
            0 => self.stopped(pid, signal),
            event => {
                self.event(pid, event)?;
                resume(pid, 0)
            }
        }
    }

    /// A thread has stopped with a signal, which it gets; a new one with the stop that makes it followed.
    fn stopped(&mut self, pid: Pid, signal: i32) -> Result<(), Error> {
        if !self.threads.contains_key(&pid) {
            self.early.insert(pid);
            return Ok(());
        }
        resume(pid, if signal == libc::SIGSTOP { 0 } else { signal })
    }

    /// A thread is about to make one of the calls that are followed.
    fn call(&mut self, pid: Pid) {
        // It may have been killed where it stood.
        let Ok((number, first)) = ptrace::call(pid) else {
            return;
        };
        if [libc::SYS_execve, libc::SYS_execveat].contains(&number) {
            self.look(pid);
        }
        if let Some(thread) = self.threads.get_mut(&pid)
            && let Some(flags) = clone_flags(pid, number, first)
        {
            thread.flags = flags;
        }
    }

    fn event(&mut self, pid: Pid, event: i32) -> Result<(), Error> {
        match event {
            libc::PTRACE_EVENT_SECCOMP => self.call(pid),
            libc::PTRACE_EVENT_EXIT => self.look(pid),
            libc::PTRACE_EVENT_EXEC => self.exec(pid),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = ptrace::new_process(pid);
                self.fork(pid, child.map_err(|errno| trace("see a fork", errno))?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Another program is in the process `pid`, whose other threads are gone.
    fn exec(&mut self, pid: Pid) {
        let old = self.now.get(&pid).copied();
        self.threads
            .retain(|&other, thread| thread.group != pid || other == pid);
        let thread = Thread {
            group: pid,
            flags: 0,
        };
        self.threads.insert(pid, thread);
        let root = fs::metadata(format!("/proc/{pid}/root"));
        let inside = root.is_ok_and(|root| (root.dev(), root.ino()) == self.inside);
        let begun = match old {
            None => Begun::Called,
            Some(Some(old)) => {
                self.processes[old].contained = inside;
                Begun::Exec(old)
            }
            Some(None) => return,
        };
        let new = (!inside).then(|| self.begin(begun));
        self.now.insert(pid, new);
    }

    /// `parent` has made `child`, a thread or a process.
    fn fork(&mut self, parent: Pid, child: Pid) -> Result<(), Error> {
        let Some(&Thread { group, flags }) = self.threads.get(&parent) else {
            return Ok(());
        };
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let leader = field(&status, "Tgid:").and_then(|id| i32::try_from(id).ok());
        let of = leader.and_then(Pid::from_raw).unwrap_or(child);
        self.threads.insert(
            child,
            Thread {
                group: of,
                flags: 0,
            },
        );
        if of == child {
            let begun = |parent| match flags & CLONE_VM {
                0 => Begun::Fork(parent),
                _ => Begun::Shared(parent),
            };
            let parent = self.now.get(&group).copied().flatten();
            let new = parent.map(|parent| self.begin(begun(parent)));
            self.now.insert(child, new);
        }
        match self.early.remove(&child) {
            true => resume(child, 0),
            false => Ok(()),
        }
    }

    fn begin(&mut self, begun: Begun) -> usize {
        self.processes.push(Process {
            step: self.step,
            name: String::new(),
            begun,
            contained: false,
            peak: 0,
            anonymous: 0,
        });
        self.processes.len() - 1
    }

    /// Reads what the process of this thread has had until now.
    fn look(&mut self, pid: Pid) {
        let group = self.threads.get(&pid).map(|thread| thread.group);
        let now = group.and_then(|group| self.now.get(&group)).copied();
        let (Some(group), Some(Some(index))) = (group, now) else {
            return;
        };
        let process = &mut self.processes[index];
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        process.peak = process.peak.max(field(&status, "VmHWM:").unwrap_or(0));
        process.anonymous = field(&status, "RssAnon:").unwrap_or(process.anonymous);
        if let Ok(name) = fs::read_to_string(format!("/proc/{group}/comm")) {
            name.trim_end().clone_into(&mut process.name);
        }
    }
}

/// The flag by which both have one memory.
const CLONE_VM: u64 = 0x100;

/// Flags of the clone that a call is; `None` if it is none.
fn clone_flags(pid: Pid, number: i64, first: u64) -> Option<u64> {
    match number {
        libc::SYS_clone => Some(first),
        libc::SYS_clone3 => {
            // They are the first field of its argument.
            let mut flags = [0; 8];
            let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
            memory.read_exact_at(&mut flags, first).ok()?;
            Some(u64::from_ne_bytes(flags))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => Some(0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork => Some(CLONE_VM),
        _ => None,
    }
}

/// A number from `/proc/PID/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lets a thread go on.
fn resume(pid: Pid, signal: i32) -> Result<(), Error> {
    ptrace::resume(pid, signal).map_err(|errno| trace("let a process go on", errno))
}

fn words(status: WaitStatus) -> String {
    ExitStatus::from_raw(status.as_raw()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_gives_the_number_behind_the_key() {
        let status = "Name:\tx\nTgid:\t12\nVmHWM:\t    3980 kB\nRssAnon:\t 96 kB\n";
        for (key, want) in [
            ("Tgid:", Some(12)),
            ("VmHWM:", Some(3980)),
            ("RssAnon:", Some(96)),
            ("RssFile:", None),
        ] {
            assert_eq!(field(status, key), want, "{key}");
        }
    }
}
