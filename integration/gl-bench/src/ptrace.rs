//! The few `ptrace(2)` requests that the tracer needs, and its wait.
//!
//! `nix` has them too, but knows no real-time signals: it refuses the wait status of a thread that gets one, as the
//! threads of runc's Go do, and could not hand it on.
#![expect(unsafe_code, reason = "no library that is at hand has these calls")]

use std::ffi::{c_int, c_uint, c_ulong};
use std::mem::MaybeUninit;
use std::ptr;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};

/// The calls to stop before: those that make a process or begin a program.
#[cfg(target_arch = "x86_64")]
const CALLS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
];

/// Stops and is followed by the parent from then on: `PTRACE_TRACEME`, and a filter that stops at few calls.
///
/// To stop at every call takes two switches of process for each, and on an emulated machine minutes.
pub(crate) fn be_followed() -> Result<(), Errno> {
    // SAFETY: the request reads none of its other arguments, and changes nothing but who traces this process.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
    check(result)?;
    filter()?;
    process::kill_process(process::getpid(), Signal::STOP)
}

/// Installs a filter that hands [`CALLS`] to the tracer; it takes `CAP_SYS_ADMIN`.
fn filter() -> Result<(), Errno> {
    // The number of the call is the first word of what a filter sees.
    let mut code = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
    )];
    for &number in CALLS {
        // A few hundred at most.
        let number = u32::try_from(number).unwrap_or_default();
        // Past the answer, unless it is that one.
        let test = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        code.push(instruction(test, 1, number));
        code.push(instruction(libc::BPF_RET, 0, libc::SECCOMP_RET_TRACE));
    }
    code.push(instruction(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        // A dozen.
        len: u16::try_from(code.len()).unwrap_or_default(),
        filter: code.as_mut_ptr(),
    };
    // SAFETY: `program` and the instructions it points at, `code`, live until after the call, which copies both.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            c_ulong::from(libc::SECCOMP_MODE_FILTER),
            ptr::from_ref(&program),
        )
    };
    check(result.into())
}

/// One instruction of a filter; `past` is how many to skip where a test fails.
fn instruction(code: u32, past: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter {
        // All codes are below 256.
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: past,
        k: operand,
    }
}

/// Has a stopped child and all that it starts stop where a process or a program begins or ends, and ends them
/// with this process: `PTRACE_SETOPTIONS`.
pub(crate) fn follow(pid: Pid) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESECCOMP
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

/// Lets a stopped thread go on, with this signal unless it is 0: `PTRACE_CONT`.
pub(crate) fn resume(pid: Pid, signal: c_int) -> Result<(), Errno> {
    go_on(libc::PTRACE_CONT, pid, signal)
}

fn go_on(request: c_uint, pid: Pid, signal: c_int) -> Result<(), Errno> {
    let data = c_ulong::from(signal.unsigned_abs());
    // SAFETY: such a request takes the signal by value in `data` and ignores the address, so the kernel follows no
    // pointer.
    let result = unsafe { libc::ptrace(request, raw(pid), ptr::null_mut::<u8>(), data) };
    match check(result) {
        // Killed while it stood; its end is still to be seen.
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Lets a stopped thread execute one instruction, with this signal unless it is 0: `PTRACE_SINGLESTEP`.
pub(crate) fn step(pid: Pid, signal: c_int) -> Result<(), Errno> {
    go_on(libc::PTRACE_SINGLESTEP, pid, signal)
}

/// Where a stopped thread goes on: `PTRACE_GETREGSET`.
pub(crate) fn instruction_pointer(pid: Pid) -> Result<u64, Errno> {
    /// `NT_PRSTATUS` of `elf(5)`: the general registers.
    const GENERAL: usize = 1;
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut room = libc::iovec {
        iov_base: registers.as_mut_ptr().cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    // SAFETY: the request writes at most `iov_len` bytes to `iov_base`, which is live memory of that size, and the
    // length that it has written to `room`; nothing else refers to them during the call.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETREGSET,
            raw(pid),
            GENERAL,
            ptr::from_mut(&mut room),
        )
    };
    check(result)?;
    // SAFETY: it was zero before, and any bytes are valid in it.
    let registers = unsafe { registers.assume_init() };
    #[cfg(target_arch = "x86_64")]
    return Ok(registers.rip);
    #[cfg(not(target_arch = "x86_64"))]
    Ok(registers.pc)
}

/// What the kernel says of a stop at a system call: the head of `struct ptrace_syscall_info`, and of its union what
/// the parts for an entry and for a filter have in common.
#[derive(Debug, Default)]
#[repr(C)]
struct CallInfo {
    op: u8,
    padding: [u8; 3],
    architecture: u32,
    instruction: u64,
    stack: u64,
    number: u64,
    arguments: [u64; 6],
}

/// Number and first argument of the system call that the filter has stopped a thread before:
/// `PTRACE_GET_SYSCALL_INFO`, since 5.3.
pub(crate) fn call(pid: Pid) -> Result<(i64, u64), Errno> {
    let mut info = CallInfo::default();
    // SAFETY: the request writes at most as many bytes as the address argument says, the size of the live `repr(C)`
    // struct that `data` points at and that nothing else refers to during the call. Any bytes are valid in it.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            raw(pid),
            size_of::<CallInfo>(),
            ptr::from_mut(&mut info),
        )
    };
    check(result)?;
    Ok((info.number.cast_signed(), info.arguments[0]))
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
