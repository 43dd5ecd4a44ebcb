//! What kind of namespace a file refers to, and which one is above it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::check::check;

/// `NS_GET_NSTYPE` of `<linux/nsfs.h>`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
/// `NS_GET_PARENT`.
const NS_GET_PARENT: libc::Ioctl = 0xb702;

/// The `CLONE_NEW*` bit of the namespace that `file` is open on.
///
/// # Kernel
///
/// `ioctl_nsfs(2)`, `NS_GET_NSTYPE`, since 4.11.
///
/// # Errors
///
/// `ENOTTY`: the file is no namespace.
pub fn namespace_type(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: the borrow keeps the descriptor open; this request takes no argument.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    check(ret.into()).map(i64::cast_unsigned)
}

/// Opens the pid or user namespace above the one that `file` is open on.
///
/// # Kernel
///
/// `ioctl_nsfs(2)`, `NS_GET_PARENT`, since 4.9. The descriptor is close-on-exec.
///
/// # Errors
///
/// - `EPERM`: that one is above the caller's own namespace, or there is none.
/// - `EINVAL`: the namespace is of a kind that has no tree.
/// - `ENOTTY`: the file is no namespace.
pub fn parent_namespace(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the borrow keeps the descriptor open; this request takes no argument.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_PARENT) };
    let raw = RawFd::try_from(check(ret.into())?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the call succeeded, so the kernel made this descriptor for us and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
