//! Being told when a container runs out of memory, whichever version tells it.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::Error;
use crate::{v1, v2};

/// What became of the memory of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OomEvent {
    /// Nothing new.
    Quiet,
    /// It ran out of memory.
    OutOfMemory {
        /// How many processes the kernel has killed for that so far.
        kills: u64,
    },
    /// The cgroup is gone: nothing more will come.
    Gone,
}

/// A descriptor that becomes readable when the container runs out of memory or its cgroup is
/// removed, and on v2 also when it ends.
#[derive(Debug)]
pub struct OomWatch {
    pub(crate) inner: Inner,
}

/// One variant for each version.
#[derive(Debug)]
pub(crate) enum Inner {
    V1(v1::OomWatch),
    V2(v2::OomWatch),
}

impl OomWatch {
    /// Takes what has happened since the last call. Never blocks: poll [`AsFd::as_fd`] for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Watch`], [`Error::Read`] or [`Error::Parse`].
    pub fn take(&self) -> Result<OomEvent, Error> {
        match &self.inner {
            Inner::V1(watch) => watch.take(),
            Inner::V2(watch) => watch.take(),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::V1(watch) => watch.as_fd(),
            Inner::V2(watch) => watch.as_fd(),
        }
    }
}
