//! A program in the caller's own namespaces, under what needs no others: cgroup, limits, capabilities,
//! Landlock, seccomp. And its guard, a process between the two.
//!
//! The guard is the parent of the program and reaps for everybody below it (`PR_SET_CHILD_SUBREAPER`), so
//! that nobody gets out of its sight by forking twice. When the launcher says so, or is gone, it kills
//! until nobody is left.

mod guard;
mod program;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use gl_plan::Process;
use gl_seccomp::Program;
use gl_sys::Batch;
use rustix::io::Errno;
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions};

use crate::beside::{Beside, wait_beside_until};
use crate::error::Error;
use crate::foreground::Ended;
use crate::fork::{Place, fork};
use crate::identity;
use crate::record::{Channel, Kind as Message, Record};
use crate::tree;

/// What is run.
pub struct BareRequest<'a> {
    /// The program. Of its process only arguments, environment, working directory (of the host), capabilities,
    /// limits, Landlock and seccomp count; `umask` is added to the caller's, its user stays the caller's.
    pub process: &'a Process,
    /// Files to write `0` into to join the cgroup.
    pub join: Batch,
    /// Its directory on v2: where the kernel can, the program is born in it.
    pub cgroup_dir: Option<OwnedFd>,
    /// The seccomp filter.
    pub seccomp: Option<&'a Program>,
    /// The program's end of a terminal that becomes its own.
    pub terminal: Option<OwnedFd>,
    /// Until when the program has to be executed.
    pub until: Option<Instant>,
    /// What is to be done in the launcher's place, should that be gone.
    pub orphaned: &'a dyn Orphaned,
}

impl fmt::Debug for BareRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BareRequest");
        shown
            .field("process", self.process)
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

/// What the guard does when the launcher is gone.
pub trait Orphaned {
    /// Descriptors that it needs for that.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Kills what it can, before the guard kills everybody that it sees.
    fn kill(&self);

    /// Removes what was made. Nobody of the program's is left.
    fn remove(&self);
}

/// What everybody has used whose end was waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user space.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that one process had in use, in bytes.
    pub most_memory: u64,
}

/// A program that runs, with its guard. Dropping it ends both, and removes what was made.
#[derive(Debug)]
pub struct Bare {
    pid: Pid,
    pidfd: OwnedFd,
    guard: Pid,
    guard_fd: OwnedFd,
    /// None once the guard is to end by itself.
    channel: Option<Channel>,
    /// What was used, once nobody is left.
    over: Option<Usage>,
    /// When the guard was started, in ticks since boot.
    since: u64,
}

/// Who goes along with a program: what is done beside it, and who answers for its filter.
pub trait Companion: Beside {
    /// Takes the listener of the filter, if that makes one, before the program runs: [`Beside`] has to answer
    /// from here on.
    fn listener(&mut self, listener: OwnedFd);

    /// The program runs.
    fn started(&mut self, _pid: Pid) {}

    /// What the guard keeps open as well, until nothing is left: a lock by which others know.
    fn lock(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Nobody. A listener is closed: what it would be asked fails with `ENOSYS`.
impl Companion for () {
    fn listener(&mut self, _listener: OwnedFd) {}
}

/// Starts a program and returns once it has been executed.
///
/// # Errors
///
/// What kept the program from running; nothing is left of it then, nor of what `orphaned` removes.
pub fn spawn_bare(request: BareRequest<'_>, company: &mut dyn Companion) -> Result<Bare, Error> {
    let failed = |what| move |source| Error::Host { what, source };
    identity::hide().map_err(|fault| Error::Host {
        what: "hide from other processes",
        source: fault.errno,
    })?;
    // Should the guard be killed, its children become ours, and not init's.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(failed("become the parent of orphans"))?;
    let (ours, guards) = Channel::pair().map_err(failed("make a socket pair"))?;
    let (to_program, programs) = Channel::pair().map_err(failed("make a socket pair"))?;
    let process = request.process;
    let until = request.until;
    let given = guard::Given {
        request,
        launcher: guards,
        program: programs,
    };
    let forked = fork(
        Place::default(),
        0,
        given,
        guard::Given::descriptors,
        |given, _| guard::run(given),
    );
    let (guard, guard_fd) = forked.map_err(|source| Error::Fork { source })?;
    let mut starting = Starting {
        guard_fd: Some(guard_fd),
        channel: Some(ours),
    };
    let since = tree::task(guard)
        .map_err(failed("look at the guard"))?
        .started;
    let pid = starting.program()?;
    gl_sys::stage("worker: guard and program forked");
    // The guard has not waited for it yet, so the id is its own.
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(failed("open the program's process"))?;
    starting.tell(Message::Continue)?;
    let mut start = Start {
        channel: to_program,
        process,
        pidfd: pidfd.as_fd(),
        until,
    };
    start.follow(company)?;
    let (Some(guard_fd), channel) = (starting.guard_fd.take(), starting.channel.take()) else {
        return Err(Error::Killed);
    };
    Ok(Bare {
        pid,
        pidfd,
        guard,
        guard_fd,
        channel,
        over: None,
        since,
    })
}

/// A guard whose program does not run yet: it ends, with all of it, when this is dropped.
struct Starting {
    guard_fd: Option<OwnedFd>,
    channel: Option<Channel>,
}

impl Starting {
    fn channel(&self) -> Result<&Channel, Error> {
        self.channel.as_ref().ok_or(Error::Killed)
    }

    fn program(&self) -> Result<Pid, Error> {
        let failed = |source| Error::Host {
            what: "talk to the guard",
            source,
        };
        match self.channel()?.receive().map_err(failed)? {
            Some(record) if record.kind == Message::Forked => {
                let pid = i32::try_from(record.value).ok().and_then(Pid::from_raw);
                pid.ok_or_else(|| failed(Errno::SRCH))
            }
            Some(record) => Err(Error::from_record(&record, &[], None)),
            None => Err(Error::Killed),
        }
    }

    fn tell(&self, kind: Message) -> Result<(), Error> {
        let sent = self.channel()?.send(&Record::new(kind, 0));
        sent.map_err(|source| Error::Host {
            what: "talk to the guard",
            source,
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(guard) = self.guard_fd.take() {
            drop(self.channel.take());
            reap(&guard);
        }
    }
}

/// The way of a program to its execve, as seen from the launcher.
struct Start<'a> {
    channel: Channel,
    process: &'a Process,
    pidfd: BorrowedFd<'a>,
    until: Option<Instant>,
}

impl Start<'_> {
    fn follow(&mut self, company: &mut dyn Companion) -> Result<(), Error> {
        let failed = |source| Error::Host {
            what: "talk to the program's process",
            source,
        };
        let go = Record::new(Message::Go, 0);
        self.channel.send(&go).map_err(failed)?;
        let mut executing = false;
        loop {
            let beside: &mut dyn Beside = company;
            let ready = wait_beside_until(&[self.channel.as_fd()], self.until, beside);
            if !ready.map_err(failed)?.contains(&true) {
                return Err(failed(Errno::TIMEDOUT));
            }
            let record = match self.channel.receive().map_err(failed)? {
                None if executing => {
                    gl_sys::stage("worker: program executed");
                    return Ok(());
                }
                None => return Err(Error::Killed),
                Some(record) => record,
            };
            match record.kind {
                Message::Executing => {
                    executing = true;
                    gl_sys::stage("worker: program's filter attached");
                }
                Message::Listener => {
                    company.listener(self.take_listener(record.value)?);
                    let on = Record::new(Message::Continue, 0);
                    self.channel.send(&on).map_err(failed)?;
                }
                _ => return Err(Error::from_record(&record, &self.process.args, None)),
            }
        }
    }

    fn take_listener(&self, number: i64) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Host {
            what: "take the listener of the seccomp filter",
            source,
        };
        let number: ForeignRawFd = i32::try_from(number).or(Err(failed(Errno::BADF)))?;
        rustix::process::pidfd_getfd(self.pidfd, number, PidfdGetfdFlags::empty()).map_err(failed)
    }
}

impl Bare {
    /// The program's process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor of the program's process.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whom everybody of the program's is below.
    #[must_use]
    pub fn guard(&self) -> Pid {
        self.guard
    }

    /// Readable once [`Bare::ended`] has something to say.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.channel {
            Some(channel) => channel.as_fd(),
            None => self.guard_fd.as_fd(),
        }
    }

    /// Waits for the end of the program. Others that it has started may be left.
    ///
    /// # Errors
    ///
    /// [`Error::Killed`] if the guard is gone: what it watched over was killed.
    pub fn ended(&mut self) -> Result<Ended, Error> {
        let record = self
            .channel
            .as_ref()
            .and_then(|channel| channel.receive().ok());
        match record.flatten() {
            Some(record) if record.kind == Message::Ended => {
                if says_nobody_left(&record) {
                    self.over = Some(guard::usage_of(record.note.as_bytes()));
                }
                Ok(guard::ended_of(record.value))
            }
            _ => {
                self.without_guard();
                Err(Error::Killed)
            }
        }
    }

    /// Has everybody killed who is left, and waits until nobody is.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] with `ETIMEDOUT` once `limit` is over, as for a process that hangs in the kernel: the
    /// guard goes on, and removes what is left after it. [`Error::Killed`] as for [`Bare::ended`].
    pub fn finish(mut self, limit: Duration) -> Result<Finished, Error> {
        let failed = |source| Error::Host {
            what: "end the processes that the program has left",
            source,
        };
        let Some(channel) = self.channel.take() else {
            return Err(Error::Killed);
        };
        if let Some(usage) = self.over.take() {
            return self.finished(channel, usage);
        }
        let until = Instant::now().checked_add(limit);
        channel
            .send(&Record::new(Message::Continue, 0))
            .map_err(failed)?;
        loop {
            let ready = wait_beside_until(&[channel.as_fd()], until, &mut ());
            if !ready.map_err(failed)?.contains(&true) {
                return Err(failed(Errno::TIMEDOUT));
            }
            match channel.receive().map_err(failed)? {
                Some(record) if says_nobody_left(&record) => {
                    let usage = guard::usage_of(record.note.as_bytes());
                    return self.finished(channel, usage);
                }
                // The program's end, which nobody has asked for.
                Some(record) if record.kind == Message::Ended => {}
                _ => {
                    self.without_guard();
                    return Err(Error::Killed);
                }
            }
        }
    }

    fn finished(&self, channel: Channel, usage: Usage) -> Result<Finished, Error> {
        let guard = rustix::io::fcntl_dupfd_cloexec(&self.guard_fd, 3);
        let guard = guard.map_err(|source| Error::Host {
            what: "keep the guard",
            source,
        })?;
        Ok(Finished {
            usage,
            channel: Some(channel),
            guard,
        })
    }

    /// Kills who has become our child by the guard's end.
    fn without_guard(&mut self) {
        self.channel = None;
        crate::spawn::kill_and_reap(&self.guard_fd);
        let own = rustix::process::getpid();
        while matches!(tree::kill_below(own, self.since), Ok(1..)) {
            guard::pause();
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            drop(channel);
            reap(&self.guard_fd);
        }
    }
}

/// A program of which nobody is left. Dropping it has the guard remove what was made.
#[derive(Debug)]
pub struct Finished {
    /// What they have used.
    pub usage: Usage,
    channel: Option<Channel>,
    guard: OwnedFd,
}

impl Finished {
    /// Lets go of the guard: the launcher has removed what was made.
    pub fn release(mut self) {
        if let Some(channel) = self.channel.take() {
            // A guard that is gone has nothing to be told.
            channel.send(&Record::new(Message::Continue, 0)).ok();
        }
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        drop(self.channel.take());
        reap(&self.guard);
    }
}

/// Whether a record of the guard says that nobody is left.
fn says_nobody_left(record: &Record) -> bool {
    match record.kind {
        Message::Empty => true,
        Message::Ended => !record.note.as_bytes().is_empty(),
        _ => false,
    }
}

/// Waits for the end of a child.
fn reap(pidfd: &OwnedFd) {
    while let Err(Errno::INTR) =
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_says_how_it_ended() {
        for (status, want, code) in [
            (0, Ended::Exited(0), 0),
            (3 << 8, Ended::Exited(3), 3),
            (9, Ended::Signalled(9), 137),
            (0x80 | 11, Ended::Signalled(11), 139),
        ] {
            let ended = guard::ended_of(status);
            assert_eq!((ended, ended.status()), (want, code), "{status:#x}");
        }
    }
}
