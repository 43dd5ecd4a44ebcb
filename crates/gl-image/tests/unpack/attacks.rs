//! Images that want to reach out, to fill the disk, or to be taken for what they are not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gl_image::Ownership;
use rustix::fs::{CWD, RenameFlags};
use tar::EntryType;

use crate::support::{Layer, Layout, Scratch, chain, listing, names, open, options, unpack};

/// A directory outside the image that must stay as it is.
struct Victim {
    scratch: Scratch,
    before: Vec<String>,
}

impl Victim {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::write(scratch.join("file"), "precious").unwrap();
        fs::create_dir(scratch.join("dir")).unwrap();
        fs::write(scratch.join("dir/inner"), "precious").unwrap();
        fs::set_permissions(scratch.join("dir"), fs::Permissions::from_mode(0o750)).unwrap();
        let before = listing(scratch.path());
        Self { scratch, before }
    }

    fn path(&self) -> &str {
        self.scratch.path().to_str().unwrap()
    }

    #[track_caller]
    fn assert_unharmed(&self, what: &str) {
        assert_eq!(listing(self.scratch.path()), self.before, "{what}");
    }
}

/// Unpacks layers and returns the error without what differs from run to run.
fn refused(what: &str, layers: &[Vec<u8>]) -> String {
    let scratch = Scratch::new();
    let err = unpack(&scratch, layers).expect_err(what);
    assert_eq!(
        names(scratch.path()),
        ["layout"],
        "{what} leaves something behind"
    );
    let text = chain(&err);
    let (start, rest) = text.split_once(" (sha256:").expect(&text);
    let (_, end) = rest.split_once(')').expect(&text);
    let end = end.replace(scratch.path().to_str().unwrap(), "IMAGE");
    format!("{start}{end}")
}

#[test]
fn names_that_lead_out_are_refused_with_entry_and_layer() {
    let fine = Layer::new().dir("d/").done();
    let regular = |name: &[u8]| {
        let bad = Layer::new().raw(EntryType::Regular, name, b"", b"x").done();
        vec![fine.clone(), bad]
    };
    let long_part = [b"d/", &[b'n'; 256][..]].concat();
    let long_name = b"0123456789abcde/".repeat(256);
    for (name, want) in [
        (
            &b"/etc/passwd"[..],
            "unpack /etc/passwd of layer 2: the name is absolute",
        ),
        (b"../up", "unpack ../up of layer 2: the name has .. in it"),
        (
            b"d/../../up",
            "unpack d/../../up of layer 2: the name has .. in it",
        ),
        (b"d/..", "unpack d/.. of layer 2: the name has .. in it"),
        (b"./", "unpack ./ of layer 2: the name is empty"),
        (
            b"d/.wh..",
            "unpack d/.wh.. of layer 2: the whiteout names no entry",
        ),
        (
            b"d/.wh...",
            "unpack d/.wh... of layer 2: the whiteout names no entry",
        ),
        (
            b".wh.",
            "unpack .wh. of layer 2: the whiteout names no entry",
        ),
    ] {
        assert_eq!(refused(want, &regular(name)), want);
    }
    for name in [long_part, long_name] {
        let said = refused("a long name", &regular(&name));
        assert!(
            said.ends_with("… of layer 2: the name is too long"),
            "{said}"
        );
    }
}

#[test]
fn links_lead_nowhere_outside() {
    let victim = Victim::new();
    let target = victim.path();
    let up = format!("{}{}", "../".repeat(40), &target[1..]);
    for (what, link) in [("absolute", target), ("relative", &up), ("root", "/")] {
        let scratch = Scratch::new();
        let lower = Layer::new().symlink("x", link).done();
        let below = if link == "/" {
            format!("x{target}")
        } else {
            "x".to_owned()
        };
        let upper = Layer::new()
            .file(&format!("{below}/file"), "overwritten")
            .file(&format!("{below}/new"), "made")
            .dir(&format!("{below}/dir/"))
            .file(&format!("{below}/dir/.wh.inner"), "")
            .file(&format!("{below}/.wh..wh..opq"), "")
            .file(&format!("{below}/.wh.file"), "")
            .done();
        let done = unpack(&scratch, &[lower, upper]);
        victim.assert_unharmed(what);
        // The link leads to a place in the image, which is made where it is missing.
        done.unwrap();
        let inside = scratch.join("root").join(&target[1..]);
        assert_eq!(names(&inside), ["dir", "file", "new"], "{what}");
    }
}

#[test]
fn whole_trees_are_not_removed_through_links() {
    let victim = Victim::new();
    let scratch = Scratch::new();
    let lower = Layer::new()
        .symlink("a", victim.path())
        .symlink("d/b", victim.path())
        .symlink("o/c", victim.path())
        .symlink("r/e", victim.path())
        .done();
    let upper = Layer::new()
        .file(".wh.a", "")
        .file(".wh.d", "")
        .file("o/.wh..wh..opq", "")
        .file("r", "in place of a directory")
        .done();
    unpack(&scratch, &[lower, upper]).unwrap();
    victim.assert_unharmed("links in what is removed");
    assert_eq!(names(&scratch.join("root")), ["o", "r"]);
}

#[test]
fn hard_links_stay_inside() {
    let victim = Victim::new();
    let file = format!("{}/file", victim.path());
    let to = |target: &str| vec![Layer::new().hardlink("h", target).done()];
    let outside = format!("../../..{file}");
    assert_eq!(
        refused("relative", &to(&outside)),
        "unpack h of layer 1: the name has .. in it"
    );
    assert_eq!(
        refused("absolute", &to(&file)),
        format!("unpack h of layer 1: the hard link's target {file} is not there")
    );
    assert_eq!(
        refused("empty", &to("./")),
        "unpack h of layer 1: the name is empty"
    );
    let dir = Layer::new().dir("d/").hardlink("h", "d").done();
    assert_eq!(
        refused("directory", &[dir]),
        "unpack h of layer 1: the hard link's target d is a directory"
    );
    // A link to a link is a second name of the link, not of what it leads to.
    let scratch = Scratch::new();
    let layer = Layer::new()
        .symlink("s", &file)
        .hardlink("h", "s")
        .file("h", "overwritten")
        .done();
    unpack(&scratch, &[layer]).unwrap();
    victim.assert_unharmed("a hard link to a symbolic link");
    // Through a directory that is a link: looked up in the image.
    let layer = Layer::new()
        .symlink("s", victim.path())
        .hardlink("h", "s/file")
        .done();
    assert_eq!(
        refused("through a link", &[layer]),
        "unpack h of layer 1: the hard link's target s/file is not there"
    );
}

#[test]
fn a_hard_link_to_itself_keeps_the_file() {
    let scratch = Scratch::new();
    let layer = Layer::new().file("f", "text").hardlink("./f", "f").done();
    unpack(&scratch, &[layer]).unwrap();
    assert_eq!(fs::read_to_string(scratch.join("root/f")).unwrap(), "text");
}

#[test]
fn overlay_metadata_is_not_the_images_to_set() {
    let scratch = Scratch::new();
    let layer = Layer::new()
        .with(
            "whiteout",
            |h| {
                h.set_entry_type(EntryType::Char);
                h.set_device_major(0).unwrap();
                h.set_device_minor(0).unwrap();
            },
            b"",
        )
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"label"),
        ])
        .dir("d/")
        .done();
    let unpacked = unpack(&scratch, &[layer]).unwrap();
    let notes: Vec<String> = unpacked
        .notes
        .iter()
        .map(|note| format!("{} {}: {}", note.layer, note.entry, note.what))
        .collect();
    let device = if rustix::process::geteuid().is_root() {
        "1 whiteout: the device number 0:0 means no device"
    } else {
        "1 whiteout: device nodes need root"
    };
    assert_eq!(
        notes,
        [
            device,
            "1 d/: attribute trusted.overlay.redirect is not taken over",
            "1 d/: attribute user.overlay.opaque is not taken over",
            "1 d/: attribute security.selinux is not taken over",
        ]
    );
    assert_eq!(names(&scratch.join("root")), ["d"]);
    let mut list = [0; 256];
    let len = rustix::fs::listxattr(scratch.join("root/d"), &mut list[..]).unwrap();
    let list = String::from_utf8_lossy(&list[..len]).into_owned();
    assert!(!list.contains("overlay"), "{list}");
}

#[test]
fn bombs_are_defused() {
    let huge = |size: u64| {
        Layer::new()
            .with("huge", move |h| h.set_size(size), b"")
            .done()
    };
    let want = "unpack huge of layer 1: it is over the limit of 68719476736 bytes unpacked";
    assert_eq!(refused("size in the header", &[huge(1 << 60)]), want);
    let sparse = Layer::new()
        .with(
            "huge",
            |h| {
                h.set_entry_type(EntryType::GNUSparse);
                h.as_gnu_mut().unwrap().set_real_size(1 << 50);
            },
            b"",
        )
        .done();
    assert_eq!(refused("sparse", &[sparse]), want);

    let scratch = Scratch::new();
    let zeros = Layer::new()
        .raw(EntryType::Regular, b"zeros", b"", &vec![0; 4 << 20])
        .done();
    Layout::new(&[zeros]).write(&scratch.join("layout"));
    let image = open(&scratch.join("layout")).unwrap();
    let limited = |change: fn(&mut gl_image::Limits)| {
        let mut options = options(Ownership::of_caller());
        change(&mut options.limits);
        let root = scratch.join("root");
        let err = gl_image::unpack_to(&image, &root, &options, &mut |_| {}).unwrap_err();
        assert_eq!(names(scratch.path()), ["layout"]);
        let text = chain(&err);
        text.rsplit_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        limited(|limits| limits.bomb_bytes = 1 << 20),
        "it unpacks to more than 200 times its size"
    );
    assert_eq!(
        limited(|limits| limits.unpacked_bytes = 1 << 20),
        "it is over the limit of 1048576 bytes unpacked"
    );
    assert_eq!(
        limited(|limits| limits.entries = 0),
        "it is over the limit of 0 entries"
    );
}

#[test]
fn deep_trees_are_removed_without_a_descriptor_for_each_level() {
    let scratch = Scratch::new();
    let deep = "d/".repeat(250);
    // Links make the real tree deeper than any name: 6 times 250 levels.
    let mut lower = Layer::new();
    for level in 0..6 {
        let base = if level == 0 {
            String::new()
        } else {
            format!("l{}/", level - 1)
        };
        lower = lower.dir(&format!("{base}{deep}"));
        let target = format!("{base}{}", deep.trim_end_matches('/'));
        lower = lower.symlink(&format!("l{level}"), &format!("/{target}"));
    }
    let upper = Layer::new().file(".wh.d", "").done();
    unpack(&scratch, &[lower.done(), upper]).unwrap();
    assert_eq!(names(&scratch.join("root")).len(), 6);
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let victim = Victim::new();
    let scratch = Scratch::new();
    let mut layer = Layer::new().dir("d/").dir("d/dir/");
    for number in 0..100 {
        layer = layer
            .file(&format!("d/f{number}"), "x")
            .file("d/file", "overwritten")
            .dir("d/dir/")
            .file("d/dir/inner", "overwritten")
            .file("d/dir/.wh.inner", "")
            .hardlink(&format!("d/h{number}"), "d/file");
    }
    Layout::new(&[layer.done()]).write(&scratch.join("layout"));
    let image = open(&scratch.join("layout")).unwrap();
    let link = scratch.join("link");
    symlink(victim.path(), &link).unwrap();
    let stop = AtomicBool::new(false);
    let work = || {
        let mut entries = fs::read_dir(scratch.path()).unwrap();
        entries.find_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let is_work = name.to_string_lossy().starts_with(".gl-unpack-");
            is_work.then(|| entry.path())
        })
    };
    let swap = || {
        let dir = work().map(|work| work.join("rootfs/d"));
        let swap = |dir| rustix::fs::renameat_with(CWD, &link, CWD, dir, RenameFlags::EXCHANGE);
        dir.is_some_and(|dir| swap(dir).is_ok())
    };
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0u64;
            while !stop.load(Ordering::Relaxed) {
                swaps += u64::from(swap());
            }
            swaps
        });
        let (mut done, mut rounds) = (0, 0);
        while rounds < 10 {
            rounds += 1;
            let root = scratch.join(&format!("root{rounds}"));
            let options = options(Ownership::of_caller());
            if gl_image::unpack_to(&image, &root, &options, &mut |_| {}).is_ok() {
                done += 1;
            }
            // A round that is cut short may leave the directory in the link's place.
            if !fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_symlink()) {
                fs::remove_dir_all(&link).ok();
                symlink(victim.path(), &link).ok();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let swaps = swapper.join().unwrap();
        assert!(
            swaps > 100,
            "only {swaps} swaps in {rounds} rounds, {done} of them whole"
        );
    });
    victim.assert_unharmed("a race");
}

#[test]
fn modes_and_owners_of_others_are_untouched_by_the_umask() {
    let scratch = Scratch::new();
    let layer = Layer::new()
        .with("open", |h| h.set_mode(0o666), b"")
        .file("implied/dir/f", "")
        .done();
    unpack(&scratch, &[layer]).unwrap();
    let mode = |name: &str| fs::metadata(scratch.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("root/open"), 0o666);
    assert_eq!(mode("root/implied/dir"), 0o755);
    assert_eq!(mode("root"), 0o755);
}

#[test]
fn the_root_itself_can_be_described_but_not_replaced() {
    let scratch = Scratch::new();
    let layer = Layer::new()
        .with(
            "./",
            |h| {
                h.set_entry_type(EntryType::Directory);
                h.set_mode(0o711);
            },
            b"",
        )
        .done();
    unpack(&scratch, &[layer]).unwrap();
    let meta = fs::metadata(scratch.join("root")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o711, 1_000_000_000));
    assert!(Path::new(&scratch.join("root")).is_dir());
    let link = Layer::new().symlink("./", "/etc").done();
    assert_eq!(
        refused("a link", &[link]),
        "unpack ./ of layer 1: the name is empty"
    );
}
