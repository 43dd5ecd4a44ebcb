//! The one fork of a launch. Unsafe: only here can the single thread, and the child's end, be
//! promised.
#![expect(
    unsafe_code,
    reason = "the fork and the clean-up after it need promises that only this place can make"
)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_sys::{CloneArgs, Forked, Parent};
use rustix::io::Errno;
use rustix::process::Pid;

/// Where a new process is put.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Place<'fd> {
    /// New namespaces, `CLONE_NEW*` bits.
    pub(crate) namespaces: u64,
    /// A directory of cgroup v2.
    pub(crate) cgroup: Option<BorrowedFd<'fd>>,
}

/// Whether a new process is in its cgroup from birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Born {
    /// It is.
    Inside,
    /// It has to join.
    Outside,
}

/// Forks into new namespaces; `child` runs in the new process and its result is that process's exit
/// status.
///
/// Where the kernel does not make it in the cgroup, it is made outside: joining then tells what is
/// wrong, or works on a kernel before 5.7.
///
/// The child keeps stdio, the `preserve` following descriptors and those of what it is `given`.
/// Whatever else the runtime has open, directories and locks among it, is closed there first.
///
/// # Errors
///
/// As [`gl_sys::fork_into`]; `EDEADLK` if this process has more than one thread.
pub(crate) fn fork<T>(
    place: Place<'_>,
    preserve: u32,
    given: T,
    descriptors: impl FnOnce(&T) -> Vec<BorrowedFd<'_>>,
    child: impl FnOnce(T, Born) -> i32,
) -> Result<(Pid, OwnedFd), Errno> {
    // Without a path: the root may be the container's at this moment.
    if !gl_sys::has_one_thread()? {
        return Err(Errno::DEADLK);
    }
    let fork = |cgroup| {
        let what = CloneArgs {
            namespaces: place.namespaces,
            cgroup,
            parent: Parent::Caller,
        };
        // SAFETY: this process has one thread, as just counted: nothing in this workspace's runtime
        // starts another. The child ends in exit_now below, or in an execve inside `child`.
        unsafe { gl_sys::fork_into(what) }
    };
    let (forked, born) = match (fork(place.cgroup), place.cgroup) {
        // Nothing to do with the cgroup's directory, or a limit of it that has to hold.
        (Err(errno @ (Errno::AGAIN | Errno::NOMEM | Errno::NOSPC)), _) => return Err(errno),
        (Err(_), Some(_)) => (fork(None), Born::Outside),
        (forked, Some(_)) => (forked, Born::Inside),
        (forked, None) => (forked, Born::Outside),
    };
    match forked? {
        Forked::Parent(pid, pidfd) => Ok((pid, pidfd)),
        Forked::Child => {
            // SAFETY: the child ends below, so it never returns to a frame that owns any of these,
            // and what `child` uses is in the list.
            match unsafe { gl_sys::close_all_but(3 + preserve, &descriptors(&given)) } {
                Ok(()) => gl_sys::exit_now(child(given, born)),
                Err(_) => gl_sys::exit_now(1),
            }
        }
    }
}

/// Forks once more, in a child: the new process is a child of this one's parent.
///
/// # Errors
///
/// As [`gl_sys::fork_into`].
pub(crate) fn fork_sibling(namespaces: u64, child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    let what = CloneArgs {
        namespaces,
        cgroup: None,
        parent: Parent::CallersParent,
    };
    // SAFETY: this runs in a child of `fork`, which has one thread. The new process ends in exit_now
    // below, or in an execve inside `child`.
    match unsafe { gl_sys::fork_into(what) }? {
        Forked::Parent(pid, _) => Ok(pid),
        Forked::Child => gl_sys::exit_now(child()),
    }
}

/// Forks once more, in a child that stays: the new process is a child of this one.
///
/// # Errors
///
/// As [`gl_sys::fork_into`].
pub(crate) fn fork_inside(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    let what = CloneArgs {
        namespaces: 0,
        cgroup: None,
        parent: Parent::Caller,
    };
    // SAFETY: this runs in a child of `fork`, which has one thread. The new process ends in exit_now
    // below, or in an execve inside `child`.
    match unsafe { gl_sys::fork_into(what) }? {
        Forked::Parent(pid, _) => Ok(pid),
        Forked::Child => gl_sys::exit_now(child()),
    }
}

/// Closes everything but one descriptor, the streams as well, in a child that never returns to whoever owns
/// the others.
///
/// # Errors
///
/// As [`gl_sys::close_all_but`].
pub(crate) fn close_all(but: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the one caller goes on with `but` alone, and ends in exit_now.
    unsafe { gl_sys::close_all_but(0, &[but.as_fd()]) }
}
