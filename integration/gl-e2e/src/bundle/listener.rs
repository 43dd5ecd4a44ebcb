//! Unix sockets that receive descriptors: consoles, pidfds, seccomp listeners.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a harness fails by panicking with what was seen"
)]

use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::kernel::{read_until, readable};
use super::process::LIMIT;

/// A listening socket that waits for one message with descriptors.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    socket: UnixListener,
}

/// One message and the descriptors that came with it.
#[derive(Debug)]
pub struct Message {
    /// The bytes.
    pub text: String,
    /// The descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Listener {
    /// Listens at `dir/name`.
    pub fn new(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        let socket = UnixListener::bind(&path).unwrap();
        Self { path, socket }
    }

    /// The socket's path, as an argument.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Accepts one connection and reads one message.
    ///
    /// # Panics
    ///
    /// If nobody connects or nothing is sent in time.
    #[track_caller]
    pub fn receive(&self) -> Message {
        let end = Instant::now() + LIMIT;
        assert!(readable(&self.socket, end), "nobody connected");
        let (stream, _) = self.socket.accept().unwrap();
        assert!(readable(&stream, end), "nothing was sent");
        let mut bytes = vec![0; 65536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&stream, &mut iov, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let text = String::from_utf8_lossy(&bytes[..got.bytes]).into_owned();
        Message { text, fds }
    }
}

impl Message {
    /// The only descriptor.
    ///
    /// # Panics
    ///
    /// If there is none or more than one.
    #[track_caller]
    pub fn one(mut self) -> OwnedFd {
        assert_eq!(self.fds.len(), 1, "{self:?}");
        self.fds.remove(0)
    }
}

/// The master side of a container's terminal.
#[derive(Debug)]
pub struct Console(File);

impl Console {
    /// Takes the terminal that came with a message.
    pub fn from_message(message: Message) -> Self {
        Self(File::from(message.one()))
    }

    /// A new terminal: its master, and the slave for a process to run on.
    pub fn pair() -> (Self, File) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        (Self(File::from(master)), slave)
    }

    /// Types a line.
    pub fn line(&self, text: &str) {
        (&self.0).write_all(text.as_bytes()).unwrap();
        (&self.0).write_all(b"\n").unwrap();
    }

    /// Reads until `text` was seen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        read_until(&self.0, text)
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(&self.0).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// Sets rows and columns, which signals the foreground group.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.0, size).unwrap();
    }
}
