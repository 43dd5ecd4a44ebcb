//! The cache: made once, kept to itself, taken apart with care.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gl_image::{Cache, Cached, Image, Ownership, Progress, default_root};
use rustix::fs::Uid;

use crate::support::{Layer, Layout, Scratch, chain, names, open, options};

fn image(scratch: &Scratch, content: &str) -> Image {
    let layers = [
        Layer::new().file("f", content).done(),
        Layer::new().file("g", "").done(),
    ];
    let dir = scratch.join(&format!("layout-{content}"));
    Layout::new(&layers).write(&dir);
    open(&dir).unwrap()
}

fn unpack(cache: &Cache, image: &Image) -> Cached {
    cache
        .unpack(image, &options(Ownership::of_caller()), &mut |_| {})
        .unwrap()
}

#[test]
fn an_image_is_unpacked_once() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("a/b")).unwrap();
    let image = image(&scratch, "text");
    let mut seen = Vec::new();
    let mut tell = |progress: Progress| seen.push(progress);
    let first = cache
        .unpack(&image, &options(Ownership::of_caller()), &mut tell)
        .unwrap();
    let total = image.stored_bytes() * 2;
    assert_eq!(
        seen.last(),
        Some(&Progress { done: total, total }),
        "{seen:?}"
    );
    let text = fs::read_to_string(first.rootfs().join("f")).unwrap();
    assert_eq!(text, "text");
    // The layers are not read again: they may even be gone.
    fs::remove_dir_all(scratch.join("layout-text/blobs")).unwrap();
    let mut tell = |progress| panic!("unpacks again: {progress:?}");
    let second = cache
        .unpack(&image, &options(Ownership::of_caller()), &mut tell)
        .unwrap();
    assert_eq!(second.rootfs(), first.rootfs());
    assert_eq!(
        names(&scratch.join("a/b")),
        [first.key().to_owned(), format!("{}.lock", first.key())]
    );
    assert_eq!(
        names(&scratch.join("a/b").join(first.key())),
        ["entry.json", "rootfs"]
    );
    let mode = fs::metadata(scratch.join("a/b"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn many_at_once_unpack_once() {
    let scratch = Scratch::new();
    let path = scratch.join("cache");
    let image = image(&scratch, "text");
    let unpacked = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let cache = Cache::open(&path).unwrap();
                let mut told = false;
                let mut tell = |_| told = true;
                let done = cache.unpack(&image, &options(Ownership::of_caller()), &mut tell);
                assert_eq!(names(done.unwrap().rootfs()), ["f", "g"]);
                unpacked.fetch_add(u32::from(told), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(unpacked.load(Ordering::Relaxed), 1);
}

#[test]
fn owners_are_part_of_an_entrys_name() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let image = image(&scratch, "text");
    let flat = cache
        .unpack(&image, &options(Ownership::Caller), &mut |_| {})
        .unwrap();
    let owned = cache
        .unpack(&image, &options(Ownership::Image), &mut |_| {})
        .unwrap();
    assert_ne!(flat.key(), owned.key());
}

#[test]
fn a_directory_that_is_not_the_callers_alone_is_refused() {
    let scratch = Scratch::new();
    let said = |path: &Path| chain(&Cache::open(path).unwrap_err());
    let open_to_others = scratch.join("open");
    fs::DirBuilder::new()
        .mode(0o755)
        .create(&open_to_others)
        .unwrap();
    let shown = open_to_others.display();
    assert_eq!(
        said(&open_to_others),
        format!("use the image cache {shown}: its mode lets others in")
    );
    let link = scratch.join("link");
    symlink(&open_to_others, &link).unwrap();
    let shown = link.display();
    assert_eq!(
        said(&link),
        format!("use the image cache {shown}: it is not a directory")
    );
    if rustix::process::geteuid().is_root() {
        let others = scratch.join("others");
        fs::DirBuilder::new().mode(0o700).create(&others).unwrap();
        std::os::unix::fs::chown(&others, Some(65534), None).unwrap();
        let shown = others.display();
        assert_eq!(
            said(&others),
            format!("use the image cache {shown}: it belongs to another user")
        );
    }
}

#[test]
fn an_entry_that_others_may_enter_is_refused() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let image = image(&scratch, "text");
    let key = unpack(&cache, &image).key().to_owned();
    let entry = scratch.join("cache").join(key);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o711)).unwrap();
    let err = cache
        .unpack(&image, &options(Ownership::of_caller()), &mut |_| {})
        .unwrap_err();
    let want = format!(
        "use the image cache {}: its mode lets others in",
        entry.display()
    );
    assert_eq!(chain(&err), want);
}

#[test]
fn pruning_spares_what_is_used_or_was_lately() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let used = unpack(&cache, &image(&scratch, "used"));
    let unused = unpack(&cache, &image(&scratch, "unused")).key().to_owned();
    let listed: Vec<String> = cache
        .entries()
        .unwrap()
        .into_iter()
        .map(|e| e.key)
        .collect();
    let mut wanted = vec![used.key().to_owned(), unused.clone()];
    wanted.sort();
    assert_eq!(listed, wanted);

    let lately = cache.prune(Duration::from_secs(3600)).unwrap();
    assert_eq!(
        (lately.removed.len(), &lately.kept),
        (0, &vec![unused.clone()])
    );
    assert_eq!(lately.in_use, [used.key()]);

    let now = cache.prune(Duration::ZERO).unwrap();
    assert_eq!(
        (&now.removed, &now.in_use),
        (&vec![unused], &vec![used.key().to_owned()])
    );
    assert_eq!(names(used.rootfs()), ["f", "g"]);
    let key = used.key().to_owned();
    drop(used);
    assert_eq!(cache.prune(Duration::ZERO).unwrap().removed, [key]);
    assert_eq!(names(&scratch.join("cache")), [""; 0]);
}

#[test]
fn what_a_killed_unpacking_left_is_removed() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let image = image(&scratch, "text");
    let key = unpack(&cache, &image).key().to_owned();
    cache.prune(Duration::ZERO).unwrap();
    let work = scratch.join("cache").join(format!(".work-{key}"));
    let leave = || {
        fs::create_dir_all(work.join("rootfs/a/b")).unwrap();
        fs::create_dir_all(work.join("trash/7/x")).unwrap();
        fs::write(work.join("rootfs/a/b/c"), "half").unwrap();
        fs::set_permissions(work.join("rootfs/a"), fs::Permissions::from_mode(0o0)).unwrap();
    };
    leave();
    let cached = unpack(&cache, &image);
    assert_eq!(names(cached.rootfs()), ["f", "g"]);
    leave();
    drop(cached);
    assert_eq!(cache.prune(Duration::ZERO).unwrap().removed, [key]);
    assert_eq!(names(&scratch.join("cache")), [""; 0]);
}

#[test]
fn the_cache_is_where_the_user_has_caches() {
    let (root, user) = (Uid::from_raw(0), Uid::from_raw(1000));
    let at = |user, cache: Option<&str>, home: Option<&str>| {
        default_root(user, cache.map(Path::new), home.map(Path::new))
            .map(|path| path.display().to_string())
            .map_err(|err| err.to_string())
    };
    let ok = |path: &str| Ok(path.to_owned());
    assert_eq!(
        at(root, Some("/c"), Some("/h")),
        ok("/var/cache/greenlang/images")
    );
    assert_eq!(at(user, Some("/c"), Some("/h")), ok("/c/greenlang/images"));
    assert_eq!(
        at(user, Some("relative"), Some("/h")),
        ok("/h/.cache/greenlang/images")
    );
    assert_eq!(
        at(user, None, Some("")),
        Err("find the image cache: neither XDG_CACHE_HOME nor HOME is an absolute path".to_owned())
    );
}

#[test]
fn directories_are_made_within_the_tree_and_name_another_entry() {
    let scratch = Scratch::new();
    let layers = [Layer::new()
        .dir("real/")
        .symlink("link", "/real")
        .symlink("up", "../../..")
        .file("f", "text")
        .done()];
    let dir = scratch.join("layout");
    Layout::new(&layers).write(&dir);
    let image = open(&dir).unwrap();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let plain = unpack(&cache, &image);
    let mut how = options(Ownership::of_caller());
    how.directories = ["/proc", "/link/a/b", "/up/c", "/real"]
        .map(Into::into)
        .to_vec();
    let made = cache.unpack(&image, &how, &mut |_| {}).unwrap();
    assert_ne!(made.key(), plain.key());
    assert_eq!(names(plain.rootfs()), ["f", "link", "real", "up"]);
    assert_eq!(
        names(made.rootfs()),
        ["c", "f", "link", "proc", "real", "up"]
    );
    assert_eq!(names(&made.rootfs().join("real/a")), ["b"]);
    // A file is in the way.
    how.directories = vec!["/f".into()];
    let err = cache.unpack(&image, &how, &mut |_| {}).unwrap_err();
    assert_eq!(
        err.to_string(),
        "make, in the image's tree, the directory /f"
    );
    let left = names(&scratch.join("cache"));
    let left = left.iter().filter(|name| !name.ends_with(".lock"));
    assert_eq!(left.count(), 2);
}

#[test]
fn entry_is_held_by_its_name_and_no_other_is() {
    let scratch = Scratch::new();
    let cache = Cache::open(&scratch.join("cache")).unwrap();
    let first = unpack(&cache, &image(&scratch, "text"));
    let key = first.key().to_owned();
    let held = cache.hold(&key).unwrap();
    assert_eq!(held.rootfs(), first.rootfs());
    drop(first);
    assert_eq!(cache.prune(Duration::ZERO).unwrap().in_use, [key.as_str()]);
    drop(held);
    assert_eq!(cache.prune(Duration::ZERO).unwrap().removed, [key.as_str()]);
    for name in [key.as_str(), "../cache", "x", ""] {
        let err = cache.hold(name).unwrap_err();
        assert!(err.to_string().starts_with("open "), "{name:?}: {err}");
    }
}
