//! containerd with the runtime under test behind its runc shim, driven by `ctr`.

use std::fs;
use std::process::ExitCode;
use std::sync::OnceLock;

use gl_e2e::command::eventually;
use gl_e2e::engine::containerd::{self, Containerd};
use gl_e2e::engine::{text, write_profile};
use gl_e2e::kernel::{Traces, assert_gone, namespace, status};
use gl_e2e::{Outcome, Test, sandbox, tests};
use serde_json::Value;

static CONTAINERD: OnceLock<Containerd> = OnceLock::new();

fn containerd() -> &'static Containerd {
    CONTAINERD
        .get()
        .expect("main starts containerd before the tests")
}

const TESTS: &[Test] = tests![
    run_prints_both_streams_and_ends_with_the_status,
    run_passes_standard_input,
    run_of_a_missing_program_is_an_error,
    run_on_a_terminal,
    run_with_environment_directory_and_user,
    runtime_under_test_has_the_container,
    exec_output_status_user_and_directory,
    exec_on_a_terminal,
    exec_of_a_missing_program_is_an_error,
    pause_freezes_and_resume_thaws,
    kill_ends_the_task_with_137,
    kill_delivers_the_signal_asked_for,
    kill_of_a_stopped_task_is_an_error,
    processes_are_listed,
    metrics_match_the_cgroup,
    memory_limit_kills,
    cpu_limit_is_in_the_cgroup,
    read_only_root_refuses_writes,
    bind_mounts_are_mounted,
    capabilities_are_added_and_dropped,
    seccomp_is_in_force,
    no_new_privileges_is_the_default,
    host_network_is_the_hosts,
    namespace_by_path_is_joined,
    device_is_usable,
    delete_by_force_removes_everything,
    twenty_tasks_leave_nothing_behind,
    profile_of_the_annotation_binds_task_and_exec,
    profile_limits_are_the_smaller_ones,
    profile_that_does_not_exist_fails_the_run,
    profile_timeout_ends_the_task,
];

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn run_prints_both_streams_and_ends_with_the_status() -> Outcome {
    for code in [0, 1, 42] {
        let script = format!("echo out; echo err >&2; exit {code}");
        let out = containerd().run(&[], &["sh", "-c", &script]);
        assert_eq!(out.status, code, "{out}");
        assert_eq!(
            (out.stdout.trim(), out.stderr.trim()),
            ("out", "err"),
            "{out}"
        );
    }
    Ok(())
}

fn run_passes_standard_input() -> Outcome {
    let input = [b'x'; 300_000];
    let out = containerd().run_with_input(&["wc", "-c"], &input);
    assert_eq!(out.ok(), "300000", "{out}");
    Ok(())
}

fn run_of_a_missing_program_is_an_error() -> Outcome {
    let out = containerd().run(&[], &["no-such-program"]);
    assert!(
        out.refused().contains("executable file not found in $PATH"),
        "{out}"
    );
    let out = containerd().run(&[], &["/no/such/program"]);
    assert!(out.refused().contains("no such file or directory"), "{out}");
    let out = containerd().run(&[], &["/bin/not-executable"]);
    assert!(out.refused().contains("permission denied"), "{out}");
    Ok(())
}

fn run_on_a_terminal() -> Outcome {
    let task = containerd().name_one();
    let command = task.run_command(&["--rm", "--tty"], &[], &["sh"]);
    let mut terminal = gl_e2e::terminal::Terminal::start(&command);
    terminal.expect("#");
    terminal.send("echo tty=$(tty)=\n");
    terminal.expect("tty=/dev/pts/0=");
    terminal.send("exit 7\n");
    assert_eq!(terminal.wait(), 7);
    Ok(())
}

fn run_with_environment_directory_and_user() -> Outcome {
    let options = ["--env", "KEY=a value", "--cwd", "/home/user"];
    let out = containerd().run(&options, &["sh", "-c", "echo $KEY; pwd"]);
    assert_eq!(out.ok(), "a value\n/home/user", "{out}");
    Ok(())
}

fn runtime_under_test_has_the_container() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let mut state = std::process::Command::new(gl_e2e::engine::runtime());
    state.args(["--root", "/run/containerd/runc/default", "state", &task.id]);
    let out = gl_e2e::command::output(state);
    let state: Value = serde_json::from_str(out.ok()).unwrap_or_default();
    assert_eq!(state["status"], "running", "{out}");
    assert_eq!(state["pid"], task.pid(), "{out}");
    Ok(())
}

fn exec_output_status_user_and_directory() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let out = task.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!(out.status, 9, "{out}");
    assert_eq!(
        (out.stdout.trim(), out.stderr.trim()),
        ("out", "err"),
        "{out}"
    );
    let options = ["--user", "1000", "--cwd", "/tmp"];
    let out = task.exec(&options, &["sh", "-c", "id -u; pwd"]);
    assert_eq!(out.ok(), "1000\n/tmp", "{out}");
    let namespaces = "for n in ipc mnt net pid uts; do readlink /proc/$1/ns/$n; done";
    let of = |pid: &str| task.exec(&[], &["sh", "-c", namespaces, "sh", pid]);
    assert_eq!(of("self").ok(), of("1").ok());
    Ok(())
}

fn exec_on_a_terminal() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let mut terminal = task.exec_on_terminal(&["sh"]);
    terminal.expect("#");
    terminal.send("echo tty=$(tty)=\n");
    terminal.expect("tty=/dev/pts/0=");
    terminal.send("exit 5\n");
    assert_eq!(terminal.wait(), 5);
    Ok(())
}

fn exec_of_a_missing_program_is_an_error() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let out = task.exec_alone(&[], &["no-such-program"]);
    assert!(
        out.refused().contains("executable file not found in $PATH"),
        "{out}"
    );
    task.exec(&[], &["true"]).ok();
    Ok(())
}

fn pause_freezes_and_resume_thaws() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let cgroup = task.cgroup();
    task.task(&["pause"]).ok();
    assert!(cgroup.frozen(), "the cgroup is not frozen");
    assert_eq!(task.status(), "PAUSED");
    task.task(&["resume"]).ok();
    assert!(!cgroup.frozen(), "the cgroup is still frozen");
    assert_eq!(task.status(), "RUNNING");
    task.exec(&[], &["true"]).ok();
    Ok(())
}

fn kill_ends_the_task_with_137() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    let (pid, cgroup) = (task.pid(), task.cgroup());
    task.task(&["kill", "--signal", "SIGKILL"]).ok();
    assert_gone(pid);
    let limit = std::time::Duration::from_secs(10);
    assert!(
        eventually(limit, || task.status() == "STOPPED"),
        "status {}",
        task.status()
    );
    assert_eq!(task.delete_stopped(), 137);
    cgroup.assert_removed();
    Ok(())
}

fn kill_delivers_the_signal_asked_for() -> Outcome {
    let script = "trap 'exit 7' USR1; while :; do sleep 0.1; done";
    let task = containerd().start(&[], &["sh", "-c", script]);
    // A shell that has set its trap shows it in the mask of caught signals.
    let caught = || u64::from_str_radix(&status(task.pid(), "SigCgt"), 16).unwrap_or(0);
    let limit = std::time::Duration::from_secs(10);
    assert!(
        eventually(limit, || caught() & (1 << 9) != 0),
        "SIGUSR1 is never caught"
    );
    task.task(&["kill", "--signal", "SIGUSR1"]).ok();
    assert!(
        eventually(limit, || task.status() == "STOPPED"),
        "status {}",
        task.status()
    );
    assert_eq!(task.delete_stopped(), 7);
    Ok(())
}

fn kill_of_a_stopped_task_is_an_error() -> Outcome {
    let task = containerd().start(&[], &["true"]);
    let limit = std::time::Duration::from_secs(10);
    assert!(
        eventually(limit, || task.status() == "STOPPED"),
        "status {}",
        task.status()
    );
    let out = task.task(&["kill", "--signal", "SIGKILL"]);
    assert!(out.refused().contains("not found"), "{out}");
    Ok(())
}

fn processes_are_listed() -> Outcome {
    let task = containerd().start(&[], &["sh", "-c", "sleep 1001 & sleep 1002 & wait"]);
    let count = || task.task(&["ps"]).ok().lines().count();
    let limit = std::time::Duration::from_secs(10);
    assert!(
        eventually(limit, || count() == 4),
        "a heading and three: {}",
        task.task(&["ps"])
    );
    Ok(())
}

/// Looks for a key at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map
            .get(key)
            .or_else(|| map.values().find_map(|v| find(v, key))),
        Value::Array(list) => list.iter().find_map(|v| find(v, key)),
        _ => None,
    }
}

fn metrics_match_the_cgroup() -> Outcome {
    let task = containerd().start(&["--memory-limit", "67108864"], &SLEEP);
    let out = task.task(&["metrics", "--format", "json"]);
    let metrics: Value = serde_json::from_str(out.ok()).unwrap_or_default();
    let pids = find(&metrics, "pids").and_then(|pids| find(pids, "current"));
    assert_eq!(pids.and_then(Value::as_u64), Some(1), "{out}");
    let memory = find(&metrics, "memory");
    let limit = ["limit", "usage_limit"].iter().find_map(|key| {
        let usage = memory
            .and_then(|m| m.get("usage"))
            .filter(|u| u.is_object())
            .or(memory);
        usage?.get(key)?.as_u64()
    });
    assert_eq!(limit, Some(67_108_864), "{out}");
    assert!(find(&metrics, "cpu").is_some(), "no processor time: {out}");
    Ok(())
}

fn memory_limit_kills() -> Outcome {
    let limit = ["--memory-limit", "33554432"];
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"];
    let out = containerd().run(&limit, &hog);
    assert_eq!(out.status, 137, "{out}");
    let task = containerd().start(&limit, &SLEEP);
    assert_eq!(task.cgroup().memory_limit(), "33554432");
    Ok(())
}

fn cpu_limit_is_in_the_cgroup() -> Outcome {
    let task = containerd().start(&["--cpus", "0.25"], &SLEEP);
    assert_eq!(task.cgroup().cpu_quota(), "25000 100000");
    Ok(())
}

fn read_only_root_refuses_writes() -> Outcome {
    let out = containerd().run(&["--read-only"], &["touch", "/x"]);
    assert!(out.refused().contains("Read-only file system"), "{out}");
    Ok(())
}

fn bind_mounts_are_mounted() -> Outcome {
    let dir = containerd().directory();
    fs::write(dir.join("file"), "content\n").expect("write a file");
    let mount = |dst: &str, mode: &str| {
        format!(
            "type=bind,src={},dst={dst},options=rbind:{mode}",
            text(&dir)
        )
    };
    let (rw, ro) = (mount("/rw", "rw"), mount("/ro", "ro"));
    let script = "cat /ro/file; echo new >/rw/new; touch /ro/x";
    let out = containerd().run(&["--mount", &rw, "--mount", &ro], &["sh", "-c", script]);
    assert_eq!(out.stdout, "content\n", "{out}");
    assert!(out.refused().contains("Read-only file system"), "{out}");
    assert_eq!(
        fs::read_to_string(dir.join("new")).unwrap_or_default(),
        "new\n"
    );
    Ok(())
}

fn capabilities_are_added_and_dropped() -> Outcome {
    let options = ["--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_CHOWN"];
    let task = containerd().start(&options, &SLEEP);
    let bounding = u64::from_str_radix(&status(task.pid(), "CapBnd"), 16).unwrap_or(0);
    assert_eq!(
        bounding & (1 << 12),
        1 << 12,
        "no CAP_NET_ADMIN in {bounding:#x}"
    );
    assert_eq!(bounding & 1, 0, "CAP_CHOWN in {bounding:#x}");
    let out = task.exec(
        &[],
        &[
            "sh",
            "-c",
            "ip link set lo down && echo down; touch /tmp/f; chown 1 /tmp/f",
        ],
    );
    assert_eq!(out.stdout, "down\n", "{out}");
    assert!(out.refused().contains("not permitted"), "{out}");
    Ok(())
}

fn seccomp_is_in_force() -> Outcome {
    let task = containerd().start(&["--seccomp"], &SLEEP);
    assert_eq!(status(task.pid(), "Seccomp"), "2");
    let out = task.exec(&[], &["unshare", "-U", "true"]);
    assert!(out.refused().contains("not permitted"), "{out}");
    Ok(())
}

fn no_new_privileges_is_the_default() -> Outcome {
    let task = containerd().start(&[], &SLEEP);
    assert_eq!(status(task.pid(), "NoNewPrivs"), "1");
    let task = containerd().start(&["--allow-new-privs"], &SLEEP);
    assert_eq!(status(task.pid(), "NoNewPrivs"), "0");
    Ok(())
}

fn host_network_is_the_hosts() -> Outcome {
    let task = containerd().start(&["--net-host"], &SLEEP);
    let pid = task.pid().to_string();
    assert_eq!(namespace(&pid, "net"), namespace("self", "net"));
    assert_ne!(namespace(&pid, "mnt"), namespace("self", "mnt"));
    Ok(())
}

fn namespace_by_path_is_joined() -> Outcome {
    let first = containerd().start(&[], &SLEEP);
    let of = |kind: &str, name: &str| format!("{name}:/proc/{}/ns/{kind}", first.pid());
    let (net, ipc) = (of("net", "network"), of("ipc", "ipc"));
    let second = containerd().start(&["--with-ns", &net, "--with-ns", &ipc], &SLEEP);
    for kind in ["net", "ipc"] {
        let [a, b] = [&first, &second].map(|t| namespace(&t.pid().to_string(), kind));
        assert_eq!(a, b, "{kind}");
    }
    Ok(())
}

fn device_is_usable() -> Outcome {
    let script = "exec 3>/dev/kmsg && echo opened";
    let without = containerd().run(&[], &["sh", "-c", script]);
    // Without the option `/dev/kmsg` is an ordinary new file or cannot be made at all.
    let with = containerd().run(
        &["--device", "/dev/kmsg"],
        &["sh", "-c", &format!("[ -c /dev/kmsg ] && {script}")],
    );
    assert_eq!(with.ok(), "opened", "{with}, without the option: {without}");
    let denied = containerd().run(
        &["--cap-add", "CAP_MKNOD"],
        &["sh", "-c", "mknod /tmp/k c 1 11; exec 3>/tmp/k"],
    );
    assert!(
        denied.refused().contains("Operation not permitted"),
        "{denied}"
    );
    Ok(())
}

fn delete_by_force_removes_everything() -> Outcome {
    let task = containerd().start(&[], &["sh", "-c", "sleep 1001 & sleep 1002"]);
    let (pid, cgroup) = (task.pid(), task.cgroup());
    task.task(&["delete", "--force"]);
    assert_gone(pid);
    cgroup.assert_removed();
    let state = fs::metadata(format!("/run/containerd/runc/default/{}", task.id));
    assert!(state.is_err(), "runtime state left: {state:?}");
    Ok(())
}

fn twenty_tasks_leave_nothing_behind() -> Outcome {
    drop(containerd().start(&[], &SLEEP));
    let before = Traces::settled(&containerd().scope);
    let kinds: [&[&str]; 4] = [
        &["--memory-limit", "67108864"],
        &["--read-only", "--seccomp"],
        &["--net-host"],
        &[],
    ];
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let options = kinds.iter().cycle().nth(n).copied().unwrap_or_default();
            containerd().start(options, &["sh", "-c", "sleep 1001 & sleep 1002"])
        })
        .collect();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.exec(&[], &["echo", "alive"]).ok(), "alive", "{task}");
        match n % 3 {
            0 => task.task(&["kill", "--signal", "SIGKILL"]).ok().to_owned(),
            1 => task.task(&["pause"]).ok().to_owned(),
            _ => String::new(),
        };
    }
    drop(tasks);
    before.assert_nothing_new(&containerd().scope);
    Ok(())
}

/// The annotation, as a runtime class of CRI passes it on.
fn profile(name: &str) -> String {
    format!("dev.greenlang.profile={name}")
}

fn profile_of_the_annotation_binds_task_and_exec() -> Outcome {
    let options = ["--annotation", &profile("compute_only"), "--net-host"];
    let task = containerd().start(&options, &SLEEP);
    let pid = task.pid();
    assert_eq!(status(pid, "CapBnd"), "0000000000000000");
    assert_eq!(status(pid, "Seccomp_filters"), "1");
    assert_ne!(namespace(&pid.to_string(), "net"), namespace("self", "net"));
    // No shell can be beside a program there.
    let devices = task.exec_alone(&[], &["cat", "/proc/net/dev"]);
    assert_eq!(
        devices.ok().lines().count(),
        3,
        "headings and lo: {devices}"
    );
    let out = task.exec_alone(&[], &["nc", "-l", "-p", "4000"]);
    assert!(out.refused().contains("Operation not permitted"), "{out}");
    let out = task.exec_alone(&[], &["sh", "-c", "true; ls /; true"]);
    assert!(out.refused().contains("can't fork"), "{out}");
    Ok(())
}

fn profile_limits_are_the_smaller_ones() -> Outcome {
    write_profile(
        "e2e-small",
        "[limits]\nmemory_limit_bytes = \"48MiB\"\nmax_open_files = 77\n",
    );
    for (asked, want) in [("134217728", "50331648"), ("33554432", "33554432")] {
        let options = [
            "--memory-limit",
            asked,
            "--annotation",
            &profile("e2e-small"),
        ];
        let task = containerd().start(&options, &SLEEP);
        assert_eq!(task.cgroup().memory_limit(), want, "{asked} asked for");
        let out = task.exec(&[], &["sh", "-c", "ulimit -Hn"]);
        assert_eq!(out.ok(), "77", "{out}");
    }
    Ok(())
}

fn profile_that_does_not_exist_fails_the_run() -> Outcome {
    let options = ["--annotation", &profile("compute_olny")];
    let out = containerd().run(&options, &["echo", "ran"]);
    assert!(!out.stdout.contains("ran"), "{out}");
    assert!(out.refused().contains("did you mean"), "{out}");
    Ok(())
}

fn profile_timeout_ends_the_task() -> Outcome {
    write_profile("e2e-brief", "execution_timeout = 1\n");
    drop(containerd().start(&[], &SLEEP));
    let before = Traces::settled(&containerd().scope);
    let options = ["--annotation", &profile("e2e-brief")];
    let task = containerd().start(&options, &SLEEP);
    let limit = std::time::Duration::from_secs(10);
    assert!(
        eventually(limit, || task.status() == "STOPPED"),
        "status {}",
        task.status()
    );
    // Nobody listens to SIGTERM.
    assert_eq!(task.delete_stopped(), 137);
    drop(task);
    before.assert_nothing_new(&containerd().scope);
    Ok(())
}

fn main() -> ExitCode {
    sandbox::isolated(TESTS, |sandbox| {
        let (daemon, containerd) = containerd::start(sandbox);
        CONTAINERD.get_or_init(|| containerd);
        let status = gl_e2e::main(TESTS);
        drop(daemon);
        status
    })
}
