//! CVE-2016-9962: the container reaches into the runtime's process while that enters it.

use gl_e2e::bundle::process::reap;
use gl_e2e::bundle::{Bundle, rounds};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::victim;

pub(crate) const TESTS: &[Test] = tests![
    cve_2016_9962_runtime_is_closed_to_the_container_during_exec,
    cve_2016_9962_runtime_is_closed_to_a_container_that_it_is_joined_to,
];

/// Prints what it finds of a process that is no program of the image: its program, its root, what
/// its descriptors lead to.
fn spy() -> Bundle {
    let script = format!(
        "echo ready; while :; do for p in /proc/[0-9]*; do \
         x=$(readlink $p/exe) && [ \"$x\" != /bin/busybox ] && echo \"LEAK $p $x\"; \
         [ -e $p/root{0} ] && echo \"LEAK $p root\"; \
         for f in $p/fd/*; do [ -e $f/../..{0} ] && echo \"LEAK $f\"; done; \
         done; done 2>/dev/null",
        victim().join("file").display()
    );
    Bundle::sh(&script).ready()
}

#[track_caller]
fn saw_nothing(spy: &Bundle) {
    spy.kill_and_wait();
    let seen = spy.rest_of_output();
    assert!(!seen.contains("LEAK"), "{seen}");
}

fn cve_2016_9962_runtime_is_closed_to_the_container_during_exec() -> Outcome {
    let spy = spy();
    for round in 0..rounds(60) {
        let flags = [&[][..], &["-u", "1000"], &["--cap", "CAP_NET_ADMIN"]][round % 3];
        spy.exec(flags, &["true"]).ok();
    }
    saw_nothing(&spy);
    Ok(())
}

fn cve_2016_9962_runtime_is_closed_to_a_container_that_it_is_joined_to() -> Outcome {
    let spy = spy();
    let path = format!("/proc/{}/ns/pid", spy.pid());
    let box_ = Bundle::new()
        .args(&["true"])
        .namespace("pid", Some(json!({"type": "pid", "path": path})));
    for _ in 0..rounds(40) {
        box_.create().ok();
        box_.delete_force().ok();
        // Its init is ours to reap, and the other's pid namespace does not end before.
        reap();
    }
    saw_nothing(&spy);
    Ok(())
}
