//! The directories of one container: making, remembering and joining them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::cpuset;
use crate::cgroup::Below;
use crate::chain::{Chain, Found, rmdir};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::{self, Hierarchy, Layout, shown};
use crate::paths::{GroupPath, Paths};
use crate::tree::Subtree;

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
            entry.made = entry.chain().missing(layout.base())?;
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
                let mut chain = dir.entry.chain();
                let found = chain.make(&self.base);
                dir.entry.made = chain.made();
                dir.fresh = found? == Found::New;
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
        let processes = self.subtree(dir).pids()?.len();
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

    /// The container's cgroup in one hierarchy, with all below it.
    pub(crate) fn subtree(&self, dir: &Dir) -> Subtree<'_> {
        Subtree::new(&self.base, dir.path())
    }

    /// The directory by whose processes the container's are told: that of the freezer, as kill
    /// needs both to agree, else the first.
    pub(crate) fn reference(&self) -> Option<&Dir> {
        self.dir(Controller::Freezer).or_else(|| self.dirs.first())
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

    /// The directories down to the cgroup itself.
    fn chain(&self) -> Chain {
        Chain::new(self.path.prefixes().map(|path| self.below(path)).collect())
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
