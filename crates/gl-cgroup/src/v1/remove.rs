//! Ending the processes of a container and removing its directories.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::group::{Dir, Group};
use crate::cgroup::{Depth, Parents};
use crate::chain::rmdir;
use crate::controller::Controller;
use crate::error::Error;
use crate::layout::shown;
use crate::processes::{self, KILL_FREEZE_LIMIT, is_gone};
use crate::{file, wait};

impl Group {
    /// The processes in the cgroup itself, or also in those below it.
    pub(crate) fn pids(&self, depth: Depth) -> Result<Vec<i32>, Error> {
        match (self.reference(), depth) {
            (None, _) => Ok(Vec::new()),
            (Some(dir), Depth::Tree) => self.subtree(dir).pids(),
            (Some(dir), Depth::Top) => self.subtree(dir).top_pids(),
        }
    }

    /// Signals every process and returns how many.
    ///
    /// They stand still meanwhile, so none can fork away; where they cannot be stopped, the list is
    /// read again until it shows nobody new. A pidfd is opened first and the list read again after
    /// it, so that an id that was given to a stranger meanwhile is not hit.
    pub(crate) fn kill_all(&self, signal: Signal) -> Result<usize, Error> {
        let Some(dir) = self.reference() else {
            return Ok(0);
        };
        let stood = self.frozen()?;
        let still = stood || self.try_freeze()?;
        let mut done = Vec::new();
        let result = processes::signal(&self.subtree(dir), signal, &mut done);
        if signal == Signal::KILL {
            self.thaw_tree()?;
        } else if still && !stood {
            self.try_thaw()?;
        }
        result.map(|()| done.len())
    }

    /// Freezes, and says whether everything stands still. A cgroup that is gone has nothing to stop.
    fn try_freeze(&self) -> Result<bool, Error> {
        match self.freeze(KILL_FREEZE_LIMIT) {
            Ok(()) => Ok(true),
            Err(Error::NoFreezer | Error::FreezeTimeout { .. }) => Ok(false),
            Err(Error::Write { source, .. }) if is_gone(source) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Lets everything run on, also in cgroups that the container made and froze itself: there a
    /// kill takes no effect.
    fn thaw_tree(&self) -> Result<(), Error> {
        let Some(dir) = self.dir(Controller::Freezer) else {
            return Ok(());
        };
        let thaw = |fd: &OwnedFd| match file::write(fd, "freezer.state", "THAWED") {
            Err(source) if is_gone(source) => Ok(()),
            other => other,
        };
        self.subtree(dir).walk(thaw, |_, _| {})
    }

    fn try_thaw(&self) -> Result<(), Error> {
        match self.thaw() {
            Err(Error::Write { source, .. }) if is_gone(source) => Ok(()),
            other => other,
        }
    }

    /// Waits until no process is left in the cgroup and below it.
    pub(crate) fn wait_empty(&self, limit: Duration) -> Result<(), Error> {
        match self.reference() {
            None => Ok(()),
            Some(dir) => self.wait_dir_empty(dir, wait::deadline(limit)),
        }
    }

    fn wait_dir_empty(&self, dir: &Dir, deadline: Instant) -> Result<(), Error> {
        loop {
            let pids = self.subtree(dir).pids()?;
            let Some(first) = pids.first() else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                return Err(Error::NotEmpty {
                    path: shown(&dir.path()),
                    processes: pids.len(),
                });
            }
            wait::exit_of(*first, deadline).map_err(|source| Error::Wait {
                path: shown(&dir.path()),
                source,
            })?;
        }
    }

    /// Removes all directories that were made; goes on after a failure and returns the first.
    pub(crate) fn remove(&self, parents: Parents, limit: Duration) -> Result<(), Error> {
        let deadline = wait::deadline(limit);
        let mut first = Ok(());
        for dir in self.dirs.iter().filter(|dir| dir.entry.made > 0) {
            let tree = self.subtree(dir);
            let done = processes::remove(&tree, deadline, || self.wait_dir_empty(dir, deadline));
            if done.is_ok() && parents == Parents::Remove {
                self.remove_parents(dir);
            }
            first = first.and(done);
        }
        first
    }

    /// Removes the parents that were made, up to the first that somebody else uses by now.
    fn remove_parents(&self, dir: &Dir) {
        dir.entry
            .made_paths()
            .skip(1)
            .take_while(|path| rmdir(&self.base, path).is_ok())
            .for_each(drop);
    }
}
