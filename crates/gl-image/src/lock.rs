//! Locks of entries of the cache: exclusive for who makes or removes one, shared for who uses it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// A lock that ends with its descriptor.
#[derive(Debug)]
pub(crate) struct Lock {
    fd: OwnedFd,
}

impl Lock {
    /// Takes a lock for oneself; `None` if it is not free now.
    pub(crate) fn exclusive(dir: BorrowedFd<'_>, name: &str) -> io::Result<Option<Self>> {
        Self::take(dir, name, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes a lock together with others, waiting for one who has it alone.
    pub(crate) fn shared(dir: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        loop {
            if let Some(lock) = Self::take(dir, name, FlockOperation::LockShared)? {
                return Ok(lock);
            }
        }
    }

    fn take(
        dir: BorrowedFd<'_>,
        name: &str,
        operation: FlockOperation,
    ) -> io::Result<Option<Self>> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
            match rustix::fs::flock(&fd, operation) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                locked => locked?,
            }
            // Who removed the entry has removed the file as well: the lock of a file that is gone
            // keeps nobody out.
            let ours = rustix::fs::fstat(&fd)?;
            match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {
                    return Ok(Some(Self { fd }));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Marks the entry as used now.
    pub(crate) fn mark(&self) -> io::Result<()> {
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let times = rustix::fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        Ok(rustix::fs::futimens(&self.fd, &times)?)
    }

    /// When the entry was used last: seconds since 1970.
    pub(crate) fn last_use(&self) -> io::Result<i64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_mtime)
    }
}
