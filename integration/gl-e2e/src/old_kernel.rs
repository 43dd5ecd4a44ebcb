//! A kernel that lacks system calls: a seccomp filter that answers `ENOSYS` for them.
//!
//! The filter stays with the command and with all that it starts, so the programs of a container lack the
//! calls as well. It sees numbers only: `CLONE_INTO_CGROUP`, a flag in memory, is taken away with `clone3`,
//! or alone by a filter that asks (`into_cgroup`).
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness fails by panicking with what was seen"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

mod into_cgroup;

/// What can be hidden.
const CALLS: [(&str, libc::c_long); 10] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("fsopen", libc::SYS_fsopen),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
];

/// The option that makes a test program run a command without some system calls.
pub const OPTION: &str = "--without";

/// Becomes a command without these system calls, if the arguments are `--without CALL[,CALL...] -- COMMAND...`,
/// or runs it to its end if the call is `CLONE_INTO_CGROUP`; else returns nothing.
///
/// # Errors
///
/// What the kernel says of the filter or of the command.
pub fn become_command() -> io::Result<Option<ExitCode>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [option, calls, dashes, program, rest @ ..] = &*args else {
        return Ok(None);
    };
    if option != OPTION || dashes != "--" {
        return Ok(None);
    }
    if calls == into_cgroup::NAME {
        let status = into_cgroup::run(program, rest)?;
        return Ok(Some(ExitCode::from(u8::try_from(status).unwrap_or(1))));
    }
    let numbers: Vec<u32> = calls.split(',').map(number).collect();
    hide(&numbers)?;
    Err(Command::new(program).args(rest).exec())
}

fn number(name: &str) -> u32 {
    let found = CALLS.iter().find(|(known, _)| *known == name);
    let Some((_, number)) = found else {
        let known: Vec<_> = CALLS.iter().map(|(known, _)| *known).collect();
        panic!("{OPTION} knows no {name}, only {}", known.join(", "));
    };
    u32::try_from(*number).unwrap()
}

/// Writes a script to `dir` that is the runtime under test without these calls.
pub fn runtime_without(calls: &str, dir: &Path) -> PathBuf {
    let script = dir.join("greenlang");
    let me = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\nexec '{}' {OPTION} {calls} -- '{}' \"$@\"\n",
        me.display(),
        crate::bundle::runtime().display()
    );
    std::fs::write(&script, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    script
}

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// What the filter of a missing call does.
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// The filter: an action for the calls of this machine's own kind, everything else as it is.
fn filter(numbers: &[u32], action: u32) -> Vec<libc::sock_filter> {
    let op = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let end = libc::BPF_RET | libc::BPF_K;
    let mut program = vec![
        op(load, 0, 0, ARCH_AT),
        op(equal, 1, 0, ARCH),
        op(end, 0, 0, libc::SECCOMP_RET_ALLOW),
        op(load, 0, 0, NUMBER_AT),
    ];
    for number in numbers {
        program.push(op(equal, 0, 1, *number));
        program.push(op(end, 0, 0, action));
    }
    program.push(op(end, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// Puts the filter on this process. Takes root: without `no_new_privs`, which the runtime would inherit.
#[expect(unsafe_code, reason = "no wrapper of the call is at hand")]
fn hide(numbers: &[u32]) -> io::Result<()> {
    let mut program = filter(numbers, UNKNOWN);
    let list = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `list` and the program that it points at live until the call is over, which copies both.
    let ret = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            std::ptr::from_ref(&list),
        )
    };
    match ret {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The test program `name` that was built beside this one, the newest.
pub fn program_beside(name: &str) -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(me.parent()?).ok()? {
        let entry = entry.ok()?;
        let file = entry.file_name().into_string().unwrap_or_default();
        let hash = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        let is_program = file == name
            || hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_program {
            found.push((entry.metadata().ok()?.modified().ok()?, entry.path()));
        }
    }
    found.sort();
    found.pop().map(|(_, path)| path)
}
