//! What ordinary layers become.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use tar::EntryType;

use crate::support::{Layer, Scratch, chain, listing, names, unpack};

/// A layer with something of everything that GNU tar unpacks in the same way.
fn everything() -> Vec<u8> {
    let long = format!("d/{}", "long".repeat(50));
    Layer::new()
        .with(
            "d/",
            |h| {
                h.set_entry_type(EntryType::Directory);
                h.set_mode(0o1777);
                h.set_uid(1000);
                h.set_gid(100);
                h.set_mtime(1_500_000_000);
            },
            b"",
        )
        .file("d/plain", "text")
        .with(
            "d/setuid",
            |h| {
                h.set_mode(0o4755);
                h.set_uid(12);
                h.set_gid(34);
            },
            b"#!",
        )
        .with("d/none", |h| h.set_mode(0), b"secret")
        .symlink("d/link", "../../outside/../x")
        .symlink("d/absolute", "/etc/passwd")
        .hardlink("d/hard", "d/setuid")
        .hardlink("d/hardlink-of-link", "d/link")
        .raw(EntryType::Regular, b"d/\xff\xfe raw\n", b"", b"x")
        .file(&long, "long")
        .symlink("d/to-long", &"t/".repeat(500))
        .with(
            "d/pipe",
            |h| {
                h.set_entry_type(EntryType::Fifo);
                h.set_mode(0o622);
            },
            b"",
        )
        .with(
            "d/null",
            |h| {
                h.set_entry_type(EntryType::Char);
                h.set_mode(0o666);
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap();
            },
            b"",
        )
        .with(
            "d/loop",
            |h| {
                h.set_entry_type(EntryType::Block);
                h.set_mode(0o660);
                h.set_gid(6);
                h.set_device_major(7).unwrap();
                h.set_device_minor(200).unwrap();
            },
            b"",
        )
        .pax(&[
            ("mtime", b"1234567890.987654321"),
            ("SCHILY.xattr.user.note", b"a\nb"),
        ])
        .file("d/precise", "")
        .file("e/f/g", "deep")
        .done()
}

#[test]
fn a_layer_is_what_gnu_tar_makes_of_it() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP a_layer_is_what_gnu_tar_makes_of_it: needs root");
        return;
    }
    let scratch = Scratch::new();
    let layer = everything();
    let unpacked = unpack(&scratch, std::slice::from_ref(&layer)).unwrap();
    assert_eq!(
        (unpacked.notes.len(), unpacked.entries),
        (0, 16),
        "{:?}",
        unpacked.notes
    );
    let oracle = scratch.join("oracle");
    fs::create_dir(&oracle).unwrap();
    fs::write(scratch.join("layer.tar"), &layer).unwrap();
    let status = Command::new("tar")
        .args([
            "--extract",
            "--preserve-permissions",
            "--same-owner",
            "--numeric-owner",
        ])
        .arg("--xattrs")
        .args([r"--xattrs-include=user.*", "--file"])
        .arg(scratch.join("layer.tar"))
        .arg("--directory")
        .arg(&oracle)
        .status()
        .unwrap();
    assert!(status.success(), "tar: {status}");
    let mut wanted = listing(&oracle);
    let mut found = listing(&scratch.join("root"));
    // Directories without an entry have the time of the unpacking.
    for lines in [&mut wanted, &mut found] {
        lines.retain(|line| !line.starts_with("e ") && !line.starts_with("e/f "));
    }
    assert_eq!(found, wanted);
    let mode = fs::metadata(scratch.join("root/e/f")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let mut value = [0; 16];
    let len =
        rustix::fs::getxattr(scratch.join("root/d/precise"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..len], b"a\nb");
}

#[test]
fn whiteouts_hide_lower_layers_and_not_their_own() {
    let scratch = Scratch::new();
    let lower = Layer::new()
        .file("a/gone", "")
        .file("a/stays", "")
        .file("tree/x/y/z", "")
        .file("opaque/old", "")
        .file("opaque/sub/old", "")
        .file("late/old", "")
        .file("both", "lower")
        .done();
    let upper = Layer::new()
        .file("a/.wh.gone", "")
        .file("a/.wh.never-there", "")
        .file("nowhere/else/.wh.x", "")
        .file(".wh.tree", "")
        .dir("opaque/")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "")
        // Here the whiteout comes after what it must not hide.
        .file("late/sub/new", "")
        .file("late/.wh..wh..opq", "")
        .file("both", "upper")
        .file(".wh.both", "")
        .file(".wh..wh.plnk/1.2", "")
        .done();
    let unpacked = unpack(&scratch, &[lower, upper]).unwrap();
    let root = scratch.join("root");
    assert_eq!(names(&root.join("a")), ["stays"]);
    assert_eq!(names(&root.join("opaque")), ["new"]);
    assert_eq!(names(&root.join("late")), ["sub"]);
    assert_eq!(names(&root.join("late/sub")), ["new"]);
    assert_eq!(fs::read_to_string(root.join("both")).unwrap(), "upper");
    assert_eq!(
        names(&root),
        [".wh..wh.plnk", "a", "both", "late", "opaque"]
    );
    assert_eq!(unpacked.notes.len(), 0, "{:?}", unpacked.notes);
}

#[test]
fn entries_take_the_place_of_others_of_any_type() {
    let scratch = Scratch::new();
    let lower = Layer::new()
        .file("file-to-dir", "")
        .file("dir-to-file/a/b", "")
        .file("dir-to-link/a", "")
        .symlink("link-to-dir", "/etc")
        .symlink("link-to-file", "/etc/passwd")
        .dir("dir/")
        .file("dir/kept", "")
        .done();
    let upper = Layer::new().file("file-to-dir/in", "x").done();
    // A file stands where a directory is needed, and the layer does not say that it is one.
    let err = unpack(&scratch, &[lower.clone(), upper]).unwrap_err();
    assert!(
        chain(&err).ends_with("open its directory: not a directory"),
        "{}",
        chain(&err)
    );
    let upper = Layer::new()
        .dir("file-to-dir/")
        .file("file-to-dir/in", "x")
        .file("dir-to-file", "file")
        .symlink("dir-to-link", "dir")
        .file("dir-to-link/through", "in dir")
        .dir("link-to-dir/")
        .file("link-to-dir/in", "")
        .file("link-to-file", "new")
        .with(
            "dir/",
            |h| {
                h.set_entry_type(EntryType::Directory);
                h.set_mode(0o700);
            },
            b"",
        )
        .file("twice", "first")
        .file("twice", "second")
        .done();
    unpack(&scratch, &[lower, upper]).unwrap();
    let root = scratch.join("root");
    assert_eq!(names(&root.join("file-to-dir")), ["in"]);
    assert_eq!(
        fs::read_to_string(root.join("dir-to-file")).unwrap(),
        "file"
    );
    assert_eq!(names(&root.join("dir")), ["kept", "through"]);
    assert_eq!(
        fs::metadata(root.join("dir")).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert!(
        !fs::symlink_metadata(root.join("link-to-dir"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(
        fs::read_to_string(root.join("link-to-file")).unwrap(),
        "new"
    );
    assert_eq!(fs::read_to_string(root.join("twice")).unwrap(), "second");
}

#[test]
fn a_layer_may_write_through_a_link_within_the_image() {
    let scratch = Scratch::new();
    let lower = Layer::new()
        .dir("usr/lib/")
        .symlink("lib", "/usr/lib")
        .done();
    let upper = Layer::new()
        .file("lib/so", "library")
        .file("lib/.wh.other", "")
        .done();
    unpack(&scratch, &[lower, upper]).unwrap();
    assert_eq!(names(&scratch.join("root/usr/lib")), ["so"]);
}

#[test]
fn sparse_files_are_holes_where_nothing_is_stored() {
    let scratch = Scratch::new();
    let layer = Layer::new()
        .with(
            "sparse",
            |h| {
                h.set_entry_type(EntryType::GNUSparse);
                h.set_size(3);
                let gnu = h.as_gnu_mut().unwrap();
                gnu.sparse[0].set_offset(1 << 20);
                gnu.sparse[0].set_length(3);
                gnu.set_real_size(2 << 20);
            },
            b"abc",
        )
        .done();
    unpack(&scratch, &[layer]).unwrap();
    let content = fs::read(scratch.join("root/sparse")).unwrap();
    assert_eq!(content.len(), 2 << 20);
    assert_eq!(&content[(1 << 20) - 1..(1 << 20) + 4], b"\0abc\0");
    let blocks = fs::metadata(scratch.join("root/sparse")).unwrap().blocks();
    assert!(blocks < 100, "{blocks} blocks of 512 bytes are stored");
}

#[test]
fn an_image_without_layers_is_an_empty_directory() {
    let scratch = Scratch::new();
    unpack(&scratch, &[]).unwrap();
    assert_eq!(names(&scratch.join("root")), [""; 0]);
    assert_eq!(names(scratch.path()), ["layout", "root"]);
}

#[test]
fn many_unpack_beside_one_another() {
    let scratch = Scratch::new();
    crate::support::Layout::new(&[Layer::new().file("f", "text").done()])
        .write(&scratch.join("layout"));
    let image = crate::support::open(&scratch.join("layout")).unwrap();
    let unpack = |number: u32| {
        let options = gl_image::Options::of_caller();
        let root = scratch.join(&format!("root{number}"));
        gl_image::unpack_to(&image, &root, &options, &mut |_| {}).unwrap();
        assert_eq!(names(&root), ["f"]);
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || unpack(number));
        }
    });
    assert_eq!(names(scratch.path()).len(), 9);
}
