//! Loop devices: a file as a block device, for as long as anybody uses that.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::check::check;

/// `LOOP_CTL_GET_FREE` of `<linux/loop.h>`.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// `LOOP_CONFIGURE`.
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
/// `LO_FLAGS_AUTOCLEAR`.
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number: u32,
    encrypt: [u32; 2],
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304, "as the kernel has it");

/// The number of a loop device that nobody uses at this moment. `control` is `/dev/loop-control`.
///
/// # Kernel
///
/// `LOOP_CTL_GET_FREE`, since 3.1.
///
/// # Errors
///
/// `EPERM` or `ENOSPC`: no device can be had.
pub fn free_loop_device(control: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: the borrow keeps the descriptor open; this request takes no argument.
    let ret = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(check(ret.into())?).map_err(|_negative| Errno::NODEV)
}

/// Puts `file` behind the loop device `device`, until its last user is gone (`LO_FLAGS_AUTOCLEAR`): who
/// holds it open, or has mounted it.
///
/// # Kernel
///
/// `LOOP_CONFIGURE`, since 5.8.
///
/// # Errors
///
/// `EBUSY`: somebody else was faster. `EPERM` without `CAP_SYS_ADMIN`.
pub fn configure_loop_device(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: LoopConfig is a C structure of integers, for which all zeroes is a valid value.
    let mut config: LoopConfig = unsafe { MaybeUninit::zeroed().assume_init() };
    config.fd = file.as_raw_fd().cast_unsigned();
    config.info.flags = AUTOCLEAR;
    // SAFETY: the borrows keep both descriptors open, and `config` is a live structure of the size that
    // the request reads; the kernel takes a reference to the file of its own.
    let ret = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    check(ret.into()).map(drop)
}
