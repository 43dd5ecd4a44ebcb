//! A worker that outlives the command which started it.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::error::Error;
use crate::home::Home;
use crate::logs::Logs;

/// Whether a sandbox outlives the command that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detach {
    /// It ends with it, and leaves nothing.
    No,
    /// It runs on by itself.
    Yes(After),
}

/// What a detached sandbox leaves after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Its report and its logs, until they are removed.
    Keep,
    /// Nothing.
    Remove,
}

/// The worker of a detached sandbox until its program runs.
#[derive(Debug)]
pub(crate) struct Detaching {
    /// Told that it does.
    ready: OwnedFd,
    /// The caller's, for what keeps it from running.
    stderr: OwnedFd,
}

impl Detaching {
    /// Leaves the caller's session and streams, and has what the program writes taken down.
    pub(crate) fn begin(home: &Home, ready: OwnedFd) -> Result<(Self, Logs), Error> {
        let failed = || Error::host("leave the caller's session");
        let stderr =
            rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(failed())?;
        let null = null()?;
        let (logs, [out, err]) = Logs::open(home.place())?;
        rustix::process::setsid().map_err(failed())?;
        rustix::stdio::dup2_stdin(null).map_err(failed())?;
        rustix::stdio::dup2_stdout(out).map_err(failed())?;
        rustix::stdio::dup2_stderr(err).map_err(failed())?;
        Ok((Self { ready, stderr }, logs))
    }

    /// The program runs: the caller may go. Fails with `EPIPE` if that is gone already.
    pub(crate) fn started(self) -> Result<(), Error> {
        let failed = || Error::host("tell the caller that the program runs");
        let null = null()?;
        // Only the program's own ends of its pipes are left then, and nothing is kept in use.
        rustix::stdio::dup2_stdout(&null).map_err(failed())?;
        rustix::stdio::dup2_stderr(&null).map_err(failed())?;
        rustix::process::chdir("/").map_err(failed())?;
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.ready, b"1")) {
            Ok(1..) => Ok(()),
            Ok(0) => Err(failed()(Errno::PIPE)),
            Err(errno) => Err(failed()(errno)),
        }
    }

    /// It does not: the caller is told why.
    pub(crate) fn failed(self) -> Result<(), Error> {
        rustix::stdio::dup2_stderr(self.stderr).map_err(Error::host("tell the caller"))
    }
}

fn null() -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(Error::file("open", "/dev/null"))
}

/// What became of a detached sandbox.
pub(crate) enum Begun {
    /// Its program runs.
    Running,
    /// It is over; the worker's status.
    Ended(u8),
    /// The worker was killed by this signal.
    Killed(i32),
}

/// Waits until the program of a detached sandbox runs.
pub(crate) fn wait(worker: &OwnedFd, ready: &OwnedFd) -> Result<Begun, Error> {
    let failed = || Error::host("wait for the sandbox");
    let mut byte = [0; 1];
    let told = rustix::io::retry_on_intr(|| rustix::io::read(ready, &mut byte));
    if told.map_err(failed())? > 0 {
        return Ok(Begun::Running);
    }
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(worker.as_fd()), WaitIdOptions::EXITED)
    });
    let status = status
        .map_err(failed())?
        .ok_or_else(|| failed()(Errno::CHILD))?;
    Ok(match status.terminating_signal() {
        Some(signal) => Begun::Killed(signal),
        None => {
            let code = status.exit_status().unwrap_or(255) & 0xff;
            Begun::Ended(u8::try_from(code).unwrap_or(255))
        }
    })
}
