//! Unix sockets that an engine listens on: for terminals and for process descriptors.

use std::os::fd::{AsFd, OwnedFd};
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

/// Sends a pidfd, as `--pidfd-socket` asks.
pub(crate) fn send_pidfd(path: &Path, pidfd: &OwnedFd) -> Result<(), Error> {
    let socket = connect("--pidfd-socket", path)?;
    gl_launch::send_fd(socket.as_fd(), pidfd.as_fd(), b"pidfd")
        .map_err(Error::file("send a pidfd to", path))
}
