//! The host's settings and profiles, in an `/etc` that only one test program sees.
#![expect(
    clippy::unwrap_used,
    reason = "a harness fails by panicking with what was seen"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{finish, tag};

/// The directory of the host's settings, in an `/etc` of this program's own.
pub fn settings() -> PathBuf {
    let dir = PathBuf::from("/etc/greenlang");
    if dir.join("profiles").symlink_metadata().is_err() {
        let copy = std::env::temp_dir().join(format!("{}etc", tag()));
        fs::create_dir(&copy).unwrap();
        let mount = |args: &[&str]| drop(finish(Command::new("mount").args(args)).ok());
        let copy_name = copy.to_str().unwrap();
        mount(&["-t", "tmpfs", "tmpfs", copy_name]);
        drop(finish(Command::new("cp").args(["-a", "/etc/.", copy_name])).ok());
        fs::create_dir_all(copy.join("greenlang/profiles")).unwrap();
        mount(&["--bind", copy_name, "/etc"]);
        drop(finish(Command::new("umount").arg(copy_name)).ok());
        fs::remove_dir(&copy).unwrap();
    }
    dir
}

/// A file of the host's settings, gone when dropped.
#[derive(Debug)]
pub struct Setting(PathBuf);

impl Setting {
    /// Writes the file `name` of `/etc/greenlang`.
    pub fn new(name: &str, text: &str) -> Self {
        let path = settings().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    /// Writes a profile of the host's own: `text` comes after its version and name.
    pub fn profile(name: &str, text: &str) -> Self {
        let head = format!("version = 1\nname = \"{name}\"\n");
        Self::new(&format!("profiles/{name}.toml"), &(head + text))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}
