//! The program `gl`, as a person and as a script call it: what it prints, and how it ends.
//!
//! `gl` is beside the runtime under test. Host profiles and engines' settings are in an `/etc` that only
//! this program sees.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

mod audit;
mod bundles;
mod check;
mod doctor;
mod export;
mod guide;
mod image;
mod profile;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::Skip;
use gl_e2e::bundle::{self, Output, finish};

fn main() -> ExitCode {
    let all = [
        profile::TESTS,
        check::TESTS,
        export::TESTS,
        doctor::TESTS,
        guide::TESTS,
        bundles::TESTS,
        audit::TESTS,
        image::TESTS,
    ]
    .concat();
    bundle::main(&all)
}

/// `gl` beside the runtime under test.
///
/// # Errors
///
/// [`Skip`] where another runtime is tested, which has none.
fn gl(args: &[&str]) -> Result<Command, Skip> {
    let path = bundle::runtime().with_file_name("gl");
    if !path.exists() {
        assert!(!bundle::is_greenlang(), "no {}", path.display());
        return Err(Skip("there is no gl beside this runtime".to_owned()));
    }
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null());
    Ok(command)
}

/// Runs it to its end.
fn run(args: &[&str]) -> Result<Output, Skip> {
    Ok(finish(&mut gl(args)?))
}

/// A file in a directory of its own, gone when dropped.
struct Scratch {
    dir: PathBuf,
    path: String,
}

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("{}file-{number}", bundle::tag()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        Self {
            path: path.to_str().unwrap().to_owned(),
            dir,
        }
    }

    /// A profile `name = "own"` with these lines from line 3 on.
    fn profile(lines: &str) -> Self {
        Self::new(
            "own.toml",
            format!("version = 1\nname = \"own\"\n{lines}").as_bytes(),
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// `/etc` of this program's own, where the host's settings are.
fn etc() -> PathBuf {
    let etc = PathBuf::from("/etc");
    let mark = etc.join("greenlang/profiles/.gl-e2e");
    if mark.symlink_metadata().is_err() {
        let copy = std::env::temp_dir().join(format!("{}etc", bundle::tag()));
        fs::create_dir(&copy).unwrap();
        let mount = |args: &[&str]| drop(finish(Command::new("mount").args(args)).ok());
        let name = copy.to_str().unwrap();
        mount(&["-t", "tmpfs", "tmpfs", name]);
        drop(finish(Command::new("cp").args(["-a", "/etc/.", name])).ok());
        fs::create_dir_all(copy.join("greenlang/profiles")).unwrap();
        fs::write(copy.join("greenlang/profiles/.gl-e2e"), "").unwrap();
        mount(&["--bind", name, "/etc"]);
        drop(finish(Command::new("umount").arg(name)).ok());
        fs::remove_dir(&copy).unwrap();
    }
    etc
}

/// A file below `/etc`, gone when dropped.
struct Setting(PathBuf);

impl Setting {
    fn new(name: &str, text: &str) -> Self {
        let path = etc().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        Self(path)
    }

    /// A profile of the host.
    fn profile(name: &str, lines: &str) -> Self {
        Self::new(
            &format!("greenlang/profiles/{name}.toml"),
            &format!("version = 1\nname = \"{name}\"\n{lines}"),
        )
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}
