//! Containers in gVisor under an engine: the same commands, a kernel of their own.

use std::path::Path;

use super::profiles::{Own, chosen};
use crate::command::fail;
use crate::engine::{Container, Engine};
use crate::kernel::Traces;
use crate::{Outcome, Skip};

/// What gVisor's kernel calls itself.
const VERSION: &str = "Linux version 4.4.0";

/// The profile, and the options that give it to a container.
struct Gvisor {
    _profile: Own,
    chosen: String,
}

impl Gvisor {
    fn new(engine: &Engine) -> Result<Self, Skip> {
        let dirs = ["/usr/local/bin", "/usr/bin"];
        if !dirs
            .iter()
            .any(|dir| Path::new(dir).join("runsc").is_file())
        {
            return Err(Skip("no runsc".to_owned()));
        }
        let text = "extends = [\"default\"]\nisolation = \"gvisor\"\n";
        Ok(Self {
            _profile: Own::new("e2e-gvisor", text),
            chosen: chosen(engine, "e2e-gvisor"),
        })
    }

    fn options(&self) -> [&str; 2] {
        [&self.chosen, "--network=none"]
    }
}

/// The program runs on gVisor's kernel, and its streams and status are its own.
pub fn gvisor_runs_a_program(engine: &Engine) -> Outcome {
    let gvisor = Gvisor::new(engine)?;
    let script = "cat /proc/version; hostname; grep Seccomp: /proc/self/status; echo out; echo err >&2; exit 7";
    let out = engine.sh(&gvisor.options(), script);
    assert_eq!(out.status, 7, "{out}");
    assert!(out.stdout.starts_with(VERSION), "{out}");
    assert!(out.stdout.contains("Seccomp:\t2"), "{out}");
    assert!(out.stdout.ends_with("out\n"), "{out}");
    assert!(out.stderr.contains("err"), "{out}");
    let out = engine.run_with_input(&gvisor.options(), &["tr", "a-z", "A-Z"], b"input\n");
    assert_eq!(out.ok(), "INPUT", "{out}");
    let out = engine.run(&gvisor.options(), &["no-such-program"]);
    assert_eq!(out.status, 127, "{out}");
    assert!(
        out.stderr.contains("executable file not found in $PATH"),
        "{out}"
    );
    Ok(())
}

/// A container in the background is entered, read, asked to end and removed.
pub fn gvisor_lives_as_any_container(engine: &Engine) -> Outcome {
    let gvisor = Gvisor::new(engine)?;
    let script = "trap 'echo asked; exit 5' TERM; echo begun; while :; do sleep 0.1; done";
    let container = engine.start(&gvisor.options(), &["sh", "-c", script]);
    container.expect_log("begun");
    let out = container.exec(
        &["--user", "7:8", "--workdir", "/tmp"],
        &["sh", "-c", "cat /proc/version; pwd; id -u; exit 3"],
    );
    assert_eq!(out.status, 3, "{out}");
    assert!(out.stdout.starts_with(VERSION), "{out}");
    assert!(out.stdout.ends_with("/tmp\n7\n"), "{out}");
    let out = container.exec(&[], &["unshare", "-U", "true"]);
    assert!(out.refused().contains("Operation not permitted"), "{out}");
    container.cli(&["pause"]).ok();
    assert!(container.cgroup().frozen());
    container.cli(&["unpause"]).ok();
    container.cli(&["stop"]).ok();
    container.expect_log("asked");
    assert_eq!(container.wait(), 5);
    container.cli(&["start"]).ok();
    running(&container);
    container.cli(&["kill"]).ok();
    assert_eq!(container.wait(), 137);
    container.remove().ok();
    Ok(())
}

fn running(container: &Container<'_>) {
    let running = container.inspect("{{.State.Running}}");
    if running != "true" {
        fail(&format!("it does not run: {running}"));
    }
}

/// A terminal is one, from the start and by exec.
pub fn gvisor_has_a_terminal(engine: &Engine) -> Outcome {
    let gvisor = Gvisor::new(engine)?;
    let script = "test -t 0 && echo on a terminal; read line; echo got $line";
    let mut terminal = engine.run_on_terminal(&gvisor.options(), &["sh", "-c", script]);
    terminal.expect("on a terminal");
    terminal.send("hello\n");
    terminal.expect("got hello");
    assert_eq!(terminal.wait(), 0);
    let container = engine.sleeper(&gvisor.options());
    let mut terminal = container.exec_on_terminal(&["sh", "-c", "test -t 1 && echo here too"]);
    terminal.expect("here too");
    assert_eq!(terminal.wait(), 0);
    Ok(())
}

/// Volumes and limits of the engine hold.
pub fn gvisor_has_volumes_and_limits(engine: &Engine) -> Outcome {
    let gvisor = Gvisor::new(engine)?;
    let dir = engine.directory();
    let volume = format!("--volume={}:/job", dir.display());
    let [chosen, network] = gvisor.options();
    let options = [chosen, network, &volume, "--memory=128m", "--read-only"];
    let container = engine.sleeper(&options);
    assert_eq!(container.cgroup().memory_limit(), (128 << 20).to_string());
    container.exec_sh("echo result >/job/out").ok();
    let seen = std::fs::read_to_string(dir.join("out"));
    assert_eq!(seen.ok().as_deref(), Some("result\n"));
    let out = container.exec_sh("touch /etc/x");
    assert!(out.refused().contains("Read-only file system"), "{out}");
    Ok(())
}

/// No process, mount, cgroup or state is left.
pub fn gvisor_leaves_nothing_behind(engine: &Engine) -> Outcome {
    let gvisor = Gvisor::new(engine)?;
    drop(engine.sleeper(&gvisor.options()));
    let before = Traces::settled(&engine.scope);
    let container = engine.sleeper(&gvisor.options());
    container.exec(&["--detach"], &["sleep", "1000"]).ok();
    container.remove().ok();
    engine.run(&gvisor.options(), &["true"]).ok();
    engine
        .run(&gvisor.options(), &["no-such-program"])
        .refused();
    before.assert_nothing_new(&engine.scope);
    Ok(())
}
