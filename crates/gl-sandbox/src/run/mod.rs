//! A run: two processes that look after each other, and the sandbox between them.
//!
//! The caller's process, the *front*, starts a *worker* and waits for it. The worker makes the sandbox, waits
//! for its program and takes all of it away again. If the worker is killed, the front does that; if the front
//! is, the worker ends the program. If both are, the program gets SIGKILL from the kernel.

mod watching;
mod worker;

use std::os::fd::{AsFd, OwnedFd};

use gl_profile::Profile;
use gl_spec::ContainerId;
use gl_sys::Sender;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::detach::{self, Begun, Detach};
use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::report::{Loosening, Reason, Report};
use crate::root::Root;

pub(crate) use self::watching::Watching;

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
    /// Whether it outlives the caller.
    pub detach: Detach,
    /// What is told of it in the end.
    pub reporting: Reporting,
}

/// What is told of a run in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// All that there is to know.
    Whole,
    /// How it ended, to a caller that keeps nothing: of a program that has succeeded no more is worked out.
    End,
}

/// Whether a program gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// It has the caller's streams.
    No,
    /// It has one that is relayed to the caller's.
    Yes,
}

/// How a run goes on for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, with this exit status.
    Ended(u8),
    /// Its program runs on by itself.
    Detached,
}

/// What became of the report of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The exit status.
    pub status: u8,
    /// Why somebody could not be told.
    pub problem: Option<String>,
}

/// Runs a sandbox to its end. `done` is told how it went when nothing runs of it any more, in the worker or, if
/// that was killed, here, and gives the exit status; that is returned. Of a detached one that is later, and
/// nobody's to hear: the worker keeps it.
///
/// # Errors
///
/// [`Error::Launch`] if there is no worker, [`Error::Host`].
pub fn run(
    sandboxes: &Sandboxes,
    request: &Request,
    done: impl Fn(Result<&Report, (&Report, &Error)>) -> Told,
) -> Result<Outcome, Error> {
    let (ready, tells) = match request.detach {
        Detach::No => (None, None),
        Detach::Yes(_) => {
            let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
            let (ready, tells) = pipe.map_err(Error::host("make a pipe"))?;
            (Some(ready), Some(tells))
        }
    };
    let (pid, worker) = gl_launch::worker_with(tells, |front, tells| {
        let work = worker::work(request, front, tells);
        let told = match &work.error {
            None => done(Ok(&work.report)),
            Some(err) => done(Err((&work.report, err))),
        };
        i32::from(work.keep(told))
    })?;
    let begun = match ready {
        Some(ready) => detach::wait(&worker, &ready)?,
        None => match wait(&worker).map_err(Error::host("wait for the sandbox"))? {
            Ended::Exited(status) => Begun::Ended(status),
            Ended::Signalled(signal) => Begun::Killed(signal),
        },
    };
    match begun {
        Begun::Running => Ok(Outcome::Detached),
        Begun::Ended(status) => Ok(Outcome::Ended(status)),
        Begun::Killed(signal) => {
            let err = match sandboxes.take_away_after(&request.id, pid) {
                Ok(()) => Error::Killed { signal },
                Err(source) => Error::Left {
                    signal,
                    source: Box::new(source),
                },
            };
            let mut report = Report::new(request).failed(&err);
            report.exit.reason = Reason::Killed;
            Ok(Outcome::Ended(done(Err((&report, &err))).status))
        }
    }
}

/// Waits for the worker, and passes signals on to it.
///
/// # Errors
///
/// What the kernel says.
pub fn wait(worker: &OwnedFd) -> Result<Ended, Errno> {
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
