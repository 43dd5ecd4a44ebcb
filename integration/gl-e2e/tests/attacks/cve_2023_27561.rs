//! CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: `/proc` or `/sys` of the image is a link.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::collections::BTreeSet;
use std::fs;

use gl_e2e::bundle::kernel::{Mount, mount_at, mounts};
use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};

use super::ground::{Pair, harmless, links, raced, text, victim};

pub(crate) const TESTS: &[Test] = tests![
    cve_2023_27561_proc_is_a_link_in_the_image,
    cve_2023_28642_proc_swapped_for_a_link,
    cve_2025_54867_sys_is_a_link_in_the_image,
    cve_2025_54867_sys_swapped_for_a_link,
];

fn is_a_link(name: &str) {
    let mut targets = links().to_vec();
    targets.extend(["/tmp/fake", "tmp/fake", "/nowhere", "."].map(str::to_owned));
    for target in targets {
        let box_ = Bundle::new().args(&["true"]);
        box_.dir_in("tmp/fake");
        fs::remove_dir(box_.rootfs().join(name)).unwrap();
        box_.link(name, &target);
        let out = harmless(&box_, &[], &target);
        assert!(out.code > 0, "{name} -> {target}: {out:?}");
    }
}

/// The mount of this filesystem and those upon it, without the name of its directory, which is swapped.
fn below(mountinfo: &str, kind: &str) -> BTreeSet<String> {
    let all = mounts(mountinfo);
    let Some(top) = all.iter().find(|mount| mount.kind == kind) else {
        return BTreeSet::new();
    };
    let inside = |mount: &&Mount| mount.parent == top.id || mount.id == top.id;
    // A mount of the config goes where its name leads at that moment, within the root.
    all.iter()
        .filter(inside)
        .filter(|mount| !mount.target.ends_with("/fs/cgroup"))
        .map(|mount| {
            let name = mount.target.splitn(3, '/').nth(2).unwrap_or_default();
            format!("{name} {} {:?}", mount.kind, mount.options)
        })
        .collect()
}

/// Creates while the image's directory is swapped; what starts has the filesystem, with all that is
/// hidden in it.
fn swapped(name: &str, kind: &str) {
    let plain = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
    let whole = below(&plain.run().ok().stdout, kind);
    assert!(whole.len() > 1, "{whole:?}");
    for to in ["/tmp/fake".to_owned(), text(&victim())] {
        let box_ = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        box_.dir_in("tmp/fake");
        let pair = Pair::directory(&box_.rootfs(), name, &to);
        box_.write_config();
        raced(&box_, pair, 40, |_| {
            let out = box_.call(&["run", box_.id()]);
            // Where /proc is the link just then, `cat` finds no list.
            if out.code == 0 {
                let seen = below(&out.stdout, kind);
                assert_eq!(seen, whole, "{out:?}");
                assert!(mount_at(&out.stdout, "/tmp/fake").is_none(), "{out:?}");
            }
            box_.delete_force();
        });
    }
}

fn cve_2023_27561_proc_is_a_link_in_the_image() -> Outcome {
    is_a_link("proc");
    Ok(())
}

fn cve_2023_28642_proc_swapped_for_a_link() -> Outcome {
    known_elsewhere("looks and mounts in two steps", || swapped("proc", "proc"))
}

fn cve_2025_54867_sys_is_a_link_in_the_image() -> Outcome {
    is_a_link("sys");
    Ok(())
}

fn cve_2025_54867_sys_swapped_for_a_link() -> Outcome {
    known_elsewhere("looks and mounts in two steps", || swapped("sys", "sysfs"))
}
