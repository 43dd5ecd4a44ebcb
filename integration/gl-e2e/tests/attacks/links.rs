//! Names in the root that an image or a co-tenant chose: masks, devices, the working directory, the
//! list of users. None leads to the host.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::{Bundle, finish, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use rustix::fs::{CWD, Mode};
use serde_json::json;

use super::ground::{Pair, SECRET, harmless, links, probe, raced, text, victim};

pub(crate) const TESTS: &[Test] = tests![
    masked_and_readonly_paths_are_links,
    device_target_is_a_link_to_the_host,
    device_target_swapped_for_a_link,
    working_directory_is_a_link_to_the_host,
    working_directory_swapped_for_a_link,
    passwd_of_the_image_is_hostile,
    mount_source_of_the_image_is_no_source_of_the_host,
];

fn masked_and_readonly_paths_are_links() -> Outcome {
    for list in ["maskedPaths", "readonlyPaths"] {
        for link in links() {
            let box_ = Bundle::sh("cat /link/file /link/null; true")
                .push(&format!("/linux/{list}"), json!("/link"))
                .push(&format!("/linux/{list}"), json!("/link/file"));
            box_.link("link", &link);
            harmless(&box_, &[], &format!("{list} {link}"));
        }
    }
    Ok(())
}

fn with_device(path: &str) -> Bundle {
    let device = json!([{"path": path, "type": "c", "major": 1, "minor": 3, "uid": 1234,
        "fileMode": 0o777}]);
    Bundle::new().args(&["true"]).set("/linux/devices", device)
}

fn device_target_is_a_link_to_the_host() -> Outcome {
    for link in links() {
        for path in ["/link/new", "/link/file", "/link"] {
            let box_ = with_device(path);
            box_.link("link", &link);
            harmless(&box_, &[], &format!("device {path} {link}"));
        }
    }
    Ok(())
}

fn device_target_swapped_for_a_link() -> Outcome {
    known_elsewhere("makes nodes by path", || {
        for path in ["/vol/d/new", "/vol/d/file"] {
            let box_ = with_device(path).mount("bind", "volume", "/vol", &["rbind"]);
            let to = format!("{}{}", "../".repeat(12), victim().display());
            let pair = Pair::directory(&box_.outside("volume"), "d", &to);
            box_.write_config();
            raced(&box_, pair, 30, |_| {
                box_.call(&["run", box_.id()]);
                box_.delete_force();
            });
        }
    })
}

fn working_directory_is_a_link_to_the_host() -> Outcome {
    for link in links() {
        let box_ = Bundle::sh(&probe()).set("/process/cwd", json!("/link/new/dir"));
        box_.link("link", &link);
        harmless(&box_, &[], &format!("cwd {link}"));
        let box_ = Bundle::new();
        box_.link("link", &link);
        let box_ = box_.idle();
        let out = box_.exec(&["--cwd", "/link/newer/dir"], &["sh", "-c", &probe()]);
        assert!(!out.stdout.contains(SECRET), "exec {link}: {out:?}");
    }
    Ok(())
}

fn working_directory_swapped_for_a_link() -> Outcome {
    let box_ = Bundle::sh(&probe())
        .mount("bind", "volume", "/vol", &["rbind"])
        .set("/process/cwd", json!("/vol/d/a/b"));
    let to = format!("{}{}", "../".repeat(12), victim().display());
    let pair = Pair::directory(&box_.outside("volume"), "d", &to);
    box_.write_config();
    raced(&box_, pair, 40, |_| {
        let out = box_.call(&["run", box_.id()]);
        assert!(!out.stdout.contains(SECRET), "{out:?}");
        box_.delete_force();
    });
    Ok(())
}

fn passwd_of_the_image_is_hostile() -> Outcome {
    // A link to a file of the host, a huge file, a fifo.
    let box_ = Bundle::sh("echo home $HOME");
    fs::remove_file(box_.rootfs().join("etc/passwd")).unwrap();
    let target = box_.outside("users").join("passwd");
    fs::write(&target, "gl:x:0:0::/precious:/bin/sh\n").unwrap();
    box_.link("etc/passwd", &text(&target));
    let out = box_.run();
    assert!(!out.stdout.contains("precious"), "{out:?}");
    let box_ = Bundle::sh("echo home $HOME");
    let lines = "x".repeat(100) + "\n";
    fs::write(box_.rootfs().join("etc/passwd"), lines.repeat(100_000)).unwrap();
    let out = box_.run().ok();
    assert!(
        matches!(out.stdout.trim_end(), "home" | "home /"),
        "{out:?}"
    );
    known_elsewhere("reads without an end", || {
        let box_ = Bundle::sh("echo home $HOME");
        let path = box_.rootfs().join("etc/passwd");
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(CWD, &path, Mode::from_raw_mode(0o644)).unwrap();
        let out = box_.run();
        assert!(out.code > 0 || out.stdout == "home /\n", "{out:?}");
    })
}

fn mount_source_of_the_image_is_no_source_of_the_host() -> Outcome {
    // A relative source is below the bundle, never below the caller's directory.
    let box_ =
        Bundle::new()
            .args(&["cat", "/mnt/file"])
            .mount("bind", "volume", "/mnt", &["rbind"]);
    let elsewhere = box_.outside("elsewhere");
    fs::create_dir(elsewhere.join("volume")).unwrap();
    fs::write(elsewhere.join("volume/file"), SECRET).unwrap();
    fs::write(box_.outside("volume").join("file"), "of the bundle").unwrap();
    box_.write_config();
    let dir = text(box_.dir());
    let mut command = box_.command(&["run", "--bundle", &dir, box_.id()]);
    finish(command.current_dir(&elsewhere))
        .ok()
        .prints("of the bundle");
    Ok(())
}
