//! Nothing is left: after an ordinary life, and wherever greenlang is killed by SIGKILL.

use std::fs;
use std::process::{Command, Stdio};

use gl_e2e::bundle::kernel::{eventually, wait_dead};
use gl_e2e::bundle::{Bundle, Host, Output, rounds};
use gl_e2e::{Outcome, Skip};

use super::{PLAIN, runsc, with};

/// A profile with a filter, so that there is a launcher, and with limits that are watched.
const FULL: &str = "extends = [\"data_processing\"]\nisolation = \"gvisor\"\n";

/// Makes what stays in the state root: the launcher, and what is known about runsc.
fn warm(box_: &Bundle) {
    box_.create().ok();
    box_.delete_force().ok();
}

pub(super) fn container_leaves_nothing_behind() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    let box_ = box_.started();
    box_.exec(&["--detach"], &["sleep", "1000"]).ok();
    box_.delete_force().ok();
    host.unchanged_soon("deleted while it ran");
    box_.create().ok();
    box_.delete().ok();
    host.unchanged_soon("deleted before it started");
    let box_ = box_.args(&["true"]);
    box_.run().ok();
    host.unchanged_soon("run to its end");
    Ok(())
}

pub(super) fn failed_create_leaves_nothing_behind() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    // Found out by runsc itself.
    let box_ = box_.mount("bind", "/nonexistent-source", "/x", &["bind"]);
    box_.create()
        .failed()
        .says("create the container with runsc");
    host.unchanged_soon("create failed");
    box_.run().failed().says("create the container with runsc");
    host.unchanged_soon("run failed");
    let hook = serde_json::json!([{"path": "/bin/false"}]);
    let box_ = box_.without_mount("/x").set("/hooks/createRuntime", hook);
    box_.create().failed().says("hooks.createRuntime[0]");
    host.unchanged_soon("hook failed");
    Ok(())
}

fn strace_is_here() -> Outcome {
    match Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Skip("no strace".to_owned())),
    }
}

/// The calls that a command makes, and where to kill it.
fn points(box_: &Bundle, args: &[&str], short: usize) -> Vec<usize> {
    box_.traced(&[], args).ok();
    let trace = fs::read_to_string(box_.dir().join("trace")).unwrap();
    let total = trace.lines().filter(|line| line.contains('(')).count();
    let wanted = rounds(short).clamp(1, total);
    (0..wanted).map(|n| 1 + n * total / wanted).collect()
}

fn kill_at(box_: &Bundle, point: usize, args: &[&str]) -> Output {
    let inject = format!("inject=all:signal=SIGKILL:when={point}");
    box_.traced(&["-e", &inject], args)
}

pub(super) fn create_killed_anywhere_is_cleaned_up() -> Outcome {
    runsc()?;
    strace_is_here()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    let args = ["create", box_.id()];
    let mut killed = 0;
    let all = points(&box_, &args, 24);
    box_.delete_force().ok();
    for point in all {
        killed += usize::from(kill_at(&box_, point, &args).code != 0);
        box_.delete_force().ok();
        host.unchanged_soon(&format!("create killed at call {point}"));
    }
    assert!(killed > 0, "none killed it");
    Ok(())
}

pub(super) fn start_killed_anywhere_is_cleaned_up() -> Outcome {
    runsc()?;
    strace_is_here()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    box_.create().ok();
    let args = ["start", box_.id()];
    let all = points(&box_, &args, 10);
    box_.delete_force().ok();
    for point in all {
        box_.create().ok();
        kill_at(&box_, point, &args);
        box_.delete_force().ok();
        host.unchanged_soon(&format!("start killed at call {point}"));
    }
    Ok(())
}

pub(super) fn delete_killed_anywhere_can_be_repeated() -> Outcome {
    runsc()?;
    strace_is_here()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    box_.create().ok();
    let args = ["delete", "--force", box_.id()];
    let all = points(&box_, &args, 12);
    for point in all {
        box_.create().ok();
        kill_at(&box_, point, &args);
        box_.delete_force().ok();
        host.unchanged_soon(&format!("delete killed at call {point}"));
    }
    Ok(())
}

pub(super) fn run_killed_while_the_program_runs_is_cleaned_up() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), FULL);
    warm(&box_);
    let host = Host::before(&box_, &[]);
    let mut child = box_.command(&["run", box_.id()]).spawn().unwrap();
    eventually("the sandbox", || {
        box_.exec(&[], &["true"]).code.eq(&0).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(box_.status(), "running");
    box_.delete_force().ok();
    host.unchanged_soon("run killed");
    Ok(())
}

/// Whoever kills the runsc that waits has not freed the sandbox of its limits.
pub(super) fn sandbox_ends_with_the_runsc_that_waits_for_it() -> Outcome {
    runsc()?;
    let (box_, _profile) = with(Bundle::new(), PLAIN);
    warm(&box_);
    let mut child = box_.command(&["run", "--keep", box_.id()]).spawn().unwrap();
    eventually("the sandbox", || {
        box_.exec(&[], &["true"]).code.eq(&0).then_some(())
    });
    let pids = box_
        .call(&["ps", "--format", "json", box_.id()])
        .ok()
        .json();
    let pids: Vec<i32> = pids
        .as_array()
        .unwrap()
        .iter()
        .map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap())
        .collect();
    let waits = rustix::process::Pid::from_raw(box_.pid()).unwrap();
    rustix::process::kill_process(waits, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    for pid in pids {
        wait_dead(pid);
    }
    Ok(())
}
