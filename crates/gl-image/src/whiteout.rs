//! Whiteouts: what a layer takes away of the layers below it, never of itself.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Fault;
use crate::name::{Name, Whiteout};
use crate::remove::names;
use crate::tree::{DEEPEST, OPEN_DIR, Tree};

/// Whether something stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Gone,
    Stays,
}

impl Tree {
    /// Does what a whiteout asks for.
    ///
    /// # Spec
    ///
    /// image-spec, "Whiteouts": they apply to lower layers alone, wherever in the layer they stand.
    pub(crate) fn white_out(&mut self, name: &Name, what: Whiteout<'_>) -> Result<(), Fault> {
        let parent = match self.existing_parent(name.parents()) {
            // Nothing is there to be hidden.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            parent => parent.map_err(Fault::call("open its directory"))?,
        };
        let flags = OPEN_DIR & !OFlags::NOFOLLOW;
        let dir = rustix::fs::openat(&parent, ".", flags, Mode::empty());
        let dir = dir.map_err(Fault::call("open its directory"))?;
        match what {
            Whiteout::One(leaf) => self.purge(&dir, leaf, 0).map(drop),
            Whiteout::Opaque => self.purge_all(&dir, 0).map(drop),
            Whiteout::Foreign => Ok(()),
        }
    }

    fn purge_all(&mut self, dir: &OwnedFd, depth: usize) -> Result<Fate, Fault> {
        let mut fate = Fate::Gone;
        for name in names(dir.as_fd()).map_err(Fault::call("list its directory"))? {
            let name = OsStr::from_bytes(name.to_bytes());
            if self.purge(dir, name, depth)? == Fate::Stays {
                fate = Fate::Stays;
            }
        }
        Ok(fate)
    }

    /// Removes an entry of lower layers and what is below it, but not what this layer has made.
    fn purge(&mut self, dir: &OwnedFd, name: &OsStr, depth: usize) -> Result<Fate, Fault> {
        if depth == DEEPEST {
            return Err(Fault::TooDeep);
        }
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Fate::Gone),
            stat => stat.map_err(Fault::call("look at what it hides"))?,
        };
        let ino = rustix::fs::fstat(dir).map_err(Fault::call("look at what it hides"))?;
        let is_ours = self.has_touched(ino.st_ino, name);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory && !self.is_untouched() {
            let below = rustix::fs::openat(dir, name, OPEN_DIR, Mode::empty());
            let below = below.map_err(Fault::call("open what it hides"))?;
            if self.purge_all(&below, depth + 1)? == Fate::Stays {
                return Ok(Fate::Stays);
            }
        }
        if is_ours {
            return Ok(Fate::Stays);
        }
        let removed = self.trash.remove(dir.as_fd(), name);
        removed.map_err(Fault::call("remove what it hides"))?;
        Ok(Fate::Gone)
    }
}
