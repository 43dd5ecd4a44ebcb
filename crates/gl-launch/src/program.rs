//! A program of the host in a cgroup: it is held back until everything for it is in place.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use gl_sys::Batch;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::child::join_cgroup;
use crate::error::Error;
use crate::fork::{Born, Place, fork};
use crate::record::{Channel, Kind as Message, Record};
use crate::spawn::{Tie, kill_and_reap};
use crate::stdio;

/// A program and where it runs. It gets the runtime's standard streams, and none of its environment.
#[derive(Debug)]
pub struct HostProgram<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its arguments, without its name.
    pub args: &'a [OsString],
    /// Files by which it joins its cgroup.
    pub join: Batch,
    /// The directory of cgroup v2 that it is born into.
    pub cgroup_dir: Option<OwnedFd>,
    /// Whose end is its end as well.
    pub tie: Tie,
    /// Its OOM score adjustment, if that is not the runtime's.
    pub oom_score_adj: Option<i32>,
}

/// A process that waits to become a program; it ends with this.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    runtime: Channel,
}

/// The search path of a program of the host.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes a process that waits to become the program.
///
/// # Errors
///
/// [`Error::Fork`], [`Error::Host`].
pub fn hold(program: &HostProgram<'_>) -> Result<Held, Error> {
    let failed = |source| Error::Host {
        what: "make a socket pair",
        source,
    };
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let cgroup_dir = program.cgroup_dir.as_ref().map(AsFd::as_fd);
    let place = Place {
        namespaces: 0,
        cgroup: cgroup_dir,
    };
    let given = Given {
        runtime: theirs,
        program,
    };
    let forked = fork(place, 0, given, Given::descriptors, |given, born| {
        let errno = given.become_it(born).err().unwrap_or(Errno::IO);
        let mut record = Record::new(Message::Failed, 0);
        record.errno = errno.raw_os_error();
        i32::from(given.runtime.send(&record).is_err()) + 126
    });
    let (pid, pidfd) = forked.map_err(|source| Error::Fork { source })?;
    Ok(Held {
        pid,
        pidfd: Some(pidfd),
        runtime: ours,
    })
}

struct Given<'a> {
    runtime: Channel,
    program: &'a HostProgram<'a>,
}

impl Given<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.runtime.as_fd()];
        all.extend(self.program.join.iter().map(AsFd::as_fd));
        all
    }

    /// Returns only if it fails.
    fn become_it(&self, born: Born) -> Result<(), Errno> {
        if self.program.tie == Tie::Launcher {
            // Before it waits: if the runtime has ended already, so does the wait.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        self.runtime.expect(Message::Go)?;
        if born == Born::Outside {
            join_cgroup(&self.program.join).map_err(|fault| fault.errno)?;
        }
        if let Some(score) = self.program.oom_score_adj {
            std::fs::write("/proc/self/oom_score_adj", score.to_string())
                .map_err(|err| Errno::from_io_error(&err).unwrap_or(Errno::IO))?;
        }
        stdio::own_null()?;
        gl_sys::reset_for_exec()?;
        let err = Command::new(self.program.path)
            .args(self.program.args)
            .env_clear()
            .env("PATH", PATH)
            .exec();
        Err(Errno::from_io_error(&err).unwrap_or(Errno::IO))
    }
}

impl Held {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor of it.
    ///
    /// # Panics
    ///
    /// Never: it is there until [`Held::release`] takes the whole.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_ref().expect("taken by release only").as_fd()
    }

    /// Lets it become the program, and returns once it has: a child of this process.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] with what kept it from that; it is gone then.
    pub fn release(mut self) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Host {
            what: "start the program in its cgroup",
            source,
        };
        let go = self.runtime.send(&Record::new(Message::Go, 0));
        match go.and_then(|()| self.runtime.receive()) {
            // It has executed: its end of the connection is gone.
            Ok(None) => {}
            Ok(Some(record)) => return Err(failed(record.failure())),
            Err(errno) => return Err(failed(errno)),
        }
        self.pidfd.take().ok_or(failed(Errno::SRCH))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            kill_and_reap(pidfd);
        }
    }
}
