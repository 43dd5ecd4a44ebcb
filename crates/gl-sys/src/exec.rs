//! The end of a process's life as us: `execve(2)`, `execveat(2)`, `close_range(2)`, `_exit(2)`.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// A null-terminated array of C strings, as `execve` takes for arguments and environment.
#[derive(Debug)]
pub struct CStrings {
    /// Owns what `pointers` points at; never changed after construction.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    /// Takes the strings and lays out the pointer array.
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<*const c_char> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Self {
            _strings: strings,
            pointers,
        }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Replaces this process with the program at `path`; returns only on failure.
///
/// # Errors
///
/// Whatever `execve(2)` says: `ENOENT` (also for a missing interpreter), `EACCES`, `ENOEXEC`,
/// `E2BIG`.
pub fn execve(path: &CStr, args: &CStrings, env: &CStrings) -> Errno {
    // SAFETY: all three pointers are to live, null-terminated data owned by the borrowed values;
    // on success this process image is gone, on failure the kernel has kept none of them.
    let ret = unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    check(ret.into()).err().unwrap_or(Errno::INVAL)
}

/// Replaces this process with the program that `file` is open on; returns only on failure.
///
/// # Kernel
///
/// `execveat(2)` with `AT_EMPTY_PATH`, since 3.19. A script (`#!`) needs `file` without
/// close-on-exec; a binary does not.
///
/// # Errors
///
/// As [`execve`].
pub fn execve_fd(file: BorrowedFd<'_>, args: &CStrings, env: &CStrings) -> Errno {
    // SAFETY: the borrow keeps the descriptor open, the path is a static C string, and both arrays
    // are live and null-terminated; the kernel keeps no pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(ret).err().unwrap_or(Errno::INVAL)
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Kernel
///
/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC`, since 5.11.
///
/// # Errors
///
/// `EINVAL` or `ENOSYS` on an older kernel.
pub fn cloexec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only; no memory is involved, and close-on-exec changes nothing for the
    // owners of the descriptors while this program runs.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(ret).map(drop)
}

/// Whether a descriptor, known by its number only, is open and would stay so over an execve.
///
/// Of a program that opens everything close-on-exec those are the ones it was started with.
pub fn stays_over_exec(number: u32) -> bool {
    // SAFETY: reads the flags of a number; no memory is involved.
    let flags = unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Keeps a descriptor, known by its number only, over an execve.
///
/// # Errors
///
/// `EBADF`: it is not open.
pub fn keep_over_exec(number: u32) -> Result<(), Errno> {
    // SAFETY: clears the close-on-exec flag of a number; who owns the descriptor, if anybody, does
    // not notice while this program runs.
    let ret = unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, 0) };
    check(ret.into()).map(drop)
}

/// Closes every descriptor from `first` on, but for those in `keep`.
///
/// # Kernel
///
/// `close_range(2)`, since 5.9.
///
/// # Errors
///
/// `ENOSYS` on an older kernel; some descriptors may be closed by then.
///
/// # Safety
///
/// No owner of a descriptor that is closed here uses or drops it afterwards. A child after a fork can
/// promise that of everything that it never touches again, as it ends in `execve` or [`exit_now`].
pub unsafe fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut from = first;
    for number in kept.into_iter().filter(|number| *number >= first) {
        if number > from {
            // SAFETY: the range holds none of the kept descriptors; the caller vouches for the rest.
            unsafe { close_between(from, number - 1) }?;
        }
        from = number + 1;
    }
    // SAFETY: as above.
    unsafe { close_between(from, u32::MAX) }
}

/// # Safety
///
/// As [`close_all_but`].
pub(crate) unsafe fn close_between(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only; the caller vouches that nobody uses these descriptors any more.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(ret).map(drop)
}

/// Ends the process at once: no destructors, no exit handlers, no flushing.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes a number and does not return; that destructors do not run is the point.
    unsafe { libc::_exit(status) }
}
