//! Many containers at once, with the runtime killed in one of ten: nothing is left, and what an engine
//! is told is true.
//!
//! 80 containers, or `$GL_ROUNDS`, by eight processes. All of it runs in a pid namespace of its own,
//! so that every process and namespace that `/proc` shows is of this test.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use gl_e2e::bundle::kernel::{eventually, wait_dead};
use gl_e2e::bundle::process::{LIMIT, dies_within, reap, start};
use gl_e2e::bundle::{self, Bundle, Host, Output, host, rounds};
use gl_e2e::random::Random;
use gl_e2e::{Outcome, Skip, Test, tests};
use rustix::process::Pid;

const WORKERS: usize = 8;
/// What an `exec` takes at most, unless the container is paused.
const SOON: Duration = Duration::from_secs(5);
/// Set for a worker: its number and how many containers it makes.
const WORKER: &str = "GL_E2E_LOAD_WORKER";

fn main() -> ExitCode {
    if std::env::var_os(WORKER).is_some() {
        return bundle::main(WORK);
    }
    bundle::main_in_pid_namespace(TESTS)
}

const TESTS: &[Test] = tests![
    containers_at_once_with_killed_runtimes_leave_nothing_behind,
    verbs_at_once_on_one_container_leave_it_whole,
];

/// What the workers do, each a test program of its own.
const WORK: &[Test] = tests![work];

fn containers_at_once_with_killed_runtimes_leave_nothing_behind() -> Outcome {
    if !bundle::is_greenlang() {
        return Err(Skip(
            "a runtime that is killed may leave things behind".to_owned(),
        ));
    }
    let namespaces = namespaces();
    let everything = Host::before_all(Vec::new());
    let count = rounds(80).div_ceil(WORKERS);
    let workers: Vec<_> = (0..WORKERS).map(|number| worker(number, count)).collect();
    let mut failed = Vec::new();
    for worker in workers {
        let tag = format!("gl-e2e-{}-", worker.id());
        let out = worker.wait_with_output().unwrap();
        if !out.status.success() {
            let text = [out.stdout, out.stderr].concat();
            failed.push(String::from_utf8_lossy(&text).into_owned());
        }
        let cgroups = host::cgroups_of(&tag);
        if !cgroups.is_empty() {
            failed.push(format!("left: {cgroups:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    everything.unchanged_soon("after all");
    let now = self::namespaces();
    let left: Vec<_> = now.difference(&namespaces).collect();
    assert!(left.is_empty(), "namespaces: {left:?}");
    Ok(())
}

/// The namespaces that processes are in or keep open, and those that mounts keep.
fn namespaces() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        for dir in ["ns", "fd"] {
            let links = fs::read_dir(process.path().join(dir)).into_iter().flatten();
            // A process may end meanwhile.
            let links = links
                .flatten()
                .filter_map(|link| fs::read_link(link.path()).ok());
            let names = links.map(|link| link.display().to_string());
            all.extend(names.filter(|name| is_namespace(name)));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let pinned = mounts.lines().filter(|line| line.contains(" - nsfs "));
    all.extend(pinned.map(str::to_owned));
    all
}

/// Whether a link reads as `net:[4026531840]`.
fn is_namespace(name: &str) -> bool {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    kinds.iter().any(|kind| {
        let rest = name.strip_prefix(kind);
        rest.is_some_and(|rest| rest.starts_with(":["))
    })
}

fn worker(number: usize, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(WORKER, format!("{number} {count}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn work() -> Outcome {
    let words = std::env::var(WORKER).unwrap();
    let (number, count) = words.split_once(' ').unwrap();
    let mut random = Random::new(number.parse().unwrap());
    let count: usize = count.parse().unwrap();
    for round in 0..count {
        let box_ = Bundle::sh("echo ready; exec sleep 1000");
        let before = Host::before(&box_, &[]);
        let what = if random.below(10) == 0 {
            // Whatever the state is now, it is told, and the container can be removed.
            let verb = life(&box_, Some(&mut random));
            recover(&box_, verb);
            verb
        } else {
            life(&box_, None)
        };
        let text = format!("round {round}, {what}");
        box_.call(&["state", box_.id()])
            .failed()
            .says("does not exist");
        box_.call(&["list", "--quiet"]).ok().prints("");
        before.unchanged_soon(&text);
    }
    Ok(())
}

/// From create to delete, each state as the engine is told it. With random numbers one command is
/// killed; returns its name, and has done nothing after it.
fn life(box_: &Bundle, random: Option<&mut Random>) -> &'static str {
    let id = box_.id();
    box_.write_config();
    let kill = ["kill", id, "KILL"];
    let steps: [(&'static str, &[&str], &str); 5] = [
        ("create", &["create", id], "created"),
        ("start", &["start", id], "running"),
        ("exec", &["exec", id, "true"], "running"),
        ("kill", &kill, "stopped"),
        ("delete", &["delete", id], ""),
    ];
    let killed = random.map(|random| {
        let step = random.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 4]);
        (*step, Duration::from_micros(random.below(12_000)))
    });
    for (index, (name, args, state)) in steps.into_iter().enumerate() {
        if let Some((step, after)) = killed
            && step == index
        {
            killed_after(box_, args, after);
            return name;
        }
        let pid = (name == "kill").then(|| box_.pid());
        call(box_, args).ok();
        if let Some(pid) = pid {
            wait_dead(pid);
        }
        if !state.is_empty() {
            assert_eq!(box_.status(), state, "after {name}");
        }
    }
    "not killed"
}

/// Calls the runtime without keeping what the container prints.
fn call(box_: &Bundle, args: &[&str]) -> Output {
    bundle::finish(&mut box_.command(args))
}

/// Kills the runtime that long after its start, if it still runs then.
fn killed_after(box_: &Bundle, args: &[&str], after: Duration) {
    let mut command = box_.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = start(&mut command);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    if !dies_within(pid, after) {
        child.kill().unwrap();
    }
    child.wait().unwrap();
}

/// What an engine does with a container whose runtime was killed in this command.
fn recover(box_: &Bundle, verb: &str) {
    let out = box_.call(&["state", box_.id()]);
    let status = if out.code == 0 {
        out.json()["status"].as_str().unwrap().to_owned()
    } else if verb == "create" && out.stderr.contains("E_CORRUPT") {
        // It was killed between making its record and writing it: the hint names what helps.
        out.failed().says("delete --force removes the container");
        "none".to_owned()
    } else {
        out.failed().says("does not exist");
        "none".to_owned()
    };
    let allowed: &[&str] = match verb {
        "create" => &["none", "creating", "created", "stopped"],
        "start" => &["created", "running", "stopped"],
        "exec" => &["running"],
        "kill" => &["running", "stopped"],
        _ => &["stopped", "none"],
    };
    assert!(
        allowed.contains(&status.as_str()),
        "after a killed {verb}: {status}"
    );
    if status == "created" {
        let out = box_.start();
        // Whoever is killed before the last word to init takes that along, which may take a moment.
        let expected = match matches!(verb, "create" | "start") && out.code != 0 {
            true => {
                let stopped = ["was killed", "is stopped"];
                let told = stopped.iter().any(|why| out.stderr.contains(why));
                assert!(told, "{out:?}");
                "stopped"
            }
            false => {
                out.ok();
                "running"
            }
        };
        eventually(
            &format!("{expected} after a killed {verb} and a start"),
            || (box_.status() == expected).then_some(()),
        );
    }
    // The process of an exec that was killed is this process's to reap, and init does not end before it is.
    let out = box_.delete_force();
    if out.code != 0 {
        out.failed()
            .says("wait for the end of the init process: connection timed out");
        reap();
        box_.delete_force().ok();
    }
    // What was left to this process.
    let end = std::time::Instant::now() + LIMIT;
    while !host::cgroups_of(box_.id()).is_empty() && std::time::Instant::now() < end {
        reap();
    }
}

/// All that an engine, or two of them, may call for one container at the same time.
fn verbs_at_once_on_one_container_leave_it_whole() -> Outcome {
    let box_ = Bundle::new();
    let before = Host::before(&box_, &[]);
    let id = box_.id();
    for round in 0..rounds(24) {
        box_.write_config();
        let mut random = Random::new(u64::try_from(round).unwrap());
        let verbs: [&[&str]; 12] = [
            &["create", id],
            &["create", id],
            &["start", id],
            &["start", id],
            &["exec", id, "true"],
            &["update", "--pids-limit", "50", id],
            &["pause", id],
            &["resume", id],
            &["kill", id, "KILL"],
            &["state", id],
            &["delete", "--force", id],
            &["list"],
        ];
        let mut running = Vec::new();
        for _ in 0..10 {
            let args: &&[&str] = random.pick(&verbs);
            let mut command = box_.command(args);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            running.push((format!("{command:?}"), start(&mut command)));
        }
        for (line, child) in running {
            // An exec that a pause overtook runs on with the container, as Docker's does.
            let out = wait(child, &line, || box_.call(&["resume", id]));
            let text = String::from_utf8_lossy(&out.stderr);
            let code = out.status.code();
            assert!(
                code.is_some(),
                "round {round}: {line}: {:?} {text}",
                out.status
            );
            assert!(!text.contains("panicked"), "round {round}: {line}: {text}");
        }
        // Whatever came of it, one state is told, and the container can be removed.
        let state = box_.call(&["state", id]);
        if state.code == 0 {
            let status = state.json()["status"].clone();
            let known = ["created", "running", "paused", "stopped"];
            assert!(known.iter().any(|known| status == *known), "{state:?}");
        } else {
            state.failed().says("does not exist");
        }
        box_.delete_force().ok();
        before.unchanged_soon(&format!("round {round}"));
    }
    Ok(())
}

/// Waits for a command that keeps its standard error in a pipe. Its init may hold that pipe, too, so
/// only what is there is read.
fn wait(mut child: Child, line: &str, resume: impl Fn() -> Output) -> std::process::Output {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let in_time = match line.contains("\"exec\"") {
        true => dies_within(pid, SOON) || (resume().code >= 0 && dies_within(pid, LIMIT)),
        false => dies_within(pid, LIMIT),
    };
    assert!(in_time, "`{line}` takes too long");
    let status = child.wait().unwrap();
    let mut stderr = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let mut pipe = pipe;
        // It ends with the pipe, or where there is nothing to read yet.
        std::io::Read::read_to_end(&mut pipe, &mut stderr).ok();
    }
    std::process::Output {
        status,
        stdout: Vec::new(),
        stderr,
    }
}
