//! `tmpcopyup`: fill a new tmpfs with what the image has under its mount point.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

/// Deeper trees than this are refused: no image has them under a mount point by accident.
const DEPTH_LIMIT: u32 = 64;

/// Copies directories, files, links and nodes from `from` to `to`, with modes and owners.
///
/// # Errors
///
/// Of any call on either tree; `ENAMETOOLONG` if the tree is deeper than 64 directories.
pub(crate) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    copy_directory(from, to, 0)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    if depth > DEPTH_LIMIT {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(from, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(readable.as_fd(), to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: u32,
) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
            copy_directory(below.as_fd(), made.as_fd(), depth + 1)?;
        }
        FileType::RegularFile => copy_file(from, to, name, mode)?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
        }
        kind @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo) => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
        }
        // A socket is of no use without its server.
        _ => return Ok(()),
    }
    copy_owner(to, name, &stat)
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    mode: Mode,
) -> Result<(), Errno> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty())?;
    let target: OwnedFd = rustix::fs::openat(to, name, write, mode)?;
    while rustix::fs::sendfile(&target, &source, None, 1 << 30)? > 0 {}
    Ok(())
}

fn copy_owner(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    // The change of owner has taken set-user-id bits away.
    rustix::fs::chmodat(
        to,
        name,
        Mode::from_raw_mode(stat.st_mode & 0o7777),
        AtFlags::empty(),
    )
}
