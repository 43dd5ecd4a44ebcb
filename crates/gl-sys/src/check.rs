//! From a raw system call's return value to a `Result`.

use rustix::io::Errno;

/// Turns the C library's `-1` and `errno` into an [`Errno`], anything else into the value.
pub(crate) fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret == -1 {
        return Err(last_errno());
    }
    Ok(ret)
}

/// What the last call that failed said.
pub(crate) fn last_errno() -> Errno {
    let errno = std::io::Error::last_os_error();
    errno
        .raw_os_error()
        .map_or(Errno::INVAL, Errno::from_raw_os_error)
}
