//! Signal dispositions, the signal mask and `signalfd(2)`.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// Gives `SIGPIPE` its default action back, which Rust's start-up code replaced by "ignore", and
/// unblocks every signal: what a program expects to start with.
///
/// # Errors
///
/// None that a caller can cause; reported all the same.
pub fn reset_for_exec() -> Result<(), Errno> {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE and runs no code of ours.
    let old = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if old == libc::SIG_ERR {
        return Err(Errno::INVAL);
    }
    let empty = empty_set();
    // SAFETY: `empty` is an initialised, live set; the old mask is not asked for.
    let ret = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut()) };
    check(ret.into()).map(drop)
}

/// Blocks every signal that can be blocked and returns a close-on-exec, non-blocking descriptor
/// from which [`read_signal`] takes them.
///
/// # Kernel
///
/// `signalfd(2)`, since 2.6.27.
///
/// # Errors
///
/// `EMFILE`, `ENFILE` or `ENOMEM` when no descriptor can be had.
pub fn block_all() -> Result<OwnedFd, Errno> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the whole set that the pointer refers to.
    let filled = unsafe { libc::sigfillset(all.as_mut_ptr()) };
    check(filled.into())?;
    // SAFETY: initialised by the successful sigfillset above.
    let all = unsafe { all.assume_init() };
    // SAFETY: `all` is an initialised, live set; the old mask is not asked for.
    let ret = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut()) };
    check(ret.into())?;
    // SAFETY: `all` is an initialised, live set that the kernel only reads.
    let fd = unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    let fd = check(fd.into())?;
    // SAFETY: the call succeeded, so this is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Takes the next pending signal number from a descriptor of [`block_all`], if there is one.
///
/// # Errors
///
/// What `read(2)` says, other than "nothing there".
pub fn read_signal(fd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    Ok(read_signal_from(fd)?.map(|(signal, _)| signal))
}

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The kernel, for one a terminal to all of its foreground processes.
    Kernel,
    /// A process.
    Process,
}

/// [`read_signal`], with who sent it.
///
/// # Errors
///
/// As [`read_signal`].
pub fn read_signal_from(fd: BorrowedFd<'_>) -> Result<Option<(i32, Sender)>, Errno> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    // SAFETY: the buffer is live and exactly as large as the size passed.
    let ret = unsafe {
        libc::read(
            fd.as_raw_fd(),
            info.as_mut_ptr().cast(),
            size_of::<libc::signalfd_siginfo>(),
        )
    };
    match check(ret as libc::c_long) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
        Ok(_) => {
            // SAFETY: zero-initialised above, and all bit patterns are valid for its integers.
            let info = unsafe { info.assume_init() };
            let sender = match info.ssi_code {
                libc::SI_KERNEL => Sender::Kernel,
                _ => Sender::Process,
            };
            Ok(Some((info.ssi_signo.cast_signed(), sender)))
        }
    }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: sigset_t is a plain array of integers; all zeroes is the empty set.
    unsafe { MaybeUninit::<libc::sigset_t>::zeroed().assume_init() }
}
