//! Who is at the other end of a unix socket.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::check::check;

/// The process at the other end of a connected unix socket, or the one that listened there, in the
/// numbers of our pid namespace: 0 for one that is outside.
///
/// rustix has this call, with a type for the number that cannot be 0.
///
/// # Kernel
///
/// `getsockopt(2)` with `SO_PEERCRED`; unix(7).
///
/// # Errors
///
/// `ENOTSOCK` if it is no socket, `EINVAL` if the kernel answers with another size.
pub fn peer_pid(socket: BorrowedFd<'_>) -> Result<i32, Errno> {
    let mut credentials = MaybeUninit::<libc::ucred>::zeroed();
    let mut len =
        libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(|_err| Errno::INVAL)?;
    let want = len;
    // SAFETY: the borrow keeps the descriptor open. The kernel writes at most `len` bytes, which is the
    // size of what the first pointer points at, and the length; both live until after the call.
    let ret = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            credentials.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    check(ret.into())?;
    if len != want {
        return Err(Errno::INVAL);
    }
    // SAFETY: it was zeroed, and three numbers have no invalid value.
    Ok(unsafe { credentials.assume_init() }.pid)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_who_made_it() {
        let (one, _other) = UnixStream::pair().unwrap();
        let pid = peer_pid(one.as_fd()).unwrap();
        assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
    }

    #[test]
    fn a_file_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(peer_pid(file.as_fd()), Err(Errno::NOTSOCK));
    }
}
