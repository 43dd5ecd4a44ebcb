//! From a plain user to root of a user namespace: what a launch without root begins with.
//!
//! The runtime makes a user namespace in which the user is root and the ids of `/etc/subuid` and
//! `/etc/subgid` follow, enters it with a mount namespace of its own, and starts again there
//! ([`crate::reexec_readonly`]). From then on it works as any root of a user namespace does. Who
//! needs a container's namespaces later enters the one that was made for it.

mod error;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use gl_plan::ids::{self, own_map};
use gl_plan::{IdMaps, IdRange, Kind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{Gid, Uid, UnshareFlags};

pub use error::Error;

use crate::idmap::{self, write_maps};
use crate::namespace::{self, write_file};

/// Tells the program that starts again that it has made the user namespace that it is in.
pub(crate) const MARK: &str = "GREENLANG_USERNS=own";

/// Where the tools that map other ids than the user's own are. The caller's `PATH` has no say: what
/// is run decides over ids.
const TOOL_DIRS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/run/wrappers/bin"];

/// Whether this process is a user without root, who has to become root of a user namespace first.
#[must_use]
pub fn is_plain_user() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Whether this process is root of a user namespace that it made for itself: ids of a config are
/// those outside of it then.
#[must_use]
pub fn made_own_namespace() -> bool {
    let (name, value) = mark();
    !is_plain_user()
        && crate::in_user_namespace()
        && std::env::var_os(name).is_some_and(|found| found == value)
}

fn mark() -> (&'static str, &'static str) {
    MARK.split_once('=').unwrap_or((MARK, ""))
}

/// Whether an environment variable of this name is [`MARK`].
pub(crate) fn is_mark(name: &OsStr) -> bool {
    name == mark().0
}

/// The maps of the user namespace that this process is in.
///
/// # Errors
///
/// [`Error::Host`] if they cannot be read.
pub fn current_maps() -> Result<IdMaps, Error> {
    let read = |path: &'static str| {
        std::fs::read_to_string(path)
            .map(|text| ids::parse_map(&text))
            .map_err(|err| Error::Host {
                what: "read the id maps of the runtime",
                source: Errno::from_io_error(&err).unwrap_or(Errno::IO),
            })
    };
    Ok(IdMaps {
        uid: read("/proc/self/uid_map")?,
        gid: read("/proc/self/gid_map")?,
    })
}

/// The uid of whoever called the runtime, as that user's own namespace has it.
#[must_use]
pub fn caller() -> u32 {
    let uid = rustix::process::getuid().as_raw();
    if !made_own_namespace() {
        return uid;
    }
    let maps = current_maps().unwrap_or_default();
    let line = maps.uid.iter().find(|line| line.container == uid);
    line.map_or(uid, |line| line.host)
}

/// The name of a user by `/etc/passwd`; empty if it has none there.
#[must_use]
pub fn user_name(uid: u32) -> String {
    let text = std::fs::read("/etc/passwd").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let wanted = uid.to_string();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then(|| name.to_owned())
    });
    found.unwrap_or_default()
}

/// A user without root, and the ids at hand.
#[derive(Debug)]
pub struct User {
    uid: u32,
    gid: u32,
    /// For messages: the name, or the number of one that has none.
    name: String,
    subordinate: Result<IdMaps, Missing>,
}

/// What keeps a user from more than one id.
#[derive(Debug, Clone, Copy)]
enum Missing {
    Ranges(&'static str),
    Tool(&'static str),
}

impl User {
    /// The user that this process runs as.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if `/etc/subuid` or `/etc/subgid` is there and cannot be read.
    pub fn current() -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let name = user_name(uid);
        let map = |file, own| -> Result<Result<Vec<IdRange>, Missing>, Error> {
            let ranges = ids::subordinate(&read_ranges(file)?, &name, uid);
            Ok(match ranges.is_empty() {
                true => Err(Missing::Ranges(file)),
                false => Ok(own_map(own, &ranges)),
            })
        };
        let (uids, gids) = (map("/etc/subuid", uid)?, map("/etc/subgid", gid)?);
        let subordinate = uids.and_then(|uid| gids.map(|gid| IdMaps { uid, gid }));
        let missing = ["newuidmap", "newgidmap"]
            .into_iter()
            .find(|name| tool(name).is_none());
        Ok(Self {
            subordinate: match (subordinate, missing) {
                (Ok(_), Some(name)) => Err(Missing::Tool(name)),
                (other, _) => other,
            },
            name: match name.is_empty() {
                true => uid.to_string(),
                false => name,
            },
            uid,
            gid,
        })
    }

    /// The uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The gid.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The maps of all ids that the user owns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRanges`] or [`Error::NoTool`]: there is only [`User::own_maps`] then.
    pub fn maps(&self) -> Result<IdMaps, Error> {
        match &self.subordinate {
            Ok(maps) => Ok(maps.clone()),
            Err(Missing::Ranges(file)) => Err(Error::NoRanges {
                user: self.name.clone(),
                file,
            }),
            Err(Missing::Tool(tool)) => Err(Error::NoTool {
                user: self.name.clone(),
                tool,
            }),
        }
    }

    /// The maps of the user's own uid and gid alone, which take no privilege.
    #[must_use]
    pub fn own_maps(&self) -> IdMaps {
        IdMaps {
            uid: own_map(self.uid, &[]),
            gid: own_map(self.gid, &[]),
        }
    }
}

fn read_ranges(file: &'static str) -> Result<String, Error> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(err) => Err(Error::Read {
            file,
            source: Errno::from_io_error(&err).unwrap_or(Errno::IO),
        }),
    }
}

fn tool(name: &str) -> Option<std::path::PathBuf> {
    let mut paths = TOOL_DIRS.iter().map(|dir| Path::new(dir).join(name));
    paths.find(|path| rustix::fs::stat(path).is_ok())
}

/// Makes a user namespace with these maps and becomes root of it, with a mount namespace of its own.
///
/// The program has to start again after it: the kernel shows a process that was not executed there
/// as the host's root's.
///
/// # Errors
///
/// [`Error`]; nothing is left of the namespace then.
pub fn become_root(maps: &IdMaps) -> Result<(), Error> {
    let alone = maps.uid.len() == 1 && maps.gid.len() == 1;
    let made = idmap::namespace_of_child(
        |pid| match alone {
            true => write_own(pid, maps),
            false => run_tool("newuidmap", pid, &maps.uid)
                .and_then(|()| run_tool("newgidmap", pid, &maps.gid)),
        },
        |source| Error::Create { source },
    )?;
    enter(&made)
}

/// One's own id may be mapped by oneself, once groups are fixed: they could be a way to less.
fn write_own(pid: Pid, maps: &IdMaps) -> Result<(), Error> {
    let failed = |file| move |source| Error::Map { file, source };
    let path = format!("/proc/{}/setgroups", pid.as_raw_nonzero());
    write_file(Path::new(&path), b"deny").map_err(failed("setgroups"))?;
    write_maps(pid, "uid_map", &maps.uid).map_err(failed("uid_map"))?;
    write_maps(pid, "gid_map", &maps.gid).map_err(failed("gid_map"))
}

fn run_tool(name: &'static str, pid: Pid, map: &[IdRange]) -> Result<(), Error> {
    let failed = |said: String| Error::Tool { tool: name, said };
    let path = tool(name).ok_or_else(|| failed("it is gone".to_owned()))?;
    let words = map
        .iter()
        .flat_map(|line| [line.container, line.host, line.size]);
    // It gets what the caller left open, as if the caller ran it: closing that on execve would keep
    // it from the container.
    let output = Command::new(path)
        .arg(pid.as_raw_nonzero().to_string())
        .args(words.map(|word| word.to_string()))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|err| failed(err.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(match said.trim() {
        "" => failed(output.status.to_string()),
        said => failed(said.replace('\n', "; ")),
    })
}

/// Becomes root of the user namespace that was made for the container of `init`, as
/// [`become_root`].
///
/// # Errors
///
/// [`Error::NotOurs`] if no user namespace below this process's own one holds `init`;
/// [`Error::Enter`].
pub fn join_root(init: Pid) -> Result<(), Error> {
    let failed = |source| Error::Enter {
        what: "open the user namespace of the container",
        source,
    };
    let open = |path: &str| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
    };
    let identity = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).map_err(failed)?;
        Ok::<_, Error>((stat.st_dev, stat.st_ino))
    };
    let own = identity(&open("/proc/self/ns/user")?)?;
    let mut found = open(&format!("/proc/{}/ns/user", init.as_raw_nonzero()))?;
    if identity(&found)? == own {
        return Err(Error::NotOurs);
    }
    // The container may have one of its own below the one that the runtime made.
    loop {
        let above = match gl_sys::parent_namespace(found.as_fd()) {
            Err(Errno::PERM) => return Err(Error::NotOurs),
            other => other.map_err(failed)?,
        };
        if identity(&above)? == own {
            return enter(&found);
        }
        found = above;
    }
}

fn enter(user: &OwnedFd) -> Result<(), Error> {
    let failed = |what| move |source| Error::Enter { what, source };
    namespace::enter(user.as_fd(), Kind::User).map_err(failed("enter the user namespace"))?;
    // One that is its own, or nothing could be mounted, nor be come back to.
    gl_sys::unshare(UnshareFlags::NEWNS.bits()).map_err(failed("make a mount namespace"))?;
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .map_err(failed("become root of the user namespace"))
}
