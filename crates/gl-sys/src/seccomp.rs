//! `seccomp(2)`: attach a filter, and ask what this kernel can do.
//!
//! Everything here works in a child after a fork: no allocation, no lock. Which filter is right,
//! and in what order it is attached among the other restrictions, is the caller's.

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// `linux/seccomp.h`; the C library's constant has the width of a long.
const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 1 << 3;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInsn {
    /// Operation, `BPF_*` of `linux/bpf_common.h`.
    pub code: u16,
    /// Instructions to skip if the condition holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Attaches a filter to the calling thread, for ever.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`; with `NEW_LISTENER` the listener comes back. The kernel
/// sets `O_CLOEXEC` on it.
///
/// # Kernel
///
/// `seccomp(2)`, `SECCOMP_SET_MODE_FILTER`, since 3.17. The program is copied.
///
/// # Errors
///
/// - `EINVAL`: the program is empty, longer than 4096 instructions or does not verify, or the kernel
///   lacks a flag.
/// - `EACCES`: neither `no_new_privs` nor `CAP_SYS_ADMIN` in the user namespace.
/// - `EBUSY`: `NEW_LISTENER`, and a filter with a listener is there already.
/// - `ENOMEM`: the filters of this thread would be longer than 32768 instructions together.
/// - `ESRCH`: `TSYNC`, and another thread has a filter of its own. Nothing was attached.
pub fn seccomp_set_filter(flags: u32, program: &[BpfInsn]) -> Result<Option<OwnedFd>, Errno> {
    let len = u16::try_from(program.len()).or(Err(Errno::INVAL))?;
    let fprog = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `fprog` and the slice that it points into live until the call returns, and `len` is
    // the slice's own. `BpfInsn` is `repr(C)` with the fields of `sock_filter`. The kernel only reads
    // both, in spite of the mutable pointer type, and keeps no pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            ptr::from_ref(&fprog),
        )
    };
    let ret = check(ret)?;
    if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        let fd = RawFd::try_from(ret).or(Err(Errno::BADF))?;
        // SAFETY: the call succeeded with NEW_LISTENER, so `fd` is a descriptor that the kernel has
        // just made and that nothing else owns.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    match ret {
        0 => Ok(None),
        // Without `TSYNC_ESRCH` a positive result is the thread that could not be synchronised.
        _ => Err(Errno::SRCH),
    }
}

/// Tells whether the kernel knows all of `flags` (`SECCOMP_FILTER_FLAG_*`), attaching nothing.
///
/// The kernel looks at the flags before it reads the program, so a null program is refused with
/// `EFAULT` exactly if the flags are good.
///
/// # Kernel
///
/// `seccomp(2)`, as its man page tells under `SECCOMP_SET_MODE_FILTER`.
pub fn seccomp_flags_known(flags: u32) -> bool {
    // SAFETY: the pointer is null, so there is nothing that the kernel could read; it fails with
    // EFAULT or earlier, and no filter is attached.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            ptr::null::<libc::sock_fprog>(),
        )
    };
    check(ret) == Err(Errno::FAULT)
}

/// Tells whether the kernel knows `action` (`SECCOMP_RET_*`).
///
/// # Kernel
///
/// `seccomp(2)`, `SECCOMP_GET_ACTION_AVAIL`, since 4.14.
pub fn seccomp_action_known(action: u32) -> bool {
    // SAFETY: `action` is a live `u32`, which is what the kernel reads for this operation.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            ptr::from_ref(&action),
        )
    };
    ret == 0
}
