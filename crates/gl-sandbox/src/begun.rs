//! A sandbox that is only being made, and that somebody wants something of: its program is waited for.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use gl_spec::ContainerId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::home::Place;
use crate::known::{Known, State, unknown};

/// How long a sandbox may take to run its program before others are told that it does not yet.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sandboxes {
    /// One of the sandboxes, once its program runs or has ended.
    pub(crate) fn begun(
        &self,
        id: &ContainerId,
        verb: &'static str,
    ) -> Result<(Place, Known), Error> {
        let (place, known) = self.one(id)?;
        if known.state != State::Starting {
            return Ok((place, known));
        }
        self.wait_for_program(&place, id)?;
        let (place, known) = self.one(id)?;
        match known.state {
            State::Starting => Err(Error::Starting {
                verb,
                id: id.as_str().to_owned(),
            }),
            _ => Ok((place, known)),
        }
    }

    /// Waits until the program of a sandbox runs or its worker has ended, as long as there is patience.
    fn wait_for_program(&self, place: &Place, id: &ContainerId) -> Result<(), Error> {
        let until = Instant::now().checked_add(PATIENCE);
        let failed = || Error::host("wait for the start of the sandbox");
        // Before it is looked at again, so that nothing is missed.
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let changes = inotify::init(flags).map_err(failed())?;
        // Other files than that of the program are written there, too.
        let wanted = WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
        match inotify::add_watch(&changes, place.path(), wanted) {
            Err(Errno::NOENT) => return Err(unknown(id)),
            other => other.map_err(failed())?,
        };
        let Some(worker) = place.worker()? else {
            return Ok(());
        };
        while self.one(id)?.1.state == State::Starting {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match wait(&changes, &worker, left.unwrap_or_default())? {
                Seen::Change => drain(&changes)?,
                Seen::End => return place.wait_until_released(),
                Seen::Nothing => return Ok(()),
            }
        }
        Ok(())
    }
}

/// What came first of all that is waited for.
enum Seen {
    /// A file was written.
    Change,
    /// The worker has ended.
    End,
    /// The time was over.
    Nothing,
}

fn wait(changes: &OwnedFd, worker: &OwnedFd, time: Duration) -> Result<Seen, Error> {
    let limit = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let mut fds = [changes, worker].map(|fd| PollFd::new(fd, PollFlags::IN));
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))
        .map_err(Error::host("wait for the start of the sandbox"))?;
    let [_, worker] = &fds;
    Ok(match (ready, worker.revents().is_empty()) {
        (0, _) => Seen::Nothing,
        (_, true) => Seen::Change,
        (_, false) => Seen::End,
    })
}

/// Reads what has changed, so that the next change is waited for.
fn drain(changes: &OwnedFd) -> Result<(), Error> {
    let mut events = [0; 4096];
    loop {
        match rustix::io::read(changes, &mut events) {
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::host("wait for the start of the sandbox")(errno)),
        }
    }
}
