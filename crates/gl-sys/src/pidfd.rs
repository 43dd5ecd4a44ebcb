//! `pidfd_send_signal(2)` with any signal number.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// Sends a signal by number, real-time signals and 0 (only checks) included.
///
/// # Kernel
///
/// `pidfd_send_signal(2)`, since 5.1.
///
/// # Errors
///
/// - `ESRCH`: the process is gone.
/// - `EINVAL`: no such signal.
/// - `EPERM`: it belongs to somebody else.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the borrow keeps the descriptor open; without a siginfo no memory is involved.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret).map(drop)
}
