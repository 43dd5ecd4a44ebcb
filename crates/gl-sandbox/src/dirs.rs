//! Where sandboxes live: the state root, and in it a directory for each of them.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gl_container::Store;
use gl_spec::ContainerId;
use rustix::fs::{CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::Error;
use crate::home::{Entry, Home, Place};

/// The directory of a user's sandboxes in the state root: no container has this id, as `@` is in none.
const SANDBOXES: &str = "@sandboxes";
/// Root's are elsewhere: root of a sandbox is nobody outside, and has to pass the directories above its root.
const OF_ROOT: &str = "/run/greenlang-sandboxes";
/// Beginnings of names that no sandbox has: of directories that are being made, and being removed. A process id
/// follows.
const NEW: &str = "@new-";
const OLD: &str = "@old-";
/// Locked by whoever takes away what others have left.
const LOCK: &str = "@lock";

/// The state root of a user's sandboxes.
#[derive(Debug)]
pub struct Sandboxes {
    store: Store,
    dir: PathBuf,
    mode: u32,
}

impl Sandboxes {
    /// Opens the caller's: `/run/greenlang` for root, else `$XDG_RUNTIME_DIR/greenlang`, or
    /// `/tmp/greenlang-UID` where there is no such directory.
    ///
    /// # Errors
    ///
    /// [`Error::Container`] if it belongs to somebody else or others may write to it; [`Error::File`].
    pub fn open() -> Result<Self, Error> {
        let store = Store::open(&root())?;
        let (dir, mode) = match gl_launch::rootless::caller() {
            0 => (OF_ROOT.into(), 0o711),
            _ => (store.path().join(SANDBOXES), 0o700),
        };
        make(&dir, mode)?;
        Ok(Self { store, dir, mode })
    }

    /// The containers.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The directory of one sandbox.
    pub fn dir(&self, id: &ContainerId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// Makes the directory of a new sandbox, which is this process's from then on.
    pub(crate) fn make(&self, id: &ContainerId, entry: &Entry) -> Result<Home, Error> {
        // Nobody ever sees one that says nothing and that nobody holds.
        let new = self.make_unnamed()?;
        let failed = || Error::io("make", &new);
        let mode = Permissions::from_mode(self.mode);
        let made = std::fs::set_permissions(&new, mode).map_err(failed());
        let made = made.and_then(|()| Home::begin(&new, entry));
        let named = made.and_then(|home| {
            let dir = self.dir(id);
            match rustix::fs::renameat_with(CWD, &new, CWD, &dir, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(home.called(dir)),
                Err(Errno::EXIST) => Err(Error::Taken {
                    id: id.as_str().to_owned(),
                }),
                Err(errno) => Err(Error::file("make", dir)(errno)),
            }
        });
        if named.is_err() {
            remove_tree(&new).map_err(Error::file("remove", new))?;
        }
        named
    }

    /// The directory of one sandbox, open; none if there is no such sandbox.
    pub(crate) fn place(&self, id: &ContainerId) -> Result<Option<Place>, Error> {
        Place::open(&self.dir(id))
    }

    /// Keeps others from taking away what a worker has left, as long as the result is there: so that what is
    /// seen of a sandbox whose worker is dead stays as it is.
    pub(crate) fn one_at_a_time(&self) -> Result<OwnedFd, Error> {
        let path = self.dir.join(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(Error::file("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
            .map_err(Error::file("lock", path))?;
        Ok(lock)
    }

    /// Makes a directory that is no sandbox's yet.
    fn make_unnamed(&self) -> Result<PathBuf, Error> {
        let own = rustix::process::getpid().as_raw_nonzero();
        let mut number = 0_u32;
        loop {
            let new = self.dir.join(format!("{NEW}{own}-{number}"));
            match DirBuilder::new().mode(self.mode).create(&new) {
                Ok(()) => return Ok(new),
                // Of a process that had our number, and was killed.
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(err) => return Err(Error::io("make", new)(err)),
            }
        }
    }

    /// Removes the directory of a sandbox with all that is in it; one that is gone is no error. Nothing in it
    /// is followed.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let path = self.dir(id);
        let own = rustix::process::getpid().as_raw_nonzero();
        // Nobody is to see one that is half gone.
        for number in 0_u32.. {
            let old = self.dir.join(format!("{OLD}{own}-{number}"));
            match rustix::fs::renameat_with(CWD, &path, CWD, &old, RenameFlags::NOREPLACE) {
                Ok(()) => return remove_tree(&old).map_err(Error::file("remove", old)),
                Err(Errno::NOENT) => break,
                // Of a process that had our number, and was killed.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::file("remove", path)(errno)),
            }
        }
        Ok(())
    }

    /// Removes directories that were being made or removed by this process, which is gone.
    pub(crate) fn sweep_after(&self, process: Pid) -> Result<(), Error> {
        let process = process.as_raw_nonzero().get();
        self.sweep_those(|owner| owner == process)
    }

    /// Removes directories that were being made or removed by processes which are gone.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        self.sweep_those(|owner| {
            // One that has the number by chance only makes us wait.
            Pid::from_raw(owner)
                .is_none_or(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH))
        })
    }

    fn sweep_those(&self, gone: impl Fn(i32) -> bool) -> Result<(), Error> {
        let failed = || Error::io("read", self.dir.clone());
        for entry in std::fs::read_dir(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let rest = [NEW, OLD].iter().find_map(|what| name.strip_prefix(what));
            let owner = rest.and_then(|rest| rest.split('-').next()?.parse().ok());
            if owner.is_some_and(&gone) {
                let path = entry.path();
                remove_tree(&path).map_err(Error::file("remove", path))?;
            }
        }
        Ok(())
    }

    /// The containers alone.
    pub(crate) fn into_store(self) -> Store {
        self.store
    }

    /// The sandboxes that there are, by id.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<ContainerId>, Error> {
        let failed = || Error::io("read", self.dir.clone());
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            ids.extend(name.to_str().and_then(|name| ContainerId::new(name).ok()));
        }
        ids.sort();
        Ok(ids)
    }
}

fn root() -> PathBuf {
    let uid = gl_launch::rootless::caller();
    if uid == 0 {
        return "/run/greenlang".into();
    }
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let dir = dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let usable = dir.filter(|dir| gl_container::check_user_dir(dir).is_ok());
    usable.map_or_else(
        || format!("/tmp/greenlang-{uid}").into(),
        |dir| dir.join("greenlang"),
    )
}

/// Makes the directory of all sandboxes; one that is there has to be ours alone.
fn make(dir: &Path, mode: u32) -> Result<(), Error> {
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => {
            let mode = Permissions::from_mode(mode);
            return std::fs::set_permissions(dir, mode).map_err(Error::io("make", dir));
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(Error::io("make", dir)(err)),
    }
    let found = std::fs::symlink_metadata(dir).map_err(Error::io("inspect", dir))?;
    let own = rustix::process::geteuid().as_raw();
    match found.is_dir() && found.uid() == own && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(Error::file("use", dir)(Errno::PERM)),
    }
}

/// Makes a directory with those above it, readable by all, whatever the umask says.
pub(crate) fn make_all(base: &Path, below: &Path) -> Result<(), Error> {
    let mut path = base.to_owned();
    for part in below.components() {
        path.push(part);
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => std::fs::set_permissions(&path, Permissions::from_mode(0o755))
                .map_err(Error::io("make", &path))?,
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(Error::io("make", path)(err)),
        }
    }
    Ok(())
}

/// Removes a tree without following anything in it.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    empty_but(&dir, |_| false)?;
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes everything in a directory, with all below it, but the entries that stay.
pub(crate) fn empty_but(dir: &OwnedFd, stays: impl Fn(&str) -> bool) -> Result<(), Errno> {
    let names = Dir::read_from(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    for name in names {
        let text = name.to_str().unwrap_or_default();
        if text != "." && text != ".." && !stays(text) {
            gl_basic::remove_entry(dir, &name)?;
        }
    }
    Ok(())
}

/// Whether an open file has this path.
pub(crate) fn is_same(file: &impl AsFd, path: &Path) -> Result<bool, Errno> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::lstat(path) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
