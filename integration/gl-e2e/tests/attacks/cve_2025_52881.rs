//! CVE-2025-52881: what the runtime writes to procfs, labels and sysctls, goes to a file that a
//! volume put there.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::symlink;

use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{Pair, SECRET, harmless, raced};

pub(crate) const TESTS: &[Test] = tests![
    cve_2025_52881_sysctl_written_through_a_volume,
    cve_2025_52881_sysctl_written_in_a_race,
    cve_2025_52881_label_written_in_a_race,
];

const KEY: &str = "net.ipv4.ip_unprivileged_port_start";
const FILE: &str = "ip_unprivileged_port_start";

fn cve_2025_52881_sysctl_written_through_a_volume() -> Outcome {
    // The volume's link leads the mount onto a directory of /proc/sys, where a write would then go.
    for target in ["/proc/sys/net/ipv4", "/vol/ipv4", "/ipv4"] {
        let box_ = Bundle::new()
            .args(&["true"])
            .mount("bind", "volume", "/vol", &["rbind"])
            .mount("bind", "fake", target, &["rbind"])
            .set("/linux/sysctl", json!({KEY: "5"}));
        let fake = box_.outside("fake");
        fs::write(fake.join(FILE), SECRET).unwrap();
        symlink("/proc/sys/net/ipv4", box_.outside("volume").join("ipv4")).unwrap();
        box_.link("ipv4", "/proc/sys/net/ipv4");
        let out = harmless(&box_, &[&fake], target);
        assert!(out.code > 0, "{target}: {out:?}");
    }
    Ok(())
}

/// Runs it once; it may be refused, but where it runs it prints this.
#[track_caller]
fn right_if_any(box_: &Bundle, prints: &str) {
    let out = box_.call(&["run", box_.id()]);
    if out.code == 0 {
        assert_eq!(out.stdout, prints, "{out:?}");
    }
    box_.delete_force();
}

fn cve_2025_52881_sysctl_written_in_a_race() -> Outcome {
    known_elsewhere("resolves and mounts in two steps", || {
        for to in ["/proc/sys/net/ipv4", "/proc/sys"] {
            let script = format!("cat /proc/sys/net/ipv4/{FILE}");
            let box_ = Bundle::sh(&script)
                .mount("bind", "volume", "/vol", &["rbind"])
                .mount("bind", "fake", "/vol/d", &["rbind"])
                .set("/linux/sysctl", json!({KEY: "5"}));
            let fake = box_.outside("fake");
            fs::create_dir_all(fake.join("net/ipv4")).unwrap();
            for dir in [fake.clone(), fake.join("net/ipv4")] {
                fs::write(dir.join(FILE), SECRET).unwrap();
            }
            let pair = Pair::directory(&box_.outside("volume"), "d", to);
            box_.write_config();
            raced(&box_, pair, 40, |_| {
                right_if_any(&box_, "5\n");
            });
            for dir in [fake.clone(), fake.join("net/ipv4")] {
                assert_eq!(fs::read_to_string(dir.join(FILE)).unwrap(), SECRET, "{to}");
            }
        }
    })
}

fn cve_2025_52881_label_written_in_a_race() -> Outcome {
    // Where no security module is on, no label is written; the score for the OOM killer always is.
    known_elsewhere("resolves and mounts in two steps", || {
        let box_ = Bundle::sh("cat /proc/self/oom_score_adj")
            .mount("bind", "volume", "/vol", &["rbind"])
            .mount("bind", "fake", "/vol/d", &["rbind"])
            .set("/process/oomScoreAdj", json!(321));
        let fake = box_.outside("fake");
        fs::create_dir_all(fake.join("attr")).unwrap();
        for file in [
            "oom_score_adj",
            "attr/exec",
            "attr/current",
            "attr/keycreate",
        ] {
            fs::write(fake.join(file), SECRET).unwrap();
        }
        let pair = Pair::directory(&box_.outside("volume"), "d", "/proc/self");
        box_.write_config();
        raced(&box_, pair, 40, |_| {
            right_if_any(&box_, "321\n");
        });
        for file in [
            "oom_score_adj",
            "attr/exec",
            "attr/current",
            "attr/keycreate",
        ] {
            let text = fs::read_to_string(fake.join(file)).unwrap();
            assert_eq!(text, SECRET, "{file}");
        }
    })
}
