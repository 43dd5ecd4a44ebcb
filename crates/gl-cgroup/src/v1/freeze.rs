//! Stopping and continuing all processes through the freezer.
//!
//! v1 tells no one when the last process has stopped: `freezer.state` is read until it shows it,
//! first at once, then with `ppoll` time-outs that double up to 5 ms. kernel
//! Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::group::{Dir, Group};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::wait;

/// How long processes get to stop for a pause. One in uninterruptible sleep can take any time.
pub(crate) const PAUSE_LIMIT: Duration = Duration::from_secs(10);

/// Reads without a pause before the first time-out.
const READS_AT_ONCE: u32 = 8;

impl Group {
    /// Stops all processes within `limit`, or lets all run on and says so.
    pub(crate) fn freeze(&self, limit: Duration) -> Result<(), Error> {
        let dir = self.freezer()?;
        self.set_freezer(dir, "FROZEN")?;
        let start = Instant::now();
        let mut reads = 0;
        let mut pause = Duration::from_micros(50);
        while self.freezer_state(dir)?.as_deref() == Some("FREEZING") {
            reads += 1;
            if start.elapsed() > limit {
                self.set_freezer(dir, "THAWED")?;
                return Err(Error::FreezeTimeout {
                    path: shown(&dir.path()),
                    waited_ms: limit.as_millis().try_into().unwrap_or(u64::MAX),
                });
            }
            if reads > READS_AT_ONCE {
                wait::pause(pause).map_err(|source| Error::Wait {
                    path: shown(&dir.path()),
                    source,
                })?;
                pause = (pause * 2).min(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Lets all processes run on.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        self.set_freezer(self.freezer()?, "THAWED")
    }

    /// Whether the processes stand still or are about to. Not, where there is no freezer.
    pub(crate) fn frozen(&self) -> Result<bool, Error> {
        let Some(dir) = self.dir(Controller::Freezer) else {
            return Ok(false);
        };
        let state = self.freezer_state(dir)?;
        Ok(matches!(state.as_deref(), Some("FROZEN" | "FREEZING")))
    }

    /// Does `work` while all processes stand still, and then lets run on what ran before.
    pub(crate) fn frozen_while(
        &self,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.frozen()? {
            return work();
        }
        self.freeze(PAUSE_LIMIT)?;
        let done = work();
        self.thaw()?;
        done
    }

    /// What `freezer.state` shows; none where there is no freezer or no cgroup any more.
    pub(crate) fn freezer_state(&self, dir: &Dir) -> Result<Option<String>, Error> {
        let path = dir.file("freezer.state");
        match file::read_line(&self.base, &path) {
            Ok(state) => Ok(Some(state)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(source) => Err(Error::Read {
                path: shown(&path),
                source,
            }),
        }
    }

    fn freezer(&self) -> Result<&Dir, Error> {
        self.dir(Controller::Freezer).ok_or(Error::NoFreezer)
    }

    fn set_freezer(&self, dir: &Dir, state: &str) -> Result<(), Error> {
        let path = dir.file("freezer.state");
        file::write(&self.base, &path, state).map_err(|source| Error::Write {
            path: shown(&path),
            value: state.to_owned(),
            source,
        })
    }
}
