//! From the start of a detached sandbox to what it leaves.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use gl_e2e::bundle::kernel::eventually;
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::gl::{Dir, User, left};
use gl_e2e::{Outcome, Skip};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::{Detaching as _, Sandbox, Who, borrowed, of_user, tiers};

/// Says that it is ready, and ends with 7 once told to.
const PATIENT: &str =
    "trap 'echo bye; exit 7' USR1; echo ready; echo err >&2; while :; do sleep 0.05; done";

fn lives(who: &Who, tier: &str, options: &[&str]) -> Outcome {
    let sandbox = who.detach(&format!("on-{tier}"), options, PATIENT)?;
    sandbox.says("--stdout", "ready\n")?;
    runs(&sandbox, tier)?;
    assert_eq!(sandbox.gl(&["kill", "--signal", "USR1"])?.status, 0);
    assert_eq!(sandbox.wait()?, 7);
    ran(&sandbox)?;
    assert_eq!(sandbox.gl(&["rm"])?.status, 0);
    assert_eq!(sandbox.seen()?, Value::Null);
    Ok(())
}

/// What is seen of one that runs.
fn runs(sandbox: &Sandbox<'_>, tier: &str) -> Outcome {
    let seen = sandbox.seen()?;
    for (key, want) in [
        ("state", json!("running")),
        ("tier", json!(tier)),
        ("profile", json!("default")),
        ("detached", json!(true)),
        ("exit", Value::Null),
    ] {
        assert_eq!(seen[key], want, "{key} in {seen:#}");
    }
    let pid = seen["pid"].as_i64().unwrap();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{seen:#}");
    let table = sandbox.who.gl(&["ps"])?;
    let line = table.ok().lines().find(|line| line.contains(&sandbox.name));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let want = [&sandbox.name, "default", tier, "running", &pid.to_string()];
    assert_eq!(words.get(..5), Some(&want[..]), "{table}");
    Ok(())
}

/// What is seen of one that has ended, and what it has left.
fn ran(sandbox: &Sandbox<'_>) -> Outcome {
    let seen = sandbox.seen()?;
    assert_eq!(seen["state"], "exited", "{seen:#}");
    assert_eq!(seen["pid"], Value::Null, "{seen:#}");
    assert_eq!(seen["exit"]["status"], 7, "{seen:#}");
    assert_eq!(seen["exit"]["reason"], "exited", "{seen:#}");
    let alive = sandbox.who.gl(&["ps"])?;
    assert!(!alive.ok().contains(&sandbox.name), "{alive}");
    let logs = sandbox.gl(&["logs"])?;
    assert_eq!(logs.stdout, "ready\nbye\n", "{logs}");
    assert_eq!(logs.stderr, "err\n", "{logs}");
    // Of what ran there is nothing but the entry.
    let dir = sandbox.dir();
    let rest = left(&sandbox.name).into_iter();
    let rest: Vec<_> = rest
        .filter(|one| one.as_str() != dir.to_str().unwrap())
        .collect();
    assert_eq!(rest, Vec::<String>::new());
    let files = fs::read_dir(&dir).unwrap();
    let mut files: Vec<_> = files.map(|one| one.unwrap().file_name()).collect();
    files.sort();
    let want = [
        "program.json",
        "report.json",
        "sandbox.json",
        "stderr.0",
        "stdout.0",
    ];
    assert_eq!(files, want);
    Ok(())
}

pub(crate) fn program_runs_on_without_its_caller() -> Outcome {
    let bundle = Bundle::new();
    for (tier, options) in &tiers(&bundle) {
        lives(&Who::Root, tier, &borrowed(options))?;
    }
    Ok(())
}

pub(crate) fn user_program_runs_on_without_its_caller() -> Outcome {
    let who = Who::User(User::new("user-on")?);
    for tier in ["basic", "namespace"] {
        lives(&who, tier, &of_user(tier))?;
    }
    Ok(())
}

pub(crate) fn gvisor_runs_on_without_its_caller() -> Outcome {
    if !fs::exists("/usr/bin/runsc").unwrap() {
        return Err(Skip("there is no runsc".to_owned()));
    }
    let bundle = Bundle::new();
    let root = bundle.rootfs();
    let options = [
        "--allow",
        "--tier",
        "gvisor",
        "--on-missing",
        "degrade",
        "--rootfs",
    ];
    let options = [&options[..], &[root.to_str().unwrap()]].concat();
    lives(&Who::Root, "gvisor", &options)?;
    let sandbox = Who::Root.detach("gvisor-killed", &options, "echo ready; sleep 1000")?;
    sandbox.says("--stdout", "ready\n")?;
    let entered = Who::Root.gl(&["exec", &sandbox.name, "--", "cat", "/proc/version"])?;
    let hosts = fs::read_to_string("/proc/version").unwrap();
    assert!(entered.ok().contains("Linux version"), "{entered}");
    assert_ne!(entered.stdout, hosts, "{entered}");
    dies(&sandbox)
}

pub(crate) fn error_of_the_setup_is_told_and_leaves_nothing() -> Outcome {
    for options in [&[][..], &gl_e2e::gl::BASIC] {
        let name = format!("{}wrong", bundle::tag());
        let args = [
            &["run", "-d", "--name", &name][..],
            options,
            &["--", "no-such-program"],
        ];
        let output = Who::Root.gl(&args.concat())?;
        assert_eq!(output.status, 125, "{output}");
        assert_eq!(output.stdout, "", "{output}");
        assert!(output.stderr.contains("no-such-program"), "{output}");
        assert_eq!(left(&name), Vec::<String>::new(), "{output}");
    }
    Ok(())
}

pub(crate) fn limits_end_it_with_their_reason() -> Outcome {
    let python = "exec python3 -c 'x = bytearray(100 << 20)'";
    for (options, script, reason, status) in [
        (&["--timeout", "1s"][..], "sleep 60", "timeout", 124),
        (&["--memory", "32MiB"], python, "oom", 121),
        (&[], "kill -TERM $$", "signal", 143),
    ] {
        let sandbox = Who::Root.detach(reason, options, script)?;
        assert_eq!(sandbox.wait()?, status, "{reason}");
        let seen = sandbox.seen()?;
        assert_eq!(seen["exit"]["reason"], reason, "{seen:#}");
        assert_eq!(seen["exit"]["status"], status, "{seen:#}");
        let table = Who::Root.gl(&["ps", "-a"])?;
        let word = match reason {
            "signal" => "signal 15",
            other => other,
        };
        let want = format!("{status} ({word})");
        let line = table.ok().lines().find(|line| line.contains(&sandbox.name));
        assert!(
            line.is_some_and(|line| line.contains(&want)),
            "{want} in {table}"
        );
    }
    let options = [&gl_e2e::gl::BASIC[..], &["--timeout", "1s"]].concat();
    let sandbox = Who::Root.detach("basic-timeout", &options, "sleep 60")?;
    assert_eq!(sandbox.wait()?, 124);
    Ok(())
}

pub(crate) fn report_is_written_at_the_end() -> Outcome {
    let dir = Dir::new("report");
    let file = dir.path("report.json");
    let script = "python3 -c 'import socket
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError as err: print(err.errno)'; exit 5";
    let sandbox = Who::Root.detach("report", &["--report", &file], script)?;
    assert_eq!(sandbox.wait()?, 5);
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["exit"]["status"], 5, "{report:#}");
    let denials = report["denials"].as_array().unwrap();
    let socket = denials.iter().find(|one| one["what"] == "socket");
    assert_eq!(
        socket.map(|one| &one["count"]),
        Some(&1.into()),
        "{report:#}"
    );
    // One that cannot be written any more is not forgotten.
    let gone = Dir::new("gone");
    let file = gone.path("report.json");
    let sandbox = Who::Root.detach("unwritten", &["--report", &file], "sleep 1")?;
    drop(gone);
    assert_eq!(sandbox.wait()?, 125);
    let seen = sandbox.seen()?;
    assert!(
        seen["exit"]["error"].to_string().contains(&file),
        "{seen:#}"
    );
    Ok(())
}

pub(crate) fn audit_log_has_the_end_of_a_detached_run() -> Outcome {
    let dir = Dir::new("audit");
    let name = format!("{}audit", bundle::tag());
    let mut command = Who::Root.command(&[
        "run",
        "-d",
        "--rm",
        "--name",
        &name,
        "--audit",
        "log.jsonl",
        "--",
        "sh",
        "-c",
        "exit 3",
    ])?;
    // By a path that the worker's own directory has nothing to do with.
    command.current_dir(&dir.0);
    let output = gl_e2e::command::output(command);
    assert_eq!(output.ok(), name);
    gl_e2e::gl::assert_nothing_left(&name);
    let text = eventually("the end in the log", || {
        let text = fs::read_to_string(dir.path("log.jsonl")).unwrap();
        (text.lines().count() == 2).then_some(text)
    });
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["event"], "start", "{text}");
    assert_eq!(lines[1]["event"], "exit", "{text}");
    assert_eq!(lines[1]["data"]["exit"]["status"], 3, "{text}");
    Ok(())
}

pub(crate) fn removed_at_its_end_if_so_wanted() -> Outcome {
    let sandbox = Who::Root.detach("rm", &["--rm"], "sleep 0.3; exit 4")?;
    let waited = sandbox.gl(&["wait"])?;
    assert_eq!(waited.status, 125, "{waited}");
    assert!(waited.stderr.contains("without --rm"), "{waited}");
    gl_e2e::gl::assert_nothing_left(&sandbox.name);
    assert_eq!(sandbox.seen()?, Value::Null);
    Ok(())
}

/// The worker is killed: its program ends with it, and what is left is taken away by whoever looks.
fn dies(sandbox: &Sandbox<'_>) -> Outcome {
    kill_process(sandbox.worker(), Signal::KILL).unwrap();
    let alive = || {
        let all = gl_e2e::kernel::processes();
        all.into_values()
            .filter(|line| line.contains(&sandbox.name))
            .count()
    };
    eventually("the end of the program", || (alive() == 0).then_some(()));
    let seen = sandbox.seen()?;
    assert_eq!(seen["state"], "died", "{seen:#}");
    assert_eq!(seen["exit"], Value::Null, "{seen:#}");
    let dir = sandbox.dir();
    let rest = || {
        let mut rest = left(&sandbox.name);
        rest.retain(|one| one.as_str() != dir.to_str().unwrap());
        rest
    };
    eventually("the end of what it left", || {
        rest().is_empty().then_some(())
    });
    let logs = sandbox.gl(&["logs"])?;
    assert_eq!(logs.ok(), "ready", "{logs}");
    let waited = sandbox.gl(&["wait"])?;
    assert_eq!(waited.status, 125, "{waited}");
    assert!(waited.stderr.contains("was killed"), "{waited}");
    assert_eq!(sandbox.gl(&["rm"])?.status, 0);
    Ok(())
}

pub(crate) fn killed_worker_leaves_no_program() -> Outcome {
    let bundle = Bundle::new();
    for (tier, options) in &tiers(&bundle) {
        let script = "echo ready; sleep 1000";
        let sandbox = Who::Root.detach(&format!("die-{tier}"), &borrowed(options), script)?;
        sandbox.says("--stdout", "ready\n")?;
        dies(&sandbox)?;
    }
    Ok(())
}

pub(crate) fn killed_worker_of_a_user_leaves_no_program() -> Outcome {
    let who = Who::User(User::new("user-die")?);
    for tier in ["basic", "namespace"] {
        let script = "echo ready; sleep 1000";
        let sandbox = who.detach(&format!("die-{tier}"), &of_user(tier), script)?;
        sandbox.says("--stdout", "ready\n")?;
        dies(&sandbox)?;
    }
    Ok(())
}

pub(crate) fn caller_killed_while_it_starts_leaves_nothing() -> Outcome {
    for millis in [0, 1, 2, 3, 5, 8, 12, 20, 40] {
        let name = format!("{}early-{millis}", bundle::tag());
        let script = format!("sleep 1000; : {name}");
        let mut command =
            Who::Root.command(&["run", "-d", "--name", &name, "--", "sh", "-c", &script])?;
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.stdout.is_empty() {
            // Nobody has learned its name, so it does not run; or it had been told, and not yet printed it.
            let sandbox = Sandbox {
                who: &Who::Root,
                name: name.clone(),
            };
            let settled = eventually("the end of the start", || {
                let seen = sandbox.seen().unwrap();
                let state = seen["state"].as_str().unwrap_or("none").to_owned();
                (state != "starting" && state != "ending").then_some(state)
            });
            assert!(
                ["none", "running"].contains(&settled.as_str()),
                "{settled} after {millis} ms"
            );
            if settled == "none" {
                gl_e2e::gl::assert_nothing_left(&name);
            }
            continue;
        }
        drop(Sandbox {
            who: &Who::Root,
            name,
        });
    }
    Ok(())
}
