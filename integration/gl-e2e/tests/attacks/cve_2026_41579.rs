//! CVE-2026-41579, CVE-2026-47766: `/dev` of the image is a link to a directory of the host.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{Pair, harmless, links, raced, text, victim, with_dev_of_the_image};

pub(crate) const TESTS: &[Test] = tests![
    cve_2026_41579_dev_is_a_link_to_the_host,
    cve_2026_41579_dev_swapped_for_a_link_to_the_host,
    cve_2026_47766_dev_behind_a_link_to_a_volume_makes_no_nodes_there,
];

const MAKE: [fn() -> Bundle; 2] = [
    || Bundle::new().args(&["true"]),
    || with_dev_of_the_image("true"),
];

fn cve_2026_41579_dev_is_a_link_to_the_host() -> Outcome {
    known_elsewhere("follows it", || {
        let mut targets = links().to_vec();
        targets.extend(["/no/where", "../nowhere", "dev", "/proc"].map(str::to_owned));
        for link in targets {
            for make in MAKE {
                let box_ = make();
                fs::remove_dir(box_.rootfs().join("dev")).unwrap();
                box_.link("dev", &link);
                harmless(&box_, &[], &format!("/dev -> {link}"));
            }
        }
    })
}

fn cve_2026_41579_dev_swapped_for_a_link_to_the_host() -> Outcome {
    known_elsewhere("follows it", || {
        for make in MAKE {
            let box_ = make().push(
                "/linux/devices",
                json!({"path": "/dev/added", "type": "c", "major": 1, "minor": 5, "uid": 1234}),
            );
            let pair = Pair::directory(&box_.rootfs(), "dev", &text(&victim()));
            box_.write_config();
            raced(&box_, pair, 30, |_| {
                box_.call(&["run", box_.id()]);
                box_.delete_force();
            });
        }
    })
}

fn cve_2026_47766_dev_behind_a_link_to_a_volume_makes_no_nodes_there() -> Outcome {
    known_elsewhere("follows it", || {
        for make in MAKE {
            let mut box_ = make();
            let volume = box_.outside("volume");
            let mount = json!({"type": "bind", "source": "volume", "destination": "/volume",
                "options": ["rbind"]});
            let mounts = box_.config["mounts"].as_array_mut().unwrap();
            mounts.insert(0, mount);
            fs::remove_dir(box_.rootfs().join("dev")).unwrap();
            box_.link("dev", "/volume");
            box_.run().failed();
            let names: Vec<_> = fs::read_dir(&volume).unwrap().flatten().collect();
            assert!(names.is_empty(), "{names:?}");
        }
    })
}
