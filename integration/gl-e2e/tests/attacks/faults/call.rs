//! One call of the flawed runtime: its arguments, its bundle, and the real runtime behind it.
#![expect(clippy::unwrap_used, reason = "a flawed runtime may end by panicking")]

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::Value;

const VERBS: [&str; 9] = [
    "create", "run", "start", "exec", "kill", "state", "delete", "pause", "list",
];

/// One call.
pub(super) struct Call {
    real: PathBuf,
    pub(super) args: Vec<String>,
}

impl Call {
    pub(super) fn new(real: &Path) -> Self {
        Self {
            real: real.to_owned(),
            args: std::env::args().skip(1).collect(),
        }
    }

    fn verb_at(&self) -> Option<usize> {
        let is_verb = |arg: &String| VERBS.contains(&&**arg);
        self.args.iter().position(is_verb)
    }

    pub(super) fn is(&self, verb: &str) -> bool {
        self.verb_at().is_some_and(|at| self.args[at] == verb)
    }

    /// Whether it makes a container, from the bundle in this directory.
    pub(super) fn makes(&self) -> bool {
        self.is("create") || self.is("run")
    }

    /// Adds flags to the command.
    pub(super) fn add_flags(&mut self, flags: &[&str]) {
        let at = self.verb_at().unwrap() + 1;
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.args.splice(at..at, flags);
    }

    /// The value after a flag.
    pub(super) fn value_of(&mut self, flags: &[&str]) -> Option<&mut String> {
        let at = self.args.iter().position(|arg| flags.contains(&&**arg))?;
        self.args.get_mut(at + 1)
    }

    /// Hands the call on; returns the status.
    pub(super) fn real(&self) -> i32 {
        status(Command::new(&self.real).args(&self.args))
    }

    /// The same with a descriptor 3, on the root of the host.
    pub(super) fn real_with_a_descriptor(&self) -> i32 {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec 3</; exec \"$@\"", "sh"]);
        status(command.arg(&self.real).args(&self.args))
    }

    /// The state root that was given.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(&self.args[1])
    }

    /// Another command about the same container.
    pub(super) fn also(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.real);
        command.args(&self.args[..2]).args(words).arg(self.id());
        command.stdin(Stdio::null());
        command
    }

    fn id_at(&self) -> usize {
        let first = self.verb_at().unwrap() + 1;
        let is_id = |arg: &String| arg.starts_with("gl-e2e-");
        let found = self.args[first..].iter().position(is_id);
        found.map_or(self.args.len() - 1, |at| first + at)
    }

    pub(super) fn id(&self) -> &str {
        &self.args[self.id_at()]
    }

    /// What `exec` is to run.
    pub(super) fn program(&mut self) -> &mut [String] {
        let first = self.id_at() + 1;
        &mut self.args[first..]
    }

    /// The pid of init, as the real runtime knows it.
    pub(super) fn pid(&self) -> i32 {
        let output = self.also(&["state"]).output().unwrap();
        let state: Value = serde_json::from_slice(&output.stdout).unwrap();
        i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
    }

    /// `nsenter` into namespaces of init.
    pub(super) fn enter(&self, flags: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid().to_string()])
            .args(flags)
            .arg("--");
        command
    }
}

/// Runs it; returns its status as a shell has it.
pub(super) fn status(command: &mut Command) -> i32 {
    command.status().unwrap().code().unwrap_or(137)
}

/// `config.json` of the bundle.
pub(super) fn config() -> Value {
    serde_json::from_slice(&fs::read("config.json").unwrap()).unwrap_or_default()
}

/// Changes it.
pub(super) fn edit(change: impl FnOnce(&mut Value)) {
    let mut all = config();
    change(&mut all);
    fs::write("config.json", all.to_string()).unwrap();
}

/// Strings of a list in the configuration.
pub(super) fn strings(list: &Value, key: &str) -> Vec<String> {
    let all = list.as_array().cloned().unwrap_or_default();
    let text = |entry: &Value| match key {
        "" => entry.as_str().map(str::to_owned),
        key => entry[key].as_str().map(str::to_owned),
    };
    all.iter().filter_map(text).collect()
}

/// Where a path of the container leads on the host, for who resolves it there: through the volumes
/// that the configuration has.
pub(super) fn on_the_host(config: &Value, path: &str) -> PathBuf {
    let mounts = config["mounts"].as_array().cloned().unwrap_or_default();
    for mount in &mounts {
        let at = mount["destination"].as_str().unwrap_or_default();
        let rest = path.strip_prefix(at).unwrap_or_default();
        if mount["type"] == "bind" && rest.starts_with('/') {
            let source = mount["source"].as_str().unwrap_or_default();
            return Path::new(source).join(&rest[1..]);
        }
    }
    Path::new("rootfs").join(path.trim_start_matches('/'))
}

/// How often a flawed runtime looks at a name, so that a co-tenant who swaps it is met for certain.
pub(super) const LOOKS: usize = 4;

/// Between two looks, in which the co-tenant may swap.
pub(super) fn pause() {
    std::thread::park_timeout(Duration::from_micros(300));
}

/// Does harm to what a path leads to if that is the victim: gives it to a user, and adds a file.
pub(super) fn harm(path: &Path) {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let is_victim = |part: Component<'_>| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with("gl-e2e-") && name.ends_with("victim")
    };
    for _ in 0..LOOKS {
        pause();
        let Ok(found) = openat(CWD, path, flags, Mode::empty()) else {
            continue;
        };
        let number = found.as_raw_fd();
        let found = fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        if found.components().any(is_victim) {
            chown(&found, Some(1234), Some(1234)).ok();
            fs::write(found.join("taken"), "").ok();
            return;
        }
    }
}
