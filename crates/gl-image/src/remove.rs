//! Removing trees without following a link and without a descriptor for each level.
//!
//! Directories are moved to a trash directory, emptied there, and the directories in them moved beside
//! them: however deep a tree is, no more than three descriptors are open and nothing recurses.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

/// An own directory on the same file system, in which trees are taken apart.
#[derive(Debug)]
pub(crate) struct Trash {
    dir: OwnedFd,
    moved: u64,
}

const NAME: &str = "trash";
/// How a directory is opened to list it.
const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Trash {
    /// Makes the trash directory in `parent`, or finds it there.
    pub(crate) fn make(parent: BorrowedFd<'_>) -> io::Result<Self> {
        match rustix::fs::mkdirat(parent, NAME, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let dir = rustix::fs::openat(parent, NAME, LIST, Mode::empty())?;
        let mut trash = Self { dir, moved: 0 };
        trash.empty()?;
        Ok(trash)
    }

    /// Takes the empty trash directory away.
    pub(crate) fn dissolve(self, parent: BorrowedFd<'_>) -> io::Result<()> {
        drop(self);
        Ok(rustix::fs::unlinkat(parent, NAME, AtFlags::REMOVEDIR)?)
    }

    /// Removes an entry of a directory with all that is below it.
    pub(crate) fn remove(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            done => return Ok(done?),
        }
        if rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok() {
            return Ok(());
        }
        self.take(parent, name)?;
        self.empty()
    }

    /// Moves a directory here.
    fn take(
        &mut self,
        parent: BorrowedFd<'_>,
        name: impl rustix::path::Arg + Copy,
    ) -> io::Result<()> {
        let to = self.moved.to_string();
        self.moved += 1;
        let moved = match rustix::fs::renameat(parent, name, &self.dir, to.as_str()) {
            // Its own `..` changes, which its mode may forbid its owner.
            Err(Errno::ACCESS) => {
                let found = open_any(parent, name)?;
                relax(found.as_fd())?;
                rustix::fs::renameat(parent, name, &self.dir, to.as_str())
            }
            moved => moved,
        };
        Ok(moved?)
    }

    fn empty(&mut self) -> io::Result<()> {
        loop {
            let found = names(self.dir.as_fd())?;
            if found.is_empty() {
                return Ok(());
            }
            for name in found {
                let name = name.as_c_str();
                match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                    Err(Errno::ISDIR) => self.flatten(name)?,
                    done => done?,
                }
            }
        }
    }

    /// Empties a directory of the trash and removes it; directories in it become neighbours.
    fn flatten(&mut self, name: &std::ffi::CStr) -> io::Result<()> {
        let number = name.to_str().ok().and_then(|name| name.parse::<u64>().ok());
        // A trash that was left behind may hold any number.
        self.moved = self.moved.max(number.unwrap_or(0) + 1);
        let found = open_any(self.dir.as_fd(), name)?;
        relax(found.as_fd())?;
        drop(found);
        let dir = rustix::fs::openat(&self.dir, name, LIST, Mode::empty())?;
        for child in names(dir.as_fd())? {
            let child = child.as_c_str();
            match rustix::fs::unlinkat(&dir, child, AtFlags::empty()) {
                Err(Errno::ISDIR) => self.take(dir.as_fd(), child)?,
                done => done?,
            }
        }
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR)?)
    }
}

/// Removes a directory that this crate made, with its trash in itself.
pub(crate) fn discard(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let dir = match rustix::fs::openat(parent, name, LIST, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    let mut trash = Trash::make(dir.as_fd())?;
    for child in names(dir.as_fd())? {
        if child.to_bytes() != NAME.as_bytes() {
            use std::os::unix::ffi::OsStrExt as _;
            trash.remove(dir.as_fd(), OsStr::from_bytes(child.to_bytes()))?;
        }
    }
    trash.dissolve(dir.as_fd())?;
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// The entries of a directory.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let entries = Dir::read_from(dir)?.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    let is_entry = |name: &CString| !matches!(name.to_bytes(), b"." | b"..");
    let found = entries.filter(|entry| entry.as_ref().map_or(true, is_entry));
    Ok(found.collect::<Result<_, _>>()?)
}

/// Opens whatever has a name, without following or using it.
pub(crate) fn open_any(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Sets the mode of what an `O_PATH` descriptor refers to, which must not be a link.
pub(crate) fn set_mode(node: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)
}

/// Lets its owner do everything with a directory.
fn relax(dir: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(dir)?;
    if stat.st_mode & 0o700 != 0o700 {
        set_mode(dir, Mode::RWXU)?;
    }
    Ok(())
}
