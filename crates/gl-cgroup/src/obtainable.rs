//! Whether a cgroup can be had, and limited by what, before anything is made: a user without root has
//! one only where it was delegated.

use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::controller::Controller;
use crate::error::Error;
use crate::layout::{Layout, Version, shown};
use crate::paths::{GroupPath, OwnCgroups, Paths};
use crate::v2::passed_on;

/// Who wants a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The host's root, whose all v1 hierarchies are.
    Root,
    /// Somebody who may not be allowed to.
    Anybody,
}

/// The controllers that [`crate::Cgroup::create`] would give to a cgroup at these paths; none if the
/// caller cannot make it, or cannot put a process of its own into it.
///
/// Asks by `faccessat(2)` and changes nothing, so that somebody else may change it before the cgroup is
/// made: then making it fails. For root only what is mounted read-only is looked at, in v1.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Inspect`] if the kernel does not show what is there.
pub fn obtainable(
    layout: &Layout,
    paths: &Paths,
    asker: Asker,
) -> Result<Option<Vec<Controller>>, Error> {
    let base = layout.base().as_ref();
    if layout.version() == Version::V2 {
        return match paths.unified() {
            Some(path) => unified(base, &path),
            None => Ok(None),
        };
    }
    let mut all = Vec::new();
    for hierarchy in layout.hierarchies() {
        let path = hierarchy.controllers.iter().find_map(|c| paths.path(*c));
        let Some(path) = path else {
            continue;
        };
        let can = match asker {
            Asker::Root if !hierarchy.read_only => true,
            // Something that can be written may be mounted further down.
            Asker::Root | Asker::Anybody => {
                can_make(base, &GroupPath::clean(&hierarchy.dir).join(&path))?
            }
        };
        if !can {
            return Ok(None);
        }
        all.extend(&hierarchy.controllers);
    }
    Ok(Some(all))
}

fn unified(base: &OwnedFd, path: &GroupPath) -> Result<Option<Vec<Controller>>, Error> {
    if !can_make(base, path)? {
        return Ok(None);
    }
    // Whoever moves a process needs to write to the lowest cgroup that is above both places.
    let own = OwnCgroups::read()?.unified().cloned().unwrap_or_default();
    let mut common = path.clone();
    while !own.is_within(&common) {
        common = common.parent();
    }
    let procs = common.join(&GroupPath::clean("cgroup.procs"));
    if !may_write(base, procs.as_str())? {
        return Ok(None);
    }
    passed_on(base, path).map(Some)
}

/// Whether the cgroup can be made, or is there and can be joined.
fn can_make(base: &OwnedFd, path: &GroupPath) -> Result<bool, Error> {
    let deepest = deepest(base, path)?;
    if deepest == *path {
        let procs = path.join(&GroupPath::clean("cgroup.procs"));
        return may_write(base, procs.as_str());
    }
    may_write(base, deepest.as_str())
}

/// The lowest directory on the way to `path` that is there.
pub(crate) fn deepest(base: &OwnedFd, path: &GroupPath) -> Result<GroupPath, Error> {
    let mut at = path.clone();
    while !at.is_root() {
        match rustix::fs::statat(base, at.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(at),
            Err(Errno::NOENT | Errno::NOTDIR) => at = at.parent(),
            // What cannot be looked at cannot be used, either.
            Err(Errno::ACCESS) => return Ok(at),
            Err(source) => {
                return Err(Error::Inspect {
                    path: shown(at.as_str()),
                    source,
                });
            }
        }
    }
    Ok(at)
}

/// Whether we may write to a file or directory below `base`; the empty path is `base` itself.
pub(crate) fn may_write(base: &OwnedFd, path: &str) -> Result<bool, Error> {
    let path = match path {
        "" => ".",
        path => path,
    };
    match rustix::fs::accessat(base, path, Access::WRITE_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT) => Ok(false),
        Err(source) => Err(Error::Inspect {
            path: shown(path),
            source,
        }),
    }
}
