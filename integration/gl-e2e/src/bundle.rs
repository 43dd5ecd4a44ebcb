//! OCI bundles: a busybox rootfs, a Docker-shaped `config.json`, and the runtime that runs them.
//!
//! A [`Bundle`] owns a temporary directory, an own state root and an id with a tag of this process in
//! it, and removes all of it (container, cgroups, mounts, files) when dropped. Test binaries start
//! through [`main`], which moves them into a private mount namespace and makes them reap orphans, so
//! that what a runtime leaves behind is seen and never reaches the machine.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness fails by panicking with what was seen"
)]

use std::cell::RefCell;
use std::fs;
use std::io::PipeReader;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

pub mod config;
pub mod host;
pub mod kernel;
pub mod listener;
pub mod process;
pub mod settings;
pub mod trace;

pub use host::Host;
pub use process::{Output, finish};

use crate::{Outcome, Skip, Test};

const IN_NAMESPACE: &str = "GL_E2E_NAMESPACE";
const IN_PID_NAMESPACE: &str = "GL_E2E_PID_NAMESPACE";

/// Runs bundle tests: as root, in a private mount namespace, as the reaper of all orphans.
pub fn main(tests: &[Test]) -> ExitCode {
    main_around(tests, |test| (test.run)())
}

/// [`main`], with `around` called for each test, to run it between what it does itself.
pub fn main_around(tests: &[Test], around: fn(&Test) -> Outcome) -> ExitCode {
    // Says early that the variable is missing.
    runtime();
    apart(|| crate::main_around(tests, around))
}

/// [`main`] in a pid namespace of its own, so that every process and namespace that `/proc` shows is of these tests.
pub fn main_in_pid_namespace(tests: &[Test]) -> ExitCode {
    let lists = std::env::args().any(|arg| arg == "--list");
    if lists || std::env::var_os(IN_PID_NAMESPACE).is_some() {
        return main(tests);
    }
    let status = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(IN_PID_NAMESPACE, "1")
        .status()
        .unwrap();
    ExitCode::from(u8::from(!status.success()))
}

/// Runs a body that uses bundles where [`main`] runs tests.
pub fn apart(body: impl FnOnce() -> ExitCode) -> ExitCode {
    if std::env::var_os(IN_NAMESPACE).is_none() && rustix::process::geteuid().is_root() {
        let me = std::env::current_exe().unwrap();
        let status = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .arg(me)
            .args(std::env::args_os().skip(1))
            .env(IN_NAMESPACE, "1")
            .status()
            .unwrap();
        return ExitCode::from(u8::from(!status.success()));
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let status = body();
    process::kill_descendants();
    status
}

/// The runtime under test, `$GL_RUNTIME`.
pub fn runtime() -> PathBuf {
    let Some(path) = std::env::var_os("GL_RUNTIME") else {
        panic!("GL_RUNTIME is not set: it names the runtime under test");
    };
    PathBuf::from(path)
}

/// What the runtime prints for `--version`.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| finish(Command::new(runtime()).arg("--version")).ok().stdout)
}

/// Whether the runtime under test is greenlang, whose extensions are then asserted too.
pub fn is_greenlang() -> bool {
    version().starts_with("greenlang ")
}

/// Runs a check that another runtime may fail for a known reason. Greenlang never may.
///
/// The check runs on each runtime. Its failure is a skip with `reason` on any other than greenlang.
///
/// # Errors
///
/// [`Skip`] where the check fails on another runtime.
pub fn known_elsewhere(reason: &str, check: fn()) -> Outcome {
    if is_greenlang() {
        check();
        return Ok(());
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let seen = std::panic::catch_unwind(check);
    std::panic::set_hook(hook);
    seen.map_err(|_panic| Skip(format!("known on {}: {reason}", first_word())))
}

fn first_word() -> &'static str {
    version().split_whitespace().next().unwrap_or("?")
}

/// Rounds of a raced test: `$GL_ROUNDS`, else `short`.
pub fn rounds(short: usize) -> usize {
    std::env::var("GL_ROUNDS")
        .ok()
        .map_or(short, |n| n.parse().unwrap())
}

/// A name that only this test process uses, for ids and cgroups.
pub fn tag() -> String {
    format!("gl-e2e-{}-", std::process::id())
}

/// A bundle, its container's id and the state root that holds it.
#[derive(Debug)]
pub struct Bundle {
    id: String,
    dir: PathBuf,
    /// `config.json` as it will be written at the next create.
    pub config: Value,
    /// The runtime that makes and removes the container.
    runtime: PathBuf,
    /// Options that stand before every command.
    globals: Vec<String>,
    stdout: RefCell<Option<PipeReader>>,
}

impl Bundle {
    /// A busybox rootfs and the default configuration; init is `sleep 1000`.
    pub fn new() -> Self {
        Self::of(runtime())
    }

    /// The same for another runtime than `$GL_RUNTIME`.
    pub fn of(runtime: PathBuf) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}{}", tag(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&id);
        fs::DirBuilder::new().mode(0o711).create(&dir).unwrap();
        let bundle = Self {
            config: config::docker_shaped(&id),
            id,
            dir,
            runtime,
            globals: Vec::new(),
            stdout: RefCell::new(None),
        };
        fs::create_dir(bundle.state_root()).unwrap();
        fs::set_permissions(bundle.state_root(), fs::Permissions::from_mode(0o700)).unwrap();
        bundle.write_rootfs();
        bundle
    }

    /// A bundle whose init is `/bin/sh -c script`.
    pub fn sh(script: &str) -> Self {
        Self::new().args(&["/bin/sh", "-c", script])
    }

    fn write_rootfs(&self) {
        for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run"] {
            self.dir_in(dir);
        }
        fs::copy("/bin/busybox", self.rootfs().join("bin/busybox")).unwrap();
        for applet in config::APPLETS {
            self.link(&format!("bin/{applet}"), "busybox");
        }
        self.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        self.file("etc/group", "root:x:0:\n");
        let tmp = self.rootfs().join("tmp");
        fs::set_permissions(tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bundle directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The host path of the container's root.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The state directory given as `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Uses another id, in the same bundle and state root.
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Calls the runtime with this option before every command.
    pub fn with_global(mut self, option: &str) -> Self {
        self.globals.push(option.to_owned());
        self
    }

    /// Sets `process.args`.
    pub fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Sets a value by JSON pointer and creates the objects on the way.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        config::set(&mut self.config, pointer, value);
        self
    }

    /// Removes a value by JSON pointer.
    pub fn unset(mut self, pointer: &str) -> Self {
        config::unset(&mut self.config, pointer);
        self
    }

    /// Appends to the array at a JSON pointer, which is created where it is missing.
    pub fn push(mut self, pointer: &str, value: Value) -> Self {
        if self.config.pointer(pointer).is_none() {
            config::set(&mut self.config, pointer, json!([]));
        }
        let list = self.config.pointer_mut(pointer).unwrap();
        list.as_array_mut().unwrap().push(value);
        self
    }

    /// Adds a mount after the default ones.
    pub fn mount(self, kind: &str, source: &str, destination: &str, options: &[&str]) -> Self {
        self.push(
            "/mounts",
            json!({"type": kind, "source": source, "destination": destination, "options": options}),
        )
    }

    /// Removes the default mount at `destination`.
    pub fn without_mount(mut self, destination: &str) -> Self {
        let mounts = self.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["destination"] != destination);
        self
    }

    /// Replaces the namespace of this type, or removes it with `None`.
    pub fn namespace(mut self, kind: &str, value: Option<Value>) -> Self {
        let list = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|n| n["type"] != kind);
        list.extend(value);
        self
    }

    /// Writes a file into the rootfs.
    pub fn file(&self, path: &str, content: &str) -> PathBuf {
        let target = self.rootfs().join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, content).unwrap();
        target
    }

    /// Writes an executable file into the rootfs.
    pub fn script(&self, path: &str, content: &str) -> PathBuf {
        let target = self.file(path, content);
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
        target
    }

    /// Makes a symbolic link in the rootfs.
    pub fn link(&self, path: &str, target: &str) {
        symlink(target, self.rootfs().join(path)).unwrap();
    }

    /// Makes a directory in the rootfs.
    pub fn dir_in(&self, path: &str) -> PathBuf {
        let target = self.rootfs().join(path);
        fs::create_dir_all(&target).unwrap();
        target
    }

    /// Makes a directory beside the rootfs: a volume, or a victim that must stay as it is.
    pub fn outside(&self, name: &str) -> PathBuf {
        let target = self.dir.join(name);
        fs::create_dir_all(&target).unwrap();
        target
    }

    /// Writes `config.json`.
    pub fn write_config(&self) {
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        fs::write(self.dir.join("config.json"), text).unwrap();
    }

    /// The runtime with this bundle's `--root` and the arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime);
        command
            .arg("--root")
            .arg(self.state_root())
            .args(&self.globals)
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    /// Runs the runtime below strace, which writes the file `trace` beside the bundle and does what its own
    /// options say.
    pub fn traced(&self, strace: &[&str], args: &[&str]) -> Output {
        let mut command = Command::new("strace");
        command
            .args(["-o", "trace"])
            .args(strace)
            .arg(runtime())
            .arg("--root")
            .arg(self.state_root())
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        finish(&mut command)
    }

    /// Runs the runtime with this bundle's `--root`.
    pub fn call(&self, args: &[&str]) -> Output {
        finish(&mut self.command(args))
    }

    /// `run`, with the container's output in the result.
    pub fn run(&self) -> Output {
        self.write_config();
        self.call(&["run", &self.id])
    }

    /// `create`, with the container's standard output kept for [`Self::wait_for`].
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// `create` with further flags.
    pub fn create_with(&self, flags: &[&str]) -> Output {
        self.create_from(flags, None)
    }

    /// `create` with further flags, from this text in the place of the configuration.
    pub fn create_from(&self, flags: &[&str], text: Option<&str>) -> Output {
        match text {
            None => self.write_config(),
            Some(text) => fs::write(self.dir.join("config.json"), text).unwrap(),
        }
        self.made("create", flags)
    }

    /// `create` or `restore`, with further flags and the container's standard output kept.
    pub fn make_with(&self, verb: &str, flags: &[&str]) -> Output {
        self.write_config();
        self.made(verb, flags)
    }

    fn made(&self, verb: &str, flags: &[&str]) -> Output {
        let (reader, writer) = std::io::pipe().unwrap();
        self.stdout.replace(Some(reader));
        let mut command = self.command(&[verb]);
        command.args(flags).arg(&self.id).stdout(writer);
        process::finish_keeping_stdout(command)
    }

    /// `create` and `start`, both successful; for init processes that need no readiness.
    pub fn started(self) -> Self {
        self.create().ok();
        self.start().ok();
        self
    }

    /// `create` and `start`, then waits until init printed `ready`.
    pub fn ready(self) -> Self {
        let bundle = self.started();
        bundle.wait_for("ready");
        bundle
    }

    /// A container that is ready and idle: `echo ready; exec sleep 1000`.
    pub fn idle(self) -> Self {
        self.args(&["/bin/sh", "-c", "echo ready; exec sleep 1000"])
            .ready()
    }

    /// Reads the container's output until it holds `text`, and returns all of it.
    pub fn wait_for(&self, text: &str) -> String {
        let stdout = self.stdout.borrow();
        kernel::read_until(stdout.as_ref().unwrap(), text)
    }

    /// What the container printed and nobody read yet, to its end. It must be dead.
    pub fn rest_of_output(&self) -> String {
        let mut text = String::new();
        let stdout = self.stdout.borrow();
        let mut stdout = stdout.as_ref().unwrap();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        text
    }

    /// `start`.
    pub fn start(&self) -> Output {
        self.call(&["start", &self.id])
    }

    /// `kill` with a signal as it is written.
    pub fn kill(&self, signal: &str) -> Output {
        self.call(&["kill", &self.id, signal])
    }

    /// `delete`.
    pub fn delete(&self) -> Output {
        self.call(&["delete", &self.id])
    }

    /// `delete --force`.
    pub fn delete_force(&self) -> Output {
        self.call(&["delete", "--force", &self.id])
    }

    /// The state document.
    pub fn state(&self) -> Value {
        self.call(&["state", &self.id]).ok().json()
    }

    /// `status` of the state document.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The process id of init.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Kills init and waits until it is dead.
    pub fn kill_and_wait(&self) {
        let pid = self.pid();
        self.kill("KILL").ok();
        kernel::wait_dead(pid);
    }

    /// Whether `features` has `true` at a JSON pointer.
    pub fn has_feature(&self, pointer: &str) -> bool {
        let features = self.call(&["features"]).ok().json();
        features.pointer(pointer) == Some(&json!(true))
    }

    /// `exec` of a command line.
    pub fn exec(&self, flags: &[&str], args: &[&str]) -> Output {
        let mut command = self.command(&["exec"]);
        command.args(flags).arg(&self.id).args(args);
        finish(&mut command)
    }

    /// `exec --process` of a process document.
    pub fn exec_process(&self, document: &Value) -> Output {
        let path = self.dir.join("process.json");
        fs::write(&path, serde_json::to_vec(document).unwrap()).unwrap();
        self.call(&["exec", "--process", path.to_str().unwrap(), &self.id])
    }

    /// What `cat` of these files prints inside, as seen by a new process of the container.
    pub fn inside(&self, script: &str) -> String {
        self.exec(&[], &["/bin/sh", "-c", script]).ok().stdout
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        process::finish_quietly(self.command(&["delete", "--force", &self.id]));
        host::remove_cgroups(&self.id);
        host::unmount_below(&self.dir);
        process::reap();
        if let Err(err) = fs::remove_dir_all(&self.dir) {
            panic_unless_panicking(&format!("remove {}: {err}", self.dir.display()));
        }
    }
}

fn panic_unless_panicking(text: &str) {
    if !std::thread::panicking() {
        panic!("{text}");
    }
}
