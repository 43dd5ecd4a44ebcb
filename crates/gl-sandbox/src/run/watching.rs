//! What the worker does and notes while a sandbox runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Instant, SystemTime};

use gl_container::{Beside, Companion, Container, Decision};
use gl_profile::{Isolation, Limits};
use gl_seccomp::Policy;
use gl_spec::Timestamp;
use rustix::process::Signal;

use super::{Ended, Request, Root};
use crate::denials::Denials;
use crate::layers;
use crate::report::{self, Exit, Layer, Reason, Report, Times, Usage};

/// What the worker does while the sandbox runs.
pub(crate) struct Watching {
    pub(crate) report: Report,
    /// What the sandbox sets up by itself.
    pub(super) own: Vec<Layer>,
    /// The limits that a cgroup counts.
    limits: Limits,
    pub(super) agent: Option<Agent>,
    begun: Instant,
    started: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

pub(super) struct Agent {
    pub(super) denials: Denials,
    /// Readable when the front is gone.
    pub(super) front: Option<OwnedFd>,
    pub(super) init: Option<OwnedFd>,
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

    pub(super) fn new(request: &Request, begun: Instant) -> Self {
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

fn tier(request: &Request) -> &'static str {
    match (request.profile.isolation.value, &request.root) {
        (Isolation::Gvisor, _) => "gvisor",
        (_, Root::Directory(_)) => "container",
        (Isolation::Basic, _) => "basic",
        (_, Root::Host) => "namespace",
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
