//! The command line itself: flags, help, version, logs, features, spec, and messages of a missing
//! executable.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::{Command, ExitCode};

use gl_e2e::bundle::{self, Bundle, Host, Output, finish, is_greenlang, known_elsewhere};
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        version_prints_name_commit_and_spec,
        help_lists_the_commands,
        help_of_every_command_succeeds,
        checkpoint_and_restore_end_with_a_clear_error,
        unknown_command_fails,
        unknown_flag_fails,
        missing_id_fails,
        surplus_argument_fails,
        flags_take_one_dash_and_both_forms_of_values,
        options_after_the_id_belong_to_the_process,
        ids_outside_the_alphabet_are_refused,
        ids_of_every_allowed_character_work,
        json_log_has_level_msg_and_time,
        json_log_carries_code_field_and_hint,
        text_log_names_level_and_message,
        error_goes_to_standard_error_and_to_the_log,
        quiet_success_logs_no_error,
        missing_executable_is_reported_at_create,
        missing_absolute_executable_is_reported_at_create,
        unexecutable_file_is_permission_denied,
        directory_as_executable_is_permission_denied,
        executable_is_looked_up_in_the_containers_path,
        missing_interpreter_fails_without_a_leftover,
        features_lists_what_engines_ask_for,
        features_have_the_fields_of_the_spec,
        features_names_the_annotations_that_change_behaviour,
        spec_writes_a_config_that_runs,
        spec_does_not_overwrite,
        root_directory_is_private,
        state_directory_behind_a_link_is_refused,
        systemd_flags_are_understood,
    ])
}

fn runtime(args: &[&str]) -> Output {
    finish(Command::new(bundle::runtime()).args(args))
}

fn version_prints_name_commit_and_spec() -> Outcome {
    let out = runtime(&["--version"]).ok();
    let lines: Vec<&str> = out.stdout.lines().collect();
    let first: Vec<_> = lines[0].split(' ').collect();
    assert_eq!((first.len(), first[1]), (3, "version"), "{out:?}");
    assert!(lines[1].starts_with("commit: "), "{out:?}");
    assert!(lines[2].starts_with("spec: 1."), "{out:?}");
    runtime(&["-v"]).ok().prints(out.stdout.trim_end());
    Ok(())
}

const COMMANDS: [&str; 16] = [
    "checkpoint",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "kill",
    "list",
    "pause",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
];

fn help_lists_the_commands() -> Outcome {
    let out = runtime(&["--help"]).ok();
    for command in COMMANDS {
        assert!(out.stdout.contains(command), "{command} in {out:?}");
    }
    assert!(out.stdout.contains("update"), "{out:?}");
    Ok(())
}

fn help_of_every_command_succeeds() -> Outcome {
    for command in COMMANDS.iter().chain(&["update"]) {
        let out = runtime(&[command, "--help"]).ok();
        assert!(out.stdout.contains(command), "{out:?}");
    }
    Ok(())
}

fn checkpoint_and_restore_end_with_a_clear_error() -> Outcome {
    if !is_greenlang() {
        return Ok(());
    }
    let box_ = Bundle::new().idle();
    let host = Host::before(&box_, &[]);
    let image = box_.dir().join("image");
    let image = image.to_str().unwrap();
    for (args, want) in [
        (
            ["checkpoint", "--image-path", image, "other"],
            "does not exist",
        ),
        (
            ["restore", "--image-path", image, "other"],
            "no such file or directory",
        ),
    ] {
        let out = box_.call(&args).status(1);
        assert!(one_line(&out).contains(want), "{out:?}");
        host.unchanged(args[0]);
    }
    Ok(())
}

/// Asserts an error of one line, and returns it.
#[track_caller]
fn one_line(out: &Output) -> &str {
    assert_eq!(out.stderr.trim_end().lines().count(), 1, "{out:?}");
    out.stderr.trim_end()
}

fn unknown_command_fails() -> Outcome {
    known_elsewhere("prints no error for an unknown command", || {
        let out = runtime(&["frobnicate", "x"]).failed();
        assert!(out.stderr.contains("frobnicate"), "{out:?}");
    })
}

fn unknown_flag_fails() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    for args in [
        &["create", "--frobnicate", "x"][..],
        &["--frobnicate", "state", "x"],
        &["delete", "-z", "x"],
    ] {
        let out = box_.call(args).failed();
        let text = format!("{}{}", out.stdout, out.stderr);
        assert!(
            text.contains("frobnicate") || text.contains("-z"),
            "{out:?}"
        );
    }
    assert_eq!(box_.call(&["list", "-q"]).ok().stdout, "");
    Ok(())
}

fn missing_id_fails() -> Outcome {
    for command in [
        "create", "run", "start", "state", "kill", "delete", "exec", "pause", "ps",
    ] {
        runtime(&[command]).failed();
    }
    Ok(())
}

fn surplus_argument_fails() -> Outcome {
    let box_ = Bundle::new();
    for command in ["start", "state", "pause", "resume", "delete"] {
        box_.call(&[command, "one", "two"]).failed();
    }
    Ok(())
}

fn flags_take_one_dash_and_both_forms_of_values() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    let root = box_.state_root();
    let root = root.to_str().unwrap();
    let (root_is, bundle) = (
        format!("--root={root}"),
        format!("-bundle={}", box_.dir().display()),
    );
    runtime(&[&root_is, "create", &bundle, "-no-pivot=false", box_.id()]).ok();
    runtime(&["-root", root, "state", box_.id()]).ok();
    runtime(&[
        &format!("-root={root}"),
        "-log-format",
        "json",
        "start",
        box_.id(),
    ])
    .ok();
    runtime(&["--root", root, "delete", "-f", box_.id()]).ok();
    box_.call(&["run", "-detach", "-no-subreaper", box_.id()])
        .ok();
    Ok(())
}

fn options_after_the_id_belong_to_the_process() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.exec(&[], &["echo", "--user", "-t", "--", "x"])
        .ok()
        .prints("--user -t -- x");
    box_.exec(&["-e", "A=b"], &["sh", "-c", "echo $A"])
        .ok()
        .prints("b");
    Ok(())
}

fn ids_outside_the_alphabet_are_refused() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    let host = Host::before(&box_, &[]);
    let long = "x".repeat(1025);
    for id in [
        "", ".", "..", "a/b", "../a", "/", "a b", "a\nb", "a:b", "é", "a$", "*", &long,
    ] {
        let out = box_.call(&["create", id]).failed();
        assert!(!out.stderr.is_empty(), "{id:?}: {out:?}");
        host.unchanged(id);
        box_.call(&["state", id]).failed();
        box_.call(&["delete", "--force", id]);
        host.unchanged(id);
    }
    Ok(())
}

fn ids_of_every_allowed_character_work() -> Outcome {
    let letters: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let box_ = Bundle::new().args(&["true"]);
    let base = bundle::tag();
    // A file name takes 255 bytes: the id is a directory in the state root.
    for id in [
        format!("{base}{letters}_+-."),
        format!("{base}{}", "y".repeat(200)),
    ] {
        box_.write_config();
        box_.call(&["run", &id]).ok();
    }
    Ok(())
}

fn logged(box_: &Bundle, format: &str, args: &[&str]) -> (Output, String) {
    let mut all = vec!["--log", "log", "--log-format", format];
    all.extend(args);
    let out = box_.call(&all);
    let log = fs::read_to_string(box_.dir().join("log")).unwrap_or_default();
    (out, log)
}

fn json_log_has_level_msg_and_time() -> Outcome {
    let box_ = Bundle::new();
    let (out, log) = logged(&box_, "json", &["state", "missing"]);
    out.status(1);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error", "{log}");
    assert!(
        last["msg"].as_str().unwrap().contains("does not exist"),
        "{log}"
    );
    assert!(log.contains(r#""level":"error""#), "{log}");
    let time = last["time"].as_str().unwrap();
    assert!(
        time.starts_with("20") && time.as_bytes()[10] == b'T',
        "{log}"
    );
    assert!(
        time.ends_with('Z') || time.as_bytes()[time.len() - 3] == b':',
        "{log}"
    );
    Ok(())
}

fn json_log_carries_code_field_and_hint() -> Outcome {
    if !is_greenlang() {
        return Ok(());
    }
    let box_ = Bundle::new().mount("nosuchfs", "x", "/mnt", &[]);
    box_.write_config();
    let (out, log) = logged(&box_, "json", &["create", box_.id()]);
    out.status(1);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["code"].as_str().unwrap().starts_with("E_"), "{log}");
    assert!(
        last["field"].as_str().unwrap().starts_with("mounts[7]"),
        "{log}"
    );
    assert!(!last["hint"].as_str().unwrap().is_empty(), "{log}");
    Ok(())
}

fn text_log_names_level_and_message() -> Outcome {
    let box_ = Bundle::new();
    let (_, log) = logged(&box_, "text", &["state", "missing"]);
    assert!(log.contains("level=error") && log.contains("msg="), "{log}");
    assert!(log.contains("does not exist"), "{log}");
    Ok(())
}

fn error_goes_to_standard_error_and_to_the_log() -> Outcome {
    let box_ = Bundle::new();
    for format in ["text", "json"] {
        let (out, log) = logged(&box_, format, &["kill", "missing", "9"]);
        out.status(1).says("does not exist");
        assert!(log.contains("does not exist"), "{log}");
    }
    Ok(())
}

fn quiet_success_logs_no_error() -> Outcome {
    let box_ = Bundle::new().args(&["true"]);
    box_.write_config();
    let (out, log) = logged(&box_, "json", &["run", box_.id()]);
    assert_eq!(out.ok().stderr, "");
    assert!(!log.contains(r#""level":"error""#), "{log}");
    Ok(())
}

#[track_caller]
fn create_fails(box_: &Bundle, text: &str) {
    let host = Host::before(box_, &[]);
    box_.create().status(1).says(text);
    host.unchanged(text);
}

fn missing_executable_is_reported_at_create() -> Outcome {
    create_fails(
        &Bundle::new().args(&["no-such-program"]),
        "executable file not found in $PATH",
    );
    Ok(())
}

fn missing_absolute_executable_is_reported_at_create() -> Outcome {
    create_fails(
        &Bundle::new().args(&["/no/such"]),
        "no such file or directory",
    );
    Ok(())
}

fn unexecutable_file_is_permission_denied() -> Outcome {
    let box_ = Bundle::new().args(&["/etc/passwd"]);
    create_fails(&box_, "permission denied");
    Ok(())
}

fn directory_as_executable_is_permission_denied() -> Outcome {
    known_elsewhere("says `is a directory`", || {
        create_fails(&Bundle::new().args(&["/etc"]), "permission denied");
    })
}

fn executable_is_looked_up_in_the_containers_path() -> Outcome {
    let box_ = Bundle::new()
        .args(&["tool"])
        .set("/process/env", json!(["PATH=/nowhere:/opt/my"]));
    box_.script("opt/my/tool", "#!/bin/sh\necho from $0\n");
    box_.run().ok().prints("from /opt/my/tool");
    Ok(())
}

fn missing_interpreter_fails_without_a_leftover() -> Outcome {
    let box_ = Bundle::new().args(&["/script"]);
    box_.script("script", "#!/no/interpreter\n");
    let host = Host::before(&box_, &[]);
    box_.run().failed().says("no such file or directory");
    host.unchanged("missing interpreter");
    Ok(())
}

fn features_lists_what_engines_ask_for() -> Outcome {
    let box_ = Bundle::new();
    let features = box_.call(&["features"]).ok().json();
    assert!(
        features["ociVersionMin"]
            .as_str()
            .unwrap()
            .starts_with("1."),
        "{features}"
    );
    assert!(
        features["ociVersionMax"]
            .as_str()
            .unwrap()
            .starts_with("1."),
        "{features}"
    );
    let has = |pointer: &str, item: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array);
        let found = list.is_some_and(|l| l.iter().any(|v| v == item));
        assert!(found, "{item} in {pointer} of {features}");
    };
    for hook in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        has("/hooks", hook);
    }
    for option in ["rro", "rbind", "tmpcopyup", "rslave", "nosymfollow", "ro"] {
        has("/mountOptions", option);
    }
    for namespace in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        has("/linux/namespaces", namespace);
    }
    has("/linux/capabilities", "CAP_SYS_ADMIN");
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY", "SCMP_ACT_LOG"] {
        has("/linux/seccomp/actions", action);
    }
    has("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ");
    has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
    let seccomp = features.pointer("/linux/seccomp/enabled");
    assert_eq!(seccomp, Some(&json!(true)), "{features}");
    for pointer in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
    ] {
        let value = features.pointer(pointer);
        assert!(
            value.is_some_and(Value::is_boolean),
            "{pointer} of {features}"
        );
    }
    Ok(())
}

// runtime-spec 1.3, features.md and features-linux.md: every field, by its type.
const FEATURES_LISTS: [&str; 12] = [
    "/hooks",
    "/mountOptions",
    "/potentiallyUnsafeConfigAnnotations",
    "/linux/namespaces",
    "/linux/capabilities",
    "/linux/seccomp/actions",
    "/linux/seccomp/operators",
    "/linux/seccomp/archs",
    "/linux/seccomp/knownFlags",
    "/linux/seccomp/supportedFlags",
    "/linux/memoryPolicy/modes",
    "/linux/memoryPolicy/flags",
];

const FEATURES_SWITCHES: [&str; 13] = [
    "/linux/cgroup/v1",
    "/linux/cgroup/v2",
    "/linux/cgroup/systemd",
    "/linux/cgroup/systemdUser",
    "/linux/cgroup/rdma",
    "/linux/seccomp/enabled",
    "/linux/apparmor/enabled",
    "/linux/selinux/enabled",
    "/linux/intelRdt/enabled",
    "/linux/intelRdt/schemata",
    "/linux/intelRdt/monitoring",
    "/linux/mountExtensions/idmap/enabled",
    "/linux/netDevices/enabled",
];

fn features_have_the_fields_of_the_spec() -> Outcome {
    known_elsewhere("older shape", || {
        let features = Bundle::new().call(&["features"]).ok().json();
        let strings = |value: &Value| {
            let list = value.as_array();
            list.is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
        };
        for pointer in FEATURES_LISTS {
            let value = features.pointer(pointer);
            assert!(value.is_some_and(strings), "{pointer} of {features}");
        }
        for pointer in FEATURES_SWITCHES {
            let value = features.pointer(pointer);
            assert!(
                value.is_some_and(Value::is_boolean),
                "{pointer} of {features}"
            );
        }
        let annotations = features["annotations"].as_object().unwrap();
        assert!(
            annotations.values().all(Value::is_string),
            "{annotations:?}"
        );
        // Nothing else at the top or under linux: a misspelt field would be one.
        let names = |pointer: &str| -> Vec<String> {
            let object = features.pointer(pointer).and_then(Value::as_object);
            object.unwrap().keys().cloned().collect()
        };
        let mut top = names("");
        top.sort();
        assert_eq!(
            top,
            [
                "annotations",
                "hooks",
                "linux",
                "mountOptions",
                "ociVersionMax",
                "ociVersionMin",
                "potentiallyUnsafeConfigAnnotations"
            ]
        );
        let mut linux = names("/linux");
        linux.sort();
        assert_eq!(
            linux,
            [
                "apparmor",
                "capabilities",
                "cgroup",
                "intelRdt",
                "memoryPolicy",
                "mountExtensions",
                "namespaces",
                "netDevices",
                "seccomp",
                "selinux"
            ]
        );
    })
}

fn features_names_the_annotations_that_change_behaviour() -> Outcome {
    known_elsewhere("older shape", || {
        let features = Bundle::new().call(&["features"]).ok().json();
        for pointer in [
            "/linux/mountExtensions/idmap/enabled",
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/intelRdt/enabled",
        ] {
            assert!(
                features.pointer(pointer).is_some_and(Value::is_boolean),
                "{pointer} {features}"
            );
        }
        let unsafe_ones = features["potentiallyUnsafeConfigAnnotations"]
            .as_array()
            .unwrap();
        assert!(unsafe_ones.iter().all(Value::is_string), "{features}");
        let flags = features.pointer("/linux/seccomp/supportedFlags").unwrap();
        assert!(
            flags
                .as_array()
                .unwrap()
                .contains(&json!("SECCOMP_FILTER_FLAG_LOG")),
            "{features}"
        );
    })
}

fn spec_writes_a_config_that_runs() -> Outcome {
    let mut box_ = Bundle::new();
    let dir = box_.dir().to_str().unwrap().to_owned();
    box_.call(&["spec", "--bundle", &dir]).ok();
    let text = fs::read_to_string(box_.dir().join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["terminal"], true, "{text}");
    assert_eq!(config["process"]["args"], json!(["sh"]), "{text}");
    box_.config = config;
    let box_ = box_
        .set("/process/terminal", json!(false))
        .set(
            "/linux/cgroupsPath",
            json!(format!("/{}cgroup", bundle::tag())),
        )
        .args(&["echo", "hello"]);
    box_.run().ok().prints("hello");
    Ok(())
}

fn spec_does_not_overwrite() -> Outcome {
    let box_ = Bundle::new();
    fs::write(box_.dir().join("config.json"), "mine").unwrap();
    box_.call(&["spec"]).failed();
    assert_eq!(
        fs::read_to_string(box_.dir().join("config.json")).unwrap(),
        "mine"
    );
    Ok(())
}

fn root_directory_is_private() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let box_ = Bundle::new();
    box_.write_config();
    let root = box_.dir().join("made/by/runtime");
    let root_text = root.to_str().unwrap();
    runtime(&[
        "--root",
        root_text,
        "create",
        "-b",
        box_.dir().to_str().unwrap(),
        box_.id(),
    ])
    .ok();
    for dir in [root.clone(), root.join(box_.id())] {
        let mode = fs::metadata(&dir).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o066, 0, "{} {mode:o}", dir.display());
    }
    runtime(&["--root", root_text, "delete", "--force", box_.id()]).ok();
    Ok(())
}

fn state_directory_behind_a_link_is_refused() -> Outcome {
    // SPEC: the state directory of a container is never reached through a link.
    known_elsewhere("follows a link in the state root", || {
        let box_ = Bundle::new();
        let victim = box_.outside("victim");
        fs::write(victim.join("file"), "precious").unwrap();
        std::os::unix::fs::symlink(&victim, box_.state_root().join(box_.id())).unwrap();
        let host = Host::before(&box_, &[&victim]);
        box_.create().failed();
        box_.delete();
        host.unchanged("state directory is a link");
        fs::remove_file(box_.state_root().join(box_.id())).unwrap();
    })
}

fn systemd_flags_are_understood() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    // The path of its cgroup is none for systemd, and there may be no systemd: it fails for that.
    let out = box_.call(&["--systemd-cgroup", "create", box_.id()]);
    let out = out.failed();
    assert!(
        out.stderr.contains("systemd") || out.stderr.contains("slice:prefix:name"),
        "{out:?}"
    );
    box_.call(&["--rootless", "false", "--debug", "list"]).ok();
    Ok(())
}
