//! A cgroup with processes for one test, and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gl_cgroup::{Applied, Cgroup, DeviceDefault, Error, Layout, Parents, Paths, Version, resolve};
use gl_spec::oci::LinuxResources;
use rustix::process::Signal;

/// More than any wait here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Where cgroup v2 is mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// A layout to test on, or the reason why there is none.
pub(crate) fn host(test: &str) -> Option<Layout> {
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(err) => return skip(test, &err.to_string()),
    };
    if layout.version() != Version::V2 {
        return skip(test, "this host has no cgroup v2 at /sys/fs/cgroup");
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root");
    }
    Some(layout)
}

pub(crate) fn skip(test: &str, reason: &str) -> Option<Layout> {
    println!("SKIP {test}: {reason}");
    None
}

/// Whether the host has a controller, for tests of one that many lack.
pub(crate) fn has(test: &str, controller: &str) -> bool {
    let all = fs::read_to_string(format!("{ROOT}/cgroup.controllers")).unwrap();
    let has = all.split_whitespace().any(|one| one == controller);
    if !has {
        println!("SKIP {test}: this host has no {controller} controller");
    }
    has
}

/// The name of a test's own cgroup below the root.
pub(crate) fn name(test: &str) -> String {
    format!("greenlang-test-{}-{test}", std::process::id())
}

/// The path of a test's cgroup, two levels below the root.
pub(crate) fn paths(test: &str) -> Paths {
    paths_of(&format!("/{}/{test}", name(test)))
}

pub(crate) fn paths_of(path: &str) -> Paths {
    resolve(Some(path), "unused", || {
        panic!("an absolute path needs no own cgroup")
    })
    .unwrap()
}

/// A cgroup that is removed with its processes at the end of a test, also of one that fails.
pub(crate) struct Fixture {
    pub(crate) cgroup: Cgroup,
    pub(crate) paths: Paths,
    pub(crate) processes: Vec<Child>,
}

impl Fixture {
    pub(crate) fn new(layout: &Layout, test: &str) -> Self {
        let paths = paths(test);
        Self {
            cgroup: Cgroup::create(layout, &paths).unwrap(),
            paths,
            processes: Vec::new(),
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        Path::new(ROOT).join(self.paths.unified().unwrap().as_str())
    }

    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.dir().join(file);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        text.trim_end().to_owned()
    }

    pub(crate) fn apply(&self, json: &str) -> Result<Applied, Error> {
        self.cgroup.apply(&resources(json), DeviceDefault::Keep)
    }

    /// Starts a shell in the cgroup that runs `script` once it has joined.
    pub(crate) fn run(&mut self, script: &str) -> i32 {
        let procs = self.cgroup.join_fds().unwrap().remove(0);
        let join = format!(
            "echo 0 > /proc/{}/fd/{}",
            std::process::id(),
            procs.as_raw_fd()
        );
        let mut child = Command::new("sh")
            .args(["-c", &format!("{join} || exit 9; echo ready; {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let pid = i32::try_from(child.id()).unwrap();
        self.processes.push(child);
        pid
    }

    /// Runs a shell in the cgroup to its end; its status and what it has printed.
    pub(crate) fn output(&self, script: &str) -> (Option<i32>, String) {
        let procs = self.cgroup.join_fds().unwrap().remove(0);
        let join = format!(
            "echo 0 > /proc/{}/fd/{}",
            std::process::id(),
            procs.as_raw_fd()
        );
        let output = Command::new("sh")
            .args(["-c", &format!("{join} || exit 9; exec 2>&1; {script}")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let killed = self.cgroup.kill_all(Signal::KILL).map(drop);
        for child in &mut self.processes {
            child.wait().unwrap();
        }
        let removed = self.cgroup.remove(Parents::Remove, LIMIT);
        if !std::thread::panicking() {
            killed.unwrap();
            removed.unwrap();
        }
    }
}

pub(crate) fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}
