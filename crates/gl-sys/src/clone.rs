//! `clone3(2)`: the one fork of a launch, with all its namespaces, its cgroup and a pidfd.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::check::check;

/// What the child gets beyond a copy of the caller.
#[derive(Debug, Default, Clone, Copy)]
pub struct CloneArgs<'fd> {
    /// `CLONE_NEW*` bits: the namespaces to create.
    pub namespaces: u64,
    /// A cgroup v2 directory to start in (`CLONE_INTO_CGROUP`, since 5.7).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Whose child it is.
    pub parent: Parent,
}

/// Whose child a new process is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The caller's.
    #[default]
    Caller,
    /// The caller's parent's (`CLONE_PARENT`): who waits for the caller waits for it, too.
    CallersParent,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The caller, with the child's id as seen from here and a pidfd (close-on-exec) for it.
    Parent(Pid, OwnedFd),
}

const ZERO: libc::clone_args = libc::clone_args {
    flags: 0,
    pidfd: 0,
    child_tid: 0,
    parent_tid: 0,
    exit_signal: 0,
    stack: 0,
    stack_size: 0,
    tls: 0,
    set_tid: 0,
    set_tid_size: 0,
    cgroup: 0,
};

/// Forks into new namespaces and returns a pidfd for the child.
///
/// # Kernel
///
/// `clone3(2)` with `CLONE_PIDFD`, since 5.3; `CLONE_INTO_CGROUP` since 5.7.
///
/// # Errors
///
/// - `EAGAIN`: the pids limit of the cgroup or `RLIMIT_NPROC` is reached.
/// - `EPERM`: a namespace was asked for without the capability that it needs.
/// - `ENOSPC`: a limit on nested namespaces (`/proc/sys/user/max_*_namespaces`) is reached.
/// - `ENOSYS`: no `clone3`, and `clone(2)` cannot do it: a cgroup was given.
///
/// # Safety
///
/// - The calling process has one thread. Any other thread is gone in the child, and the locks it
///   held (allocator, stdio) stay locked.
/// - The child ends in `execve` or [`exit_now`](crate::exit_now). Returning from it would run the
///   parent's destructors and exit handlers twice.
pub unsafe fn fork_into(what: CloneArgs<'_>) -> Result<Forked, Errno> {
    let mut pidfd: RawFd = -1;
    let mut flags = what.namespaces | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    let mut cgroup = 0;
    if let Some(dir) = what.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = u64::from(dir.as_raw_fd().cast_unsigned());
    }
    let exit_signal = match what.parent {
        Parent::Caller => u64::from(libc::SIGCHLD.cast_unsigned()),
        Parent::CallersParent => {
            flags |= u64::from(libc::CLONE_PARENT.cast_unsigned());
            // The caller's own, as clone3 insists.
            0
        }
    };
    let args = libc::clone_args {
        flags,
        cgroup,
        pidfd: ptr::from_mut(&mut pidfd).expose_provenance() as u64,
        exit_signal,
        ..ZERO
    };
    // SAFETY: without CLONE_VM the child gets a copy of this stack, so no stack is passed. `args`
    // outlives the call, and `args.pidfd` points at a live RawFd that only the kernel writes. The
    // caller vouches for the single thread and for the child's end.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&args),
            size_of::<libc::clone_args>(),
        )
    };
    let ret = match check(ret) {
        // SAFETY: the caller vouches for this call as for the first, which has made no process.
        Err(Errno::NOSYS) => unsafe { clone_without_struct(flags | exit_signal, &mut pidfd) },
        other => other,
    };
    let pid = i32::try_from(ret?).unwrap_or(0);
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(Forked::Child);
    };
    // SAFETY: the call succeeded with CLONE_PIDFD, so the kernel stored a new descriptor in `pidfd`
    // and nothing else owns it.
    Ok(Forked::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The fork where `clone3` is hidden, as container engines do for their containers: by `clone(2)`,
/// whose flags are fewer.
///
/// # Kernel
///
/// `clone(2)` with `CLONE_PIDFD`, since 5.2.
///
/// # Errors
///
/// As [`fork_into`]; `ENOSYS` for what `clone` cannot do: a cgroup, and a time namespace, whose flag
/// would be a part of the signal.
///
/// # Safety
///
/// As [`fork_into`].
unsafe fn clone_without_struct(flags: u64, pidfd: &mut RawFd) -> Result<i64, Errno> {
    const NOTHING: usize = 0;
    let signal = flags & SIGNAL_BITS;
    if flags > u32::MAX.into() || signal != 0 && signal != u64::from(libc::SIGCHLD.cast_unsigned())
    {
        return Err(Errno::NOSYS);
    }
    // SAFETY: without CLONE_VM the child gets a copy of this stack, so no stack is passed. The third
    // argument is a live RawFd, which with CLONE_PIDFD takes the descriptor; the last two, whose order
    // depends on the machine, are not read with these flags. The caller vouches for the rest.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            NOTHING,
            ptr::from_mut(pidfd),
            NOTHING,
            NOTHING,
        )
    };
    check(ret)
}

/// Whether the calling process has one thread. One that only shares its memory does not count.
///
/// # Kernel
///
/// `unshare(2)` with `CLONE_THREAD`: no effect if so, and refused if not.
///
/// # Errors
///
/// `EPERM` under a seccomp filter that hides `unshare`.
pub fn has_one_thread() -> Result<bool, Errno> {
    // SAFETY: takes a number only, and this flag changes nothing when the call succeeds.
    let ret = unsafe { libc::unshare(libc::CLONE_THREAD) };
    match check(ret.into()) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Where `clone(2)` has the signal at the child's end among its flags (`CSIGNAL`).
const SIGNAL_BITS: u64 = 0xff;

/// `CLONE_INTO_CGROUP` of `<linux/sched.h>`; libc has it as a signed constant that overflows.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
