//! Seccomp: in force in every exec, and never that of another list.

use gl_e2e::bundle::kernel::{fields, proc_file};
use gl_e2e::bundle::listener::{Console, Listener};
use gl_e2e::bundle::{Bundle, config};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = tests![
    filter_is_present_in_every_exec,
    filters_that_differ_a_little_are_never_shared,
];

fn refusing(names: &Value, errno: u32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}],
    })
}

fn filter_is_present_in_every_exec() -> Outcome {
    for bound in [true, false] {
        let box_ = Bundle::new()
            .set("/process/noNewPrivileges", json!(bound))
            .set("/linux/seccomp", refusing(&json!(["mkdir", "mkdirat"]), 1))
            .idle();
        let init = fields(&proc_file(box_.pid(), "status"));
        assert_eq!(init["Seccomp"], "2", "init: {init:?}");
        let script =
            "grep -E '^(Seccomp|Seccomp_filters):' /proc/self/status; mkdir /tmp/made 2>&1";
        let args = ["sh", "-c", script];
        let document = json!({"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
            "env": [config::PATH], "noNewPrivileges": bound});
        for (out, what) in [
            (box_.exec(&[], &args), "exec"),
            (box_.exec(&["-u", "1000"], &args), "of a user"),
            (
                box_.exec(&["--cap", "CAP_SYS_ADMIN"], &args),
                "with a capability",
            ),
            (
                box_.exec(&["--no-new-privs"], &args),
                "without new privileges",
            ),
            (box_.exec(&["--cwd", "/tmp"], &args), "elsewhere"),
            (box_.exec_process(&document), "of a document"),
        ] {
            let seen = fields(&out.stdout);
            assert_eq!(seen["Seccomp"], "2", "{what}: {out:?}");
            let filters = "Seccomp_filters";
            assert_eq!(seen[filters], init[filters], "{what}: {out:?}");
            assert!(out.stdout.contains("not permitted"), "{what}: {out:?}");
        }
        let listener = Listener::new(box_.dir(), "console.sock");
        let flags = ["--tty", "--detach", "--console-socket", listener.path()];
        box_.exec(&flags, &["sh", "-c", &format!("{script}; sleep 1000")])
            .ok();
        let seen = Console::from_message(listener.receive()).wait_for("not permitted");
        assert!(seen.contains("Seccomp:\t2"), "on a terminal: {seen}");
    }
    Ok(())
}

/// What each call comes to: its number of an error as a shell shows it.
const LOOK: &str = "mkdir /tmp/d 2>&1 | sed 's/.*: //'; rmdir /tmp/d 2>/dev/null; \
     chmod 700 /tmp/f 2>&1 | sed 's/.*: //'; kill -0 $$ 2>&1 | sed 's/.*: //'; echo end";

/// That of this machine, and its older one.
const ARCHITECTURES: [&str; 2] = if cfg!(target_arch = "x86_64") {
    ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
} else {
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
};

fn filters_that_differ_a_little_are_never_shared() -> Outcome {
    let first = Bundle::new();
    let with = |seccomp: Value| {
        let box_ = Bundle::sh(LOOK).set("/linux/seccomp", seccomp);
        box_.file("tmp/f", "");
        box_
    };
    let argument = |value: u64| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
            "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17,
            "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]}]})
    };
    let mkdir = json!(["mkdir", "mkdirat"]);
    let mut architectures = refusing(&mkdir, 1);
    architectures["architectures"] = json!(ARCHITECTURES);
    let mut reversed = refusing(&mkdir, 13);
    reversed["architectures"] = json!([ARCHITECTURES[1], ARCHITECTURES[0]]);
    let cases = [
        (with(refusing(&mkdir, 1)), "Operation not permitted\nend"),
        (with(refusing(&mkdir, 13)), "Permission denied\nend"),
        (with(refusing(&json!(["mkdirmkdirat"]), 1)), "end"),
        (
            with(refusing(&json!(["chmod", "fchmodat", "fchmodat2"]), 1)),
            "Operation not permitted\nend",
        ),
        (with(argument(0)), "File exists\nend"),
        (with(argument(1)), "end"),
        (with(architectures), "Operation not permitted\nend"),
        (with(reversed), "Permission denied\nend"),
    ];
    // Twice and in both directions: whatever the first left behind is not taken for the next.
    let orders = [
        (0..cases.len()).collect::<Vec<_>>(),
        (0..cases.len()).rev().collect(),
    ];
    for index in orders.concat() {
        let (box_, want) = &cases[index];
        box_.write_config();
        // One state directory for all.
        let mut command = std::process::Command::new(gl_e2e::bundle::runtime());
        command
            .arg("--root")
            .arg(first.state_root())
            .args(["run", box_.id()])
            .current_dir(box_.dir())
            .stdin(std::process::Stdio::null());
        gl_e2e::bundle::finish(&mut command).ok().prints(want);
    }
    Ok(())
}
