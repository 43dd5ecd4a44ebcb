//! What the worker does and notes while a sandbox runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use gl_container::{Beside, Companion, Container, Decision};
use gl_profile::Limits;
use gl_seccomp::Policy;
use rustix::process::{Pid, Signal};

use super::{Ended, Request};
use crate::denials::Denials;
use crate::layers;
use crate::met::Met;
use crate::report::{Exit, Layer, Reason, Report};
use crate::space::Space;
use crate::usage;

/// What the worker does while the sandbox runs.
pub(crate) struct Watching {
    pub(crate) report: Report,
    /// What the sandbox sets up by itself.
    pub(super) own: Vec<Layer>,
    /// The limits that a cgroup counts.
    limits: Limits,
    pub(super) agent: Option<Agent>,
    space: Option<Space>,
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

    /// Puts what was denied into the report, and the limits that were met; the reason for the end, if that is
    /// one of them.
    pub(crate) fn tell_denials(&mut self, ended: Ended) -> Option<Reason> {
        let (mut denials, more) = self.agent.as_mut()?.denials.take();
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
    fn hold_space(&mut self, container: &Container) {
        if self.report.tier == "gvisor" {
            return;
        }
        let first = container.state().ok();
        let first = first.and_then(|state| Pid::from_raw(state.pid));
        self.space = first.and_then(|first| Space::of(first).ok());
    }

    pub(super) fn new(request: &Request, begun: Instant) -> Self {
        Self {
            report: Report::new(request),
            own: Vec::new(),
            limits: request.profile.limits.clone(),
            agent: None,
            space: None,
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

    fn created(&mut self, container: &Container) {
        self.hold_space(container);
    }

    fn started(&mut self, container: &Container) {
        let now = Instant::now();
        self.report.times.setup_us = micros(self.begun, now);
        self.started = Some(now);
        self.report.layers.extend(layers::of_runsc(container));
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
        self.report.usage = usage::of(container);
        let met = self.tell_denials(ended);
        let reason = container.end_reason().ok().flatten();
        self.report.exit = Exit::of(ended, reason.map(Reason::from).or(met));
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
