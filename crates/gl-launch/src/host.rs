//! What the plan needs to know of the host, and the runtime's own read-only copy of itself.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use gl_plan::{Facts, Setgroups, attr};
use gl_spec::Capacity;
use gl_sys::{CStrings, Depth, MountAttr};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::error::Error;
use crate::rootless;

/// Looks at what a plan depends on: a few system calls.
///
/// Read once, as [`in_user_namespace`].
pub fn facts() -> Facts {
    static SEEN: OnceLock<Facts> = OnceLock::new();
    *SEEN.get_or_init(read_facts)
}

/// What this host has of what profiles limit, looked at once; what cannot be read has no bound.
pub fn capacity() -> Capacity {
    static SEEN: OnceLock<Capacity> = OnceLock::new();
    *SEEN.get_or_init(read_capacity)
}

fn read_capacity() -> Capacity {
    let number = |path: &str| {
        let text = read_start(path).and_then(|text| String::from_utf8(text).ok());
        text.and_then(|text| text.trim().parse().ok())
            .unwrap_or(u64::MAX)
    };
    let system = rustix::system::sysinfo();
    Capacity {
        memory: system.totalram.saturating_mul(system.mem_unit.into()),
        processors: processors(),
        tasks: number("/proc/sys/kernel/pid_max"),
        files: number("/proc/sys/fs/nr_open"),
    }
}

/// The processors that are there, whatever our affinity or cgroup says.
fn processors() -> u64 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online");
    text.map_or(u64::MAX, |list| count(&list))
}

/// How many numbers a list of the kernel's has, such as `0-3,8`; `u64::MAX` if it is none. One with every other
/// processor, as without SMT, is long.
fn count(list: &str) -> u64 {
    let counts = list.trim().split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    counts.sum::<Option<u64>>().unwrap_or(u64::MAX)
}

fn read_facts() -> Facts {
    let present = |path: &str| rustix::fs::stat(path).is_ok();
    let in_user_namespace = in_user_namespace();
    Facts {
        in_user_namespace,
        setgroups: match in_user_namespace {
            true => setgroups(),
            false => Setgroups::Allowed,
        },
        apparmor: present("/sys/kernel/security/apparmor/profiles")
            || present("/sys/module/apparmor/parameters/enabled") && apparmor_enabled(),
        selinux: present("/sys/fs/selinux/enforce"),
    }
}

fn apparmor_enabled() -> bool {
    read_start("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text.starts_with(b"Y"))
}

/// Whether this process is in another user namespace than the host's first one, which alone maps
/// every id to itself. Where that cannot be told, it is taken to be in the first: what then turns out
/// to be forbidden is an error and not left out.
///
/// Read once: the runtime stays where it was started, only its children go elsewhere.
pub fn in_user_namespace() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| {
        let map = read_start("/proc/self/uid_map").unwrap_or_default();
        let map = String::from_utf8_lossy(&map);
        let whole = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        !map.is_empty() && !whole
    })
}

fn setgroups() -> Setgroups {
    match read_start("/proc/self/setgroups") {
        Some(text) if text.starts_with(b"deny") => Setgroups::Denied,
        // If it is denied all the same, setting groups will be an error.
        _ => Setgroups::Allowed,
    }
}

/// The first bytes of a small file of the kernel.
fn read_start(path: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mut bytes = vec![0; 128];
    let len = rustix::io::read(&file, &mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// Attributes of the copy. No host mounts a file system with this combination, so a program that
/// finds itself on such a mount is the copy.
const MARK: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOSYMFOLLOW;

/// Whether the caller has just entered a user namespace that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// It is where it was started.
    AsStarted,
    /// It is: the program has to start again there, also if it is the copy, and is told.
    Entered,
}

/// Starts this program again from a read-only mount of itself that is attached nowhere, unless it
/// already runs from one. Whoever reaches it through `/proc/PID/exe` cannot write to it.
///
/// Returns when this is the copy; otherwise the program begins anew, with the same arguments.
///
/// # Kernel
///
/// `open_tree(2)` and `mount_setattr(2)`, since 5.12; where they are lacking or not permitted, a
/// sealed `memfd_create(2)` copy.
///
/// # Errors
///
/// [`Error::Host`] if neither can be had.
pub fn reexec_readonly(namespace: Namespace) -> Result<(), Error> {
    let failed = |what| move |source| Error::Host { what, source };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/exe", flags, Mode::empty())
        .map_err(failed("open the runtime's own program"))?;
    let entered = namespace == Namespace::Entered;
    if !entered && is_copy(&own).map_err(failed("inspect the runtime's own program"))? {
        // It was started by descriptor, and shows a number as its name.
        return rustix::thread::set_name(c"greenlang").map_err(failed("set the process name"));
    }
    let copy = match readonly_mount(&own) {
        Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => sealed_copy(),
        other => other,
    };
    let copy = copy.map_err(failed("make a read-only copy of the runtime's own program"))?;
    let strings = |all: Vec<Vec<u8>>| {
        // Neither arguments nor environment can hold a NUL byte.
        CStrings::new(
            all.into_iter()
                .filter_map(|s| CString::new(s).ok())
                .collect(),
        )
    };
    let args = std::env::args_os().map(OsStringExt::into_vec).collect();
    let env = std::env::vars_os()
        .filter(|(name, _)| !entered || !rootless::is_mark(name))
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
        .chain(entered.then(|| rootless::MARK.as_bytes().to_vec()))
        .collect();
    let errno = gl_sys::execve_fd(copy.as_fd(), &strings(args), &strings(env));
    Err(failed(
        "start the read-only copy of the runtime's own program",
    )(errno))
}

/// Whether users and groups with these ids, and no power over the files of others, have no right to write to
/// this program or to change its mode.
///
/// # Errors
///
/// [`Error::Host`] if it cannot be looked at.
pub fn is_out_of_reach(ids: &Range<u32>) -> Result<bool, Error> {
    let failed = |source| Error::Host {
        what: "inspect the runtime's own program",
        source,
    };
    let own = rustix::fs::stat("/proc/self/exe").map_err(failed)?;
    let belongs = ids.contains(&own.st_uid) || ids.contains(&own.st_gid);
    // Of an access list the mode shows the union in the group's bits.
    Ok(!belongs && own.st_mode & 0o022 == 0)
}

fn is_copy(own: &OwnedFd) -> Result<bool, Errno> {
    let flags = rustix::fs::fstatvfs(own)?.f_flag;
    let wanted = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    if flags.contains(wanted) && flags.bits() & ST_NOSYMFOLLOW != 0 {
        return Ok(true);
    }
    // The sealed copy is a file without a name.
    match rustix::fs::fcntl_get_seals(own) {
        Ok(seals) => Ok(seals.contains(SealFlags::WRITE)),
        Err(_) => memfd_is_sealed(),
    }
}

/// `ST_NOSYMFOLLOW` of `statfs(2)`, since 5.10.
const ST_NOSYMFOLLOW: u64 = 0x2000;

/// Seals cannot be read through an `O_PATH` descriptor.
fn memfd_is_sealed() -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/exe", flags, Mode::empty())?;
    match rustix::fs::fcntl_get_seals(&own) {
        Ok(seals) => Ok(seals.contains(SealFlags::WRITE)),
        // Not a memfd.
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn readonly_mount(own: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(own, "", flags)?;
    let change = MountAttr {
        set: MARK,
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, Depth::Top)?;
    Ok(tree)
}

fn sealed_copy() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let source = rustix::fs::open("/proc/self/exe", flags, Mode::empty())?;
    let copy =
        rustix::fs::memfd_create("greenlang", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    while rustix::fs::sendfile(&copy, &source, None, 1 << 30)? > 0 {}
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn list_of_processors_is_counted_whole() {
        let every_other: Vec<_> = (0..512).step_by(2).map(|one| one.to_string()).collect();
        for (list, want) in [
            ("0\n", 1),
            ("0-3,8,10-11\n", 7),
            (&every_other.join(","), 256),
            ("\n", u64::MAX),
            ("3-0\n", u64::MAX),
        ] {
            assert_eq!(count(list), want, "{list:?}");
        }
    }
}
