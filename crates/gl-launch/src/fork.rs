//! The one fork of a launch. Unsafe: only here can the single thread be promised.
#![expect(
    unsafe_code,
    reason = "fork_into needs a promise about threads, which is made and checked here"
)]

use std::os::fd::OwnedFd;

use gl_sys::{CloneArgs, Forked};
use rustix::io::Errno;
use rustix::process::Pid;

/// Forks into new namespaces (`CLONE_NEW*` bits); `child` runs in the new process and its result is
/// that process's exit status.
///
/// # Errors
///
/// As [`gl_sys::fork_into`]; `EDEADLK` if this process has more than one thread.
pub(crate) fn fork(namespaces: u64, child: impl FnOnce() -> i32) -> Result<(Pid, OwnedFd), Errno> {
    if !single_threaded()? {
        return Err(Errno::DEADLK);
    }
    let what = CloneArgs {
        namespaces,
        cgroup: None,
    };
    // SAFETY: this process has one thread, as just counted: nothing in this workspace's runtime
    // starts another. The child ends in exit_now below, or in an execve inside `child`.
    match unsafe { gl_sys::fork_into(what) }? {
        Forked::Parent(pid, pidfd) => Ok((pid, pidfd)),
        Forked::Child => gl_sys::exit_now(child()),
    }
}

/// Whether this process has one thread: one directory in `/proc/self/task`.
fn single_threaded() -> Result<bool, Errno> {
    // A directory has a link for itself, one from its parent, and one for each directory below.
    Ok(rustix::fs::stat("/proc/self/task")?.st_nlink == 3)
}
