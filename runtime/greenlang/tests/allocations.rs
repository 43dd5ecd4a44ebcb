//! How often each command asks for memory is on file: `allocations.txt` beside this test.
//!
//! A change that asks more often, or less, is seen here, and goes into the file together with what it is for:
//! `GL_COST=write` writes the file anew. Pieces that grow count once, also those that have to
//! move for it, which hangs on what lies beside them. The numbers are those of a build
//! without optimization, and of one kind of machine, which the file describes.
#![cfg(debug_assertions)]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen, and says what it leaves out"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gl_e2e::machine;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/allocations.txt");
/// The smallest number counts, as a signal or a short read may add to it.
const TRIES: usize = 4;
/// So many times more, if the numbers are not yet those on file.
const PATIENCE: usize = 5;

/// A bundle with a state directory, gone when dropped.
struct Bundle(PathBuf);

impl Bundle {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("allocations-{}", std::process::id()));
        let bin = dir.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["true", "sleep", "sh"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        fs::write(dir.join("counter"), [0; 8]).unwrap();
        let bundle = Self(dir);
        bundle.call(&["spec"]);
        bundle
    }

    fn runs(&self, args: &[&str]) {
        let path = self.0.join("config.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = args.into();
        fs::write(&path, config.to_string()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greenlang"));
        command
            .args(["--root", "state"])
            .args(args)
            .current_dir(&self.0)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// How often a command, and what it starts of ours, asks for memory.
    fn call(&self, args: &[&str]) -> u64 {
        let counter = self.0.join("counter");
        fs::write(&counter, [0; 8]).unwrap();
        let mut command = self.command(args);
        let command = command.env("GREENLANG_COUNT_ALLOCATIONS", &counter);
        let status = command.status().unwrap();
        assert!(status.success(), "greenlang {args:?}: {status}");
        let bytes = fs::read(&counter).unwrap();
        u64::from_ne_bytes(bytes.try_into().unwrap())
    }

    /// All commands once.
    fn once(&self) -> Vec<(&'static str, u64)> {
        self.runs(&["/bin/true"]);
        let mut all = vec![
            ("run", self.call(&["run", "one"])),
            (
                "run with the profile default",
                self.call(&["--profile", "default", "run", "one"]),
            ),
        ];
        self.runs(&["/bin/sleep", "1000"]);
        for (title, args) in [
            ("create", &["create", "one"][..]),
            ("start", &["start", "one"]),
            ("state", &["state", "one"]),
            ("list", &["list"]),
            ("ps", &["ps", "--format", "json", "one"]),
            ("exec", &["exec", "one", "/bin/true"]),
            ("events --stats", &["events", "--stats", "one"]),
            ("kill 0", &["kill", "one", "0"]),
            ("features", &["features"]),
        ] {
            all.push((title, self.call(args)));
        }
        self.call(&["delete", "--force", "one"]);
        all
    }

    fn measured(&self, before: Option<Vec<(&'static str, u64)>>) -> Vec<(&'static str, u64)> {
        let mut least = before.unwrap_or_else(|| self.once());
        for _ in 0..TRIES {
            for (seen, new) in least.iter_mut().zip(self.once()) {
                seen.1 = seen.1.min(new.1);
            }
        }
        least
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Without a container that is left over this is nothing.
        self.command(&["delete", "--force", "one"])
            .status()
            .unwrap();
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn machine() -> String {
    format!("machine: {}\n", machine::kind())
}

fn written(all: &[(&str, u64)]) -> String {
    let lines = all
        .iter()
        .map(|(title, count)| format!("{title}: {count}\n"));
    machine() + &lines.collect::<String>()
}

#[test]
fn allocations_of_each_command_are_those_on_file() {
    let name = "allocations_of_each_command_are_those_on_file";
    let on_file = fs::read_to_string(FILE).unwrap_or_default();
    let writes = std::env::var_os("GL_COST").is_some_and(|word| word == "write");
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").is_file() {
        println!("SKIP {name}: not root, or no busybox");
        return;
    }
    if !writes && !on_file.starts_with(&machine()) {
        println!("SKIP {name}: the numbers on file are of another machine");
        return;
    }
    machine::enter_first_cgroups();
    let bundle = Bundle::new();
    // What is only made the first time.
    bundle.once();
    let mut seen = bundle.measured(None);
    if writes {
        fs::write(FILE, written(&seen)).unwrap();
        return;
    }
    for _ in 0..PATIENCE {
        if written(&seen) == on_file {
            return;
        }
        // Under load it may take long until one is not disturbed.
        seen = bundle.measured(Some(seen));
    }
    let seen = written(&seen);
    assert!(
        seen == on_file,
        "on file in {FILE}:\n{on_file}\nseen:\n{seen}\nif it is meant to be so: GL_COST=write"
    );
}
