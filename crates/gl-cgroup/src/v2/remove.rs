//! Ending the processes of a container and removing its directory.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use super::event::Seen;
use super::group::Group;
use crate::cgroup::Parents;
use crate::chain::rmdir;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::processes::{self, KILL_FREEZE_LIMIT, is_gone};
use crate::wait;

impl Group {
    /// Signals every process and returns how many.
    ///
    /// `SIGKILL` goes through `cgroup.kill` (5.14), which nobody can fork away from and which also
    /// ends what stands still. Everything else, and where there is no such file, goes by pidfd while
    /// all stand still.
    pub(crate) fn kill_all(&self, signal: Signal) -> Result<usize, Error> {
        if signal == Signal::KILL
            && let Some(killed) = self.kill_at_once()?
        {
            return Ok(killed);
        }
        let stood = self.frozen()?;
        let still = stood || self.try_freeze()?;
        let mut done = Vec::new();
        let result = processes::signal(&self.subtree(), signal, &mut done);
        if signal == Signal::KILL {
            self.thaw_tree()?;
        } else if still && !stood {
            self.try_thaw()?;
        }
        result.map(|()| done.len())
    }

    /// Writes `cgroup.kill`; none where the kernel has none, or not for a threaded cgroup.
    fn kill_at_once(&self) -> Result<Option<usize>, Error> {
        let path = self.file("cgroup.kill");
        let processes = self.subtree().pids()?.len();
        match file::write(&self.base, &path, "1") {
            Ok(()) => {
                // A pause is over with what was paused.
                if self.frozen()? {
                    self.try_thaw()?;
                }
                Ok(Some(processes))
            }
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(source) => Err(Error::Write {
                path: shown(&path),
                value: "1".to_owned(),
                source,
            }),
        }
    }

    /// Freezes, and says whether everything stands still. A cgroup that is gone has nothing to stop.
    fn try_freeze(&self) -> Result<bool, Error> {
        match self.freeze(KILL_FREEZE_LIMIT) {
            Ok(()) => Ok(true),
            Err(Error::FreezeTimeout { .. }) => Ok(false),
            Err(Error::Write { source, .. }) if is_gone(source) => Ok(false),
            Err(err) => Err(err),
        }
    }

    fn try_thaw(&self) -> Result<(), Error> {
        match self.thaw() {
            Err(Error::Write { source, .. }) if is_gone(source) => Ok(()),
            other => other,
        }
    }

    /// Lets everything run on, also in cgroups that the container made and froze itself.
    fn thaw_tree(&self) -> Result<(), Error> {
        let thaw = |fd: &OwnedFd| match file::write(fd, "cgroup.freeze", "0") {
            Err(source) if is_gone(source) => Ok(()),
            other => other,
        };
        self.subtree().walk(thaw, |_, _| {})
    }

    /// Waits until no process is left in the cgroup and below it.
    pub(crate) fn wait_empty(&self, limit: Duration) -> Result<(), Error> {
        self.await_empty(wait::deadline(limit))
    }

    fn await_empty(&self, deadline: Instant) -> Result<(), Error> {
        match self.await_event("populated 0", deadline)? {
            Seen::Yes | Seen::Gone => Ok(()),
            Seen::Late => Err(Error::NotEmpty {
                path: shown(self.path.as_str()),
                processes: self.subtree().pids()?.len(),
            }),
        }
    }

    /// Removes the directory if it was made, and those above it that were.
    pub(crate) fn remove(&self, parents: Parents, limit: Duration) -> Result<(), Error> {
        if self.made == 0 {
            return Ok(());
        }
        let deadline = wait::deadline(limit);
        processes::remove(&self.subtree(), deadline, || self.await_empty(deadline))?;
        if parents == Parents::Remove {
            self.remove_parents();
        }
        Ok(())
    }

    /// Removes the parents that were made, up to the first that somebody else uses by now.
    fn remove_parents(&self) {
        self.made_paths()
            .skip(1)
            .take_while(|path| rmdir(&self.base, *path).is_ok())
            .for_each(drop);
    }
}
