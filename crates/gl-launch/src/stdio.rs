//! Standard streams, the terminal, and descriptors that a process keeps.

use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use gl_plan::Process;
use gl_rootfs::{Console, Root, Terminal, open_terminal};
use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::step::{Fault, Own};

/// Allocates the terminal, makes it our stdio and controlling terminal, and sends the engine its
/// end.
pub(crate) fn take_terminal(
    process: &Process,
    root: &Root,
    console: Console,
    socket: BorrowedFd<'_>,
) -> Result<(), Fault> {
    let Terminal { master, slave } = open_terminal(root, process.console_size, console)?;
    let failed = Fault::of(Own::ControllingTerminal);
    rustix::process::ioctl_tiocsctty(&slave).map_err(failed)?;
    let failed = Fault::of(Own::Stdio);
    rustix::stdio::dup2_stdin(&slave).map_err(&failed)?;
    rustix::stdio::dup2_stdout(&slave).map_err(&failed)?;
    rustix::stdio::dup2_stderr(&slave).map_err(&failed)?;
    // The name is for the reader's information, as other runtimes send it.
    let name = rustix::termios::ttyname(&slave, Vec::new()).unwrap_or_else(|_| CString::default());
    let name = if name.is_empty() {
        c"/dev/pts".into()
    } else {
        name
    };
    send_fd(socket, master.as_fd(), name.as_bytes()).map_err(Fault::of(Own::SendTerminal))
}

/// Sends a descriptor with a text over a stream socket.
///
/// # Errors
///
/// As `sendmsg(2)`.
pub fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, text: &[u8]) -> Result<(), Errno> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut control, flags).map(drop)
}

/// Gives the three streams to the container's user, as far as they belong to nobody else.
///
/// By descriptor, and never the null device, which is everybody's.
pub(crate) fn own_stdio(process: &Process) -> Result<(), Fault> {
    let failed = Fault::of(Own::StdioOwner);
    let null = rustix::fs::makedev(1, 3);
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for stream in streams {
        let stat = match rustix::fs::fstat(stream) {
            Ok(stat) => stat,
            // A closed stream has no owner.
            Err(Errno::BADF) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == null;
        if is_null || stat.st_uid == process.uid {
            continue;
        }
        match rustix::fs::fchown(stream, Some(Uid::from_raw(process.uid)), None::<Gid>) {
            // A stream whose owner cannot change can still be used: a read-only filesystem, an id
            // that is not mapped, a file of another user's namespace.
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Closes everything but stdio on exec: for hooks.
pub(crate) fn seal_descriptors() -> Result<(), Fault> {
    gl_sys::cloexec_from(3).map_err(Fault::of(Own::Descriptors))
}

/// Keeps `preserve` descriptors after stdio for the program.
pub(crate) fn release_descriptors(preserve: u32) -> Result<(), Fault> {
    (3..3 + preserve)
        .try_for_each(|number| gl_sys::keep_over_exec(number).map_err(Fault::of(Own::Descriptors)))
}

/// Checks that descriptors 3 and the following, `count` of them, are open and the caller's.
///
/// What the runtime itself has open is close-on-exec, and a directory of the host among it: where the
/// caller passes fewer than it says, that must not go to the container in their place.
///
/// # Errors
///
/// The number of the first that is not.
pub fn keep_descriptors(count: u32) -> Result<(), u32> {
    (3..count.saturating_add(3)).try_for_each(|number| {
        if gl_sys::stays_over_exec(number) {
            return Ok(());
        }
        Err(number)
    })
}
