//! `gl run` as a person calls it, and what it leaves: what the test programs of `gl` share.

use std::fs;
use std::io::PipeReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundle;
use crate::command::{self as process, Output};
use crate::kernel::processes;
use crate::{Skip, command};

/// Options of the tier `basic` that take what the host has.
pub const BASIC: [&str; 5] = ["--allow", "--tier", "basic", "--on-missing", "degrade"];

/// What may pass until nothing is left.
const PATIENCE: Duration = Duration::from_secs(20);

/// The id of a user who is nobody on the host.
const SOMEBODY: u32 = 54_321;

/// The `gl` beside the runtime under test.
///
/// # Errors
///
/// [`Skip`] if another runtime than greenlang has none.
///
/// # Panics
///
/// If greenlang has none.
pub fn gl() -> Result<PathBuf, Skip> {
    let path = bundle::runtime().with_file_name("gl");
    if !path.is_file() {
        assert!(!bundle::is_greenlang(), "no {}", path.display());
        return Err(Skip("there is no gl beside this runtime".to_owned()));
    }
    Ok(path)
}

/// `gl` with these arguments.
///
/// # Errors
///
/// As [`gl`].
pub fn bare(args: &[&str]) -> Result<Command, Skip> {
    let mut command = Command::new(gl()?);
    command.args(args).stdin(Stdio::null());
    Ok(command)
}

/// `gl run` with these arguments.
///
/// # Errors
///
/// As [`gl`].
pub fn command(args: &[&str]) -> Result<Command, Skip> {
    bare(&[&["run"], args].concat())
}

/// Runs `gl run` with these arguments.
///
/// # Errors
///
/// As [`gl`].
pub fn run(args: &[&str]) -> Result<Output, Skip> {
    Ok(process::output(command(args)?))
}

/// Runs a script of a shell with options before it.
///
/// # Errors
///
/// As [`gl`].
pub fn sh(options: &[&str], script: &str) -> Result<Output, Skip> {
    run(&[options, &["--", "sh", "-c", script]].concat())
}

/// A directory of a test, gone when dropped.
#[derive(Debug)]
pub struct Dir(pub PathBuf);

impl Dir {
    /// Makes it, for everybody to see.
    ///
    /// # Panics
    ///
    /// If it is there already, or cannot be made.
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("{}{name}", bundle::tag()));
        fs::create_dir(&dir).expect("make a directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("open it to all");
        Self(dir)
    }

    /// The path of something in it.
    ///
    /// # Panics
    ///
    /// If that is not UTF-8.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove the directory of a test");
    }
}

/// Runs a script, and reads the report of it.
///
/// # Errors
///
/// As [`gl`].
///
/// # Panics
///
/// If there is no report, or it is no JSON.
pub fn reported(options: &[&str], script: &str) -> Result<(Output, Value), Skip> {
    let dir = Dir::new("report");
    let file = dir.path("report.json");
    let output = sh(&[&["--report", &file], options].concat(), script)?;
    let report = read(&file, &output);
    Ok((output, report))
}

#[track_caller]
fn read(file: &str, output: &Output) -> Value {
    let text = fs::read_to_string(file).expect("read the report");
    match serde_json::from_str(&text) {
        Ok(report) => report,
        Err(err) => command::fail(&format!("{err} in {text:?} of {output}")),
    }
}

/// Whose sandboxes they are.
#[derive(Debug)]
pub enum Who {
    /// Root's.
    Root,
    /// Somebody else's.
    User(User),
}

impl Who {
    /// `gl` with these arguments, called by them.
    ///
    /// # Errors
    ///
    /// As [`gl`].
    pub fn command(&self, args: &[&str]) -> Result<Command, Skip> {
        match self {
            Self::Root => bare(args),
            Self::User(user) => Ok(user.bare(args)),
        }
    }

    /// The same to its end.
    ///
    /// # Errors
    ///
    /// As [`gl`].
    pub fn gl(&self, args: &[&str]) -> Result<Output, Skip> {
        Ok(process::output(self.command(args)?))
    }
}

/// Somebody who is not root, with a runtime directory of their own.
#[derive(Debug)]
pub struct User {
    /// What they own.
    pub dir: Dir,
    program: String,
}

impl User {
    /// Gives them a home in a directory of this name, and a `gl` that they can run.
    ///
    /// # Errors
    ///
    /// As [`gl`].
    ///
    /// # Panics
    ///
    /// If that cannot be made.
    pub fn new(name: &str) -> Result<Self, Skip> {
        let own = gl()?;
        let dir = Dir::new(name);
        let program = dir.path("gl");
        fs::copy(own, &program).expect("copy gl");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("open it to all");
        for name in ["runtime", "home"] {
            let made = dir.path(name);
            fs::create_dir(&made).expect("make a directory");
            std::os::unix::fs::chown(&made, Some(SOMEBODY), Some(SOMEBODY)).expect("give it away");
            fs::set_permissions(&made, fs::Permissions::from_mode(0o700)).expect("close it");
        }
        Ok(Self { dir, program })
    }

    /// `gl run` as this user.
    pub fn command(&self, args: &[&str]) -> Command {
        self.bare(&[&["run"], args].concat())
    }

    /// `gl` with these arguments as this user.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let id = SOMEBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.arg(&self.program).args(args);
        command
            .env("XDG_RUNTIME_DIR", self.dir.path("runtime"))
            .env("HOME", self.dir.path("home"))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs a script as this user, and reads the report of it.
    ///
    /// # Panics
    ///
    /// If there is no report, or it is no JSON.
    pub fn reported(&self, options: &[&str], script: &str) -> (Output, Value) {
        let file = self.dir.path("home/report.json");
        let args = [&["--report", &file], options, &["--", "sh", "-c", script]].concat();
        let output = process::output(self.command(&args));
        let report = read(&file, &output);
        (output, report)
    }
}

/// Checks why a run ended, and its status.
///
/// # Panics
///
/// If it ended otherwise.
#[track_caller]
pub fn assert_reason(output: &Output, report: &Value, reason: &str, status: i32) {
    assert_eq!(report["exit"]["reason"], reason, "{output}\n{report:#}");
    assert_eq!(output.status, status, "{output}");
    assert_eq!(report["exit"]["status"], status, "{report:#}");
}

/// What a sandbox of this name has left.
pub fn left(name: &str) -> Vec<String> {
    let mut left = Vec::new();
    for dir in ["/run/greenlang-sandboxes", "/run/greenlang"] {
        let path = Path::new(dir).join(name);
        left.extend(path.is_dir().then(|| path.display().to_string()));
    }
    let shown = |path: &PathBuf| path.display().to_string();
    left.extend(bundle::host::cgroups_of(name).iter().map(shown));
    left.extend(processes().into_values().filter(|line| line.contains(name)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter(|line| line.contains(name));
    left.extend(mounts.map(str::to_owned));
    left
}

/// Waits until nothing is left of a sandbox, of which nobody tells.
///
/// # Panics
///
/// If something is.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "nobody tells when it is gone")]
pub fn assert_nothing_left(name: &str) {
    let begun = Instant::now();
    let mut seen = left(name);
    while !seen.is_empty() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
        seen = left(name);
    }
    assert_eq!(seen, Vec::<String>::new(), "left of {name}");
}

/// Starts a command, and returns when it has said that it is ready.
///
/// # Panics
///
/// If it says something else.
#[track_caller]
pub fn ready(mut command: Command) -> (Child, PipeReader) {
    let (read, write) = std::io::pipe().expect("make a pipe");
    let child = command.stdout(write).spawn().expect("start the command");
    drop(command);
    let seen = bundle::kernel::read_until(&read, "ready\n");
    assert_eq!(seen, "ready\n");
    (child, read)
}

/// A sandbox of this name that runs, and has said so.
///
/// # Errors
///
/// As [`gl`].
///
/// # Panics
///
/// If nothing is to be seen of it.
#[track_caller]
pub fn started(name: &str, options: &[&str]) -> Result<Child, Skip> {
    let script = format!("echo ready; sleep 1000; echo {name}");
    let args = [&["--name", name], options, &["--", "sh", "-c", &script]].concat();
    let (child, _stdout) = ready(command(&args)?);
    let seen = left(name);
    assert_ne!(seen, Vec::<String>::new(), "nothing to be seen of {name}");
    Ok(child)
}
