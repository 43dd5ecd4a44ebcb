//! As an ordinary user: this program starts itself again as one.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gl_image::{Cache, Ownership};
use tar::EntryType;

use crate::support::{Layer, Layout, Scratch, names, open, options};

const USER: u32 = 65_534;
const DIR: &str = "GL_IMAGE_TEST_DIR";

fn layers() -> Vec<Vec<u8>> {
    let dir = |mode| {
        move |h: &mut tar::Header| {
            h.set_entry_type(EntryType::Directory);
            h.set_mode(mode);
        }
    };
    let lower = Layer::new()
        .with("closed/", dir(0o555), b"")
        .file("closed/in", "")
        .with("none/", dir(0), b"")
        .file("none/in", "")
        .with("gone/", dir(0), b"")
        .file("gone/in", "")
        .with(
            "setuid",
            |h| {
                h.set_mode(0o6755);
                h.set_uid(0);
            },
            b"#!",
        )
        .with(
            "null",
            |h| {
                h.set_entry_type(EntryType::Char);
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap();
            },
            b"",
        )
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02")])
        .file("capable", "")
        .done();
    let upper = Layer::new()
        .file("closed/later", "")
        .file("none/.wh.in", "")
        .file(".wh.gone", "")
        .done();
    vec![lower, upper]
}

/// What the started program does.
fn inside(dir: &Path) {
    let image = open(&dir.join("layout")).unwrap();
    let cache = Cache::open(&dir.join("cache")).unwrap();
    assert_eq!(Ownership::of_caller(), Ownership::Caller);
    let cached = cache
        .unpack(&image, &options(Ownership::of_caller()), &mut |_| {})
        .unwrap();
    let root = cached.rootfs();
    let notes: Vec<String> = cached
        .notes()
        .iter()
        .map(|note| format!("{}: {}", note.entry, note.what))
        .collect();
    assert_eq!(
        notes,
        [
            "null: device nodes need root",
            "capable: attribute security.capability is not taken over",
        ]
    );
    let seen = |name: &str| {
        let meta = fs::symlink_metadata(root.join(name)).unwrap();
        (meta.mode() & 0o7777, meta.uid())
    };
    assert_eq!(seen("closed"), (0o555, USER));
    assert_eq!(seen("none"), (0, USER));
    assert_eq!(seen("setuid"), (0o755, USER));
    assert_eq!(names(root), ["capable", "closed", "none", "setuid"]);
    assert_eq!(names(&root.join("closed")), ["in", "later"]);
    // Closed directories are no obstacle to a pruning.
    drop(cached);
    assert_eq!(cache.prune(Duration::ZERO).unwrap().removed.len(), 1);
    assert_eq!(names(&dir.join("cache")), [""; 0]);
}

#[test]
fn a_user_gets_a_tree_of_their_own() {
    if let Some(dir) = std::env::var_os(DIR) {
        return inside(Path::new(&dir));
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIP a_user_gets_a_tree_of_their_own: needs root to become a user");
        return;
    }
    let scratch = Scratch::new();
    Layout::new(&layers()).write(&scratch.join("layout"));
    chown(scratch.path(), Some(USER), Some(USER)).unwrap();
    // The program may be where a user cannot reach it.
    let program = scratch.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(&program)
        .args([
            "user::a_user_gets_a_tree_of_their_own",
            "--exact",
            "--nocapture",
        ])
        .env(DIR, scratch.path())
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}
