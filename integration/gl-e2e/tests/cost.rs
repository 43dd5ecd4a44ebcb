//! What each command asks of the kernel: the system calls that it makes, by name, are those on file.
//!
//! A change that makes more of them, or fewer, is seen here, and goes into the file together with what it is for:
//! `GL_COST=write` writes the file anew. The counts are those of one kind of machine, which the file describes.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::{self, Bundle, finish};
use gl_e2e::{Outcome, Skip, machine, tests};

/// Below the directory that the tests run in.
const FILE: &str = "cost/system-calls.txt";
/// The smallest number of each call counts, as a signal or a short read may add one.
const TRIES: usize = 5;
/// So many times more, if the counts are not yet those on file.
const PATIENCE: usize = 5;

fn main() -> ExitCode {
    bundle::main(tests![commands_make_the_system_calls_that_are_on_file])
}

type Calls = BTreeMap<String, u64>;

/// How many of these it takes to make a container depends on the numbers of descriptors, and those on which of two
/// processes with one table of them opens its files first: on file there is how many there may be.
const BY_NUMBER: [&str; 2] = ["close", "close_range"];
/// So many more than were seen.
const MORE: u64 = 3;

/// The runtime by a path of one length everywhere: libc reads that in its own memory map when it starts.
fn program() -> PathBuf {
    format!("/tmp/gl-cost-{:010}/greenlang", std::process::id()).into()
}

/// The copy of the runtime, gone when dropped.
struct Copied;

impl Copied {
    fn new() -> Self {
        fs::create_dir(program().parent().unwrap()).unwrap();
        fs::copy(bundle::runtime(), program()).unwrap();
        Self
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        fs::remove_dir_all(program().parent().unwrap()).unwrap();
    }
}

/// The calls of one command, and of all processes that it starts with `-f` among the options.
fn calls(box_: &Bundle, options: &[&str], args: &[&str]) -> Calls {
    // How many calls close descriptors depends on their numbers, and these on what is open already.
    let alone = "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -le 2 ] || eval \"exec $n>&-\"; done; exec \"$@\"";
    let mut command = Command::new("bash");
    command
        .args(["-c", alone, "bash", "strace"])
        .args(options)
        .args(["-c", "-U", "calls,name", "-o", "trace"])
        .arg(program())
        .arg("--root")
        .arg(box_.state_root())
        .args(args)
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    finish(&mut command).ok();
    let text = fs::read_to_string(box_.dir().join("trace")).unwrap();
    let lines = text.lines().filter_map(|line| {
        let (calls, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), calls.parse().ok()?))
    });
    let calls: Calls = lines.filter(|(name, _)| name != "total").collect();
    assert!(!calls.is_empty(), "{args:?}: {text}");
    calls
}

/// All commands once, by their titles.
fn once() -> Vec<(&'static str, Calls)> {
    let mut all = Vec::new();
    let box_ = Bundle::new().args(&["/bin/true"]);
    box_.write_config();
    all.push(("run", calls(&box_, &["-f"], &["run", box_.id()])));
    let profiled = ["--profile", "default", "run", box_.id()];
    all.push((
        "run with the profile default",
        calls(&box_, &["-f"], &profiled),
    ));
    let box_ = Bundle::sh("exec sleep 1000");
    box_.write_config();
    let id = box_.id();
    // Init lives on, so it is not followed.
    all.push(("create", calls(&box_, &[], &["create", id])));
    for (title, args) in [
        ("start", &["start", id][..]),
        ("state", &["state", id]),
        ("list", &["list"]),
        ("ps", &["ps", "--format", "json", id]),
        ("exec", &["exec", id, "/bin/true"]),
        ("events --stats", &["events", "--stats", id]),
        ("update", &["update", "--pids-limit", "50", id]),
        ("pause", &["pause", id]),
        ("resume", &["resume", id]),
        ("kill 0", &["kill", id, "0"]),
        ("features", &["features"]),
        ("--version", &["--version"]),
    ] {
        all.push((title, calls(&box_, &["-f"], args)));
    }
    box_.kill_and_wait();
    all.push(("delete", calls(&box_, &["-f"], &["delete", id])));
    all
}

/// Of both the smaller number, call by call.
fn least(mut one: Calls, other: &Calls) -> Calls {
    one.retain(|name, _| other.contains_key(name));
    for (name, calls) in &mut one {
        *calls = (*calls).min(other[name]);
    }
    one
}

/// Some more tries, with what was seen before.
fn measured(before: Option<Vec<(&'static str, Calls)>>) -> Vec<(&'static str, Calls)> {
    let mut least_seen = before.unwrap_or_else(once);
    for _ in 0..TRIES {
        for ((_, seen), (_, new)) in least_seen.iter_mut().zip(once()) {
            *seen = least(std::mem::take(seen), &new);
        }
    }
    least_seen
}

fn written(all: &[(&str, Calls)]) -> String {
    let mut text = format!("machine: {}\n", machine::kind());
    for (title, calls) in all {
        let total: u64 = calls.values().sum();
        writeln!(text, "\n{title}: {total}").unwrap();
        for (name, calls) in calls {
            writeln!(text, "    {calls:>4} {name}").unwrap();
        }
    }
    text
}

fn commands_make_the_system_calls_that_are_on_file() -> Outcome {
    if !bundle::is_greenlang() {
        return Err(Skip("the counts are greenlang's".to_owned()));
    }
    machine::enter_first_cgroups();
    let _copied = Copied::new();
    // What is only read or made the first time.
    drop(once());
    if std::env::var_os("GL_COST").is_some_and(|word| word == "write") {
        let mut all = measured(None);
        for (title, calls) in &mut all {
            let makes = matches!(*title, "create" | "run" | "run with the profile default");
            for name in BY_NUMBER.iter().filter(|_| makes) {
                *calls.get_mut(*name).unwrap() += MORE;
            }
        }
        fs::write(FILE, written(&all)).unwrap();
        return Ok(());
    }
    let on_file = fs::read_to_string(FILE).unwrap();
    let machine = format!("machine: {}\n", machine::kind());
    if !on_file.starts_with(&machine) {
        return Err(Skip(format!(
            "the counts on file are of another machine than this {machine}"
        )));
    }
    let mut seen = measured(None);
    let mut differing = differences(&on_file, &written(&seen));
    // Under load it may take long until one is not disturbed.
    for _ in 0..PATIENCE {
        if differing.is_empty() {
            break;
        }
        seen = measured(Some(seen));
        differing = differences(&on_file, &written(&seen));
    }
    assert!(
        differing.is_empty(),
        "on file in integration/gl-e2e/{FILE} and seen:\n{}\nif it is meant to be so: GL_COST=write",
        differing.join("\n")
    );
    Ok(())
}

/// The lines that differ, each with the command that it is about.
fn differences(on_file: &str, seen: &str) -> Vec<String> {
    let (on_file, seen) = (by_call(on_file), by_call(seen));
    let mut keys: Vec<_> = on_file.keys().chain(seen.keys()).collect();
    keys.sort();
    keys.dedup();
    let count = |all: &BTreeMap<(String, String), u64>, title: &str, name: &str| {
        let key = (title.to_owned(), name.to_owned());
        all.get(&key).copied().unwrap_or(0)
    };
    // How many fewer of a name there are than there may be.
    let fewer = |title: &str, name: &str| {
        count(&on_file, title, name).saturating_sub(count(&seen, title, name))
    };
    let mut all = Vec::new();
    for (title, name) in keys {
        let (was, is) = (count(&on_file, title, name), count(&seen, title, name));
        let may_be_fewer = match &**name {
            "all" => BY_NUMBER.iter().map(|name| fewer(title, name)).sum(),
            name if BY_NUMBER.contains(&name) => fewer(title, name),
            _ => 0,
        };
        if was != is + may_be_fewer {
            all.push(format!("{title}: {name}: {was} on file, {is} seen"));
        }
    }
    all
}

fn by_call(text: &str) -> BTreeMap<(String, String), u64> {
    let mut command = String::new();
    let mut all = BTreeMap::new();
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        match line.trim().split_once(' ') {
            Some((calls, name)) if line.starts_with(' ') => {
                all.insert((command.clone(), name.to_owned()), calls.parse().unwrap());
            }
            _ => {
                let (title, total) = line.split_once(": ").unwrap();
                title.clone_into(&mut command);
                all.insert((command.clone(), "all".to_owned()), total.parse().unwrap());
            }
        }
    }
    all
}
