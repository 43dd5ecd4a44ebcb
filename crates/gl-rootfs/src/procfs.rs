//! A procfs that nothing in the container can have put something over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gl_plan::attr;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::attach::{Filesystem, on_procfs};
use crate::failure::{Failure, Step};

/// The root of a procfs instance, verified.
#[derive(Debug)]
pub struct Procfs {
    fd: OwnedFd,
}

impl Procfs {
    /// Makes an instance of its own, attached nowhere, for the caller's pid namespace.
    ///
    /// # Errors
    ///
    /// [`Failure`]; `EPERM` in a user namespace that sees no complete procfs.
    pub fn private() -> Result<Self, Failure> {
        let filesystem = Filesystem::open("proc")?;
        Self::new(filesystem.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?)
    }

    /// Takes an open procfs root.
    ///
    /// # Errors
    ///
    /// [`Failure`] of [`Step::OpenProc`] if it is not on a procfs.
    pub fn new(fd: OwnedFd) -> Result<Self, Failure> {
        let failed = Failure::of(Step::OpenProc);
        if on_procfs(fd.as_fd()).map_err(&failed)? {
            return Ok(Self { fd });
        }
        Err(failed(Errno::INVAL))
    }

    /// Opens a file of it. Mounts over it and links in it, but for `self`, are refused.
    ///
    /// # Errors
    ///
    /// As `openat2(2)`: `EXDEV` if something is mounted over the path, `ELOOP` for a magic link.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // What is reached without leaving the mount is of the same filesystem.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve)
    }

    /// Writes a file of it in one call.
    ///
    /// # Errors
    ///
    /// As [`Procfs::open`] and `write(2)`; `EIO` if not all was taken.
    pub fn write(&self, path: &Path, value: &[u8]) -> Result<(), Errno> {
        let file = self.open(path, OFlags::WRONLY)?;
        if rustix::io::write(&file, value)? == value.len() {
            return Ok(());
        }
        Err(Errno::IO)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
