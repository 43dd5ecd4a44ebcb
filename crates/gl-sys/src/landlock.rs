//! `landlock(7)`: rights that a process gives up for good, for itself and its descendants.
//!
//! What is given up is the caller's; the constants are those of `linux/landlock.h`.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// What a ruleset takes away: everything in it is denied where no rule allows it.
///
/// Laid out as the kernel's `struct landlock_ruleset_attr` since 6.12; an older kernel takes it while
/// what it does not know is zero.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LandlockRuleset {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub filesystem: u64,
    /// `LANDLOCK_ACCESS_NET_*`, from ABI 4.
    pub network: u64,
    /// `LANDLOCK_SCOPE_*`, from ABI 6.
    pub scoped: u64,
}

/// The kernel's packed `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The kernel's `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;
const RULE_NET_PORT: libc::c_int = 2;

/// The version of Landlock's interface that the kernel has.
///
/// # Kernel
///
/// `landlock_create_ruleset(2)`, since 5.13.
///
/// # Errors
///
/// - `ENOSYS`: the kernel was built without Landlock.
/// - `EOPNOTSUPP`: it was turned off at boot.
pub fn landlock_abi() -> Result<u32, Errno> {
    // SAFETY: with this flag the kernel wants a null pointer and no size, and touches no memory.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<LandlockRuleset>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    check(ret).map(|abi| u32::try_from(abi).unwrap_or(0))
}

/// Makes a ruleset without rules; its descriptor is closed on exec.
///
/// # Kernel
///
/// `landlock_create_ruleset(2)`, since 5.13.
///
/// # Errors
///
/// - `EINVAL`, `E2BIG`: a right that the kernel does not know.
/// - `ENOMSG`: nothing is taken away.
pub fn landlock_ruleset(taken: &LandlockRuleset) -> Result<OwnedFd, Errno> {
    // Only as much as is used: a kernel that knows less refuses a longer structure only where the
    // rest is not zero.
    // SAFETY: `taken` is a live `repr(C)` structure of the size passed. The kernel reads it and keeps
    // no pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::from_ref(taken),
            size_of::<LandlockRuleset>(),
            0_u32,
        )
    };
    let fd = RawFd::try_from(check(ret)?).or(Err(Errno::BADF))?;
    // SAFETY: the call succeeded, so this is a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows some of what `ruleset` takes away, on `beneath` and all below it.
///
/// `beneath` may be an `O_PATH` descriptor; no path is walked.
///
/// # Kernel
///
/// `landlock_add_rule(2)` with `LANDLOCK_RULE_PATH_BENEATH`, since 5.13.
///
/// # Errors
///
/// - `EINVAL`: a right that the ruleset does not take away, or one that only directories have on a
///   file that is none.
/// - `EBADFD`: a file of the kernel's own filesystems that have no paths.
pub fn landlock_allow_beneath(
    ruleset: BorrowedFd<'_>,
    beneath: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    let rule = PathBeneath {
        allowed_access: access,
        parent_fd: beneath.as_raw_fd(),
    };
    // SAFETY: `rule` is laid out as the kernel's packed structure and outlives the call; both
    // descriptors are borrowed for as long. The kernel keeps no pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            ptr::from_ref(&rule),
            0_u32,
        )
    };
    check(ret).map(drop)
}

/// Allows some of what `ruleset` takes away, on one TCP port.
///
/// # Kernel
///
/// `landlock_add_rule(2)` with `LANDLOCK_RULE_NET_PORT`, since 6.7 (ABI 4).
///
/// # Errors
///
/// `EINVAL`: a right that the ruleset does not take away, or a kernel that is older.
pub fn landlock_allow_port(ruleset: BorrowedFd<'_>, port: u16, access: u64) -> Result<(), Errno> {
    let rule = NetPort {
        allowed_access: access,
        port: port.into(),
    };
    // SAFETY: `rule` is laid out as the kernel's structure and outlives the call; the descriptor is
    // borrowed for as long. The kernel keeps no pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_NET_PORT,
            ptr::from_ref(&rule),
            0_u32,
        )
    };
    check(ret).map(drop)
}

/// Which denials of a ruleset the kernel tells its audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandlockTells {
    /// Those before the next execve.
    Usual,
    /// Those after it as well (`LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON`).
    Program,
}

const LOG_NEW_EXEC_ON: u32 = 1 << 1;

/// Puts a ruleset in force for this thread and what it starts, for good.
///
/// # Kernel
///
/// `landlock_restrict_self(2)`, since 5.13; [`LandlockTells::Program`] since 6.15 (ABI 7).
///
/// # Errors
///
/// - `EPERM`: neither `no_new_privs` nor `CAP_SYS_ADMIN` in the user namespace.
/// - `E2BIG`: sixteen rulesets are in force already.
/// - `EINVAL`: [`LandlockTells::Program`] on an older kernel.
pub fn landlock_restrict_self(ruleset: BorrowedFd<'_>, tells: LandlockTells) -> Result<(), Errno> {
    let flags = match tells {
        LandlockTells::Usual => 0,
        LandlockTells::Program => LOG_NEW_EXEC_ON,
    };
    // SAFETY: no memory is passed; the descriptor is borrowed over the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) };
    check(ret).map(drop)
}
