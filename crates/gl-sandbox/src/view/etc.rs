//! `/etc` of a sandbox: a few files of the host's, copied from one open directory to another, and accounts of the
//! sandbox's own.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use gl_rootfs::Leaf;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Access, View, make_dir};
use crate::error::Error;

/// Where all of it is.
const DIR: &str = "/etc";

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
/// Files of `/etc` that a sandbox has of its own, or that come with a network.
const ETC_OWN: &[&str] = &["group", "hosts", "passwd", "resolv.conf"];
/// Those of them that come with a network.
const ETC_NETWORK: &[&str] = &["hosts", "resolv.conf"];

/// Larger files of `/etc` are not copied but mounted.
const COPIED_BYTES: i64 = 16 << 10;

/// Whether the view of the tier `namespace` has something at this path of `/etc`, or below it, whatever the
/// profile lists.
pub fn has_in_etc(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(DIR) else {
        return false;
    };
    let Some(name) = below.iter().next().and_then(|name| name.to_str()) else {
        return true;
    };
    is_common(name) || ETC_OWN.contains(&name)
}

/// Whether every sandbox has this of the host's `/etc`.
fn is_common(name: &str) -> bool {
    ETC.contains(&name) || ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `/etc` of the host and of the sandbox.
struct Both {
    host: OwnedFd,
    sandbox: OwnedFd,
    /// What the last file held.
    bytes: Vec<u8>,
}

impl View {
    /// A few files of the host's `/etc`, and accounts of the sandbox's own.
    pub(crate) fn etc(&mut self, (uid, gid): (u32, u32), network: bool) -> Result<(), Error> {
        let mut both = Both {
            host: open(DIR)?,
            sandbox: self.place(Path::new(DIR), Leaf::Directory)?,
            bytes: Vec::new(),
        };
        if !network {
            both.write("hosts", b"127.0.0.1\tlocalhost\n::1\tlocalhost\n")?;
        }
        let is_wanted = |name: &str| is_common(name) || network && ETC_NETWORK.contains(&name);
        for name in both.names(is_wanted)? {
            self.etc_entry(&mut both, &name)?;
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
        both.write("passwd", passwd.as_bytes())?;
        both.write("group", group.as_bytes())
    }

    fn etc_entry(&mut self, both: &mut Both, name: &str) -> Result<(), Error> {
        let path = Path::new(DIR).join(name);
        let failed = |action| Error::file(action, path.clone());
        // Looked at by descriptor, so that what is read is what was looked at; no FIFO is waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(&both.host, name, flags, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::LOOP) => return both.follow(name),
            // What is not for everybody is not for the sandbox, whoever it runs as outside.
            Err(Errno::NOENT | Errno::ACCESS | Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(failed("read")(errno)),
        };
        let stat = rustix::fs::fstat(&found).map_err(failed("inspect"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !is_for_everybody(&stat, kind) {
            return Ok(());
        }
        if kind == FileType::RegularFile && stat.st_size <= COPIED_BYTES {
            both.read(found, name, stat.st_size)?;
            return both.write_last(name);
        }
        if kind == FileType::Directory {
            make_dir(both.sandbox.as_fd(), name).map_err(inside(name))?;
            return self.mount(&path, &path, Access::ReadOnly);
        }
        self.bind_kind(&path, &path, kind, Access::ReadOnly)
    }
}

impl Both {
    /// What there is of it.
    fn names(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let failed = || Error::file("read", DIR);
        let mut names = Vec::with_capacity(ETC.len());
        for entry in Dir::read_from(&self.host).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            // A name that is no text is none of these.
            let name = entry.file_name().to_str().ok();
            names.extend(name.filter(|name| is_wanted(name)).map(str::to_owned));
        }
        Ok(names)
    }

    /// A link is one inside as well, but for that of name servers: it often leads out of `/etc`, where nothing is
    /// inside.
    fn follow(&mut self, name: &str) -> Result<(), Error> {
        if name == "resolv.conf" {
            let text = std::fs::read(Path::new(DIR).join(name)).unwrap_or_default();
            return self.write(name, &text);
        }
        let target = rustix::fs::readlinkat(&self.host, name, Vec::new())
            .map_err(Error::file("read", Path::new(DIR).join(name)))?;
        self.link(name, &target)
    }

    /// Reads a file to the size that it was seen to have: one that grows meanwhile is no reason for more. One of a
    /// filesystem that tells no size may have any that is copied.
    fn read(&mut self, file: OwnedFd, name: &str, size: i64) -> Result<(), Error> {
        let most = match size {
            0 => COPIED_BYTES,
            size => size,
        };
        self.bytes.clear();
        // With room for all of it, one call reads it.
        self.bytes.reserve(usize::try_from(most).unwrap_or(0));
        let mut file = File::from(file).take(u64::try_from(most).unwrap_or(0));
        let read = file.read_to_end(&mut self.bytes);
        let failed = Error::io("read", Path::new(DIR).join(name));
        read.map(drop).map_err(failed)
    }

    fn link(&self, name: &str, target: &CStr) -> Result<(), Error> {
        match rustix::fs::symlinkat(target, &self.sandbox, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(inside(name)(errno)),
        }
    }

    fn write_last(&mut self, name: &str) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.bytes);
        let written = self.write(name, &bytes);
        self.bytes = bytes;
        written
    }

    /// Writes a new file; one that is there is not followed and not overwritten.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat(&self.sandbox, name, flags, mode).map_err(inside(name))?;
        let written = File::from(file).write_all(bytes);
        written.map_err(Error::io(
            "write, in the sandbox,",
            Path::new(DIR).join(name),
        ))
    }
}

fn open(dir: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(Error::file("read", dir))
}

fn inside(name: &str) -> impl FnOnce(Errno) -> Error {
    Error::file("make, in the sandbox,", Path::new(DIR).join(name))
}

fn is_for_everybody(stat: &Stat, kind: FileType) -> bool {
    let wanted = match kind {
        FileType::Directory => 0o005,
        _ => 0o004,
    };
    stat.st_mode & wanted == wanted
}
