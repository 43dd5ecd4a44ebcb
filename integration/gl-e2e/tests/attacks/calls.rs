//! System calls that lead out of a container, from inside each built-in profile.
//!
//! `seccomp_profiles` tries them all in every spelling of their arguments; here each profile is
//! chosen as an engine does it, by the annotation, and the calls are made as an exploit makes them.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use gl_e2e::bundle::{self, Bundle};
use gl_e2e::{Outcome, Skip, Test, tests};
use serde_json::json;

use super::ground::harmless;

pub(crate) const TESTS: &[Test] = tests![calls_of_exploits_fail_inside_every_profile];

const PROFILES: [&str; 5] = [
    "compute_only",
    "data_processing",
    "network_client",
    "default",
    "blocked_dangerous",
];

/// Name, number of the call and its arguments in C.
const CALLS: [(&str, &str); 16] = [
    ("clone_newuser", "SYS_clone, 0x10000000 | 17, 0, 0, 0, 0"),
    ("unshare_newuser", "SYS_unshare, 0x10000000, 0, 0, 0, 0"),
    ("io_uring_setup", "425, 4, buffer, 0, 0, 0"),
    ("ptrace_seize", "SYS_ptrace, 0x4206, 1, 0, 0, 0"),
    ("ptrace_traceme", "SYS_ptrace, 0, 0, 0, 0, 0"),
    (
        "process_vm_readv",
        "SYS_process_vm_readv, 1, buffer, 1, buffer, 1",
    ),
    (
        "process_vm_writev",
        "SYS_process_vm_writev, 1, buffer, 1, buffer, 1",
    ),
    ("keyctl_join", "SYS_keyctl, 1, 0, 0, 0, 0"),
    ("add_key", "SYS_add_key, \"user\", \"x\", \"y\", 1, -3"),
    ("bpf_map_create", "SYS_bpf, 0, buffer, 128, 0, 0"),
    ("userfaultfd", "SYS_userfaultfd, 1, 0, 0, 0, 0"),
    (
        "open_by_handle_at",
        "SYS_open_by_handle_at, 0, buffer, 0, 0, 0",
    ),
    (
        "perf_event_open",
        "SYS_perf_event_open, buffer, 0, -1, -1, 0",
    ),
    ("kexec_load", "SYS_kexec_load, 0, 0, 0, 0, 0"),
    ("mount", "SYS_mount, \"t\", \"/tmp\", \"tmpfs\", 0, 0"),
    ("setns", "SYS_setns, 0, 0, 0, 0, 0"),
];

fn source() -> String {
    let calls: String = CALLS
        .iter()
        .map(|(name, call)| {
            let (number, arguments) = call.split_once(", ").unwrap();
            let arguments: String = arguments
                .split(", ")
                .map(|argument| format!(", (long)({argument})"))
                .collect();
            // A child's end would stop us for ever once we are traced.
            format!("    errno = 0; r = syscall({number}{arguments}); if (r == 0 && getpid() != me) _exit(0); \
                     if (r > 0) waitpid(r, 0, 0); printf(\"{name} %s\\n\", r == -1 && (errno == EPERM || errno == ENOSYS) ? \"refused\" : \"DONE\");\n")
        })
        .collect();
    format!(
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <stdio.h>\n#include <sys/syscall.h>\n\
         #include <sys/wait.h>\n#include <unistd.h>\nstatic char buffer[4096];\n\
         int main(void) {{\n    long r; int me = getpid(); setvbuf(stdout, 0, _IONBF, 0);\n{calls}    return 0;\n}}\n"
    )
}

fn calls_of_exploits_fail_inside_every_profile() -> Outcome {
    if !bundle::is_greenlang() {
        return Err(Skip("profiles are greenlang's".to_owned()));
    }
    let template = Bundle::new();
    let program = template.dir().join("probe");
    let compiler = Command::new("cc")
        .args(["-static", "-O1", "-w", "-x", "c", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut compiler) = compiler else {
        return Err(Skip("there is no cc".to_owned()));
    };
    let mut stdin = compiler.stdin.take().unwrap();
    stdin.write_all(source().as_bytes()).unwrap();
    drop(stdin);
    assert!(compiler.wait().unwrap().success());
    let want: String = CALLS
        .iter()
        .map(|(name, _)| format!("{name} refused\n"))
        .collect();
    for profile in PROFILES {
        let box_ = Bundle::new()
            .args(&["/probe"])
            .set("/annotations", json!({"dev.greenlang.profile": profile}));
        std::fs::copy(&program, box_.rootfs().join("probe")).unwrap();
        let out = harmless(&box_, &[], profile).ok();
        assert_eq!(out.stdout, want, "{profile}: {out:?}");
        // The same for what is executed later.
        let box_ = box_.args(&["sleep", "1000"]);
        if box_.create().code == 0 && box_.start().code == 0 {
            let out = box_.exec(&[], &["/probe"]);
            if out.code != 255 {
                assert_eq!(out.stdout, want, "exec, {profile}: {out:?}");
            }
        }
    }
    Ok(())
}
