//! The directory of one container: making, remembering and joining it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::controllers;
use crate::cgroup::{Below, Depth};
use crate::chain::{Chain, Found, rmdir};
use crate::error::{Error, PathFault};
use crate::file;
use crate::layout::{self, Layout, shown};
use crate::paths::{GroupPath, Paths};
use crate::tree::Subtree;

/// The container's directory.
#[derive(Debug)]
pub(crate) struct Group {
    /// `/sys/fs/cgroup`.
    pub(crate) base: Arc<OwnedFd>,
    pub(crate) path: GroupPath,
    /// How many components of `path`, from its end, were made for this container.
    pub(crate) made: usize,
}

impl Group {
    /// Makes the directory, or leaves none behind, and has the controllers passed on to it.
    pub(crate) fn create(layout: &Layout, paths: &Paths) -> Result<Self, Error> {
        let mut group = Self::planned(layout, paths)?;
        match group.make() {
            Ok(()) => Ok(group),
            Err(err) => {
                group.unmake();
                Err(err)
            }
        }
    }

    /// What [`Group::create`] would make if it were called now, for a record that is stored before.
    pub(crate) fn intent(layout: &Layout, paths: &Paths) -> Result<Self, Error> {
        let mut group = Self::planned(layout, paths)?;
        group.made = group.chain().missing(&group.base)?;
        if group.made == 0 {
            // Whoever acts on the record would kill what is in there.
            group.refuse_used()?;
        }
        Ok(group)
    }

    /// Opens what a record names, touching nothing but `/sys/fs/cgroup` itself.
    pub(crate) fn open(path: &GroupPath, made: usize) -> Result<Self, Error> {
        let (base, _) = layout::open_root()?;
        Ok(Self {
            base: Arc::new(base),
            path: path.clone(),
            made,
        })
    }

    fn planned(layout: &Layout, paths: &Paths) -> Result<Self, Error> {
        let path = paths.unified().ok_or_else(|| Error::Path {
            path: String::new(),
            fault: PathFault::Outside,
        })?;
        if paths.is_runtimes_own(&path) {
            return Err(Error::Path {
                path: path.as_str().to_owned(),
                fault: PathFault::Root,
            });
        }
        Ok(Self {
            base: Arc::clone(layout.base()),
            path,
            made: 0,
        })
    }

    /// Makes the directory where it is missing.
    pub(crate) fn make(&mut self) -> Result<(), Error> {
        let mut chain = self.chain();
        let found = chain.make(&self.base);
        self.made = chain.made();
        if found? == Found::Old {
            self.refuse_used()?;
        }
        controllers::offer(&self.base, &self.path)
    }

    /// A cgroup that was there may hold nothing, or delete would kill a stranger.
    pub(crate) fn refuse_used(&self) -> Result<(), Error> {
        let processes = self.subtree().pids()?.len();
        if processes != 0 {
            return Err(Error::InUse {
                path: shown(self.path.as_str()),
                processes,
            });
        }
        if self.frozen()? {
            return Err(Error::Frozen {
                path: shown(self.path.as_str()),
            });
        }
        Ok(())
    }

    /// Removes what [`Group::make`] made. Best effort: the error that led here is what counts.
    fn unmake(&self) {
        for path in self.made_paths() {
            rmdir(&self.base, path).ok();
        }
    }

    /// The directories that were made, the cgroup itself first.
    pub(crate) fn made_paths(&self) -> impl Iterator<Item = &str> {
        self.path.prefixes().rev().take(self.made)
    }

    fn chain(&self) -> Chain {
        Chain::new(self.path.prefixes().map(str::to_owned).collect())
    }

    /// A file of the cgroup, relative to `/sys/fs/cgroup`.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path.as_str())
    }

    /// The cgroup with all below it.
    pub(crate) fn subtree(&self) -> Subtree<'_> {
        Subtree::new(&self.base, self.path.as_str().to_owned())
    }

    /// Opens the directory, so that a process can be born into it.
    pub(crate) fn open_dir(&self, below: &[Below]) -> Result<OwnedFd, Error> {
        let dir = self.chosen(below)?;
        self.open_to_join(dir.as_str(), OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Opens the file by which a process joins.
    pub(crate) fn join_fd(&self, below: &[Below]) -> Result<OwnedFd, Error> {
        let procs = format!("{}/cgroup.procs", self.chosen(below)?.as_str());
        self.open_to_join(&procs, OFlags::WRONLY)
    }

    /// The cgroup of the last choice, which cannot be for one controller alone.
    fn chosen(&self, below: &[Below]) -> Result<GroupPath, Error> {
        match below.last() {
            Some(Below {
                controller: Some(_),
                path,
            }) => Err(Error::Path {
                path: path.to_string(),
                fault: PathFault::Controller,
            }),
            Some(below) => Ok(self.path.join(&below.path)),
            None => Ok(self.path.clone()),
        }
    }

    fn open_to_join(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        file::open(&self.base, path, flags).map_err(|source| Error::Join {
            path: shown(path),
            source,
        })
    }

    /// The processes in the cgroup itself, or also in those below it.
    pub(crate) fn pids(&self, depth: Depth) -> Result<Vec<i32>, Error> {
        match depth {
            Depth::Tree => self.subtree().pids(),
            Depth::Top => self.subtree().top_pids(),
        }
    }

    /// The text of a file; none if this kernel, or the cgroup, does not have it.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.file(name);
        match file::read(&self.base, &path) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(source) => Err(Error::Read {
                path: shown(&path),
                source,
            }),
        }
    }
}
