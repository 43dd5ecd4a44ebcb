//! The directory of saved processes: opened once, and what greenlang itself keeps there.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use gl_spec::ProfileName;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::create::encode;
use crate::error::Error;
use crate::store::{read_all, write_all};

/// What of a container CRIU does not save, or calls by other names.
const SAVED: &str = "greenlang.json";
/// The streams of its first process, as other runtimes write them.
const DESCRIPTORS: &str = "descriptors.json";

/// A directory for CRIU.
#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) fd: OwnedFd,
    /// Its path, for messages.
    pub(crate) path: PathBuf,
}

/// Who makes a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// We do, mode 0700.
    Make,
    /// Nobody.
    Refuse,
}

/// What is not in CRIU's images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    /// Mounts that come from outside.
    pub(crate) mounts: Vec<Outside>,
    /// The first process's streams, where they are files from outside: what CRIU calls them.
    pub(crate) streams: [Option<String>; 3],
    /// The filter of system calls.
    pub(crate) seccomp: Option<Vec<u8>>,
    /// The profiles that it was under.
    pub(crate) profiles: Vec<ProfileName>,
    /// Milliseconds since its first process was started.
    pub(crate) elapsed_ms: u64,
    /// CPU time of its processes, milliseconds.
    pub(crate) cpu_ms: u64,
}

/// A mount that comes from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outside {
    /// What CRIU calls it.
    pub(crate) name: String,
    /// Where it is in the container.
    pub(crate) at: PathBuf,
    /// Where it comes from.
    pub(crate) from: From,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum From {
    /// A bind mount of the config, by its destination; or one below its source.
    Bind {
        destination: PathBuf,
        below: PathBuf,
    },
    /// The null device, that covers a masked file.
    Null,
    /// A device of the config.
    Device { path: PathBuf },
    /// The container's cgroup in a hierarchy, by the name of its directory; empty for v2.
    Cgroup { hierarchy: String },
    /// Something that is mounted below the container's root on the host.
    Root { below: PathBuf },
}

impl Dir {
    /// Opens a directory of the engine's choice. Others than root must not be able to write to it: CRIU does
    /// as root what its images say.
    pub(crate) fn open(option: &'static str, path: &Path, missing: Missing) -> Result<Self, Error> {
        if missing == Missing::Make {
            match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(source) => return Err(Error::file("make", path)(source)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let fd = fd.map_err(Error::file("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(Error::file("inspect", path))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(Error::Option {
                option,
                problem: format!("others than root may write to {}", path.display()).into(),
                remedy: "name a directory of root's with mode 0700",
            });
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Another descriptor of it, for CRIU.
    pub(crate) fn again(&self) -> Result<OwnedFd, Error> {
        let again = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3);
        again.map_err(Error::host("pass a directory on"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Refuses a directory that the container itself could reach and so change.
    pub(crate) fn keep_out_of(&self, option: &'static str, rootfs: &Path) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, rootfs, flags, Mode::empty());
        let root = root.map_err(Error::file("open", rootfs))?;
        let (own, root) = (real_path(&self.fd)?, real_path(&root)?);
        if own.starts_with(&root) {
            return Err(Error::Option {
                option,
                problem: format!("{} is in the container's root", own.display()).into(),
                remedy: "name a directory that the container cannot write to",
            });
        }
        Ok(())
    }

    /// Writes what CRIU does not save.
    pub(crate) fn store(&self, saved: &Saved, streams: &[String; 3]) -> Result<(), Error> {
        self.write(DESCRIPTORS, &encode(streams))?;
        self.write(SAVED, &encode(saved))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::file("write", self.path.join(name))(source);
        let new = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, &*new, flags, Mode::from_raw_mode(0o600));
        file.and_then(|file| write_all(&file, bytes))
            .and_then(|()| rustix::fs::renameat(&self.fd, &*new, &self.fd, name))
            .map_err(failed)
    }

    /// Reads what CRIU has not saved. Images that another runtime has made have no such file.
    pub(crate) fn load(&self) -> Result<(Option<Saved>, [String; 3]), Error> {
        let streams = self.read(DESCRIPTORS)?.unwrap_or_default();
        Ok((self.read(SAVED)?, streams))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(source) => return Err(Error::file("open", path)(source)),
        };
        let stat = rustix::fs::fstat(&file).map_err(Error::file("inspect", &path))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_size > 4 << 20 {
            return Err(Error::Corrupt { path });
        }
        let bytes = read_all(&file, usize::try_from(stat.st_size).unwrap_or(0));
        let bytes = bytes.map_err(Error::file("read", &path))?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::Corrupt { path }),
        }
    }
}

/// Where an open directory is.
fn real_path(dir: &OwnedFd) -> Result<PathBuf, Error> {
    let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let path = rustix::fs::readlink(&*link, Vec::new()).map_err(Error::file("read", link))?;
    Ok(OsString::from_vec(path.into_bytes()).into())
}

/// Refuses a directory of an earlier pre-dump that is named in another way than from that of the images, and
/// one that is not there. CRIU reads it by this name.
pub(crate) fn check_parent(images: &Dir, parent: &Path) -> Result<(), Error> {
    let refused = |problem: String| Error::Option {
        option: "--parent-path",
        problem: problem.into(),
        remedy: "name the directory of a --pre-dump, such as ../pre-dump",
    };
    if parent.is_absolute() {
        return Err(refused(format!(
            "{} is absolute, and it is relative to --image-path",
            parent.display()
        )));
    }
    let plain = |part| matches!(part, Component::ParentDir | Component::Normal(_));
    if parent.as_os_str().is_empty() || !parent.components().all(plain) {
        return Err(refused(format!("{:?} is no name", parent)));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(&images.fd, parent, flags, Mode::empty());
    let found = found.map_err(|source| {
        let path = images.path.join(parent);
        refused(format!("open {}: {source}", path.display()))
    })?;
    let stat = rustix::fs::fstat(found).map_err(Error::file("inspect", parent))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(refused("others than root may write to it".to_owned()));
    }
    Ok(())
}
