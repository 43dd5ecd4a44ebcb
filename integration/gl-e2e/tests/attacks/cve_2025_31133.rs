//! CVE-2025-31133: `/dev/null` of the image is a link, so that a mask binds what it leads to.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::path::Path;

use gl_e2e::bundle::{Bundle, Output, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{
    Pair, SETTING, harmless, links, null_device, raced, text, victim, with_dev_of_the_image,
};

pub(crate) const TESTS: &[Test] = tests![
    cve_2025_31133_dev_null_of_the_image_is_a_link,
    cve_2025_31133_dev_null_swapped_in_a_race,
    cve_2025_31133_masked_path_swapped_in_a_race,
];

/// What the masked files are, and whether the setting still holds its value.
const PROBE: &str = "stat -c '%F %t:%T' /proc/timer_list /etc/masked";

fn masking(null: &str) -> Bundle {
    let box_ = with_dev_of_the_image(PROBE).push("/linux/maskedPaths", json!("/etc/masked"));
    box_.file("etc/masked", "masked");
    if !null.is_empty() {
        box_.link("dev/null", null);
    }
    box_
}

/// Masked files show a null device, never what a link of the image leads to; or create refused.
#[track_caller]
fn masked_right(out: &Output, what: &str) {
    if out.code == 0 {
        let lines: Vec<_> = out.stdout.lines().collect();
        let right = lines.len() == 2 && lines.iter().all(|l| *l == "character special file 1:3");
        assert!(right, "{what}: {out:?}");
    }
}

fn cve_2025_31133_dev_null_of_the_image_is_a_link() -> Outcome {
    known_elsewhere("binds what the link leads to", || {
        let mut targets = links().map(|link| format!("{link}/null")).to_vec();
        targets.extend([SETTING, "/etc/passwd", "/etc", "/nowhere"].map(str::to_owned));
        for target in targets {
            let out = harmless(&masking(&target), &[], &target);
            masked_right(&out, &target);
        }
    })
}

fn cve_2025_31133_dev_null_swapped_in_a_race() -> Outcome {
    known_elsewhere("checks and binds in two steps", || {
        for to in [SETTING.to_owned(), text(&victim().join("null"))] {
            let box_ = masking("").mount("bind", "volume", "/dev", &["rbind"]);
            let pair = Pair::new(&box_.outside("volume"), "null", null_device, &to);
            box_.write_config();
            raced(&box_, pair, 30, |_| {
                masked_right(&box_.call(&["run", box_.id()]), &to);
                box_.delete_force();
            });
        }
    })
}

fn cve_2025_31133_masked_path_swapped_in_a_race() -> Outcome {
    known_elsewhere("checks and binds in two steps", || {
        let box_ = Bundle::new()
            .args(&["true"])
            .mount("bind", "volume", "/vol", &["rbind"])
            .set("/linux/maskedPaths", json!(["/vol/d", "/vol/d/file"]))
            .set("/linux/readonlyPaths", json!(["/vol/d", "/vol/d/dir"]));
        let make = |path: &Path| {
            fs::create_dir_all(path.join("dir")).unwrap();
            fs::write(path.join("file"), "").unwrap();
        };
        let to = format!("{}{}", "../".repeat(12), victim().display());
        let pair = Pair::new(&box_.outside("volume"), "d", make, &to);
        box_.write_config();
        raced(&box_, pair, 40, |_| {
            box_.call(&["run", box_.id()]);
            box_.delete_force();
        });
    })
}
