//! Unpacked images, kept for the next run.
//!
//! The directory is the caller's alone (owner, mode 0700), or it is not used. An entry is named by a
//! digest over the digests of all layers and over how they were unpacked; it is made under another name
//! and renamed, and two that want it at once make it once. Nobody writes to an entry afterwards: who uses
//! one mounts it read-only or as the lower layer of an overlay.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gl_spec::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{CacheFault, Error};
use crate::image::Image;
use crate::lock::Lock;
use crate::stream::Progress;
use crate::tree::{Note, OPEN_DIR, Ownership};
use crate::unpack::{Options, ROOTFS, Work, fill, sync};

/// A directory of unpacked images.
#[derive(Debug)]
pub struct Cache {
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
}

/// An unpacked image in the cache. It is not removed from there while this value lives.
#[derive(Debug)]
pub struct Cached {
    key: String,
    rootfs: PathBuf,
    root: OwnedFd,
    stored: Stored,
    _in_use: Lock,
}

/// What is written beside a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) key: String,
    /// The digest of the image that it was made for.
    pub(crate) image: Digest,
    /// Where that was.
    pub(crate) from: String,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) created: Timestamp,
    pub(crate) notes: Vec<Note>,
}

pub(crate) const ENTRY: &str = "entry.json";
/// The largest `entry.json`: a thousand notes with long names.
const MAX_ENTRY: u64 = 4 << 20;

/// Where a user's images are kept: `/var/cache/greenlang/images` for root, otherwise
/// `greenlang/images` in `XDG_CACHE_HOME` or in `HOME/.cache`.
///
/// # Errors
///
/// [`Error::NoHome`] if neither is an absolute path.
pub fn default_root(
    user: rustix::fs::Uid,
    xdg_cache_home: Option<&Path>,
    home: Option<&Path>,
) -> Result<PathBuf, Error> {
    if user.is_root() {
        return Ok(PathBuf::from("/var/cache/greenlang/images"));
    }
    let absolute = |path: &&Path| path.is_absolute();
    let cache = match (xdg_cache_home.filter(absolute), home.filter(absolute)) {
        (Some(cache), _) => cache.to_owned(),
        (None, Some(home)) => home.join(".cache"),
        (None, None) => return Err(Error::NoHome),
    };
    Ok(cache.join("greenlang/images"))
}

impl Cache {
    /// Opens a cache, making the directory and its parents with mode 0700 if they are missing.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if it cannot be made or opened, [`Error::CacheUnsafe`] if it is a symbolic link,
    /// belongs to another user or lets others in.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make", path))?;
        let unsafe_for = |fault| Error::CacheUnsafe {
            path: path.to_owned(),
            fault,
        };
        let dir = rustix::fs::open(path, OPEN_DIR, Mode::empty());
        let dir = dir.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => unsafe_for(CacheFault::NotDirectory),
            errno => failed("open", path)(errno.into()),
        })?;
        if let Some(fault) = fault(&dir).map_err(failed("open", path))? {
            return Err(unsafe_for(fault));
        }
        Ok(Self {
            path: path.to_owned(),
            dir,
        })
    }

    /// Finds an unpacked image, or unpacks it.
    ///
    /// The tree is the same for every image with these layers and is never written to: mount it
    /// read-only, or as a lower layer. A second caller that wants the same image waits for the first.
    /// `tell` is called while something is unpacked, and not at all for an image that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Part`] and [`Error::Entry`] for what is wrong with the image, [`Error::Cache`] and
    /// [`Error::CacheUnsafe`] for what is wrong with the cache. Nothing is left of a failed unpacking.
    pub fn unpack(
        &self,
        image: &Image,
        options: &Options,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Cached, Error> {
        let key = key(image, options).map_err(failed("name an entry of", &self.path))?;
        let name = format!("{key}.lock");
        let dir = self.dir.as_fd();
        loop {
            // Waits for one who is unpacking it.
            let lock = Lock::shared(dir, &name).map_err(failed("lock", &self.path))?;
            if let Some((root, stored)) = self.find(&key)? {
                lock.mark().map_err(failed("mark", &self.path))?;
                return Ok(Cached {
                    rootfs: self.path.join(&key).join(ROOTFS),
                    key,
                    root,
                    stored,
                    _in_use: lock,
                });
            }
            drop(lock);
            // Whoever gets the lock first unpacks it; the others wait above, and so does this one once it
            // has, for the entry may be pruned before it is shared.
            let lock = Lock::exclusive(dir, &name).map_err(failed("lock", &self.path))?;
            if lock.is_some() && self.find(&key)?.is_none() {
                self.make(&key, image, options, tell)?;
            }
        }
    }

    /// Finds an entry by its name, to use it as well: for another process than the one that unpacked it.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if there is none any more, or it cannot be opened, [`Error::CacheUnsafe`].
    pub fn hold(&self, key: &str) -> Result<Cached, Error> {
        let path = self.path.join(key);
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if key.len() != 64 || !key.chars().all(hex) {
            return Err(failed("open", &path)(Errno::INVAL.into()));
        }
        let lock = Lock::shared(self.dir.as_fd(), &format!("{key}.lock"));
        let lock = lock.map_err(failed("lock", &self.path))?;
        let Some((root, stored)) = self.find(key)? else {
            return Err(failed("open", &path)(Errno::NOENT.into()));
        };
        lock.mark().map_err(failed("mark", &self.path))?;
        Ok(Cached {
            rootfs: path.join(ROOTFS),
            key: key.to_owned(),
            root,
            stored,
            _in_use: lock,
        })
    }

    /// Opens an entry, if it is there.
    fn find(&self, key: &str) -> Result<Option<(OwnedFd, Stored)>, Error> {
        let path = self.path.join(key);
        let dir = match rustix::fs::openat(&self.dir, key, OPEN_DIR, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            dir => dir.map_err(|errno| failed("open", &path)(errno.into()))?,
        };
        if let Some(fault) = fault(&dir).map_err(failed("open", &path))? {
            return Err(Error::CacheUnsafe { path, fault });
        }
        let stored = read_stored(&dir).map_err(failed("read", &path.join(ENTRY)))?;
        if stored.key != key {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it is of another entry");
            return Err(failed("read", &path.join(ENTRY))(source));
        }
        let root = rustix::fs::openat(&dir, ROOTFS, OPEN_DIR, Mode::empty());
        let root = root.map_err(|errno| failed("open", &path.join(ROOTFS))(errno.into()))?;
        Ok(Some((root, stored)))
    }

    fn make(
        &self,
        key: &str,
        image: &Image,
        options: &Options,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let path = self.path.join(key);
        let work = Work::make(self.dir.as_fd(), &work_name(key)).map_err(failed("make", &path))?;
        let unpacked = fill(&work, image, options, tell)?;
        let stored = Stored {
            key: key.to_owned(),
            image: image.digest(),
            from: image.reference().path.to_string_lossy().into_owned(),
            diff_ids: image.diff_ids().collect(),
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            created: SystemTime::now().into(),
            notes: unpacked.notes,
        };
        write_stored(&work.dir, &stored).map_err(failed("write", &path.join(ENTRY)))?;
        sync(&work).map_err(failed("write", &path))?;
        work.keep(key).map_err(failed("make", &path))
    }
}

impl Cached {
    /// The tree, which must only be read.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// The tree held open: this very one, whatever its path leads to later.
    #[must_use]
    pub fn root(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The entry's name in the cache.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What of the image was left out.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.stored.notes
    }
}

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Cache {
        doing,
        path,
        source,
    }
}

pub(crate) fn work_name(key: &str) -> String {
    format!(".work-{key}")
}

/// What is wrong with a directory, if anything.
fn fault(dir: &OwnedFd) -> io::Result<Option<CacheFault>> {
    let stat = rustix::fs::fstat(dir)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(Some(CacheFault::Owner));
    }
    Ok((stat.st_mode & 0o077 != 0).then_some(CacheFault::Mode))
}

/// Names an entry: by all layers, by directories that are made beside, and by whom the files belong to. In a user namespace that is a
/// question of its id maps.
fn key(image: &Image, options: &Options) -> io::Result<String> {
    let mut hash = Sha256::new_with_prefix(b"greenlang image tree 1\n");
    match options.ownership {
        Ownership::Caller => hash.update(b"caller\n"),
        Ownership::Image => {
            for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
                let text = std::fs::read_to_string(map)?;
                for line in text.lines() {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    hash.update(words.join(" "));
                    hash.update(b"\n");
                }
                hash.update(b"\n");
            }
        }
    }
    for diff_id in image.diff_ids() {
        hash.update(diff_id.hex());
        hash.update(b"\n");
    }
    for path in &options.directories {
        hash.update(b"directory ");
        hash.update(path.as_os_str().as_bytes());
        hash.update(b"\0");
    }
    Ok(Digest::finish(hash).hex())
}

pub(crate) fn read_stored(dir: &OwnedFd) -> io::Result<Stored> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, ENTRY, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file).take(MAX_ENTRY).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn write_stored(dir: &OwnedFd, stored: &Stored) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, ENTRY, flags, Mode::RUSR | Mode::WUSR)?;
    let json = serde_json::to_vec_pretty(stored)?;
    File::from(file).write_all(&json)
}
