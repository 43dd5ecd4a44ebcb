//! The processes of a container and the cgroups that it made below its own.
//!
//! The container chooses the names and the depth of those, so nothing here builds a path of them: a
//! path could be longer than `PATH_MAX`, and one descriptor for each level could be more than we may
//! have. One descriptor goes down by name and up by `..`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::chain::rmdir;
use crate::error::Error;
use crate::file;
use crate::layout::{self, shown};

/// A cgroup and everything below it.
#[derive(Debug, Clone)]
pub(crate) struct Subtree<'a> {
    base: &'a OwnedFd,
    path: String,
}

/// What is left to do in one directory of a walk.
struct Level {
    /// Its name in the one above.
    name: CString,
    /// Directories in it that were not visited yet.
    below: Vec<CString>,
}

impl<'a> Subtree<'a> {
    /// The cgroup at `path`, relative to `base`, which is `/sys/fs/cgroup`.
    pub(crate) fn new(base: &'a OwnedFd, path: String) -> Self {
        Self { base, path }
    }

    pub(crate) fn base(&self) -> &'a OwnedFd {
        self.base
    }

    /// Relative to `/sys/fs/cgroup`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The processes in the cgroup and in all below it. Gone counts as empty.
    pub(crate) fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        let enter = |fd: &OwnedFd| {
            pids.extend(pids_of(fd)?);
            Ok(())
        };
        self.walk(enter, |_, _| {})?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The processes in the cgroup itself. Gone counts as empty.
    pub(crate) fn top_pids(&self) -> Result<Vec<i32>, Error> {
        file::open(self.base, &self.path, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|fd| pids_of(&fd))
            .or_else(gone_is_empty)
            .map_err(|source| Error::Read {
                path: shown(&self.path),
                source,
            })
    }

    /// Removes every directory below the cgroup, children first. One that stays is found by
    /// whoever removes the cgroup.
    pub(crate) fn remove_below(&self) -> Result<(), Error> {
        self.walk(
            |_| Ok(()),
            |parent, name| {
                rmdir(parent, name).ok();
            },
        )
    }

    /// Visits the cgroup and everything below it: `enter` with each directory before, `leave` with
    /// the parent and the name of each but the first after what is below. What vanishes meanwhile
    /// is left out.
    pub(crate) fn walk(
        &self,
        mut enter: impl FnMut(&OwnedFd) -> Result<(), Errno>,
        mut leave: impl FnMut(&OwnedFd, &CStr),
    ) -> Result<(), Error> {
        file::open(self.base, &self.path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|top| walk(top, &mut enter, &mut leave))
            .or_else(gone_is_empty)
            .map_err(|source| Error::Inspect {
                path: shown(&self.path),
                source,
            })
    }
}

/// Visits `here` and everything below it.
fn walk(
    mut here: OwnedFd,
    enter: &mut dyn FnMut(&OwnedFd) -> Result<(), Errno>,
    leave: &mut dyn FnMut(&OwnedFd, &CStr),
) -> Result<(), Errno> {
    let mut levels = vec![Level::enter(&here, CString::default(), enter)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.below.pop() {
            if let Some((fd, level)) = down(&here, name, enter)? {
                here = fd;
                levels.push(level);
            }
            continue;
        }
        let done = levels.pop();
        if let Some(done) = done.filter(|_| !levels.is_empty()) {
            here = file::open_parent(&here)?;
            leave(&here, &done.name);
        }
    }
    Ok(())
}

/// Opens `name` in `here` and enters it; none if it is gone.
fn down(
    here: &OwnedFd,
    name: CString,
    enter: &mut dyn FnMut(&OwnedFd) -> Result<(), Errno>,
) -> Result<Option<(OwnedFd, Level)>, Errno> {
    file::open(here, &name, OFlags::RDONLY | OFlags::DIRECTORY)
        .and_then(|fd| {
            let level = Level::enter(&fd, name, enter)?;
            Ok(Some((fd, level)))
        })
        .or_else(gone_is_empty)
}

impl Level {
    /// Enters an open directory and lists the directories in it.
    fn enter(
        fd: &OwnedFd,
        name: CString,
        enter: &mut dyn FnMut(&OwnedFd) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        enter(fd)?;
        let below = layout::entries(fd)?
            .into_iter()
            .filter(|(_, kind)| *kind == FileType::Directory)
            .map(|(name, _)| name)
            .collect();
        Ok(Self { name, below })
    }
}

/// The processes in an open directory. Those outside our pid namespace show as 0 and are kept: they
/// count, though nothing can be done with them.
fn pids_of(dir: impl AsFd) -> Result<Vec<i32>, Errno> {
    let text = match file::read(dir, "cgroup.procs") {
        // A threaded cgroup of v2: the domain above it lists its processes.
        Err(Errno::OPNOTSUPP) => String::new(),
        other => other?,
    };
    text.lines()
        .map(|line| line.parse().ok().ok_or(Errno::BADMSG))
        .collect()
}

/// A directory that is gone has nothing in it (`ENODEV`: gone between opening and reading).
fn gone_is_empty<T: Default>(err: Errno) -> Result<T, Errno> {
    match err {
        Errno::NOENT | Errno::NODEV => Ok(T::default()),
        err => Err(err),
    }
}
