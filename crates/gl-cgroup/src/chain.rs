//! Making the directory of a cgroup and those above it, and knowing which of them are ours.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::error::Error;
use crate::layout::shown;

/// How often parents are made again that somebody else removed at the same moment.
const MAKE_ATTEMPTS: usize = 16;

/// The directories from the outermost to the cgroup itself, relative to `/sys/fs/cgroup`.
#[derive(Debug)]
pub(crate) struct Chain {
    paths: Vec<String>,
    /// Which of them were made here.
    ours: Vec<bool>,
    made: usize,
}

/// Whether a cgroup is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was made here.
    New,
    /// It was there.
    Old,
}

impl Chain {
    pub(crate) fn new(paths: Vec<String>) -> Self {
        Self {
            ours: vec![false; paths.len()],
            paths,
            made: 0,
        }
    }

    /// How many of the directories, from the cgroup upwards, were made here; also after a failure.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// How many are missing, from the cgroup upwards.
    pub(crate) fn missing(&self, base: &OwnedFd) -> Result<usize, Error> {
        for (missing, path) in self.paths.iter().rev().enumerate() {
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
        Ok(self.paths.len())
    }

    /// Makes the cgroup, and what is above it where that is missing.
    pub(crate) fn make(&mut self, base: &OwnedFd) -> Result<Found, Error> {
        let Some(leaf) = self.paths.last().cloned() else {
            return Ok(Found::Old);
        };
        for _ in 0..MAKE_ATTEMPTS {
            match mkdir(base, &leaf)? {
                Made::Yes => {
                    self.count_made(self.paths.len() - 1);
                    return Ok(Found::New);
                }
                Made::Exists => {
                    self.made = 0;
                    return Ok(Found::Old);
                }
                Made::NoParent => self.make_parents(base)?,
            }
        }
        Err(Error::Make {
            path: shown(&leaf),
            source: Errno::NOENT,
        })
    }

    /// Makes all directories above the cgroup, outermost first.
    ///
    /// One that vanishes between two calls ends the pass: [`Chain::make`] begins again.
    fn make_parents(&mut self, base: &OwnedFd) -> Result<(), Error> {
        for at in 0..self.paths.len() - 1 {
            match mkdir(base, &self.paths[at])? {
                Made::Yes => self.count_made(at),
                Made::Exists => {}
                Made::NoParent => return Ok(()),
            }
        }
        Ok(())
    }

    /// Notes that component `at` was made. All that is below it is then made by us as well, or is
    /// not there: only an unbroken run down to it counts.
    fn count_made(&mut self, at: usize) {
        self.ours[at] = true;
        let first = self.ours[..=at]
            .iter()
            .rposition(|ours| !ours)
            .map_or(0, |not| not + 1);
        self.made = self.ours.len() - first;
    }
}

/// Removes one directory; one that is gone already is fine.
pub(crate) fn rmdir(base: &OwnedFd, path: impl Arg) -> Result<(), Errno> {
    match rustix::fs::unlinkat(base, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
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
