//! A disk that is full: this program starts itself again beside a small tmpfs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Scratch, append, fault, open, verified};

const DIR: &str = "GL_AUDIT_TEST_DIR";

fn inside(dir: &Path) {
    let path = dir.join("log");
    let mut log = open(&path);
    let mut written = 0;
    let err = loop {
        match append(&mut log, written) {
            Ok(_) => written += 1,
            Err(err) => break err,
        }
        assert!(written < 1000, "the disk never fills");
    };
    assert_eq!(
        gl_spec::chain(&err),
        format!(
            "write to the audit log {}: no space left on device",
            path.display()
        )
    );
    assert!(written > 10, "{written} lines");
    let report = verified(&path);
    assert_eq!(
        (fault(&report), report.lines, report.torn.len()),
        (None, written, 0)
    );
    // Once there is room, it goes on.
    fs::remove_file(dir.join("ballast")).unwrap();
    append(&mut log, written).unwrap();
    let report = verified(&path);
    assert_eq!((fault(&report), report.lines), (None, written + 1));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_a_good_log() {
    if let Some(dir) = std::env::var_os(DIR) {
        return inside(Path::new(&dir));
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIP a_full_disk_is_an_error_and_leaves_a_good_log: needs root to mount a tmpfs");
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("disk");
    fs::create_dir(&dir).unwrap();
    let script = r#"mount -t tmpfs -o size=32k none "$1" && head -c 16384 /dev/zero >"$1/ballast" && exec "$2" disk::a_full_disk_is_an_error_and_leaves_a_good_log --exact"#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&dir)
        .arg(std::env::current_exe().unwrap())
        .env(DIR, &dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}
