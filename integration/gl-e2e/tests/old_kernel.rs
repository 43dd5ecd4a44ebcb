//! The runtime on a kernel that lacks system calls: what has a fallback in docs/kernel.md works as ever,
//! everything else is refused by the name of the call before anything is begun.
//!
//! `hack/old-kernel` runs any end-to-end program so, which is the long form of these.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::{self, Bundle, Host, Output, finish};
use gl_e2e::kernel::is_v2;
use gl_e2e::old_kernel::{OPTION, become_command, program_beside, runtime_without};
use gl_e2e::{Outcome, Skip, gl, tests};

#[expect(clippy::print_stderr, reason = "a command that does not start")]
fn main() -> ExitCode {
    match become_command() {
        Ok(None) => {}
        Ok(Some(status)) => return status,
        Err(err) => {
            eprintln!("old_kernel: {err}");
            return ExitCode::FAILURE;
        }
    }
    bundle::main(tests![
        without_clone3_containers_live_and_die,
        without_clone3_processes_are_set_up,
        without_clone3_namespaces_are_made_and_joined,
        without_clone3_mounts_are_made,
        without_clone3_processes_are_added,
        without_clone3_hooks_run,
        without_clone3_limits_hold,
        without_clone3_attacks_fail,
        without_clone_into_cgroup_containers_live_and_die,
        without_clone_into_cgroup_processes_are_added,
        without_clone_into_cgroup_limits_hold,
        needed_call_that_is_missing_is_named_by_create_and_run,
        needed_call_that_is_missing_is_named_by_exec,
        needed_call_that_is_missing_is_named_to_a_plain_user,
        needed_call_that_is_missing_is_named_by_gl_run,
        needed_call_that_is_missing_is_found_by_gl_doctor,
        missing_calls_of_mounts_do_not_keep_a_container,
    ])
}

/// Calls that there is no other way for, and since when they are there.
const NEEDED: [(&str, &str); 8] = [
    ("mount_setattr", "5.12"),
    ("close_range", "5.11"),
    ("openat2", "5.6"),
    ("pidfd_open", "5.3"),
    ("open_tree", "5.2"),
    ("move_mount", "5.2"),
    ("fsopen", "5.2"),
    ("pidfd_send_signal", "5.1"),
];

/// Whether the runtime's words name the call and the version.
fn named(output: &Output, call: &str, since: &str) {
    let words = format!("call {call}(2), which Linux has since {since}: function not implemented");
    assert!(output.stderr.contains(&words), "{output:?}");
}

fn greenlang_only() -> Outcome {
    match bundle::is_greenlang() {
        true => Ok(()),
        false => Err(Skip("about greenlang's fallbacks and refusals".to_owned())),
    }
}

/// The bundle's runtime without a call.
fn without(box_: &Bundle, call: &str, args: &[&str]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([OPTION, call, "--"])
        .arg(bundle::runtime())
        .arg("--root")
        .arg(box_.state_root())
        .args(args)
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    finish(&mut command)
}

/// Runs tests of another program, chosen by words, on the runtime without a call; their races are short.
fn passes(call: &str, program: &str, words: &[&str]) -> Outcome {
    greenlang_only()?;
    let path = program_beside(program)
        .ok_or_else(|| Skip(format!("the program {program} is not beside this one")))?;
    let box_ = Bundle::new();
    let script = runtime_without(call, box_.dir());
    let output = Command::new(path)
        .args(words)
        .env("GL_RUNTIME", script)
        .env_remove("GL_E2E_NAMESPACE")
        .env("GL_ROUNDS", bundle::rounds(2).to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    all_passed(&output, words);
    Ok(())
}

/// Each word has chosen a test, and all of them have passed; what was said beside that.
fn all_passed(output: &std::process::Output, words: &[&str]) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let passed = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed >= words.len(), "too few tests ran:\n{text}");
    errors.into_owned()
}

fn without_clone3_containers_live_and_die() -> Outcome {
    passes("clone3", "lifecycle", &[])
}

fn without_clone3_processes_are_set_up() -> Outcome {
    passes("clone3", "process", &[])
}

fn without_clone3_namespaces_are_made_and_joined() -> Outcome {
    passes("clone3", "namespaces", &[])
}

fn without_clone3_mounts_are_made() -> Outcome {
    let words = [
        "default_mounts",
        "bind_",
        "proc_is",
        "devpts",
        "cgroup",
        "masked_",
        "id_mapped",
    ];
    passes("clone3", "mounts", &words)
}

fn without_clone3_processes_are_added() -> Outcome {
    let words = [
        "returns",
        "streams",
        "joins",
        "detach",
        "descriptors",
        "preserves",
        "many",
    ];
    passes("clone3", "exec", &words)
}

fn without_clone3_hooks_run() -> Outcome {
    let words = [
        "order",
        "namespaces",
        "descriptors",
        "stops",
        "timeout",
        "poststop",
    ];
    passes("clone3", "hooks", &words)
}

fn without_clone3_limits_hold() -> Outcome {
    let words = [
        "pids_limit",
        "memory_limit",
        "device_list",
        "path_",
        "refuse",
    ];
    passes("clone3", "cgroup", &words)
}

fn without_clone3_attacks_fail() -> Outcome {
    let words = [
        "cve_2016_9962",
        "cve_2019_16884",
        "cve_2024_21626",
        "cve_2025_52565",
        "cve_2022",
    ];
    passes("clone3", "attacks", &words)
}

/// Runs tests of another program without the flag alone, which must have been asked for.
fn passes_outside(program: &str, words: &[&str]) -> Outcome {
    greenlang_only()?;
    if !is_v2() {
        return Err(Skip("no process is born into a cgroup of v1".to_owned()));
    }
    let path = program_beside(program)
        .ok_or_else(|| Skip(format!("the program {program} is not beside this one")))?;
    let output = Command::new(std::env::current_exe().unwrap())
        .args([OPTION, "CLONE_INTO_CGROUP", "--"])
        .arg(path)
        .args(words)
        .env("GL_ROUNDS", bundle::rounds(2).to_string())
        .env_remove("GL_E2E_NAMESPACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = all_passed(&output, words);
    let count = errors
        .lines()
        .filter_map(|line| line.strip_prefix("CLONE_INTO_CGROUP was refused "))
        .filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok())
        .next_back();
    assert!(count > Some(0), "the flag was not asked for:\n{errors}");
    Ok(())
}

fn without_clone_into_cgroup_containers_live_and_die() -> Outcome {
    passes_outside("lifecycle", &[])
}

fn without_clone_into_cgroup_processes_are_added() -> Outcome {
    passes_outside("exec", &["joins", "returns", "detach", "cgroup", "many"])
}

fn without_clone_into_cgroup_limits_hold() -> Outcome {
    passes_outside(
        "cgroup",
        &["pids_limit", "memory_limit", "device_list", "path_"],
    )
}

fn needed_call_that_is_missing_is_named_by_create_and_run() -> Outcome {
    greenlang_only()?;
    for (call, since) in NEEDED {
        let box_ = Bundle::new();
        box_.write_config();
        let host = Host::before(&box_, &[]);
        for verb in ["create", "run"] {
            let refused = without(&box_, call, &[verb, box_.id()]).status(1);
            named(&refused, call, since);
            host.unchanged(&format!("{verb} without {call}"));
        }
    }
    Ok(())
}

fn needed_call_that_is_missing_is_named_by_exec() -> Outcome {
    greenlang_only()?;
    let box_ = Bundle::new().idle();
    let host = Host::before(&box_, &[]);
    for (call, since) in NEEDED {
        // What exec says of a failure of its own.
        let refused = without(&box_, call, &["exec", box_.id(), "/bin/true"]).status(255);
        named(&refused, call, since);
        host.unchanged(&format!("exec without {call}"));
    }
    box_.exec(&[], &["/bin/true"]).ok();
    Ok(())
}

fn needed_call_that_is_missing_is_named_to_a_plain_user() -> Outcome {
    greenlang_only()?;
    let box_ = Bundle::new();
    box_.write_config();
    let root = box_.outside("users");
    std::os::unix::fs::chown(&root, Some(65534), Some(65534)).unwrap();
    let host = Host::before(&box_, &[&root]);
    for (call, since) in NEEDED {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                OPTION,
                call,
                "--",
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
            ])
            .args(["--clear-groups", "--"])
            .arg(bundle::runtime())
            .arg("--root")
            .arg(&root)
            .args(["create", box_.id()])
            .current_dir(box_.dir())
            .stdin(Stdio::null());
        named(&finish(&mut command).status(1), call, since);
        host.unchanged(&format!("create by a user without {call}"));
    }
    Ok(())
}

fn needed_call_that_is_missing_is_named_by_gl_run() -> Outcome {
    greenlang_only()?;
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    for (call, since) in NEEDED {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([OPTION, call, "--"])
            .arg(gl::gl()?)
            .args(["run", "--", "true"])
            .current_dir(box_.dir())
            .stdin(Stdio::null());
        let refused = finish(&mut command).failed();
        named(&refused, call, since);
        host.unchanged(&format!("gl run without {call}"));
    }
    Ok(())
}

fn needed_call_that_is_missing_is_found_by_gl_doctor() -> Outcome {
    greenlang_only()?;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([OPTION, "openat2", "--"])
        .arg(gl::gl()?)
        .args(["doctor", "--json"])
        .stdin(Stdio::null());
    let output = finish(&mut command);
    let report = output.json();
    let findings = report["findings"].as_array().unwrap();
    let release = findings.iter().find(|finding| finding["name"] == "release");
    let seen = release.unwrap()["seen"].as_str().unwrap();
    let words = "; call openat2(2), which Linux has since 5.6: function not implemented";
    assert!(seen.ends_with(words), "{release:?}");
    assert_eq!(release.unwrap()["state"], "missing", "{release:?}");
    Ok(())
}

/// Whoever changes the kernel below a container, or puts a filter around the runtime, can take it away.
fn missing_calls_of_mounts_do_not_keep_a_container() -> Outcome {
    greenlang_only()?;
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    let calls = "mount_setattr,close_range,open_tree,move_mount,fsopen,clone3";
    box_.create().ok();
    without(&box_, calls, &["start", box_.id()]).ok();
    let state = without(&box_, calls, &["state", box_.id()]).ok().json();
    assert_eq!(state["status"], "running", "{state}");
    without(&box_, calls, &["delete", "--force", box_.id()]).ok();
    fs::remove_file(box_.dir().join("config.json")).unwrap();
    host.unchanged_soon("delete without the calls of mounts");
    Ok(())
}
