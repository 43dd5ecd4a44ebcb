//! What a detached program has written, read while it runs and afterwards.

use std::os::fd::OwnedFd;

use gl_spec::ContainerId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::dirs::Sandboxes;
use crate::error::Error;
use crate::home::Place;
use crate::known::{attached, unknown};
use crate::logs::{Piece, Reading, Stream};

/// Why waiting for more is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There may be more.
    More,
    /// The sandbox has ended: what is there is all.
    Ended,
}

/// What a detached program has written.
#[derive(Debug)]
pub struct Written {
    place: Place,
    /// None once it has ended.
    worker: Option<OwnedFd>,
    changes: OwnedFd,
    out: Reading,
    err: Reading,
}

impl Sandboxes {
    /// What the program of a detached sandbox has written, and writes.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Attached`]; [`Error::Host`] if its directory cannot be watched.
    pub fn written(&self, id: &ContainerId) -> Result<Written, Error> {
        let (place, known) = self.one(id)?;
        if !known.entry.detached {
            return Err(attached("read what is written by", id));
        }
        let failed = || Error::host("watch the logs");
        // Before anything is read, so that nothing is missed.
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let changes = inotify::init(flags).map_err(failed())?;
        let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        match inotify::add_watch(&changes, place.path(), wanted) {
            Err(Errno::NOENT) => return Err(unknown(id)),
            other => other.map_err(failed())?,
        };
        Ok(Written {
            worker: place.worker()?,
            place,
            changes,
            out: Reading::new(Stream::Out),
            err: Reading::new(Stream::Err),
        })
    }
}

impl Written {
    /// The next piece of a stream; none where there is no more for now.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn next(&mut self, stream: Stream) -> Result<Option<Piece>, Error> {
        match stream {
            Stream::Out => self.out.next(&self.place),
            Stream::Err => self.err.next(&self.place),
        }
    }

    /// Waits until there may be more, or the sandbox has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Host`].
    pub fn wait(&mut self) -> Result<Waited, Error> {
        let failed = || Error::host("wait for more");
        let Some(worker) = &self.worker else {
            return Ok(Waited::Ended);
        };
        let mut fds = [
            PollFd::new(worker, PollFlags::IN),
            PollFd::new(&self.changes, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(failed())?;
        let ended = !fds[0].revents().is_empty();
        let mut events = [0; 4096];
        loop {
            // What has changed is seen by looking.
            match rustix::io::read(&self.changes, &mut events) {
                Ok(1..) | Err(Errno::INTR) => {}
                Ok(0) | Err(Errno::AGAIN) => break,
                Err(errno) => return Err(failed()(errno)),
            }
        }
        if ended {
            self.worker = None;
            return Ok(Waited::Ended);
        }
        Ok(Waited::More)
    }
}
