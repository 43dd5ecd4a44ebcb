//! The directory where containers' state is: closed to others, and never somewhere else.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use gl_e2e::bundle::{Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};

use super::ground::victim;

pub(crate) const TESTS: &[Test] = tests![
    state_directory_is_closed_to_others,
    state_directory_that_others_may_write_to_is_refused,
    state_directory_through_a_link_is_not_followed,
    forced_delete_leaves_a_directory_with_other_files_alone,
];

fn state_directory_is_closed_to_others() -> Outcome {
    let box_ = Bundle::new();
    box_.create().ok();
    let dir = box_.state_root().join(box_.id());
    let mode = fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o066, 0, "{mode:o}");
    known_elsewhere("lets anyone write to the gate", || {
        let box_ = Bundle::new();
        fs::remove_dir(box_.state_root()).unwrap();
        box_.create().ok();
        let mode = fs::metadata(box_.state_root())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{mode:o}");
        let dir = box_.state_root().join(box_.id());
        let mode = fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{mode:o}");
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o022, 0, "{} {mode:o}", entry.path().display());
        }
    })
}

fn state_directory_that_others_may_write_to_is_refused() -> Outcome {
    known_elsewhere("takes any directory", || {
        for (mode, owner) in [(0o777, 0), (0o720, 0), (0o702, 0), (0o700, 1000)] {
            let box_ = Bundle::new();
            let root = box_.state_root();
            fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
            chown(&root, Some(owner), Some(owner)).unwrap();
            box_.write_config();
            let host = Host::before(&box_, &[]);
            for args in [
                &["create", box_.id()][..],
                &["run", box_.id()],
                &["state", box_.id()],
            ] {
                box_.call(args).failed();
            }
            host.unchanged_soon(&format!("mode {mode:o} of {owner}"));
            chown(&root, Some(0), Some(0)).unwrap();
            fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        }
    })
}

fn state_directory_through_a_link_is_not_followed() -> Outcome {
    known_elsewhere("follows it", || {
        let box_ = Bundle::new();
        box_.create().ok();
        let real = box_.state_root().join(box_.id());
        // A whole container behind the link, and the victim.
        for to in [real, victim()] {
            let link = box_.state_root().join("linked");
            symlink(to, &link).unwrap();
            box_.write_config();
            let host = Host::before(&box_, &[&victim()]);
            for args in [
                &["state", "linked"][..],
                &["start", "linked"],
                &["exec", "linked", "true"],
                &["kill", "linked", "KILL"],
                &["create", "linked"],
                &["delete", "linked"],
            ] {
                box_.call(args).failed();
            }
            box_.call(&["delete", "--force", "linked"]);
            assert_eq!(box_.status(), "created");
            let listed = box_.call(&["list", "--quiet"]).ok();
            assert!(!listed.stdout.contains("linked"), "{listed:?}");
            if link.symlink_metadata().is_ok() {
                host.unchanged_soon("a link in the state directory");
                fs::remove_file(&link).unwrap();
            }
        }
    })
}

fn forced_delete_leaves_a_directory_with_other_files_alone() -> Outcome {
    known_elsewhere("empties it", || {
        let box_ = Bundle::new();
        let stranger = box_.state_root().join("stranger");
        fs::create_dir(&stranger).unwrap();
        for name in ["config.json", "letter"] {
            fs::write(stranger.join(name), "precious").unwrap();
        }
        box_.call(&["delete", "--force", "stranger"]).failed();
        for name in ["config.json", "letter"] {
            assert_eq!(fs::read_to_string(stranger.join(name)).unwrap(), "precious");
        }
    })
}
