//! Small pieces that every stage uses: attach a mount by descriptor, make a filesystem.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_plan::attr;
use rustix::fs::FsWord;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::failure::{Failure, Note, Step};

/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
pub(crate) const PROC_MAGIC: FsWord = 0x9fa0;

/// Puts the mount `tree` onto what `target` is open on.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

/// Clones the mount that `tree` refers to; it must be attached in this mount namespace.
pub(crate) fn clone_mount(tree: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(tree, "", flags)
}

/// Whether `fd` is on a procfs.
pub(crate) fn on_procfs(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROC_MAGIC)
}

/// What mount options are as bits of `MOUNT_ATTR_*`, and for `mount(2)`.
const FLAGS: [(u64, MountFlags); 7] = [
    (attr::NOSUID, MountFlags::NOSUID),
    (attr::NODEV, MountFlags::NODEV),
    (attr::NOEXEC, MountFlags::NOEXEC),
    (attr::NOATIME, MountFlags::NOATIME),
    (attr::STRICTATIME, MountFlags::STRICTATIME),
    (attr::NODIRATIME, MountFlags::NODIRATIME),
    (attr::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
];

/// How a filesystem is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'home> {
    /// By [`mount_at_once`] where that works; the working directory, to come back to.
    Short(&'home OwnedFd),
    /// By [`Filesystem`].
    Long,
}

/// Those of whose parameters none is a path: one that is relative would be looked up below the mount point.
const WITHOUT_PATHS: [&str; 4] = ["cgroup", "devpts", "mqueue", "tmpfs"];

/// Makes a filesystem and puts it at `name` below `dir`, or onto what `dir` is open on without a name, by three calls
/// in place of eight: `false` if that did not work, or does not do for it, and nothing was done.
///
/// [`Filesystem`] is for all else: it says what the kernel refuses, its mount can be held, and it can be read-only
/// without a superblock that is.
///
/// # Errors
///
/// [`Failure`] of [`Step::MountPoint`] if the way back to the working directory is closed.
pub(crate) fn mount_at_once(
    way: Way<'_>,
    (fstype, source): (&str, &str),
    (dir, name): (BorrowedFd<'_>, Option<&str>),
    attributes: u64,
    parameters: &[(&str, Option<&str>)],
) -> Result<bool, Failure> {
    let Way::Short(home) = way else {
        return Ok(false);
    };
    let known = FLAGS.iter().fold(0, |all, (bit, _)| all | bit);
    let is_plain = attributes & !known == 0 && !source.is_empty();
    let Some(data) = joined(parameters).filter(|_| is_plain && WITHOUT_PATHS.contains(&fstype))
    else {
        return Ok(false);
    };
    let set = FLAGS.iter().filter(|(bit, _)| attributes & bit != 0);
    let flags = set.fold(MountFlags::empty(), |all, (_, flag)| all | *flag);
    if rustix::process::fchdir(dir).is_err() {
        return Ok(false);
    }
    // A path would be walked from the host's root; this one is where it is, whatever became of its name.
    let target = name.unwrap_or(".");
    let mounted = rustix::mount::mount(source, target, fstype, flags, &*data);
    rustix::process::fchdir(home).map_err(Failure::of(Step::MountPoint))?;
    Ok(mounted.is_ok())
}

/// Parameters as `mount(2)` takes them; none if it would take them for others.
fn joined(parameters: &[(&str, Option<&str>)]) -> Option<CString> {
    let mut data = String::new();
    for (key, value) in parameters {
        // After a comma, a number is a part of the value before it, to some.
        let is_key = key.starts_with(|first: char| first.is_ascii_alphabetic());
        let is_whole = |word: &str| !word.contains([',', '\\']);
        if !is_key || key.contains('=') || !is_whole(key) || !value.is_none_or(is_whole) {
            return None;
        }
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(key);
        if let Some(value) = value {
            data.push('=');
            data.push_str(value);
        }
    }
    // The kernel reads a page.
    CString::new(data)
        .ok()
        .filter(|data| data.as_bytes().len() < 4096)
}

/// A filesystem being configured.
#[derive(Debug)]
pub(crate) struct Filesystem {
    context: OwnedFd,
}

impl Filesystem {
    pub(crate) fn open(fstype: &str) -> Result<Self, Failure> {
        let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(Failure::at(Step::OpenFilesystem, fstype))?;
        Ok(Self { context })
    }

    pub(crate) fn set(&self, key: &str, value: Option<&str>) -> Result<(), Failure> {
        let result = match value {
            Some(value) => rustix::mount::fsconfig_set_string(&self.context, key, value),
            None => rustix::mount::fsconfig_set_flag(&self.context, key),
        };
        result.map_err(|errno| self.explain(Step::SetParameter, key, errno))
    }

    /// Creates the instance as a detached mount with these `MOUNT_ATTR_*` bits.
    pub(crate) fn mount(&self, attr: u64) -> Result<OwnedFd, Failure> {
        let failed = |errno| self.explain(Step::CreateFilesystem, "", errno);
        rustix::mount::fsconfig_create(&self.context).map_err(failed)?;
        let attr =
            u32::try_from(attr).map_err(|_err: std::num::TryFromIntError| failed(Errno::INVAL))?;
        rustix::mount::fsmount(
            self.context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::from_bits_retain(attr),
        )
        .map_err(failed)
    }

    /// What is left of it once it is mounted.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.context
    }

    /// Adds what the filesystem itself said, which it leaves to be read from the context.
    fn explain(&self, step: Step, what: &str, errno: Errno) -> Failure {
        let mut message = [0; Note::CAPACITY];
        let text = match rustix::io::read(&self.context, &mut message) {
            // "e tmpfs: Unknown parameter 'x'": the first two bytes are the severity.
            Ok(len) => message.get(2..len).unwrap_or_default().trim_ascii_end(),
            Err(_) => what.as_bytes(),
        };
        Failure {
            step,
            index: 0,
            errno,
            note: Note::new(if text.is_empty() {
                what.as_bytes()
            } else {
                text
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::joined;

    fn all(parameters: &[(&str, Option<&str>)]) -> Option<String> {
        joined(parameters).map(|data| data.into_string().unwrap())
    }

    #[test]
    fn parameters_that_mount_would_take_for_others_are_not_joined() {
        let plain = [
            ("mode", Some("755")),
            ("newinstance", None),
            ("size", Some("")),
        ];
        assert_eq!(all(&plain).as_deref(), Some("mode=755,newinstance,size="));
        assert_eq!(all(&[]).as_deref(), Some(""));
        let long = "x".repeat(4096);
        for other in [
            ("", Some("x")),
            ("", None),
            ("0", None),
            ("a=b", None),
            ("a,b", None),
            ("mpol", Some("bind:0,1")),
            ("size", Some("1\\k")),
            ("size", Some("1\0k")),
            ("size", Some(&*long)),
        ] {
            assert_eq!(all(&[("mode", Some("755")), other]), None, "{other:?}");
        }
    }
}
