//! Where sandboxes live: the state root, and in it a directory for each of them.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gl_container::Store;
use gl_spec::ContainerId;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::Error;

/// The directory of a user's sandboxes in the state root: no container has this id, as `@` is in none.
const SANDBOXES: &str = "@sandboxes";
/// Root's are elsewhere: root of a sandbox is nobody outside, and has to pass the directories above its root.
const OF_ROOT: &str = "/run/greenlang-sandboxes";

/// The process id of the worker that a sandbox belongs to, in its directory.
const OWNER: &str = "owner";

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

    /// Makes the directory of a new sandbox, with the process id of this worker in it.
    pub(crate) fn make(&self, id: &ContainerId) -> Result<PathBuf, Error> {
        let dir = self.dir(id);
        let worker = rustix::process::getpid();
        // Nobody ever sees one without its owner.
        let new = self.unnamed(worker);
        let failed = || Error::io("make", &new);
        DirBuilder::new()
            .mode(self.mode)
            .create(&new)
            .map_err(failed())?;
        let mode = Permissions::from_mode(self.mode);
        std::fs::set_permissions(&new, mode).map_err(failed())?;
        let owner = worker.as_raw_nonzero().to_string();
        std::fs::write(new.join(OWNER), owner).map_err(failed())?;
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(CWD, &new, CWD, &dir, flags) {
            Ok(()) => Ok(dir),
            Err(errno) => {
                remove_tree(&new).map_err(Error::file("remove", &new))?;
                Err(match errno {
                    Errno::EXIST => gl_container::Error::Exists {
                        id: id.as_str().to_owned(),
                    }
                    .into(),
                    errno => Error::file("make", dir)(errno),
                })
            }
        }
    }

    /// Removes what a worker has not come to name; whether the sandbox of this id is that worker's.
    pub(crate) fn is_of(&self, id: &ContainerId, worker: Pid) -> Result<bool, Error> {
        let new = self.unnamed(worker);
        remove_tree(&new).map_err(Error::file("remove", new))?;
        let owner = self.dir(id).join(OWNER);
        match std::fs::read_to_string(&owner) {
            Ok(text) => Ok(text == worker.as_raw_nonzero().to_string()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(Error::io("read", owner)(err)),
        }
    }

    fn unnamed(&self, worker: Pid) -> PathBuf {
        self.dir.join(format!("@new-{}", worker.as_raw_nonzero()))
    }

    /// Removes the directory of a sandbox with all that is in it; one that is gone is no error. Nothing in it
    /// is followed.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let path = self.dir(id);
        remove_tree(&path).map_err(Error::file("remove", path))
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
    empty(&dir)?;
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn empty(dir: &impl std::os::fd::AsFd) -> Result<(), Errno> {
    let names: Vec<_> = Dir::read_from(dir)?
        .map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())))
        .collect::<Result<_, _>>()?;
    for (name, kind) in names {
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            continue;
        }
        let flags = match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                empty(&rustix::fs::openat(dir, &name, flags, Mode::empty())?)?;
                AtFlags::REMOVEDIR
            }
            _ => AtFlags::empty(),
        };
        match rustix::fs::unlinkat(dir, &name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
