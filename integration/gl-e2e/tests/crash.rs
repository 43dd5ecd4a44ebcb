//! The runtime is killed by SIGKILL before its K-th system call, for K over the whole command;
//! afterwards `delete --force` leaves no process, mount, cgroup or state directory.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::{self, Bundle, Host, Output, known_elsewhere, rounds};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        create_killed_anywhere_is_cleaned_up,
        create_with_a_terminal_killed_anywhere_is_cleaned_up,
        create_in_a_user_namespace_killed_anywhere_is_cleaned_up,
        start_killed_anywhere_is_cleaned_up,
        delete_killed_anywhere_can_be_repeated,
        run_killed_while_the_process_runs_is_cleaned_up,
        exec_killed_anywhere_leaves_the_container_usable,
    ])
}

/// System calls that the command makes from start to end.
fn calls(box_: &Bundle, args: &[&str]) -> usize {
    box_.traced(&[], args).ok();
    let trace = fs::read_to_string(box_.dir().join("trace")).unwrap();
    trace.lines().filter(|l| l.contains('(')).count()
}

/// Which calls to die at: all of them with `$GL_ROUNDS` large enough, else as many, evenly spread.
fn points(total: usize, short: usize) -> Vec<usize> {
    let wanted = rounds(short).clamp(1, total);
    (0..wanted).map(|n| 1 + n * total / wanted).collect()
}

fn kill_at(box_: &Bundle, point: usize, args: &[&str]) -> Output {
    let inject = format!("inject=all:signal=SIGKILL:when={point}");
    box_.traced(&["-e", &inject], args)
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

fn create_is_cleaned_up(make: fn() -> Bundle, flags: &[&str], short: usize) {
    let box_ = make();
    box_.write_config();
    let id = box_.id().to_owned();
    let mut args = vec!["create"];
    args.extend(flags);
    args.push(&id);
    let host = Host::before(&box_, &[]);
    let total = calls(&box_, &args);
    box_.delete_force().ok();
    host.unchanged_soon("not killed");
    let mut killed = 0;
    for point in points(total, short) {
        let out = kill_at(&box_, point, &args);
        killed += usize::from(out.code != 0);
        box_.delete_force().ok();
        host.unchanged_soon(&format!("create killed at call {point} of {total}"));
    }
    assert!(killed > 0, "no point of {total} killed it");
}

fn create_killed_anywhere_is_cleaned_up() -> Outcome {
    strace_is_here()?;
    known_elsewhere("forgets what it did not store", || {
        create_is_cleaned_up(Bundle::new, &[], 60);
    })
}

fn create_with_a_terminal_killed_anywhere_is_cleaned_up() -> Outcome {
    strace_is_here()?;
    known_elsewhere("forgets what it did not store", || {
        let socket = std::env::temp_dir().join(format!("{}console", bundle::tag()));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let flags = ["--console-socket", socket.to_str().unwrap()];
        let with_terminal = || Bundle::new().set("/process/terminal", json!(true));
        create_is_cleaned_up(with_terminal, &flags, 25);
        drop(listener);
        fs::remove_file(&socket).unwrap();
    })
}

fn create_in_a_user_namespace_killed_anywhere_is_cleaned_up() -> Outcome {
    strace_is_here()?;
    known_elsewhere("forgets what it did not store", || {
        let in_user_namespace = || {
            let map = bundle::config::id_map(0, 65536);
            Bundle::new()
                .namespace("user", Some(json!({"type": "user"})))
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map)
        };
        create_is_cleaned_up(in_user_namespace, &[], 25);
    })
}

fn start_killed_anywhere_is_cleaned_up() -> Outcome {
    strace_is_here()?;
    let box_ = Bundle::new();
    let host = Host::before(&box_, &[]);
    box_.create().ok();
    let total = calls(&box_, &["start", box_.id()]);
    box_.delete_force().ok();
    for point in points(total, 25) {
        box_.create().ok();
        kill_at(&box_, point, &["start", box_.id()]);
        let status = box_.status();
        assert!(
            ["created", "running"].contains(&status.as_str()),
            "{point}: {status}"
        );
        box_.delete_force().ok();
        host.unchanged_soon(&format!("start killed at call {point} of {total}"));
    }
    Ok(())
}

fn delete_killed_anywhere_can_be_repeated() -> Outcome {
    strace_is_here()?;
    known_elsewhere("removes the state before the rest", || {
        let box_ = Bundle::new();
        let host = Host::before(&box_, &[]);
        box_.create().ok();
        let total = calls(&box_, &["delete", "--force", box_.id()]);
        for point in points(total, 25) {
            box_.create().ok();
            kill_at(&box_, point, &["delete", "--force", box_.id()]);
            box_.delete_force().ok();
            host.unchanged_soon(&format!("delete killed at call {point} of {total}"));
        }
    })
}

fn run_killed_while_the_process_runs_is_cleaned_up() -> Outcome {
    let box_ = Bundle::sh("echo ready; sleep 1001 & exec sleep 1000");
    box_.write_config();
    let host = Host::before(&box_, &[]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = box_.command(&["run", box_.id()]);
    command.stdout(writer);
    let mut child = bundle::process::start(&mut command);
    drop(command);
    bundle::kernel::read_until(&reader, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    box_.delete_force().ok();
    host.unchanged_soon("run killed");
    Ok(())
}

fn exec_killed_anywhere_leaves_the_container_usable() -> Outcome {
    strace_is_here()?;
    let box_ = Bundle::new().idle();
    let host = Host::before(&box_, &[]);
    let total = calls(&box_, &["exec", box_.id(), "true"]);
    for point in points(total, 25) {
        kill_at(&box_, point, &["exec", box_.id(), "true"]);
        host.unchanged_soon(&format!("exec killed at call {point} of {total}"));
    }
    box_.exec(&[], &["echo", "hi"]).ok().prints("hi");
    Ok(())
}
