//! What the kernel says about a container: /proc, cgroups of either version, mounts.
//!
//! Tests compare this with what was asked for, so that an engine's own answer is never the proof.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

use crate::command::{eventually, fail, gone_within};

/// A value of a field of `/proc/PID/status`, such as `CapBnd`.
///
/// # Panics
///
/// If the process or the field is missing.
#[track_caller]
pub fn status(pid: i32, field: &str) -> String {
    let path = format!("/proc/{pid}/status");
    let text = read(&path);
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_else(|| fail(&format!("{path} has no {field}:\n{text}")))
        .trim()
        .to_owned()
}

/// The namespace of a process, such as `net:[4026531840]`.
///
/// # Panics
///
/// If the process is gone.
#[track_caller]
pub fn namespace(pid: &str, kind: &str) -> String {
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::read_link(&path)
        .unwrap_or_else(|e| fail(&format!("read link {path}: {e}")))
        .to_string_lossy()
        .into_owned()
}

/// Waits until a process is gone.
///
/// # Panics
///
/// If it lives on for ten seconds.
#[track_caller]
pub fn assert_gone(pid: i32) {
    let Some(raw) = Pid::from_raw(pid) else {
        fail(&format!("{pid} is no process id"))
    };
    assert!(
        gone_within(raw, Duration::from_secs(10)),
        "process {pid} lives on: {}",
        name(pid)
    );
}

/// The cgroups of one process.
#[derive(Debug, Clone)]
pub struct Cgroup {
    /// Directory by controller on v1, the one directory under the empty name on v2.
    dirs: BTreeMap<String, PathBuf>,
}

impl Cgroup {
    /// The cgroups that a process is in.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[track_caller]
    pub fn of(pid: i32) -> Self {
        let mut dirs = BTreeMap::new();
        for line in read(&format!("/proc/{pid}/cgroup")).lines() {
            let mut parts = line.splitn(3, ':');
            let (_, names, path) = (parts.next(), parts.next(), parts.next());
            let (Some(names), Some(path)) = (names, path) else {
                fail(&format!("odd line in /proc/{pid}/cgroup: {line}"))
            };
            for name in names.split(',') {
                // Beside v1 hierarchies the unified one has a directory of its own.
                let place = match name {
                    "" if !is_v2() => "unified",
                    _ => name.trim_start_matches("name="),
                };
                let base = Path::new("/sys/fs/cgroup").join(place);
                dirs.insert(name.to_owned(), below(&base, path));
            }
        }
        Self { dirs }
    }

    /// Directory of a controller.
    ///
    /// # Panics
    ///
    /// If this machine does not have the controller.
    #[track_caller]
    pub fn dir(&self, controller: &str) -> &Path {
        let name = if is_v2() { "" } else { controller };
        self.dirs
            .get(name)
            .unwrap_or_else(|| fail(&format!("no cgroup of {controller}: {:?}", self.dirs)))
    }

    /// Content of a file: `v1` in the controller's directory, or `v2`.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[track_caller]
    pub fn read(&self, controller: &str, v1: &str, v2: &str) -> String {
        let file = if is_v2() { v2 } else { v1 };
        let path = self.dir(controller).join(file);
        read(&path.to_string_lossy()).trim().to_owned()
    }

    /// Memory limit in bytes.
    #[track_caller]
    pub fn memory_limit(&self) -> String {
        self.read("memory", "memory.limit_in_bytes", "memory.max")
    }

    /// Limit of the number of tasks.
    #[track_caller]
    pub fn pids_limit(&self) -> String {
        self.read("pids", "pids.max", "pids.max")
    }

    /// Processor time as `quota period` in microseconds.
    #[track_caller]
    pub fn cpu_quota(&self) -> String {
        if is_v2() {
            return self.read("cpu", "", "cpu.max");
        }
        let quota = self.read("cpu", "cpu.cfs_quota_us", "");
        format!("{quota} {}", self.read("cpu", "cpu.cfs_period_us", ""))
    }

    /// How often the group had to wait for its next share of processor time.
    ///
    /// # Panics
    ///
    /// If `cpu.stat` does not say.
    #[track_caller]
    pub fn throttled(&self) -> u64 {
        let stat = self.read("cpu", "cpu.stat", "cpu.stat");
        stat.lines()
            .find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok())
            .unwrap_or_else(|| fail(&format!("no nr_throttled in cpu.stat:\n{stat}")))
    }

    /// Whether every process of the group stands still.
    #[track_caller]
    pub fn frozen(&self) -> bool {
        let state = self.read("freezer", "freezer.state", "cgroup.events");
        state == "FROZEN" || state.lines().any(|line| line == "frozen 1")
    }

    /// Waits until none of the directories is left.
    ///
    /// # Panics
    ///
    /// If one is still there after ten seconds.
    #[track_caller]
    pub fn assert_removed(&self) {
        // A hierarchy in whose root the process was holds nothing of its own.
        let roots = cgroup_hierarchies();
        let own = || {
            self.dirs
                .values()
                .filter(|dir| !roots.iter().any(|root| root == *dir))
        };
        let left = || -> Vec<&PathBuf> { own().filter(|dir| dir.is_dir()).collect() };
        eventually(Duration::from_secs(10), || left().is_empty());
        assert!(left().is_empty(), "cgroups left behind: {:?}", left());
    }
}

/// Whether the machine has the unified hierarchy alone.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").is_file()
}

/// Root directories of all cgroup hierarchies.
pub fn cgroup_hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if is_v2() {
        return vec![root.to_owned()];
    }
    entries(root)
}

/// Where to look for what containers leave behind, besides processes.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The process whose descendants are looked at.
    pub init: i32,
    /// The cgroup below which none may be left.
    pub cgroup: String,
    /// Directories that must hold the same entries before and after.
    pub roots: Vec<PathBuf>,
    /// Mounts that the engine makes for itself and drops when it likes, as [`mounts`] shows them.
    pub engine_mounts: Vec<String>,
}

/// All that a container can leave behind outside of its engine's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    processes: BTreeMap<i32, String>,
    mounts: Vec<String>,
    paths: BTreeSet<PathBuf>,
}

impl Traces {
    /// What there is now.
    pub fn now(scope: &Scope) -> Self {
        let mut paths = BTreeSet::new();
        for hierarchy in cgroup_hierarchies() {
            let top = hierarchy.join(scope.cgroup.trim_start_matches('/'));
            paths.extend(directories_below(&top));
        }
        for root in &scope.roots {
            paths.extend(entries(root));
        }
        Self {
            processes: processes_below(scope.init),
            mounts: mounts()
                .into_iter()
                .filter(|m| !scope.engine_mounts.contains(m))
                .collect(),
            paths,
        }
    }

    /// What there is once the clean-up of earlier containers, which engines do in the background,
    /// has come to rest.
    pub fn settled(scope: &Scope) -> Self {
        let mut last = Self::now(scope);
        let mut same = 0;
        eventually(Duration::from_secs(20), || {
            let now = Self::now(scope);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            same > 100
        });
        last
    }

    /// Waits until nothing is there that was not there before.
    ///
    /// # Panics
    ///
    /// With a list of what is left after 20 seconds.
    #[track_caller]
    pub fn assert_nothing_new(&self, scope: &Scope) {
        let limit = Duration::from_secs(20);
        let mut left = Vec::new();
        eventually(limit, || {
            left = self.added(&Self::now(scope));
            left.is_empty()
        });
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    fn added(&self, now: &Self) -> Vec<String> {
        let processes = now
            .processes
            .iter()
            .filter(|p| self.processes.get(p.0) != Some(p.1));
        let mounts = now.mounts.iter().filter(|m| !self.mounts.contains(m));
        let paths = now.paths.difference(&self.paths);
        processes
            .map(|(pid, name)| format!("process {pid} {name}"))
            .chain(mounts.map(|mount| format!("mount {mount}")))
            .chain(paths.map(|path| format!("path {}", path.display())))
            .collect()
    }
}

/// Every process that this process can see, with its name and state.
pub fn processes() -> BTreeMap<i32, String> {
    entries(Path::new("/proc"))
        .iter()
        .filter_map(|dir| dir.file_name()?.to_str()?.parse().ok())
        .map(|pid| (pid, name(pid)))
        .collect()
}

/// The process `top` and its descendants, with name and state.
///
/// Parents end while this looks. A process whose parent is not there any more counts.
pub fn processes_below(top: i32) -> BTreeMap<i32, String> {
    let mut all = processes();
    let parents: BTreeMap<i32, i32> = all
        .keys()
        .filter_map(|pid| Some((*pid, parent(*pid)?)))
        .collect();
    all.retain(|pid, _| {
        let line = std::iter::successors(Some(*pid), |pid| parents.get(pid).copied());
        let end = line.take(parents.len() + 1).find(|pid| {
            // Besides `top` only the first process and the kernel's first thread have no parent.
            *pid == top || *pid == 0 || !parents.contains_key(pid)
        });
        end != Some(0)
    });
    all
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, also a parenthesis.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Mount points of this mount namespace with their filesystem type, in order.
pub fn mounts() -> Vec<String> {
    read("/proc/self/mountinfo")
        .lines()
        .filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            Some(format!(
                "{} {}",
                place.split(' ').nth(4)?,
                kind.split(' ').next()?
            ))
        })
        .collect()
}

/// All directories below `top`, parents before their children.
pub fn directories_below(top: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut next = vec![top.to_owned()];
    while let Some(dir) = next.pop() {
        for entry in entries(&dir)
            .into_iter()
            .filter(|e| e.is_dir() && !e.is_symlink())
        {
            all.push(entry.clone());
            next.push(entry);
        }
    }
    all
}

/// The directory of a cgroup, given as `/path`, in a hierarchy.
fn below(hierarchy: &Path, path: &str) -> PathBuf {
    match path.trim_start_matches('/') {
        "" => hierarchy.to_owned(),
        path => hierarchy.join(path),
    }
}

/// Entries of a directory; none if it is not there.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir(dir) else {
        return Vec::new();
    };
    list.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn name(pid: i32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let args = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{} ({})", comm.trim(), args.replace('\0', " ").trim())
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| fail(&format!("read {path}: {e}")))
}
