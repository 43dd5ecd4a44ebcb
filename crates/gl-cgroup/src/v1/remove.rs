//! Ending the processes of a container and removing its directories.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::group::{Dir, Group, rmdir, shown};
use crate::cgroup::{Depth, Parents};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::wait;

/// How long processes get to stop before they are signalled anyway.
const KILL_FREEZE_LIMIT: Duration = Duration::from_millis(500);

/// How often the list is read again for new processes. Only one that forks faster than it is
/// signalled, where nothing can be frozen, comes near.
const KILL_ROUNDS: usize = 1000;

impl Group {
    /// The processes in the cgroup itself, or also in those below it.
    pub(crate) fn pids(&self, depth: Depth) -> Result<Vec<i32>, Error> {
        match (self.reference(), depth) {
            (None, _) => Ok(Vec::new()),
            (Some(dir), Depth::Tree) => self.tree_pids(dir),
            (Some(dir), Depth::Top) => self.top_pids(dir),
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
        let result = self.signal_all(dir, signal, &mut done);
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
        self.walk(dir, thaw, |_, _| {})
    }

    fn try_thaw(&self) -> Result<(), Error> {
        match self.thaw() {
            Err(Error::Write { source, .. }) if is_gone(source) => Ok(()),
            other => other,
        }
    }

    fn signal_all(&self, dir: &Dir, signal: Signal, done: &mut Vec<i32>) -> Result<(), Error> {
        for _ in 0..KILL_ROUNDS {
            let mut new = Vec::new();
            for pid in self
                .tree_pids(dir)?
                .into_iter()
                .filter(|pid| !done.contains(pid))
            {
                new.extend(open_process(dir, pid)?.map(|pidfd| (pid, pidfd)));
            }
            if new.is_empty() {
                return Ok(());
            }
            let now = self.tree_pids(dir)?;
            for (pid, pidfd) in new.iter().filter(|(pid, _)| now.contains(pid)) {
                send(dir, *pid, pidfd, signal)?;
            }
            done.extend(new.iter().map(|(pid, _)| *pid));
        }
        Err(Error::NotEmpty {
            path: shown(&dir.path()),
            processes: self.tree_pids(dir)?.len(),
        })
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
            let pids = self.tree_pids(dir)?;
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
            let done = self.remove_dir(dir, deadline);
            if done.is_ok() && parents == Parents::Remove {
                self.remove_parents(dir);
            }
            first = first.and(done);
        }
        first
    }

    fn remove_dir(&self, dir: &Dir, deadline: Instant) -> Result<(), Error> {
        let path = dir.path();
        loop {
            if self.is_removed(&path)? {
                return Ok(());
            }
            self.wait_dir_empty(dir, deadline)?;
            self.remove_below(dir)?;
            if self.is_removed(&path)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Remove {
                    path: shown(&path),
                    source: Errno::BUSY,
                });
            }
            // Empty and yet busy: the last process is on its way out.
            wait::pause(Duration::from_millis(1)).map_err(|source| Error::Wait {
                path: shown(&path),
                source,
            })?;
        }
    }

    /// Tries to remove one directory; not done if something is in it.
    fn is_removed(&self, path: &str) -> Result<bool, Error> {
        match rmdir(&self.base, path) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
            Err(source) => Err(Error::Remove {
                path: shown(path),
                source,
            }),
        }
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

fn is_gone(source: Errno) -> bool {
    matches!(source, Errno::NOENT | Errno::NODEV)
}

/// A pidfd of a process; none if it is gone or outside our pid namespace.
fn open_process(dir: &Dir, pid: i32) -> Result<Option<OwnedFd>, Error> {
    let Some(target) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    match pidfd_open(target, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(source) => Err(Error::Signal {
            path: shown(&dir.path()),
            pid,
            source,
        }),
    }
}

fn send(dir: &Dir, pid: i32, pidfd: &OwnedFd, signal: Signal) -> Result<(), Error> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(source) => Err(Error::Signal {
            path: shown(&dir.path()),
            pid,
            source,
        }),
    }
}
