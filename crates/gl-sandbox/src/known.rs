//! Sandboxes that there are: seen, signalled, waited for, removed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, SystemTime};

use gl_container::{Container, Whom};
use gl_spec::{ContainerId, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::basic;
use crate::bundle::BUNDLE;
use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::home::{Entry, Place};
use crate::report::Report;

/// How long a sandbox that was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a sandbox is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is being made.
    Starting,
    /// Its program runs.
    Running,
    /// Its program stands still.
    Paused,
    /// Its program has ended, and it is being taken away.
    Ending,
    /// It has ended, and this is what it came to.
    Ended(Box<Report>),
    /// Who looked after it was killed, and the program with it.
    Died,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ending => "ending",
            Self::Ended(_) => "exited",
            Self::Died => "died",
        }
    }

    /// Whether somebody looks after it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self, Self::Ended(_) | Self::Died)
    }
}

/// A sandbox that there is.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What it is.
    pub entry: Entry,
    /// Where it is in its life.
    pub state: State,
    /// The process of its program; the first one of a tier that has such. None unless that runs.
    pub pid: Option<i32>,
}

/// Whether a sandbox is removed that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is not.
    No,
    /// It is killed first. One that does not exist is fine, too.
    Yes,
}

impl Sandboxes {
    /// The sandboxes that there are, by name. What was left by a worker that was killed is taken away before: its
    /// processes, its cgroup, its files, but for the logs of a detached one.
    ///
    /// # Errors
    ///
    /// [`Error::File`], or what cannot be taken away.
    pub fn known(&self) -> Result<Vec<Known>, Error> {
        let mut all = Vec::new();
        for id in self.list()? {
            all.extend(self.look(&id)?.map(|(_, known)| known));
        }
        Ok(all)
    }

    /// The sandbox of this name, or the only one whose name begins like that.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Ambiguous`], [`Error::File`].
    pub fn find(&self, name: &str) -> Result<ContainerId, Error> {
        let mut found = Vec::new();
        for id in self.list()? {
            if id.as_str() == name {
                return Ok(id);
            }
            found.extend(id.as_str().starts_with(name).then_some(id));
        }
        match found.len() {
            1 if !name.is_empty() => Ok(found.remove(0)),
            0 | 1 => Err(Error::Unknown {
                id: name.to_owned(),
            }),
            _ => Err(Error::Ambiguous {
                id: name.to_owned(),
                candidates: found.iter().map(|id| id.as_str().to_owned()).collect(),
            }),
        }
    }

    pub(crate) fn one(&self, id: &ContainerId) -> Result<(Place, Known), Error> {
        self.look(id)?.ok_or_else(|| unknown(id))
    }

    fn look(&self, id: &ContainerId) -> Result<Option<(Place, Known)>, Error> {
        let Some(place) = self.place(id)? else {
            return Ok(None);
        };
        let Some(entry) = place.entry()? else {
            return Ok(None);
        };
        if place.is_held()? {
            return Ok(Some(self.alive(id, place, entry)?));
        }
        match of_dead(&place)? {
            Some(state) => Ok(Some((place, without_pid(entry, state)))),
            None => self.settle(id),
        }
    }

    /// A sandbox whose worker lives.
    fn alive(&self, id: &ContainerId, place: Place, entry: Entry) -> Result<(Place, Known), Error> {
        let Some(program) = place.program()? else {
            return Ok((place, without_pid(entry, State::Starting)));
        };
        if program.open().is_none() {
            return Ok((place, without_pid(entry, State::Ending)));
        }
        let status = self.container(id)?.map(|one| one.status());
        let state = match status {
            Some(Ok(Status::Paused)) => State::Paused,
            // The tier basic has no container.
            None | Some(_) => State::Running,
        };
        let known = Known {
            entry,
            state,
            pid: Some(program.pid),
        };
        Ok((place, known))
    }

    /// Takes away what a worker that was killed has left.
    fn settle(&self, id: &ContainerId) -> Result<Option<(Place, Known)>, Error> {
        let _alone = self.one_at_a_time()?;
        let Some(place) = self.dead(id)? else {
            return Ok(None);
        };
        let Some(entry) = place.entry()? else {
            return Ok(None);
        };
        if let Some(state) = of_dead(&place)? {
            return Ok(Some((place, without_pid(entry, state))));
        }
        self.clean_up(id)?;
        if !entry.detached {
            self.remove(id)?;
            return Ok(None);
        }
        place.strip()?;
        place.bury()?;
        Ok(Some((place, without_pid(entry, State::Died))))
    }

    /// The directory of a sandbox whose worker is dead, while we are [alone](Self::one_at_a_time): its name stays
    /// its own then.
    fn dead(&self, id: &ContainerId) -> Result<Option<Place>, Error> {
        let Some(place) = self.place(id)? else {
            return Ok(None);
        };
        let dead = !place.is_held()? && place.has_its_name()?;
        Ok(dead.then_some(place))
    }

    /// Takes away what a worker of ours has left, and nothing of anybody else's who has the same name in use.
    pub(crate) fn take_away_after(&self, id: &ContainerId, worker: Pid) -> Result<(), Error> {
        let _alone = self.one_at_a_time()?;
        self.sweep_after(worker)?;
        let Some(place) = self.place(id)? else {
            return Ok(());
        };
        let entry = place.entry()?;
        if entry.is_none_or(|entry| entry.worker != worker.as_raw_nonzero().get()) {
            return Ok(());
        }
        place.wait_until_released()?;
        if !place.has_its_name()? {
            return Ok(());
        }
        self.clean_up(id)?;
        self.remove(id)
    }

    /// The container of a sandbox, and no other one of the same name.
    pub(crate) fn container(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        match self.store().load(id) {
            Ok(container) => {
                let own = container.bundle() == self.dir(id).join(BUNDLE);
                Ok(own.then_some(container))
            }
            Err(gl_container::Error::Missing { .. }) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// Takes away what runs of a sandbox, and its cgroup.
    fn clean_up(&self, id: &ContainerId) -> Result<(), Error> {
        // Also where its maker has come as far as a directory, or half of a record.
        gl_container::delete_of(self.store(), id, &self.dir(id).join(BUNDLE))?;
        basic::clean_up(&self.dir(id))
    }

    /// Signals the program of a sandbox.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Starting`], but for SIGKILL, if it does not run after a few seconds;
    /// [`Error::Over`] if it has ended;
    /// [`Error::Container`].
    pub fn kill(&self, id: &ContainerId, signal: i32) -> Result<(), Error> {
        let kills = signal == Signal::KILL.as_raw();
        let (place, known) = match kills {
            true => self.one(id)?,
            false => self.begun(id, "signal")?,
        };
        let over = || over("signal", id);
        match known.state {
            State::Starting if kills => match place.worker()? {
                Some(worker) => send(&worker, signal, over),
                None => Err(over()),
            },
            State::Starting => Err(Error::Starting {
                verb: "signal",
                id: id.as_str().to_owned(),
            }),
            State::Ending | State::Ended(_) | State::Died => Err(over()),
            State::Running | State::Paused => self.signal_program(id, &place, signal),
        }
    }

    fn signal_program(&self, id: &ContainerId, place: &Place, signal: i32) -> Result<(), Error> {
        let over = || over("signal", id);
        let Some(container) = self.container(id)? else {
            let program = place.program()?.and_then(|program| program.open());
            return send(&program.ok_or_else(over)?, signal, over);
        };
        let is_gvisors = container.layers()?.is_some();
        if signal == Signal::STOP.as_raw() && !is_gvisors {
            // The one signal that the first process cannot pass on.
            let program = first_child(container.pid()?)?.ok_or_else(over)?;
            return send(&program, signal, over);
        }
        match container.kill(signal, Whom::Init) {
            Ok(_) => Ok(()),
            Err(gl_container::Error::NotRunning { .. }) => Err(over()),
            Err(err) => Err(err.into()),
        }
    }

    /// Removes what a sandbox has left; one that has not ended is killed before, with force.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] and [`Error::Alive`] without force; [`Error::Stuck`] if it does not end;
    /// [`Error::File`].
    pub fn forget(&self, id: &ContainerId, force: Force) -> Result<(), Error> {
        let place = match self.place(id)? {
            None if force == Force::Yes => return Ok(()),
            None => return Err(unknown(id)),
            Some(place) => place,
        };
        match (place.worker()?, force) {
            (None, _) => {}
            (Some(_), Force::No) => return Err(alive(id)),
            (Some(worker), Force::Yes) => self.end(id, &worker)?,
        }
        match force {
            // What a killed worker left may still be on its way out.
            Force::Yes => place.wait_until_released()?,
            Force::No if place.is_held()? => return Err(alive(id)),
            Force::No => {}
        }
        let _alone = self.one_at_a_time()?;
        match self.dead(id)? {
            Some(_) => {
                self.clean_up(id)?;
                self.remove(id)
            }
            // Somebody else has removed it meanwhile, or it went by itself.
            None if force == Force::Yes => Ok(()),
            None => Err(unknown(id)),
        }
    }

    /// Kills a sandbox and waits until its worker has put everything in order; that, too, if it does not.
    fn end(&self, id: &ContainerId, worker: &OwnedFd) -> Result<(), Error> {
        match self.kill(id, Signal::KILL.as_raw()) {
            Ok(()) | Err(Error::Over { .. } | Error::Unknown { .. }) => {}
            Err(err) => return Err(err),
        }
        if ends_within(worker, PATIENCE)? {
            return Ok(());
        }
        send(worker, Signal::KILL.as_raw(), || unknown(id)).or_else(|err| match err {
            Error::Unknown { .. } => Ok(()),
            err => Err(err),
        })?;
        match ends_within(worker, PATIENCE)? {
            true => Ok(()),
            false => Err(Error::Stuck {
                id: id.as_str().to_owned(),
                seconds: 2 * PATIENCE.as_secs(),
            }),
        }
    }

    /// Removes the sandboxes that have ended before then, and what was left by processes that were killed; their
    /// names.
    ///
    /// # Errors
    ///
    /// As [`Sandboxes::known`] and [`Sandboxes::forget`].
    pub fn prune(&self, before: SystemTime) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for id in self.list()? {
            let Some((place, known)) = self.look(&id)? else {
                continue;
            };
            let ended = place.ended_at()?;
            if known.state.is_alive() || ended.is_none_or(|ended| ended > before) {
                continue;
            }
            match self.forget(&id, Force::No) {
                Ok(()) => removed.push(known.entry.id),
                // Somebody else was faster.
                Err(Error::Unknown { .. } | Error::Alive { .. }) => {}
                Err(err) => return Err(err),
            }
        }
        let _alone = self.one_at_a_time()?;
        self.sweep()?;
        Ok(removed)
    }

    /// Waits for the end of a detached sandbox; what it came to.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Attached`]; [`Error::Gone`] if it leaves nothing; [`Error::Killed`] if its
    /// worker was killed.
    pub fn wait(&self, id: &ContainerId) -> Result<Report, Error> {
        let (place, known) = self.one(id)?;
        if !known.entry.detached {
            return Err(attached("wait for", id));
        }
        if let Some(worker) = place.worker()? {
            ends(&worker, None)?;
        }
        if let Some(report) = place.report()? {
            return Ok(report);
        }
        match place.has_its_name()? {
            true => Err(Error::Killed {
                signal: Signal::KILL.as_raw(),
            }),
            false => Err(Error::Gone {
                id: id.as_str().to_owned(),
            }),
        }
    }
}

/// What is known of a sandbox whose worker is dead; none if nothing was put in order yet.
fn of_dead(place: &Place) -> Result<Option<State>, Error> {
    if let Some(report) = place.report()? {
        return Ok(Some(State::Ended(Box::new(report))));
    }
    Ok(place.is_buried()?.then_some(State::Died))
}

fn without_pid(entry: Entry, state: State) -> Known {
    Known {
        entry,
        state,
        pid: None,
    }
}

/// The program below the first process of a sandbox: its first child, with which it ends.
fn first_child(init: Pid) -> Result<Option<OwnedFd>, Error> {
    let failed = || Error::host("find the program's process");
    let number = init.as_raw_nonzero().get();
    let mut below = gl_launch::descendants(init).map_err(failed())?;
    below.retain(|task| task.parent == number && !task.ended);
    let first = below
        .into_iter()
        .min_by_key(|task| (task.started, task.pid));
    let program = first.map(|task| crate::home::Program {
        pid: task.pid,
        since: task.started,
    });
    Ok(program.and_then(crate::home::Program::open))
}

fn send(process: &OwnedFd, signal: i32, gone: impl FnOnce() -> Error) -> Result<(), Error> {
    match gl_sys::pidfd_send_signal(process.as_fd(), signal) {
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => Err(gone()),
        Err(errno) => Err(Error::host("signal the program")(errno)),
    }
}

fn ends_within(process: &OwnedFd, time: Duration) -> Result<bool, Error> {
    ends(process, Some(time))
}

/// Waits for the end of a process; whether that came within this time.
fn ends(process: &OwnedFd, within: Option<Duration>) -> Result<bool, Error> {
    let limit = within.map(|time| Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, limit.as_ref()));
    Ok(ready.map_err(Error::host("wait for the sandbox"))? > 0)
}

pub(crate) fn unknown(id: &ContainerId) -> Error {
    Error::Unknown {
        id: id.as_str().to_owned(),
    }
}

fn alive(id: &ContainerId) -> Error {
    Error::Alive {
        id: id.as_str().to_owned(),
    }
}

pub(crate) fn over(verb: &'static str, id: &ContainerId) -> Error {
    Error::Over {
        verb,
        id: id.as_str().to_owned(),
    }
}

pub(crate) fn attached(verb: &'static str, id: &ContainerId) -> Error {
    Error::Attached {
        verb,
        id: id.as_str().to_owned(),
    }
}
