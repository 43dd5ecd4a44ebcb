//! A process in the foreground: the caller's signals and terminal, passed on to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_sys::Sender;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios};

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

/// The caller's terminal in raw mode; back to what it was when dropped.
#[derive(Debug)]
pub struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Makes stdin raw, if it is a terminal.
    #[must_use]
    pub fn enter() -> Self {
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
pub struct Signals(OwnedFd);

impl Signals {
    /// Holds all signals back from here on. Before the child runs, so that none is lost on us.
    ///
    /// # Errors
    ///
    /// As [`gl_sys::block_all`].
    pub fn hold() -> Result<Self, Errno> {
        gl_sys::block_all().map(Self)
    }

    /// Passes those that have come on to a process; a change of the caller's terminal goes to `master`.
    ///
    /// # Errors
    ///
    /// What reading or sending says, but for a process that is gone or somebody else's by now.
    pub fn pass(&self, child: BorrowedFd<'_>, master: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        self.pass_by(master, &mut |signal, _| {
            gl_sys::pidfd_send_signal(child, signal)
        })
    }

    /// [`Signals::pass`] in another way: `send` is given each signal, and who has sent it.
    ///
    /// # Errors
    ///
    /// As [`Signals::pass`].
    pub fn pass_by(
        &self,
        master: Option<BorrowedFd<'_>>,
        send: &mut dyn FnMut(i32, Sender) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        while let Some((signal, sender)) = gl_sys::read_signal_from(self.0.as_fd())? {
            if signal == Signal::CHILD.as_raw() {
                continue;
            }
            if let (Some(master), true) = (master, signal == Signal::WINCH.as_raw()) {
                copy_size(master);
                continue;
            }
            match send(signal, sender) {
                // It may just have ended, or have become another user.
                Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Copies what is there once; false at the end of either side.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
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

/// Gives the terminal the size of the caller's, if that has one.
pub fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin())
        && rustix::termios::tcsetwinsize(master, size).is_err()
    {
        // The terminal is gone, and with it the need for a size.
    }
}
