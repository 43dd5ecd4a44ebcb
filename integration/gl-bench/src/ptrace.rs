//! The four `ptrace(2)` requests that the tracer needs, and its wait.
//!
//! `nix` has them too, but knows no real-time signals: it refuses the wait status of a thread that gets one, as the
//! threads of runc's Go do, and could not hand it on.
#![expect(unsafe_code, reason = "no library that is at hand has these calls")]

use std::ffi::{c_int, c_ulong};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};

/// Stops and is followed by the parent from then on: `PTRACE_TRACEME`.
pub(crate) fn be_followed() -> Result<(), Errno> {
    // SAFETY: the request reads none of its other arguments, and changes nothing but who traces this process.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
    check(result)?;
    process::kill_process(process::getpid(), Signal::STOP)
}

/// Has a stopped child and all that it starts stop where a process or a program begins or ends, and ends them
/// with this process: `PTRACE_SETOPTIONS`.
pub(crate) fn follow(pid: Pid) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEEXIT
        | libc::PTRACE_O_EXITKILL;
    // The kernel takes the word as it is.
    let data = c_ulong::from(options.cast_unsigned());
    // SAFETY: the request takes its options by value in `data` and ignores the address, so the kernel follows no
    // pointer.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_SETOPTIONS,
            raw(pid),
            ptr::null_mut::<u8>(),
            data,
        )
    };
    check(result)
}

/// Lets a stopped thread go on to its next system call, with this signal unless it is 0: `PTRACE_SYSCALL`.
pub(crate) fn resume(pid: Pid, signal: c_int) -> Result<(), Errno> {
    let data = c_ulong::from(signal.unsigned_abs());
    // SAFETY: the request takes the signal by value in `data` and ignores the address, so the kernel follows no
    // pointer.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, raw(pid), ptr::null_mut::<u8>(), data) };
    match check(result) {
        // Killed while it stood; its end is still to be seen.
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// The new process that a stop for a fork is about: `PTRACE_GETEVENTMSG`.
pub(crate) fn new_process(pid: Pid) -> Result<Pid, Errno> {
    let mut message: c_ulong = 0;
    // SAFETY: the request writes one word to `data`, which points at a live `c_ulong` that nothing else refers to
    // during the call, and ignores the address.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            raw(pid),
            ptr::null_mut::<u8>(),
            ptr::from_mut(&mut message),
        )
    };
    check(result)?;
    let new = i32::try_from(message).ok().and_then(Pid::from_raw);
    new.ok_or(Errno::SRCH)
}

/// Waits for a child, a traced thread or, without a pid, for any of them: `__WALL`.
pub(crate) fn wait(pid: Option<Pid>) -> Result<(Pid, WaitStatus), Errno> {
    let all = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    let all = all | WaitOptions::UNTRACED;
    loop {
        // `waitpid` without a pid would be for the children in this process group.
        match pid.map_or_else(
            || process::wait(all),
            |pid| process::waitpid(Some(pid), all),
        ) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn raw(pid: Pid) -> c_int {
    pid.as_raw_nonzero().get()
}

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error();
    Err(errno
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error))
}
