//! System calls that rustix lacks, and the raw ones whose verdicts are asked for: the only unsafe code.
#![expect(unsafe_code, reason = "raw system calls, one operation at a time")]

use std::io::Error;

/// Arguments of a raw system call.
pub(crate) type Arguments = [i64; 6];

/// Makes a system call whose arguments are numbers, or null pointers.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn raw(number: i64, arguments: Arguments) -> Result<i64, Error> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the tables of this program pass numbers, null pointers and pointers to static strings
    // only, and no call in them maps, unmaps or writes memory of this process.
    let ret = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if ret == -1 {
        Err(Error::last_os_error())
    } else {
        Ok(ret)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// Runs `body` in a child of its own, which ends with the status that it returns.
///
/// # Errors
///
/// That of `fork` or `waitpid`.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> Result<End, Error> {
    // SAFETY: this program has one thread, so that the child may allocate.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => {
            let status = body();
            // SAFETY: ends the child at once, without the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        child => wait(child),
    }
}

fn wait(child: libc::pid_t) -> Result<End, Error> {
    let mut status = 0;
    // SAFETY: `status` is a live integer that the kernel writes.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        let failure = Error::last_os_error();
        if failure.kind() != std::io::ErrorKind::Interrupted {
            return Err(failure);
        }
    }
    if libc::WIFSIGNALED(status) {
        return Ok(End::Signal(libc::WTERMSIG(status)));
    }
    Ok(End::Status(libc::WEXITSTATUS(status)))
}

/// A `prctl` that takes numbers and returns one.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn prctl(option: i32, argument: i64) -> Result<i64, Error> {
    raw(libc::SYS_prctl, [option.into(), argument, 0, 0, 0, 0])
}

/// The signal that the process gets when its parent ends.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn parent_death_signal() -> Result<i32, Error> {
    let mut signal: i32 = -1;
    // SAFETY: `signal` is a live integer that the kernel writes.
    let ret = unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    if ret == -1 {
        Err(Error::last_os_error())
    } else {
        Ok(signal)
    }
}

/// The attributes of this process's scheduling, as the kernel lays them out.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Scheduling {
    size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
    util_min: u32,
    util_max: u32,
}

/// How this process is scheduled.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn scheduling() -> Result<Scheduling, Error> {
    let mut found = Scheduling::default();
    // SAFETY: `found` is a live struct of the size passed, which the kernel fills.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            &raw mut found,
            size_of::<Scheduling>(),
            0,
        )
    };
    if ret == -1 {
        Err(Error::last_os_error())
    } else {
        Ok(found)
    }
}

/// The memory policy of this process: its mode with flags, and the first 64 nodes.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn memory_policy() -> Result<(i32, u64), Error> {
    let (mut mode, mut nodes) = (-1_i32, [0_u64; 16]);
    // SAFETY: both are live and of the sizes that the kernel is told: 1024 bits.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            nodes.as_mut_ptr(),
            1024,
            0,
            0,
        )
    };
    if ret == -1 {
        Err(Error::last_os_error())
    } else {
        Ok((mode, nodes[0]))
    }
}

/// What the session keyring says of itself.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn session_keyring() -> Result<String, Error> {
    const DESCRIBE: i64 = 6;
    const SESSION: i64 = -3;
    let mut text = [0_u8; 256];
    // SAFETY: the buffer is live and its length is what the kernel is told.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            DESCRIBE,
            SESSION,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    let Ok(length) = usize::try_from(ret) else {
        return Err(Error::last_os_error());
    };
    let text = text.get(..length.saturating_sub(1)).unwrap_or(&text);
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// The flags of a network interface.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn interface_flags(name: &str) -> Result<i16, Error> {
    let socket = raw(
        libc::SYS_socket,
        [libc::AF_INET.into(), libc::SOCK_DGRAM.into(), 0, 0, 0, 0],
    )?;
    // SAFETY: all bytes zero is a valid request: a name of no length and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the request is live; the kernel reads its name and writes its flags.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket,
            libc::SIOCGIFFLAGS,
            &raw mut request,
        )
    };
    let failure = Error::last_os_error();
    raw(libc::SYS_close, [socket, 0, 0, 0, 0, 0])?;
    if ret == -1 {
        return Err(failure);
    }
    // SAFETY: the kernel filled the flags.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

/// Calls the kernel the way of 32-bit x86 programs, with null arguments; the answer is as it returns it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn x86(number: i32) -> i64 {
    let mut ret: i64 = number.into();
    // SAFETY: the arguments are null but for the first, which is whatever the compiler keeps in rbx; the
    // numbers passed read no memory. The kernel changes rax and r8 to r11 only.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("rax") ret,
            in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The answer is 32 bits wide.
    let low = u32::try_from(ret & 0xffff_ffff).unwrap_or_default();
    i64::from(low.cast_signed())
}
