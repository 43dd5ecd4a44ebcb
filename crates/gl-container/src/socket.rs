//! Unix sockets that an engine listens on: for terminals and for process descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::Error;

/// Connects to a stream socket by path.
pub(crate) fn connect(option: &'static str, path: &Path) -> Result<OwnedFd, Error> {
    let connect = || {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    connect().map_err(|source: Errno| Error::Option {
        option,
        problem: format!("connect to {}: {source}", path.display()).into(),
        remedy: "name a socket that the engine listens on",
    })
}

/// The option that names the socket for a pidfd.
pub(crate) const PIDFD: &str = "--pidfd-socket";

/// Sends a pidfd over a connected socket, as `--pidfd-socket` asks.
pub(crate) fn send_pidfd(socket: &OwnedFd, pidfd: BorrowedFd<'_>) -> Result<(), Error> {
    gl_launch::send_fd(socket.as_fd(), pidfd, b"pidfd")
        .map_err(Error::host("send a pidfd to the socket of --pidfd-socket"))
}
