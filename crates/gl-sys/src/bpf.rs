//! `bpf(2)`: programs that decide on device access in a cgroup (v2).
//!
//! What a program says, and which of those that are attached are replaced, is the caller's.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use crate::check::check;

/// One instruction of extended BPF, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EbpfInsn {
    /// Operation, `BPF_*` of `linux/bpf.h`.
    pub code: u8,
    /// Both registers: see [`EbpfInsn::registers`].
    pub registers: u8,
    /// Offset of a jump or of a memory access.
    pub off: i16,
    /// Operand.
    pub imm: i32,
}

impl EbpfInsn {
    /// Destination and source in one byte: two bit fields, whose order is the machine's.
    #[must_use]
    pub const fn registers(destination: u8, source: u8) -> u8 {
        if cfg!(target_endian = "little") {
            destination | source << 4
        } else {
            destination << 4 | source
        }
    }
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// More programs than anybody attaches to one cgroup; the kernel's own limit.
const MAX_PROGRAMS: usize = 64;

/// The members of `union bpf_attr` for `BPF_PROG_LOAD`, up to `prog_name`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// For `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: i32,
    attach_bpf_fd: i32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: i32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// For `BPF_PROG_QUERY`, with the padding that makes it the size of what the kernel copies back.
#[repr(C)]
struct Query {
    target_fd: i32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    /// The kernel writes flags of each program where this points; null for none (6.0).
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Makes one call with a `union bpf_attr` whose used part is `attr`.
fn call<T>(command: libc::c_int, attr: &mut T) -> Result<i64, Errno> {
    // SAFETY: `T` is one of the structures above, `repr(C)` with the members of the kernel's union
    // and no padding between them, and its own size is passed, so the kernel reads and writes within
    // it; members that a kernel does not know are zero, which it accepts. Addresses in it are of
    // memory that the callers below keep alive over this call, and the kernel keeps none of them.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    check(ret)
}

fn own(fd: i64) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).or(Err(Errno::BADF))?;
    // SAFETY: both callers pass what a successful call has returned that makes a new descriptor
    // (close-on-exec, as all of bpf), which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T: ?Sized>(of: *const T) -> u64 {
    of.cast::<u8>().expose_provenance() as u64
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`; the kernel verifies it.
///
/// # Kernel
///
/// `bpf(2)`, `BPF_PROG_LOAD`, since 4.15. The program is copied.
///
/// # Errors
///
/// - `EPERM`: no `CAP_BPF` (`CAP_SYS_ADMIN` before 5.8), or, before 5.11, `RLIMIT_MEMLOCK`.
/// - `EINVAL`, `EACCES`: the program does not verify, or the kernel has no such type.
/// - `ENOSYS`: a kernel without it.
pub fn bpf_load_device_program(program: &[EbpfInsn], license: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).or(Err(Errno::INVAL))?,
        insns: address(program.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"greenlang\0\0\0\0\0\0\0",
    };
    own(call(PROG_LOAD, &mut attr)?)
}

/// Attaches a program to a cgroup v2 directory, beside those that are there or in place of one.
///
/// An access is allowed if all programs of the cgroup and of those above it allow it. The cgroup
/// keeps the program when its descriptor is closed.
///
/// # Kernel
///
/// `bpf(2)`, `BPF_PROG_ATTACH` with `BPF_F_ALLOW_MULTI`, since 4.15; `BPF_F_REPLACE` since 5.6.
///
/// # Errors
///
/// - `EPERM`: not allowed, or a cgroup above, or this one, has a program that excludes others.
/// - `ENOENT`: the program to replace is not attached.
/// - `EBADF`, `EINVAL`: `cgroup` is no directory of cgroup v2, or the kernel lacks a flag.
pub fn bpf_attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    instead: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if instead.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: instead.map_or(0, |old| old.as_raw_fd()),
    };
    call(PROG_ATTACH, &mut attr).map(drop)
}

/// Detaches a program from a cgroup.
///
/// # Kernel
///
/// `bpf(2)`, `BPF_PROG_DETACH`, since 4.15.
///
/// # Errors
///
/// `ENOENT` if it is not attached, `EPERM` if not allowed.
pub fn bpf_detach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    call(PROG_DETACH, &mut attr).map(drop)
}

/// The programs that are attached to a cgroup itself, in the order in which they run.
///
/// # Kernel
///
/// `bpf(2)`, `BPF_PROG_QUERY` and `BPF_PROG_GET_FD_BY_ID`, since 4.15.
///
/// # Errors
///
/// `EPERM` without `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`; `ENOSPC` for more than 64 programs.
pub fn bpf_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        padding: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    call(PROG_QUERY, &mut attr)?;
    let count = usize::try_from(attr.prog_cnt).or(Err(Errno::OVERFLOW))?;
    let mut programs = Vec::with_capacity(count);
    for &prog_id in ids.get(..count).ok_or(Errno::OVERFLOW)? {
        let mut attr = ById {
            prog_id,
            next_id: 0,
            open_flags: 0,
        };
        match call(PROG_GET_FD_BY_ID, &mut attr) {
            Ok(fd) => programs.push(own(fd)?),
            // Detached meanwhile.
            Err(Errno::NOENT) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(programs)
}
