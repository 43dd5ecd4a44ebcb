//! A process in the foreground: its signals, its terminal, its end.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_launch::{Beside, Ended, RawMode, Signals, copy, copy_size, wait_beside};
use gl_sys::Sender;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::process::{WaitId, WaitIdOptions};

use crate::container::Container;
use crate::error::Error;
use crate::signal::Whom;

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

/// Who gets the signals of the caller.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// The child that is waited for.
    Child,
    /// The first process of a container in gVisor, which the child only waits for: runsc leaves them out.
    Inside(&'a Container),
}

impl To<'_> {
    fn pass(
        self,
        signals: &Signals,
        child: BorrowedFd<'_>,
        master: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        let Self::Inside(container) = self else {
            return signals.pass(child, master);
        };
        signals.pass_by(master, &mut |signal, sender| {
            // What a terminal sends runsc has itself.
            if sender == Sender::Kernel || container.kill(signal, Whom::Init).is_ok() {
                return Ok(());
            }
            gl_sys::pidfd_send_signal(child, signal)
        })
    }
}

/// Waits for a child to end; passes signals on to it and, with a terminal, bytes to and fro.
///
/// Returns how it ended; does what comes up beside.
pub(crate) fn wait(
    child: &OwnedFd,
    (signals, to): (&Signals, To<'_>),
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
    let status = relay(child, (signals, to), master.as_ref(), beside).map_err(failed);
    drop(raw);
    status
}

/// Moves what can be moved until the child has ended and its terminal is empty.
fn relay(
    child: &OwnedFd,
    (signals, to): (&Signals, To<'_>),
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
            to.pass(signals, child.as_fd(), master.map(AsFd::as_fd))?;
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
