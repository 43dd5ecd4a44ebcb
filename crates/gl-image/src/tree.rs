//! The tree that layers are unpacked to, and what is remembered while that goes on.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use gl_rootfs::{Leaf, Made, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, shown};
use crate::name::{Name, path};
use crate::remove::{Trash, names, open_any, set_mode};

/// Whom the files of an image belong to once they are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The users and groups that the image names, as root of the host or of a user namespace sees them.
    /// Bits for setuid and setgid, file capabilities and, where the kernel allows, device nodes are kept.
    Image,
    /// The caller. Bits for setuid and setgid, file capabilities and device nodes are left out.
    Caller,
}

impl Ownership {
    /// [`Ownership::Image`] for root, on the host or in a user namespace, [`Ownership::Caller`] for others.
    #[must_use]
    pub fn of_caller() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Image
        } else {
            Self::Caller
        }
    }
}

/// Something of an image that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Note {
    /// The layer, from 1.
    pub layer: usize,
    /// The entry's name.
    pub entry: String,
    /// What was left out, and why.
    pub what: String,
}

/// Notes that are kept of one image.
const MAX_NOTES: usize = 1000;
/// Levels of directories that are walked down.
pub(crate) const DEEPEST: usize = 512;
/// How a directory is opened to be read or changed.
pub(crate) const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory whose time is set once the layer is done.
#[derive(Debug)]
struct Timed {
    name: Name,
    ino: u64,
    mtime: (i64, u32),
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Root,
    pub(crate) trash: Trash,
    pub(crate) ownership: Ownership,
    /// What this layer has made: the directory's inode and the name in it.
    touched: HashSet<(u64, OsString)>,
    timed: Vec<Timed>,
    /// Directories whose owner must not write to them, once everything is done.
    restricted: HashMap<u64, Mode>,
    layer: usize,
    notes: Vec<Note>,
}

impl Tree {
    /// Takes an empty directory, opened for reading.
    pub(crate) fn new(root: OwnedFd, trash: Trash, ownership: Ownership) -> Self {
        Self {
            root: Root::new(root),
            trash,
            ownership,
            touched: HashSet::new(),
            timed: Vec::new(),
            restricted: HashMap::new(),
            layer: 0,
            notes: Vec::new(),
        }
    }

    /// Begins a layer.
    pub(crate) fn begin(&mut self, layer: usize) {
        self.layer = layer;
        self.touched.clear();
    }

    /// Remembers that something was left out.
    pub(crate) fn note(&mut self, entry: &[u8], what: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note {
                layer: self.layer,
                entry: shown(entry),
                what: what.into(),
            });
        }
    }

    /// Remembers that this layer has made an entry.
    pub(crate) fn touch(&mut self, dir: u64, name: &OsStr) {
        self.touched.insert((dir, name.to_owned()));
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.touched.is_empty()
    }

    pub(crate) fn has_touched(&self, dir: u64, name: &OsStr) -> bool {
        self.touched.contains(&(dir, name.to_owned()))
    }

    /// Opens the directory that is to hold an entry, following links within the tree; what is missing is
    /// made with mode 0755.
    pub(crate) fn parent(&mut self, parts: &[OsString]) -> Result<OwnedFd, Fault> {
        match self.existing_parent(parts) {
            Err(Errno::NOENT) => {}
            found => return found.map_err(Fault::call("open its directory")),
        }
        self.make_parent(parts)
            .map_err(Fault::call("make its directory"))
    }

    fn make_parent(&mut self, parts: &[OsString]) -> Result<OwnedFd, Errno> {
        // What the longest name has that is there: shorter ones then are as well.
        let (mut there, mut missing) = (0, parts.len());
        while there + 1 < missing {
            let middle = usize::midpoint(there, missing);
            match self.existing_parent(&parts[..middle]) {
                Ok(_) => there = middle,
                Err(Errno::NOENT) => missing = middle,
                Err(errno) => return Err(errno),
            }
        }
        // The next component is not there, or is a link to what is not there.
        let first = Path::new("/").join(path(&parts[..missing]));
        let (mut dir, made) = self.root.open_or_make(&first, Leaf::Directory)?;
        if made == Made::New {
            self.describe_made(&dir)?;
        }
        for part in &parts[missing..] {
            match rustix::fs::mkdirat(&dir, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
            self.describe_made(&dir)?;
        }
        Ok(dir)
    }

    /// Gives a directory that no entry describes its mode, whatever the umask is.
    fn describe_made(&mut self, dir: &OwnedFd) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(dir)?;
        self.restricted.remove(&stat.st_ino);
        set_mode(dir.as_fd(), Mode::from_raw_mode(0o755))
    }

    /// Opens the directory that holds an entry.
    pub(crate) fn existing_parent(&self, parts: &[OsString]) -> Result<OwnedFd, Errno> {
        let path = Path::new("/").join(path(parts));
        self.root.open(&path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Sets the mode of a directory, or as much of it as the next entries allow.
    pub(crate) fn set_directory_mode(&mut self, dir: &OwnedFd, mode: Mode) -> Result<(), Errno> {
        let ino = rustix::fs::fstat(dir)?.st_ino;
        // Root may write anywhere.
        if self.ownership == Ownership::Image || mode.contains(Mode::RWXU) {
            self.restricted.remove(&ino);
            return rustix::fs::fchmod(dir, mode);
        }
        self.restricted.insert(ino, mode);
        rustix::fs::fchmod(dir, mode | Mode::RWXU)
    }

    /// Sets the time of a directory once the layer is done.
    pub(crate) fn set_directory_time(&mut self, name: &Name, ino: u64, mtime: (i64, u32)) {
        let name = name.clone();
        self.timed.push(Timed { name, ino, mtime });
    }

    /// Ends a layer: sets the times of its directories, which its own entries have changed.
    pub(crate) fn end_layer(&mut self) -> Result<(), Fault> {
        let failed = Fault::call::<Errno>;
        for Timed { name, ino, mtime } in std::mem::take(&mut self.timed) {
            let times = times(mtime);
            let Some(leaf) = name.leaf() else {
                rustix::fs::futimens(&self.root, &times).map_err(failed("set its time"))?;
                continue;
            };
            let parent = match self.existing_parent(name.parents()) {
                // A later entry of the layer has replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                parent => parent.map_err(failed("set its time"))?,
            };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(&parent, leaf, flags) {
                Ok(stat) if stat.st_ino == ino => {
                    let set = rustix::fs::utimensat(&parent, leaf, &times, flags);
                    set.map_err(failed("set its time"))?;
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed("set its time")(errno)),
            }
        }
        Ok(())
    }

    /// Ends the unpacking: gives directories the modes that would have been in the way.
    pub(crate) fn finish(mut self) -> Result<(Trash, Vec<Note>), Fault> {
        if !self.restricted.is_empty() {
            let root = rustix::fs::openat(&self.root, ".", OPEN_DIR, Mode::empty());
            let root = root.map_err(Fault::call("set modes"))?;
            self.restrict(&root, 0)?;
        }
        Ok((self.trash, self.notes))
    }

    fn restrict(&mut self, dir: &OwnedFd, depth: usize) -> Result<(), Fault> {
        let failed = Fault::call::<Errno>;
        if depth == DEEPEST {
            return Err(Fault::TooDeep);
        }
        for name in names(dir.as_fd()).map_err(Fault::call("set modes"))? {
            match rustix::fs::openat(dir, name.as_c_str(), OPEN_DIR, Mode::empty()) {
                Ok(child) => self.restrict(&child, depth + 1)?,
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed("set modes")(errno)),
            }
        }
        let stat = rustix::fs::fstat(dir).map_err(failed("set modes"))?;
        if let Some(mode) = self.restricted.remove(&stat.st_ino) {
            rustix::fs::fchmod(dir, mode).map_err(failed("set modes"))?;
        }
        Ok(())
    }

    /// Clears the way for an entry: what has its name is removed, but a directory for a directory.
    pub(crate) fn clear(
        &mut self,
        parent: &OwnedFd,
        leaf: &OsStr,
        wanted: FileType,
    ) -> Result<Clear, Fault> {
        let stat = match rustix::fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Clear::Free),
            stat => stat.map_err(Fault::call("look at its place"))?,
        };
        let found = FileType::from_raw_mode(stat.st_mode);
        if found == FileType::Directory && wanted == FileType::Directory {
            return Ok(Clear::Directory);
        }
        let removed = self.trash.remove(parent.as_fd(), leaf);
        removed.map_err(Fault::call("replace what a lower layer has there"))?;
        Ok(Clear::Free)
    }
}

/// What is at an entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clear {
    /// Nothing, now.
    Free,
    /// A directory, and one is wanted.
    Directory,
}

/// A time of modification, and of access.
pub(crate) fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// A special file that was just made, opened without following a link.
pub(crate) fn open_made(parent: &OwnedFd, leaf: &OsStr, kind: FileType) -> Result<OwnedFd, Errno> {
    let node = open_any(parent.as_fd(), leaf.as_bytes())?;
    let stat = rustix::fs::fstat(&node)?;
    // Somebody has put something else there.
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(Errno::EXIST);
    }
    Ok(node)
}
