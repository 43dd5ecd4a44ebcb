//! What the worker does and notes while a sandbox runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use gl_container::{Beside, Companion, Container, Decision};
use gl_profile::translate::{Effect, Step};
use gl_profile::{Limits, Mode};
use gl_seccomp::Policy;
use gl_spec::oci::Spec;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::{Ended, Reporting, Request};
use crate::denials::Denials;
use crate::detach::{Detach, Detaching};
use crate::error::Error;
use crate::home::{Entry, Home, Program};
use crate::landlock::{self, Deaf, Listening};
use crate::layers::{self, Told};
use crate::logs::Logs;
use crate::met::Met;
use crate::report::{Exit, Layer, Reason, Report};
use crate::space::Space;
use crate::usage;

/// What the worker does while the sandbox runs.
pub(crate) struct Watching {
    pub(crate) report: Report,
    reporting: Reporting,
    /// What the sandbox sets up by itself.
    pub(super) own: Vec<Layer>,
    told: Told,
    /// The limits that a cgroup counts.
    limits: Limits,
    pub(super) agent: Option<Agent>,
    space: Option<Space>,
    pub(super) home: Option<Home>,
    /// Until the program of a detached sandbox runs.
    pub(super) detaching: Option<Detaching>,
    /// What that writes.
    pub(super) logs: Option<Logs>,
    /// Why the program was ended by us.
    pub(super) failed: Option<Error>,
    begun: Instant,
    started: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

pub(super) struct Agent {
    pub(super) denials: Denials,
    /// Who hears what Landlock denies, or why nobody does.
    pub(super) landlock: Option<Result<Listening, Deaf>>,
    /// Readable when the front is gone.
    pub(super) front: Option<OwnedFd>,
    pub(super) init: Option<OwnedFd>,
}

impl Agent {
    /// Of a sandbox with denials of this kind.
    pub(super) fn new(denials: Denials, front: OwnedFd, request: &Request) -> Self {
        Self {
            denials,
            landlock: landlock::is_likely(request).then(Listening::begin),
            front: Some(front),
            init: None,
        }
    }

    fn listening(&self) -> Option<&Listening> {
        self.landlock.as_ref()?.as_ref().ok()
    }
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
        let Some(agent) = &mut self.agent else {
            return;
        };
        let mut of_landlock = decision.steps.iter().filter(|one| one.layer == "landlock");
        let in_force = |one: &Step| matches!(one.effect, Effect::Applied | Effect::Already);
        let unseen = match of_landlock.clone().any(in_force) {
            // Nothing is lost by not hearing what is not said.
            false => {
                agent.landlock = None;
                let permissive = self.report.mode == Mode::Permissive.as_str();
                let asked = permissive && of_landlock.next().is_some();
                asked.then(|| landlock::NOT_IN_FORCE.to_owned())
            }
            true => match &agent.landlock {
                Some(Err(deaf)) => Some(deaf.to_string()),
                Some(Ok(_)) | None => None,
            },
        };
        self.report.not_observed.extend(unseen);
        agent.denials.decided(decision);
    }

    /// The name under which Landlock is put in force, where somebody hears what it denies.
    pub(crate) fn landlock_mark(&self) -> Option<&str> {
        let landlock = self.agent.as_ref()?.landlock.as_ref()?;
        landlock.as_ref().ok().map(Listening::mark)
    }

    /// By what the calls of a program are judged.
    pub(crate) fn judge_by(&mut self, policy: Policy) {
        if let Some(agent) = &mut self.agent {
            agent.denials.judge_by(policy);
        }
    }

    /// The program runs, as this process; it is what ends if the front does.
    pub(crate) fn program_runs(&mut self, pid: Result<Pid, Error>) {
        self.started = Some(Instant::now());
        let told = pid.and_then(|pid| self.tell_program(pid));
        if let Err(err) = told {
            // Nobody could find it, or nobody knows of it.
            self.failed = Some(err);
            self.end();
        }
    }

    fn tell_program(&mut self, pid: Pid) -> Result<(), Error> {
        let failed = || Error::host("look at the program's process");
        if let Some(agent) = &mut self.agent {
            agent.init = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                Ok(program) => Some(program),
                // One that has ended already has nobody to be ended.
                Err(Errno::SRCH | Errno::INVAL) => None,
                Err(errno) => return Err(failed()(errno)),
            };
        }
        if let Some(home) = &self.home {
            match Program::of(pid) {
                Ok(program) => home.program_is(program)?,
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => return Err(failed()(errno)),
            }
        }
        if let Some(detaching) = self.detaching.take() {
            detaching.started()?;
            if let Some(agent) = &mut self.agent {
                agent.front = None;
            }
        }
        Ok(())
    }

    /// Ends the program. It takes all of its pid namespace with it; who is gone needs no signal.
    fn end(&self) {
        let init = self.agent.as_ref().and_then(|agent| agent.init.as_ref());
        if let Some(init) = init {
            gl_sys::pidfd_send_signal(init.as_fd(), Signal::KILL.as_raw()).ok();
        }
    }

    /// Whether the program ever ran.
    pub(super) fn ran(&self) -> bool {
        self.started.is_some()
    }

    /// The sandbox has a directory; its path.
    pub(super) fn live_in(&mut self, home: Home) -> PathBuf {
        let dir = home.dir().to_owned();
        self.home = Some(home);
        dir
    }

    /// What tells others that the sandbox is looked after.
    pub(crate) fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.home.as_ref().map(Home::lock)
    }

    /// Leaves the caller.
    pub(super) fn detach(&mut self, tells: OwnedFd) -> Result<(), Error> {
        if let Some(home) = &self.home {
            let (detaching, logs) = Detaching::begin(home, tells)?;
            self.detaching = Some(detaching);
            self.logs = Some(logs);
        }
        Ok(())
    }

    /// What others are told of the sandbox.
    pub(super) fn entry(&self, request: &Request) -> Entry {
        let report = &self.report;
        Entry {
            id: report.id.clone(),
            tier: report.tier.clone(),
            profile: report.profile.clone(),
            mode: report.mode.clone(),
            command: report.command.clone(),
            started: report.started.clone(),
            detached: request.detach != Detach::No,
            worker: rustix::process::getpid().as_raw_nonzero().get(),
        }
    }

    /// Whether somebody is told more than how it ended, or would want to know why.
    fn tells_usage(&self, ended: Ended) -> bool {
        self.reporting == Reporting::Whole || ended != Ended::Exited(0)
    }

    /// Puts what was denied into the report, and the limits that were met; the reason for the end, if that is
    /// one of them.
    pub(crate) fn tell_denials(&mut self, ended: Ended) -> Option<Reason> {
        let agent = self.agent.as_mut()?;
        let (mut denials, mut more) = agent.denials.take();
        if let Some(Ok(listening)) = agent.landlock.take() {
            let (of_landlock, unlisted, unsure) = listening.end(agent.denials.profiles());
            denials.extend(of_landlock);
            more = more.saturating_add(unlisted);
            self.report.not_observed.extend(unsure);
        }
        let full = self.space.take().map_or_else(Vec::new, |one| one.full());
        let met = Met {
            ended,
            usage: self.report.usage.as_ref(),
            limits: &self.limits,
            full: &full,
        };
        denials.extend(met.denials());
        let reason = met.reason();
        self.report.denials = denials;
        self.report.denials_not_listed = more;
        reason
    }

    /// Holds the file systems in memory that the program can fill; those of gVisor are in its own kernel.
    fn hold_space(&mut self, container: &Container, spec: &Spec) {
        if self.report.tier == "gvisor" {
            return;
        }
        let first = container.pid().ok();
        self.space = first.and_then(|first| Space::of(first, spec).ok());
    }

    pub(super) fn new(request: &Request, begun: Instant) -> Self {
        Self {
            report: Report::new(request),
            reporting: request.reporting,
            own: Vec::new(),
            told: Told::of(request),
            limits: request.profile.limits.clone(),
            agent: None,
            space: None,
            home: None,
            detaching: None,
            logs: None,
            failed: None,
            begun,
            started: None,
            ended: None,
        }
    }
}

impl Companion for Watching {
    fn decided(&mut self, decision: Decision) {
        if self.reporting == Reporting::Whole {
            self.report.layers = std::mem::take(&mut self.own);
            let of_profile = layers::of_profile(&decision, &self.told);
            self.report.layers.extend(of_profile);
        }
        self.explain_by(decision);
    }

    fn created(&mut self, container: &Container, spec: &Spec) {
        self.hold_space(container, spec);
    }

    fn started(&mut self, container: &Container) {
        self.report.times.setup_us = micros(self.begun, Instant::now());
        self.report.layers.extend(layers::of_runsc(container));
        self.program_runs(container.pid().map_err(Error::from));
    }

    fn agent(&mut self) -> &mut dyn Beside {
        self
    }

    fn ended(&mut self, container: &Container, ended: Ended) {
        let ended = of_program(ended);
        let now = Instant::now();
        self.ended = Some(now);
        self.report.times.run_us = micros(self.started.unwrap_or(now), now);
        if self.tells_usage(ended) {
            self.report.usage = usage::of(container);
        }
        let met = self.tell_denials(ended);
        let reason = container.end_reason().ok().flatten();
        self.report.exit = Exit::of(ended, reason.map(Reason::from).or(met));
    }
}

impl Beside for Watching {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all: Vec<_> = self.logs.iter().flat_map(Logs::descriptors).collect();
        if let Some(agent) = &self.agent {
            all.extend(agent.front.iter().map(AsFd::as_fd));
            all.extend(agent.listening().map(AsFd::as_fd));
            all.extend(agent.denials.descriptors());
        }
        all
    }

    fn ready(&mut self, position: usize) {
        let mut position = position;
        if let Some(logs) = &mut self.logs {
            let own = logs.descriptors().count();
            match position.checked_sub(own) {
                Some(rest) => position = rest,
                None => return logs.ready(position),
            }
        }
        let Some(agent) = &mut self.agent else {
            return;
        };
        let fronts = usize::from(agent.front.is_some());
        let listens = usize::from(agent.listening().is_some());
        match position.checked_sub(fronts) {
            Some(position) => match (position.checked_sub(listens), &mut agent.landlock) {
                (None, Some(Ok(listening))) => listening.ready(),
                (position, _) => agent.denials.ready(position.unwrap_or_default()),
            },
            None if agent.init.is_some() => {
                agent.front = None;
                self.end();
            }
            None => {}
        }
    }

    fn take_listener(&mut self, path: &Path, listener: OwnedFd) -> Option<OwnedFd> {
        match &mut self.agent {
            Some(agent) if agent.denials.is_at(path) => {
                agent.denials.listen_to(listener);
                None
            }
            _ => Some(listener),
        }
    }
}

/// How the program ended, by what the first process tells of it.
fn of_program(ended: Ended) -> Ended {
    match ended {
        Ended::Exited(status @ 129..=192) => Ended::Signalled(i32::from(status) - 128),
        other => other,
    }
}

pub(super) fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
