//! A cgroup with processes for one test, and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gl_cgroup::{
    Cgroup, Controller, DeviceDefault, Error, Layout, Parents, Paths, Version, resolve,
};
use gl_spec::oci::LinuxResources;
use rustix::process::Signal;

/// More than any wait here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A layout to test on, or the reason why there is none.
pub(crate) fn host(test: &str) -> Option<Layout> {
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(err) => return skip(test, &err.to_string()),
    };
    if layout.version() != Version::V1 {
        return skip(test, "this host has no cgroup v1");
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

/// The path of a test's cgroup, two levels below the root.
pub(crate) fn paths(test: &str) -> Paths {
    paths_of(&format!(
        "/greenlang-test-{}-{test}/{test}",
        std::process::id()
    ))
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

    pub(crate) fn dir(&self, controller: Controller) -> PathBuf {
        let path = self.paths.path(controller).unwrap();
        Path::new("/sys/fs/cgroup")
            .join(controller.name())
            .join(path.as_str())
    }

    pub(crate) fn read(&self, controller: Controller, file: &str) -> String {
        let path = self.dir(controller).join(file);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        text.trim_end().to_owned()
    }

    pub(crate) fn apply(&self, json: &str) -> Result<gl_cgroup::Applied, Error> {
        self.cgroup.apply(&resources(json), DeviceDefault::Keep)
    }

    /// Starts a shell in the cgroup that runs `script` once it has joined.
    pub(crate) fn run(&mut self, script: &str) -> i32 {
        let fds = self.cgroup.join_fds().unwrap();
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("{}; echo ready; {script}", join_script(&fds)),
            ])
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
}

/// Writes 0 to each descriptor of this process.
pub(crate) fn join_script(fds: &[OwnedFd]) -> String {
    let own = std::process::id();
    let one = |fd: &OwnedFd| format!("echo 0 > /proc/{own}/fd/{}", fd.as_raw_fd());
    fds.iter().map(one).collect::<Vec<_>>().join(" && ")
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
