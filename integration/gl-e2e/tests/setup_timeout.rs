//! `setup_timeout` of a profile: `create` and `start` have one time together, hooks included.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{self, Bundle, Host};
use gl_e2e::{Outcome, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        hook_that_hangs_is_ended_by_the_time_of_the_setup,
        create_and_start_have_one_time_together,
        run_is_taken_back_when_its_time_is_over,
        setup_in_time_is_left_alone,
    ])
}

fn annotated(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

/// Hooks at each point of the set-up. Those of `create` leave nothing; those of `start` a stopped container
/// with its reason.
fn hook_that_hangs_is_ended_by_the_time_of_the_setup() -> Outcome {
    let _profile = Setting::profile("setup", "setup_timeout = 1\n");
    let own_pids = Some(json!({"type": "pid"}));
    for (point, namespace) in [
        ("prestart", own_pids.clone()),
        ("createRuntime", own_pids.clone()),
        ("createContainer", own_pids.clone()),
        ("createContainer", None),
        ("startContainer", own_pids.clone()),
        ("poststart", own_pids),
    ] {
        let when = format!("{point} {namespace:?}");
        let box_ = annotated(Bundle::new(), "setup").namespace("pid", namespace);
        let host = Host::before(&box_, &[]);
        let path = match point {
            "startContainer" | "createContainer" => "/bin/sleep",
            _ => "/bin/sh",
        };
        // Its arguments tell it from what others run.
        let args = match path {
            "/bin/sleep" => json!(["sleep", "1234.5"]),
            _ => json!(["sh", "-c", "exec sleep 1234.5"]),
        };
        let hook = json!([{"path": path, "args": args}]);
        let box_ = box_.set(&format!("/hooks/{point}"), hook);
        let begun = Instant::now();
        let created = box_.create();
        let of_create = !["startContainer", "poststart"].contains(&point);
        let out = match of_create {
            true => created.failed(),
            false => {
                created.ok();
                box_.start().failed()
            }
        };
        assert!(
            begun.elapsed().as_secs() < 20,
            "{when}: {:?}",
            begun.elapsed()
        );
        let out = out.says("set the container up within 1 s, by /etc/greenlang/profiles/setup.toml:3: setup_timeout");
        if of_create {
            let left = fs::read_dir(box_.state_root()).unwrap().count();
            assert_eq!(left, 0, "{when}: entries of the state root: {out:?}");
        } else {
            assert_eq!(box_.status(), "stopped", "{when}");
            let state = box_.state();
            let reason = &state["annotations"]["dev.greenlang.end-reason"];
            assert_eq!(reason, "timeout", "{when}: {state}");
            box_.delete_force().ok();
        }
        host.unchanged_soon(&when);
    }
    Ok(())
}

fn create_and_start_have_one_time_together() -> Outcome {
    let _profile = Setting::profile("setup", "setup_timeout = 2\n");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1.2"]}]);
    let box_ = annotated(Bundle::new(), "setup")
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/poststart", hook);
    box_.create().ok();
    box_.start()
        .failed()
        .says("setup_timeout")
        .says("hooks.poststart[0]");
    box_.delete_force().ok();
    Ok(())
}

fn run_is_taken_back_when_its_time_is_over() -> Outcome {
    let _profile = Setting::profile("setup", "setup_timeout = 1\n");
    for point in ["createRuntime", "startContainer"] {
        let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1234.5"]}]);
        let box_ = annotated(Bundle::sh("echo ran"), "setup").set(&format!("/hooks/{point}"), hook);
        let host = Host::before(&box_, &[]);
        let out = box_.run().failed().says("setup_timeout");
        assert!(!out.stdout.contains("ran"), "{out:?}");
        host.unchanged_soon(point);
    }
    Ok(())
}

fn setup_in_time_is_left_alone() -> Outcome {
    let _profile = Setting::profile("setup", "setup_timeout = 60\nexecution_timeout = 300\n");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.1"], "timeout": 30}]);
    let box_ = annotated(Bundle::sh("echo ran"), "setup")
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/poststart", hook.clone());
    box_.run().ok().prints("ran");
    // A time of its own still counts.
    let late = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 50"], "timeout": 1}]);
    let box_ = annotated(Bundle::new(), "setup").set("/hooks/createRuntime", late);
    let out = box_.create().failed();
    out.says("hooks.createRuntime[0]")
        .says("not done after 1 s");
    Ok(())
}
