//! Sandboxes in every state: what is seen of them, what they take and what they refuse.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::eventually;
use gl_e2e::bundle::process::start;
use gl_e2e::command::output;
use gl_e2e::gl::{BASIC, User, assert_nothing_left, left, started};
use gl_e2e::{Outcome, bundle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{Detaching as _, Sandbox, Who};

/// Which verbs name one sandbox, and the status of one that fails.
const VERBS: [(&[&str], &[&str], i32); 5] = [
    (&["kill"], &[], 1),
    (&["logs"], &[], 1),
    (&["rm"], &[], 1),
    (&["wait"], &[], 125),
    (&["exec"], &["--", "true"], 125),
];

pub(crate) fn foreground_is_listed_and_killed() -> Outcome {
    for options in [&[][..], &BASIC] {
        let name = format!("{}front", bundle::tag());
        let mut child = started(&name, options)?;
        let sandbox = Sandbox {
            who: &Who::Root,
            name: name.clone(),
        };
        // What its program prints may be read before that is noted.
        let running = || Some(sandbox.seen().ok()?).filter(|seen| seen["state"] == "running");
        let seen = eventually("the sandbox is running", running);
        assert_eq!(seen["detached"], false, "{seen:#}");
        for verb in ["logs", "wait"] {
            let refused = sandbox.gl(&[verb])?;
            assert!(refused.stderr.contains("--detach"), "{refused}");
        }
        assert_eq!(sandbox.gl(&["kill", "-s", "KILL"])?.status, 0);
        assert_eq!(child.wait().unwrap().code(), Some(137));
        assert_nothing_left(&name);
        assert_eq!(sandbox.seen()?, Value::Null);
        let mut child = started(&name, options)?;
        assert_eq!(sandbox.gl(&["rm", "-f"])?.status, 0);
        assert_eq!(child.wait().unwrap().code(), Some(137));
        assert_nothing_left(&name);
    }
    Ok(())
}

pub(crate) fn unknown_names_are_refused() -> Outcome {
    let name = format!("{}nobody", bundle::tag());
    for (verb, more, status) in VERBS {
        let refused = Who::Root.gl(&[verb, &[&name], more].concat())?;
        assert_eq!(refused.status, status, "{refused}");
        let want = format!("gl: find sandbox {name}: you have none of this name\n");
        assert!(refused.stderr.starts_with(&want), "{refused}");
        assert!(refused.stderr.contains("gl ps --all"), "{refused}");
    }
    Who::Root.gl(&["rm", "--force", &name])?.ok();
    let refused = Who::Root.gl(&["kill", "-s", "NOSUCH", &name])?;
    assert_eq!(refused.status, 2, "{refused}");
    Ok(())
}

pub(crate) fn ended_sandbox_takes_nothing() -> Outcome {
    let sandbox = Who::Root.detach("over", &[], "true")?;
    assert_eq!(sandbox.wait()?, 0);
    for (verb, more, status) in VERBS {
        if !["kill", "exec"].contains(&verb[0]) {
            continue;
        }
        let refused = Who::Root.gl(&[verb, &[&sandbox.name], more].concat())?;
        assert_eq!(refused.status, status, "{refused}");
        assert!(refused.stderr.contains("it has ended"), "{refused}");
    }
    Ok(())
}

pub(crate) fn name_of_one_that_ended_is_taken() -> Outcome {
    let sandbox = Who::Root.detach("taken", &[], "echo mine")?;
    assert_eq!(sandbox.wait()?, 0);
    for detach in [&[][..], &["--detach"]] {
        let args = [
            &["run", "--name", &sandbox.name][..],
            detach,
            &["--", "true"],
        ]
        .concat();
        let refused = Who::Root.gl(&args)?;
        assert_eq!(refused.status, 125, "{refused}");
        assert!(refused.stderr.contains("gl rm"), "{refused}");
    }
    assert_eq!(sandbox.gl(&["logs"])?.ok(), "mine");
    Ok(())
}

pub(crate) fn names_may_be_cut_short() -> Outcome {
    let one = Who::Root.detach("short-one", &[], "exit 1")?;
    let two = Who::Root.detach("short-two", &[], "exit 2")?;
    let cut = one.name.len() - 2;
    let waited = Who::Root.gl(&["wait", &one.name[..cut]])?;
    assert_eq!(waited.status, 1, "{waited}");
    let both = one.name.trim_end_matches("one");
    let refused = Who::Root.gl(&["rm", both])?;
    assert_eq!(refused.status, 1, "{refused}");
    let want = format!("{}, {} begin with that", one.name, two.name);
    assert!(refused.stderr.contains(&want), "{refused}");
    assert_eq!(two.wait()?, 2);
    Ok(())
}

pub(crate) fn user_does_not_see_those_of_root() -> Outcome {
    let sandbox = Who::Root.detach("roots", &[], "sleep 1000")?;
    let user = Who::User(User::new("stranger")?);
    let seen = user.gl(&["ps", "-a"])?;
    assert!(!seen.ok().contains(&sandbox.name), "{seen}");
    let refused = user.gl(&["kill", &sandbox.name])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(
        refused.stderr.contains("you have none of this name"),
        "{refused}"
    );
    assert_eq!(sandbox.seen()?["state"], "running");
    Ok(())
}

pub(crate) fn options_that_need_the_caller_are_refused() -> Outcome {
    for option in [["--tty", "always"], ["--report", "-"], ["--report", "text"]] {
        let name = format!("{}caller", bundle::tag());
        let args = [
            &["run", "-d", "--name", &name][..],
            &option,
            &["--", "true"],
        ]
        .concat();
        let refused = Who::Root.gl(&args)?;
        assert_eq!(refused.status, 125, "{refused}");
        assert!(refused.stderr.contains(option[0]), "{refused}");
        assert!(refused.stderr.contains("--detach"), "{refused}");
        assert_eq!(left(&name), Vec::<String>::new());
    }
    Ok(())
}

pub(crate) fn stop_and_cont_reach_the_program() -> Outcome {
    for options in [&[][..], &BASIC] {
        let script = "echo ready; while :; do :; done";
        let sandbox = Who::Root.detach("stop", options, script)?;
        sandbox.says("--stdout", "ready\n")?;
        let program = || {
            let all = gl_e2e::kernel::processes();
            let all = all
                .into_iter()
                .filter(|(_, line)| line.contains(&sandbox.name));
            let shells = all.filter(|(_, line)| line.starts_with("sh "));
            shells.map(|(pid, _)| pid).collect::<Vec<_>>()
        };
        let [shell] = program()[..] else {
            assert_eq!(program().len(), 1, "shells of {}", sandbox.name);
            return Ok(());
        };
        let state = || {
            let status = fs::read_to_string(format!("/proc/{shell}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("State:"));
            line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(sandbox.gl(&["kill", "-s", "STOP"])?.status, 0);
        eventually("the program to stand still", || {
            (state() == "T").then_some(())
        });
        assert_eq!(sandbox.gl(&["kill", "-s", "CONT"])?.status, 0);
        eventually("the program to go on", || (state() == "R").then_some(()));
        assert_eq!(sandbox.gl(&["kill"])?.status, 0);
        assert_eq!(sandbox.wait()?, 143);
    }
    Ok(())
}

pub(crate) fn removal_wants_force_while_it_runs() -> Outcome {
    let sandbox = Who::Root.detach("busy", &[], "sleep 1000")?;
    let refused = sandbox.gl(&["rm"])?;
    assert_eq!(refused.status, 1, "{refused}");
    let want = format!("gl: remove sandbox {}: it has not ended\n", sandbox.name);
    assert!(refused.stderr.starts_with(&want), "{refused}");
    assert!(refused.stderr.contains("--force"), "{refused}");
    assert_eq!(sandbox.seen()?["state"], "running");
    assert_eq!(sandbox.gl(&["rm", "--force"])?.status, 0);
    assert_eq!(sandbox.seen()?, Value::Null);
    assert_nothing_left(&sandbox.name);
    Ok(())
}

/// The statuses of the same command many times at once.
fn at_once(args: &[&str]) -> Vec<i32> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| output(Who::Root.command(args).unwrap()).status))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

pub(crate) fn removals_at_once_leave_nothing() -> Outcome {
    for options in [&[][..], &BASIC] {
        let sandbox = Who::Root.detach("rm-f", options, "sleep 1000")?;
        assert_eq!(at_once(&["rm", "-f", &sandbox.name]), [0; 6]);
        assert_nothing_left(&sandbox.name);
        let sandbox = Who::Root.detach("rm", options, "true")?;
        assert_eq!(sandbox.wait()?, 0);
        let mut seen = at_once(&["rm", &sandbox.name]);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 1, 1, 1, 1]);
        // Many look at one whose worker was killed, and all take away what it left.
        let sandbox = Who::Root.detach("ps", options, "sleep 1000")?;
        kill_process(sandbox.worker(), Signal::KILL).unwrap();
        assert_eq!(at_once(&["ps", "-a"]), [0; 6]);
        // In the tier basic it runs until its guard has ended it.
        eventually("its death", || {
            let state = sandbox.seen().ok()?["state"].clone();
            (state == "died").then_some(())
        });
    }
    Ok(())
}

pub(crate) fn kill_while_it_starts_leaves_nothing() -> Outcome {
    for (number, verb) in [&["kill", "-s", "KILL"][..], &["rm", "-f"]]
        .iter()
        .enumerate()
    {
        for millis in [1, 3, 6, 10, 15, 25] {
            let name = format!("{}start-{number}-{millis}", bundle::tag());
            let script = format!("sleep 1000; : {name}");
            let mut command =
                Who::Root.command(&["run", "-d", "--name", &name, "--", "sh", "-c", &script])?;
            let child = command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(millis));
            let sandbox = Sandbox {
                who: &Who::Root,
                name: name.clone(),
            };
            let killed = sandbox.gl(verb)?;
            let ended = child.wait_with_output().unwrap();
            let code = ended.status.code();
            // It was not there yet, was killed while it started, or had started.
            assert!([Some(0), Some(125)].contains(&code), "{code:?} {killed}");
            drop(sandbox);
            assert_nothing_left(&name);
        }
    }
    Ok(())
}

pub(crate) fn what_ends_while_it_is_listed() -> Outcome {
    for options in [
        &["--rm"][..],
        &[
            "--rm",
            "--allow",
            "--tier",
            "basic",
            "--on-missing",
            "degrade",
        ],
    ] {
        let sandbox = Who::Root.detach("ending", options, "sleep 0.5")?;
        let mut seen = Vec::new();
        loop {
            let state = sandbox.seen()?["state"].as_str().map(str::to_owned);
            let Some(state) = state else {
                break;
            };
            seen.push(state);
        }
        seen.dedup();
        assert!(
            [&["running"][..], &["running", "ending"]]
                .contains(&&seen.iter().map(String::as_str).collect::<Vec<_>>()[..]),
            "{seen:?}"
        );
    }
    Ok(())
}

pub(crate) fn what_waits_for_the_start_waits_no_longer() -> Outcome {
    let box_ = Bundle::sh("exec sleep 1000");
    let go = box_.dir().join("go");
    let hook = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]);
    let box_ = box_.set("/hooks/createRuntime", hook);
    box_.write_config();
    let name = format!("{}hook", bundle::tag());
    let sandbox = Sandbox {
        who: &Who::Root,
        name: name.clone(),
    };
    let dir = box_.dir().to_str().unwrap();
    let run = ["run", "-d", "--name", &name, "--allow", "--bundle", dir];
    let mut run = start(&mut Who::Root.command(&run)?);
    eventually("the sandbox is starting", || {
        (sandbox.seen().ok()?["state"] == "starting").then_some(())
    });
    let mut kill = start(&mut Who::Root.command(&["kill", "-s", "CONT", &name])?);
    let pid = i32::try_from(kill.id()).unwrap();
    eventually("gl kill waits", || {
        let all = bundle::kernel::descriptors(pid);
        let mut all = all.values();
        all.any(|path| path.ends_with("anon_inode:inotify"))
            .then_some(())
    });
    let begun = Instant::now();
    fs::write(&go, "").unwrap();
    assert_eq!(kill.wait().unwrap().code(), Some(0));
    let took = begun.elapsed();
    // At most it waits for 5 s.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    Ok(())
}

/// Whoever takes a program of the tier `basic` away whose worker was killed goes by the name.
pub(crate) fn name_is_in_use_until_its_guard_is_through() -> Outcome {
    let sandbox = Who::Root.detach("guard", &BASIC, "sleep 1000")?;
    let worker = sandbox.worker();
    let below = gl_e2e::kernel::processes_below(worker.as_raw_nonzero().get());
    let is_guard = |pid: &&i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "greenlang-guard")
    };
    let guard = Pid::from_raw(*below.keys().find(is_guard).unwrap()).unwrap();
    kill_process(guard, Signal::STOP).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    bundle::kernel::wait_dead(worker.as_raw_nonzero().get());
    let refused = sandbox.gl(&["rm"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("it has not ended"), "{refused}");
    let refused = Who::Root.gl(&["run", "--name", &sandbox.name, "--", "true"])?;
    assert_eq!(refused.status, 125, "{refused}");
    kill_process(guard, Signal::CONT).unwrap();
    sandbox.gl(&["rm", "--force"])?.ok();
    assert_eq!(sandbox.seen()?, Value::Null);
    assert_nothing_left(&sandbox.name);
    Ok(())
}

/// As a worker leaves it that is killed at the wrong moment.
pub(crate) fn half_of_a_record_holds_nothing_up() -> Outcome {
    let sandbox = Who::Root.detach("half", &BASIC, "sleep 1000")?;
    let state = Path::new("/run/greenlang").join(&sandbox.name);
    fs::create_dir(&state).unwrap();
    fs::write(state.join("state.json"), "{").unwrap();
    kill_process(sandbox.worker(), Signal::KILL).unwrap();
    eventually("the sandbox has died", || {
        (sandbox.gl(&["rm"]).ok()?.status == 0).then_some(())
    });
    assert!(!state.is_dir(), "{}", state.display());
    Ok(())
}

pub(crate) fn prune_leaves_the_young() -> Outcome {
    let user = Who::User(User::new("pruner")?);
    let options = crate::of_user("namespace");
    let ended = user.detach("ended", &options, "true")?;
    let running = user.detach("running", &options, "sleep 1000")?;
    assert_eq!(ended.wait()?, 0);
    assert_eq!(user.gl(&["prune", "--older-than", "1h"])?.ok(), "");
    assert_eq!(ended.seen()?["state"], "exited");
    // What processes that were killed had begun goes, too.
    let begun = user.directory().join("@new-2147483647");
    fs::create_dir(&begun).unwrap();
    std::os::unix::fs::chown(&begun, Some(54_321), Some(54_321)).unwrap();
    assert_eq!(user.gl(&["prune"])?.ok(), ended.name);
    assert_eq!(ended.seen()?, Value::Null);
    assert_eq!(running.seen()?["state"], "running");
    assert!(!fs::exists(&begun).unwrap());
    let refused = user.gl(&["prune", "--older-than", "soon"])?;
    assert_eq!(refused.status, 2, "{refused}");
    Ok(())
}
