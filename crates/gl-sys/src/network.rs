//! Network namespaces by their sockets: as much as a new one needs.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl};

use crate::check::check;

/// `SIOCSIFFLAGS` of `<linux/sockios.h>`.
const SIOCSIFFLAGS: Opcode = 0x8914;

/// `SIOCGSKNS` of `<linux/sockios.h>`.
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// `lo`, in the type that a C character has here.
const LO: [libc::c_char; 2] = [0x6c, 0x6f];

/// Brings the loopback interface of this network namespace up. `socket` is any socket in it.
///
/// It makes the one system call, and leaves `errno` of the C library alone.
///
/// # Kernel
///
/// `netdevice(7)`, `SIOCSIFFLAGS`.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub fn raise_loopback(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: ifreq is a C structure of integers, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (slot, letter) in request.ifr_name.iter_mut().zip(LO) {
        *slot = letter;
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).unwrap_or(1);
    // SAFETY: this request takes an ifreq and only reads it.
    let up = unsafe { Setter::<SIOCSIFFLAGS, libc::ifreq>::new(request) };
    // SAFETY: as above; it changes nothing of this process.
    unsafe { ioctl(socket, up) }
}

/// Opens the network namespace of `socket`, for `setns(2)`.
///
/// # Kernel
///
/// `SIOCGSKNS`, since 4.10. The descriptor is close-on-exec.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub fn network_namespace(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the borrow keeps the socket open; this request takes no argument.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    let raw = RawFd::try_from(check(ret.into())?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the call succeeded, so the kernel made this descriptor for us and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
