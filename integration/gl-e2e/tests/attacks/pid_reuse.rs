//! The pid of a dead container, given to a stranger.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::wait_dead;
use gl_e2e::{Outcome, Skip, Test, tests};

pub(crate) const TESTS: &[Test] = tests![pid_that_was_used_again_is_no_container];

fn pid_that_was_used_again_is_no_container() -> Outcome {
    let box_ = Bundle::new().started();
    let pid = box_.pid();
    box_.kill("KILL").ok();
    wait_dead(pid);
    if !has_pidfs() {
        // Two processes that start in one tick of the clock cannot be told apart there.
        std::thread::park_timeout(Duration::from_millis(30));
    }
    let Some(mut stranger) = process_with_pid(pid) else {
        return Err(Skip("the kernel gave the pid to nobody of ours".to_owned()));
    };
    let seen = (
        box_.status(),
        box_.kill("KILL"),
        box_.exec(&[], &["true"]),
        box_.call(&["start", box_.id()]),
        box_.call(&["pause", box_.id()]),
        box_.call(&["kill", "--all", box_.id(), "KILL"]),
        box_.delete(),
    );
    let alive = stranger.try_wait().unwrap().is_none();
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(alive, "a stranger was killed: {seen:?}");
    assert!(!state.contains(") T "), "a stranger was stopped: {state}");
    assert_eq!(seen.0, "stopped", "{seen:?}");
    seen.1.status(1).says("container not running");
    seen.2.failed();
    seen.3.failed();
    seen.4.failed();
    seen.6.ok();
    Ok(())
}

/// Whether a pidfd tells its process from all others: since Linux 6.9.
fn has_pidfs() -> bool {
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::fs::fstatfs(&pidfd).unwrap().f_type == 0x5049_4446
}

/// Starts processes until one has the pid.
fn process_with_pid(pid: i32) -> Option<std::process::Child> {
    for _ in 0..200 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        if i32::try_from(child.id()).unwrap() == pid {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}
