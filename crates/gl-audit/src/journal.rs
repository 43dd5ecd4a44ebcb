//! Entries for journald, in its native protocol: one datagram an entry, or a sealed memory file where an
//! entry is larger than a datagram may be.
//!
//! journald keeps its own order and seals; lines of the journal are not chained.

use std::fmt::Write as _;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::entry::{Entry, Event};
use crate::error::Error;

/// journald.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    socket: OwnedFd,
}

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long to wait for a journald that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

impl Journal {
    /// Connects to the host's journald.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`] if there is none.
    pub fn open() -> Result<Self, Error> {
        Self::at(Path::new(SOCKET))
    }

    /// Connects to whoever listens at a socket.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`] if nobody does.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let failed = |errno: Errno| failed(path, errno.into());
        let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(failed)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE)).map_err(failed)?;
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        rustix::net::connect(&socket, &address).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    /// Sends an entry, with fields `GREENLANG_EVENT`, `GREENLANG_ID`, `GREENLANG_PROFILE_HASH`,
    /// `GREENLANG_TIER`, `GREENLANG_MODE` and `GREENLANG_DATA` (JSON) beside the message.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`] if journald has gone, or has not read anything for ten seconds.
    pub fn send(&self, entry: &Entry<'_>) -> Result<(), Error> {
        let bytes = encode(entry);
        let sent = match rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL) {
            // Larger than a datagram may be.
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.send_file(&bytes),
            sent => sent.map(drop).map_err(io::Error::from),
        };
        sent.map_err(|source| failed(&self.path, source))
    }

    fn send_file(&self, bytes: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("greenlang-audit", flags)?);
        file.write_all(bytes)?;
        // journald takes no file that could still change.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(Errno::NOBUFS.into());
        }
        let nothing = [IoSlice::new(&[])];
        rustix::net::sendmsg(&self.socket, &nothing, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Journal {
        path: path.to_owned(),
        source,
    }
}

/// An entry as journald reads it.
fn encode(entry: &Entry<'_>) -> Vec<u8> {
    let mut message = format!("{} {}", entry.id, entry.event.word());
    if !entry.tier.is_empty() {
        // Writing to a String cannot fail.
        write!(message, " ({}, {})", entry.tier, entry.mode).unwrap_or_default();
    }
    let data = serde_json::to_string(entry.data).unwrap_or_default();
    let mut bytes = Vec::new();
    for (name, value) in [
        ("MESSAGE", message.as_str()),
        ("PRIORITY", priority(entry.event)),
        ("SYSLOG_IDENTIFIER", "gl"),
        ("GREENLANG_EVENT", entry.event.word()),
        ("GREENLANG_ID", entry.id),
        ("GREENLANG_PROFILE_HASH", entry.profile_hash.unwrap_or("")),
        ("GREENLANG_TIER", entry.tier),
        ("GREENLANG_MODE", entry.mode),
        ("GREENLANG_DATA", &data),
    ] {
        field(&mut bytes, name, value);
    }
    bytes
}

/// A field: with a newline in the value its length is given, so that no value can add fields.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

/// The priorities of syslog: 3 is an error, 4 a warning, 6 information.
fn priority(event: Event) -> &'static str {
    match event {
        Event::Error => "3",
        Event::Denial | Event::Limit | Event::Timeout | Event::Torn => "4",
        Event::Start | Event::Exit | Event::Rotated => "6",
    }
}
