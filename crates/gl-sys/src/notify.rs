//! The agent's side of `SECCOMP_RET_USER_NOTIF`.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::check::check;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// What the answer is for.
    pub id: u64,
    /// The thread that makes the call, as our pid namespace numbers it; 0 if it is not in it.
    pub thread: u32,
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// The number of the call there.
    pub number: u32,
    /// Its arguments. What they point to can change at any time.
    pub arguments: [u64; 6],
}

/// What a call that waits is to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It fails with this errno.
    Fail(u16),
    /// It is made after all. Whoever made it may have changed what its arguments point to, so this is no
    /// decision about security.
    Continue,
}

/// Takes a call from a listener of `seccomp(2)`; none if it was interrupted before. Waits for one.
///
/// # Kernel
///
/// `SECCOMP_IOCTL_NOTIF_RECV`, since 5.0.
///
/// # Errors
///
/// What `ioctl(2)` says.
pub fn seccomp_receive(listener: BorrowedFd<'_>) -> Result<Option<Notification>, Errno> {
    // SAFETY: a C structure of integers, for which all zeroes is valid; the kernel wants them to be zero.
    let mut taken: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the borrow keeps the listener open, and `taken` is live and of the size that the number says.
    let ret = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut taken,
        )
    };
    match check(ret.into()) {
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
        Ok(_) => Ok(Some(Notification {
            id: taken.id,
            thread: taken.pid,
            audit: taken.data.arch,
            number: taken.data.nr.cast_unsigned(),
            arguments: taken.data.args,
        })),
    }
}

/// Answers a call; one that has gone away meanwhile needs no answer.
///
/// # Kernel
///
/// `SECCOMP_IOCTL_NOTIF_SEND`, since 5.0; [`Answer::Continue`] since 5.5.
///
/// # Errors
///
/// What `ioctl(2)` says.
pub fn seccomp_answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<(), Errno> {
    /// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` of `linux/seccomp.h`.
    const CONTINUE: u32 = 1;
    let (error, flags) = match answer {
        Answer::Fail(errno) => (-i32::from(errno), 0),
        Answer::Continue => (0, CONTINUE),
    };
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: the borrow keeps the listener open, and `response` is live and of the size that the number says.
    let ret = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    match check(ret.into()) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether a call still waits for its answer: only then what was read of its thread was that thread's.
///
/// # Kernel
///
/// `SECCOMP_IOCTL_NOTIF_ID_VALID`, since 5.0. Its number was corrected later; this is the first one, which every
/// kernel takes (`SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR`).
///
/// # Errors
///
/// What `ioctl(2)` says, but for a call that has gone away.
pub fn seccomp_is_waiting(listener: BorrowedFd<'_>, id: u64) -> Result<bool, Errno> {
    /// `_IOR('!', 2, __u64)`.
    const ID_VALID: libc::Ioctl = 0x8008_2102;
    // SAFETY: the borrow keeps the listener open, and `id` is a live 64-bit integer, which the kernel reads.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) };
    match check(ret.into()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Has the kernel hand a call over to the agent on the same processor and back, which is faster where only
/// one of the two has something to do at a time.
///
/// # Kernel
///
/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS` with `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`, since 6.6.
///
/// # Errors
///
/// `EINVAL`: the kernel does not know it; nothing has changed then.
pub fn seccomp_hand_over_at_once(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the borrow keeps the listener open; this request takes its flags as the argument itself.
    let ret = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNC_WAKE_UP,
        )
    };
    check(ret.into()).map(drop)
}
