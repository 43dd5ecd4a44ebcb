//! A plan carried out: made, started, watched, ended, removed.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use gl_cgroup::Cgroup;
use gl_launch::{
    Bare, BareRequest, Beside, Ended, Orphaned, RawMode, Signals, copy, copy_size, spawn_bare,
    wait_beside_until,
};
use gl_plan::Process;
use gl_seccomp::Program;
use gl_spec::{Links, PathRule};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::OpenptFlags;

use crate::error::Error;
use crate::group;
use crate::plan::{Counting, Plan, TERMINAL, Terminal, WRITE};
use crate::temp::Temp;
use crate::watch::Watch;

pub use gl_launch::Companion;

/// Why a program was ended, or what it was ended by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Its wall-clock time was over.
    Timeout,
    /// Its processes had used up their CPU time.
    CpuTime,
    /// It had more processes, or threads, than it may have.
    Pids,
    /// The kernel ended it for lack of memory.
    Oom,
    /// Its limits could not be watched any longer.
    Unwatched,
}

impl Reason {
    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu_time",
            Self::Pids => "pids",
            Self::Oom => "oom",
            Self::Unwatched => "unwatched",
        }
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user space, of all whose end was waited for.
    pub user: Duration,
    /// The same in the kernel.
    pub system: Duration,
    /// Processor time of everybody, as the cgroup has counted it.
    pub cpu: Option<Duration>,
    /// The most memory at a time, in bytes: of everybody where there is a cgroup, else of the largest process.
    pub memory_peak: u64,
    /// Processes that the kernel has killed for lack of memory.
    pub oom_kills: u64,
    /// The most tasks at a time, where there is a cgroup that counts that.
    pub tasks_peak: Option<u64>,
    /// Tasks that the cgroup has refused.
    pub tasks_refused: u64,
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Until the program was executed.
    pub setup: Duration,
    /// Until it had ended.
    pub run: Duration,
    /// Until nothing was left of it.
    pub cleanup: Duration,
}

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// How the program ended.
    pub ended: Ended,
    /// Why, if a limit did it.
    pub reason: Option<Reason>,
    /// What was used.
    pub usage: Usage,
    /// How long it took.
    pub times: Times,
    /// What could not be removed.
    pub left: Vec<Error>,
}

/// How long a program has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long killed processes may take to be gone.
const LIMIT: Duration = Duration::from_secs(30);

/// What is there while a program runs.
struct Made {
    temp: Temp,
    cgroup: Option<Cgroup>,
    /// Held by the guard as well: what it removes goes by its path, which nobody else may use yet.
    lock: Option<OwnedFd>,
}

impl Orphaned for Made {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = self.temp.descriptors().to_vec();
        all.extend(self.cgroup.iter().map(Cgroup::descriptor));
        all.extend(self.lock.iter().map(AsFd::as_fd));
        all
    }

    fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            // The guard kills everybody that it sees, whatever this does.
            group::kill(cgroup).ok();
        }
    }

    fn remove(&self) {
        // Nobody is there who could be told.
        drop(self.try_remove());
    }
}

impl Made {
    fn make(plan: &Plan, lock: Option<OwnedFd>) -> Result<Self, Error> {
        let temp = Temp::make(&plan.temp, &plan.name)?;
        let cgroup = match &plan.group {
            None => None,
            Some(group) => match group::make(group, &plan.name) {
                Ok(cgroup) => Some(cgroup),
                Err(err) => {
                    // What the clean-up meets is not what is to be told.
                    temp.remove().ok();
                    return Err(err);
                }
            },
        };
        Ok(Self { temp, cgroup, lock })
    }

    fn try_remove(&self) -> Vec<Error> {
        let cgroup = self.cgroup.as_ref().map(group::remove);
        let removed = [cgroup, Some(self.temp.remove())];
        let failed = removed.into_iter().flatten().filter_map(Result::err);
        failed.collect()
    }
}

/// Both ends of a terminal.
struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
}

/// Runs a program as planned, to its end and to that of all that it has started.
///
/// The caller's signals are held back and passed on from here on. This process must have one thread, and
/// is the parent of orphans (`PR_SET_CHILD_SUBREAPER`) afterwards.
///
/// # Errors
///
/// What kept the program from running, or from being watched; nothing is left of it then.
pub fn run(plan: &Plan, company: &mut dyn Companion) -> Result<Finished, Error> {
    let begun = Instant::now();
    let signals = Signals::hold().map_err(Error::host("hold signals back"))?;
    let filter = plan.filter().map(gl_seccomp::assemble).transpose()?;
    if let Some(filter) = &filter {
        gl_seccomp::check_kernel(filter)?;
    }
    let pty = match plan.terminal {
        Terminal::Own => Some(open_pty().map_err(Error::host("open a terminal"))?),
        Terminal::Inherit => None,
    };
    let lock = company
        .lock()
        .map(|lock| rustix::io::fcntl_dupfd_cloexec(lock, 0));
    let lock = lock.transpose().map_err(Error::host("pass the lock on"))?;
    gl_sys::stage("worker: filter compiled");
    let made = Made::make(plan, lock)?;
    gl_sys::stage("worker: directory and cgroup made");
    let started = start(plan, (&made, filter.as_ref()), pty, (begun, company));
    let (bare, master) = match started {
        Ok(started) => started,
        Err(err) => {
            // The guard has, if it was there.
            drop(made.try_remove());
            return Err(err);
        }
    };
    let executed = Instant::now();
    let mut running = Running {
        watch: Watch::new(plan.limits, made.cgroup.as_ref(), bare.guard()),
        bare,
        master,
        ending: None,
    };
    company.started(running.bare.pid());
    let ended = running.attend(&signals, company);
    gl_sys::stage("worker: program ended");
    let over = Instant::now();
    let reason = running.ending.map(|(reason, _)| reason);
    let mut finished = finish(running, (&made, plan.counting), ended)?;
    finished.reason = reason.or_else(|| finished.killed_by(plan));
    finished.times = Times {
        setup: executed.saturating_duration_since(begun),
        run: over.saturating_duration_since(executed),
        cleanup: over.elapsed(),
    };
    Ok(finished)
}

/// Starts the program, and returns it with our end of its terminal.
fn start(
    plan: &Plan,
    (made, seccomp): (&Made, Option<&Program>),
    pty: Option<Pty>,
    (begun, company): (Instant, &mut dyn Companion),
) -> Result<(Bare, Option<OwnedFd>), Error> {
    let (master, slave) = match pty {
        Some(Pty { master, slave }) => (Some(master), Some(slave)),
        None => (None, None),
    };
    let process = complete(plan, made, slave.as_ref())?;
    let (join, cgroup_dir) = match &made.cgroup {
        Some(cgroup) => (cgroup.join_fds()?, cgroup.open_dir(&[])?),
        None => (Vec::new(), None),
    };
    let request = BareRequest {
        process: &process,
        join: join.into(),
        cgroup_dir,
        seccomp,
        terminal: slave,
        until: plan.limits.setup.and_then(|setup| begun.checked_add(setup)),
        orphaned: made,
    };
    Ok((spawn_bare(request, company)?, master))
}

/// The process with what was made for it.
fn complete(plan: &Plan, made: &Made, slave: Option<&OwnedFd>) -> Result<Process, Error> {
    let mut process = plan.process.clone();
    let temp = made.temp.path();
    let var = [b"TMPDIR=", temp.as_os_str().as_bytes()].concat();
    let var = CString::new(var).or(Err(Error::Nul { what: "TMPDIR" }))?;
    process
        .env
        .retain(|entry| !entry.as_bytes().starts_with(b"TMPDIR="));
    process.env.push(var);
    if !process
        .env
        .iter()
        .any(|entry| entry.as_bytes().starts_with(b"HOME="))
    {
        let var = [b"HOME=", temp.as_os_str().as_bytes()].concat();
        let var = CString::new(var).or(Err(Error::Nul { what: "HOME" }))?;
        process.env.push(var);
    }
    let Some(landlock) = process.landlock.first_mut() else {
        return Ok(process);
    };
    let known = landlock.filesystem;
    let rule = |path: &str, access| PathRule {
        path: path.to_owned(),
        access: access & known,
        links: Links::Refuse,
    };
    let temp = temp.to_str().unwrap_or_default();
    let mut rules = vec![rule(temp, WRITE)];
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let terminals = match slave {
        Some(slave) => vec![slave.as_fd()],
        None => streams.to_vec(),
    };
    for terminal in terminals {
        // The program has it already: now also by its name.
        let name = rustix::termios::ttyname(terminal, Vec::new());
        let name = name.ok().and_then(|name| name.into_string().ok());
        rules.extend(name.map(|name| rule(&name, TERMINAL)));
    }
    if known != 0 {
        landlock.paths.extend(rules);
    }
    Ok(process)
}

fn open_pty() -> Result<Pty, rustix::io::Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    copy_size(master.as_fd());
    Ok(Pty { master, slave })
}

/// A program that runs.
struct Running<'a> {
    bare: Bare,
    watch: Watch<'a>,
    master: Option<OwnedFd>,
    /// Why it is being ended, and when it is killed.
    ending: Option<(Reason, Option<Instant>)>,
}

impl Running<'_> {
    /// Passes on what can be passed on until the program has ended, and ends it at its limits.
    fn attend(&mut self, signals: &Signals, company: &mut dyn Companion) -> Result<Ended, Error> {
        let failed = Error::host("wait for the program");
        // Held open, so that what Landlock allows of it stays the same directory.
        let pid = self.bare.pid().as_raw_nonzero();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty());
        let raw = self.master.as_ref().map(|_| RawMode::enter());
        let mut open = Open {
            input: self.master.is_some(),
            output: self.master.is_some(),
        };
        let ended = loop {
            let stdin = rustix::stdio::stdin();
            let mut fds = vec![self.bare.descriptor(), signals.as_fd()];
            if let (Some(master), true) = (&self.master, open.output) {
                fds.push(master.as_fd());
                fds.extend(open.input.then_some(stdin));
            }
            let until = match self.ending {
                None => Some(self.watch.next()),
                Some((_, kill)) => kill,
            };
            let beside: &mut dyn Beside = company;
            let ready = wait_beside_until(&fds, until, beside).map_err(&failed)?;
            let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
            if is_ready(1) {
                let master = self.master.as_ref().map(AsFd::as_fd);
                signals.pass(self.bare.pidfd(), master).map_err(&failed)?;
            }
            if is_ready(0) {
                break self.bare.ended();
            }
            self.hold_limits();
            open.relay(self.master.as_ref(), (is_ready(2), is_ready(3)));
        };
        drop((raw, proc));
        Ok(ended?)
    }

    /// Ends the program if it is at a limit: asked first, then killed.
    fn hold_limits(&mut self) {
        let now = Instant::now();
        let signal = match self.ending {
            Some((reason, Some(kill))) if kill <= now => {
                self.ending = Some((reason, None));
                Signal::KILL
            }
            Some(_) => return,
            None => match self.watch.exceeded() {
                None => return,
                Some(reason @ (Reason::Timeout | Reason::CpuTime)) => {
                    self.ending = Some((reason, now.checked_add(GRACE)));
                    Signal::TERM
                }
                Some(reason) => {
                    self.ending = Some((reason, None));
                    Signal::KILL
                }
            },
        };
        // One that has just ended says so on its own.
        rustix::process::pidfd_send_signal(self.bare.pidfd(), signal).ok();
    }
}

/// Which ways of a terminal are still open.
struct Open {
    input: bool,
    output: bool,
}

impl Open {
    fn relay(&mut self, master: Option<&OwnedFd>, (output, input): (bool, bool)) {
        let Some(master) = master else {
            return;
        };
        if self.output && output {
            self.output = copy(master.as_fd(), rustix::stdio::stdout());
        } else if self.input && input {
            self.input = copy(rustix::stdio::stdin(), master.as_fd());
        }
    }
}

/// Kills who is left, reads what was used, removes what was made.
fn finish(
    running: Running<'_>,
    (made, counting): (&Made, Counting),
    ended: Result<Ended, Error>,
) -> Result<Finished, Error> {
    made.kill();
    let Running { bare, master, .. } = running;
    let finished = bare.finish(LIMIT);
    gl_sys::stage("worker: all processes ended");
    if let (Some(master), Ok(_)) = (&master, &finished) {
        // Nobody has the other end any more, so there is an end to this.
        while copy(master.as_fd(), rustix::stdio::stdout()) {}
    }
    let mut usage = Usage::default();
    let counted = counting == Counting::All || !matches!(ended, Ok(Ended::Exited(0)));
    if let Some(cgroup) = made.cgroup.as_ref().filter(|_| counted) {
        usage.cpu = cgroup.cpu_time().ok();
        usage.oom_kills = cgroup.oom_kills().unwrap_or(0);
        usage.memory_peak = cgroup.memory_peak().ok().flatten().unwrap_or(0);
        let tasks = cgroup.tasks().unwrap_or_default();
        (usage.tasks_peak, usage.tasks_refused) = (tasks.peak, tasks.refused);
    }
    let left = made.try_remove();
    gl_sys::stage("worker: directory and cgroup removed");
    let finished = match (finished, &ended) {
        (Ok(finished), _) => finished,
        // The guard is gone, which is the first to tell.
        (Err(_), Err(_)) => {
            return Err(ended
                .err()
                .unwrap_or(Error::Launch(gl_launch::Error::Killed)));
        }
        (Err(err), Ok(_)) => return Err(err.into()),
    };
    usage.user = finished.usage.user;
    usage.system = finished.usage.system;
    if usage.memory_peak == 0 {
        usage.memory_peak = finished.usage.most_memory;
    }
    if left.is_empty() {
        finished.release();
    }
    Ok(Finished {
        ended: ended?,
        reason: None,
        usage,
        times: Times::default(),
        left,
    })
}

impl Finished {
    /// The limit by which the kernel has ended the program, as far as that can be told.
    fn killed_by(&self, plan: &Plan) -> Option<Reason> {
        let Ended::Signalled(signal) = self.ended else {
            return None;
        };
        let killed = signal == Signal::KILL.as_raw();
        if killed && self.usage.oom_kills > 0 {
            return Some(Reason::Oom);
        }
        // By RLIMIT_CPU, before anybody has looked.
        let used = self.usage.user.saturating_add(self.usage.system);
        let used = used.max(self.usage.cpu.unwrap_or_default());
        let by_time = killed || signal == Signal::XCPU.as_raw();
        (by_time && used.saturating_add(SLACK) >= plan.limits.cpu_time).then_some(Reason::CpuTime)
    }
}

/// The kernel's accounts differ by that much.
const SLACK: Duration = Duration::from_millis(50);
