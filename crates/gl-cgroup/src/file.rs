//! Reading and writing the small files of cgroupfs, by a descriptor of `/sys/fs/cgroup`.
//!
//! Paths go through `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`: cgroupfs has no symlinks
//! and nothing here may leave it. Files are never created by opening them, so a path that is not in
//! cgroupfs gives an error and no file.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Opens `path` below `base`, close-on-exec.
pub(crate) fn open(base: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        base,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens the directory above an open one. The caller has come down from there.
pub(crate) fn open_parent(dir: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, "..", flags, Mode::empty())
}

/// Writes `value` in one call: cgroupfs parses each write by itself.
pub(crate) fn write_value(fd: impl AsFd, value: &str) -> Result<(), Errno> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes()))?;
    if written == value.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

/// Opens `path` for writing, writes `value` and closes it.
pub(crate) fn write(base: impl AsFd, path: &str, value: &str) -> Result<(), Errno> {
    let fd = open(base, path, OFlags::WRONLY)?;
    write_value(fd, value)
}

/// Reads the whole file of `path` below `base`.
pub(crate) fn read(base: impl AsFd, path: &str) -> Result<String, Errno> {
    let fd = open(base, path, OFlags::RDONLY)?;
    read_all(fd)
}

/// Reads a file of one short line: one read instead of two, without its line end.
pub(crate) fn read_line(base: impl AsFd, path: &str) -> Result<String, Errno> {
    let fd = open(base, path, OFlags::RDONLY)?;
    let mut buf = [0; 4096];
    let len = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut buf))?;
    Ok(String::from_utf8_lossy(&buf[..len]).trim_end().to_owned())
}

/// Reads an open file from where it stands to its end.
pub(crate) fn read_all(fd: impl AsFd) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut buf = [0; 8192];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut buf))? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            len => text.extend_from_slice(&buf[..len]),
        }
    }
}
