//! An own containerd, driven by `ctr`, with the runtime under test behind its runc shim.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{image, runtime, text};
use crate::command::{LIMIT, Output, clean_up, eventually, fail, output, output_of, wait_child};
use crate::kernel::{Cgroup, Scope};
use crate::sandbox::{Driver, Sandbox};
use crate::terminal::Terminal;

/// A running containerd. It is stopped when dropped.
#[derive(Debug)]
pub struct Daemon(Child);

/// How to reach a running containerd.
#[derive(Debug)]
pub struct Containerd {
    /// The machine it runs in.
    pub sandbox: Sandbox,
    /// Where tasks could leave something behind.
    pub scope: Scope,
    pub(super) address: PathBuf,
    pub(super) rootfs: PathBuf,
    next: AtomicU32,
}

/// Starts containerd for `ctr`.
///
/// # Panics
///
/// If it does not come up; the end of its log is in the message.
pub fn start(sandbox: &Sandbox) -> (Daemon, Containerd) {
    let no_cri = "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    launch(sandbox, no_cri, "", "default")
}

/// Starts containerd with keys at the top and sections at the end of its settings; containers of
/// `namespace` are looked for when traces are.
pub(super) fn launch(
    sandbox: &Sandbox,
    keys: &str,
    sections: &str,
    namespace: &str,
) -> (Daemon, Containerd) {
    let dir = sandbox.dir.join("containerd");
    let rootfs = dir.join("rootfs");
    fs::create_dir_all(&rootfs).expect("make a directory on tmpfs");
    image::make_rootfs(&rootfs);
    let settings = [keys, &settings(&dir), sections].concat();
    fs::write(dir.join("config.toml"), settings).expect("write config.toml");
    let log_path = dir.join("log");
    let log = File::create(&log_path).expect("create a log on tmpfs");
    let child = Command::new("containerd")
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().expect("dup of a log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| fail(&format!("start containerd: {e}")));
    let daemon = Daemon(child);
    let tasks = format!("io.containerd.runtime.v2.task/{namespace}");
    let containerd = Containerd {
        sandbox: sandbox.clone(),
        scope: Scope {
            init: sandbox.init,
            cgroup: sandbox.cgroup.clone(),
            roots: vec![
                dir.join("state").join(&tasks),
                dir.join("root").join(&tasks),
                PathBuf::from("/run/containerd/s"),
                Path::new("/run/containerd/runc").join(namespace),
                PathBuf::from("/run/containerd/fifo"),
            ],
            engine_mounts: Vec::new(),
        },
        address: dir.join("socket"),
        rootfs,
        next: AtomicU32::new(0),
    };
    let up = eventually(Duration::from_secs(30), || {
        std::os::unix::net::UnixStream::connect(&containerd.address).is_ok()
    });
    let version = containerd.ctr(&["version"]);
    if !up || version.status != 0 {
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        fail(&format!(
            "containerd does not answer: {version}\n--- its log\n{log}"
        ));
    }
    (daemon, containerd)
}

fn settings(dir: &Path) -> String {
    format!(
        r#"version = 2
root = {root:?}
state = {state:?}
[grpc]
address = {address:?}
[plugins."io.containerd.internal.v1.opt"]
path = {opt:?}
"#,
        root = dir.join("root"),
        state = dir.join("state"),
        address = dir.join("socket"),
        opt = dir.join("opt"),
    )
}

impl Containerd {
    /// A `ctr` command.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&self.address).args(args);
        command
    }

    /// Runs a `ctr` command to its end.
    #[track_caller]
    pub fn ctr(&self, args: &[&str]) -> Output {
        output(self.command(args))
    }

    /// A task that has not been started.
    pub fn name_one(&self) -> Task<'_> {
        let id = format!("t{}", self.next.fetch_add(1, Ordering::Relaxed));
        Task {
            containerd: self,
            id,
        }
    }

    /// A new empty directory.
    ///
    /// # Panics
    ///
    /// If the tmpfs is full.
    pub fn directory(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.sandbox.dir.join(format!("dir{number}"));
        fs::create_dir(&dir).expect("make a directory on tmpfs");
        dir
    }

    /// Runs a program in a new container to its end.
    #[track_caller]
    pub fn run(&self, options: &[&str], program: &[&str]) -> Output {
        let task = self.name_one();
        output(task.run_command(&["--rm"], options, program))
    }

    /// Runs a program in a new container with bytes on its standard input.
    #[track_caller]
    pub fn run_with_input(&self, program: &[&str], stdin: &[u8]) -> Output {
        let task = self.name_one();
        output_of(task.run_command(&["--rm"], &[], program), stdin, LIMIT)
    }

    /// Starts a program in a new container in the background.
    ///
    /// # Panics
    ///
    /// If containerd says no.
    #[track_caller]
    pub fn start(&self, options: &[&str], program: &[&str]) -> Task<'_> {
        let task = self.name_one();
        output(task.run_command(&["--detach"], options, program)).ok();
        task
    }
}

/// A container with its task, removed by force when dropped.
#[derive(Debug)]
pub struct Task<'a> {
    containerd: &'a Containerd,
    /// Id of the container.
    pub id: String,
}

impl Task<'_> {
    /// The command that runs a program in this container, with the runtime under test.
    pub fn run_command(&self, first: &[&str], options: &[&str], program: &[&str]) -> Command {
        let sandbox = &self.containerd.sandbox;
        let (cgroup, driver): (_, &[&str]) = match sandbox.driver {
            Driver::Cgroupfs => (format!("{}/{}", sandbox.cgroup, self.id), &[]),
            Driver::Systemd => (
                format!("{}:ctr:{}", sandbox.parent(), self.id),
                &["--runc-systemd-cgroup"],
            ),
        };
        let runtime = runtime();
        let fixed = ["--rootfs", "--runc-binary", text(&runtime)];
        // Without an image nobody else says where programs are.
        let set = ["--cgroup", cgroup.as_str(), "--env", "PATH=/bin"];
        let names = [text(&self.containerd.rootfs), self.id.as_str()];
        let args = [
            &["run"],
            first,
            &fixed[..],
            driver,
            &set[..],
            options,
            &names[..],
            program,
        ]
        .concat();
        self.containerd.command(&args)
    }

    /// Runs `ctr tasks VERB ID`.
    #[track_caller]
    pub fn task(&self, verb: &[&str]) -> Output {
        let args = [&["tasks"], verb, &[self.id.as_str()]].concat();
        self.containerd.ctr(&args)
    }

    /// Deletes a task that has ended, and returns the status that containerd kept of it.
    ///
    /// # Panics
    ///
    /// If the task cannot be deleted.
    #[track_caller]
    pub fn delete_stopped(&self) -> i32 {
        let out = self.task(&["delete"]);
        // Some versions of ctr end with the status, others only speak of it.
        let spoken = out.stderr.rsplit_once("exit code ").map(|(_, code)| code);
        let code = spoken.and_then(|code| code.trim().trim_end_matches('"').parse().ok());
        match (out.status, code) {
            (0, Some(code)) => code,
            (status, _) => status,
        }
    }

    /// Runs a program in the container, with its output.
    ///
    /// Once a process has ended, `ctr tasks exec` does not wait until it has read all that it wrote (mended upstream in
    /// 2026, containerd#13931): so a shell ends a moment after the program, with its status.
    #[track_caller]
    pub fn exec(&self, options: &[&str], program: &[&str]) -> Output {
        let linger = [
            "sh",
            "-c",
            "\"$@\"; status=$?; sleep 0.2; exit $status",
            "sh",
        ];
        self.exec_alone(options, &[&linger[..], program].concat())
    }

    /// Runs a program in the container; what it writes at its end may be lost.
    #[track_caller]
    pub fn exec_alone(&self, options: &[&str], program: &[&str]) -> Output {
        output(self.exec_command(options, program))
    }

    /// Runs a program in the container on a terminal.
    #[track_caller]
    pub fn exec_on_terminal(&self, program: &[&str]) -> Terminal {
        Terminal::start(&self.exec_command(&["--tty"], program))
    }

    fn exec_command(&self, options: &[&str], program: &[&str]) -> Command {
        let number = self.containerd.next.fetch_add(1, Ordering::Relaxed);
        let exec_id = format!("e{number}");
        let fixed = ["tasks", "exec", "--exec-id", &exec_id];
        let args = [&fixed[..], options, &[self.id.as_str()], program].concat();
        self.containerd.command(&args)
    }

    /// Status of the task in `ctr tasks ls`, such as `RUNNING`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.listed().map(|row| row.1).unwrap_or_default()
    }

    /// Process id of the task.
    ///
    /// # Panics
    ///
    /// If there is no task.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let row = self.listed();
        row.map_or_else(|| fail(&format!("{self} has no task")), |row| row.0)
    }

    /// Cgroups of the task.
    #[track_caller]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::of(self.pid())
    }

    #[track_caller]
    fn listed(&self) -> Option<(i32, String)> {
        let list = self.containerd.ctr(&["tasks", "ls"]);
        list.ok().lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (id, pid, status) = (words.next()?, words.next()?, words.next()?);
            (id == self.id).then_some((pid.parse().ok()?, status.to_owned()))
        })
    }
}

impl fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {}", self.id)
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let id = self.id.as_str();
        for args in [
            ["tasks", "delete", "--force", id],
            ["containers", "rm", id, ""],
        ] {
            let args = args
                .iter()
                .copied()
                .filter(|arg| !arg.is_empty())
                .collect::<Vec<_>>();
            clean_up(self.containerd.command(&args));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        kill_process(Pid::from_child(&self.0), Signal::TERM).ok();
        if wait_child(&mut self.0, Duration::from_secs(30)).is_none() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}
