//! Descriptors of the runtime or of its caller in hooks and programs: none but those asked for.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::{Command, Stdio};

use gl_e2e::bundle::{self, Bundle, Output, finish, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use super::ground::{SECRET, harmless, victim};

pub(crate) const TESTS: &[Test] = tests![
    descriptors_of_the_caller_do_not_reach_hooks,
    descriptors_of_the_caller_do_not_reach_programs,
    preserved_descriptors_are_exactly_those_asked_for,
    preserved_descriptors_are_the_callers_and_never_ours,
    hook_inside_cannot_reach_the_host,
];

/// Calls the runtime with descriptors 3 to 9 open on the victim's directory.
fn with_open_descriptors(box_: &Bundle, args: &[&str]) -> Output {
    let victim = victim();
    let opened: String = (3..10)
        .map(|n| format!(" {n}<'{}'", victim.display()))
        .collect();
    let script = format!("exec{opened}; exec \"$@\"");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script, "sh"])
        .arg(bundle::runtime())
        .arg("--root")
        .arg(box_.state_root())
        .args(args)
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    finish(&mut command)
}

fn descriptors_of_the_caller_do_not_reach_hooks() -> Outcome {
    known_elsewhere("hooks inside inherit the gate", || {
        let mut box_ = Bundle::new().args(&["true"]);
        let logs = box_.outside("logs");
        let dir =
            json!({"type": "bind", "source": "logs", "destination": logs, "options": ["bind"]});
        box_ = box_.push("/mounts", dir);
        let kinds = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        for kind in kinds {
            let script = format!("ls /proc/self/fd > {}/{kind}", logs.display());
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
            box_ = box_.push(&format!("/hooks/{kind}"), hook);
        }
        box_.write_config();
        with_open_descriptors(&box_, &["run", "--preserve-fds", "3", box_.id()]).ok();
        for kind in kinds {
            // The fourth is the directory that `ls` reads.
            let seen = fs::read_to_string(logs.join(kind)).unwrap();
            assert_eq!(seen, "0\n1\n2\n3\n", "{kind}");
        }
    })
}

fn descriptors_of_the_caller_do_not_reach_programs() -> Outcome {
    let list = ["ls", "/proc/self/fd"];
    let box_ = Bundle::new().args(&list);
    box_.write_config();
    let out = with_open_descriptors(&box_, &["run", box_.id()]).ok();
    out.prints("0\n1\n2\n3");
    let box_ = Bundle::new().idle();
    let mut args = vec!["exec", box_.id()];
    args.extend(list);
    with_open_descriptors(&box_, &args)
        .ok()
        .prints("0\n1\n2\n3");
    Ok(())
}

fn preserved_descriptors_are_exactly_those_asked_for() -> Outcome {
    // `ls` opens the next number for the directory that it reads.
    let list = ["ls", "/proc/self/fd"];
    let idle = Bundle::new().idle();
    for count in 0..=6 {
        let want: Vec<_> = (0..count + 4).map(|n| n.to_string()).collect();
        let count = count.to_string();
        let box_ = Bundle::new().args(&list);
        box_.write_config();
        let args = ["run", "--preserve-fds", &count, box_.id()];
        let out = with_open_descriptors(&box_, &args).ok();
        out.prints(&want.join("\n"));
        let mut args = vec!["exec", "--preserve-fds", &count, idle.id()];
        args.extend(list);
        let out = with_open_descriptors(&idle, &args).ok();
        out.prints(&want.join("\n"));
    }
    Ok(())
}

fn preserved_descriptors_are_the_callers_and_never_ours() -> Outcome {
    known_elsewhere("counts what it has open itself", || {
        let list = ["ls", "-l", "/proc/self/fd"];
        let idle = Bundle::new().idle();
        for count in ["1", "2", "3", "4294967293", "4294967295"] {
            let box_ = Bundle::new().args(&list);
            box_.write_config();
            let out = box_.call(&["run", "--preserve-fds", count, box_.id()]);
            assert!(!out.stdout.contains("/state"), "run {count}: {out:?}");
            assert_eq!(out.code, 1, "run {count}: {out:?}");
            let out = idle.exec(&["--preserve-fds", count], &list);
            assert!(!out.stdout.contains("/state"), "exec {count}: {out:?}");
            assert_eq!(out.code, 255, "exec {count}: {out:?}");
        }
    })
}

fn hook_inside_cannot_reach_the_host() -> Outcome {
    // SPEC: a hook that runs inside is a program of the image, so it gets nothing of the host.
    known_elsewhere("hooks inside inherit the gate", || {
        let script = format!(
            "for f in /proc/self/fd/*; do cat $f/file $f/../victim/file $f/../../victim/file $f{}; \
             done 2>/dev/null >> /tmp/seen; ls -l /proc/self/fd >> /tmp/seen",
            victim().join("file").display()
        );
        let hook: Value = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let box_ = Bundle::new()
            .args(&["true"])
            .push("/hooks/startContainer", hook);
        harmless(&box_, &[], "hook");
        let seen = fs::read_to_string(box_.rootfs().join("tmp/seen")).unwrap();
        assert!(
            !seen.contains(SECRET) && !seen.contains(box_.id()),
            "{seen}"
        );
    })
}
