//! The resolver against hostile trees, on the real filesystem.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A scratch directory with `root` and `victim` in it, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "gl-rootfs-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("root/real")).unwrap();
        fs::create_dir_all(dir.join("victim")).unwrap();
        Self(dir)
    }

    fn root(&self) -> Root {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Root::new(rustix::fs::open(self.0.join("root"), flags, Mode::empty()).unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    fn victim_entries(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.path("victim")).unwrap();
        entries.map(|e| e.unwrap().file_name()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn same(a: &OwnedFd, path: &Path) -> bool {
    let a = rustix::fs::fstat(a).unwrap();
    let b = rustix::fs::stat(path).unwrap();
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

#[test]
fn links_that_point_out_stay_inside() {
    let scratch = Scratch::new();
    let victim = scratch.path("victim");
    for (name, target) in [
        ("abs", victim.clone()),
        ("rel", PathBuf::from("../victim")),
        ("deep", PathBuf::from("real/../../../../../../victim")),
    ] {
        symlink(target, scratch.path("root").join(name)).unwrap();
        let wanted = Path::new("/").join(name).join(format!("made-{name}"));
        let (fd, made) = scratch
            .root()
            .open_or_make(&wanted, Leaf::Directory)
            .unwrap();
        assert_eq!(made, Made::New, "{name}");
        assert!(!same(&fd, &victim), "{name} led to the victim");
        assert_eq!(scratch.victim_entries(), Vec::<OsString>::new(), "{name}");
    }
}

#[test]
fn dangling_link_is_filled_in_inside() {
    let scratch = Scratch::new();
    symlink(
        "../run/resolve/stub.conf",
        scratch.path("root/real/resolv.conf"),
    )
    .unwrap();
    let target = Path::new("/real/resolv.conf");
    let (fd, _) = scratch.root().open_or_make(target, Leaf::File).unwrap();
    assert!(same(&fd, &scratch.path("root/run/resolve/stub.conf")));
}

#[test]
fn dot_dot_above_the_root_stays_at_the_root() {
    let scratch = Scratch::new();
    let (fd, _) = scratch
        .root()
        .open_or_make(Path::new("../../x/../y"), Leaf::Directory)
        .unwrap();
    assert!(same(&fd, &scratch.path("root/y")));
    assert_eq!(scratch.victim_entries(), Vec::<OsString>::new());
}

#[test]
fn link_loop_is_eloop() {
    let scratch = Scratch::new();
    symlink("b", scratch.path("root/a")).unwrap();
    symlink("a", scratch.path("root/b")).unwrap();
    let root = scratch.root();
    assert_eq!(
        root.open_or_make(Path::new("a/x"), Leaf::Directory)
            .unwrap_err(),
        Errno::LOOP
    );
    assert_eq!(
        root.walk(Path::new("a/x"), Some(Leaf::File)).unwrap_err(),
        Errno::LOOP
    );
}

#[test]
fn walk_finds_what_openat2_finds() {
    let scratch = Scratch::new();
    fs::write(scratch.path("root/real/file"), "x").unwrap();
    symlink("/real", scratch.path("root/link")).unwrap();
    let root = scratch.root();
    for path in ["real/file", "/link/file", "link/../link/./file", "/"] {
        let path = Path::new(path);
        let by_kernel = rustix::fs::fstat(root.open(path, OFlags::PATH).unwrap())
            .unwrap()
            .st_ino;
        let by_walk = rustix::fs::fstat(root.walk(path, None).unwrap())
            .unwrap()
            .st_ino;
        assert_eq!(by_kernel, by_walk, "{}", path.display());
    }
}

#[test]
fn file_in_place_of_a_directory_is_an_error() {
    let scratch = Scratch::new();
    fs::write(scratch.path("root/file"), "x").unwrap();
    let err = scratch
        .root()
        .open_or_make(Path::new("file/below"), Leaf::Directory)
        .unwrap_err();
    assert_eq!(err, Errno::NOTDIR);
}

#[test]
fn magic_links_are_refused_and_plain_links_of_procfs_are_not() {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Root::new(rustix::fs::open("/", flags, Mode::empty()).unwrap());
    for path in ["/proc/self/fd/0", "/proc/self/exe", "/proc/self/root/etc"] {
        for leaf in [None, Some(Leaf::Directory)] {
            let err = root.walk(Path::new(path), leaf).unwrap_err();
            assert_eq!(err, Errno::LOOP, "{path} {leaf:?}");
        }
    }
    root.walk(Path::new("/proc/self/status"), None).unwrap();
}
