//! Standard streams, the terminal, and descriptors that a process keeps.

use std::ffi::{CStr, CString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use gl_plan::{Process, attr};
use gl_rootfs::{Console, Root, Terminal, open_terminal};
use gl_sys::{Depth, MountAttr};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen,
};
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

/// Opens those of the three streams that are the null device again, on a read-only mount of it.
///
/// The inode is the host's: root of a container without user namespace may own it, and could change
/// its mode through the stream. Reading and writing need no writable mount.
///
/// # Errors
///
/// As `open(2)`, `open_tree(2)`, `mount_setattr(2)`; `ENODEV` if the host's `/dev/null` is something
/// else.
pub(crate) fn shield_null() -> Result<(), Errno> {
    let stdin = is_null(rustix::stdio::stdin())?;
    let stdout = is_null(rustix::stdio::stdout())?;
    let stderr = is_null(rustix::stdio::stderr())?;
    if !(stdin || stdout || stderr) {
        return Ok(());
    }
    let null = readonly_null()?;
    if stdin {
        rustix::stdio::dup2_stdin(&null)?;
    }
    if stdout {
        rustix::stdio::dup2_stdout(&null)?;
    }
    if stderr {
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Opens those of the three streams that are the null device again, on a device file of our own: for a program
/// that takes ownership of its streams, as runsc does. The host's would be `nobody`'s afterwards.
///
/// # Errors
///
/// As `fsopen(2)`, `fsmount(2)` and `mknod(2)`, which take the host's root.
pub fn own_null() -> Result<(), Errno> {
    let streams = [
        is_null(rustix::stdio::stdin())?,
        is_null(rustix::stdio::stdout())?,
        is_null(rustix::stdio::stderr())?,
    ];
    if streams == [false; 3] {
        return Ok(());
    }
    let made = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(made.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let dir = fsmount(made.as_fd(), flags, MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    let mode = Mode::from_raw_mode(0o666);
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(&dir, c"null", FileType::CharacterDevice, mode, null)?;
    let null = rustix::fs::openat(&dir, c"null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    if streams[0] {
        rustix::stdio::dup2_stdin(&null)?;
    }
    if streams[1] {
        rustix::stdio::dup2_stdout(&null)?;
    }
    if streams[2] {
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Makes all three streams the null device.
///
/// # Errors
///
/// As [`shield_null`].
pub(crate) fn null_streams() -> Result<(), Errno> {
    let null = readonly_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// The null device on a read-only mount, if `stream` is the null device: what a container may have in place of
/// the host's own.
///
/// # Errors
///
/// As `open(2)`, `open_tree(2)` and `mount_setattr(2)`.
pub fn shielded_null(stream: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    match is_null(stream)? {
        true => readonly_null().map(Some),
        false => Ok(None),
    }
}

/// Opens the host's null device on a read-only mount that is attached nowhere.
///
/// A mount of `/dev`, so that the descriptor reads as `/null` in the container and not as a directory;
/// where something is mounted on the file itself, a mount of that.
fn readonly_null() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match readonly_mount(c"/dev") {
        Ok(dev) => {
            // Not `O_NOFOLLOW`, which stays with the file: CRIU could not open it again.
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let null = match rustix::fs::openat2(&dev, c"null", flags, Mode::empty(), resolve) {
                Err(Errno::NOSYS) => {
                    rustix::fs::openat(&dev, c"null", flags | OFlags::NOFOLLOW, Mode::empty())
                }
                other => other,
            };
            if let Ok(null) = null
                && is_null(null.as_fd())?
            {
                return Ok(null);
            }
        }
        // In a user namespace what is mounted below cannot be left out.
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let file = readonly_mount(c"/dev/null")?;
    if !is_null(file.as_fd())? {
        return Err(Errno::NODEV);
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn readonly_mount(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags)?;
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    gl_sys::mount_setattr(tree.as_fd(), &change, Depth::Top)?;
    Ok(tree)
}

/// Whether this is the null device. A closed descriptor is not.
fn is_null(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    match rustix::fs::fstat(fd) {
        Ok(stat) => Ok(
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == rustix::fs::makedev(1, 3),
        ),
        Err(Errno::BADF) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives the three streams to the container's user, as far as they belong to nobody else.
///
/// By descriptor, and never a device but a terminal: those are everybody's.
pub(crate) fn own_stdio(process: &Process) -> Result<(), Fault> {
    let failed = Fault::of(Own::StdioOwner);
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
        let is_device = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => !rustix::termios::isatty(stream),
            kind => kind == FileType::BlockDevice,
        };
        if is_device || stat.st_uid == process.uid {
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
