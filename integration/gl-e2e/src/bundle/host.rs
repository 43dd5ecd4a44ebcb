//! Snapshots of the host: what a failed or hostile container must leave as it was.
#![expect(
    clippy::unwrap_used,
    reason = "a harness fails by panicking with what was seen"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

use super::process::{LIMIT, descendants, dies_within, reap};
use super::{Bundle, tag};
use crate::kernel::is_v2;

/// Host files whose content or metadata an escape would change.
const WATCHED: [&str; 8] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/dev/null",
    "/dev/ptmx",
    "/etc/passwd",
    "/etc/hostname",
];

/// The state of the host as one set of lines, so that a difference can be printed.
#[derive(Debug)]
pub struct Host {
    trees: Vec<PathBuf>,
    lines: BTreeSet<String>,
}

impl Host {
    /// Takes a snapshot of mounts, cgroups and processes of this test process, watched host
    /// files, the bundle's state root and all entries of `victims`.
    pub fn before(bundle: &Bundle, victims: &[&Path]) -> Self {
        let mut trees = vec![bundle.state_root()];
        trees.extend(victims.iter().map(|&p| p.to_owned()));
        Self::before_all(trees)
    }

    /// The same without a bundle, for all entries of `trees`.
    pub fn before_all(trees: Vec<PathBuf>) -> Self {
        reap();
        let lines = lines(&trees);
        Self { trees, lines }
    }

    /// Compares with now, and gives processes that are dying time to end.
    ///
    /// # Panics
    ///
    /// If anything differs for long, with the lines that came and went.
    #[track_caller]
    pub fn unchanged_soon(&self, when: &str) {
        let end = Instant::now() + Duration::from_secs(5);
        let pause = Timespec::try_from(Duration::from_millis(5)).unwrap();
        while lines(&self.trees) != self.lines && Instant::now() < end {
            poll(&mut [], Some(&pause)).unwrap();
            reap();
        }
        self.unchanged(when);
    }

    /// Compares with now.
    ///
    /// # Panics
    ///
    /// If anything differs, with the lines that came and went.
    #[track_caller]
    pub fn unchanged(&self, when: &str) {
        reap();
        let now = lines(&self.trees);
        let gone: Vec<_> = self.lines.difference(&now).collect();
        let new: Vec<_> = now.difference(&self.lines).collect();
        assert!(
            gone.is_empty() && new.is_empty(),
            "{when}: host changed\n  gone: {gone:#?}\n  new: {new:#?}\n  processes: {:?}",
            descendants()
        );
    }
}

fn lines(trees: &[PathBuf]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.extend(mounts.lines().map(|l| format!("mount {l}")));
    let cgroups = cgroups_of(&tag());
    all.extend(cgroups.iter().map(|p| format!("cgroup {}", p.display())));
    let processes = descendants();
    all.extend(processes.keys().map(|p| format!("process {p}")));
    for path in WATCHED {
        all.insert(format!("watched {}", describe(Path::new(path))));
    }
    for tree in trees {
        walk(tree, &mut |path| {
            all.insert(format!("file {}", describe(path)));
        });
    }
    all
}

/// Path, type and mode, owner, device and content of a file.
fn describe(path: &Path) -> String {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return format!("{} missing", path.display());
    };
    let content = if meta.is_file() {
        fs::read(path).map_or_else(|e| e.to_string(), |b| digest(&b))
    } else if meta.is_symlink() {
        fs::read_link(path).unwrap().display().to_string()
    } else {
        String::new()
    };
    format!(
        "{} {:o} {}:{} {:x} {content}",
        path.display(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.rdev()
    )
}

/// Length and a hash of some bytes, to tell two contents apart in one line.
pub fn digest(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{} bytes #{:016x}", bytes.len(), hasher.finish())
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    let Ok(meta) = fs::symlink_metadata(dir) else {
        return;
    };
    if meta.is_dir() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            walk(&entry.path(), visit);
        }
    }
}

/// All cgroup directories whose path contains `name`, parents first.
pub fn cgroups_of(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if is_v2() {
        collect_cgroups(Path::new("/sys/fs/cgroup"), name, &mut found);
        return found;
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        collect_cgroups(&hierarchy.path(), name, &mut found);
    }
    found.sort();
    found
}

fn collect_cgroups(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(name) {
                found.push(path.clone());
            }
            collect_cgroups(&path, name, found);
        }
    }
}

/// Kills what is in the cgroups of this name and removes them.
pub(super) fn remove_cgroups(name: &str) {
    // A name that another process may use is no reason to kill anything.
    if !name.starts_with(&tag()) {
        return;
    }
    let is_it = |p: &PathBuf| p.components().any(|c| c.as_os_str() == name);
    let cgroups: Vec<_> = cgroups_of(name).into_iter().filter(is_it).collect();
    for dir in cgroups.iter().rev() {
        fs::write(dir.join("freezer.state"), "THAWED").ok();
        let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in list
            .lines()
            .filter_map(|l| l.parse().ok())
            .filter_map(Pid::from_raw)
        {
            rustix::process::kill_process(pid, Signal::KILL).ok();
            dies_within(pid, LIMIT);
        }
        reap();
        fs::remove_dir(dir).ok();
    }
}

/// Unmounts everything below a directory.
pub(super) fn unmount_below(dir: &Path) {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = |m: &super::kernel::Mount| Path::new(&m.target).starts_with(dir);
    let mounts: Vec<_> = super::kernel::mounts(&text)
        .into_iter()
        .filter(below)
        .collect();
    for mount in mounts.iter().rev() {
        rustix::mount::unmount(mount.target.as_str(), UnmountFlags::DETACH).ok();
    }
}
