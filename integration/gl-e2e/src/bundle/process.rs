//! Commands under a time limit, and the processes that they leave to us.
//!
//! Output goes to memory files, not to pipes: a container that outlives `create` holds what it
//! inherited, and reading a pipe to its end would wait for the container.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness fails by panicking with what was seen"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use serde_json::Value;

/// Time after which a command counts as hung. The machine may be busy with other work.
pub const LIMIT: Duration = Duration::from_secs(40);

/// What a finished command left.
#[derive(Clone)]
pub struct Output {
    /// Program and arguments, for messages.
    pub command: String,
    /// Exit status; a death by signal `n` of the runtime itself is `-n`.
    pub code: i32,
    /// Standard output, lossy.
    pub stdout: String,
    /// Standard error, lossy.
    pub stderr: String,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// The same, if the status is 0.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.status(0)
    }

    /// The same, if the status is `code`.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn status(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// The same, if the status is neither 0 nor a death by signal.
    ///
    /// # Panics
    ///
    /// If it is not so.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(self.code > 0, "{self:?}");
        self
    }

    /// The same, if standard error contains `text`.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// The same, if standard output without its last newline is `text`.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.stdout.trim_end_matches('\n'), text, "{self:?}");
        self
    }

    /// The same, if standard output contains `text`.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn contains(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(err) => panic!("{err} in {self:?}"),
        }
    }
}

/// Runs a command to its end, at most [`LIMIT`].
///
/// # Panics
///
/// If it cannot be started or takes longer.
#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    let (out, err) = (memory_file(), memory_file());
    command.stdout(out.try_clone().unwrap());
    command.stderr(err.try_clone().unwrap());
    let status = wait(start(command), &line(command));
    Output {
        command: line(command),
        code: status.code().unwrap_or_else(|| -status.signal().unwrap()),
        stdout: content(&out),
        stderr: content(&err),
    }
}

/// Runs a command to its end and leaves its standard output where the caller sent it.
#[track_caller]
pub(super) fn finish_keeping_stdout(mut command: Command) -> Output {
    let err = memory_file();
    command.stderr(err.try_clone().unwrap());
    let (child, line) = (start(&mut command), line(&command));
    // The command holds the write end of the caller's pipe.
    drop(command);
    let status = wait(child, &line);
    Output {
        command: line,
        code: status.code().unwrap_or_else(|| -status.signal().unwrap()),
        stdout: String::new(),
        stderr: content(&err),
    }
}

/// Runs a command for its effect, in teardown, where a failure is looked at elsewhere.
pub(super) fn finish_quietly(mut command: Command) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return;
    };
    // A pid namespace only ends once its orphans are reaped, and they are ours.
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let end = Instant::now() + LIMIT;
    while !dies_within(pid, Duration::from_millis(20)) {
        reap();
        if Instant::now() > end {
            child.kill().ok();
        }
    }
    child.wait().ok();
}

/// Starts a command.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
pub fn start(command: &mut Command) -> Child {
    match command.spawn() {
        Ok(child) => child,
        Err(err) => panic!("start `{}`: {err}", line(command)),
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
    words.join(" ")
}

/// Waits for a child, at most [`LIMIT`].
///
/// # Panics
///
/// If it takes longer; the child is killed then.
#[track_caller]
pub fn wait(mut child: Child, line: &str) -> ExitStatus {
    if !ends_in_time(&child) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("`{line}` took longer than {LIMIT:?}");
    }
    child.wait().unwrap()
}

fn ends_in_time(child: &Child) -> bool {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    dies_within(pid, LIMIT)
}

/// Whether a process is dead, or dies within `limit`. A zombie is dead.
pub fn dies_within(pid: Pid, limit: Duration) -> bool {
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut fds, Some(&limit)).unwrap() == 1
}

/// An empty file that lives in memory only.
pub fn memory_file() -> File {
    File::from(rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC).unwrap())
}

/// All of a file, whatever its offset.
pub fn content(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Process id, parent and state letter of every process.
fn processes() -> BTreeMap<i32, (i32, char, String)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // The process may be gone by now.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(')').unwrap();
        let mut words = rest.split_whitespace();
        let state = words.next().unwrap().chars().next().unwrap();
        let parent = words.next().unwrap().parse().unwrap();
        let name = name.split_once('(').unwrap().1.to_owned();
        all.insert(pid, (parent, state, name));
    }
    all
}

/// Living processes below this one, with their names. Orphans of containers are among them.
pub fn descendants() -> BTreeMap<i32, String> {
    let all = processes();
    let mut found = BTreeMap::new();
    let mut parents = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for (pid, (_, state, name)) in all.iter().filter(|(_, p)| p.0 == parent) {
            parents.push(*pid);
            if *state != 'Z' {
                found.insert(*pid, name.clone());
            }
        }
    }
    found
}

/// Takes the status of every orphan that ended, so that no zombie is counted as a leftover.
pub fn reap() {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    for (pid, (parent, state, _)) in processes() {
        if parent == me && state == 'Z' {
            let pid = Pid::from_raw(pid).unwrap();
            rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
}

/// Kills what tests left, at the end of a test binary.
pub(super) fn kill_descendants() {
    for pid in descendants().into_keys() {
        let pid = Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).ok();
        dies_within(pid, LIMIT);
    }
    reap();
}
