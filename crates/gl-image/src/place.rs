//! Making one entry of a layer: every call acts on the open parent and follows no last component.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::archive::{Entry, Kind};
use crate::error::{Fault, shown};
use crate::name::Name;
use crate::remove::set_mode;
use crate::tree::{Clear, OPEN_DIR, Ownership, Tree, open_made, times};

impl Tree {
    /// Makes an entry, in the place of what lower layers have there.
    pub(crate) fn place(
        &mut self,
        name: &Name,
        entry: &Entry,
        data: &mut dyn Read,
    ) -> Result<(), Fault> {
        let Some(leaf) = name.leaf() else {
            return match entry.kind {
                Kind::Directory => self.top(name, entry),
                _ => Err(Fault::Empty),
            };
        };
        let parent = self.parent(name.parents())?;
        let stat = rustix::fs::fstat(&parent).map_err(Fault::call("open its directory"))?;
        match &entry.kind {
            Kind::Directory => self.directory(&parent, name, entry)?,
            Kind::File => self.file(&parent, leaf, entry, &mut Whole(data))?,
            Kind::Sparse(parts) => self.file(&parent, leaf, entry, &mut Parts { data, parts })?,
            Kind::Symlink => self.symlink(&parent, leaf, entry)?,
            Kind::Hardlink => self.hardlink(&parent, leaf, entry)?,
            Kind::Fifo => self.node(&parent, leaf, entry, FileType::Fifo)?,
            Kind::Char => self.node(&parent, leaf, entry, FileType::CharacterDevice)?,
            Kind::Block => self.node(&parent, leaf, entry, FileType::BlockDevice)?,
        }
        self.touch(stat.st_ino, leaf);
        Ok(())
    }

    /// The mode that a file gets.
    fn mode(&self, entry: &Entry) -> Mode {
        let mode = match self.ownership {
            Ownership::Image => entry.mode,
            Ownership::Caller => entry.mode & !0o6000,
        };
        Mode::from_raw_mode(mode)
    }

    fn own(&self, fd: &OwnedFd, entry: &Entry) -> Result<(), Fault> {
        if self.ownership == Ownership::Caller {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let owned = rustix::fs::chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
        owned.map_err(|errno| match errno {
            Errno::INVAL => Fault::Unmapped {
                uid: entry.uid,
                gid: entry.gid,
            },
            errno => Fault::call("set its owner")(errno),
        })
    }

    /// The entry for the root itself.
    fn top(&mut self, name: &Name, entry: &Entry) -> Result<(), Fault> {
        let dir = rustix::fs::openat(&self.root, ".", OPEN_DIR, Mode::empty());
        let dir = dir.map_err(Fault::call("open it"))?;
        self.describe_directory(&dir, name, entry)
    }

    fn directory(&mut self, parent: &OwnedFd, name: &Name, entry: &Entry) -> Result<(), Fault> {
        let leaf = name.leaf().ok_or(Fault::Empty)?;
        if self.clear(parent, leaf, FileType::Directory)? == Clear::Free {
            let made = rustix::fs::mkdirat(parent, leaf, Mode::RWXU);
            made.map_err(Fault::call("make it"))?;
        }
        let dir = rustix::fs::openat(parent, leaf, OPEN_DIR, Mode::empty());
        let dir = dir.map_err(Fault::call("open it"))?;
        self.describe_directory(&dir, name, entry)
    }

    fn describe_directory(
        &mut self,
        dir: &OwnedFd,
        name: &Name,
        entry: &Entry,
    ) -> Result<(), Fault> {
        self.own(dir, entry)?;
        let mode = self.mode(entry);
        let set = self.set_directory_mode(dir, mode);
        set.map_err(Fault::call("set its mode"))?;
        self.attributes(dir, entry)?;
        let stat = rustix::fs::fstat(dir).map_err(Fault::call("look at it"))?;
        self.set_directory_time(name, stat.st_ino, entry.mtime);
        Ok(())
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        leaf: &OsStr,
        entry: &Entry,
        content: &mut dyn Content,
    ) -> Result<(), Fault> {
        self.clear(parent, leaf, FileType::RegularFile)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = rustix::fs::openat(parent, leaf, flags | OFlags::CLOEXEC, mode);
        let mut file = File::from(fd.map_err(Fault::call("make it"))?);
        content.write(&mut file, entry.size)?;
        let fd = OwnedFd::from(file);
        // The owner first: a change of it takes bits and capabilities away.
        self.own(&fd, entry)?;
        let set = rustix::fs::fchmod(&fd, self.mode(entry));
        set.map_err(Fault::call("set its mode"))?;
        self.attributes(&fd, entry)?;
        let set = rustix::fs::futimens(&fd, &times(entry.mtime));
        set.map_err(Fault::call("set its time"))
    }

    fn symlink(&mut self, parent: &OwnedFd, leaf: &OsStr, entry: &Entry) -> Result<(), Fault> {
        self.clear(parent, leaf, FileType::Symlink)?;
        let made = rustix::fs::symlinkat(entry.link.as_slice(), parent, leaf);
        made.map_err(Fault::call("make it"))?;
        let link = open_made(parent, leaf, FileType::Symlink).map_err(Fault::call("open it"))?;
        self.own(&link, entry)?;
        set_time(parent, leaf, entry)
    }

    fn hardlink(&mut self, parent: &OwnedFd, leaf: &OsStr, entry: &Entry) -> Result<(), Fault> {
        let target = Name::target(&entry.link)?;
        let missing = || Fault::LinkTarget {
            target: shown(&entry.link),
        };
        let target_leaf = target.leaf().ok_or_else(missing)?;
        let dir = self.existing_parent(target.parents());
        let dir = dir.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => missing(),
            errno => Fault::call("open the directory of its target")(errno),
        })?;
        let stat = rustix::fs::statat(&dir, target_leaf, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| match errno {
            Errno::NOENT => missing(),
            errno => Fault::call("look at its target")(errno),
        })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Fault::LinkDirectory {
                target: shown(&entry.link),
            });
        }
        let there = rustix::fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW);
        // Linked already; removing it first could remove the last name of the target.
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.clear(parent, leaf, FileType::RegularFile)?;
        let linked = rustix::fs::linkat(&dir, target_leaf, parent, leaf, AtFlags::empty());
        linked.map_err(Fault::call("make it"))
    }

    /// A pipe or device node.
    fn node(
        &mut self,
        parent: &OwnedFd,
        leaf: &OsStr,
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), Fault> {
        self.clear(parent, leaf, kind)?;
        let is_device = kind != FileType::Fifo;
        if is_device && self.ownership == Ownership::Caller {
            self.note(&entry.name, "device nodes need root");
            return Ok(());
        }
        let (major, minor) = entry.device;
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            // For an overlay it would be a whiteout of other images' files.
            self.note(&entry.name, "the device number 0:0 means no device");
            return Ok(());
        }
        let number = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(parent, leaf, kind, Mode::empty(), number) {
            Err(Errno::PERM) if is_device => {
                self.note(&entry.name, "device nodes need root of the host");
                return Ok(());
            }
            made => made.map_err(Fault::call("make it"))?,
        }
        let node = open_made(parent, leaf, kind).map_err(Fault::call("open it"))?;
        self.own(&node, entry)?;
        set_mode(node.as_fd(), self.mode(entry)).map_err(Fault::call("set its mode"))?;
        set_time(parent, leaf, entry)
    }

    /// Sets extended attributes: `user.*`, and for root file capabilities. Attributes by which an overlay
    /// hides or redirects files are not the image's to set.
    fn attributes(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<(), Fault> {
        for (name, value) in &entry.xattrs {
            let is_users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
            let is_capability =
                name == b"security.capability" && self.ownership == Ownership::Image;
            let is_set = is_users || is_capability;
            let name_text = shown(name);
            if !is_set {
                self.note(
                    &entry.name,
                    format!("attribute {name_text} is not taken over"),
                );
                continue;
            }
            match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                Err(Errno::NOTSUP) => {
                    let what = format!("the file system has no attribute {name_text}");
                    self.note(&entry.name, what);
                }
                Err(Errno::PERM) if is_capability => {
                    let what = format!("this user namespace may not set {name_text}");
                    self.note(&entry.name, what);
                }
                set => set.map_err(Fault::call("set its attributes"))?,
            }
        }
        Ok(())
    }
}

fn set_time(parent: &OwnedFd, leaf: &OsStr, entry: &Entry) -> Result<(), Fault> {
    let times = times(entry.mtime);
    let set = rustix::fs::utimensat(parent, leaf, &times, AtFlags::SYMLINK_NOFOLLOW);
    set.map_err(Fault::call("set its time"))
}

/// What a file is filled with.
trait Content {
    fn write(&mut self, file: &mut File, size: u64) -> Result<(), Fault>;
}

struct Whole<'d>(&'d mut dyn Read);

impl Content for Whole<'_> {
    fn write(&mut self, file: &mut File, size: u64) -> Result<(), Fault> {
        copy(self.0, file, size)
    }
}

struct Parts<'d> {
    data: &'d mut dyn Read,
    parts: &'d [(u64, u64)],
}

impl Content for Parts<'_> {
    fn write(&mut self, file: &mut File, size: u64) -> Result<(), Fault> {
        for (offset, len) in self.parts {
            let sought = file.seek(SeekFrom::Start(*offset));
            sought.map_err(Fault::call("write it"))?;
            copy(self.data, file, *len)?;
        }
        file.set_len(size).map_err(Fault::call("write it"))
    }
}

fn copy(data: &mut dyn Read, file: &mut File, mut left: u64) -> Result<(), Fault> {
    let mut chunk = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(64 << 10)];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let count = match data.read(&mut chunk[..wanted]) {
            Ok(0) => return Err(Fault::Truncated),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            count => count.map_err(Fault::call("unpack it"))?,
        };
        let written = file.write_all(&chunk[..count]);
        written.map_err(Fault::call("write it"))?;
        left -= count as u64;
    }
    Ok(())
}
