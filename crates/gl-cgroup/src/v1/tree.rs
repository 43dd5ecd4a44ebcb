//! The processes of a container and the cgroups that it made below its own.

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::group::{Dir, Group, shown};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout;

impl Group {
    /// The directory by whose processes the container's are told: that of the freezer, as kill
    /// needs both to agree, else the first.
    pub(crate) fn reference(&self) -> Option<&Dir> {
        self.dir(Controller::Freezer).or_else(|| self.dirs.first())
    }

    /// The processes in `dir` and in all cgroups below it. Gone counts as empty.
    pub(crate) fn tree_pids(&self, dir: &Dir) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for path in self.tree(&dir.path())? {
            pids.extend(self.pids_of(&path)?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The processes in one directory. Those outside our pid namespace show as 0 and are kept: they
    /// count, though nothing can be done with them.
    pub(crate) fn pids_of(&self, dir: &str) -> Result<Vec<i32>, Error> {
        let path = format!("{dir}/cgroup.procs");
        let text = match file::read(&self.base, &path) {
            Ok(text) => text,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::Read {
                    path: shown(&path),
                    source,
                });
            }
        };
        let parse = |line: &str| {
            line.parse().ok().ok_or_else(|| Error::Parse {
                path: shown(&path),
                text: line.to_owned(),
            })
        };
        text.lines().map(parse).collect()
    }

    /// `dir` and every directory below it, parents first.
    pub(crate) fn tree(&self, dir: &str) -> Result<Vec<String>, Error> {
        let mut all = vec![dir.to_owned()];
        let mut next = 0;
        while let Some(dir) = all.get(next).cloned() {
            next += 1;
            let fd = match file::open(&self.base, &dir, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(source) => {
                    return Err(Error::Inspect {
                        path: shown(&dir),
                        source,
                    });
                }
            };
            let below = layout::entries(&fd).map_err(|source| Error::Inspect {
                path: shown(&dir),
                source,
            })?;
            all.extend(
                below
                    .into_iter()
                    .filter(|(_, kind)| *kind == FileType::Directory)
                    .map(|(name, _)| format!("{dir}/{name}")),
            );
        }
        Ok(all)
    }

    /// What `freezer.state` shows; none where there is no freezer or no cgroup any more.
    pub(crate) fn freezer_state(&self, dir: &Dir) -> Result<Option<String>, Error> {
        let path = dir.file("freezer.state");
        match file::read_line(&self.base, &path) {
            Ok(state) => Ok(Some(state)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(source) => Err(Error::Read {
                path: shown(&path),
                source,
            }),
        }
    }
}
