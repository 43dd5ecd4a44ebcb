//! A sandbox that is only being made, and that somebody wants something of: its program is waited for.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use gl_spec::ContainerId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::home::Place;
use crate::known::{Known, State};

/// How long a sandbox may take to run its program before others are told that it does not yet.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sandboxes {
    /// One of the sandboxes, once its program runs or has ended.
    pub(crate) fn begun(
        &self,
        id: &ContainerId,
        verb: &'static str,
    ) -> Result<(Place, Known), Error> {
        let found = self.one(id)?;
        if found.1.state != State::Starting {
            return Ok(found);
        }
        let until = Instant::now().checked_add(PATIENCE);
        let failed = || Error::host("wait for the start of the sandbox");
        // Before it is looked at again, so that nothing is missed.
        let changes = inotify::init(CreateFlags::CLOEXEC).map_err(failed())?;
        let wanted = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&changes, found.0.path(), wanted).map_err(failed())?;
        let worker = found.0.worker()?;
        let found = self.one(id)?;
        if let (State::Starting, Some(worker)) = (&found.1.state, worker) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            wait([&changes, &worker], left.unwrap_or_default())?;
        }
        let found = self.one(id)?;
        match found.1.state {
            State::Starting => Err(Error::Starting {
                verb,
                id: id.as_str().to_owned(),
            }),
            _ => Ok(found),
        }
    }
}

/// Waits until one of these is ready, or the time is over.
fn wait(all: [&OwnedFd; 2], time: Duration) -> Result<(), Error> {
    let limit = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let mut fds = all.map(|fd| PollFd::new(fd, PollFlags::IN));
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))
        .map(drop)
        .map_err(Error::host("wait for the start of the sandbox"))
}
