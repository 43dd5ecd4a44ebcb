//! Waiting for a line of `cgroup.events`: the kernel wakes a poll whenever the file changes.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::group::Group;
use crate::error::Error;
use crate::file;
use crate::layout::shown;
use crate::processes::is_gone;
use crate::wait;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The line is there.
    Yes,
    /// The time is over.
    Late,
    /// The cgroup is gone.
    Gone,
}

impl Group {
    /// Waits until `cgroup.events` has `line`, such as `populated 0`.
    pub(crate) fn await_event(&self, line: &str, deadline: Instant) -> Result<Seen, Error> {
        let path = self.file("cgroup.events");
        match await_line(&self.base, &path, line, deadline) {
            Ok(seen) => Ok(seen),
            Err(source) if is_gone(source) => Ok(Seen::Gone),
            Err(source) => Err(Error::Wait {
                path: shown(&path),
                source,
            }),
        }
    }
}

fn await_line(base: &OwnedFd, path: &str, line: &str, deadline: Instant) -> Result<Seen, Errno> {
    let fd = file::open(base, path, OFlags::RDONLY)?;
    loop {
        rustix::fs::seek(&fd, SeekFrom::Start(0))?;
        if file::read_all(&fd)?.lines().any(|has| has == line) {
            return Ok(Seen::Yes);
        }
        if Instant::now() >= deadline {
            return Ok(Seen::Late);
        }
        wait::until(&mut [PollFd::new(&fd, PollFlags::PRI)], deadline)?;
    }
}
