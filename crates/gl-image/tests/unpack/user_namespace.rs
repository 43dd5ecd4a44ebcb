//! As root of a user namespace in which there is one id: this program starts itself again in one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use gl_image::{Cache, Ownership};
use tar::EntryType;

use crate::support::{Layer, Layout, Scratch, chain, names, open, options};

const DIR: &str = "GL_IMAGE_TEST_NAMESPACE";

fn inside(dir: &Path) {
    assert_eq!(Ownership::of_caller(), Ownership::Image);
    let cache = Cache::open(&dir.join("cache")).unwrap();
    let image = open(&dir.join("roots")).unwrap();
    let cached = cache
        .unpack(&image, &options(Ownership::of_caller()), &mut |_| {})
        .unwrap();
    let notes: Vec<String> = cached
        .notes()
        .iter()
        .map(|note| format!("{}: {}", note.entry, note.what))
        .collect();
    assert_eq!(notes, ["null: device nodes need root of the host"]);
    assert_eq!(names(cached.rootfs()), ["closed", "setuid"]);
    let meta = fs::metadata(cached.rootfs().join("setuid")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o4755, 0));
    let meta = fs::metadata(cached.rootfs().join("closed")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0);

    let image = open(&dir.join("others")).unwrap();
    let err = cache
        .unpack(&image, &options(Ownership::Image), &mut |_| {})
        .unwrap_err();
    let text = chain(&err);
    let want = "owner 1000:100 has no mapping in this user namespace";
    assert!(text.starts_with("unpack f of layer 1 ("), "{text}");
    assert!(text.ends_with(want), "{text}");
    cache
        .unpack(&image, &options(Ownership::Caller), &mut |_| {})
        .unwrap();
}

#[test]
fn root_of_a_user_namespace_gets_the_owners_that_there_are() {
    if let Some(dir) = std::env::var_os(DIR) {
        return inside(Path::new(&dir));
    }
    let scratch = Scratch::new();
    let roots = Layer::new()
        .with("setuid", |h| h.set_mode(0o4755), b"#!")
        .with(
            "closed/",
            |h| {
                h.set_entry_type(EntryType::Directory);
                h.set_mode(0);
            },
            b"",
        )
        .file("closed/in", "")
        .with(
            "null",
            |h| {
                h.set_entry_type(EntryType::Char);
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap();
            },
            b"",
        )
        .done();
    let others = Layer::new()
        .with(
            "f",
            |h| {
                h.set_uid(1000);
                h.set_gid(100);
            },
            b"",
        )
        .done();
    Layout::new(&[roots]).write(&scratch.join("roots"));
    Layout::new(&[others]).write(&scratch.join("others"));
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["root_of_a_user_namespace", "--nocapture"])
        .env(DIR, scratch.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}
