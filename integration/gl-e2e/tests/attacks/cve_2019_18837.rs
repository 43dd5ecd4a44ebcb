//! CVE-2019-18837, CVE-2021-30465, CVE-2024-45310: the target of a mount is a link, or becomes one.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::symlink;

use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};

use super::ground::{Pair, harmless, links, raced, text, victim};

pub(crate) const TESTS: &[Test] = tests![
    cve_2019_18837_mount_target_is_a_link,
    cve_2019_18837_copied_up_tmpfs_is_behind_a_link,
    cve_2021_30465_mount_target_swapped_for_a_link,
    cve_2024_45310_missing_target_swapped_for_a_link,
];

fn cve_2019_18837_mount_target_is_a_link() -> Outcome {
    for link in links() {
        for target in ["/d", "/d/new", "/vol/d", "/vol/d/deep/new"] {
            let box_ = Bundle::new()
                .args(&["true"])
                .mount("bind", "volume", "/vol", &["rbind"]);
            symlink(&link, box_.outside("volume").join("d")).unwrap();
            box_.link("d", &link);
            let box_ = box_.mount("tmpfs", "tmpfs", target, &[]);
            harmless(&box_, &[], &format!("{link} at {target}"));
        }
    }
    Ok(())
}

fn cve_2019_18837_copied_up_tmpfs_is_behind_a_link() -> Outcome {
    for link in links() {
        let box_ = Bundle::sh("cat /d/file /d/null; true");
        box_.link("d", &link);
        let box_ = box_.mount("tmpfs", "tmpfs", "/d", &["tmpcopyup"]);
        harmless(&box_, &[], &format!("{link} copied up"));
    }
    Ok(())
}

/// Containers that mount a directory of the host, a tmpfs, a file and a copy at `targets` of a volume
/// in which `d` is swapped for a link to the victim.
fn mounts_raced(target: &str, short: usize) {
    let first = Bundle::new();
    let volume = text(&first.outside("volume"));
    let make = |kind: &str, source: &str, target: &str, options: &[&str]| {
        let box_ = Bundle::new()
            .args(&["true"])
            .mount("bind", &volume, "/vol", &["rbind"])
            .mount(kind, source, target, options);
        fs::write(box_.outside("source").join("file"), "x").unwrap();
        box_.write_config();
        box_
    };
    let boxes = [
        make("tmpfs", "tmpfs", target, &[]),
        make("bind", "source", target, &["rbind", "ro"]),
        make("bind", "source/file", &format!("{target}/file"), &["bind"]),
        make("tmpfs", "tmpfs", target, &["tmpcopyup", "mode=700"]),
    ];
    let up = "../".repeat(12);
    let to = format!("{up}{}", victim().display());
    let pair = Pair::directory(first.dir().join("volume").as_path(), "d", &to);
    raced(&first, pair, short, |round| {
        // It may fail, as the directory is a link half of the time.
        let box_ = &boxes[round % boxes.len()];
        box_.call(&["run", box_.id()]);
        box_.delete_force();
    });
}

fn cve_2021_30465_mount_target_swapped_for_a_link() -> Outcome {
    known_elsewhere("resolves and mounts in two steps", || {
        mounts_raced("/vol/d", 60);
    })
}

fn cve_2024_45310_missing_target_swapped_for_a_link() -> Outcome {
    known_elsewhere("makes directories by path", || {
        mounts_raced("/vol/d/a/b", 60);
    })
}
