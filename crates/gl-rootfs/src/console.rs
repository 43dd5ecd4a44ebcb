//! The container's terminal: a pseudo-terminal of its own devpts, and `/dev/console`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use gl_plan::Size;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::attach::{attach, clone_mount};
use crate::failure::{Failure, Step};
use crate::resolve::{Leaf, Root};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The engine's end.
    pub master: OwnedFd,
    /// The process's end.
    pub slave: OwnedFd,
}

/// Whether the terminal is also the container's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Put it onto `/dev/console`: the init process.
    Bind,
    /// A terminal only: an exec.
    Leave,
}

/// Allocates a terminal in the container's devpts and gives it `size`.
///
/// The slave is opened through the master (`TIOCGPTPEER`, since 4.13), never by its name.
///
/// # Errors
///
/// [`Failure`] of [`Step::OpenPtmx`], [`Step::OpenTerminal`] or [`Step::BindConsole`]; `EEXIST` if
/// `/dev/console` or the multiplexer is something else.
pub fn open_terminal(
    root: &Root,
    size: Option<Size>,
    console: Console,
) -> Result<Terminal, Failure> {
    let failed = Failure::of(Step::OpenPtmx);
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root
        .open(Path::new("dev/pts/ptmx"), flags)
        .map_err(&failed)?;
    let stat = rustix::fs::fstat(&master).map_err(&failed)?;
    let is_ptmx = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(5, 2);
    if !is_ptmx {
        return Err(failed(Errno::EXIST));
    }
    let failed = Failure::of(Step::OpenTerminal);
    rustix::pty::unlockpt(&master).map_err(&failed)?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer).map_err(&failed)?;
    if let Some(size) = size {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size).map_err(&failed)?;
    }
    if console == Console::Bind {
        bind_console(root, &slave).map_err(Failure::of(Step::BindConsole))?;
    }
    Ok(Terminal { master, slave })
}

fn bind_console(root: &Root, slave: &OwnedFd) -> Result<(), Errno> {
    let (dev, _) = root.open_or_make(Path::new("dev"), Leaf::Directory)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(&dev, "console", create, Mode::from_raw_mode(0o600)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(&dev, "console", flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&target)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => {}
        _ => return Err(Errno::EXIST),
    }
    attach(clone_mount(slave.as_fd())?.as_fd(), target.as_fd())
}
