//! A process that does nothing but be there: a unit of systemd is started around one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::error::Error;
use crate::fork::{Place, fork};
use crate::identity;
use crate::record::Channel;
use crate::spawn::kill_and_reap;

/// A process that holds a place until it is dropped, or until the runtime ends.
#[derive(Debug)]
pub struct Placeholder {
    pid: Pid,
    pidfd: OwnedFd,
    /// The process ends once this is closed.
    _ours: Channel,
}

impl Placeholder {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] or [`Error::Fork`].
    pub fn start() -> Result<Self, Error> {
        // Init may join a namespace from which it can be seen.
        identity::hide().map_err(|fault| Error::Host {
            what: "hide from other processes",
            source: fault.errno,
        })?;
        let (ours, theirs) = Channel::pair().map_err(|source| Error::Host {
            what: "make a socket pair",
            source,
        })?;
        let forked = fork(Place::default(), 0, theirs, descriptor, |theirs, _| {
            i32::from(theirs.receive().is_err())
        });
        let (pid, pidfd) = forked.map_err(|source| Error::Fork { source })?;
        Ok(Self {
            pid,
            pidfd,
            _ours: ours,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        kill_and_reap(&self.pidfd);
    }
}

fn descriptor(channel: &Channel) -> Vec<BorrowedFd<'_>> {
    vec![channel.as_fd()]
}
