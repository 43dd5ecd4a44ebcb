//! What the kernel says of a container's process, and waits that end by an event.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness fails by panicking with what was seen"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::process::{LIMIT, dies_within, reap};
use crate::kernel::is_v2;

/// Reads until `text` was seen and returns all that was read.
///
/// # Panics
///
/// If the other end is closed before, or the text does not come in time.
#[track_caller]
pub fn read_until<F>(mut from: &F, text: &str) -> String
where
    F: AsFd,
    for<'a> &'a F: Read,
{
    let end = Instant::now() + LIMIT;
    let mut seen = String::new();
    while !seen.contains(text) {
        assert!(readable(from, end), "no {text:?} in time; seen: {seen:?}");
        let mut bytes = [0; 4096];
        match from.read(&mut bytes) {
            Ok(0) => panic!("end of output before {text:?}; seen: {seen:?}"),
            Ok(n) => seen.push_str(&String::from_utf8_lossy(&bytes[..n])),
            Err(err) => panic!("{err} before {text:?}; seen: {seen:?}"),
        }
    }
    seen
}

/// Whether a descriptor becomes readable (or is closed by its peer) before `end`.
pub fn readable(fd: &impl AsFd, end: Instant) -> bool {
    let left = end.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap() == 1
}

/// Waits until a process is dead, and reaps it if it is ours.
///
/// # Panics
///
/// If it lives on.
#[track_caller]
pub fn wait_dead(pid: i32) {
    let dead = dies_within(Pid::from_raw(pid).unwrap(), LIMIT);
    assert!(dead, "process {pid} still lives");
    reap();
}

/// Waits until a process is a zombie, and leaves it so.
///
/// # Panics
///
/// If it lives on.
#[track_caller]
pub fn wait_zombie(pid: i32) {
    let dead = dies_within(Pid::from_raw(pid).unwrap(), LIMIT);
    assert!(dead, "process {pid} still lives");
}

/// Asks again until `seen` answers, for facts that the kernel reports by no event.
///
/// # Panics
///
/// If it never does.
#[track_caller]
pub fn eventually<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = seen() {
            return value;
        }
        assert!(Instant::now() < end, "never: {what}");
        let pause = Timespec::try_from(Duration::from_millis(2)).unwrap();
        poll(&mut [], Some(&pause)).unwrap();
    }
}

/// A file of `/proc/PID`.
///
/// # Panics
///
/// If it cannot be read.
#[track_caller]
pub fn proc_file(pid: i32, name: &str) -> String {
    match fs::read_to_string(format!("/proc/{pid}/{name}")) {
        Ok(text) => text,
        Err(err) => panic!("/proc/{pid}/{name}: {err}"),
    }
}

/// `Name: value` lines, as in `/proc/PID/status`.
pub fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|l| l.split_once(':'));
    pairs
        .map(|(k, v)| (k.to_owned(), v.trim().replace('\t', " ")))
        .collect()
}

/// The open descriptors of a process and what they lead to.
pub fn descriptors(pid: i32) -> BTreeMap<u32, PathBuf> {
    let dir = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    dir.flatten()
        .map(|e| {
            let number = e.file_name().to_str().unwrap().parse().unwrap();
            (number, fs::read_link(e.path()).unwrap())
        })
        .collect()
}

/// The identity of a process's namespace, such as `net:[4026531840]`.
pub fn namespace(pid: i32, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    link.to_str().unwrap().to_owned()
}

/// One line of mountinfo.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Its number.
    pub id: String,
    /// Number of the mount that it is on.
    pub parent: String,
    /// Root of the mount within its filesystem.
    pub root: String,
    /// Where it is.
    pub target: String,
    /// Options of the mount.
    pub options: Vec<String>,
    /// Optional fields: `shared:N`, `master:N`, `unbindable`.
    pub propagation: Vec<String>,
    /// Filesystem type.
    pub kind: String,
    /// Source.
    pub source: String,
    /// Options of the filesystem.
    pub filesystem_options: Vec<String>,
}

impl Mount {
    /// Whether the mount has an option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

/// Reads mountinfo; lines that are none are left out.
pub fn mounts(text: &str) -> Vec<Mount> {
    let lines = text.lines().filter(|l| l.contains(" - "));
    lines.map(mount).collect()
}

fn mount(line: &str) -> Mount {
    let (left, right) = line.split_once(" - ").unwrap();
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Mount {
        id: left[0].to_owned(),
        parent: left[1].to_owned(),
        root: left[3].to_owned(),
        target: left[4].to_owned(),
        options: list(left[5]),
        propagation: left[6..].iter().map(|&w| w.to_owned()).collect(),
        kind: right[0].to_owned(),
        source: right[1].to_owned(),
        filesystem_options: list(right[2]),
    }
}

/// The topmost mount at `target`, if any.
pub fn mount_at(text: &str, target: &str) -> Option<Mount> {
    mounts(text).into_iter().rfind(|m| m.target == target)
}

/// The cgroup directory of a container with the default `cgroupsPath`: that of a controller on v1.
pub fn cgroup(controller: &str, id: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if is_v2() {
        return root.join(id);
    }
    root.join(controller).join(id)
}

/// Whether the container's cgroup stands still.
///
/// # Panics
///
/// If the kernel does not say.
#[track_caller]
pub fn frozen(id: &str) -> bool {
    if is_v2() {
        let events = cgroup_value("", id, "cgroup.events");
        return events.lines().any(|line| line == "frozen 1");
    }
    cgroup_value("freezer", id, "freezer.state") == "FROZEN"
}

/// A value of the container's [`cgroup`], without its newline.
///
/// # Panics
///
/// If it cannot be read.
#[track_caller]
pub fn cgroup_value(controller: &str, id: &str, file: &str) -> String {
    let path = cgroup(controller, id).join(file);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim_end().to_owned(),
        Err(err) => panic!("{}: {err}", path.display()),
    }
}
