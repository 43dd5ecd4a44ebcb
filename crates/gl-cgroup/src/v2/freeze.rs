//! Stopping and continuing all processes through `cgroup.freeze`.
//!
//! A process that is stopped still dies of `SIGKILL`.

use std::time::Duration;

use super::event::Seen;
use super::group::Group;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::processes::is_gone;
use crate::wait;

/// How long processes get to stop for a pause. One in uninterruptible sleep can take any time.
pub(crate) const PAUSE_LIMIT: Duration = Duration::from_secs(10);

impl Group {
    /// Stops all processes within `limit`, or lets all run on and says so.
    pub(crate) fn freeze(&self, limit: Duration) -> Result<(), Error> {
        self.set_freeze("1")?;
        match self.await_event("frozen 1", wait::deadline(limit))? {
            Seen::Yes | Seen::Gone => Ok(()),
            Seen::Late => {
                self.set_freeze("0")?;
                Err(Error::FreezeTimeout {
                    path: shown(self.path.as_str()),
                    waited_ms: limit.as_millis().try_into().unwrap_or(u64::MAX),
                })
            }
        }
    }

    /// Lets all processes run on.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        self.set_freeze("0")
    }

    /// Whether the processes stand still, or are about to, because of [`Group::freeze`].
    pub(crate) fn frozen(&self) -> Result<bool, Error> {
        let path = self.file("cgroup.freeze");
        match file::read_line(&self.base, &path) {
            Ok(value) => Ok(value == "1"),
            Err(source) if is_gone(source) => Ok(false),
            Err(source) => Err(Error::Read {
                path: shown(&path),
                source,
            }),
        }
    }

    fn set_freeze(&self, value: &str) -> Result<(), Error> {
        let path = self.file("cgroup.freeze");
        file::write(&self.base, &path, value).map_err(|source| Error::Write {
            path: shown(&path),
            value: value.to_owned(),
            source,
        })
    }
}
