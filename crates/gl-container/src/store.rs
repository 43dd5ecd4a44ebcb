//! The state root: one directory for each container, by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_spec::{ContainerId, Warning};
use rustix::fs::{Access, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::Error;
use crate::record::{CONFIG, END, EXTRAS, LAYERS, RECORD, RESOURCES, SECCOMP};

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What was odd about a config and is fine all the same.
pub type Warnings = Vec<Warning>;

/// The directory that holds the state of containers.
#[derive(Debug)]
pub struct Store {
    fd: OwnedFd,
    path: PathBuf,
}

/// The locked state directory of one container. The lock goes with it.
#[derive(Debug)]
pub(crate) struct StateDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Store {
    /// Opens the state root, and makes it, mode 0700, with what is missing above it.
    ///
    /// # Errors
    ///
    /// [`Error::Root`] if it belongs to somebody else or others may write to it; [`Error::File`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                make_all(path).map_err(Error::file("make", path))?;
                rustix::fs::open(path, flags, Mode::empty())
            }
            other => other,
        };
        let fd = fd.map_err(Error::file("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(Error::file("inspect", path))?;
        let refused = |problem| Error::Root {
            path: path.to_owned(),
            problem,
        };
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(refused("others may write to it"));
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// A name for a container that none has which is stored elsewhere under the same id.
    pub(crate) fn instance(&self, id: &ContainerId) -> Result<String, Error> {
        let stat = rustix::fs::fstat(&self.fd).map_err(Error::file("inspect", &self.path))?;
        Ok(format!(
            "{:x}.{:x}-{}",
            stat.st_dev,
            stat.st_ino,
            id.as_str()
        ))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The containers whose state can be read, by id. Whatever else lies there is passed over.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>, Error> {
        let failed = || Error::file("read", &self.path);
        let dir = Dir::read_from(&self.fd).map_err(failed())?;
        let mut ids = Vec::new();
        for entry in dir {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name().to_str().ok();
            ids.extend(name.and_then(|name| ContainerId::new(name).ok()));
        }
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids.iter().filter_map(|id| self.load(id).ok()).collect())
    }

    /// Reads one container, without taking its lock.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Corrupt`] or [`Error::File`].
    pub fn load(&self, id: &ContainerId) -> Result<Container, Error> {
        Container::load(self.open_dir(id)?, id)
    }

    /// Reads one container after taking its lock, waiting for whoever has it.
    pub(crate) fn load_locked(&self, id: &ContainerId) -> Result<Container, Error> {
        let dir = self.open_locked(id)?;
        Container::load(dir, id)
    }

    /// Opens and locks a container's directory; what is in it may be anything.
    pub(crate) fn open_locked(&self, id: &ContainerId) -> Result<StateDir, Error> {
        let dir = self.open_dir(id)?;
        dir.lock()?;
        // Whoever had the lock may have deleted the container.
        match dir.is_removed()? {
            true => Err(missing(id)),
            false => Ok(dir),
        }
    }

    fn open_dir(&self, id: &ContainerId) -> Result<StateDir, Error> {
        let path = self.path.join(id.as_str());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, id.as_str(), flags, Mode::empty()) {
            Ok(fd) => Ok(StateDir { fd, path }),
            Err(Errno::NOENT) => Err(missing(id)),
            Err(source) => Err(Error::file("open", path)(source)),
        }
    }

    /// Makes a container's directory, empty and locked.
    pub(crate) fn make(&self, id: &ContainerId) -> Result<StateDir, Error> {
        loop {
            match rustix::fs::mkdirat(&self.fd, id.as_str(), Mode::from_raw_mode(0o700)) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Err(exists(id)),
                Err(source) => {
                    return Err(Error::file("make", self.path.join(id.as_str()))(source));
                }
            }
            if let Some(dir) = self.claim(id)? {
                return Ok(dir);
            }
        }
    }

    /// Takes the directory of this name for a new container; `None` if it was removed meanwhile.
    ///
    /// Between its making and its lock a `delete` may remove it, and somebody else make another: it is
    /// whose who locks it first.
    fn claim(&self, id: &ContainerId) -> Result<Option<StateDir>, Error> {
        let dir = match self.open_locked(id) {
            Err(Error::Missing { .. }) => return Ok(None),
            other => other?,
        };
        match rustix::fs::accessat(&dir.fd, RECORD, Access::EXISTS, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(Some(dir)),
            Ok(()) => Err(exists(id)),
            Err(source) => Err(Error::file("inspect", dir.path(RECORD))(source)),
        }
    }

    /// Removes a container's directory with the files in it.
    ///
    /// Nothing of a directory with anything else in it: the root may be a wrong one, and the directory
    /// somebody's.
    pub(crate) fn remove(&self, id: &ContainerId, dir: &StateDir) -> Result<(), Error> {
        let failed = || Error::file("remove", &dir.path);
        let entries = Dir::read_from(&dir.fd).map_err(failed())?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name().to_owned();
            if name.as_c_str() == c"." || name.as_c_str() == c".." {
                continue;
            }
            if !is_state_file(name.to_bytes()) {
                return Err(failed()(Errno::NOTEMPTY));
            }
            names.push(name);
        }
        for name in names {
            match rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => return Err(failed()(source)),
            }
        }
        match rustix::fs::unlinkat(&self.fd, id.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(failed()(source)),
        }
    }
}

/// Refuses a `$XDG_RUNTIME_DIR` in which somebody else could put a state root in place of the user's.
///
/// # Errors
///
/// [`Error::Root`] if it belongs to somebody else or others may write to it; [`Error::File`].
pub fn check_user_dir(path: &Path) -> Result<(), Error> {
    let refused = |problem| Error::Root {
        path: path.to_owned(),
        problem,
    };
    if !path.is_absolute() {
        return Err(refused("$XDG_RUNTIME_DIR has to be an absolute path"));
    }
    let stat = rustix::fs::stat(path).map_err(Error::file("inspect $XDG_RUNTIME_DIR,", path))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused(
            "it is $XDG_RUNTIME_DIR and belongs to another user",
        ));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(refused("it is $XDG_RUNTIME_DIR and others may write to it"));
    }
    Ok(())
}

/// Whether a container's directory may hold a file of this name.
fn is_state_file(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".new").unwrap_or(name);
    [
        CONFIG,
        END,
        EXTRAS,
        LAYERS,
        RECORD,
        RESOURCES,
        SECCOMP,
        gl_launch::GATE,
    ]
    .iter()
    .any(|file| name == file.as_bytes())
}

fn exists(id: &ContainerId) -> Error {
    Error::Exists {
        id: id.as_str().to_owned(),
    }
}

fn missing(id: &ContainerId) -> Error {
    Error::Missing {
        id: id.as_str().to_owned(),
    }
}

/// Makes a directory and those above it, each 0700.
fn make_all(path: &Path) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o700);
    match rustix::fs::mkdir(path, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            let parent = path.parent().ok_or(Errno::NOENT)?;
            make_all(parent)?;
            match rustix::fs::mkdir(path, mode) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno),
            }
        }
        Err(errno) => Err(errno),
    }
}

impl StateDir {
    pub(crate) fn lock(&self) -> Result<(), Error> {
        loop {
            match rustix::fs::flock(&self.fd, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                other => return other.map_err(Error::file("lock", &self.path)),
            }
        }
    }

    /// Lets others change the container while we only wait for it.
    pub(crate) fn unlock(&self) -> Result<(), Error> {
        rustix::fs::flock(&self.fd, FlockOperation::Unlock)
            .map_err(Error::file("unlock", &self.path))
    }

    /// Whether it is no directory of the state root any more.
    pub(crate) fn is_removed(&self) -> Result<bool, Error> {
        let stat = rustix::fs::fstat(&self.fd).map_err(Error::file("inspect", &self.path))?;
        Ok(stat.st_nlink == 0)
    }

    /// What it means that a file is not in it: `delete` keeps the lock until all are gone, and the directory.
    pub(crate) fn lacks(&self, file: &str, id: &ContainerId) -> Error {
        match self.lock().and_then(|()| self.is_removed()) {
            Ok(true) => missing(id),
            Ok(false) => Error::Corrupt {
                path: self.path(file),
            },
            Err(err) => err,
        }
    }

    /// The path of a file in it, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a whole file in it; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let read = || {
            let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
            let size = rustix::fs::fstat(&file)?.st_size;
            read_all(&file, usize::try_from(size).unwrap_or(0))
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(Error::file("read", self.path(name))(source)),
        }
    }

    /// Writes a new file in it.
    pub(crate) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        self.write_with(name, bytes, flags)
            .map_err(Error::file("write", self.path(name)))
    }

    /// Replaces a file in it: whoever reads sees the old or the new one, whole.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let new = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        self.write_with(&new, bytes, flags)
            .and_then(|()| rustix::fs::renameat(&self.fd, new.as_str(), &self.fd, name))
            .map_err(Error::file("write", self.path(name)))
    }

    fn write_with(&self, name: &str, bytes: &[u8], flags: OFlags) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(0o600);
        let file = rustix::fs::openat(&self.fd, name, flags | OFlags::NOFOLLOW, mode)?;
        write_all(&file, bytes)
    }

    /// Removes a file in it, if it is there.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(Error::file("remove", self.path(name))(source)),
        }
    }
}

impl AsFd for StateDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let len = rustix::io::write(file, bytes)?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a file to its end; `expected` is what it probably has.
pub(crate) fn read_all(file: &OwnedFd, expected: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; expected + 1];
    let mut len = 0;
    loop {
        let space = bytes.get_mut(len..).unwrap_or_default();
        match rustix::io::read(file, space)? {
            0 => break,
            more => len += more,
        }
        if len == bytes.len() {
            bytes.resize(len * 2, 0);
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
