//! A run: two processes that look after each other, and the sandbox between them.
//!
//! The caller's process, the *front*, starts a *worker* and waits for it. The worker makes the sandbox, waits
//! for its program and takes all of it away again. If the worker is killed, the front does that; if the front
//! is, the worker ends the program. If both are, the program gets SIGKILL from the kernel.

mod watching;
mod worker;

use std::os::fd::{AsFd, OwnedFd};

use gl_container::Force;
use gl_profile::Profile;
use gl_spec::ContainerId;
use gl_sys::Sender;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::basic;
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
}

/// Whether a program gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// It has the caller's streams.
    No,
    /// It has one that is relayed to the caller's.
    Yes,
}

/// Runs a sandbox to its end. `done` is told how it went when nothing is left of it, in the worker or, if that
/// was killed, here, and gives the exit status; that is returned.
///
/// # Errors
///
/// [`Error::Launch`] if there is no worker, [`Error::Host`].
pub fn run(
    sandboxes: &Sandboxes,
    request: &Request,
    done: impl Fn(Result<&Report, (&Report, &Error)>) -> u8,
) -> Result<u8, Error> {
    let (pid, worker) = gl_launch::worker(|front| {
        let (report, error) = worker::work(request, front);
        i32::from(match &error {
            None => done(Ok(&report)),
            Some(err) => done(Err((&report, err))),
        })
    })?;
    let ended = wait(&worker).map_err(Error::host("wait for the sandbox"))?;
    match ended {
        Ended::Exited(status) => Ok(status),
        Ended::Signalled(signal) => {
            let err = match clean_up(sandboxes, &request.id, pid) {
                Ok(()) => Error::Killed { signal },
                Err(source) => Error::Left {
                    signal,
                    source: Box::new(source),
                },
            };
            let mut report = Report::new(request).failed(&err);
            report.exit.reason = Reason::Killed;
            Ok(done(Err((&report, &err))))
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
    basic::clean_up(&sandboxes.dir(id))?;
    sandboxes.remove(id)
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
