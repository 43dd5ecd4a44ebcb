//! From create to removal, with all that can be done to a container in between.

use std::time::{Duration, Instant};

use crate::command::{eventually, fail};
use crate::engine::Engine;
use crate::{Outcome, kernel};

/// A first process that ends with status 3 when asked to.
const ENDS_ON_TERM: [&str; 3] = [
    "sh",
    "-c",
    "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.1; done",
];

/// `create` starts nothing, `start` starts it, the engine's view and the kernel's agree.
pub fn create_then_start(engine: &Engine) -> Outcome {
    let container = engine.name_one();
    let name = ["--name", container.name.as_str()];
    engine
        .cli(&engine.run_args("create", &name, &[], &["sleep", "1000"]))
        .ok();
    let created = container.inspect("{{.State.Status}} {{.State.Pid}}");
    assert_eq!(created, "created 0");
    container.cli(&["start"]).ok();
    assert_eq!(container.inspect("{{.State.Status}}"), "running");
    let seen = kernel::processes().get(&container.pid()).cloned();
    assert_eq!(seen.as_deref(), Some("sleep (sleep 1000)"));
    Ok(())
}

/// The runtime under test, and no other, runs the containers: it lists one under the engine's root.
pub fn runtime_under_test_has_the_container(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let state = container.runtime_state();
    assert_eq!(state["status"], "running", "{state}");
    assert_eq!(state["pid"], container.pid(), "{state}");
    Ok(())
}

/// `logs` has what was printed, each stream apart, while the container runs and after its end.
pub fn logs_keep_both_streams(engine: &Engine) -> Outcome {
    let script = "echo one; echo two >&2; trap 'echo three; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let container = engine.start(&[], &["sh", "-c", script]);
    container.expect_log("ready");
    let running = container.cli(&["logs"]);
    assert_eq!(
        (running.ok(), running.stderr.trim()),
        ("one\nready", "two"),
        "{running}"
    );
    container.cli(&["kill", "--signal", "TERM"]).ok();
    container.wait();
    let ended = container.cli(&["logs"]);
    assert_eq!(
        (ended.ok(), ended.stderr.trim()),
        ("one\nready\nthree", "two"),
        "{ended}"
    );
    Ok(())
}

/// `stop` asks with SIGTERM and takes the status that the program ends with.
pub fn stop_asks_first(engine: &Engine) -> Outcome {
    let container = engine.start(&[], &ENDS_ON_TERM);
    container.expect_log("ready");
    container.cli(&["stop", "-t", "20"]).ok();
    container.expect_log("asked");
    assert_eq!(
        container.inspect("{{.State.Running}} {{.State.ExitCode}}"),
        "false 3"
    );
    Ok(())
}

/// `stop` kills what does not listen, after the time given and not much later.
pub fn stop_kills_after_its_time(engine: &Engine) -> Outcome {
    // What the same takes without a wait, on this machine and now.
    let container = engine.sleeper(&[]);
    let begin = Instant::now();
    container.cli(&["stop", "-t", "0"]).ok();
    let at_once = begin.elapsed();
    let container = engine.sleeper(&[]);
    let (pid, cgroup) = (container.pid(), container.cgroup());
    let begin = Instant::now();
    container.cli(&["stop", "-t", "1"]).ok();
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(900), "took {took:?}");
    // The time that is waited if none is given is 10 s.
    assert!(
        took < Duration::from_secs(8) + 2 * at_once,
        "took {took:?}, at once {at_once:?}"
    );
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "137");
    kernel::assert_gone(pid);
    cgroup.assert_removed();
    Ok(())
}

/// `restart` gives a new process on the same writable layer.
pub fn restart_keeps_files_and_replaces_the_process(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let before = container.pid();
    container.exec_sh("echo kept >/root/note").ok();
    container.cli(&["restart", "-t", "0"]).ok();
    kernel::assert_gone(before);
    assert_ne!(container.pid(), before);
    assert_eq!(container.exec_sh("cat /root/note").ok(), "kept");
    Ok(())
}

/// A stopped container starts again.
pub fn start_after_stop(engine: &Engine) -> Outcome {
    let container = engine.start(&[], &["sh", "-c", "echo run; exit 0"]);
    assert_eq!(container.wait(), 0);
    container.cli(&["start"]).ok();
    assert_eq!(container.wait(), 0);
    assert_eq!(container.cli(&["logs"]).ok(), "run\nrun");
    Ok(())
}

/// `rm` refuses a running container; `rm -f` leaves no process, cgroup or runtime state.
pub fn rm_force_removes_everything(engine: &Engine) -> Outcome {
    let container = engine.start(&["--memory=64m"], &["sh", "-c", "sleep 1000 & sleep 1000"]);
    let (pid, id, cgroup) = (container.pid(), container.id(), container.cgroup());
    container.cli(&["rm"]).refused();
    container.remove().ok();
    kernel::assert_gone(pid);
    cgroup.assert_removed();
    assert_eq!(engine.state_root_of(&id), None, "runtime state left behind");
    let again = container.cli(&["inspect"]);
    assert!(
        again.refused().to_lowercase().contains("no such"),
        "{again}"
    );
    Ok(())
}

/// `pause` freezes the cgroup: the processes stand still. `unpause` lets them go on.
pub fn pause_freezes_and_unpause_thaws(engine: &Engine) -> Outcome {
    // Wakes up once a second, in one process.
    let container = engine.start(&[], &["tail", "-f", "-s", "1", "/etc/group"]);
    let (pid, cgroup) = (container.pid(), container.cgroup());
    let wakeups = || kernel::status(pid, "voluntary_ctxt_switches");
    container.cli(&["pause"]).ok();
    assert!(cgroup.frozen(), "the cgroup is not frozen");
    assert_eq!(container.inspect("{{.State.Status}}"), "paused");
    let frozen_at = wakeups();
    let moved = eventually(Duration::from_millis(2100), || wakeups() != frozen_at);
    assert!(!moved, "the process woke up while paused");

    let refused = container.exec_sh("true");
    // Podman speaks of an improper state.
    let why = ["paused", "state improper"];
    assert!(
        why.iter().any(|w| refused.refused().contains(w)),
        "exec in a paused container: {refused}"
    );

    container.cli(&["unpause"]).ok();
    assert!(!cgroup.frozen(), "the cgroup is still frozen");
    let moves = eventually(Duration::from_secs(10), || wakeups() != frozen_at);
    assert!(moves, "the process stands still after unpause");
    container.exec_sh("true").ok();
    Ok(())
}

/// A paused container can be removed by force.
pub fn rm_force_of_a_paused_container(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let (pid, cgroup) = (container.pid(), container.cgroup());
    container.cli(&["pause"]).ok();
    container.remove().ok();
    kernel::assert_gone(pid);
    cgroup.assert_removed();
    Ok(())
}

/// `top` lists the processes of the container, and none of the host's.
pub fn top_lists_the_containers_processes(engine: &Engine) -> Outcome {
    let container = engine.start(
        &[],
        &["sh", "-c", "sleep 1001 & sleep 1002 & echo ready; wait"],
    );
    container.expect_log("ready");
    let out = container.cli(&["top"]);
    let lines = out.ok().lines().count();
    assert_eq!(lines, 4, "a heading, the shell and two sleeps: {out}");
    for program in ["sleep 1001", "sleep 1002", "wait"] {
        assert!(out.stdout.contains(program), "{program} is missing: {out}");
    }
    Ok(())
}

/// `stats` shows the limit, memory in use and the number of processes that the cgroup has.
pub fn stats_match_the_cgroup(engine: &Engine) -> Outcome {
    let options = ["--memory=64m", "--pids-limit=50"];
    let container = engine.start(
        &options,
        &["sh", "-c", "sleep 1001 & sleep 1002 & echo ready; wait"],
    );
    container.expect_log("ready");
    let format = "{{.PIDs}}|{{.MemUsage}}|{{.CPUPerc}}";
    let out = container.cli(&["stats", "--no-stream", "--format", format]);
    let fields: Vec<&str> = out.ok().split('|').map(str::trim).collect();
    let [pids, memory, cpu] = fields.as_slice() else {
        fail(&format!("three fields are asked for: {out}"))
    };
    assert_eq!(*pids, "3", "{out}");
    let (used, limit) = memory.split_once(" / ").unwrap_or_default();
    assert!(limit == "64MiB" || limit == "67.11MB", "{out}");
    assert!(!used.starts_with("0B") && used.ends_with('B'), "{out}");
    assert!(cpu.ends_with('%'), "{out}");
    Ok(())
}

/// `update --memory` changes the limit of a running container.
pub fn update_memory_reaches_the_kernel(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--memory=64m", "--memory-swap=128m"]);
    let cgroup = container.cgroup();
    assert_eq!(cgroup.memory_limit(), (64 << 20).to_string());
    container
        .cli(&["update", "--memory=96m", "--memory-swap=192m"])
        .ok();
    assert_eq!(cgroup.memory_limit(), (96 << 20).to_string());
    container
        .cli(&["update", "--memory=32m", "--memory-swap=64m"])
        .ok();
    assert_eq!(cgroup.memory_limit(), (32 << 20).to_string());
    Ok(())
}

/// `update` changes processor limits of a running container.
pub fn update_cpus_reaches_the_kernel(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--cpu-period=100000", "--cpu-quota=50000"]);
    let cgroup = container.cgroup();
    assert_eq!(cgroup.cpu_quota(), "50000 100000");
    container
        .cli(&["update", "--cpu-period=50000", "--cpu-quota=20000"])
        .ok();
    assert_eq!(cgroup.cpu_quota(), "20000 50000");
    Ok(())
}
