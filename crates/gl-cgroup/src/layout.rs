//! What is mounted below `/sys/fs/cgroup`, without reading mountinfo.
//!
//! One `fstatfs` tells v1 and hybrid (a tmpfs with a directory for each hierarchy) from v2. The
//! names of those directories are the names of their controllers (`cpu,cpuacct`); symlinks beside
//! them (`cpu -> cpu,cpuacct`) only count where they add a name.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, FsWord, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::controller::Controller;
use crate::error::Error;

/// Where cgroupfs is mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// `statfs(2)`: the filesystem is mounted read-only.
const ST_RDONLY: FsWord = 1;
const CGROUP_SUPER_MAGIC: FsWord = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;
const TMPFS_MAGIC: FsWord = 0x0102_1994;

/// Which generation of cgroups a host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// One hierarchy for each controller; also the hybrid mode, whose `unified` is left alone.
    V1,
    /// One hierarchy for all.
    V2,
}

/// One mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory below `/sys/fs/cgroup`, such as `cpu,cpuacct`.
    pub dir: String,
    /// The controllers that are in it.
    pub controllers: Vec<Controller>,
    /// Whether it is mounted so that nothing can be made in it.
    pub read_only: bool,
}

/// The cgroup mounts of this host.
#[derive(Debug, Clone)]
pub struct Layout {
    base: Arc<OwnedFd>,
    version: Version,
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at `/sys/fs/cgroup`: two directory reads, and one `statfs` for each hierarchy.
    ///
    /// # Errors
    ///
    /// - [`Error::NotMounted`] if there are no cgroups at that place.
    /// - [`Error::Inspect`] if the kernel refuses to show it.
    pub fn detect() -> Result<Self, Error> {
        Self::detect_for(&Controller::ALL)
    }

    /// The same without the v1 hierarchies that have none of these controllers, for a cgroup that needs no others:
    /// it is made, joined and removed faster. On v2 there is one for all.
    ///
    /// # Errors
    ///
    /// As [`Layout::detect`]; [`Error::NotMounted`] also where there is none of them.
    pub fn detect_for(needed: &[Controller]) -> Result<Self, Error> {
        let (base, kind) = open_root()?;
        let (version, hierarchies) = match kind {
            CGROUP2_SUPER_MAGIC => (Version::V2, Vec::new()),
            TMPFS_MAGIC => (Version::V1, hierarchies(&base, needed)?),
            found => return Err(Error::NotMounted { found }),
        };
        if version == Version::V1 && hierarchies.is_empty() {
            return Err(Error::NotMounted { found: kind });
        }
        Ok(Self {
            base: Arc::new(base),
            version,
            hierarchies,
        })
    }

    /// The generation that this host uses.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The v1 hierarchies; empty on v2.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The descriptor of `/sys/fs/cgroup`.
    pub(crate) fn base(&self) -> &Arc<OwnedFd> {
        &self.base
    }
}

/// Opens `/sys/fs/cgroup` and tells the type of its filesystem.
pub(crate) fn open_root() -> Result<(OwnedFd, FsWord), Error> {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::open(ROOT, flags, Mode::empty())?;
        let kind = rustix::fs::fstatfs(&base)?.f_type;
        Ok((base, kind))
    };
    open().map_err(|source| inspect(ROOT.into(), source))
}

/// The absolute path of something below `/sys/fs/cgroup`, for messages.
pub(crate) fn shown(relative: &str) -> PathBuf {
    PathBuf::from(format!("{ROOT}/{relative}"))
}

fn inspect(path: PathBuf, source: Errno) -> Error {
    Error::Inspect { path, source }
}

/// Lists the hierarchies of these controllers: directories named after them that verifiably are cgroupfs.
fn hierarchies(base: &OwnedFd, needed: &[Controller]) -> Result<Vec<Hierarchy>, Error> {
    let mut links = Vec::new();
    let mut found: Vec<Hierarchy> = Vec::new();
    let names = entries(base).map_err(|source| inspect(ROOT.into(), source))?;
    for (name, kind) in names {
        let name = name.to_string_lossy().into_owned();
        let controllers: Vec<_> = name.split(',').filter_map(Controller::from_name).collect();
        if !controllers.iter().any(|one| needed.contains(one)) {
            continue;
        }
        if kind == FileType::Symlink {
            links.push((name, controllers));
            continue;
        }
        let path = format!("{ROOT}/{name}");
        match rustix::fs::statfs(&path) {
            Ok(stat) if stat.f_type == CGROUP_SUPER_MAGIC => found.push(Hierarchy {
                dir: name,
                controllers,
                read_only: stat.f_flags & ST_RDONLY != 0,
            }),
            // Left over from an unmounted hierarchy: the controller is not to be had.
            Ok(_) => {}
            Err(source) => return Err(inspect(path.into(), source)),
        }
    }
    for (link, controllers) in links {
        let new: Vec<_> = controllers
            .into_iter()
            .filter(|c| !found.iter().any(|h| h.controllers.contains(c)))
            .collect();
        if !new.is_empty() {
            adopt_link(base, &link, new, &mut found)?;
        }
    }
    Ok(found)
}

/// Adds the controllers that only a symlink names to the hierarchy that it points at.
fn adopt_link(
    base: &OwnedFd,
    link: &str,
    controllers: Vec<Controller>,
    found: &mut [Hierarchy],
) -> Result<(), Error> {
    let target = rustix::fs::readlinkat(base, link, Vec::new())
        .map_err(|source| inspect(PathBuf::from(ROOT).join(link), source))?;
    let target = target.to_string_lossy();
    let target = target.rsplit('/').next().unwrap_or_default();
    if let Some(hierarchy) = found.iter_mut().find(|h| h.dir == target) {
        hierarchy.controllers.extend(controllers);
    }
    Ok(())
}

/// Names and types of what is in a directory, without `.` and `..`.
pub(crate) fn entries(dir: impl AsFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buf = [MaybeUninit::uninit(); 4096];
    let mut raw = RawDir::new(dir, &mut buf);
    let mut list = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            list.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(list)
}
