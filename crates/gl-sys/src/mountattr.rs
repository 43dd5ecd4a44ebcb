//! `mount_setattr(2)`: attributes of open mounts, with no path in between.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// What to change: `struct mount_attr` of `<linux/mount.h>`, bits as the kernel spells them
/// (`MOUNT_ATTR_*`, `MS_PRIVATE` and its kin).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear; `MOUNT_ATTR__ATIME` before a new access-time mode.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 for no change.
    pub propagation: u64,
    /// A user namespace descriptor for `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

/// How much of a mount tree a call acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The mount itself.
    Top,
    /// The mount and every mount below it.
    Tree,
}

/// Changes the attributes of the mount that `mount` refers to.
///
/// Acts on the open mount (`AT_EMPTY_PATH`) and walks no path, so nothing in the container's
/// filesystem can redirect it. With [`Depth::Tree`] the change is atomic over the tree.
///
/// # Kernel
///
/// `mount_setattr(2)`, since 5.12.
///
/// # Errors
///
/// - `EINVAL`: `mount` is not the root of a mount, or `attr` contradicts itself.
/// - `EPERM`: no `CAP_SYS_ADMIN` in the owning user namespace, or a locked flag would be cleared.
/// - `ENOSYS`: the kernel is older than 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, attr: &MountAttr, depth: Depth) -> Result<(), Errno> {
    let flags = match depth {
        Depth::Top => libc::AT_EMPTY_PATH,
        Depth::Tree => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: the borrow keeps the descriptor open. The path is a static C string, and `attr` is a
    // live `repr(C)` struct of the size passed. The kernel reads both and keeps neither pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    check(ret).map(drop)
}
