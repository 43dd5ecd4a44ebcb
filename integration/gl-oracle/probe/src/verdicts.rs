//! What the kernel says to system calls with harmless arguments: each fails for its arguments, or
//! changes nothing but the child that makes it, where no filter and no missing capability stops it first.

use serde_json::{Map, Value};

use crate::calls::{self, Arguments, End};
use crate::names;

/// Statuses of a child up to this are error numbers.
const SUCCESS: i32 = 0;

struct Call {
    name: &'static str,
    number: i64,
    arguments: Arguments,
}

const fn call(name: &'static str, number: i64, arguments: Arguments) -> Call {
    Call {
        name,
        number,
        arguments,
    }
}

const NONE: Arguments = [0; 6];
/// A descriptor, process or command that there is not.
const BAD: Arguments = [-1, 0, 0, 0, 0, 0];
/// Where a path is the second argument after a descriptor that there is not.
const BAD_DESCRIPTOR: Arguments = [-1, 0, 0, -1, 0, 0];

/// Calls that each architecture has.
const CALLS: &[Call] = &[
    call("read", libc::SYS_read, BAD),
    call("write", libc::SYS_write, BAD),
    call("close", libc::SYS_close, BAD),
    call("lseek", libc::SYS_lseek, BAD),
    call("fstat", libc::SYS_fstat, BAD),
    call("statx", libc::SYS_statx, BAD_DESCRIPTOR),
    call("openat", libc::SYS_openat, BAD_DESCRIPTOR),
    call("openat2", libc::SYS_openat2, BAD_DESCRIPTOR),
    call("close_range", libc::SYS_close_range, [9, 8, 0, 0, 0, 0]),
    call("faccessat2", libc::SYS_faccessat2, BAD_DESCRIPTOR),
    call("fchmodat", libc::SYS_fchmodat, BAD_DESCRIPTOR),
    call("fchownat", libc::SYS_fchownat, BAD_DESCRIPTOR),
    call("fchdir", libc::SYS_fchdir, BAD),
    call("mkdirat", libc::SYS_mkdirat, BAD_DESCRIPTOR),
    call("mknodat", libc::SYS_mknodat, BAD_DESCRIPTOR),
    call("unlinkat", libc::SYS_unlinkat, BAD_DESCRIPTOR),
    call("linkat", libc::SYS_linkat, BAD_DESCRIPTOR),
    call("symlinkat", libc::SYS_symlinkat, [0, -1, 0, 0, 0, 0]),
    call("renameat2", libc::SYS_renameat2, BAD_DESCRIPTOR),
    call("chroot", libc::SYS_chroot, NONE),
    call("mount", libc::SYS_mount, NONE),
    call("umount2", libc::SYS_umount2, [0, -1, 0, 0, 0, 0]),
    call("pivot_root", libc::SYS_pivot_root, NONE),
    call("fsopen", libc::SYS_fsopen, NONE),
    call("fsmount", libc::SYS_fsmount, BAD),
    call("open_tree", libc::SYS_open_tree, BAD_DESCRIPTOR),
    call("move_mount", libc::SYS_move_mount, BAD_DESCRIPTOR),
    call("mount_setattr", libc::SYS_mount_setattr, BAD_DESCRIPTOR),
    call("unshare nothing", libc::SYS_unshare, NONE),
    call(
        "unshare mount",
        libc::SYS_unshare,
        [libc::CLONE_NEWNS as i64, 0, 0, 0, 0, 0],
    ),
    call(
        "unshare user",
        libc::SYS_unshare,
        [libc::CLONE_NEWUSER as i64, 0, 0, 0, 0, 0],
    ),
    call("setns", libc::SYS_setns, BAD),
    // CLONE_SIGHAND without CLONE_VM: refused for that, if nothing refuses it before.
    call(
        "clone sighand",
        libc::SYS_clone,
        [libc::CLONE_SIGHAND as i64, 0, 0, 0, 0, 0],
    ),
    call(
        "clone user sighand",
        libc::SYS_clone,
        [
            (libc::CLONE_NEWUSER | libc::CLONE_SIGHAND) as i64,
            0,
            0,
            0,
            0,
            0,
        ],
    ),
    call("clone3", libc::SYS_clone3, NONE),
    call("socket inet", libc::SYS_socket, [2, 2, 0, 0, 0, 0]),
    call("socket netlink", libc::SYS_socket, [16, 3, 0, 0, 0, 0]),
    call("socket packet", libc::SYS_socket, [17, 3, 0, 0, 0, 0]),
    call(
        "socket of no family",
        libc::SYS_socket,
        [1000, 2, 0, 0, 0, 0],
    ),
    call("connect", libc::SYS_connect, BAD),
    call("bind", libc::SYS_bind, BAD),
    call("ptrace", libc::SYS_ptrace, [2, -1, 0, 0, 0, 0]),
    call("process_vm_readv", libc::SYS_process_vm_readv, BAD),
    call("kcmp", libc::SYS_kcmp, [-1, -1, 0, 0, 0, 0]),
    call("pidfd_open", libc::SYS_pidfd_open, BAD),
    call("pidfd_getfd", libc::SYS_pidfd_getfd, BAD),
    call("kill", libc::SYS_kill, [-0x7fff_ffff, 0, 0, 0, 0, 0]),
    call(
        "personality query",
        libc::SYS_personality,
        [0xffff_ffff, 0, 0, 0, 0, 0],
    ),
    call("personality 0", libc::SYS_personality, NONE),
    call(
        "personality 0x0200000",
        libc::SYS_personality,
        [0x020_0000, 0, 0, 0, 0, 0],
    ),
    call("keyctl", libc::SYS_keyctl, [-1, 0, 0, 0, 0, 0]),
    call("add_key", libc::SYS_add_key, NONE),
    call("request_key", libc::SYS_request_key, NONE),
    call("bpf", libc::SYS_bpf, BAD),
    call("perf_event_open", libc::SYS_perf_event_open, NONE),
    call("userfaultfd", libc::SYS_userfaultfd, BAD),
    call("io_uring_setup", libc::SYS_io_uring_setup, NONE),
    call("init_module", libc::SYS_init_module, NONE),
    call("finit_module", libc::SYS_finit_module, BAD),
    call("delete_module", libc::SYS_delete_module, NONE),
    call("reboot", libc::SYS_reboot, NONE),
    call("swapon", libc::SYS_swapon, NONE),
    call("swapoff", libc::SYS_swapoff, NONE),
    call("acct", libc::SYS_acct, [1, 0, 0, 0, 0, 0]),
    call("syslog", libc::SYS_syslog, BAD),
    call("quotactl", libc::SYS_quotactl, BAD),
    call("sethostname", libc::SYS_sethostname, [0, -1, 0, 0, 0, 0]),
    call(
        "setdomainname",
        libc::SYS_setdomainname,
        [0, -1, 0, 0, 0, 0],
    ),
    call("clock_settime", libc::SYS_clock_settime, BAD),
    call(
        "name_to_handle_at",
        libc::SYS_name_to_handle_at,
        BAD_DESCRIPTOR,
    ),
    call("open_by_handle_at", libc::SYS_open_by_handle_at, BAD),
    call("setuid", libc::SYS_setuid, BAD),
    call("setgid", libc::SYS_setgid, BAD),
    call("setgroups", libc::SYS_setgroups, [-1, 0, 0, 0, 0, 0]),
    call("capset", libc::SYS_capset, NONE),
    call("prctl", libc::SYS_prctl, BAD),
    call("seccomp", libc::SYS_seccomp, BAD),
    call(
        "landlock_create_ruleset",
        libc::SYS_landlock_create_ruleset,
        NONE,
    ),
    call("sched_setaffinity", libc::SYS_sched_setaffinity, BAD),
    call("setpriority", libc::SYS_setpriority, BAD),
    call("ioprio_set", libc::SYS_ioprio_set, BAD),
    call("set_mempolicy", libc::SYS_set_mempolicy, BAD),
    call("mbind", libc::SYS_mbind, [1, 0, 0, 0, 0, 0]),
    call("move_pages", libc::SYS_move_pages, BAD),
    call("getrandom", libc::SYS_getrandom, [0, 0, 0, 0, 0, 0]),
    call("getpid", libc::SYS_getpid, NONE),
    call("uname", libc::SYS_uname, NONE),
    call("sysinfo", libc::SYS_sysinfo, NONE),
    call("memfd_create", libc::SYS_memfd_create, NONE),
    call("epoll_create1", libc::SYS_epoll_create1, BAD),
    call("splice", libc::SYS_splice, [-1, 0, -1, 0, 1, 0]),
    call("vmsplice", libc::SYS_vmsplice, BAD),
    call("ioctl TIOCSTI", libc::SYS_ioctl, [-1, 0x5412, 0, 0, 0, 0]),
    call(
        "ioctl TIOCGWINSZ",
        libc::SYS_ioctl,
        [-1, 0x5413, 0, 0, 0, 0],
    ),
    // Newer than any list of an engine, and numbers that nothing has.
    call("mseal (462)", 462, [1, 0, 0, 0, 0, 0]),
    call("number 499", 499, NONE),
    call("number 4000", 4000, NONE),
];

/// Calls that x86-64 alone has.
#[cfg(target_arch = "x86_64")]
const OWN_CALLS: &[Call] = &[
    call("open", libc::SYS_open, NONE),
    call("stat", libc::SYS_stat, NONE),
    call("access", libc::SYS_access, NONE),
    call("chmod", libc::SYS_chmod, NONE),
    call("mkdir", libc::SYS_mkdir, NONE),
    call("unlink", libc::SYS_unlink, NONE),
    call("iopl", libc::SYS_iopl, [4, 0, 0, 0, 0, 0]),
    call("ioperm", libc::SYS_ioperm, [-1, 1, 1, 0, 0, 0]),
    call("arch_prctl", libc::SYS_arch_prctl, BAD),
    call("x32 getpid", 0x4000_0000 + libc::SYS_getpid, NONE),
];
#[cfg(not(target_arch = "x86_64"))]
const OWN_CALLS: &[Call] = &[];

/// The verdict on each call, by its name.
pub(crate) fn verdicts() -> Value {
    let mut all = Map::new();
    for one in CALLS.iter().chain(OWN_CALLS) {
        let verdict = in_child(|| match calls::raw(one.number, one.arguments) {
            Ok(_) => SUCCESS,
            Err(failure) => failure.raw_os_error().unwrap_or(SUCCESS),
        });
        all.insert(one.name.to_owned(), verdict.into());
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in [
        ("x86 getpid", 20),
        ("x86 reboot", 88),
        ("x86 number 4000", 4000),
    ] {
        let verdict = in_child(|| i32::try_from(-calls::x86(number).min(0)).unwrap_or(SUCCESS));
        all.insert(name.to_owned(), verdict.into());
    }
    all.into()
}

/// What becomes of a call that is made in a child: `ok`, the name of its error, or of a signal.
fn in_child(body: impl FnOnce() -> i32) -> String {
    match calls::in_child(body) {
        Err(failure) => format!("no child: {}", names::errno(&failure)),
        Ok(End::Signal(number)) => format!("signal {number}"),
        Ok(End::Status(SUCCESS)) => "ok".to_owned(),
        Ok(End::Status(number)) => names::number(number),
    }
}
