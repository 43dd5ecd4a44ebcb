//! What a sandbox sees of the host's files: mounts for config.json, and the empty root they go on.

mod etc;

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gl_profile::{Origin, Profile, SourceKind};
use gl_rootfs::Leaf;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use serde_json::{Value as Json, json};

use crate::error::Error;

pub use etc::has_in_etc;

/// A fresh `/tmp` has this size where no quota says otherwise.
const TMP_BYTES: u64 = 64 << 20;

/// Filesystems that take id maps (ext4, XFS, Btrfs, tmpfs), with the version of the kernel that they do
/// from on. All that have such mounts at all have the first three.
const MAPS_IDS: [(i64, (u32, u32)); 4] = [
    (0xef53, (0, 0)),
    (0x5846_5342, (0, 0)),
    (0x9123_683e, (0, 0)),
    (0x0102_1994, (6, 3)),
];

/// Whose files are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Root's: ids inside are others outside, so that mounts have to translate them.
    Root,
    /// A user's own.
    User,
}

/// A view under construction.
#[derive(Debug)]
pub(crate) struct View {
    /// The root under construction. Links in it are the host's, copied: names are only followed within.
    root: gl_rootfs::Root,
    owner: Owner,
    pub(crate) mounts: Vec<Json>,
    pub(crate) masks: Vec<String>,
    /// Paths that are shown, in order.
    shown: Vec<PathBuf>,
}

impl View {
    /// A view with an empty directory as its root.
    pub(crate) fn new(root: &OwnedFd, owner: Owner) -> Result<Self, Error> {
        let root =
            rustix::io::fcntl_dupfd_cloexec(root, 0).map_err(Error::host("keep the root open"))?;
        Ok(Self {
            root: gl_rootfs::Root::new(root),
            owner,
            mounts: Vec::with_capacity(32),
            masks: Vec::new(),
            shown: Vec::new(),
        })
    }

    /// The mounts that every sandbox has: `/proc`, a small `/dev`, an empty `/tmp`.
    pub(crate) fn basics(&mut self) -> Result<(), Error> {
        for name in ["proc", "dev", "tmp", "run", "var", "etc"] {
            let made = make_dir(self.root.as_fd(), name);
            made.map_err(Error::file("make, in the sandbox,", name))?;
        }
        self.mounts.extend(basic_mounts());
        Ok(())
    }

    /// Shows what the profile and the command line name.
    pub(crate) fn paths(&mut self, profile: &Profile) -> Result<(), Error> {
        let files = &profile.filesystem;
        for item in files.read_only_paths.iter().flat_map(|list| &list.items) {
            self.system(item.value.as_path(), &item.origin, Access::ReadOnly)?;
        }
        for item in files.read_write_paths.iter().flat_map(|list| &list.items) {
            self.system(item.value.as_path(), &item.origin, Access::Writable)?;
        }
        for item in files.bind_mounts.iter().flat_map(|list| &list.items) {
            let access = match item.value.read_only {
                true => Access::ReadOnly,
                false => Access::Writable,
            };
            let source = item.value.source.as_path();
            self.named(source, item.value.target.as_path(), &item.origin, access)?;
        }
        Ok(())
    }

    /// A path that is shown at its own place.
    fn system(&mut self, path: &Path, origin: &Origin, access: Access) -> Result<(), Error> {
        let inside_tmp = path == Path::new("/tmp") || path == Path::new("/dev/shm");
        let expected = matches!(origin.kind, SourceKind::Level | SourceKind::BuiltIn);
        if inside_tmp && expected {
            return Ok(());
        }
        match lstat(path)? {
            // A level names what there usually is.
            None if expected => Ok(()),
            Some(found) if found.is_symlink() && expected => {
                let target = std::fs::read_link(path).map_err(Error::io("read", path))?;
                self.link(target, &path.to_string_lossy())
            }
            _ => self.named(path, path, origin, access),
        }
    }

    fn named(
        &mut self,
        source: &Path,
        target: &Path,
        origin: &Origin,
        access: Access,
    ) -> Result<(), Error> {
        let refused = |problem: String| Error::Path {
            option: origin.to_string(),
            path: source.to_owned(),
            problem: problem.into(),
        };
        let real = real(source).map_err(|err| refused(err.to_string()))?;
        let found = std::fs::metadata(&real).map_err(|err| refused(err.to_string()))?;
        if !found.is_dir() && !found.is_file() {
            return Err(refused("it is neither a directory nor a file".to_owned()));
        }
        self.bind(&real, target, &found, access)
    }

    fn bind(
        &mut self,
        source: &Path,
        target: &Path,
        found: &Metadata,
        access: Access,
    ) -> Result<(), Error> {
        let kind = match found.is_dir() {
            true => FileType::Directory,
            false => FileType::RegularFile,
        };
        self.bind_kind(source, target, kind, access)
    }

    fn bind_kind(
        &mut self,
        source: &Path,
        target: &Path,
        kind: FileType,
        access: Access,
    ) -> Result<(), Error> {
        // What is below a mount is made there by the runtime.
        if !self.is_shown(target) && !target.starts_with("/tmp") {
            let leaf = match kind {
                FileType::Directory => Leaf::Directory,
                _ => Leaf::File,
            };
            self.place(target, leaf)?;
        }
        self.mount(source, target, access)
    }

    /// Has something mounted where there is a place for it.
    fn mount(&mut self, source: &Path, target: &Path, access: Access) -> Result<(), Error> {
        let mut options = match access {
            Access::ReadOnly => vec!["rbind", "ro", "rro", "nosuid", "nodev"],
            Access::Writable => vec!["rbind", "rw", "nosuid", "nodev"],
        };
        let is_system = source.starts_with("/usr") || source.starts_with("/etc");
        if self.owner == Owner::Root && !is_system && maps_ids(source) {
            options.push("idmap");
        }
        // What is shown below, at its own place too, is not to be covered: there its mount point exists.
        let is_below = |mount: &Json| {
            let destination = mount["destination"].as_str().map(Path::new);
            destination.is_some_and(|one| one != target && one.starts_with(target))
        };
        let at = match source == target {
            true => self.mounts.iter().position(is_below),
            false => None,
        };
        let mount = json!({
            "destination": text(target)?, "type": "bind", "source": text(source)?, "options": options,
        });
        self.mounts.insert(at.unwrap_or(self.mounts.len()), mount);
        self.shown.push(target.to_owned());
        Ok(())
    }

    /// Whether a path is seen already.
    pub(crate) fn is_shown(&self, path: &Path) -> bool {
        self.shown.iter().any(|shown| path.starts_with(shown))
    }

    /// Shows the working directory, if that gives away no more than it.
    pub(crate) fn working_directory(
        &mut self,
        cwd: &Path,
        blocked: &[&Path],
    ) -> Result<bool, Error> {
        if self.is_shown(cwd) {
            return Ok(true);
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let too_much = cwd == Path::new("/")
            || blocked.contains(&cwd)
            || blocked.iter().any(|path| path.starts_with(cwd))
            || cwd.parent() == Some(Path::new("/home"))
            || home.is_some_and(|home| home.starts_with(cwd))
            || ["/etc", "/proc", "/sys", "/dev", "/run", "/var", "/tmp"]
                .map(Path::new)
                .contains(&cwd);
        let found = std::fs::metadata(cwd).ok().filter(Metadata::is_dir);
        let (Some(found), false) = (found, too_much) else {
            return Ok(false);
        };
        self.bind(cwd, cwd, &found, Access::ReadOnly)?;
        Ok(true)
    }

    /// Leads from `/var/tmp` to `/tmp`, unless something is shown there.
    pub(crate) fn temporary(&mut self) -> Result<(), Error> {
        self.link("../tmp", "/var/tmp")
    }

    /// Hides the paths that the profile blocks, where something above them is seen.
    pub(crate) fn hide(&mut self, blocked: &[&Path]) -> Result<(), Error> {
        let all = blocked.iter().flat_map(|path| {
            let own = (*path).to_owned();
            [Some(own), real(path).ok()]
        });
        let seen = all
            .flatten()
            .filter(|path| self.is_shown(path) && !self.shown.contains(path));
        let seen: Vec<PathBuf> = seen.collect();
        for path in seen {
            self.masks.push(text(&path)?);
        }
        self.masks.sort();
        self.masks.dedup();
        Ok(())
    }

    /// Finds or makes something within the root.
    fn place(&self, path: &Path, leaf: Leaf) -> Result<OwnedFd, Error> {
        let placed = self.root.open_or_make(path, leaf);
        let (fd, _) = placed.map_err(Error::file("make, in the sandbox,", path))?;
        Ok(fd)
    }

    fn link(&self, target: impl AsRef<Path>, at: &str) -> Result<(), Error> {
        let failed = || Error::file("make, in the sandbox,", at);
        let (dir, name) = self.root.open_parent(Path::new(at)).map_err(failed())?;
        match rustix::fs::symlinkat(target.as_ref(), &dir, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed()(errno)),
        }
    }
}

/// What is mounted in a sandbox of any root: `/proc`, a small `/dev`, an empty `/tmp`.
pub(crate) fn basic_mounts() -> Vec<Json> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let size = format!("size={TMP_BYTES}");
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &[
                "nosuid",
                "noexec",
                "strictatime",
                "mode=755",
                "size=65536k",
                "nr_inodes=1k",
            ],
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", &size],
        ),
        mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", &size]),
    ]
}

/// Makes a directory of a name that is new in one that nobody else has.
fn make_dir(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    Writable,
}

fn lstat(path: &Path) -> Result<Option<Metadata>, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Error::io("inspect", path)(err)),
    }
}

/// A path as config.json can hold it.
fn text(path: &Path) -> Result<String, Error> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::Path {
        option: "path".to_owned(),
        path: path.to_owned(),
        problem: "it is not UTF-8".into(),
    })
}

fn maps_ids(path: &Path) -> bool {
    let Ok(stat) = rustix::fs::statfs(path) else {
        return false;
    };
    let known = MAPS_IDS.iter().find(|(kind, _)| *kind == stat.f_type);
    known.is_some_and(|(_, since)| *since == (0, 0) || kernel_version() >= *since)
}

/// Major and minor version of the kernel; 0 for what cannot be read.
fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || {
        numbers
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    (next(), next())
}

/// Where a path of the host leads, before anything of a sandbox exists.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller names a path of the host, and no image has a say in it"
)]
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}
