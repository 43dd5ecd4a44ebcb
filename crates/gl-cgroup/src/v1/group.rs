//! The directories of one container: making, remembering and joining them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use serde::{Deserialize, Serialize};

use super::cpuset;
use crate::cgroup::Below;
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::{self, Hierarchy, Layout};
use crate::paths::{GroupPath, Paths};

/// How often parents are made again that somebody else removed at the same moment.
const MAKE_ATTEMPTS: usize = 16;

/// One hierarchy in a stored record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The directory of the hierarchy below `/sys/fs/cgroup`.
    dir: GroupPath,
    /// The controllers in it.
    controllers: Vec<Controller>,
    /// The cgroup in it.
    path: GroupPath,
    /// How many components of `path`, from its end, were made for this container.
    pub(super) made: usize,
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) entry: Entry,
    /// Nothing but [`Group::create`] has touched it.
    pub(crate) fresh: bool,
}

/// The container's directories.
#[derive(Debug)]
pub(crate) struct Group {
    /// `/sys/fs/cgroup`.
    pub(crate) base: Arc<OwnedFd>,
    pub(crate) dirs: Vec<Dir>,
}

impl Dir {
    /// The directory, relative to `/sys/fs/cgroup`.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.entry.dir.as_str(), self.entry.path.as_str())
    }

    /// A file in it, relative to `/sys/fs/cgroup`.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }

    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.entry.controllers.contains(&controller)
    }
}

/// The absolute path of something below `/sys/fs/cgroup`, for messages.
pub(crate) fn shown(relative: &str) -> PathBuf {
    PathBuf::from(format!("{}/{relative}", layout::ROOT))
}

impl Group {
    /// Makes the directories, or leaves none behind.
    pub(crate) fn create(layout: &Layout, paths: &Paths) -> Result<Self, Error> {
        let mut group = Self {
            base: Arc::clone(layout.base()),
            dirs: Vec::with_capacity(layout.hierarchies().len()),
        };
        match group.make_all(layout, paths) {
            Ok(()) => Ok(group),
            Err(err) => {
                group.unmake();
                Err(err)
            }
        }
    }

    /// What [`Group::create`] would make if it were called now, for a record that is stored before.
    pub(crate) fn intent(layout: &Layout, paths: &Paths) -> Result<Vec<Entry>, Error> {
        let mut entries = planned(layout, paths);
        let group = Self {
            base: Arc::clone(layout.base()),
            dirs: Vec::new(),
        };
        for entry in &mut entries {
            entry.made = missing(layout.base(), entry)?;
            if entry.made == 0 {
                // Whoever acts on the record would kill what is in there.
                group.refuse_used(&Dir {
                    entry: entry.clone(),
                    fresh: false,
                })?;
            }
        }
        Ok(entries)
    }

    fn make_all(&mut self, layout: &Layout, paths: &Paths) -> Result<(), Error> {
        for entry in planned(layout, paths) {
            // In the list before anything is made, so that a failure half way is undone.
            self.dirs.push(Dir {
                entry,
                fresh: false,
            });
            if let Some(dir) = self.dirs.last_mut() {
                make(&self.base, dir)?;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Makes the directory that was made or found last usable, or refuses it.
    fn settle(&self) -> Result<(), Error> {
        let Some(dir) = self.dirs.last() else {
            return Ok(());
        };
        if dir.entry.made == 0 {
            self.refuse_used(dir)?;
        }
        if dir.has(Controller::Cpuset) {
            let entry = &dir.entry;
            cpuset::fill(&self.base, &entry.dir, &entry.path, entry.made)?;
        }
        Ok(())
    }

    /// A cgroup that was there may hold nothing, or delete would kill a stranger.
    fn refuse_used(&self, dir: &Dir) -> Result<(), Error> {
        let processes = self.tree_pids(dir)?.len();
        if processes != 0 {
            return Err(Error::InUse {
                path: shown(&dir.path()),
                processes,
            });
        }
        if dir.has(Controller::Freezer) && self.freezer_state(dir)?.as_deref() != Some("THAWED") {
            return Err(Error::Frozen {
                path: shown(&dir.path()),
            });
        }
        Ok(())
    }

    /// Removes what [`make`] made. Best effort: the error that led here is what counts.
    fn unmake(&self) {
        for dir in &self.dirs {
            // On past a failure: a component may be a file, and the ones above it ours.
            for path in dir.entry.made_paths() {
                rmdir(&self.base, &path).ok();
            }
        }
    }

    /// Opens what a record names, touching nothing but `/sys/fs/cgroup` itself.
    pub(crate) fn open(entries: &[Entry]) -> Result<Self, Error> {
        let (base, _) = layout::open_root()?;
        let dirs = entries.iter().cloned().map(|entry| Dir {
            entry,
            fresh: false,
        });
        Ok(Self {
            base: Arc::new(base),
            dirs: dirs.collect(),
        })
    }

    /// What [`Group::open`] needs.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.dirs.iter().map(|dir| dir.entry.clone()).collect()
    }

    /// Opens all `tasks` files.
    pub(crate) fn join_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        self.dirs
            .iter()
            .map(|dir| {
                let path = dir.file("tasks");
                file::open(&self.base, &path, OFlags::WRONLY).map_err(|source| Error::Join {
                    path: shown(&path),
                    source,
                })
            })
            .collect()
    }

    /// Opens all `tasks` files, of cgroups below where `below` says so.
    pub(crate) fn join_fds_below(&self, below: &[Below]) -> Result<Vec<OwnedFd>, Error> {
        self.dirs
            .iter()
            .map(|dir| {
                let chosen = below.iter().rev().find(|below| {
                    below
                        .controller
                        .is_none_or(|controller| dir.has(controller))
                });
                let path = match chosen {
                    Some(below) => dir.file(&format!("{}/tasks", below.path.as_str())),
                    None => dir.file("tasks"),
                };
                file::open(&self.base, &path, OFlags::WRONLY).map_err(|source| Error::Join {
                    path: shown(&path),
                    source,
                })
            })
            .collect()
    }

    /// The directory of the hierarchy that has `controller`.
    pub(crate) fn dir(&self, controller: Controller) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.has(controller))
    }
}

impl Entry {
    /// The directory of the hierarchy below `/sys/fs/cgroup`, such as `cpu,cpuacct`.
    #[must_use]
    pub fn dir(&self) -> &str {
        self.dir.as_str()
    }

    /// The controllers in the hierarchy.
    #[must_use]
    pub fn controllers(&self) -> &[Controller] {
        &self.controllers
    }

    /// The container's cgroup in it.
    #[must_use]
    pub fn path(&self) -> &GroupPath {
        &self.path
    }

    /// The absolute path of that cgroup on the host, as a source of mounts.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        shown(&self.below(self.path.as_str()))
    }

    /// A cgroup of this hierarchy, relative to `/sys/fs/cgroup`.
    fn below(&self, path: &str) -> String {
        format!("{}/{path}", self.dir.as_str())
    }

    /// Notes that component `at` was made. All that is below it is then made by us as well, or is
    /// not there: only an unbroken run down to it counts.
    fn count_made(&mut self, ours: &mut [bool], at: usize) {
        ours[at] = true;
        let first = ours[..=at]
            .iter()
            .rposition(|ours| !ours)
            .map_or(0, |not| not + 1);
        self.made = ours.len() - first;
    }

    /// The directories that were made, the cgroup itself first, relative to `/sys/fs/cgroup`.
    pub(crate) fn made_paths(&self) -> impl Iterator<Item = String> {
        self.path
            .prefixes()
            .rev()
            .take(self.made)
            .map(|path| self.below(path))
    }
}

/// Removes one directory; one that is gone already is fine.
pub(crate) fn rmdir(base: &OwnedFd, path: impl Arg) -> Result<(), Errno> {
    match rustix::fs::unlinkat(base, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The cgroup in each hierarchy, none made yet.
fn planned(layout: &Layout, paths: &Paths) -> Vec<Entry> {
    let entry = |hierarchy: &Hierarchy| {
        let path = hierarchy.controllers.iter().find_map(|c| paths.path(*c))?;
        Some(Entry {
            dir: GroupPath::clean(&hierarchy.dir),
            controllers: hierarchy.controllers.clone(),
            path,
            made: 0,
        })
    };
    layout.hierarchies().iter().filter_map(entry).collect()
}

/// How many components of the path are missing, from its end.
fn missing(base: &OwnedFd, entry: &Entry) -> Result<usize, Error> {
    let paths: Vec<_> = entry
        .path
        .prefixes()
        .map(|path| entry.below(path))
        .collect();
    for (missing, path) in paths.iter().rev().enumerate() {
        match rustix::fs::statat(base, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(missing),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(source) => {
                return Err(Error::Inspect {
                    path: shown(path),
                    source,
                });
            }
        }
    }
    Ok(paths.len())
}

/// Makes the directory of one hierarchy, and its parents where they are missing.
fn make(base: &OwnedFd, dir: &mut Dir) -> Result<(), Error> {
    let paths: Vec<_> = dir
        .entry
        .path
        .prefixes()
        .map(|path| dir.entry.below(path))
        .collect();
    let Some(leaf) = paths.last() else {
        return Ok(());
    };
    let mut ours = vec![false; paths.len()];
    for _ in 0..MAKE_ATTEMPTS {
        match mkdir(base, leaf)? {
            Made::Yes => {
                dir.entry.count_made(&mut ours, paths.len() - 1);
                dir.fresh = true;
                return Ok(());
            }
            Made::Exists => {
                dir.entry.made = 0;
                return Ok(());
            }
            Made::NoParent => make_parents(base, &mut dir.entry, &paths, &mut ours)?,
        }
    }
    Err(Error::Make {
        path: shown(leaf),
        source: Errno::NOENT,
    })
}

/// Makes all directories above the cgroup, outermost first.
///
/// One that vanishes between two calls ends the pass: [`make`] begins again.
fn make_parents(
    base: &OwnedFd,
    entry: &mut Entry,
    paths: &[String],
    ours: &mut [bool],
) -> Result<(), Error> {
    for (at, path) in paths.iter().enumerate().take(paths.len() - 1) {
        match mkdir(base, path)? {
            Made::Yes => entry.count_made(ours, at),
            Made::Exists => {}
            Made::NoParent => return Ok(()),
        }
    }
    Ok(())
}

enum Made {
    Yes,
    Exists,
    NoParent,
}

fn mkdir(base: &OwnedFd, path: &str) -> Result<Made, Error> {
    let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    match rustix::fs::mkdirat(base, path, mode) {
        Ok(()) => Ok(Made::Yes),
        Err(Errno::EXIST) => Ok(Made::Exists),
        Err(Errno::NOENT) => Ok(Made::NoParent),
        Err(source) => Err(Error::Make {
            path: shown(path),
            source,
        }),
    }
}
