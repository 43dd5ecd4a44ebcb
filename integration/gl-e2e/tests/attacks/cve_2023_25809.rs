//! CVE-2023-25809: the host's cgroups writable from a user namespace.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::path::Path;

use gl_e2e::bundle::{Bundle, config};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::harmless;

pub(crate) const TESTS: &[Test] = tests![
    cve_2023_25809_cgroups_of_the_host_in_a_user_namespace,
    cve_2023_25809_cgroups_of_the_host_in_exec,
];

const SCRIPT: &str =
    "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo made $d; done; true";

fn with_sys_of_the_host() -> Bundle {
    let map = config::id_map(100_000, 65536);
    let options = ["rbind", "ro", "nosuid", "nodev", "noexec"];
    let box_ = Bundle::sh(SCRIPT)
        .without_mount("/sys/fs/cgroup")
        .without_mount("/sys")
        .mount("bind", "/sys", "/sys", &options)
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    chown_tree(&box_.rootfs());
    box_
}

fn chown_tree(path: &Path) {
    std::os::unix::fs::lchown(path, Some(100_000), Some(100_000)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            chown_tree(&entry.path());
        }
    }
}

fn cve_2023_25809_cgroups_of_the_host_in_a_user_namespace() -> Outcome {
    let out = harmless(&with_sys_of_the_host(), &[], "cgroups of the host");
    assert!(!out.stdout.contains("made"), "{out:?}");
    assert!(out.stderr.contains("mkdir"), "{out:?}");
    Ok(())
}

fn cve_2023_25809_cgroups_of_the_host_in_exec() -> Outcome {
    let box_ = with_sys_of_the_host().idle();
    let out = box_.exec(&[], &["/bin/sh", "-c", SCRIPT]).ok();
    assert!(!out.stdout.contains("made"), "{out:?}");
    assert!(out.stderr.contains("mkdir"), "{out:?}");
    Ok(())
}
