//! Input that is wrong: a one-line error that names the field, the right status, and no leftover.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::listener::Listener;
use gl_e2e::bundle::{self, Bundle, Host, Output, finish, is_greenlang, known_elsewhere};
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        config_that_is_missing,
        config_that_is_no_json,
        config_that_is_too_large,
        config_that_is_a_directory,
        config_behind_a_fifo_does_not_hang,
        config_nested_too_deep,
        values_of_a_wrong_type,
        values_out_of_range,
        values_that_nobody_knows,
        values_that_nobody_knows_and_others_take,
        intel_rdt_without_resctrl,
        mount_options_that_have_no_place,
        duplicate_namespaces,
        duplicate_rlimits,
        duplicate_names_in_an_object,
        parts_that_are_missing,
        root_that_is_missing_or_no_directory,
        executable_that_is_missing,
        pid_file_that_cannot_be_written,
        console_socket_that_is_dead,
        console_socket_path_that_is_too_long,
        id_in_use,
        bundle_that_is_missing,
        state_that_is_damaged,
        nul_bytes_in_strings,
        closed_streams_are_the_null_device,
    ])
}

/// A wrong configuration: what, how it is made from the default, and the field that the error
/// names.
struct Row {
    what: &'static str,
    pointer: &'static str,
    value: Value,
    field: &'static str,
}

fn row(what: &'static str, pointer: &'static str, value: Value, field: &'static str) -> Row {
    Row {
        what,
        pointer,
        value,
        field,
    }
}

/// Asserts what every error has: status 1 and one line. The words are greenlang's.
#[track_caller]
fn one_line_naming(out: &Output, field: &str) {
    assert_eq!(out.code, 1, "{out:?}");
    assert!(!out.stderr.trim().is_empty(), "{out:?}");
    if is_greenlang() {
        assert_eq!(out.stderr.trim_end().lines().count(), 1, "{out:?}");
        assert!(out.stderr.contains(field), "no {field:?} in {out:?}");
        assert!(!out.stderr.contains("panicked"), "{out:?}");
    }
}

#[track_caller]
fn refused(box_: &Bundle, field: &str) {
    let host = Host::before(box_, &[]);
    let out = box_.create();
    one_line_naming(&out, field);
    host.unchanged(field);
}

/// Tries each row, and fails with the list of those that did not behave.
#[track_caller]
fn all_refused(rows: &[Row]) {
    let fails = |row: &&Row| {
        let attempt = || {
            let box_ = Bundle::new().set(row.pointer, row.value.clone());
            refused(&box_, row.field);
        };
        catch_unwind(AssertUnwindSafe(attempt)).is_err()
    };
    let failed: Vec<_> = rows.iter().filter(fails).map(|r| r.what).collect();
    assert!(failed.is_empty(), "rows that failed: {failed:?}");
}

/// `create` of a bundle whose `config.json` the test wrote itself.
fn create_as_is(box_: &Bundle) -> Output {
    box_.call(&["create", box_.id()])
}

fn config_that_is_missing() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let out = create_as_is(&box_);
    one_line_naming(&out, "config.json");
    host.unchanged("no config");
    Ok(())
}

fn config_that_is_no_json() -> Outcome {
    for text in [
        "",
        "{",
        "not json",
        "[]",
        "null",
        "{}{}",
        "{\"ociVersion\": \"1.0.2\",}",
        "\u{0}",
    ] {
        let box_ = Bundle::new();
        fs::write(box_.dir().join("config.json"), text).unwrap();
        let host = Host::before(&box_, &[]);
        let out = create_as_is(&box_);
        assert!(out.code > 0, "{text:?}: {out:?}");
        if is_greenlang() {
            one_line_naming(&out, "config.json");
        }
        host.unchanged(text);
    }
    let box_ = Bundle::new();
    fs::write(
        box_.dir().join("config.json"),
        b"{\"ociVersion\": \"\xff\xfe\"}",
    )
    .unwrap();
    let host = Host::before(&box_, &[]);
    create_as_is(&box_).failed();
    host.unchanged("no UTF-8");
    Ok(())
}

fn config_that_is_too_large() -> Outcome {
    known_elsewhere("takes any size", || {
        let box_ = Bundle::new().set("/annotations/big", json!("x".repeat(32 * 1024 * 1024)));
        refused(&box_, "config.json");
    })
}

fn config_that_is_a_directory() -> Outcome {
    let box_ = Bundle::new();
    fs::create_dir(box_.dir().join("config.json")).unwrap();
    let host = Host::before(&box_, &[]);
    one_line_naming(&create_as_is(&box_), "config.json");
    host.unchanged("directory");
    Ok(())
}

fn config_behind_a_fifo_does_not_hang() -> Outcome {
    if !is_greenlang() {
        return Err(gl_e2e::Skip("others wait for a writer".to_owned()));
    }
    let box_ = Bundle::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, box_.dir().join("config.json"), mode).unwrap();
    one_line_naming(&create_as_is(&box_), "config.json");
    Ok(())
}

fn config_nested_too_deep() -> Outcome {
    let box_ = Bundle::new();
    let text = format!(
        "{{\"annotations\": {}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    fs::write(box_.dir().join("config.json"), text).unwrap();
    let host = Host::before(&box_, &[]);
    create_as_is(&box_).failed();
    host.unchanged("nested too deep");
    Ok(())
}

fn values_of_a_wrong_type() -> Outcome {
    all_refused(&[
        row("cwd is a number", "/process/cwd", json!(5), "process.cwd"),
        row(
            "args is a string",
            "/process/args",
            json!("sh"),
            "process.args",
        ),
        row(
            "args holds a number",
            "/process/args",
            json!(["sh", 5]),
            "process.args",
        ),
        row(
            "env is an object",
            "/process/env",
            json!({"A": "b"}),
            "process.env",
        ),
        row(
            "uid is a string",
            "/process/user/uid",
            json!("root"),
            "process.user.uid",
        ),
        row(
            "terminal is a string",
            "/process/terminal",
            json!("yes"),
            "process.terminal",
        ),
        row("mounts is an object", "/mounts", json!({}), "mounts"),
        row(
            "a mount is a string",
            "/mounts/0",
            json!("/proc"),
            "mounts[0]",
        ),
        row(
            "options is a string",
            "/mounts/0/options",
            json!("ro"),
            "mounts[0].options",
        ),
        row("linux is an array", "/linux", json!([1]), "linux"),
        row("root is a string", "/root", json!("rootfs"), "root"),
        row(
            "pids limit is a string",
            "/linux/resources/pids",
            json!({"limit": "5"}),
            "linux.resources.pids.limit",
        ),
        row("hooks is an array", "/hooks", json!([1]), "hooks"),
        row("hostname is a number", "/hostname", json!(5), "hostname"),
        row(
            "annotations hold a number",
            "/annotations",
            json!({"a": 5}),
            "annotations",
        ),
    ]);
    Ok(())
}

fn values_out_of_range() -> Outcome {
    all_refused(&[
        row(
            "uid is 2^32",
            "/process/user/uid",
            json!(4_294_967_296_u64),
            "process.user.uid",
        ),
        row(
            "gid is 2^32",
            "/process/user/gid",
            json!(4_294_967_296_u64),
            "process.user.gid",
        ),
        row(
            "uid is negative",
            "/process/user/uid",
            json!(-1),
            "process.user.uid",
        ),
        row(
            "uid is a fraction",
            "/process/user/uid",
            json!(0.5),
            "process.user.uid",
        ),
        row(
            "uid is 2^64",
            "/process/user/uid",
            json!(1e30),
            "process.user.uid",
        ),
        row(
            "a group is 2^32",
            "/process/user/additionalGids",
            json!([4_294_967_296_u64]),
            "process.user.additionalGids",
        ),
        row(
            "umask is negative",
            "/process/user/umask",
            json!(-1),
            "process.user.umask",
        ),
        row(
            "oomScoreAdj is 5000",
            "/process/oomScoreAdj",
            json!(5000),
            "process.oomScoreAdj",
        ),
        row(
            "device major is negative",
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 1}]),
            "linux.devices[0]",
        ),
    ]);
    // CVE-2024-40635, CVE-2026-46680. SPEC: -1 as an id means "unchanged" to the kernel.
    known_elsewhere("takes ids over 2^31", || {
        all_refused(&[
            row(
                "uid is 2^32 - 1",
                "/process/user/uid",
                json!(4_294_967_295_u64),
                "process.user.uid",
            ),
            row(
                "gid is 2^32 - 1",
                "/process/user/gid",
                json!(4_294_967_295_u64),
                "process.user.gid",
            ),
        ]);
    })
}

fn unknown_mount(kind: &str, options: &[&str]) -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/mnt", "type": kind, "source": "tmpfs", "options": options},
    ])
}

fn values_that_nobody_knows() -> Outcome {
    all_refused(&[
        row(
            "mount type",
            "/mounts",
            unknown_mount("nosuchfs", &[]),
            "mounts[1]",
        ),
        row(
            "mount option",
            "/mounts",
            unknown_mount("tmpfs", &["sideways"]),
            "mounts[1]",
        ),
        row(
            "namespace",
            "/linux/namespaces/0/type",
            json!("astral"),
            "linux.namespaces[0]",
        ),
        row(
            "rlimit",
            "/process/rlimits",
            json!([{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}]),
            "process.rlimits[0]",
        ),
        row(
            "device type",
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 1}]),
            "linux.devices[0]",
        ),
        row(
            "propagation",
            "/linux/rootfsPropagation",
            json!("sideways"),
            "linux.rootfsPropagation",
        ),
        row(
            "seccomp action",
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_DANCE"}),
            "linux.seccomp.defaultAction",
        ),
        row(
            "sysctl of the host",
            "/linux/sysctl",
            json!({"vm.swappiness": "1"}),
            "linux.sysctl",
        ),
    ]);
    Ok(())
}

fn values_that_nobody_knows_and_others_take() -> Outcome {
    known_elsewhere("takes them", || {
        all_refused(&[
            row(
                "device without a path",
                "/linux/devices",
                json!([{"type": "c", "major": 1, "minor": 3}]),
                "linux.devices[0]",
            ),
            row("major version", "/ociVersion", json!("9.0.0"), "ociVersion"),
            row("version", "/ociVersion", json!("one"), "ociVersion"),
            row(
                "device access",
                "/linux/resources/devices",
                json!([{"allow": true, "access": "rwq"}]),
                "linux.resources.devices[0].access",
            ),
            row(
                "relative device",
                "/linux/devices",
                json!([{"path": "x", "type": "c", "major": 1, "minor": 3}]),
                "linux.devices[0].path",
            ),
            row(
                "scheduler",
                "/process/scheduler",
                json!({"policy": "SCHED_LUCKY"}),
                "process.scheduler",
            ),
            row(
                "io class",
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_X", "priority": 1}),
                "process.ioPriority",
            ),
            row(
                "cgroup path with a NUL",
                "/linux/cgroupsPath",
                json!("/a\0b"),
                "linux.cgroupsPath",
            ),
        ]);
    })
}

fn intel_rdt_without_resctrl() -> Outcome {
    known_elsewhere("has them, or leaves them out", || {
        all_refused(&[row(
            "Intel RDT",
            "/linux/intelRdt",
            json!({"closID": "group1"}),
            "linux.intelRdt",
        )]);
    })
}

fn mount_options_that_have_no_place() -> Outcome {
    known_elsewhere("leaves them out", || {
        let row = |what, kind, options: &[&str]| {
            row(
                what,
                "/mounts",
                unknown_mount(kind, options),
                "mounts[1].options",
            )
        };
        all_refused(&[
            row("of a bind", "bind", &["bind", "sideways"]),
            row(
                "of a remount, for the filesystem",
                "tmpfs",
                &["remount", "size=1m"],
            ),
            row(
                "of a remount, for the superblock",
                "tmpfs",
                &["remount", "sync"],
            ),
        ]);
    })
}

fn duplicate_namespaces() -> Outcome {
    let list = json!([{"type": "mount"}, {"type": "pid"}, {"type": "pid"}]);
    all_refused(&[row(
        "namespaces",
        "/linux/namespaces",
        list,
        "linux.namespaces[2]",
    )]);
    Ok(())
}

fn duplicate_rlimits() -> Outcome {
    known_elsewhere("takes the last", || {
        let limit = json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1});
        let list = json!([limit, limit]);
        all_refused(&[row(
            "rlimits",
            "/process/rlimits",
            list,
            "process.rlimits[1]",
        )]);
    })
}

fn duplicate_names_in_an_object() -> Outcome {
    // JSON leaves the meaning of a repeated name open: two readers must not see two configurations.
    known_elsewhere("takes the last", || {
        let box_ = Bundle::new();
        box_.write_config();
        let path = box_.dir().join("config.json");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replacen("\"hostname\"", "\"hostname\": \"other\", \"hostname\"", 1);
        fs::write(&path, text).unwrap();
        let host = Host::before(&box_, &[]);
        one_line_naming(&create_as_is(&box_), "hostname");
        host.unchanged("repeated name");
    })
}

fn without(pointer: &str) -> Bundle {
    Bundle::new().unset(pointer)
}

fn parts_that_are_missing() -> Outcome {
    for (pointer, field) in [
        ("/process", "process"),
        ("/process/args", "process.args"),
        ("/process/cwd", "process.cwd"),
        ("/root", "root"),
        ("/mounts/0/destination", "mounts[0].destination"),
    ] {
        let box_ = without(pointer);
        let host = Host::before(&box_, &[]);
        let out = box_.create();
        if is_greenlang() || out.code == 0 {
            one_line_naming(&out, field);
        }
        host.unchanged(pointer);
    }
    all_refused(&[
        row("args are empty", "/process/args", json!([]), "process.args"),
        row("cwd is empty", "/process/cwd", json!(""), "process.cwd"),
        row(
            "cwd is relative",
            "/process/cwd",
            json!("tmp"),
            "process.cwd",
        ),
    ]);
    Ok(())
}

fn root_that_is_missing_or_no_directory() -> Outcome {
    all_refused(&[
        row("missing", "/root/path", json!("no-such-dir"), "root.path"),
        row(
            "absolute and missing",
            "/root/path",
            json!("/no/such/dir"),
            "root.path",
        ),
        row("a file", "/root/path", json!("config.json"), "root.path"),
        row("empty", "/root/path", json!(""), "root.path"),
    ]);
    Ok(())
}

fn executable_that_is_missing() -> Outcome {
    for (args, text) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("", ""),
    ] {
        let box_ = Bundle::new().args(&[args]);
        let host = Host::before(&box_, &[]);
        let out = box_.create().status(1);
        assert!(out.stderr.contains(text), "{out:?}");
        one_line_naming(&out, "process.args");
        host.unchanged(args);
        // `run` has the same status for its own failures.
        box_.run().status(1);
        host.unchanged(args);
    }
    Ok(())
}

fn pid_file_that_cannot_be_written() -> Outcome {
    for path in ["/no/such/dir/pid", "rootfs", ""] {
        let box_ = Bundle::new();
        let host = Host::before(&box_, &[]);
        let out = box_.create_with(&["--pid-file", path]);
        if path.is_empty() {
            box_.delete_force().ok();
        } else {
            one_line_naming(&out, path);
        }
        host.unchanged(path);
    }
    Ok(())
}

fn console_socket_that_is_dead() -> Outcome {
    let with_terminal = || Bundle::new().set("/process/terminal", json!(true));
    let box_ = with_terminal();
    let host = Host::before(&box_, &[]);
    one_line_naming(
        &box_.create_with(&["--console-socket", "nobody.sock"]),
        "nobody.sock",
    );
    host.unchanged("no socket");
    let box_ = with_terminal();
    drop(Listener::new(box_.dir(), "dead.sock"));
    let host = Host::before(&box_, &[]);
    one_line_naming(
        &box_.create_with(&["--console-socket", "dead.sock"]),
        "dead.sock",
    );
    host.unchanged("nobody listens");
    let box_ = with_terminal();
    fs::write(box_.dir().join("file.sock"), "").unwrap();
    let host = Host::before(&box_, &[]);
    one_line_naming(
        &box_.create_with(&["--console-socket", "file.sock"]),
        "file.sock",
    );
    host.unchanged("a file");
    Ok(())
}

fn console_socket_path_that_is_too_long() -> Outcome {
    let box_ = Bundle::new().set("/process/terminal", json!(true));
    let path = format!("/tmp/{}", "x".repeat(200));
    let host = Host::before(&box_, &[]);
    one_line_naming(&box_.create_with(&["--console-socket", &path]), "console");
    host.unchanged("long path");
    Ok(())
}

fn id_in_use() -> Outcome {
    let box_ = Bundle::new().idle();
    let host = Host::before(&box_, &[]);
    one_line_naming(&create_as_is(&box_), box_.id());
    host.unchanged("id in use");
    box_.run().status(1);
    host.unchanged("id in use");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn bundle_that_is_missing() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let out = box_.call(&["create", "--bundle", "/no/such/bundle", box_.id()]);
    one_line_naming(&out, "/no/such/bundle");
    host.unchanged("no bundle");
    Ok(())
}

/// Overwrites every document in a container's state directory.
fn damage(dir: &Path, text: &str) {
    let entries = fs::read_dir(dir).unwrap().flatten().map(|e| e.path());
    for path in entries.filter(|p| p.extension().is_some_and(|e| e == "json")) {
        fs::write(path, text).unwrap();
    }
}

fn state_that_is_damaged() -> Outcome {
    known_elsewhere("keeps it for ever", || {
        for text in ["", "{", "{}", "[]", "null"] {
            let box_ = Bundle::new();
            box_.create().ok();
            let dir = box_.state_root().join(box_.id());
            damage(&dir, text);
            box_.call(&["state", box_.id()]).failed();
            box_.call(&["list", "-q"]).ok();
            box_.delete_force().ok();
            assert!(
                fs::metadata(&dir).is_err(),
                "{text}: {} is left",
                dir.display()
            );
        }
    })
}

fn nul_bytes_in_strings() -> Outcome {
    known_elsewhere("takes some of them", || {
        all_refused(&[
            row(
                "args",
                "/process/args",
                json!(["echo", "a\0b"]),
                "process.args",
            ),
            row("cwd", "/process/cwd", json!("/a\0b"), "process.cwd"),
            row("root", "/root/path", json!("root\0fs"), "root.path"),
            row("env", "/process/env", json!(["A=a\0b"]), "process.env"),
            row("hostname", "/hostname", json!("a\0b"), "hostname"),
            row(
                "mount",
                "/mounts/0/destination",
                json!("/pro\0c"),
                "mounts[0].destination",
            ),
        ]);
    })
}

fn closed_streams_are_the_null_device() -> Outcome {
    for (number, closed) in [(0, "<&-"), (1, ">&-"), (2, "2>&-"), (1, "<&- >&- 2>&-")] {
        // Left closed, the next file that the runtime opens would have the number.
        let box_ = Bundle::sh(&format!("exec 3>&{number}; test -c /proc/self/fd/3"));
        box_.write_config();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec \"$@\" {closed}"), "sh"])
            .arg(bundle::runtime())
            .arg("--root")
            .arg(box_.state_root())
            .args(["run", box_.id()])
            .current_dir(box_.dir())
            .stdin(Stdio::null());
        finish(&mut command).ok();
    }
    Ok(())
}
