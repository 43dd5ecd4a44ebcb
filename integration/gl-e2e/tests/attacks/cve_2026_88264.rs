//! CVE-2026-88264, CVE-2026-88265: the owner of the console or of `/dev/null` for stdio changed
//! through a link of the image.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Stdio;

use gl_e2e::bundle::{Bundle, Host, finish, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{
    Pair, SECRET, create_with_terminal, harmless, links, null_device, raced, text, victim,
    with_dev_of_the_image,
};

pub(crate) const TESTS: &[Test] = tests![
    cve_2026_88264_console_owner_changed_through_a_link,
    cve_2026_88264_console_owner_changed_in_a_race,
    cve_2026_88265_stdio_null_followed_through_a_link,
    cve_2026_88265_stdio_null_followed_in_a_race,
];

fn as_a_user(script: &str) -> Bundle {
    with_dev_of_the_image(script).set("/process/user", json!({"uid": 1234, "gid": 1234}))
}

fn cve_2026_88264_console_owner_changed_through_a_link() -> Outcome {
    for name in ["console", "tty", "ptmx"] {
        for link in links().map(|link| format!("{link}/{name}")) {
            let box_ = as_a_user("exec sleep 1000").set("/process/terminal", json!(true));
            box_.link(&format!("dev/{name}"), &link);
            let host = Host::before(&box_, &[&victim()]);
            create_with_terminal(&box_);
            box_.delete_force().ok();
            host.unchanged_soon(&format!("{name} -> {link}"));
        }
    }
    Ok(())
}

fn cve_2026_88264_console_owner_changed_in_a_race() -> Outcome {
    known_elsewhere("binds onto what the link leads to", || {
        for name in ["console", "ptmx", "tty"] {
            let box_ = as_a_user("exec sleep 1000").set("/process/terminal", json!(true));
            let file = |path: &std::path::Path| fs::write(path, "").unwrap();
            let to = text(&victim().join(name));
            let pair = Pair::new(&box_.rootfs().join("dev"), name, file, &to);
            raced(&box_, pair, 20, |_| {
                create_with_terminal(&box_);
                box_.delete_force().ok();
            });
        }
    })
}

/// The null device of the host is one, and root's.
#[track_caller]
fn null_is_roots() {
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!(null.uid(), 0);
    assert!(null.file_type().is_char_device());
}

fn cve_2026_88265_stdio_null_followed_through_a_link() -> Outcome {
    for link in links().map(|link| format!("{link}/null")) {
        let box_ = as_a_user("cat; true");
        box_.link("dev/null", &link);
        harmless(&box_, &[], &link);
        null_is_roots();
        let box_ = box_.args(&["sleep", "1000"]);
        if box_.create().code == 0 && box_.start().code == 0 {
            let out = box_.exec(&["-u", "7"], &["sh", "-c", "cat; true"]);
            assert!(!out.stdout.contains(SECRET), "exec {link}: {out:?}");
            null_is_roots();
        }
    }
    Ok(())
}

fn cve_2026_88265_stdio_null_followed_in_a_race() -> Outcome {
    let box_ = as_a_user("cat; true");
    let to = text(&victim().join("null"));
    let pair = Pair::new(&box_.rootfs().join("dev"), "null", null_device, &to);
    box_.write_config();
    raced(&box_, pair, 40, |_| {
        let mut command = box_.command(&["run", box_.id()]);
        let out = finish(command.stdin(Stdio::null()));
        assert!(!out.stdout.contains(SECRET), "{out:?}");
        box_.delete_force();
    });
    null_is_roots();
    Ok(())
}
