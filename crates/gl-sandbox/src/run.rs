//! A run: two processes that look after each other, and the sandbox between them.
//!
//! The caller's process, the *front*, starts a *worker* and waits for it. The worker makes the sandbox, waits
//! for its program and takes all of it away again. If the worker is killed, the front does that; if the front
//! is, the worker ends the program. If both are, the program gets SIGKILL from the kernel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use gl_cgroup::Driver;
use gl_container::{
    Beside, Companion, Container, CreateRequest, Decision, Denials as Observing, Force, Init,
    RunRequest, Tie,
};
use gl_plan::{Keyring, Pivot};
use gl_profile::{Isolation, Limits, Profile};
use gl_seccomp::Policy;
use gl_spec::{ContainerId, Timestamp};
use gl_sys::Sender;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::basic;
use crate::bundle::{self, AGENT};
use crate::denials::Denials;
use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::layers;
use crate::report::{self, Exit, Layer, Loosening, Reason, Report, Times, Usage};

pub use gl_container::Ended;

/// What is to be run, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The sandbox's name.
    pub id: ContainerId,
    /// The profile, with the options of the command line in it.
    pub profile: Profile,
    /// What those options allow beyond it.
    pub loosened: Vec<Loosening>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory inside; the caller's own, if that may be seen, or `/tmp`.
    pub cwd: Option<String>,
    /// Its root.
    pub root: Root,
    /// Whether it gets a terminal of its own.
    pub terminal: Terminal,
}

/// What the root of a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A view of the host: what the profile shows of it.
    Host,
    /// A directory, read-only.
    Directory(PathBuf),
}

/// Whether a program gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// It has the caller's streams.
    No,
    /// It has one that is relayed to the caller's.
    Yes,
}

/// Makes sure that this process can run a sandbox; the program may begin anew in it, with the same arguments.
///
/// # Errors
///
/// [`Error::Container`] with what keeps it from that.
pub fn prepare(root: &Root, tier: Isolation) -> Result<(), Error> {
    match root {
        // It stays where it is, and its program cannot write to ours.
        Root::Host if tier == Isolation::Basic => Ok(()),
        Root::Host => Ok(gl_container::prepare_alone()?),
        // Its files may belong to anybody.
        Root::Directory(_) => Ok(gl_container::prepare_create(Path::new("."), None)?),
    }
}

/// Runs a sandbox to its end. `done` is told how it went, in the worker, when nothing is left of it, and gives
/// the exit status; that is returned here.
///
/// # Errors
///
/// [`Error::Launch`] if there is no worker, [`Error::Killed`] if it was killed: what it made is taken away.
pub fn run(
    sandboxes: &Sandboxes,
    request: &Request,
    done: impl FnOnce(Result<&Report, (&Report, &Error)>) -> u8,
) -> Result<u8, Error> {
    let (pid, worker) = gl_launch::worker(|front| {
        let (report, error) = work(request, front);
        i32::from(match &error {
            None => done(Ok(&report)),
            Some(err) => done(Err((&report, err))),
        })
    })?;
    let ended = wait(&worker).map_err(Error::host("wait for the sandbox"))?;
    match ended {
        Ended::Exited(status) => Ok(status),
        Ended::Signalled(signal) => {
            clean_up(sandboxes, &request.id, pid)?;
            Err(Error::Killed { signal })
        }
    }
}

/// Takes away what a worker has left, and nothing of anybody else's who has the same name in use.
fn clean_up(sandboxes: &Sandboxes, id: &ContainerId, worker: Pid) -> Result<(), Error> {
    if !sandboxes.is_of(id, worker)? {
        return Ok(());
    }
    let bundle = sandboxes.dir(id).join("bundle");
    let own = match sandboxes.store().load(id) {
        Ok(container) => container.state()?.bundle == bundle,
        // Its maker has come as far as a directory, or not even that.
        Err(gl_container::Error::Missing { .. }) => true,
        Err(err) => return Err(err.into()),
    };
    if own {
        match gl_container::delete(sandboxes.store(), id, Force::Yes) {
            Ok(_) | Err(gl_container::Error::Missing { .. }) => {}
            Err(err) => return Err(err.into()),
        }
    }
    sandboxes.remove(id)
}

/// Waits for the worker, and passes signals on to it.
fn wait(worker: &OwnedFd) -> Result<Ended, Errno> {
    let signals = gl_sys::block_all()?;
    loop {
        let ready = gl_launch::wait_beside(&[worker.as_fd(), signals.as_fd()], &mut ())?;
        if ready.get(1) == Some(&true) {
            pass_signals(&signals, worker)?;
        }
        if ready.first() != Some(&true) {
            continue;
        }
        let status = rustix::process::waitid(WaitId::PidFd(worker.as_fd()), WaitIdOptions::EXITED)?;
        let status = status.ok_or(Errno::CHILD)?;
        if let Some(signal) = status.terminating_signal() {
            return Ok(Ended::Signalled(signal));
        }
        let code = status.exit_status().unwrap_or(255);
        return Ok(Ended::Exited(u8::try_from(code & 0xff).unwrap_or(255)));
    }
}

fn pass_signals(signals: &OwnedFd, worker: &OwnedFd) -> Result<(), Errno> {
    while let Some((signal, sender)) = gl_sys::read_signal_from(signals.as_fd())? {
        // A terminal tells the worker by itself.
        if signal == Signal::CHILD.as_raw() || sender == Sender::Kernel {
            continue;
        }
        match gl_sys::pidfd_send_signal(worker.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The worker.
fn work(request: &Request, front: OwnedFd) -> (Report, Option<Error>) {
    let begun = Instant::now();
    let mut watching = Watching::new(request, begun);
    let result = sandbox(request, front, &mut watching);
    let mut report = watching.report;
    if let Some(ended) = watching.ended {
        report.times.cleanup_us = micros(ended, Instant::now());
    }
    if let Err(err) = &result {
        report.exit.error = Some(gl_spec::chain(err));
    }
    (report, result.err())
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}

fn sandbox(request: &Request, front: OwnedFd, watching: &mut Watching) -> Result<(), Error> {
    // Opened anew: nothing that the front has open came along.
    let sandboxes = Sandboxes::open()?;
    let dir = sandboxes.make(&request.id)?;
    let result = in_dir(&sandboxes, &dir, request, front, watching);
    let removed = sandboxes.remove(&request.id);
    result.and(removed)
}

fn in_dir(
    sandboxes: &Sandboxes,
    dir: &Path,
    request: &Request,
    front: OwnedFd,
    watching: &mut Watching,
) -> Result<(), Error> {
    if is_basic(request) {
        watching.agent = Some(Agent {
            denials: Denials::default(),
            front: Some(front),
            init: None,
        });
        return basic::run(request, dir, watching);
    }
    watching.agent = Some(Agent {
        denials: Denials::listen(&dir.join(AGENT))?,
        front: Some(front),
        init: None,
    });
    let bundle = bundle::write(dir, request)?;
    let config = bundle.join("config.json");
    watching.own = layers::own(&config)?;
    let run = RunRequest {
        create: CreateRequest {
            bundle,
            config: None,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            pivot: Pivot::Pivot,
            keyring: Keyring::New,
            preserve_fds: 0,
            cgroups: Some(Driver::Cgroupfs),
            profile: None,
            resolved: Some(for_container(&request.profile)),
            denials: Observing::Observed,
            tie: Tie::Launcher,
            init: Init::Reaper,
            extra_env: Vec::new(),
        },
        detach: false,
        keep: false,
    };
    gl_container::run_beside(sandboxes.store(), &request.id, &run, watching)?;
    Ok(())
}

fn is_basic(request: &Request) -> bool {
    request.root == Root::Host && request.profile.isolation.value == Isolation::Basic
}

/// The profile without what is in the bundle already.
fn for_container(profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    profile.filesystem.bind_mounts = None;
    profile.filesystem.temp_root_path = None;
    // The first process is none of the program's.
    for count in [
        &mut profile.limits.max_processes.value.0,
        &mut profile.limits.max_threads.value.0,
    ] {
        *count = count.saturating_add(1);
    }
    profile
}

/// How the program ended, by what the first process tells of it.
fn of_program(ended: Ended) -> Ended {
    match ended {
        Ended::Exited(status @ 129..=192) => Ended::Signalled(i32::from(status) - 128),
        other => other,
    }
}

/// What the worker does while the sandbox runs.
pub(crate) struct Watching {
    pub(crate) report: Report,
    /// What the sandbox sets up by itself.
    own: Vec<Layer>,
    /// The limits that a cgroup counts.
    limits: Limits,
    agent: Option<Agent>,
    begun: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
}

struct Agent {
    denials: Denials,
    /// Readable when the front is gone.
    front: Option<OwnedFd>,
    init: Option<OwnedFd>,
}

impl Watching {
    /// Answers for the filter of a program from here on.
    pub(crate) fn listen_to(&mut self, listener: OwnedFd) {
        if let Some(agent) = &mut self.agent {
            agent.denials.listen_to(listener);
        }
    }

    /// By what denials are explained.
    pub(crate) fn explain_by(&mut self, decision: Decision) {
        if let Some(agent) = &mut self.agent {
            agent.denials.decided(decision);
        }
    }

    /// By what the calls of a program are judged.
    pub(crate) fn judge_by(&mut self, policy: Policy) {
        if let Some(agent) = &mut self.agent {
            agent.denials.judge_by(policy);
        }
    }

    /// What ends if the front does.
    pub(crate) fn program_is(&mut self, program: Option<OwnedFd>) {
        if let Some(agent) = &mut self.agent {
            agent.init = program;
        }
    }

    /// Puts what was denied into the report, and the limits that were met.
    pub(crate) fn tell_denials(&mut self) {
        let Some(agent) = &mut self.agent else {
            return;
        };
        let (mut denials, more) = agent.denials.take();
        let usage = self.report.usage.iter();
        denials.extend(usage.flat_map(|usage| layers::limits_met(usage, &self.limits)));
        self.report.denials = denials;
        self.report.denials_not_listed = more;
    }

    fn new(request: &Request, begun: Instant) -> Self {
        let profile = &request.profile;
        Self {
            report: Report {
                version: report::VERSION,
                id: request.id.as_str().to_owned(),
                tier: tier(request).to_owned(),
                mode: profile.mode.value.as_str().to_owned(),
                profile: profile.name.value.as_str().to_owned(),
                profile_hash: profile.hash(),
                command: request.command.clone(),
                started: Timestamp::from(SystemTime::now()).to_string(),
                layers: Vec::new(),
                loosened: request.loosened.clone(),
                exit: Exit {
                    status: Reason::SetupError.status().unwrap_or(125),
                    code: None,
                    signal: None,
                    reason: Reason::SetupError,
                    error: None,
                },
                times: Times::default(),
                usage: None,
                denials: Vec::new(),
                denials_not_listed: 0,
                not_observed: report::NOT_OBSERVED.map(str::to_owned).to_vec(),
            },
            own: Vec::new(),
            limits: profile.limits.clone(),
            agent: None,
            begun,
            started: None,
            ended: None,
        }
    }
}

fn tier(request: &Request) -> &'static str {
    match (request.profile.isolation.value, &request.root) {
        (Isolation::Gvisor, _) => "gvisor",
        (_, Root::Directory(_)) => "container",
        (Isolation::Basic, _) => "basic",
        (_, Root::Host) => "namespace",
    }
}

impl Companion for Watching {
    fn decided(&mut self, decision: Decision) {
        self.report.layers = std::mem::take(&mut self.own);
        self.report.layers.extend(layers::of_profile(&decision));
        if let Some(agent) = &mut self.agent {
            agent.denials.decided(decision);
        }
    }

    fn started(&mut self, container: &Container) {
        let now = Instant::now();
        self.report.times.setup_us = micros(self.begun, now);
        self.started = Some(now);
        if let Some(agent) = &mut self.agent {
            // One that has ended already has nobody to be ended.
            agent.init = container.pidfd().ok();
        }
    }

    fn agent(&mut self) -> &mut dyn Beside {
        self
    }

    fn ended(&mut self, container: &Container, ended: Ended) {
        let ended = of_program(ended);
        let now = Instant::now();
        self.ended = Some(now);
        self.report.times.run_us = micros(self.started.unwrap_or(now), now);
        self.report.usage = usage(container);
        self.tell_denials();
        let ooms = self
            .report
            .usage
            .as_ref()
            .map_or(0, |usage| usage.oom_kills);
        let reason = match container.end_reason() {
            Ok(Some(reason)) => Some(Reason::from(reason)),
            // A program that copes with the end of a child says so by its own success.
            _ if ooms > 0 && ended != Ended::Exited(0) => Some(Reason::Oom),
            _ if ended == Ended::Signalled(Signal::SYS.as_raw()) => Some(Reason::Denied),
            _ if ended == Ended::Signalled(Signal::XCPU.as_raw()) => Some(Reason::CpuTime),
            _ => None,
        };
        self.report.exit = Exit::of(ended, reason);
    }
}

impl Beside for Watching {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Some(agent) = &self.agent else {
            return Vec::new();
        };
        let mut all: Vec<_> = agent.front.iter().map(AsFd::as_fd).collect();
        all.extend(agent.denials.descriptors());
        all
    }

    fn ready(&mut self, position: usize) {
        let Some(agent) = &mut self.agent else {
            return;
        };
        let fronts = usize::from(agent.front.is_some());
        match position.checked_sub(fronts) {
            Some(position) => agent.denials.ready(position),
            None => {
                if let Some(init) = &agent.init {
                    // It takes all of its pid namespace with it. Who is gone needs no signal.
                    match gl_sys::pidfd_send_signal(init.as_fd(), Signal::KILL.as_raw()) {
                        Ok(()) | Err(_) => agent.front = None,
                    }
                }
            }
        }
    }
}

fn usage(container: &Container) -> Option<Usage> {
    let stats = container.usage().ok().flatten()?;
    let tasks = container.tasks().ok().flatten().unwrap_or_default();
    let disk = |op: &str| {
        let all = stats.blkio.io_service_bytes_recursive.iter();
        let all = all.filter(|entry| entry.op.eq_ignore_ascii_case(op));
        all.map(|entry| entry.value).sum()
    };
    Some(Usage {
        cpu_us: stats.cpu.usage.total / 1000,
        cpu_user_us: stats.cpu.usage.user / 1000,
        cpu_system_us: stats.cpu.usage.kernel / 1000,
        memory_bytes: stats.memory.usage.usage,
        memory_peak_bytes: stats.memory.usage.max,
        tasks_peak: tasks.peak,
        tasks_refused: tasks.refused,
        oom_kills: container.oom_kills().unwrap_or(0),
        disk_read_bytes: disk("read"),
        disk_written_bytes: disk("write"),
    })
}
