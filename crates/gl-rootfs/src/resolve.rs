//! The only path resolver for names inside a container's root.
//!
//! Nothing that an image or a co-tenant put there can lead outside: lookups are
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, and what does not exist yet is made one
//! component at a time below a directory that is held open, links expanded by us within the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::attach::on_procfs;

/// What to make at the end of a path that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644.
    File,
}

/// A container's root directory, held open.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// Lookups that lose a race with a rename are tried again this often before they fail.
const RACE_LIMIT: usize = 128;
/// As the kernel: more links than this in one path is `ELOOP`.
const LINK_LIMIT: usize = 40;

impl Root {
    /// Takes an open directory as the root.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens an existing path, following links within the root.
    ///
    /// # Errors
    ///
    /// As `openat2(2)`; `EAGAIN` only after a rename has disturbed 128 lookups in a row.
    pub fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        for _ in 0..RACE_LIMIT {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS) => return self.open_without_openat2(path, flags),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// [`Root::open`] that follows no link anywhere on the way.
    ///
    /// # Errors
    ///
    /// As `openat2(2)`: `ELOOP` for a link, `ENOSYS` before 5.6.
    pub fn open_plain(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::CLOEXEC;
        for _ in 0..RACE_LIMIT {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens a path with `O_PATH`, and makes it, with its parents, if it does not exist.
    ///
    /// # Errors
    ///
    /// As `openat(2)`, `mkdirat(2)`; `ELOOP` for more than 40 links.
    pub fn open_or_make(&self, path: &Path, leaf: Leaf) -> Result<(OwnedFd, Made), Errno> {
        match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => Ok((self.walk(path, Some(leaf))?, Made::New)),
            Ok(fd) => Ok((fd, Made::Existing)),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the directory that holds `path`'s last component, making it if need be.
    ///
    /// # Errors
    ///
    /// As [`Root::open_or_make`]; `EINVAL` if `path` has no last component.
    pub fn open_parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.open_or_make(parent, Leaf::Directory)?.0, name))
    }

    fn open_without_openat2(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let found = self.walk(path, None)?;
        if flags.contains(OFlags::PATH) {
            return Ok(found);
        }
        // An O_PATH descriptor is reopened through the host's procfs, before the root changes.
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        rustix::fs::open(link, flags, Mode::empty())
    }

    /// Walks component by component, expanding links within the root; makes what is missing when
    /// `make` says of what kind the last component is to be.
    fn walk(&self, path: &Path, make: Option<Leaf>) -> Result<OwnedFd, Errno> {
        let mut todo = components(path);
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                above.pop();
                continue;
            }
            let here = above.last().map_or(self.fd.as_fd(), AsFd::as_fd);
            let leaf = match make {
                Some(leaf) if todo.is_empty() => Some(leaf),
                Some(_) => Some(Leaf::Directory),
                None => None,
            };
            let (next, kind) = open_component(here, &name, leaf, !todo.is_empty())?;
            if kind == Kind::Directory || !is_link(&next)? {
                above.push(next);
                continue;
            }
            refuse_magic(here, &name, &next)?;
            links += 1;
            if links > LINK_LIMIT {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
            let target = OsString::from_vec(target);
            if target.as_bytes().starts_with(b"/") {
                above.clear();
            }
            for part in components(Path::new(&target)).into_iter().rev() {
                todo.push_front(part);
            }
        }
        match above.pop() {
            Some(fd) => Ok(fd),
            None => rustix::io::fcntl_dupfd_cloexec(&self.fd, 0),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a path was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was.
    Existing,
    /// We made it.
    New,
}

fn components(path: &Path) -> VecDeque<OsString> {
    let parts = path.components();
    parts
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// What is known of a component that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It is a directory.
    Directory,
    /// It may be a link.
    Any,
}

/// Opens one name below `dir` without following it, making it first if it is missing. One with names after it is
/// taken for a directory at first, and one that is to be made, for missing.
fn open_component(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    make: Option<Leaf>,
    has_more: bool,
) -> Result<(OwnedFd, Kind), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(dir, name, flags, Mode::empty());
    // ENOTDIR for a link as well.
    let directory = || match open(flags | OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => Ok((open(flags)?, Kind::Any)),
        opened => Ok((opened?, Kind::Directory)),
    };
    let opened = match has_more {
        true => directory(),
        false => Err(Errno::NOENT),
    };
    match (opened, make) {
        (Err(Errno::NOENT), Some(Leaf::Directory)) => {
            match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => directory(),
                Err(errno) => Err(errno),
            }
        }
        (Err(Errno::NOENT), Some(Leaf::File)) => {
            let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o644);
            match rustix::fs::openat(dir, name, create | OFlags::CLOEXEC, mode) {
                Ok(_) | Err(Errno::EXIST) => Ok((open(flags)?, Kind::Any)),
                Err(errno) => Err(errno),
            }
        }
        (Err(Errno::NOENT), None) if !has_more => Ok((open(flags)?, Kind::Any)),
        (opened, _) => opened,
    }
}

/// Refuses a magic link of procfs: its text only describes where the kernel would jump.
fn refuse_magic(dir: BorrowedFd<'_>, name: &OsStr, link: &OwnedFd) -> Result<(), Errno> {
    if !on_procfs(link.as_fd())? {
        return Ok(());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Ok(_) => Ok(()),
        // Without openat2 there is no telling them apart.
        Err(Errno::NOSYS) => Err(Errno::LOOP),
        Err(errno) => Err(errno),
    }
}

fn is_link(fd: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests;
