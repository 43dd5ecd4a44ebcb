//! The life of a container in gVisor, command by command.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use gl_e2e::Outcome;
use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::{eventually, frozen, wait_dead};
use gl_e2e::bundle::listener::{Console, Listener};
use gl_e2e::bundle::settings::Setting;
use serde_json::{Value, json};

use super::{PLAIN, printed, runsc, with};

/// What gVisor's kernel calls itself.
const VERSION: &str = "Linux version 4.4.0";

pub(super) fn kernel_is_gvisors() -> Outcome {
    runsc()?;
    let host = fs::read_to_string("/proc/version").unwrap();
    assert!(!host.starts_with(VERSION), "{host}");
    let seen = printed("cat /proc/version; dmesg", PLAIN);
    assert!(seen.starts_with(VERSION), "{seen}");
    assert!(seen.contains("Starting gVisor"), "{seen}");
    Ok(())
}

pub(super) fn floor_of_the_host_gives_a_kernel_as_well() -> Outcome {
    runsc()?;
    let _profile = Setting::profile("sandboxed", PLAIN);
    let text = "version = 1\nminimum_profile = \"sandboxed\"\n";
    let _settings = Setting::new("config.toml", text);
    let box_ = super::annotated(Bundle::sh("cat /proc/version"), "data_processing");
    let seen = box_.run().ok().stdout;
    assert!(seen.starts_with(VERSION), "{seen}");
    Ok(())
}

/// As `/run` is on Debian from 13 on.
pub(super) fn state_root_may_be_without_exec() -> Outcome {
    runsc()?;
    const ELSEWHERE: &str = "/var/lib/greenlang/@gvisor";
    let was_there = fs::metadata(ELSEWHERE).is_ok();
    let (box_, _profile) = with(Bundle::sh("cat /proc/version"), PLAIN);
    let root = box_.state_root();
    fs::create_dir_all(&root).unwrap();
    // What the host had before it went down.
    let before = format!("{ELSEWHERE}/00000000/0123456789ab");
    fs::create_dir_all(&before).unwrap();
    let mount = |program: &str, args: &[&str]| {
        let done = Command::new(program)
            .args(args)
            .arg(&root)
            .status()
            .unwrap();
        done.success()
    };
    let options = ["-t", "tmpfs", "-o", "noexec,mode=0700", "tmpfs"];
    assert!(mount("mount", &options));
    let output = box_.run();
    let boots = fs::read_dir(ELSEWHERE).unwrap().flatten();
    let boots: Vec<_> = boots.map(|entry| entry.path()).collect();
    let left = boots.iter().flat_map(|boot| fs::read_dir(boot).unwrap());
    let left: Vec<_> = left
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.path())
        .collect();
    // The process that watched the container lets the runtime go first.
    eventually("nobody uses the state root", || {
        mount("umount", &["--quiet"]).then_some(())
    });
    if !was_there {
        fs::remove_dir_all(ELSEWHERE).unwrap();
    }
    let output = output.ok();
    assert!(output.stdout.starts_with(VERSION), "{output:?}");
    assert_eq!(boots.len(), 1, "{boots:?}");
    assert_eq!(left, [""; 0].map(PathBuf::from), "of sandboxes");
    Ok(())
}

/// runsc makes its streams nobody's, so that its sandbox can open them again: not the device of the host.
pub(super) fn null_device_of_the_host_stays_roots() -> Outcome {
    runsc()?;
    let before = fs::metadata("/dev/null").unwrap();
    let (box_, _profile) = with(Bundle::sh("cat; true"), PLAIN);
    box_.write_config();
    let mut command = box_.command(&["run", box_.id()]);
    let null = || {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    };
    command.stdin(null().unwrap()).stdout(null().unwrap());
    assert!(command.status().unwrap().success());
    let (box_, _kept) = with(Bundle::new(), PLAIN);
    let box_ = box_.idle();
    let mut command = box_.command(&["exec", box_.id(), "true"]);
    command.stdin(null().unwrap()).stdout(null().unwrap());
    assert!(command.status().unwrap().success());
    let after = fs::metadata("/dev/null").unwrap();
    let facts = |one: &fs::Metadata| (one.uid(), one.gid(), one.mode());
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(after.uid(), 0, "somebody has changed it before");
    Ok(())
}

pub(super) fn life_is_that_of_any_container() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::sh("echo ready; exec sleep 1000"), PLAIN);
    box_.create_with(&["--pid-file", "pid"]).ok();
    let state = box_.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], box_.id());
    assert_eq!(state["bundle"], json!(box_.dir()));
    let pid = fs::read_to_string(box_.dir().join("pid")).unwrap();
    assert_eq!(json!(pid.parse::<i32>().unwrap()), state["pid"]);
    box_.exec(&[], &["true"]).failed().says("exec in");
    box_.start().ok();
    box_.wait_for("ready");
    assert_eq!(box_.status(), "running");
    box_.start().failed().says("it is running");
    let list = box_.call(&["list", "--format", "json"]).ok().json();
    assert_eq!(list[0]["id"], box_.id());
    assert_eq!(list[0]["status"], "running");
    let stats = box_.call(&["events", "--stats", box_.id()]).ok().json();
    let usage = stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap();
    assert!(usage > 1 << 20, "{stats}");
    box_.delete().failed().says("that is not stopped");
    box_.kill_and_wait();
    assert_eq!(box_.status(), "stopped");
    box_.kill("TERM").failed().says("container not running");
    box_.delete().ok();
    box_.call(&["state", box_.id()])
        .failed()
        .says("does not exist");
    box_.delete_force().ok();
    Ok(())
}

pub(super) fn statuses_are_the_programs() -> Outcome {
    runsc()?;
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 128", 128),
        ("kill -9 $$", 137),
    ] {
        // The shell is not the first process, which no signal of its own ends.
        let script = format!("sh -c '{script}'");
        let (box_, _profile) = with(Bundle::sh(&script), PLAIN);
        box_.run().status(status);
    }
    Ok(())
}

pub(super) fn missing_program_is_told_at_create() -> Outcome {
    runsc()?;
    for (program, said) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/bin/no-such-program", "no such file or directory"),
    ] {
        let (box_, _profile) = with(Bundle::new().args(&[program]), PLAIN);
        box_.create().failed().says(said).says(program);
    }
    Ok(())
}

pub(super) fn signals_reach_the_program() -> Outcome {
    runsc()?;
    let script = "trap 'echo USR1; exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let (box_, _profile) = with(Bundle::sh(script), PLAIN);
    let box_ = box_.ready();
    box_.kill("0").ok();
    box_.kill("USR1").ok();
    box_.wait_for("USR1");
    eventually("the end", || (box_.status() == "stopped").then_some(()));
    let (box_, _profile) = with(Bundle::sh("sleep 1000 & echo ready; wait; sleep 1"), PLAIN);
    let box_ = box_.ready();
    box_.call(&["kill", "--all", box_.id(), "TERM"]).ok();
    eventually("the end of all", || {
        (box_.status() == "stopped").then_some(())
    });
    Ok(())
}

pub(super) fn exec_runs_in_the_sandbox() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let box_ = box_.idle();
    let script = "cat /proc/version; pwd; id -u; echo $A; exit 3";
    let flags = ["--cwd", "/tmp", "--user", "7:7", "--env", "A=1"];
    let out = box_.exec(&flags, &["sh", "-c", script]).status(3);
    assert!(out.stdout.starts_with(VERSION), "{out:?}");
    assert!(out.stdout.ends_with("/tmp\n7\n1\n"), "{out:?}");
    let document = json!({"args": ["cat", "/proc/self/comm"], "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin"]});
    box_.exec_process(&document).ok().prints("cat");
    box_.exec(&[], &["no-such-program"]).failed();
    box_.exec(&["--cgroup", "x"], &["true"])
        .status(255)
        .says("enforce --cgroup in gVisor");
    Ok(())
}

pub(super) fn exec_detached_leaves_a_process_that_waits() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let box_ = box_.idle();
    box_.exec(&["--detach", "--pid-file", "waits"], &["sleep", "1000"])
        .ok();
    let pid = fs::read_to_string(box_.dir().join("waits")).unwrap();
    let pid: i32 = pid.parse().unwrap();
    let table = box_.call(&["ps", box_.id()]).ok().stdout;
    assert_eq!(table.matches("sleep").count(), 2, "{table}");
    box_.kill_and_wait();
    wait_dead(pid);
    Ok(())
}

pub(super) fn pause_stops_the_sandbox() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let box_ = box_.idle();
    box_.call(&["pause", box_.id()]).ok();
    assert_eq!(box_.status(), "paused");
    assert!(frozen(box_.id()));
    box_.exec(&[], &["true"]).failed().says("it is paused");
    box_.kill("TERM").failed().says("it is paused");
    box_.call(&["resume", box_.id()]).ok();
    assert_eq!(box_.status(), "running");
    box_.exec(&[], &["true"]).ok();
    box_.call(&["pause", box_.id()]).ok();
    box_.kill_and_wait();
    Ok(())
}

pub(super) fn processes_are_listed_inside_and_outside() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let box_ = box_.idle();
    let table = box_.call(&["ps", box_.id()]).ok().stdout;
    let inside: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (inside[1], inside[inside.len() - 1]),
        ("1", "sleep"),
        "{table}"
    );
    let pids = box_
        .call(&["ps", "--format", "json", box_.id()])
        .ok()
        .json();
    let pids: Vec<_> = pids
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert!(pids.contains(&i64::from(box_.pid())), "{pids:?}");
    Ok(())
}

pub(super) fn terminal_goes_to_the_console_socket() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(
        Bundle::sh("test -t 0 && echo terminal; read line; echo got $line"),
        PLAIN,
    );
    let box_ = box_.set("/process/terminal", json!(true));
    let listener = Listener::new(box_.dir(), "console");
    box_.create_with(&["--console-socket", "console"]).ok();
    let terminal = Console::from_message(listener.receive());
    box_.start().ok();
    terminal.wait_for("terminal");
    terminal.line("hello");
    terminal.wait_for("got hello");
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let box_ = box_.set("/process/terminal", json!(true));
    box_.create().failed().says("--console-socket");
    Ok(())
}

pub(super) fn hooks_run_on_the_host() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    let log = box_.dir().join("log");
    let hook = |name: &str| {
        let script = format!(
            "echo {name} $(tr -d ' \\n' | grep -o '\"id\":\"[^\"]*\"') >>{}",
            log.display()
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let hooks = json!({"prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
        "poststart": hook("poststart"), "poststop": hook("poststop")});
    let box_ = box_.set("/hooks", hooks).started();
    box_.kill_and_wait();
    box_.delete().ok();
    let seen = fs::read_to_string(&log).unwrap();
    let id = format!("\"id\":\"{}\"", box_.id());
    let names = ["prestart", "createRuntime", "poststart", "poststop"];
    let want: Vec<_> = names.iter().map(|name| format!("{name} {id}")).collect();
    assert_eq!(seen.lines().collect::<Vec<_>>(), want);
    // In the foreground, too, where runsc alone would do.
    let box_ = box_.args(&["sh", "-c", "echo ran; exit 4"]);
    box_.run().status(4).prints("ran");
    Ok(())
}
