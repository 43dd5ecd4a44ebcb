//! All that `gl` does with one sandbox, at once and with its processes killed: nothing hangs, each status is
//! one that is documented, and nothing is left.
//!
//! It runs in a pid namespace of its own, so that whatever is left is of this test, and with a `/run` of its
//! own, as `gl prune` takes what it finds.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use gl_e2e::bundle::process::{LIMIT, content, memory_file, reap, start};
use gl_e2e::bundle::{self, Host, rounds, tag};
use gl_e2e::gl::{User, Who};
use gl_e2e::kernel::processes;
use gl_e2e::random::Random;
use gl_e2e::{Outcome, Skip, Test, tests};
use rustix::event::{Timespec, poll};
use rustix::mount::MountFlags;
use rustix::process::{Pid, Signal};

/// Commands at a time.
const COMMANDS: usize = 12;

fn main() -> ExitCode {
    bundle::main_in_pid_namespace(TESTS)
}

const TESTS: &[Test] = tests![
    commands_at_once_on_one_sandbox_leave_nothing,
    commands_at_once_on_one_sandbox_of_basic_leave_nothing,
    commands_at_once_on_a_users_sandbox_leave_nothing,
    commands_at_once_on_a_users_sandbox_of_basic_leave_nothing,
];

fn commands_at_once_on_one_sandbox_leave_nothing() -> Outcome {
    at_once(&Who::Root, "namespace", 1)
}

fn commands_at_once_on_one_sandbox_of_basic_leave_nothing() -> Outcome {
    at_once(&Who::Root, "basic", 2)
}

fn commands_at_once_on_a_users_sandbox_leave_nothing() -> Outcome {
    at_once(&Who::User(User::new("at-once")?), "namespace", 3)
}

fn commands_at_once_on_a_users_sandbox_of_basic_leave_nothing() -> Outcome {
    at_once(&Who::User(User::new("at-once-basic")?), "basic", 4)
}

/// Where somebody's sandboxes leave things, if they do.
fn directories(who: &Who) -> Vec<PathBuf> {
    match who {
        Who::Root => vec!["/run".into()],
        Who::User(user) => vec![user.dir.path("runtime").into()],
    }
}

/// What a program of these tests ends with, by itself or by a signal of `gl kill` or `gl rm`, or what `gl` says where
/// there is no such status.
const OF_PROGRAM: &[i32] = &[0, 7, 125, 137, 143];
/// Done, or not, with a reason.
const DONE_OR_NOT: &[i32] = &[0, 1];
const DONE: &[i32] = &[0];

/// What is called, and which statuses that may have. `NAME` is the sandbox, `OPTIONS` those of its tier.
const CALLS: [(&str, &[i32]); 18] = [
    ("run -d --name NAME OPTIONS -- sleep 1000", &[0, 125]),
    ("run -d --name NAME OPTIONS -- sleep 1000", &[0, 125]),
    ("run -d --name NAME OPTIONS -- sh -c exit\u{a0}7", &[0, 125]),
    ("run -d --rm --name NAME OPTIONS -- sleep 1000", &[0, 125]),
    ("run -d --rm --name NAME OPTIONS -- true", &[0, 125]),
    ("run --name NAME OPTIONS -- sleep 1000", OF_PROGRAM),
    ("run --name NAME OPTIONS -- sh -c exit\u{a0}7", OF_PROGRAM),
    ("exec NAME -- true", OF_PROGRAM),
    ("exec NAME -- sleep 1000", OF_PROGRAM),
    ("wait NAME", OF_PROGRAM),
    ("logs NAME", DONE_OR_NOT),
    ("logs --follow NAME", DONE_OR_NOT),
    ("kill NAME", DONE_OR_NOT),
    ("kill -s KILL NAME", DONE_OR_NOT),
    ("rm NAME", DONE_OR_NOT),
    ("rm -f NAME", DONE),
    ("prune", DONE),
    ("ps --all", DONE),
];

/// A command that may still run.
struct Running {
    line: String,
    statuses: &'static [i32],
    child: Child,
    told: File,
    killed: bool,
}

impl Running {
    fn start(
        who: &Who,
        tier: &str,
        name: &str,
        call: (&str, &'static [i32]),
    ) -> Result<Self, Skip> {
        let options = ["--allow", "--on-missing", "degrade", "--tier", tier];
        let words: Vec<_> = call.0.split(' ').collect();
        let words = words.iter().flat_map(|word| match *word {
            "NAME" => vec![name.to_owned()],
            "OPTIONS" => options.map(str::to_owned).to_vec(),
            word => vec![word.replace('\u{a0}', " ")],
        });
        let words: Vec<_> = words.collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let told = memory_file();
        let mut command = who.command(&words)?;
        command.stdout(told.try_clone().unwrap());
        command.stderr(told.try_clone().unwrap());
        Ok(Self {
            line: format!("gl {}", words.join(" ")),
            statuses: call.1,
            child: start(&mut command),
            told,
            killed: false,
        })
    }

    /// Checks how it has ended.
    #[track_caller]
    fn check(&mut self, round: usize) {
        let status = self.child.wait().unwrap();
        let told = content(&self.told);
        let what = format!("round {round}: {}: {status}: {told}", self.line);
        assert!(!told.contains("panicked"), "{what}");
        let known = status
            .code()
            .is_some_and(|code| self.statuses.contains(&code));
        assert!(known || self.killed, "{what}");
    }
}

fn at_once(who: &Who, tier: &str, seed: u64) -> Outcome {
    if matches!(who, Who::Root) {
        rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
    }
    let name = format!("{}once", tag());
    // Directories and locks that stay.
    let first = ["run", "--name", &name, "--allow", "--tier", tier];
    let first = [&first[..], &["--on-missing", "degrade", "--", "true"]].concat();
    who.gl(&first)?.ok();
    who.gl(&["prune"])?.ok();
    let before = Host::before_all(directories(who));
    let mut random = Random::new(seed);
    for round in 0..rounds(6) {
        let mut running: Vec<Running> = Vec::new();
        for _ in 0..COMMANDS {
            let call = *random.pick(&CALLS);
            running.push(Running::start(who, tier, &name, call)?);
            pause(Duration::from_micros(random.below(15_000)));
            if random.below(6) == 0 {
                kill_one(&name, &mut random, &mut running);
            }
        }
        end(who, &name, round, &mut running)?;
        for command in &mut running {
            command.check(round);
        }
        let left = who.gl(&["rm", "-f", &name])?;
        assert_eq!(left.status, 0, "round {round}: {left}");
        reap();
        let left = who.gl(&["prune"])?;
        assert_eq!(left.status, 0, "round {round}: {left}");
        before.unchanged_soon(&format!("round {round}"));
    }
    let args = ["run", "--name", &name, "--allow", "--tier", tier];
    let args = [
        &args[..],
        &["--on-missing", "degrade", "--", "sh", "-c", "exit 3"],
    ]
    .concat();
    let again = who.gl(&args)?;
    assert_eq!(again.status, 3, "{again}");
    if matches!(who, Who::Root) {
        rustix::mount::unmount("/run", rustix::mount::UnmountFlags::empty()).unwrap();
    }
    Ok(())
}

/// Kills a process of `gl` that has the sandbox's name in its arguments: a command, or who looks after one.
fn kill_one(name: &str, random: &mut Random, running: &mut [Running]) {
    let all = processes().into_iter();
    let all: Vec<_> = all.filter(|(_, line)| line.contains(name)).collect();
    if all.is_empty() {
        return;
    }
    let (pid, _) = random.pick(&all);
    for command in running {
        command.killed |= i32::try_from(command.child.id()).unwrap() == *pid;
    }
    // It may have ended meanwhile.
    rustix::process::kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).ok();
}

/// Ends the sandbox until no command is left that waits for something of it.
fn end(who: &Who, name: &str, round: usize, running: &mut [Running]) -> Outcome {
    let begun = Instant::now();
    loop {
        let mut left = running.iter_mut().filter_map(|one| {
            let waits = one.child.try_wait().unwrap().is_none();
            waits.then_some(&*one.line)
        });
        let Some(first) = left.next() else {
            return Ok(());
        };
        assert!(begun.elapsed() < LIMIT, "round {round}: `{first}` hangs");
        let removed = who.gl(&["rm", "-f", name])?;
        assert_eq!(removed.status, 0, "round {round}: {removed}");
        pause(Duration::from_millis(5));
    }
}

fn pause(time: Duration) {
    poll(&mut [], Some(&Timespec::try_from(time).unwrap())).unwrap();
}
