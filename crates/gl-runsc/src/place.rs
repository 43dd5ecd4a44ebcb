//! Where a sandbox keeps its files: one directory for each, below the state root, that only root can
//! look into. Its name is short, as runsc puts a socket below it, whose path has an end.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use gl_seccomp::Program;
use rustix::fs::StatVfsMountFlags;
use serde_json::json;

use crate::error::Error;
use crate::launcher::{DIRECTORY, EMPTY, FILTER, LAUNCHER};

/// Below the state root: no container has this id, as `@` is in none.
const ALL: &str = "@gvisor";
/// In the place of that, where the state root is mounted `noexec`, as `/run` is on Debian from 13 on: runsc cannot take
/// that flag over for a root that it makes read-only, nor the sandbox execute its launcher.
///
/// Below it each boot of the host has a directory, as the state root has an end with it.
const ELSEWHERE: [&str; 2] = ["/var/lib/greenlang", "/var/lib/greenlang/@gvisor"];
/// What is known about runsc on this host.
const KNOWN: &str = "runsc.json";
/// A longer path of runsc's control socket does not fit into an address, and runsc would put it elsewhere.
const LONGEST: usize = 107;

/// The directory of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    dir: PathBuf,
    id: String,
}

impl Place {
    /// The place of a container; `instance` tells it from all others, in other state roots, too.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the state root's path is too long; [`Error::File`].
    pub fn new(root: &Path, instance: &str) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(Error::file("find", root))?;
        let id = format!("{:012x}", fnv(instance.as_bytes()) >> 16);
        let place = Self {
            dir: all(&root).join(&id),
            id: format!("g{id}"),
        };
        if place.socket().as_os_str().len() > LONGEST {
            return Err(Error::Refused {
                field: "--root".to_owned(),
                problem: "its path is too long for the socket that runsc makes below it",
                remedy: "name a state root of at most 59 characters",
            });
        }
        Ok(place)
    }

    /// Where a newer runsc has its control socket.
    fn socket(&self) -> PathBuf {
        self.state().join(format!("runsc-{}.sock", self.id))
    }

    /// One that is nobody's.
    pub(crate) fn for_probe(root: &Path) -> Result<Self, Error> {
        Self::new(root, &format!("probe of process {}", std::process::id()))
    }

    /// A place that was stored.
    pub(crate) fn stored(dir: PathBuf, id: String) -> Self {
        Self { dir, id }
    }

    /// The directory: runsc's bundle.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The id that runsc knows the container by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// runsc's own state.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// runsc's log of the creation.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Where runsc writes the sandbox's process id.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// What the sandbox sees at [`DIRECTORY`].
    pub(crate) fn inside(&self) -> PathBuf {
        self.dir.join("in")
    }

    /// The empty file that hides files.
    pub(crate) fn empty(&self) -> PathBuf {
        self.inside().join(EMPTY)
    }

    /// Makes the directories.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn make(&self) -> Result<(), Error> {
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        let all = self.dir.parent().unwrap_or(&self.dir);
        let is_elsewhere = all.starts_with(ELSEWHERE[1]);
        let above = ELSEWHERE.iter().map(Path::new).filter(|_| is_elsewhere);
        for dir in above.chain([all]) {
            match private.create(dir) {
                Err(err) if err.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::file("make", dir)(err));
                }
                _ => {}
            }
        }
        if is_elsewhere {
            check_elsewhere(all)?;
            remove_other_boots(all);
        }
        // One that is there is somebody's.
        for dir in [&self.dir, &self.state(), &self.dir.join("rootfs")] {
            private.create(dir).map_err(Error::file("make", dir))?;
        }
        let inside = self.inside();
        private
            .create(&inside)
            .map_err(Error::file("make", &inside))?;
        // Of the sandbox, whoever is in it; on the host nobody gets here.
        set_mode(&inside, 0o755)?;
        write(&self.empty(), b"", 0o444)
    }

    /// Puts the launcher there, which is this program itself.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write_launcher(&self) -> Result<(), Error> {
        let own = Path::new("/proc/self/exe");
        let failed = || Error::file("copy the launcher to", self.inside());
        let stat = fs::metadata(own).map_err(failed())?;
        let to = self.inside().join("launch");
        if stat.nlink() == 0 {
            // A copy in memory has no name to know it by.
            return copy(own, &to).map_err(failed());
        }
        let all = self.dir.parent().unwrap_or(&self.dir);
        let name = format!(
            "launch.{:x}.{:x}.{:x}.{}.{}",
            stat.dev(),
            stat.ino(),
            stat.size(),
            stat.mtime(),
            stat.mtime_nsec()
        );
        let kept = all.join(&name);
        if fs::hard_link(&kept, &to).is_ok() {
            return Ok(());
        }
        copy(own, &to).map_err(failed())?;
        remove_old_launchers(all, &name);
        match fs::hard_link(&to, &kept) {
            Err(err) if err.kind() != ErrorKind::AlreadyExists => Err(failed()(err)),
            _ => Ok(()),
        }
    }

    /// Puts the filter of system calls there, for the launcher.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write_filter(&self, program: &Program) -> Result<(), Error> {
        let path = self.inside().join(FILTER);
        write(&path, &program.without_log().to_bytes(), 0o444)
    }

    /// Writes the bundle's config.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write_config(&self, config: &str) -> Result<(), Error> {
        write(&self.dir.join("config.json"), config.as_bytes(), 0o600)
    }

    /// Writes a file that one command needs, and gives its path.
    pub(crate) fn write_for_once(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.dir.join(format!("{name}.{}", std::process::id()));
        write(&path, bytes, 0o600)?;
        Ok(path)
    }

    /// Removes everything; what is not there is fine.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.dir) {
            Ok(()) => Ok(()),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
            Err(err) => Err(Error::file("remove", &self.dir)(err)),
        }
    }

    /// A bundle whose program is the launcher, which has nothing to launch.
    pub(crate) fn write_probe(&self) -> Result<(), Error> {
        self.write_launcher()?;
        let config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": self.dir.join("rootfs"), "readonly": true},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": [LAUNCHER]},
            "mounts": [{"destination": DIRECTORY, "type": "bind", "source": self.inside(),
                        "options": ["bind", "ro"]}],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"},
                                     {"type": "ipc"}, {"type": "uts"}]},
        });
        self.write_config(&config.to_string())
    }

    pub(crate) fn read_known(root: &Path) -> Option<Vec<u8>> {
        let all = all(root);
        if all.starts_with(ELSEWHERE[1]) && check_elsewhere(&all).is_err() {
            return None;
        }
        fs::read(all.join(KNOWN)).ok()
    }

    pub(crate) fn write_known(root: &Path, bytes: &[u8]) -> Result<(), Error> {
        let path = all(root).join(KNOWN);
        let new = path.with_extension(format!("{}.new", std::process::id()));
        write(&new, bytes, 0o600)?;
        fs::rename(&new, &path).map_err(Error::file("write", &path))
    }
}

/// The directory of all places of a state root; only the host's root has another one.
fn all(root: &Path) -> PathBuf {
    let noexec =
        rustix::fs::statvfs(root).is_ok_and(|seen| seen.f_flag.contains(StatVfsMountFlags::NOEXEC));
    let elsewhere = noexec && rustix::process::geteuid().is_root();
    // A path of runsc's socket has an end: a part of the id is enough to tell one boot from another.
    match (elsewhere, boot_id()) {
        (true, Ok(boot)) => Path::new(ELSEWHERE[1]).join(boot.get(..8).unwrap_or("boot")),
        _ => root.join(ALL),
    }
}

/// Whether nobody but root can have put anything there.
fn check_elsewhere(all: &Path) -> Result<(), Error> {
    for dir in ELSEWHERE.iter().map(Path::new).chain([all]) {
        let stat = fs::symlink_metadata(dir).map_err(Error::file("inspect", dir))?;
        if !stat.is_dir() || stat.uid() != 0 || stat.mode() & 0o022 != 0 {
            return Err(Error::Refused {
                field: dir.display().to_string(),
                problem: "it is no directory of root's that nobody else may write to",
                remedy: "give it to root alone, or mount the state root without noexec",
            });
        }
    }
    Ok(())
}

/// What was left when the host went down: no sandbox of another boot runs.
fn remove_other_boots(all: &Path) {
    let entries = fs::read_dir(ELSEWHERE[1]).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path() != all) {
        if fs::remove_dir_all(entry.path()).is_err() {
            // Somebody else removes it, or it is tried again next time.
        }
    }
}

/// Those of other versions; sandboxes that run have a link of their own.
fn remove_old_launchers(all: &Path, but: &str) {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("launch.") && name != but && fs::remove_file(entry.path()).is_err() {
            // Somebody else removed it, or it is tried again next time.
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut from = fs::File::open(from)?;
    let options = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o555)
        .open(to);
    let mut to = options?;
    std::io::copy(&mut from, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(0o555))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let make = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    make().map_err(Error::file("write", path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}

/// The identity of this boot.
pub(crate) fn boot_id() -> Result<String, Error> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let mut text = String::new();
    let read = fs::File::open(PATH).and_then(|mut file| file.read_to_string(&mut text));
    read.map_err(Error::file("read", PATH))?;
    Ok(text.trim().to_owned())
}

/// FNV-1a: names only have to differ, and nobody gains from two that do not, as an id is in use then.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_two_containers_differ_and_are_short() {
        let root = Path::new("/run/containerd/runc/moby");
        let one = Place::new(root, "1.2-a").unwrap();
        let other = Place::new(root, "1.2-b").unwrap();
        assert_ne!(one, other);
        assert!(one.socket().as_os_str().len() <= LONGEST, "{one:?}");
    }

    #[test]
    fn state_root_that_leaves_no_room_for_a_socket_is_refused() {
        let root = |len: usize| PathBuf::from(format!("/{}", "r".repeat(len - 1)));
        assert!(Place::new(&root(59), "i").is_ok());
        let err = Place::new(&root(60), "i").unwrap_err();
        assert_eq!(
            err.to_string(),
            "enforce --root in gVisor: its path is too long for the socket that runsc makes below it"
        );
    }
}
