//! What must not stay behind a root that is only moved over the host's: procfs, sysfs and cgroupfs.
//!
//! The kernel lets a user namespace mount a new procfs or sysfs only where a complete one is visible
//! in the mount namespace already. The container's own has masks; the host's, hidden below the new
//! root but still in the namespace, has none.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Filesystems that show or change the host.
const VIEWS: [&[u8]; 4] = [b"proc", b"sysfs", b"cgroup", b"cgroup2"];

/// Detaches the host's from this mount namespace; what is at or below `root` stays.
///
/// # Errors
///
/// As `umount2(2)`: `EINVAL` in a user namespace, where the host's mounts are locked.
pub(crate) fn drop_host_views(root: &Path) -> Result<(), Errno> {
    let mut paths = views(&read_mountinfo()?);
    paths.retain(|path| !path.starts_with(root));
    // What is mounted on another goes first.
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    paths
        .iter()
        .try_for_each(|path| rustix::mount::unmount(path, flags))
}

/// Where something is mounted, in this mount namespace.
pub(crate) fn mount_points() -> Result<Vec<PathBuf>, Errno> {
    let text = read_mountinfo()?;
    let lines = text.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.map(unescape).collect())
}

fn read_mountinfo() -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty())?;
    let mut text = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        match rustix::io::read(&file, &mut chunk)? {
            0 => return Ok(text),
            len => text.extend_from_slice(chunk.get(..len).unwrap_or_default()),
        }
    }
}

/// The mount points of such filesystems, by `proc_pid_mountinfo(5)`.
fn views(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let path = fields.nth(4)?;
            let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
            VIEWS.contains(&fstype).then(|| unescape(path))
        })
        .collect()
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_views_of_the_host_are_found_with_their_real_names() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            23 27 0:22 / /a\\040b rw shared:1 master:2 - sysfs sysfs rw\n\
            24 27 0:23 / /tmp rw - tmpfs proc rw\n\
            25 27 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let want = ["/proc", "/a b", "/sys/fs/cgroup"].map(PathBuf::from);
        assert_eq!(views(text), want);
    }
}
