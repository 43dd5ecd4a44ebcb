//! The start gate: init waits at a socket in the state directory until `start` comes.
//!
//! The listening socket is held by init alone and closed by its execve, so whether a container has
//! started can be told by trying to connect. `start` sends a record, and reads either the end of
//! the connection after [`Kind::Executing`] (the execve succeeded) or a failure.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::record::{Channel, Kind};

/// The socket's name in the state directory.
pub const GATE: &str = "gate.sock";

/// Whether an init waits at its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It does: the container is created.
    Yes,
    /// It does not: it has started, or never got there.
    No,
}

/// The address of the gate below an open state directory. The detour through procfs keeps it short:
/// a socket address holds 107 bytes, a state directory may be longer.
fn address(dir: BorrowedFd<'_>) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", dir.as_raw_fd()))
}

/// Makes the gate. A connection waits in its queue until init is ready for it.
///
/// # Errors
///
/// As `bind(2)`.
pub(crate) fn listen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &address(dir)?)?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

fn connect(dir: BorrowedFd<'_>) -> Result<Channel, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &address(dir)?)?;
    Ok(Channel::new(socket))
}

/// Whether init waits at the gate of this state directory.
///
/// # Errors
///
/// As `connect(2)`, but for those that mean "no".
pub fn waiting(dir: BorrowedFd<'_>) -> Result<Waiting, Errno> {
    match connect(dir) {
        Ok(_) => Ok(Waiting::Yes),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Waiting::No),
        Err(errno) => Err(errno),
    }
}

/// Connects to the gate to open it; `None` if nobody waits there.
pub(crate) fn knock(dir: BorrowedFd<'_>) -> Result<Option<Channel>, Errno> {
    match connect(dir) {
        Ok(channel) => Ok(Some(channel)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// In init: waits until somebody opens the gate, and returns the connection to report on.
pub(crate) fn wait(gate: &OwnedFd) -> Result<Channel, Errno> {
    loop {
        let accepted = match rustix::net::accept_with(gate.as_fd(), SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            other => Channel::new(other?),
        };
        // Only the owner of the state directory can connect. Whoever says nothing only looked.
        match accepted.receive() {
            Ok(Some(record)) if record.kind == Kind::Go => return Ok(accepted),
            Ok(_) | Err(Errno::PROTO) => {}
            Err(errno) => return Err(errno),
        }
    }
}
