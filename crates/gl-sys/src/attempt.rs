//! Requests that a sandbox should not be granted, each in a form that changes nothing where it is.
//!
//! For programs that measure a sandbox from inside. Most arguments are wrong on purpose: the kernel looks at
//! them after it has looked at who asks, so that another errno than that of a denial says that it would have
//! gone on. What is granted nevertheless holds for the calling process alone and ends with it.

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::check::check;
use crate::exec::exit_now;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// `mount(2)` of a type of filesystem that does not exist: `ENODEV` where it may be asked for.
    Mount,
    /// A bind mount of a path without a name: `EINVAL`.
    BindMount,
    /// New flags for what is no mount point: `EINVAL`.
    Remount,
    /// `umount2(2)` of what is no mount point: `EINVAL`.
    Unmount,
    /// `pivot_root(2)` to a path that does not exist: `ENOENT`.
    PivotRoot,
    /// A copy of the mount of `/` that is not attached anywhere (`open_tree(2)`, since 5.2).
    CloneMount,
    /// A new tmpfs that is not mounted (`fsopen(2)`, since 5.2).
    NewFilesystem,
    /// `move_mount(2)` of a descriptor that is not open (since 5.2): `EBADF`.
    MoveMount,
    /// `chroot(2)` to `/`.
    Chroot,
    /// New namespaces for the caller: `CLONE_NEW*`.
    Unshare(u32),
    /// A host name of a length that no name has: `EINVAL`.
    SetHostName,
    /// A domain name of a length that no name has: `EINVAL`.
    SetDomainName,
    /// `settimeofday(2)` to no time.
    SetTime,
    /// `adjtimex(2)` to ticks that no clock has: `EINVAL`.
    AdjustTime,
    /// `swapon(2)` of a path that does not exist: `ENOENT`.
    SwapOn,
    /// `swapoff(2)` of a path that does not exist: `ENOENT`.
    SwapOff,
    /// `reboot(2)` without the numbers that it insists on: `EINVAL`.
    Reboot,
    /// `init_module(2)` with an empty module: `ENOEXEC`.
    InitModule,
    /// `finit_module(2)` of a descriptor that is not open: `EBADF`.
    InitModuleFile,
    /// `delete_module(2)` of one that does not exist: `ENOENT`.
    DeleteModule,
    /// `kexec_load(2)` with flags that do not exist: `EINVAL`.
    LoadKernel,
    /// The number of the first loaded BPF program: `ENOENT` where there is none.
    ListBpf,
    /// A counter of the caller's own CPU time (`perf_event_open(2)`).
    PerfCounter,
    /// A handler for page faults in user mode (`userfaultfd(2)`, flags since 5.11).
    UserFaults,
    /// An `io_uring` of one entry (since 5.1).
    IoUring,
    /// A key in the keyring of the caller's process.
    AddKey,
    /// The number of the session's keyring: `ENOKEY` where there is none.
    SessionKeyring,
    /// A file by its handle rather than its name: the working directory.
    OpenByHandle,
    /// A group of fanotify that may hold up what others open.
    WatchOpens,
    /// `acct(2)` to a file that does not exist: `ENOENT`.
    Accounting,
    /// All ports of the machine (x86; `ENOSYS` elsewhere).
    IoPrivilege,
    /// One port of the machine, the one of power-on tests (x86; `ENOSYS` elsewhere).
    IoPort,
    /// To read the table of local segments, which is empty (x86-64; `ENOSYS` elsewhere).
    Segments,
    /// Addresses that can be foretold, after the next program is executed; put back at once.
    FixedAddresses,
    /// A system call of the 32-bit interface: `getpid` (x86-64; `ENOSYS` elsewhere).
    Call32,
    /// To trace a process, which goes on meanwhile.
    Trace(Pid),
    /// A byte of another process at an address where nothing is: `EFAULT`.
    ReadMemory(Pid),
    /// As [`Attempt::ReadMemory`], to write.
    WriteMemory(Pid),
    /// The limit of open files of a process, to read.
    LimitsOf(Pid),
    /// The priority of a process, to set to 0.
    PriorityOf(Pid),
    /// The CPUs of a process, to set to none at all: `EINVAL`.
    CpusOf(Pid),
    /// Where the caller's code begins, at an address that no code has: `EINVAL`.
    SetMemoryMap,
    /// A higher priority for the caller.
    HigherPriority,
    /// A real-time priority for the caller.
    RealTime,
    /// The first byte of the kernel's messages.
    KernelMessages,
    /// Another user for the caller.
    SetUser(u32),
    /// Another group for the caller.
    SetGroup(u32),
    /// No further groups for the caller.
    DropGroups,
    /// A character as if typed at standard input: `ENOTTY` where that is no terminal.
    TypeCharacter,
    /// The selection of the console at standard input: `ENOTTY` where that is none.
    PasteSelection,
    /// A segment of System V shared memory of a page; it stays, and its number is returned.
    MakeSegment,
    /// To attach a segment, read-only.
    AttachSegment(i32),
    /// To remove a segment.
    RemoveSegment(i32),
    /// To open a message queue, named without a slash.
    OpenQueue(&'a CStr),
    /// To make a message queue; it stays.
    MakeQueue(&'a CStr),
    /// To remove a message queue.
    RemoveQueue(&'a CStr),
}

/// What a system call is called with.
struct Raw {
    number: libc::c_long,
    arguments: [u64; 6],
    gives: Gives,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    Number,
    Descriptor,
}

const HERE: u64 = (libc::AT_FDCWD as i64).cast_unsigned();
const NONE: u64 = (-1_i64).cast_unsigned();
/// Words of scratch memory: more than the largest structure has that is passed in it.
const SCRATCH: usize = 64;

fn text(text: &CStr) -> u64 {
    text.as_ptr().expose_provenance() as u64
}

fn of(pid: Pid) -> u64 {
    i64::from(pid.as_raw_nonzero().get()).cast_unsigned()
}

fn call<const N: usize>(number: libc::c_long, arguments: [u64; N]) -> Raw {
    let mut all = [0; 6];
    for (place, argument) in all.iter_mut().zip(arguments) {
        *place = argument;
    }
    Raw {
        number,
        arguments: all,
        gives: Gives::Number,
    }
}

fn descriptor<const N: usize>(number: libc::c_long, arguments: [u64; N]) -> Raw {
    Raw {
        gives: Gives::Descriptor,
        ..call(number, arguments)
    }
}

/// Makes a request; the number that the kernel returns, 0 for a descriptor, which is closed.
///
/// # Errors
///
/// What the kernel says: a denial, or what the documentation of the request has for one that is granted.
pub fn attempt(what: Attempt<'_>) -> Result<i64, Errno> {
    match what {
        Attempt::OpenByHandle => return open_by_handle(),
        Attempt::Call32 => return call_32(),
        Attempt::FixedAddresses => {
            raw(&call(libc::SYS_personality, [ADDR_NO_RANDOMIZE]), None)?;
            return raw(&call(libc::SYS_personality, [0]), None);
        }
        Attempt::IoPrivilege | Attempt::IoPort | Attempt::Segments => return machine(what),
        _ => {}
    }
    let mut scratch = [0_u64; SCRATCH];
    let request = kernel(what, &mut scratch)
        .or_else(|| process(what, &mut scratch))
        .unwrap_or_else(|| shared(what));
    raw(&request, Some(&mut scratch))
}

/// Makes a call whose pointers are static strings, null, or the start of the scratch memory.
fn raw(request: &Raw, _scratch: Option<&mut [u64; SCRATCH]>) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = request.arguments;
    // SAFETY: every pointer among the arguments is null, a C string that outlives this call, or the address
    // of `_scratch`, which is borrowed mutably until the end of this function and larger than any
    // structure that the calls of this file read or write. None of the calls keeps a pointer, maps or
    // unmaps memory that Rust knows of, or closes a descriptor.
    let ret = unsafe { libc::syscall(request.number, a, b, c, d, e, f) };
    let given = check(ret);
    let given = given?;
    if request.gives == Gives::Number {
        return Ok(given);
    }
    // SAFETY: the call succeeded and returned a new descriptor that nothing else owns.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(given).unwrap_or(-1)) });
    Ok(0)
}

const MS_REMOUNT_BIND: u64 = libc::MS_REMOUNT | libc::MS_BIND;
const ADDR_NO_RANDOMIZE: u64 = 0x004_0000;
const ADJ_TICK: u64 = 0x4000;
const BPF_PROG_GET_NEXT_ID: u64 = 11;
const OPEN_TREE_CLONE: u64 = 1;
const MOVE_MOUNT_EMPTY_PATHS: u64 = 0x44;
const FAN_CLASS_CONTENT: u64 = 4;
const UFFD_USER_MODE_ONLY: u64 = 1;
const KEY_SPEC_PROCESS_KEYRING: i64 = -2;
const KEY_SPEC_SESSION_KEYRING: i64 = -3;
/// A path that is no mount point, and that every procfs has.
const NO_MOUNT: &CStr = c"/proc/self/ns";
const NO_PATH: &CStr = c"/greenlang-no-such-path";

/// Requests to the kernel as a whole, and for namespaces.
fn kernel(what: Attempt<'_>, scratch: &mut [u64; SCRATCH]) -> Option<Raw> {
    let at = scratch.as_mut_ptr().expose_provenance() as u64;
    Some(match what {
        Attempt::Mount => call(
            libc::SYS_mount,
            [
                text(c"none"),
                text(c"/"),
                text(c"greenlang-no-such-type"),
                0,
                0,
            ],
        ),
        Attempt::BindMount => call(
            libc::SYS_mount,
            [text(c""), text(c"/"), 0, libc::MS_BIND, 0],
        ),
        Attempt::Remount => call(libc::SYS_mount, [0, text(NO_MOUNT), 0, MS_REMOUNT_BIND, 0]),
        Attempt::Unmount => call(libc::SYS_umount2, [text(NO_MOUNT), 0]),
        Attempt::PivotRoot => call(libc::SYS_pivot_root, [text(NO_PATH), text(NO_PATH)]),
        Attempt::CloneMount => descriptor(libc::SYS_open_tree, [HERE, text(c"/"), OPEN_TREE_CLONE]),
        Attempt::NewFilesystem => descriptor(libc::SYS_fsopen, [text(c"tmpfs"), 0]),
        Attempt::MoveMount => call(
            libc::SYS_move_mount,
            [NONE, text(c""), NONE, text(c""), MOVE_MOUNT_EMPTY_PATHS],
        ),
        Attempt::Chroot => call(libc::SYS_chroot, [text(c"/")]),
        Attempt::Unshare(flags) => call(libc::SYS_unshare, [flags.into()]),
        Attempt::SetHostName => call(libc::SYS_sethostname, [0, NONE]),
        Attempt::SetDomainName => call(libc::SYS_setdomainname, [0, NONE]),
        Attempt::SetTime => call(libc::SYS_settimeofday, [0, 0]),
        Attempt::AdjustTime => {
            // `timex.modes`; its tick is zero.
            scratch[0] = ADJ_TICK;
            call(libc::SYS_adjtimex, [at])
        }
        Attempt::SwapOn => call(libc::SYS_swapon, [text(NO_PATH), 0]),
        Attempt::SwapOff => call(libc::SYS_swapoff, [text(NO_PATH)]),
        Attempt::Reboot => call(libc::SYS_reboot, [0, 0, 0, 0]),
        Attempt::InitModule => call(libc::SYS_init_module, [0, 0, text(c"")]),
        Attempt::InitModuleFile => call(libc::SYS_finit_module, [NONE, text(c""), 0]),
        Attempt::DeleteModule => call(
            libc::SYS_delete_module,
            [text(c"greenlang_no_such_module"), 0o4000],
        ),
        Attempt::LoadKernel => call(libc::SYS_kexec_load, [0, 0, 0, 0xffff]),
        Attempt::ListBpf => call(libc::SYS_bpf, [BPF_PROG_GET_NEXT_ID, at, 12]),
        Attempt::PerfCounter => {
            // `perf_event_attr`: type SOFTWARE and size; config CPU_CLOCK is 0; no kernel, no hypervisor.
            scratch[0] = 1 | 64 << 32;
            scratch[5] = 0b110_0000;
            descriptor(libc::SYS_perf_event_open, [at, 0, NONE, NONE, 0])
        }
        Attempt::UserFaults => descriptor(libc::SYS_userfaultfd, [UFFD_USER_MODE_ONLY]),
        Attempt::IoUring => descriptor(libc::SYS_io_uring_setup, [1, at]),
        Attempt::AddKey => call(
            libc::SYS_add_key,
            [
                text(c"user"),
                text(c"greenlang-probe"),
                text(c"x"),
                1,
                KEY_SPEC_PROCESS_KEYRING.cast_unsigned(),
            ],
        ),
        Attempt::SessionKeyring => call(
            libc::SYS_keyctl,
            [0, KEY_SPEC_SESSION_KEYRING.cast_unsigned(), 0],
        ),
        Attempt::WatchOpens => descriptor(libc::SYS_fanotify_init, [FAN_CLASS_CONTENT, 0]),
        Attempt::Accounting => call(libc::SYS_acct, [text(NO_PATH)]),
        // SYSLOG_ACTION_READ_ALL.
        Attempt::KernelMessages => call(libc::SYS_syslog, [3, at, 1]),
        _ => return None,
    })
}

const PTRACE_SEIZE: u64 = 0x4206;
const SCHED_FIFO: u64 = 1;

/// Requests about a process.
fn process(what: Attempt<'_>, scratch: &mut [u64; SCRATCH]) -> Option<Raw> {
    let at = scratch.as_mut_ptr().expose_provenance() as u64;
    let mut vectors = |number, pid: Pid| {
        // Two `iovec`s of one byte: the last word of the scratch memory, and an address where nothing is.
        scratch[..4].copy_from_slice(&[at + 8 * (SCRATCH as u64 - 1), 1, 8, 1]);
        call(number, [of(pid), at, 1, at + 16, 1, 0])
    };
    Some(match what {
        Attempt::ReadMemory(pid) => vectors(libc::SYS_process_vm_readv, pid),
        Attempt::WriteMemory(pid) => vectors(libc::SYS_process_vm_writev, pid),
        Attempt::Trace(pid) => call(libc::SYS_ptrace, [PTRACE_SEIZE, of(pid), 0, 0]),
        Attempt::LimitsOf(pid) => call(
            libc::SYS_prlimit64,
            [of(pid), u64::from(libc::RLIMIT_NOFILE), 0, at],
        ),
        Attempt::PriorityOf(pid) => call(libc::SYS_setpriority, [0, of(pid), 0]),
        Attempt::CpusOf(pid) => call(libc::SYS_sched_setaffinity, [of(pid), 8, at]),
        // PR_SET_MM_START_CODE.
        Attempt::SetMemoryMap => call(libc::SYS_prctl, [35, 1, 0, 0, 0]),
        Attempt::HigherPriority => call(libc::SYS_setpriority, [0, 0, NONE]),
        Attempt::RealTime => {
            scratch[0] = 1;
            call(libc::SYS_sched_setscheduler, [0, SCHED_FIFO, at])
        }
        Attempt::SetUser(id) => call(libc::SYS_setresuid, [id.into(), id.into(), id.into()]),
        Attempt::SetGroup(id) => call(libc::SYS_setresgid, [id.into(), id.into(), id.into()]),
        Attempt::DropGroups => call(libc::SYS_setgroups, [0, 0]),
        Attempt::TypeCharacter => {
            scratch[0] = u64::from(b'x');
            call(libc::SYS_ioctl, [0, libc::TIOCSTI, at])
        }
        Attempt::PasteSelection => {
            // `TIOCL_PASTESEL`.
            scratch[0] = 3;
            call(libc::SYS_ioctl, [0, libc::TIOCLINUX, at])
        }
        _ => return None,
    })
}

const SHM_RDONLY: u64 = 0o10000;

/// Requests for what processes share by numbers and names; everything else has been asked for before.
fn shared(what: Attempt<'_>) -> Raw {
    let open = |name: &CStr, flags: libc::c_int| {
        let flags = i64::from(flags).cast_unsigned();
        descriptor(libc::SYS_mq_open, [text(name), flags, 0o600, 0])
    };
    let number = |id: i32| i64::from(id).cast_unsigned();
    match what {
        Attempt::AttachSegment(id) => call(libc::SYS_shmat, [number(id), 0, SHM_RDONLY]),
        Attempt::RemoveSegment(id) => call(libc::SYS_shmctl, [number(id), 0, 0]),
        Attempt::OpenQueue(name) => open(name, libc::O_RDONLY),
        Attempt::MakeQueue(name) => open(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL),
        Attempt::RemoveQueue(name) => call(libc::SYS_mq_unlink, [text(name)]),
        // IPC_PRIVATE, and read by everybody.
        _ => call(libc::SYS_shmget, [0, 4096, 0o644 | 0o1000]),
    }
}

/// Opens the working directory by its handle.
fn open_by_handle() -> Result<i64, Errno> {
    let mut scratch = [0_u64; SCRATCH];
    let at = scratch.as_mut_ptr().expose_provenance() as u64;
    // `file_handle.handle_bytes`; the identity of the mount is written behind the handle.
    scratch[0] = 128;
    let behind = at + 256;
    let name = call(
        libc::SYS_name_to_handle_at,
        [HERE, text(c"."), at, behind, 0],
    );
    raw(&name, Some(&mut scratch))?;
    let flags = i64::from(libc::O_RDONLY | libc::O_DIRECTORY).cast_unsigned();
    let open = descriptor(libc::SYS_open_by_handle_at, [HERE, at, flags]);
    raw(&open, Some(&mut scratch))
}

#[cfg(target_arch = "x86_64")]
fn machine(what: Attempt<'_>) -> Result<i64, Errno> {
    let request = match what {
        Attempt::IoPrivilege => call(libc::SYS_iopl, [3]),
        Attempt::IoPort => call(libc::SYS_ioperm, [0x80, 1, 1]),
        _ => call(libc::SYS_modify_ldt, [0, 0, 0]),
    };
    raw(&request, None)
}

#[cfg(not(target_arch = "x86_64"))]
fn machine(_: Attempt<'_>) -> Result<i64, Errno> {
    Err(Errno::NOSYS)
}

#[cfg(target_arch = "x86_64")]
fn call_32() -> Result<i64, Errno> {
    const GETPID: u64 = 20;
    let pid: i64;
    // SAFETY: getpid takes no argument and touches no memory. The kernel keeps all registers but rax, and
    // on kernels before 4.17 those that are declared as lost here.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") GETPID => pid,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    match pid {
        failed @ -4095..0 => {
            let errno = i32::try_from(-failed).unwrap_or(libc::EINVAL);
            Err(Errno::from_raw_os_error(errno))
        }
        pid => Ok(pid),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32() -> Result<i64, Errno> {
    Err(Errno::NOSYS)
}

/// What a process does that [`new_process`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It ends at once, with status 0.
    Ends,
    /// It waits for a signal that ends it, or for the end of its parent.
    Waits,
}

/// Makes a process, in new namespaces (`CLONE_NEW*`) where any are asked for. To be waited for by the caller.
///
/// # Kernel
///
/// `clone(2)`: a filter sees its flags, as it does not those of `clone3(2)`.
///
/// # Errors
///
/// `EAGAIN` at a limit, `EPERM` for namespaces or under a filter.
pub fn new_process(namespaces: u32, life: Life) -> Result<Pid, Errno> {
    let flags = u64::from(namespaces | libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM and with a null stack the child goes on with a copy of this one. What it
    // calls below takes no lock and allocates nothing, so other threads of the caller do not matter.
    let ret = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    let pid = i32::try_from(check(ret)?).unwrap_or(0);
    if let Some(pid) = Pid::from_raw(pid) {
        return Ok(pid);
    }
    if life == Life::Waits {
        // SAFETY: takes numbers only; a filter may refuse it, and then the caller ends the child.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: waits for events on no descriptor, for ever: a call that every filter allows.
        unsafe { libc::poll(ptr::null_mut(), 0, -1) };
    }
    exit_now(0)
}
