//! A container that opens the start gate of another, or floods the log.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::{Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = tests![
    gate_cannot_be_opened_by_a_container_that_sees_init,
    gate_does_not_open_for_a_signal,
    log_is_not_flooded_by_a_hook,
    log_has_one_line_for_a_name_with_newlines,
];

/// A container and, created in its pid namespace, one whose program would leave a file.
fn neighbours() -> (Bundle, Bundle) {
    let neighbour = Bundle::new().idle();
    let path = format!("/proc/{}/ns/pid", neighbour.pid());
    let box_ = Bundle::sh("echo ran > /tmp/ran; exec sleep 1000")
        .namespace("pid", Some(json!({"type": "pid", "path": path})));
    box_.create().ok();
    (neighbour, box_)
}

#[track_caller]
fn has_not_run(box_: &Bundle, what: &str) {
    let ran = box_.rootfs().join("tmp/ran");
    assert!(fs::metadata(ran).is_err(), "{what}: the program has run");
}

fn gate_cannot_be_opened_by_a_container_that_sees_init() -> Outcome {
    let (neighbour, box_) = neighbours();
    // Opens, reads, writes whatever its descriptors lead to, and its root and working directory.
    let script = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; \
         [ \"$(readlink $p/exe)\" = /bin/busybox ] && continue; \
         echo seen; for f in $p/fd/*; do echo go > $f && echo \"OPENED $f\"; \
         cat < $f && echo \"READ $f\"; done; ls $p/root/ && echo ROOT; ls $p/cwd/ && echo CWD; \
         done 2>/dev/null; true";
    let seen = neighbour.exec(&[], &["/bin/sh", "-c", script]).ok().stdout;
    assert!(
        seen.contains("seen"),
        "init of the other is not seen: {seen}"
    );
    for word in ["OPENED", "READ", "ROOT", "CWD"] {
        assert!(!seen.contains(word), "{seen}");
    }
    has_not_run(&box_, "files");
    assert_eq!(box_.status(), "created");
    box_.start().ok();
    Ok(())
}

fn gate_does_not_open_for_a_signal() -> Outcome {
    let (neighbour, box_) = neighbours();
    // Those that end it, or stop it for good, come last.
    for signal in [
        "CONT", "URG", "WINCH", "CHLD", "PIPE", "HUP", "USR1", "TERM", "ALRM", "KILL",
    ] {
        let script = format!(
            "for p in /proc/[0-9]*; do n=${{p#/proc/}}; [ $n = 1 ] && continue; \
             [ \"$(readlink $p/exe)\" = /bin/busybox ] && continue; \
             kill -{signal} $n; done 2>/dev/null; true"
        );
        neighbour.exec(&[], &["/bin/sh", "-c", &script]).ok();
        let status = box_.status();
        assert!(
            ["created", "stopped"].contains(&status.as_str()),
            "{signal}: {status}"
        );
        has_not_run(&box_, signal);
    }
    box_.start().failed();
    has_not_run(&box_, "start");
    Ok(())
}

fn log_is_not_flooded_by_a_hook() -> Outcome {
    known_elsewhere("shows all that a hook says", || {
        let script = "head -c 20000000 /dev/zero | tr '\\0' x >&2; exit 3";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 60,
            "env": ["PATH=/bin:/usr/bin"]});
        for kind in ["createRuntime", "createContainer", "startContainer"] {
            let box_ = Bundle::new()
                .with_global("--log=log")
                .with_global("--log-format=json")
                .push(&format!("/hooks/{kind}"), hook.clone());
            let host = Host::before(&box_, &[]);
            box_.run().failed();
            host.unchanged_soon(kind);
            let log = fs::read_to_string(box_.dir().join("log")).unwrap();
            assert!(log.len() < 20_000, "{kind}: {} bytes of log", log.len());
            assert!(log.contains("hook"), "{kind}: {log}");
        }
    })
}

fn log_has_one_line_for_a_name_with_newlines() -> Outcome {
    let name = format!(
        "/no\n{{\"level\":\"info\",\"msg\":\"all is well\"}}\n\u{1b}[2J{}",
        "x".repeat(3000)
    );
    let box_ = Bundle::new()
        .args(&[&name])
        .with_global("--log=log")
        .with_global("--log-format=json");
    box_.create().failed();
    let log = fs::read_to_string(box_.dir().join("log")).unwrap();
    assert!(log.lines().count() > 0);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_ne!(line["msg"], "all is well", "{log}");
    }
    Ok(())
}
