//! Attaching a program, and asking the kernel beforehand whether it can.

use std::os::fd::OwnedFd;

use gl_spec::oci::LinuxSeccompFilterFlag;
use rustix::io::Errno;

use crate::error::Error;
use crate::policy::Verdict;
use crate::program::{Flags, Program, flag_of, op};

/// Attaches the program to the calling thread, for ever; returns the listener if it makes one.
///
/// Allocates nothing and takes no lock, so a child can call it after the fork. All flags are passed
/// on: a kernel that lacks one refuses with `EINVAL`. To name it, ask [`check_kernel`] before the
/// fork.
///
/// # Kernel
///
/// `seccomp(2)`. Needs `no_new_privs` or `CAP_SYS_ADMIN` in the user namespace.
///
/// # Errors
///
/// What `seccomp(2)` says, see [`gl_sys::seccomp_set_filter`].
pub fn install(program: &Program) -> Result<Option<OwnedFd>, Errno> {
    gl_sys::seccomp_set_filter(program.flags().bits(), program.insns())
}

/// Checks that this kernel knows the flags and actions of the program, attaching nothing.
///
/// Costs a system call for the flags and one for each action other than those of Linux 3.5.
///
/// # Errors
///
/// [`Error::FlagUnsupported`], [`Error::ListenerUnsupported`] or [`Error::ActionUnsupported`], naming
/// what is missing.
pub fn check_kernel(program: &Program) -> Result<(), Error> {
    let flags = program.flags();
    if flags != Flags::default() && !gl_sys::seccomp_flags_known(flags.bits()) {
        return Err(unknown_flag(flags));
    }
    let returned = program.insns().iter().filter(|insn| insn.code == op::RET);
    let mut known = [Verdict::KILL_THREAD.action(); 2];
    for action in returned.map(|insn| insn.k & 0xffff_0000) {
        if is_ancient(action) || known.contains(&action) {
            continue;
        }
        if !gl_sys::seccomp_action_known(action) {
            return Err(Error::ActionUnsupported { action });
        }
        known.rotate_right(1);
        known[0] = action;
    }
    Ok(())
}

/// KILL, TRAP, ERRNO, TRACE and ALLOW are as old as filters.
fn is_ancient(action: u32) -> bool {
    [
        Verdict::KILL_THREAD,
        Verdict::TRAP,
        Verdict::errno(0),
        Verdict::trace(0),
        Verdict::ALLOW,
    ]
    .iter()
    .any(|verdict| verdict.action() == action)
}

/// Which of the flags it is.
fn unknown_flag(flags: Flags) -> Error {
    let alone = |flag| match flag {
        // Means nothing to the kernel without a listener.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            flag_of(flag).with(Flags::NEW_LISTENER)
        }
        _ => flag_of(flag),
    };
    if flags.contains(Flags::NEW_LISTENER)
        && !gl_sys::seccomp_flags_known(Flags::NEW_LISTENER.bits())
    {
        return Error::ListenerUnsupported;
    }
    [
        LinuxSeccompFilterFlag::SeccompFilterFlagLog,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
    ]
    .into_iter()
    .find(|&flag| flags.contains(flag_of(flag)) && !gl_sys::seccomp_flags_known(alone(flag).bits()))
    .map_or(
        // What remains is TSYNC, or TSYNC beside a listener.
        Error::FlagUnsupported {
            flag: LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
        },
        |flag| Error::FlagUnsupported { flag },
    )
}
