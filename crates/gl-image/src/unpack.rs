//! An image unpacked to a directory: made under another name, and renamed once it is whole.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use gl_rootfs::Leaf;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::image::Image;
use crate::layer::{Applying, Used};
use crate::limits::Limits;
use crate::remove::{Trash, discard, names};
use crate::stream::{Meter, Progress};
use crate::tree::{Note, OPEN_DIR, Ownership, Tree};

/// How an image is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whom the files belong to.
    pub ownership: Ownership,
    /// How much the image may ask for.
    pub limits: Limits,
    /// Directories that the tree has whatever the image says: those that something will be mounted on, so
    /// that nobody has to make them later. Names are followed within the tree; mode 0755.
    pub directories: Vec<PathBuf>,
}

impl Options {
    /// What suits the caller, with limits far above real images.
    #[must_use]
    pub fn of_caller() -> Self {
        Self {
            ownership: Ownership::of_caller(),
            limits: Limits::default(),
            directories: Vec::new(),
        }
    }
}

/// What an unpacking has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// Bytes of all layers, unpacked.
    pub bytes: u64,
    /// Entries of all layers.
    pub entries: u64,
    /// What was left out.
    pub notes: Vec<Note>,
}

/// Name of the tree in a [`Work`].
pub(crate) const ROOTFS: &str = "rootfs";

/// A directory with an unfinished tree, which is removed unless it is renamed.
pub(crate) struct Work {
    parent: OwnedFd,
    name: String,
    pub(crate) dir: OwnedFd,
}

impl Work {
    /// Makes the directory with an empty tree in it. What is left of an earlier one is removed.
    pub(crate) fn make(parent: BorrowedFd<'_>, name: &str) -> std::io::Result<Self> {
        discard(parent, name)?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        let dir = rustix::fs::openat(parent, name, OPEN_DIR, Mode::empty())?;
        let work = Self {
            parent: parent.try_clone_to_owned()?,
            name: name.to_owned(),
            dir,
        };
        rustix::fs::mkdirat(&work.dir, ROOTFS, Mode::RWXU)?;
        let root = work.root()?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?;
        Ok(work)
    }

    fn root(&self) -> std::io::Result<OwnedFd> {
        let opened = rustix::fs::openat(&self.dir, ROOTFS, OPEN_DIR, Mode::empty());
        Ok(opened?)
    }
}

impl Work {
    /// Gives the directory its final name: nothing is left to be removed.
    pub(crate) fn keep(self, name: &str) -> std::io::Result<()> {
        let from = self.name.as_str();
        Ok(rustix::fs::renameat(
            &self.parent,
            from,
            &self.parent,
            name,
        )?)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed is removed before the next unpacking; the first failure is told.
        discard(self.parent.as_fd(), &self.name).ok();
    }
}

/// Unpacks an image to the tree of a [`Work`].
pub(crate) fn fill(
    work: &Work,
    image: &Image,
    options: &Options,
    tell: &mut dyn FnMut(Progress),
) -> Result<Unpacked, Error> {
    let failed = |source| Error::Cache {
        doing: "make",
        path: work.name.clone().into(),
        source,
    };
    let trash = Trash::make(work.dir.as_fd()).map_err(failed)?;
    let mut tree = Tree::new(work.root().map_err(failed)?, trash, options.ownership);
    let meter = RefCell::new(Meter::new(image.stored_bytes().saturating_mul(2), tell));
    let mut used = Used::default();
    for (index, layer) in image.layers().iter().enumerate() {
        let applying = Applying {
            image,
            layer,
            number: index + 1,
            limits: &options.limits,
        };
        applying.apply(&mut tree, &mut used, &meter)?;
    }
    for path in &options.directories {
        make_directory(&tree, path)?;
    }
    let (trash, notes) = tree.finish().map_err(|fault| Error::Part {
        what: "all layers".to_owned(),
        path: image.reference().path.clone(),
        fault,
    })?;
    trash.dissolve(work.dir.as_fd()).map_err(failed)?;
    Ok(Unpacked {
        bytes: used.bytes,
        entries: used.entries,
        notes,
    })
}

/// Makes a directory of the tree that the image has not brought, links on the way followed within it.
fn make_directory(tree: &Tree, path: &Path) -> Result<(), Error> {
    let failed = |errno: Errno| Error::Cache {
        doing: "make, in the image's tree, the directory",
        path: path.to_owned(),
        source: errno.into(),
    };
    let (made, _) = tree
        .root
        .open_or_make(path, Leaf::Directory)
        .map_err(failed)?;
    let stat = rustix::fs::fstat(&made).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(()),
        _ => Err(failed(Errno::NOTDIR)),
    }
}

/// Unpacks an image to a directory that does not exist yet or is empty.
///
/// The tree is made beside it, under a name that begins with a dot, and renamed: if anything fails,
/// nothing is left.
///
/// # Errors
///
/// [`Error::Occupied`] if something is there, [`Error::Part`] and [`Error::Entry`] for what is wrong with
/// the image, [`Error::Cache`] if the directory cannot be made.
pub fn unpack_to(
    image: &Image,
    dir: &Path,
    options: &Options,
    tell: &mut dyn FnMut(Progress),
) -> Result<Unpacked, Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let failed = |doing| {
        move |source: std::io::Error| Error::Cache {
            doing,
            path: dir.to_owned(),
            source,
        }
    };
    let occupied = || Error::Occupied {
        path: dir.to_owned(),
    };
    let name = dir.file_name().ok_or_else(occupied)?;
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, above, flags, Mode::empty());
    let parent = parent.map_err(|errno| failed("open the directory of")(errno.into()))?;
    match rustix::fs::openat(&parent, name, OPEN_DIR, Mode::empty()) {
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(occupied()),
        Err(errno) => return Err(failed("open")(errno.into())),
        Ok(there) => {
            if !names(there.as_fd()).map_err(failed("list"))?.is_empty() {
                return Err(occupied());
            }
        }
    }
    // Other processes and threads may unpack beside it.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = rustix::process::getpid().as_raw_nonzero();
    let work = Work::make(parent.as_fd(), &format!(".gl-unpack-{pid}-{number}"));
    let work = work.map_err(failed("make"))?;
    let unpacked = fill(&work, image, options, tell)?;
    match rustix::fs::renameat(
        &work.dir,
        ROOTFS,
        &parent,
        OsStr::from_bytes(name.as_bytes()),
    ) {
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Err(occupied()),
        Err(errno) => Err(failed("make")(errno.into())),
        Ok(()) => Ok(unpacked),
    }
}

/// Writes all that was unpacked to the disk, so that a rename does not come before it.
pub(crate) fn sync(work: &Work) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(&work.dir)?)
}
