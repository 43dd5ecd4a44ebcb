//! What a sandbox sees of the host's files: mounts for config.json, and the empty root they go on.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use gl_profile::{Origin, Profile, SourceKind};
use serde_json::{Value as Json, json};

use crate::dirs::make_all;
use crate::error::Error;

/// What of `/etc` programs need and everybody may read. The accounts are not the host's.
const ETC: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "java",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "profile",
    "protocols",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];
/// Beginnings of names in `/etc` that programs need as well: settings of languages.
const ETC_PREFIXES: &[&str] = &["java-", "python3", "perl"];
/// Larger files of `/etc` are not copied but mounted.
const COPIED_BYTES: u64 = 128 << 10;
/// A fresh `/tmp` has this size where no quota says otherwise.
const TMP_BYTES: u64 = 64 << 20;

/// Filesystems that take id maps on every kernel with such mounts (ext4, XFS, Btrfs).
const MAPS_IDS: [i64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

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
    rootfs: PathBuf,
    owner: Owner,
    pub(crate) mounts: Vec<Json>,
    pub(crate) masks: Vec<String>,
    /// Paths that are shown, in order.
    shown: Vec<PathBuf>,
}

impl View {
    pub(crate) fn new(rootfs: PathBuf, owner: Owner) -> Self {
        Self {
            rootfs,
            owner,
            mounts: Vec::with_capacity(32),
            masks: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The mounts that every sandbox has: `/proc`, a small `/dev`, an empty `/tmp`.
    pub(crate) fn basics(&mut self) -> Result<(), Error> {
        for dir in ["proc", "dev", "tmp", "run", "var", "etc"] {
            make_all(&self.rootfs, Path::new(dir))?;
        }
        self.link("../tmp", "/var/tmp")?;
        let mut mount = |destination: &str, kind: &str, options: &[&str]| {
            self.mounts.push(json!({
                "destination": destination, "type": kind, "source": kind, "options": options,
            }));
        };
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]);
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
        );
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
        );
        let size = format!("size={TMP_BYTES}");
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", &size],
        );
        mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", &size]);
        Ok(())
    }

    /// A few files of the host's `/etc`, and accounts of the sandbox's own.
    pub(crate) fn etc(&mut self, (uid, gid): (u32, u32), network: bool) -> Result<(), Error> {
        let mut names: Vec<String> = ETC.iter().map(|name| (*name).to_owned()).collect();
        let others = std::fs::read_dir("/etc").map_err(Error::io("read", "/etc"))?;
        for entry in others.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                names.push(name);
            }
        }
        if network {
            names.extend(["resolv.conf", "hosts"].map(str::to_owned));
        } else {
            self.write("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n")?;
        }
        for name in names {
            self.etc_entry(&name)?;
        }
        let user = |uid: u32, gid: u32| format!("sandbox:x:{uid}:{gid}:sandbox:/tmp:/bin/sh\n");
        let mut passwd = String::from("root:x:0:0:root:/tmp:/bin/sh\n");
        let mut group = String::from("root:x:0:\n");
        if uid != 0 {
            passwd.push_str(&user(uid, gid));
            group.push_str(&format!("sandbox:x:{gid}:\n"));
        }
        passwd.push_str("nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
        group.push_str("nogroup:x:65534:\n");
        self.write("etc/passwd", &passwd)?;
        self.write("etc/group", &group)
    }

    fn etc_entry(&mut self, name: &str) -> Result<(), Error> {
        let host = Path::new("/etc").join(name);
        let Some(found) = lstat(&host)? else {
            return Ok(());
        };
        if found.is_symlink() {
            // A file of the network's is often a link out of /etc, where nothing is inside.
            if name == "resolv.conf" {
                let text = std::fs::read(&host).unwrap_or_default();
                return self.write("etc/resolv.conf", &String::from_utf8_lossy(&text));
            }
            let target = std::fs::read_link(&host).map_err(Error::io("read", &host))?;
            return self.link(target, &format!("/etc/{name}"));
        }
        // What is not for everybody is not for the sandbox, whoever it runs as outside.
        let wanted = if found.is_dir() { 0o005 } else { 0o004 };
        if found.mode() & wanted != wanted {
            return Ok(());
        }
        if found.is_file() && found.len() <= COPIED_BYTES {
            let text = std::fs::read(&host).map_err(Error::io("read", &host))?;
            return self.write_bytes(&format!("etc/{name}"), &text);
        }
        self.bind(&host, &host, &found, Access::ReadOnly)
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
        let below = target.strip_prefix("/").unwrap_or(target);
        // What is below a mount is made there by the runtime.
        if !self.is_shown(target) && !target.starts_with("/tmp") {
            match found.is_dir() {
                true => make_all(&self.rootfs, below)?,
                false => self.write_bytes(&below.to_string_lossy(), b"")?,
            }
        }
        let mut options = match access {
            Access::ReadOnly => vec!["rbind", "ro", "rro", "nosuid", "nodev"],
            Access::Writable => vec!["rbind", "rw", "nosuid", "nodev"],
        };
        let is_system = source.starts_with("/usr") || source.starts_with("/etc");
        if self.owner == Owner::Root && !is_system && maps_ids(source) {
            options.push("idmap");
        }
        self.mounts.push(json!({
            "destination": text(target)?, "type": "bind", "source": text(source)?, "options": options,
        }));
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

    fn link(&self, target: impl AsRef<Path>, at: &str) -> Result<(), Error> {
        let at = at.trim_start_matches('/');
        if let Some(parent) = Path::new(at).parent() {
            make_all(&self.rootfs, parent)?;
        }
        let path = self.rootfs.join(at);
        match symlink(target, &path) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("make", path)(err))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, at: &str, text: &str) -> Result<(), Error> {
        self.write_bytes(at, text.as_bytes())
    }

    fn write_bytes(&self, at: &str, bytes: &[u8]) -> Result<(), Error> {
        if let Some(parent) = Path::new(at).parent() {
            make_all(&self.rootfs, parent)?;
        }
        let path = self.rootfs.join(at);
        let write = || {
            let mut file = File::create(&path)?;
            io::Write::write_all(&mut file, bytes)?;
            file.set_permissions(Permissions::from_mode(0o644))
        };
        write().map_err(Error::io("write", &path))
    }
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
    rustix::fs::statfs(path).is_ok_and(|stat| MAPS_IDS.contains(&stat.f_type))
}

/// Where a path of the host leads, before anything of a sandbox exists.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller names a path of the host, and no image has a say in it"
)]
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}
