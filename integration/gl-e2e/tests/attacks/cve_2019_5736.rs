//! CVE-2019-5736: the runtime's own program overwritten through `/proc/PID/exe`.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gl_e2e::bundle::host::digest;
use gl_e2e::bundle::{self, Bundle, Output, finish, rounds};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

pub(crate) const TESTS: &[Test] = tests![
    cve_2019_5736_runtime_binary_cannot_be_overwritten_from_args,
    cve_2019_5736_runtime_binary_cannot_be_overwritten_in_a_race,
];

/// A copy of the runtime, so that a successful attack hits no one else.
struct Copy {
    path: PathBuf,
    length: u64,
    before: String,
}

impl Copy {
    fn new(box_: &Bundle) -> Self {
        let path = box_.dir().join("runtime");
        let length = fs::copy(bundle::runtime(), &path).unwrap();
        let before = describe(&path);
        Self {
            path,
            length,
            before,
        }
    }

    #[track_caller]
    fn call(&self, box_: &Bundle, args: &[&str]) -> Output {
        let length = fs::metadata(&self.path).unwrap().len();
        assert_eq!(length, self.length, "the runtime was overwritten");
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(box_.state_root()).args(args);
        finish(command.current_dir(box_.dir()).stdin(Stdio::null()))
    }

    #[track_caller]
    fn unchanged(&self, what: &str) {
        assert_eq!(describe(&self.path), self.before, "{what}");
    }
}

/// Mode and content.
fn describe(path: &Path) -> String {
    let mode = fs::metadata(path).unwrap().mode();
    format!("{mode:o} {}", digest(&fs::read(path).unwrap()))
}

fn cve_2019_5736_runtime_binary_cannot_be_overwritten_from_args() -> Outcome {
    for (program, args) in [
        ("/proc/self/exe", &["/proc/self/exe", "--version"][..]),
        ("/evil", &["/evil"]),
        ("/link", &["/link", "--version"]),
    ] {
        let box_ = Bundle::new().args(args);
        box_.script("evil", "#!/proc/self/exe\n");
        box_.link("link", "/proc/self/exe");
        let copy = Copy::new(&box_);
        box_.write_config();
        copy.call(&box_, &["run", box_.id()]);
        copy.unchanged(program);
        copy.call(&box_, &["delete", "--force", box_.id()]);
        let box_ = box_.idle();
        copy.call(&box_, &["exec", box_.id(), program]);
        copy.unchanged(&format!("exec of {program}"));
    }
    Ok(())
}

fn cve_2019_5736_runtime_binary_cannot_be_overwritten_in_a_race() -> Outcome {
    // Holds every exe that appears, and writes to it once it is no longer busy. The redirection is not
    // one of `exec`: a file that cannot be opened would end the shell, and the race with it.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do \
         [ $p = /proc/1 ] && continue; { [ \"$(readlink /proc/self/fd/9)\" = /bin/busybox ] && continue; \
         n=0; while [ $n -lt 500 ]; do echo pwned > /proc/self/fd/9 && break; echo pwned > $p/exe; \
         n=$((n + 1)); done; } 9< $p/exe; done; done 2>/dev/null";
    let spy = Bundle::sh(script).ready();
    spy.link("bin/evil", "/proc/self/exe");
    let copy = Copy::new(&spy);
    let path = format!("/proc/{}/ns/pid", spy.pid());
    let joined = Bundle::new()
        .args(&["/proc/self/exe", "--version"])
        .namespace("pid", Some(json!({"type": "pid", "path": path})));
    joined.write_config();
    for round in 0..rounds(60) {
        let program = ["true", "/bin/evil", "/proc/self/exe"][round % 3];
        let out = copy.call(&spy, &["exec", spy.id(), program]);
        assert!(
            program != "true" || out.code == 0,
            "the spy has gone: {out:?}"
        );
        if round % 2 == 0 {
            copy.call(&joined, &["run", joined.id()]);
            copy.call(&joined, &["delete", "--force", joined.id()]);
        }
    }
    // While nothing runs it, who holds it may write to it.
    std::thread::park_timeout(Duration::from_millis(800));
    copy.unchanged("overwritten in the race");
    Ok(())
}
