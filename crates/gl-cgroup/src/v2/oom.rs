//! Notification of out-of-memory: inotify on `memory.events`, and on `cgroup.events` for the end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::group::Group;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::oom::OomEvent;
use crate::processes::is_gone;

/// A descriptor that becomes readable when the memory counts change or the last process is gone.
#[derive(Debug)]
pub(crate) struct OomWatch {
    notify: OwnedFd,
    base: Arc<OwnedFd>,
    /// `memory.events`, relative to `/sys/fs/cgroup`.
    events: String,
    /// The count when it was last looked at.
    kills: std::cell::Cell<u64>,
}

impl Group {
    /// Watches the files.
    pub(crate) fn oom_watch(&self) -> Result<OomWatch, Error> {
        let events = self.file("memory.events");
        let Some(kills) = kills(&self.base, &events)? else {
            return Err(Error::NoMemory);
        };
        let watch = || {
            let notify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            add_watch(&notify, shown(&events), WatchFlags::MODIFY)?;
            let end = shown(&self.file("cgroup.events"));
            add_watch(&notify, end, WatchFlags::MODIFY | WatchFlags::DELETE_SELF)?;
            Ok(notify)
        };
        let notify = watch().map_err(|source| Error::Watch {
            path: shown(&events),
            source,
        })?;
        Ok(OomWatch {
            notify,
            base: Arc::clone(&self.base),
            events,
            kills: kills.into(),
        })
    }

    /// How many processes the kernel has killed for lack of memory; 0 once the cgroup is gone.
    pub(crate) fn oom_kills(&self) -> Result<u64, Error> {
        kills(&self.base, &self.file("memory.events")).map(Option::unwrap_or_default)
    }
}

impl OomWatch {
    /// Takes what has happened since the last call. Never blocks.
    pub(crate) fn take(&self) -> Result<OomEvent, Error> {
        let failed = |source| Error::Watch {
            path: shown(&self.events),
            source,
        };
        let mut buf = [0; 4096];
        loop {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.notify, &mut buf)) {
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(source) => return Err(failed(source)),
            }
        }
        match kills(&self.base, &self.events)? {
            None => Ok(OomEvent::Gone),
            Some(kills) if kills > self.kills.replace(kills) => Ok(OomEvent::OutOfMemory { kills }),
            Some(_) => Ok(OomEvent::Quiet),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

/// The count of `memory.events`; none if the cgroup, or its memory controller, is gone.
fn kills(base: &OwnedFd, events: &str) -> Result<Option<u64>, Error> {
    let text = match file::read(base, events) {
        Ok(text) => text,
        Err(source) if is_gone(source) => return Ok(None),
        Err(source) => {
            return Err(Error::Read {
                path: shown(events),
                source,
            });
        }
    };
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    match count.map(str::parse) {
        None => Ok(Some(0)),
        Some(Ok(count)) => Ok(Some(count)),
        Some(Err(_)) => Err(Error::Parse {
            path: shown(events),
            text,
        }),
    }
}
