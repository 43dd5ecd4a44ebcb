//! Create, start, state, kill, delete, pause, ps, list, events: strings, codes and JSON that
//! engines read back.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::ExitCode;

use gl_e2e::bundle::kernel::{self, eventually, wait_dead, wait_zombie};
use gl_e2e::bundle::listener::Listener;
use gl_e2e::bundle::{self, Bundle, Host, finish, known_elsewhere};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        created_container_shows_the_state_document,
        started_container_is_running_then_stopped,
        zombie_init_counts_as_stopped,
        annotations_are_in_the_state,
        state_of_a_missing_container_fails,
        start_of_a_missing_container_fails,
        start_twice_is_refused,
        start_of_a_stopped_container_is_refused,
        kill_of_a_stopped_container_says_not_running,
        kill_of_a_missing_container_says_does_not_exist,
        kill_accepts_every_spelling_of_a_signal,
        kill_without_a_signal_sends_term,
        kill_accepts_real_time_signals,
        kill_with_an_unknown_signal_fails,
        kill_zero_probes_only,
        kill_reaches_a_created_container,
        kill_all_reaches_every_process,
        delete_of_a_running_container_is_refused,
        delete_of_a_created_container_kills_it,
        delete_of_a_stopped_container_leaves_nothing,
        delete_force_of_a_running_container_leaves_nothing,
        delete_force_of_a_missing_container_succeeds,
        delete_of_a_missing_container_says_does_not_exist,
        delete_force_without_a_pid_namespace_kills_all,
        create_with_an_id_in_use_is_refused,
        list_shows_all_containers,
        list_tolerates_stray_files,
        list_of_an_empty_root_is_an_empty_array,
        list_quiet_prints_ids,
        ps_prints_json_and_a_table,
        pause_freezes_and_resume_thaws,
        kill_reaches_a_paused_container,
        delete_force_of_a_paused_container_works,
        events_prints_statistics,
        events_reports_an_oom,
        run_returns_the_status_of_the_process,
        run_of_a_signalled_process_returns_128_plus_n,
        run_forwards_a_signal_to_the_process,
        run_deletes_the_container,
        run_keep_leaves_it_stopped,
        run_detach_returns_at_once,
        run_reads_standard_input,
        pid_file_holds_the_pid_without_a_newline,
        pidfd_socket_receives_the_process,
        config_of_a_deleted_bundle_is_not_needed,
        state_reports_a_bundle_by_absolute_path,
        two_containers_share_a_root,
        preserve_fds_reach_the_process,
    ])
}

fn created_container_shows_the_state_document() -> Outcome {
    let box_ = Bundle::new().set("/ociVersion", json!("1.0.2"));
    box_.create().ok();
    let state = box_.state();
    assert_eq!(state["id"], box_.id(), "{state}");
    assert_eq!(state["status"], "created", "{state}");
    assert_eq!(state["bundle"], box_.dir().to_str().unwrap(), "{state}");
    assert_eq!(state["rootfs"], box_.rootfs().to_str().unwrap(), "{state}");
    let version = state["ociVersion"].as_str().unwrap();
    assert!(version.starts_with("1."), "{state}");
    let created = state["created"].as_str().unwrap();
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{state}"
    );
    assert_eq!(created.as_bytes()[10], b'T', "{state}");
    assert!(state["owner"].is_string(), "{state}");
    let pid = state["pid"].as_i64().unwrap();
    assert!(fs::read_dir(format!("/proc/{pid}")).is_ok(), "{state}");
    Ok(())
}

fn started_container_is_running_then_stopped() -> Outcome {
    let box_ = Bundle::new().started();
    assert_eq!(box_.status(), "running");
    box_.kill_and_wait();
    assert_eq!(box_.status(), "stopped");
    let state = box_.state();
    assert_eq!(state["pid"], 0, "{state}");
    Ok(())
}

fn zombie_init_counts_as_stopped() -> Outcome {
    let box_ = Bundle::new().started();
    let pid = box_.pid();
    box_.kill("KILL").ok();
    wait_zombie(pid);
    assert!(kernel::proc_file(pid, "status").contains("Z (zombie)"));
    assert_eq!(box_.status(), "stopped");
    box_.delete().ok();
    Ok(())
}

fn annotations_are_in_the_state() -> Outcome {
    let box_ = Bundle::new().set("/annotations", json!({"org.example.key": "a value"}));
    box_.create().ok();
    let state = box_.state();
    assert_eq!(
        state["annotations"]["org.example.key"], "a value",
        "{state}"
    );
    Ok(())
}

fn state_of_a_missing_container_fails() -> Outcome {
    let box_ = Bundle::new();
    box_.call(&["state", box_.id()])
        .status(1)
        .says("does not exist");
    Ok(())
}

fn start_of_a_missing_container_fails() -> Outcome {
    let box_ = Bundle::new();
    box_.start().status(1).says("does not exist");
    Ok(())
}

fn start_twice_is_refused() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.start().status(1).says("running");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn start_of_a_stopped_container_is_refused() -> Outcome {
    let box_ = Bundle::new().started();
    box_.kill_and_wait();
    box_.start().status(1).says("stopped");
    Ok(())
}

fn kill_of_a_stopped_container_says_not_running() -> Outcome {
    let box_ = Bundle::new().started();
    box_.kill_and_wait();
    box_.kill("KILL").status(1).says("container not running");
    Ok(())
}

fn kill_of_a_missing_container_says_does_not_exist() -> Outcome {
    let box_ = Bundle::new();
    box_.kill("KILL").status(1).says("does not exist");
    Ok(())
}

/// Prints the number of each signal that it gets.
const COUNTER: &str = "for s in 1 2 10 12 15 37; do trap \"echo got $s\" $s; done; echo ready; \
     while :; do sleep 1000 & wait; done";

fn kill_accepts_every_spelling_of_a_signal() -> Outcome {
    let box_ = Bundle::sh(COUNTER).ready();
    for (spelling, number) in [
        ("10", 10),
        ("USR2", 12),
        ("SIGUSR1", 10),
        ("sigusr2", 12),
        ("hup", 1),
        ("SIGTERM", 15),
        ("2", 2),
    ] {
        box_.kill(spelling).ok();
        box_.wait_for(&format!("got {number}"));
    }
    Ok(())
}

fn kill_without_a_signal_sends_term() -> Outcome {
    let box_ = Bundle::sh(COUNTER).ready();
    box_.call(&["kill", box_.id()]).ok();
    box_.wait_for("got 15");
    Ok(())
}

fn kill_accepts_real_time_signals() -> Outcome {
    known_elsewhere("knows no names of real-time signals", || {
        let box_ = Bundle::sh(COUNTER).ready();
        box_.kill("SIGRTMIN+3").ok();
        box_.wait_for("got 37");
    })
}

fn kill_with_an_unknown_signal_fails() -> Outcome {
    let box_ = Bundle::new().started();
    for signal in ["SIGNONE", "-1", "1000", "9x"] {
        let out = box_.kill(signal).failed();
        assert!(!out.stderr.is_empty(), "{signal}: {out:?}");
    }
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn kill_zero_probes_only() -> Outcome {
    let box_ = Bundle::new().started();
    box_.kill("0").ok();
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn kill_reaches_a_created_container() -> Outcome {
    let box_ = Bundle::new();
    box_.create().ok();
    box_.kill_and_wait();
    assert_eq!(box_.status(), "stopped");
    box_.delete().ok();
    Ok(())
}

fn kill_all_reaches_every_process() -> Outcome {
    let box_ = Bundle::sh("sleep 1001 & sleep 1002 & echo ready; exec sleep 1000")
        .namespace("pid", None)
        .ready();
    let list = fs::read_to_string(kernel::cgroup("pids", box_.id()).join("cgroup.procs")).unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    box_.call(&["kill", "--all", box_.id(), "KILL"]).ok();
    for pid in list.lines() {
        wait_dead(pid.parse().unwrap());
    }
    Ok(())
}

fn delete_of_a_running_container_is_refused() -> Outcome {
    let box_ = Bundle::new().started();
    let out = box_.delete().status(1);
    assert!(out.stderr.contains("not stopped"), "{out:?}");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn delete_of_a_created_container_kills_it() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    box_.create().ok();
    box_.delete().ok();
    host.unchanged("created, deleted");
    Ok(())
}

fn delete_of_a_stopped_container_leaves_nothing() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let box_ = box_.started();
    box_.kill_and_wait();
    box_.delete().ok();
    host.unchanged("stopped, deleted");
    box_.call(&["state", box_.id()])
        .status(1)
        .says("does not exist");
    Ok(())
}

fn delete_force_of_a_running_container_leaves_nothing() -> Outcome {
    let box_ = Bundle::sh("sleep 1001 & echo ready; exec sleep 1000");
    let host = Host::before(&box_, &[]);
    let box_ = box_.ready();
    box_.delete_force().ok();
    host.unchanged("running, deleted by force");
    Ok(())
}

fn delete_force_of_a_missing_container_succeeds() -> Outcome {
    let box_ = Bundle::new();
    box_.delete_force().ok();
    Ok(())
}

fn delete_of_a_missing_container_says_does_not_exist() -> Outcome {
    let box_ = Bundle::new();
    box_.delete().status(1).says("does not exist");
    Ok(())
}

fn delete_force_without_a_pid_namespace_kills_all() -> Outcome {
    known_elsewhere("kills init alone", || {
        let box_ = Bundle::sh("sleep 1001 & sleep 1002 & echo ready; exec sleep 1000")
            .namespace("pid", None);
        let host = Host::before(&box_, &[]);
        let box_ = box_.ready();
        box_.delete_force().ok();
        host.unchanged("shared pid namespace, deleted by force");
    })
}

fn create_with_an_id_in_use_is_refused() -> Outcome {
    let box_ = Bundle::new();
    box_.create().ok();
    let host = Host::before(&box_, &[]);
    let pid = box_.pid();
    box_.call(&["create", box_.id()]).status(1).says("exist");
    host.unchanged("id in use");
    assert_eq!(box_.pid(), pid);
    Ok(())
}

fn list_shows_all_containers() -> Outcome {
    let box_ = Bundle::new()
        .set("/annotations", json!({"a": "b"}))
        .started();
    let list = box_.call(&["list", "--format", "json"]).ok().json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    for key in [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
    ] {
        assert_eq!(list[0][key], box_.state()[key], "{key}: {list:?}");
    }
    assert!(list[0]["owner"].is_string(), "{list:?}");
    assert_eq!(list[0]["annotations"]["a"], "b", "{list:?}");
    let table = box_.call(&["list"]).ok().stdout;
    let words: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert!(table.lines().nth(1).unwrap().contains("running"), "{table}");
    Ok(())
}

fn list_tolerates_stray_files() -> Outcome {
    let box_ = Bundle::new().started();
    fs::write(box_.state_root().join("stray"), "x").unwrap();
    fs::create_dir(box_.state_root().join("half")).unwrap();
    let list = box_.call(&["list", "--format=json"]).ok().json();
    let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|c| &c["id"]).collect();
    assert_eq!(ids, [box_.id()], "{list}");
    Ok(())
}

fn list_of_an_empty_root_is_an_empty_array() -> Outcome {
    known_elsewhere("prints null", || {
        let box_ = Bundle::new();
        let list = box_.call(&["list", "--format=json"]).ok().json();
        assert_eq!(list, json!([]));
    })
}

fn list_quiet_prints_ids() -> Outcome {
    let box_ = Bundle::new().started();
    box_.call(&["list", "-q"]).ok().prints(box_.id());
    Ok(())
}

fn ps_prints_json_and_a_table() -> Outcome {
    let box_ = Bundle::sh("sleep 1001 & echo ready; exec sleep 1000").ready();
    let pids = box_
        .call(&["ps", "--format", "json", box_.id()])
        .ok()
        .json();
    let mut pids: Vec<i64> = pids
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_i64().unwrap())
        .collect();
    pids.sort_unstable();
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert!(pids.contains(&i64::from(box_.pid())), "{pids:?}");
    let table = box_.call(&["ps", box_.id()]).ok().stdout;
    assert!(table.lines().next().unwrap().contains("PID"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let table = box_
        .call(&["ps", "--format", "table", box_.id(), "-o", "pid,args"])
        .ok()
        .stdout;
    assert!(
        table.contains("sleep 1001") && table.contains("sleep 1000"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3, "{table}");
    Ok(())
}

fn pause_freezes_and_resume_thaws() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.call(&["pause", box_.id()]).ok();
    assert_eq!(box_.status(), "paused");
    assert!(kernel::frozen(box_.id()));
    box_.exec(&[], &["true"]).failed().says("paused");
    box_.call(&["resume", box_.id()]).ok();
    assert_eq!(box_.status(), "running");
    assert!(!kernel::frozen(box_.id()));
    box_.call(&["resume", box_.id()]).failed().says("paused");
    Ok(())
}

fn kill_reaches_a_paused_container() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.call(&["pause", box_.id()]).ok();
    box_.kill("KILL").ok();
    if box_.status() == "paused" {
        box_.call(&["resume", box_.id()]).ok();
    }
    eventually("container stops", || {
        (box_.status() == "stopped").then_some(())
    });
    Ok(())
}

fn delete_force_of_a_paused_container_works() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let box_ = box_.idle();
    box_.call(&["pause", box_.id()]).ok();
    box_.delete_force().ok();
    host.unchanged("paused, deleted by force");
    Ok(())
}

fn events_prints_statistics() -> Outcome {
    let box_ = Bundle::new().idle();
    let out = box_.call(&["events", "--stats", box_.id()]).ok();
    assert_eq!(out.stdout.lines().count(), 1, "{out:?}");
    let event = out.json();
    assert_eq!(event["type"], "stats", "{event}");
    assert_eq!(event["id"], box_.id(), "{event}");
    // What the kernel calls it.
    let resident = if is_v2() {
        "/data/memory/raw/anon"
    } else {
        "/data/memory/raw/rss"
    };
    for pointer in [
        "/data/cpu/usage/total",
        "/data/cpu/usage/kernel",
        "/data/cpu/usage/user",
        "/data/memory/usage/usage",
        "/data/memory/usage/limit",
        resident,
        "/data/pids/current",
    ] {
        assert!(
            event.pointer(pointer).is_some_and(Value::is_u64),
            "{pointer} in {event}"
        );
    }
    assert_eq!(
        event.pointer("/data/pids/current"),
        Some(&json!(1)),
        "{event}"
    );
    for key in ["blkio", "hugetlb"] {
        assert!(event["data"][key].is_object(), "{key} in {event}");
    }
    Ok(())
}

fn events_reports_an_oom() -> Outcome {
    let box_ = Bundle::sh("read x; exec tail /dev/zero").set(
        "/linux/resources/memory",
        json!({"limit": 8_388_608, "swap": 8_388_608}),
    );
    box_.write_config();
    let (trigger, input) = {
        let (reader, writer) = std::io::pipe().unwrap();
        (writer, reader)
    };
    let mut create = box_.command(&["create", box_.id()]);
    create.stdin(input);
    finish(&mut create).ok();
    drop(create);
    box_.start().ok();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut events = box_.command(&["events", "--interval=100ms", box_.id()]);
    events.stdout(writer);
    let mut child = bundle::process::start(&mut events);
    drop(events);
    kernel::read_until(&reader, r#""type":"stats""#);
    std::io::Write::write_all(&mut &trigger, b"go\n").unwrap();
    let seen = kernel::read_until(&reader, r#""type":"oom""#);
    let line = seen.lines().find(|l| l.contains("oom\"")).unwrap();
    let event: Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["id"], box_.id(), "{event}");
    child.kill().unwrap();
    child.wait().unwrap();
    Ok(())
}

fn run_returns_the_status_of_the_process() -> Outcome {
    for code in [0, 1, 42, 126, 127, 255] {
        Bundle::sh(&format!("exit {code}")).run().status(code);
    }
    Ok(())
}

fn run_of_a_signalled_process_returns_128_plus_n() -> Outcome {
    // The shell is not init, so that the default action applies.
    let out = Bundle::sh("exec kill -9 $$").namespace("pid", None).run();
    out.status(137);
    Bundle::sh("kill -15 $$")
        .namespace("pid", None)
        .run()
        .status(143);
    Ok(())
}

fn run_forwards_a_signal_to_the_process() -> Outcome {
    let box_ = Bundle::sh(
        "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 1000 & wait; done",
    );
    box_.write_config();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut run = box_.command(&["run", box_.id()]);
    run.stdout(writer);
    let child = bundle::process::start(&mut run);
    drop(run);
    kernel::read_until(&reader, "ready");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    kernel::read_until(&reader, "got it");
    let status = bundle::process::wait(child, "run");
    assert_eq!(status.code(), Some(7));
    Ok(())
}

fn run_deletes_the_container() -> Outcome {
    let box_ = Bundle::sh("echo hello");
    let host = Host::before(&box_, &[]);
    box_.run().ok().prints("hello");
    host.unchanged("run");
    Ok(())
}

fn run_keep_leaves_it_stopped() -> Outcome {
    known_elsewhere("has no --keep", || {
        let box_ = Bundle::sh("exit 3");
        box_.write_config();
        box_.call(&["run", "--keep", box_.id()]).status(3);
        assert_eq!(box_.status(), "stopped");
        box_.delete().ok();
    })
}

fn run_detach_returns_at_once() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    box_.call(&["run", "--detach", box_.id()]).ok();
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn run_reads_standard_input() -> Outcome {
    let box_ = Bundle::sh("read x; echo got $x");
    box_.write_config();
    let (reader, writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut &writer, b"words\n").unwrap();
    let mut run = box_.command(&["run", box_.id()]);
    finish(run.stdin(reader)).ok().prints("got words");
    Ok(())
}

fn pid_file_holds_the_pid_without_a_newline() -> Outcome {
    let box_ = Bundle::new();
    box_.create_with(&["--pid-file", "pid"]).ok();
    let text = fs::read_to_string(box_.dir().join("pid")).unwrap();
    assert_eq!(text, box_.pid().to_string());
    Ok(())
}

fn pidfd_socket_receives_the_process() -> Outcome {
    known_elsewhere("has no --pidfd-socket", || {
        let box_ = Bundle::new();
        let listener = Listener::new(box_.dir(), "pidfd.sock");
        box_.create_with(&["--pidfd-socket", listener.path()]).ok();
        let pidfd = listener.receive().one();
        let number = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        assert_eq!(
            kernel::fields(&info)["Pid"],
            box_.pid().to_string(),
            "{info}"
        );
    })
}

fn config_of_a_deleted_bundle_is_not_needed() -> Outcome {
    // SPEC: the resolved configuration is immutable from create on, so nothing reads it again.
    known_elsewhere("reads the bundle again", || {
        let box_ = Bundle::new().idle();
        fs::remove_file(box_.dir().join("config.json")).unwrap();
        box_.exec(&[], &["echo", "hi"]).ok().prints("hi");
        assert_eq!(box_.status(), "running");
        box_.kill_and_wait();
        box_.delete().ok();
    })
}

fn state_reports_a_bundle_by_absolute_path() -> Outcome {
    let box_ = Bundle::new();
    box_.write_config();
    let out = finish(
        box_.command(&["create", "--bundle", ".", box_.id()])
            .current_dir(box_.dir()),
    );
    out.ok();
    assert_eq!(box_.state()["bundle"], box_.dir().to_str().unwrap());
    let other = Bundle::new();
    other.write_config();
    let dir = other.dir().to_str().unwrap();
    finish(
        other
            .command(&["create", "-b", dir, other.id()])
            .current_dir("/"),
    )
    .ok();
    assert_eq!(other.state()["bundle"], dir);
    Ok(())
}

fn two_containers_share_a_root() -> Outcome {
    let (one, two) = (Bundle::new(), Bundle::new());
    one.create().ok();
    two.write_config();
    let root = one.state_root();
    let root = root.to_str().unwrap();
    let with = |args: &[&str]| {
        let mut command = std::process::Command::new(bundle::runtime());
        finish(
            command
                .args(["--root", root])
                .args(args)
                .current_dir(two.dir()),
        )
    };
    with(&["create", two.id()]).ok();
    let list = with(&["list", "-q"]).ok().stdout;
    let mut ids: Vec<_> = list.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids, [one.id(), two.id()]);
    with(&["delete", "--force", two.id()]).ok();
    assert_eq!(one.status(), "created");
    Ok(())
}

fn preserve_fds_reach_the_process() -> Outcome {
    let box_ = Bundle::new().args(&["/bin/sh", "-c", "echo ready; exec sleep 1000"]);
    box_.write_config();
    // Descriptors 3 to 6 are opened by a shell; two of them are for the container.
    let script = format!(
        "exec 3<etc3 4<etc4 5<etc5 6<etc6; exec '{}' --root state create --preserve-fds 2 {}",
        bundle::runtime().display(),
        box_.id()
    );
    for n in 3..7 {
        fs::write(box_.dir().join(format!("etc{n}")), "x").unwrap();
    }
    let mut shell = std::process::Command::new("sh");
    finish(
        shell
            .args(["-c", &script])
            .current_dir(box_.dir())
            .stdin(std::process::Stdio::null()),
    )
    .ok();
    box_.start().ok();
    let pid = box_.pid();
    eventually("init runs", || {
        kernel::proc_file(pid, "cmdline")
            .starts_with("sleep")
            .then_some(())
    });
    let open = kernel::descriptors(pid);
    assert_eq!(
        open.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4],
        "{open:?}"
    );
    assert!(
        open[&3].ends_with("etc3") && open[&4].ends_with("etc4"),
        "{open:?}"
    );
    Ok(())
}
