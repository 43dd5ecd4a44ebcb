//! Whether the kernel has a system call, asked without effect.

use rustix::io::Errno;

use crate::check::check;

/// A system call of the last years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `close_range(2)`.
    CloseRange,
    /// `fsopen(2)`; `fsconfig(2)` and `fsmount(2)` came with it.
    Fsopen,
    /// `mount_setattr(2)`.
    MountSetattr,
    /// `move_mount(2)`.
    MoveMount,
    /// `open_tree(2)`.
    OpenTree,
    /// `openat2(2)`.
    Openat2,
    /// `pidfd_open(2)`.
    PidfdOpen,
    /// `pidfd_send_signal(2)`.
    PidfdSendSignal,
}

impl Call {
    /// Its name in the kernel.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CloseRange => "close_range",
            Self::Fsopen => "fsopen",
            Self::MountSetattr => "mount_setattr",
            Self::MoveMount => "move_mount",
            Self::OpenTree => "open_tree",
            Self::Openat2 => "openat2",
            Self::PidfdOpen => "pidfd_open",
            Self::PidfdSendSignal => "pidfd_send_signal",
        }
    }

    /// Its number, and arguments that it refuses before it looks at anything else: flags that do not
    /// exist, or a structure of no size.
    fn refused(self) -> (libc::c_long, [usize; 5]) {
        const NONE: usize = usize::MAX;
        const FLAGS: usize = 0xffff_ffff;
        match self {
            Self::CloseRange => (libc::SYS_close_range, [1, 0, FLAGS, 0, 0]),
            Self::Fsopen => (libc::SYS_fsopen, [0, FLAGS, 0, 0, 0]),
            Self::MountSetattr => (libc::SYS_mount_setattr, [NONE, 0, FLAGS, 0, 0]),
            Self::MoveMount => (libc::SYS_move_mount, [NONE, 0, NONE, 0, FLAGS]),
            Self::OpenTree => (libc::SYS_open_tree, [NONE, 0, FLAGS, 0, 0]),
            Self::Openat2 => (libc::SYS_openat2, [NONE, 0, 0, 0, 0]),
            Self::PidfdOpen => (libc::SYS_pidfd_open, [NONE, FLAGS, 0, 0, 0]),
            Self::PidfdSendSignal => (libc::SYS_pidfd_send_signal, [NONE, 0, 0, FLAGS, 0]),
        }
    }
}

/// Whether the kernel has a system call; a seccomp filter that answers `ENOSYS` hides it from us.
///
/// One that a filter forbids is there: using it tells what is wrong.
#[must_use]
pub fn is_known(call: Call) -> bool {
    let (number, [a, b, c, d, e]) = call.refused();
    // SAFETY: each of these calls checks its flags or the size of its structure first, and these are
    // wrong; so it follows none of the pointers, which are null, and changes nothing.
    let ret = unsafe { libc::syscall(number, a, b, c, d, e) };
    !matches!(check(ret), Err(Errno::NOSYS))
}
