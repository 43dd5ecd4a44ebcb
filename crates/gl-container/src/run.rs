//! `run`: create and start, then wait for the end and delete.

use std::sync::Arc;

use gl_launch::{Beside, Deadline, Ended, Signals, Tie, Watcher};
use gl_plan::Starts;
use gl_spec::oci::Spec;
use gl_spec::{ContainerId, Extras};
use rustix::process::Signal;

use crate::attach::{self, Attached, To};
use crate::container::Container;
use crate::create::{Caller, Console, CreateRequest, Created, Decision, create_with};
use crate::delete::{Force, HookFailures, delete, delete_loaded, delete_with};
use crate::error::Error;
use crate::exec::Outcome;
use crate::gvisor;
use crate::signal::Whom;
use crate::store::{Store, Warnings};
use crate::watch::Here;

/// What `run` is asked for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The container.
    pub create: CreateRequest,
    /// Return once it runs, instead of when it ends.
    pub detach: bool,
    /// Leave the container there after its end.
    pub keep: bool,
}

/// Runs a container.
///
/// # Errors
///
/// What kept it from running; nothing is left of it then.
pub fn run(
    store: &Store,
    id: &ContainerId,
    request: &RunRequest,
) -> Result<(Outcome, Warnings, HookFailures), Error> {
    run_beside(store, id, request, &mut Alone::default())
}

/// Who goes along with a container that runs in the foreground.
pub trait Companion {
    /// The config is decided and the container created.
    fn decided(&mut self, _decision: Decision) {}

    /// Its first process waits, with all mounts of this config made.
    fn created(&mut self, _container: &Container, _spec: &Spec) {}

    /// Its program runs.
    fn started(&mut self, _container: &Container) {}

    /// What is done beside, from the start of its program to its end.
    fn agent(&mut self) -> &mut dyn Beside;

    /// Its program has ended; its state and its cgroup are still there.
    fn ended(&mut self, _container: &Container, _ended: Ended) {}
}

/// Nobody.
#[derive(Default)]
struct Alone(());

/// The caller of a container that does not go along with `create`: it waits for it, or not.
pub(crate) struct Foreground {
    /// Held back from before the container is there.
    signals: Option<Signals>,
}

impl Foreground {
    /// Gets ready to wait, unless the container is to run on its own.
    pub(crate) fn begin(detach: bool) -> Result<Self, Error> {
        let signals = match detach {
            true => None,
            false => Some(Signals::hold().map_err(Error::host("hold signals back"))?),
        };
        Ok(Self { signals })
    }

    /// Waits for a container, our child, and deletes it.
    pub(crate) fn wait(
        self,
        store: &Store,
        container: &Container,
        terminal: Option<Attached>,
    ) -> Result<(Outcome, HookFailures), Error> {
        let Some(signals) = self.signals else {
            return Ok((Outcome::Detached, HookFailures::new()));
        };
        container.dir.unlock()?;
        let ended = wait(container, &signals, terminal, Alone::default().agent())?;
        let failures = delete(store, &container.record.id, Force::Yes)?;
        Ok((Outcome::Exited(ended.status()), failures))
    }
}

impl Companion for Alone {
    fn agent(&mut self) -> &mut dyn Beside {
        &mut self.0
    }
}

/// [`run`], with company.
///
/// # Errors
///
/// As [`run`].
pub fn run_beside(
    store: &Store,
    id: &ContainerId,
    request: &RunRequest,
    beside: &mut dyn Companion,
) -> Result<(Outcome, Warnings, HookFailures), Error> {
    let signals = match request.detach {
        true => None,
        false => Some(Signals::hold().map_err(Error::host("hold signals back"))?),
    };
    if !request.detach {
        // A sandbox is not our child, but that of the runsc that made it.
        let own = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(own).map_err(Error::host("adopt orphans"))?;
    }
    let attach = !request.detach && request.create.console_socket.is_none();
    let (console, terminal) = match attach {
        true => {
            let (theirs, ours) = Attached::pair()?;
            (Console::Here(theirs), Some(ours))
        }
        false => (Console::AsRequested, None),
    };
    let caller = Caller {
        console,
        starts: Starts::AtOnce,
    };
    let Created {
        container,
        spec,
        warnings,
        watcher,
        decision,
        deadline,
        extras,
    } = create_with(store, id, &request.create, caller)?;
    beside.decided(decision);
    beside.created(&container, &spec);
    let wants_terminal = spec
        .process()
        .as_ref()
        .and_then(gl_spec::oci::Process::terminal)
        .unwrap_or(false);
    let of = (&spec, &extras, deadline);
    let started = start(&container, request, of, (watcher, beside));
    let mut here = match started {
        Ok(here) => here,
        // What the clean-up meets comes from the first failure, which is the one to tell.
        Err(err) => match delete_loaded(store, &container, Force::Yes, Some(&spec)) {
            Ok(_) | Err(_) => return Err(err),
        },
    };
    let Some(signals) = signals else {
        return Ok((Outcome::Detached, warnings, HookFailures::new()));
    };
    container.dir.unlock()?;
    beside.started(&container);
    let sandbox = container.record.gvisor.as_ref();
    let terminal = terminal.filter(|_| wants_terminal && sandbox.is_none());
    let mut along = Here::along(&mut here, beside.agent());
    let ended = wait(&container, &signals, terminal, &mut along)?;
    if let (Some(sandbox), gvisor::FAILED) = (sandbox, ended.status())
        && sandbox.creation_failure().is_some()
    {
        let err = gvisor::creation_failed(sandbox);
        return match delete(store, id, Force::Yes) {
            Ok(_) | Err(_) => Err(err),
        };
    }
    beside.ended(&container, ended);
    let failures = match request.keep {
        true => HookFailures::new(),
        // Somebody else may have deleted it meanwhile.
        false => delete_with(store, id, Force::Yes, Some(&spec))?,
    };
    Ok((Outcome::Exited(ended.status()), warnings, failures))
}

/// Opens the gate, with the limits of one watched here that ends with us.
fn start<'a>(
    container: &'a Container,
    request: &RunRequest,
    (spec, extras, deadline): (&Spec, &'a Extras, Deadline),
    (watcher, beside): (Option<Watcher>, &mut dyn Companion),
) -> Result<Option<Here<'a>>, Error> {
    let is_gvisor = container.record.gvisor.is_some();
    let tied = request.create.tie == Tie::Launcher && watcher.is_none() && !is_gvisor;
    let mut here = match tied {
        true => Here::begin(container, extras)?,
        false => None,
    };
    let mut along = Here::along(&mut here, beside.agent());
    container.open_gate((spec, extras), watcher, (&mut along, deadline))?;
    Ok(here)
}

fn wait(
    container: &Container,
    signals: &Signals,
    terminal: Option<Attached>,
    beside: &mut dyn Beside,
) -> Result<Ended, Error> {
    let init = match container.own_init() {
        Ok(init) => init,
        // It has ended already, and waits to be reaped.
        Err(Error::NotRunning { .. }) => {
            let flags = rustix::process::PidfdFlags::empty();
            let init = rustix::process::pidfd_open(container.pid()?, flags);
            Arc::new(init.map_err(Error::host("open the init process"))?)
        }
        Err(err) => return Err(err),
    };
    let to = match container.record.gvisor {
        None => To::Child,
        Some(_) => To::Inside(container),
    };
    let status = attach::wait(&init, (signals, to), terminal, beside)?;
    gl_sys::stage("runtime: program ended");
    if !container.record.private_pids {
        match container.kill(Signal::KILL.as_raw(), Whom::All) {
            // It has just ended; with no cgroup there is nobody else to be found.
            Ok(_) | Err(Error::NotRunning { .. }) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(status)
}
