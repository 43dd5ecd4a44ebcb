//! Engines that call the runtime under test, and the containers that tests start with them.
//!
//! Docker and Podman share a command line, so one [`Engine`] drives both and one scenario runs on
//! both. Each engine is an own instance: own data, own sockets, the runtime named by `$GL_RUNTIME`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub use crate::bundle::{is_greenlang, runtime};
use crate::command::{Follow, LIMIT, Output, clean_up, fail, output, output_of};
use crate::kernel::{Cgroup, Scope};
use crate::sandbox::Sandbox;
use crate::terminal::Terminal;

pub mod containerd;
pub mod cri;
pub mod docker;
pub mod image;
pub mod podman;

/// Name of the busybox image that every engine has, see [`image`].
pub const IMAGE: &str = "gl-box";

/// Which command line an engine has, where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `docker`, with its daemon.
    Docker,
    /// `podman`, without one.
    Podman,
}

/// An engine that is ready to run containers.
#[derive(Debug)]
pub struct Engine {
    /// Docker or Podman.
    pub kind: Kind,
    /// The machine it runs in.
    pub sandbox: Sandbox,
    /// Where the engine may have the runtime keep its state: values of `--root`.
    state_roots: Vec<PathBuf>,
    /// Where containers of this engine could leave something behind.
    pub scope: Scope,
    program: PathBuf,
    globals: Vec<String>,
    run_defaults: Vec<String>,
    environment: BTreeMap<String, String>,
    next: AtomicU32,
}

impl Engine {
    /// The same engine behind another client program.
    pub fn with_program(&self, program: &str) -> Self {
        Self {
            kind: self.kind,
            sandbox: self.sandbox.clone(),
            state_roots: self.state_roots.clone(),
            scope: self.scope.clone(),
            program: PathBuf::from(program),
            globals: self.globals.clone(),
            run_defaults: self.run_defaults.clone(),
            environment: self.environment.clone(),
            next: AtomicU32::new(1_000_000),
        }
    }

    /// The runtime's `--root` that holds the state of a container, by the container's full id.
    pub fn state_root_of(&self, id: &str) -> Option<&Path> {
        let mut roots = self.state_roots.iter();
        roots
            .find(|root| root.join(id).is_dir())
            .map(PathBuf::as_path)
    }

    /// Whether the engine can give a container annotations: Docker's daemon from API 1.43 on.
    ///
    /// # Panics
    ///
    /// If the daemon does not tell its version.
    pub fn annotations(&self) -> bool {
        if self.kind == Kind::Podman {
            return true;
        }
        let out = self.cli(&["version", "--format", "{{.Server.APIVersion}}"]);
        let version = out.ok().split_once('.');
        let number = |text: &str| text.parse::<u32>().ok();
        let version = version.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        version.unwrap_or_else(|| fail(&format!("no version: {out}"))) >= (1, 43)
    }

    /// A command of this engine.
    pub fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.globals)
            .args(args.iter().map(AsRef::as_ref))
            .envs(&self.environment);
        command
    }

    /// Runs a command of this engine to its end.
    #[track_caller]
    pub fn cli<S: AsRef<str>>(&self, args: &[S]) -> Output {
        output(self.command(args))
    }

    /// Runs a container to its end and removes it: `run --rm OPTIONS IMAGE PROGRAM`.
    #[track_caller]
    pub fn run(&self, options: &[&str], program: &[&str]) -> Output {
        output(self.command(&self.run_args("run", &["--rm"], options, program)))
    }

    /// Runs a shell script in a container, as [`Engine::run`].
    #[track_caller]
    pub fn sh(&self, options: &[&str], script: &str) -> Output {
        self.run(options, &["sh", "-c", script])
    }

    /// Runs a container with bytes on its standard input.
    #[track_caller]
    pub fn run_with_input(&self, options: &[&str], program: &[&str], stdin: &[u8]) -> Output {
        let args = self.run_args("run", &["--rm", "-i"], options, program);
        output_of(self.command(&args), stdin, LIMIT)
    }

    /// Runs a container on a terminal.
    #[track_caller]
    pub fn run_on_terminal(&self, options: &[&str], program: &[&str]) -> Terminal {
        Terminal::start(&self.command(&self.run_args("run", &["-it"], options, program)))
    }

    /// Starts a container in the background: `run -d`.
    ///
    /// # Panics
    ///
    /// If the engine says no.
    #[track_caller]
    pub fn start(&self, options: &[&str], program: &[&str]) -> Container<'_> {
        let container = self.name_one();
        let named = ["-d", "--name", &container.name];
        let started = output(self.command(&self.run_args("run", &named, options, program)));
        started.ok();
        container
    }

    /// Starts a container that sleeps until it is killed.
    #[track_caller]
    pub fn sleeper(&self, options: &[&str]) -> Container<'_> {
        self.start(options, &["sleep", "1000"])
    }

    /// Runs a container to its end and keeps it.
    #[track_caller]
    pub fn run_and_keep(&self, options: &[&str], program: &[&str]) -> (Container<'_>, Output) {
        let container = self.name_one();
        let named = ["--name", container.name.as_str()];
        let ran = output(self.command(&self.run_args("run", &named, options, program)));
        (container, ran)
    }

    /// A container name that is not in use yet, with its removal.
    pub fn name_one(&self) -> Container<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Container {
            engine: self,
            name: format!("c{number}"),
        }
    }

    /// A new empty directory that containers can be given, open to all of their users.
    ///
    /// # Panics
    ///
    /// If the tmpfs is full.
    pub fn directory(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.sandbox.dir.join(format!("dir{number}"));
        std::fs::create_dir(&dir).expect("make a directory on tmpfs");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&dir, open).expect("open a directory to all");
        dir
    }

    /// Arguments of `run` or `create`; without a word on the network there is none.
    pub fn run_args(
        &self,
        verb: &str,
        first: &[&str],
        options: &[&str],
        program: &[&str],
    ) -> Vec<String> {
        let given = |name: &str| options.iter().any(|o| o.starts_with(name));
        let mut defaults: Vec<&str> = Vec::new();
        // A pod has decided on these for its containers.
        if !given("--pod") {
            defaults.extend(self.run_defaults.iter().map(String::as_str));
            if !given("--network") {
                defaults.push("--network=none");
            }
        }
        // With any `--ulimit` Podman forgets the defaults that its settings file has for the others,
        // and asks for more than a root without CAP_SYS_RESOURCE may have.
        if self.kind == Kind::Podman && given("--ulimit") {
            defaults.extend(["--ulimit=nproc=1024:1024", "--ulimit=nofile=1024:1024"]);
        }
        [&[verb], first, &defaults, options, &[IMAGE], program]
            .concat()
            .iter()
            .map(|&arg| arg.to_owned())
            .collect()
    }
}

/// A container by name. It is removed by force when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    engine: &'a Engine,
    /// Name of the container.
    pub name: String,
}

impl Container<'_> {
    /// Runs `VERB NAME`.
    #[track_caller]
    pub fn cli(&self, verb: &[&str]) -> Output {
        self.engine.cli(&[verb, &[&self.name]].concat())
    }

    /// Runs a program in the container.
    #[track_caller]
    pub fn exec(&self, options: &[&str], program: &[&str]) -> Output {
        let args = [&["exec"], options, &[&self.name], program].concat();
        self.engine.cli(&args)
    }

    /// Runs a shell script in the container.
    #[track_caller]
    pub fn exec_sh(&self, script: &str) -> Output {
        self.exec(&[], &["sh", "-c", script])
    }

    /// Runs a program in the container on a terminal.
    #[track_caller]
    pub fn exec_on_terminal(&self, program: &[&str]) -> Terminal {
        let args = [&["exec", "-it", &self.name], program].concat();
        Terminal::start(&self.engine.command(&args))
    }

    /// Removes the container by force, at once: `rm -f`.
    #[track_caller]
    pub fn remove(&self) -> Output {
        output(self.removal())
    }

    fn removal(&self) -> Command {
        let options: &[&str] = match self.engine.kind {
            Kind::Docker => &["-f", "-v"],
            // Podman stops first, and waits for a first process that does not listen.
            Kind::Podman => &["-f", "-v", "-t", "0"],
        };
        self.engine
            .command(&[&["rm"], options, &[&self.name]].concat())
    }

    /// A field of the engine's description, as a Go template.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        let args = ["inspect", "--format", template, &self.name];
        self.engine.cli(&args).ok().to_owned()
    }

    /// Full id of the container.
    #[track_caller]
    pub fn id(&self) -> String {
        self.inspect("{{.Id}}")
    }

    /// What the runtime itself says of the container: its `state`.
    ///
    /// # Panics
    ///
    /// If the runtime does not know the container.
    #[track_caller]
    pub fn runtime_state(&self) -> serde_json::Value {
        let id = self.id();
        let Some(root) = self.engine.state_root_of(&id) else {
            fail(&format!("no state root of the engine holds {id}"))
        };
        let mut state = Command::new(runtime());
        state.arg("--root").arg(root).args(["state", &id]);
        let out = output(state);
        serde_json::from_str(out.ok()).unwrap_or_else(|e| fail(&format!("no state: {e}: {out}")))
    }

    /// Process id of the container's first process, as seen from here.
    ///
    /// # Panics
    ///
    /// If the container does not run.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.inspect("{{.State.Pid}}").parse().unwrap_or(0);
        assert!(pid > 0, "{self} has no process: {}", self.cli(&["inspect"]));
        pid
    }

    /// Cgroups of the container's first process.
    #[track_caller]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::of(self.pid())
    }

    /// Waits for the end of the container, as the engine's `wait` does, and returns its status.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        let out = self.cli(&["wait"]);
        out.ok()
            .parse()
            .unwrap_or_else(|_| fail(&format!("no status: {out}")))
    }

    /// Waits until the container has printed `text`.
    #[track_caller]
    pub fn expect_log(&self, text: &str) -> String {
        Follow::start(self.engine.command(&["logs", "-f", &self.name])).expect(text)
    }
}

impl fmt::Display for Container<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {}", self.name)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        clean_up(self.removal());
    }
}

/// Writes a profile of the host's own into the `/etc` of the sandbox, and returns where it is.
///
/// # Panics
///
/// If it cannot be written.
#[track_caller]
pub fn write_profile(name: &str, text: &str) -> PathBuf {
    let dir = Path::new("/etc/greenlang/profiles");
    let path = dir.join(format!("{name}.toml"));
    let text = format!("version = 1\nname = \"{name}\"\n{text}");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, text))
        .unwrap_or_else(|e| fail(&format!("write {}: {e}", path.display())));
    path
}

/// Path as text, for a command line.
///
/// # Panics
///
/// If it is not UTF-8, which paths of tests are.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path made by a test is UTF-8")
}
