//! What kind of namespace a file refers to.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::check::check;

/// `NS_GET_NSTYPE` of `<linux/nsfs.h>`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

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
