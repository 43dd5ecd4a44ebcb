//! One container as it is stored, and as the kernel shows it now.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gl_cgroup::{Cgroup, Depth, OomWatch};
use gl_launch::rootless::user_name;
use gl_launch::{Agent, Beside, Deadline, Listening, Waiting, Watcher};
use gl_seccomp::Program;
use gl_spec::oci::{Process, Spec};
use gl_spec::{ContainerId, EndReason, Extras, StateDocument, Status};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::error::Error;
use crate::extras;
use crate::gvisor;
use crate::members;
use crate::process;
use crate::record::{CONFIG, END, End, Phase, RECORD, Record, SECCOMP};
use crate::setup;
use crate::signal::{Reached, Whom};
use crate::store::{StateDir, Store};
use crate::watch;

/// How long something that the kernel has yet to finish is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The annotation of a stopped container's state that says why greenlang ended it: `timeout`,
/// `cpu_time` or `pids`.
const END_REASON: &str = "dev.greenlang.end-reason";

/// A stored container.
#[derive(Debug)]
pub struct Container {
    pub(crate) dir: StateDir,
    pub(crate) record: Record,
    /// A descriptor of init, where this process has made it.
    pub(crate) held: Option<Arc<OwnedFd>>,
}

impl Container {
    pub(crate) fn load(dir: StateDir, id: &ContainerId) -> Result<Self, Error> {
        let record = read_record(&dir, id)?;
        Ok(Self::new(dir, record))
    }

    pub(crate) fn new(dir: StateDir, record: Record) -> Self {
        Self {
            dir,
            record,
            held: None,
        }
    }

    /// Where the container is in its life, by what the kernel says.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] or [`Error::Cgroup`] if the kernel does not say.
    pub fn status(&self) -> Result<Status, Error> {
        let failed = Error::host("inspect the init process");
        let Some(init) = self.record.init else {
            return Ok(Status::Creating);
        };
        if !process::alive(init).map_err(&failed)? {
            return Ok(Status::Stopped);
        }
        if self.record.phase == Phase::Creating {
            return Ok(Status::Creating);
        }
        if self.frozen()? {
            return Ok(Status::Paused);
        }
        if let Some(sandbox) = &self.record.gvisor {
            return Ok(match sandbox.started {
                true => Status::Running,
                false => Status::Created,
            });
        }
        match gl_launch::waiting(self.dir.as_fd()).map_err(failed)? {
            Waiting::Yes => Ok(Status::Created),
            Waiting::No => Ok(Status::Running),
        }
    }

    fn frozen(&self) -> Result<bool, Error> {
        match &self.record.cgroup {
            Some(record) => Ok(Cgroup::open(record)?.frozen()?),
            None => Ok(false),
        }
    }

    /// The document that `state` prints.
    ///
    /// # Errors
    ///
    /// As [`Container::status`].
    pub fn state(&self) -> Result<StateDocument, Error> {
        let status = self.status()?;
        let mut state = self.record.document(status, user_name(self.record.owner));
        if status == Status::Stopped
            && let Some(end) = self.end()?
        {
            let reason = end.reason.as_str().to_owned();
            state.annotations.insert(END_REASON.to_owned(), reason);
        }
        Ok(state)
    }

    /// Sends a signal to init, or to every process of the container.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if there is no process; [`Error::Signal`] or [`Error::Cgroup`].
    pub fn kill(&self, signal: i32, whom: Whom) -> Result<Reached, Error> {
        if let Some(sandbox) = &self.record.gvisor {
            return gvisor::kill(self, sandbox, signal, whom);
        }
        let kills = signal == Signal::KILL.as_raw();
        // Without a pid namespace of its own the container does not end with its init.
        let all = signal != 0 && (whom == Whom::All || (kills && !self.record.private_pids));
        if all && self.kill_all(signal)? {
            return Ok(Reached::Whom);
        }
        self.kill_init(signal)?;
        // With init, the kernel kills all of its pid namespace.
        let ends = kills && self.record.private_pids;
        let rest = all && self.record.cgroup.is_none() && !ends;
        Ok(if rest {
            Reached::InitAlone
        } else {
            Reached::Whom
        })
    }

    fn kill_init(&self, signal: i32) -> Result<(), Error> {
        let kills = signal == Signal::KILL.as_raw();
        let pidfd = self.init()?;
        gl_sys::pidfd_send_signal(pidfd.as_fd(), signal).map_err(|source| match source {
            Errno::SRCH => Error::NotRunning {
                status: Status::Stopped,
            },
            source => Error::Signal { signal, source },
        })?;
        if kills && self.frozen()? {
            // In a frozen cgroup even this signal has to wait (v1).
            self.cgroup()?.thaw()?;
        }
        Ok(())
    }

    /// Signals everything in the cgroup, or without one in the pid namespace; whether there was
    /// either.
    fn kill_all(&self, number: i32) -> Result<bool, Error> {
        if let (Some(record), Some(signal)) = (&self.record.cgroup, Signal::from_named_raw(number))
        {
            Cgroup::open(record)?.kill_all(signal)?;
            return Ok(true);
        }
        if self.record.cgroup.is_some() || !self.record.private_pids {
            return Ok(false);
        }
        let init = self.init()?;
        if number == Signal::KILL.as_raw() {
            return Ok(false);
        }
        members::signal(self.pid()?, init.as_fd(), number)
            .map(|()| true)
            .map_err(|source| Error::Signal {
                signal: number,
                source,
            })
    }

    /// Whether it ends with its init.
    pub(crate) fn private_pids(&self) -> bool {
        self.record.private_pids
    }

    /// A descriptor of the running init.
    pub(crate) fn init(&self) -> Result<OwnedFd, Error> {
        let open = self.record.init.map(process::open).transpose();
        open.map_err(Error::host("open the init process"))?
            .flatten()
            .ok_or(Error::NotRunning {
                status: Status::Stopped,
            })
    }

    /// A descriptor of init for who has made it, also if it has ended and waits to be reaped; for others as
    /// [`Container::init`].
    pub(crate) fn own_init(&self) -> Result<Arc<OwnedFd>, Error> {
        match &self.held {
            Some(init) => Ok(Arc::clone(init)),
            None => self.init().map(Arc::new),
        }
    }

    /// Its bundle, by its absolute path.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.record.bundle
    }

    /// Init's process id, as stored: it may have ended.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] before there is one.
    pub fn pid(&self) -> Result<Pid, Error> {
        self.record
            .init
            .and_then(|init| Pid::from_raw(init.pid))
            .ok_or(Error::NotRunning {
                status: Status::Creating,
            })
    }

    /// Stops every process of the container. One that is being started runs first.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] unless it is created or running; [`Error::Cgroup`], [`Error::File`].
    pub fn pause(&self) -> Result<(), Error> {
        let mut status = self.status()?;
        if status == Status::Created {
            // `start` keeps the lock until the program runs. Were init frozen before that, neither would
            // end, and `delete` would wait for the lock.
            self.dir.lock()?;
            status = self.status()?;
        }
        match status {
            Status::Running | Status::Created => Ok(self.cgroup()?.freeze()?),
            status => Err(Error::NotRunning { status }),
        }
    }

    /// Lets every process of the container run on.
    ///
    /// # Errors
    ///
    /// [`Error::NotPaused`] unless it is paused; [`Error::Cgroup`].
    pub fn resume(&self) -> Result<(), Error> {
        match self.status()? {
            Status::Paused => Ok(self.cgroup()?.thaw()?),
            status => Err(Error::NotPaused { status }),
        }
    }

    /// The process ids of the container on the host, ascending: those in its cgroup, or in its pid
    /// namespace if it has no cgroup.
    ///
    /// # Errors
    ///
    /// [`Error::SharedPids`] if it has neither; [`Error::Cgroup`], [`Error::Host`].
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        match (&self.record.cgroup, self.record.init) {
            (Some(record), _) => Ok(Cgroup::open(record)?.pids(Depth::Tree)?),
            (None, _) if !self.record.private_pids => Err(Error::SharedPids),
            (None, Some(init)) if process::alive(init).unwrap_or(false) => {
                members::pids(self.pid()?).map_err(Error::host("list the processes"))
            }
            (None, _) => Ok(Vec::new()),
        }
    }

    /// The table of processes by the ids of the container's own kernel, if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it is stopped, [`Error::WrongStatus`] if it is paused;
    /// [`Error::Runsc`].
    pub fn inner_processes(&self) -> Result<Option<String>, Error> {
        let sandbox = self.record.gvisor.as_ref();
        let table = sandbox.map(|sandbox| gvisor::inner_processes(self, sandbox));
        table.transpose()
    }

    /// What is enforced by whom, of a container in gVisor.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::File`].
    pub fn layers(&self) -> Result<Option<Vec<gl_runsc::Layer>>, Error> {
        gvisor::layers(self)
    }

    /// What the container uses.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it is stopped; [`Error::Cgroup`].
    pub fn stats(&self) -> Result<gl_cgroup::stats::Stats, Error> {
        match self.status()? {
            status @ (Status::Stopped | Status::Creating) => Err(Error::NotRunning { status }),
            _ => Ok(self.cgroup()?.stats()?),
        }
    }

    /// How often the kernel has ended a process of it for its memory limit; none without a cgroup.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        match &self.record.cgroup {
            Some(record) => Ok(Cgroup::open(record)?.oom_kills()?),
            None => Ok(0),
        }
    }

    /// Watches for the container running out of memory.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`].
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        Ok(self.cgroup()?.oom_watch()?)
    }

    /// A descriptor that becomes readable when init ends.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it has ended.
    pub fn pidfd(&self) -> Result<OwnedFd, Error> {
        self.init()
    }

    pub(crate) fn cgroup(&self) -> Result<Cgroup, Error> {
        match &self.record.cgroup {
            Some(record) => Ok(Cgroup::open(record)?),
            None => Err(Error::NoCgroup),
        }
    }

    /// The config as it was at create.
    pub(crate) fn spec(&self) -> Result<Spec, Error> {
        match self.dir.read(CONFIG)? {
            Some(bytes) => Ok(gl_spec::load(&bytes)?.spec),
            None => Err(self.dir.lacks(CONFIG, &self.record.id)),
        }
    }

    /// Why greenlang ended it, if it did.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::File`].
    pub fn end_reason(&self) -> Result<Option<EndReason>, Error> {
        Ok(self.end()?.map(|end| end.reason))
    }

    /// What its processes have used, even after its end as long as it is not deleted; none without a cgroup.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`].
    pub fn spent(&self) -> Result<Option<gl_cgroup::Spent>, Error> {
        match &self.record.cgroup {
            Some(record) => Ok(Some(Cgroup::open(record)?.spent()?)),
            None => Ok(None),
        }
    }

    fn end(&self) -> Result<Option<End>, Error> {
        let bytes = self.dir.read(END)?;
        let end = bytes.map(|bytes| {
            let end = String::from_utf8(bytes).ok();
            end.and_then(|text| serde_json::from_str(&text).ok())
                .ok_or_else(|| Error::Corrupt {
                    path: self.dir.path(END),
                })
        });
        end.transpose()
    }

    /// What a profile added to the config at create.
    pub(crate) fn extras(&self) -> Result<Extras, Error> {
        extras::read(&self.dir)
    }

    /// The process of the config, as a template for an exec that gives none of its own.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] while it is being made, as its config is; [`Error::Missing`] if it is deleted meanwhile;
    /// [`Error::Corrupt`] or [`Error::File`].
    pub fn process(&self) -> Result<Process, Error> {
        if self.record.phase == Phase::Creating {
            return Err(Error::NotRunning {
                status: Status::Creating,
            });
        }
        let spec = self.spec()?;
        spec.process().clone().ok_or_else(|| Error::Corrupt {
            path: self.dir.path(CONFIG),
        })
    }

    /// The seccomp program as it was compiled at create.
    pub(crate) fn seccomp(&self) -> Result<Option<Program>, Error> {
        match self.dir.read(SECCOMP)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(Program::from_bytes(&bytes)?)),
        }
    }

    /// Who takes seccomp listeners of the container.
    pub(crate) fn listening(&self, spec: &Spec) -> Option<Listening> {
        listening(spec, self.record.document(Status::Created, String::new()))
    }

    /// Opens the start gate and returns once the container's program runs; then runs the
    /// `poststart` hooks.
    ///
    /// # Errors
    ///
    /// [`Error::WrongStatus`] unless it is created; [`Error::Launch`] with what kept the program
    /// from running. If a `poststart` hook fails, the container is killed.
    pub fn start(store: &Store, id: &ContainerId) -> Result<(), Error> {
        let container = store.load_locked(id)?;
        let status = container.status()?;
        if status != Status::Created {
            return Err(Error::WrongStatus {
                verb: "start",
                id: id.as_str().to_owned(),
                status,
            });
        }
        let extras = container.extras()?;
        let deadline = setup::deadline_of_start(&container, &extras);
        let init = container.init()?;
        let watcher = watch::prepare(store, &container.record, &extras, init.as_fd())?;
        if let Some(watcher) = &watcher {
            watcher.begin()?;
        }
        let spec = container.spec()?;
        container.open_gate((&spec, &extras), watcher, (&mut (), deadline))
    }

    /// The part of `start` that `run` shares. The program does not get a moment without its limits:
    /// `watcher` has been told to begin. One that does not run by the deadline is ended.
    pub(crate) fn open_gate(
        &self,
        (spec, extras): (&Spec, &Extras),
        watcher: Option<Watcher>,
        (beside, deadline): (&mut dyn Beside, Deadline),
    ) -> Result<(), Error> {
        if let Some(sandbox) = &self.record.gvisor {
            return gvisor::open_gate(self, sandbox, spec, watcher);
        }
        self.pass_gate((spec, extras), watcher, (beside, deadline))
            .map_err(|err| setup::end_late(self, err, extras, deadline))
    }

    fn pass_gate(
        &self,
        (spec, extras): (&Spec, &Extras),
        watcher: Option<Watcher>,
        (beside, deadline): (&mut dyn Beside, Deadline),
    ) -> Result<(), Error> {
        let init = self.own_init()?;
        let facts = gl_launch::facts();
        let process = spec.process().as_ref().ok_or_else(|| Error::Corrupt {
            path: self.dir.path(CONFIG),
        })?;
        let process = gl_plan::plan_process(process, spec, extras, &facts)?;
        let listening = self.listening(spec);
        gl_launch::start(
            self.dir.as_fd(),
            (self.pid()?, init.as_fd()),
            &process,
            watcher,
            Agent {
                listening: listening.as_ref(),
                beside,
                deadline,
            },
        )?;
        self.dir.unlink(gl_launch::GATE)?;
        self.run_poststart(spec, &init, deadline)
    }

    pub(crate) fn run_poststart(
        &self,
        spec: &Spec,
        init: &OwnedFd,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let hooks = gl_plan::plan_hooks(spec).poststart;
        if hooks.is_empty() {
            return Ok(());
        }
        let state = self.record.document(Status::Running, String::new());
        let input = state.to_hook_json(Status::Running);
        gl_launch::run_hooks(&hooks, &input, deadline).map_err(
            |err| match gl_sys::pidfd_send_signal(init.as_fd(), Signal::KILL.as_raw()) {
                Ok(()) | Err(Errno::SRCH) => gl_launch::Error::Hook(err).into(),
                Err(source) => Error::Signal {
                    signal: Signal::KILL.as_raw(),
                    source,
                },
            },
        )
    }
}

/// Reads what is stored of a container.
pub(crate) fn read_record(dir: &StateDir, id: &ContainerId) -> Result<Record, Error> {
    match dir.read(RECORD)? {
        Some(bytes) => String::from_utf8(bytes)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .ok_or_else(|| Error::Corrupt {
                path: dir.path(RECORD),
            }),
        // Its maker has made the directory and nothing else, or died right then.
        None => Err(Error::Missing {
            id: id.as_str().to_owned(),
        }),
    }
}

/// The agent of a config's seccomp section.
pub(crate) fn listening(spec: &Spec, state: StateDocument) -> Option<Listening> {
    let seccomp = spec.linux().as_ref()?.seccomp().as_ref()?;
    Some(Listening {
        path: seccomp.listener_path().clone()?,
        metadata: seccomp.listener_metadata().clone(),
        state,
    })
}
