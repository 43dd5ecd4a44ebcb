//! A process in the foreground: its signals, its terminal, its end.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_launch::{Beside, wait_beside};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, Termios};

use crate::error::Error;

/// Our end of the socket pair over which the terminal's master arrives.
#[derive(Debug)]
pub(crate) struct Attached {
    socket: OwnedFd,
}

impl Attached {
    /// The end for the launch, and ours.
    pub(crate) fn pair() -> Result<(OwnedFd, Self), Error> {
        let pair = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let (theirs, socket) = pair.map_err(Error::host("make a socket pair"))?;
        Ok((theirs, Self { socket }))
    }

    /// Takes the terminal's master.
    fn receive(self) -> Result<OwnedFd, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 256];
        rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut name)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message
                && let Some(fd) = fds.next()
            {
                return Ok(fd);
            }
        }
        Err(Errno::PROTO)
    }
}

/// The caller's terminal in raw mode; back to what it was when dropped.
struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    fn enter() -> Self {
        let stdin = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // A terminal that stays cooked is a nuisance and no more.
            match rustix::termios::tcsetattr(stdin, OptionalActions::Drain, &raw) {
                Ok(()) | Err(_) => {}
            }
        }
        Self { before }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            match rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, before)
            {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// The signals of this process, kept for a child.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Holds all signals back from here on. Before the child runs, so that none is lost on us.
    pub(crate) fn hold() -> Result<Self, Error> {
        let held = gl_sys::block_all().map_err(Error::host("hold signals back"))?;
        Ok(Self(held))
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
}

impl Ended {
    /// The status of a shell for it: 128 and the number of the signal.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Signalled(signal) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(255),
        }
    }
}

/// Waits for a child to end; passes signals on to it and, with a terminal, bytes to and fro.
///
/// Returns how it ended; does what comes up beside.
pub(crate) fn wait(
    child: &OwnedFd,
    signals: &Signals,
    terminal: Option<Attached>,
    beside: &mut dyn Beside,
) -> Result<Ended, Error> {
    let failed = Error::host("wait for the process");
    let master = match terminal {
        Some(attached) => Some(
            attached
                .receive()
                .map_err(Error::host("take the terminal"))?,
        ),
        None => None,
    };
    let raw = master.as_ref().map(|_| RawMode::enter());
    if let Some(master) = &master {
        copy_size(master.as_fd());
    }
    let status = relay(child, &signals.0, master.as_ref(), beside).map_err(failed);
    drop(raw);
    status
}

/// Moves what can be moved until the child has ended and its terminal is empty.
fn relay(
    child: &OwnedFd,
    signals: &OwnedFd,
    master: Option<&OwnedFd>,
    beside: &mut dyn Beside,
) -> Result<Ended, Errno> {
    let mut input_open = master.is_some();
    let mut output_open = master.is_some();
    loop {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![child.as_fd(), signals.as_fd()];
        if let (Some(master), true) = (master, output_open) {
            fds.push(master.as_fd());
            if input_open {
                fds.push(stdin);
            }
        }
        let ready = wait_beside(&fds, beside)?;
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
        if is_ready(1) {
            pass_signals(child.as_fd(), signals.as_fd(), master.map(AsFd::as_fd))?;
        }
        if let Some(master) = master {
            if output_open && is_ready(2) {
                output_open = copy(master.as_fd(), rustix::stdio::stdout());
                continue;
            }
            if input_open && is_ready(3) {
                input_open = copy(stdin, master.as_fd());
            }
        }
        if is_ready(0) {
            return reap(child);
        }
    }
}

/// Copies what is there once; false at the end of either side.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    let len = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(len) => len,
        Err(Errno::INTR | Errno::AGAIN) => return true,
        // EIO: the terminal has no process any more.
        Err(_) => return false,
    };
    let mut rest = buffer.get(..len).unwrap_or_default();
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                if rustix::event::poll(&mut fds, None).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

fn pass_signals(
    child: BorrowedFd<'_>,
    signals: BorrowedFd<'_>,
    master: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    while let Some(signal) = gl_sys::read_signal(signals)? {
        if signal == Signal::CHILD.as_raw() {
            continue;
        }
        if let (Some(master), true) = (master, signal == Signal::WINCH.as_raw()) {
            copy_size(master);
            continue;
        }
        match gl_sys::pidfd_send_signal(child, signal) {
            // It may just have ended, or have become another user.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives the terminal the size of the caller's, if that has one.
fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin())
        && rustix::termios::tcsetwinsize(master, size).is_err()
    {
        // The terminal is gone, and with it the need for a size.
    }
}

fn reap(child: &OwnedFd) -> Result<Ended, Errno> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(None) => return Err(Errno::CHILD),
            Ok(Some(status)) => {
                if let Some(signal) = status.terminating_signal() {
                    return Ok(Ended::Signalled(signal));
                }
                let code = status.exit_status().unwrap_or(255);
                return Ok(Ended::Exited(u8::try_from(code & 0xff).unwrap_or(255)));
            }
        }
    }
}
