//! Per-process attributes without a wrapper elsewhere: session keyring, personality, scheduling
//! policy, I/O priority, memory policy.

use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// Joins a new session keyring, leaving the caller's behind.
///
/// It has no name: a named one would be joined if somebody had made one of that name before.
///
/// # Kernel
///
/// `keyctl(2)`, `KEYCTL_JOIN_SESSION_KEYRING`.
///
/// # Errors
///
/// - `ENOSYS`: the kernel has no key management.
/// - `EDQUOT`: the user's key quota is used up.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    // SAFETY: the null pointer stands for no name; no memory is involved.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING),
            ptr::null::<libc::c_char>(),
        )
    };
    check(ret).map(drop)
}

/// Sets the execution domain of this process (`personality(2)`).
///
/// # Errors
///
/// `EINVAL` if the kernel does not know the value.
pub fn set_personality(persona: u64) -> Result<(), Errno> {
    // SAFETY: takes a number only.
    let ret = unsafe { libc::syscall(libc::SYS_personality, persona) };
    check(ret).map(drop)
}

/// `struct sched_attr` of `<linux/sched/types.h>`, first published size.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SchedAttr {
    /// Size of this structure; filled in by [`sched_setattr`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Static priority for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// `SCHED_DEADLINE` runtime, nanoseconds.
    pub runtime: u64,
    /// `SCHED_DEADLINE` deadline, nanoseconds.
    pub deadline: u64,
    /// `SCHED_DEADLINE` period, nanoseconds.
    pub period: u64,
}

/// `sizeof(struct sched_attr)` as first published, which every kernel takes.
const SCHED_ATTR_SIZE_VER0: u32 = 48;
const _: () = assert!(size_of::<SchedAttr>() == SCHED_ATTR_SIZE_VER0 as usize);

/// Sets this thread's scheduling policy.
///
/// # Kernel
///
/// `sched_setattr(2)`, since 3.14.
///
/// # Errors
///
/// - `EPERM`: a real-time policy or a lower nice value without `CAP_SYS_NICE`.
/// - `EINVAL`: fields that contradict the policy.
pub fn sched_setattr(attr: &SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr {
        size: SCHED_ATTR_SIZE_VER0,
        ..*attr
    };
    // SAFETY: `attr` is live, `repr(C)`, and carries its own size; the kernel only reads it.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&attr), 0) };
    check(ret).map(drop)
}

/// Sets this process's I/O priority: `class << 13 | level` as `ioprio_set(2)` encodes it.
///
/// # Errors
///
/// - `EPERM`: the real-time class without `CAP_SYS_NICE`.
/// - `EINVAL`: an unknown class or a level above 7.
pub fn ioprio_set(value: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_long = 1;
    // SAFETY: takes numbers only.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0,
            libc::c_long::from(value),
        )
    };
    check(ret).map(drop)
}

/// Sets this thread's NUMA memory policy.
///
/// `mode` is `MPOL_*` with its flags; `nodes` a bit mask, node 0 in the lowest bit of the first word.
///
/// # Errors
///
/// - `EINVAL`: the mode and the nodes contradict each other, or a node is not online.
/// - `ENOSYS`: the kernel has no NUMA support.
pub fn set_mempolicy(mode: i32, nodes: &[u64]) -> Result<(), Errno> {
    let bits = nodes.len() * 64;
    // SAFETY: `nodes` is a live slice and `bits` is its exact length; the kernel only reads it. The
    // kernel reads one bit less than it is told, hence the extra one.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            libc::c_long::from(mode),
            if nodes.is_empty() {
                ptr::null()
            } else {
                nodes.as_ptr()
            },
            if bits == 0 { 0 } else { bits + 1 },
        )
    };
    check(ret).map(drop)
}

/// Leaves namespaces for new ones (`unshare(2)`): `CLONE_NEW*` bits only.
///
/// # Errors
///
/// - `EINVAL`: another bit, or a kind that this kernel lacks.
/// - `EPERM`: no `CAP_SYS_ADMIN`.
/// - `ENOSPC`: a limit on namespaces is reached.
pub fn unshare(namespaces: u32) -> Result<(), Errno> {
    const ALLOWED: u32 = 0x7e02_0080;
    if namespaces & !ALLOWED != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: of unshare's flags only CLONE_FILES and the like can pull descriptors from under other
    // code; the mask above lets namespaces through and nothing else. Takes a number only.
    let ret = unsafe { libc::unshare(namespaces.cast_signed()) };
    check(ret.into()).map(drop)
}
