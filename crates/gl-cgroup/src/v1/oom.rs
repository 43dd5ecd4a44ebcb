//! Notification of out-of-memory through `memory.oom_control` and an eventfd.
//!
//! kernel Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::group::Group;
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::oom::OomEvent;

/// A descriptor that becomes readable when the container runs out of memory or its cgroup is removed.
#[derive(Debug)]
pub(crate) struct OomWatch {
    event: OwnedFd,
    base: Arc<OwnedFd>,
    /// `memory.oom_control`, relative to `/sys/fs/cgroup`.
    control: String,
}

impl Group {
    /// Registers an eventfd with the kernel.
    pub(crate) fn oom_watch(&self) -> Result<OomWatch, Error> {
        let Some(dir) = self.dir(Controller::Memory) else {
            return Err(Error::NoMemory);
        };
        let control = dir.file("memory.oom_control");
        let register = || {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let file = file::open(&self.base, &control, OFlags::RDONLY)?;
            let line = format!("{} {}", event.as_raw_fd(), file.as_raw_fd());
            file::write(&self.base, &dir.file("cgroup.event_control"), &line)?;
            Ok(event)
        };
        let event = register().map_err(|source| Error::Watch {
            path: shown(&control),
            source,
        })?;
        Ok(OomWatch {
            event,
            base: Arc::clone(&self.base),
            control,
        })
    }

    /// How many processes the kernel has killed for lack of memory; 0 once the cgroup is gone.
    pub(crate) fn oom_kills(&self) -> Result<u64, Error> {
        match self.dir(Controller::Memory) {
            None => Ok(0),
            Some(dir) => {
                kills(&self.base, &dir.file("memory.oom_control")).map(Option::unwrap_or_default)
            }
        }
    }
}

impl OomWatch {
    /// Takes what has happened since the last call. Never blocks: poll [`AsFd::as_fd`] for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Watch`], [`Error::Read`] or [`Error::Parse`].
    pub(crate) fn take(&self) -> Result<OomEvent, Error> {
        let mut count = [0; 8];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.event, &mut count)) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(OomEvent::Quiet),
            Err(source) => {
                return Err(Error::Watch {
                    path: shown(&self.control),
                    source,
                });
            }
        }
        match kills(&self.base, &self.control)? {
            Some(kills) => Ok(OomEvent::OutOfMemory { kills }),
            None => Ok(OomEvent::Gone),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// The count of `memory.oom_control`; none if the cgroup is gone.
fn kills(base: &OwnedFd, control: &str) -> Result<Option<u64>, Error> {
    let text = match file::read(base, control) {
        Ok(text) => text,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
        Err(source) => {
            return Err(Error::Read {
                path: shown(control),
                source,
            });
        }
    };
    // Before 4.13 there is no count.
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    match count.map(str::parse) {
        None => Ok(Some(0)),
        Some(Ok(count)) => Ok(Some(count)),
        Some(Err(_)) => Err(Error::Parse {
            path: shown(control),
            text,
        }),
    }
}
