//! Who owns a directory that several make, lock and remove at once.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::thread;

use super::*;

/// A state root, gone when dropped.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gl-store-{}-{name}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::open(&self.0).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Claims a directory while somebody else has its lock, who does `meanwhile` with it and then lets go.
fn claim_after(name: &str, meanwhile: impl FnOnce(&Path, StateDir)) -> Result<bool, Error> {
    let root = Root::new(name);
    let (store, id) = (root.store(), ContainerId::new("one").unwrap());
    let path = root.0.join("one");
    fs::create_dir(&path).unwrap();
    let first = store.open_locked(&id).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    thread::scope(|scope| {
        let second = scope.spawn(|| store.claim(&id).map(|dir| dir.is_some()));
        while !is_waited_for(inode) {
            thread::yield_now();
        }
        meanwhile(&path, first);
        second.join().unwrap()
    })
}

/// Whether somebody waits for the lock of this file.
fn is_waited_for(inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let of_it = format!(":{inode} ");
    let mut lines = locks.lines();
    lines.any(|line| line.contains("-> FLOCK") && line.contains(&of_it))
}

#[test]
fn directory_that_is_still_empty_goes_to_whoever_locks_it() {
    let claimed = claim_after("empty", |_, first| drop(first));
    assert!(claimed.unwrap(), "it was not claimed");
}

#[test]
fn directory_that_was_removed_before_its_lock_is_nobodys() {
    let claimed = claim_after("removed", |path, first| {
        fs::remove_dir(path).unwrap();
        drop(first);
    });
    assert!(!claimed.unwrap(), "it was claimed");
}

#[test]
fn directory_that_got_a_container_before_its_lock_is_that_containers() {
    let claimed = claim_after("taken", |path, first| {
        fs::write(path.join(RECORD), "").unwrap();
        drop(first);
    });
    assert!(matches!(claimed, Err(Error::Exists { .. })), "{claimed:?}");
}

#[test]
fn directory_is_made_anew_where_there_is_none() {
    let root = Root::new("make");
    let (store, id) = (root.store(), ContainerId::new("one").unwrap());
    let dir = store.make(&id).unwrap();
    let again = store.make(&id);
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    store.remove(&id, &dir).unwrap();
    store.make(&id).unwrap();
}

#[test]
fn directory_that_is_being_deleted_lacks_its_container() {
    let root = Root::new("lacks");
    let (store, id) = (root.store(), ContainerId::new("one").unwrap());
    let dir = store.make(&id).unwrap();
    let lacks = dir.lacks(CONFIG, &id);
    assert!(matches!(lacks, Error::Corrupt { .. }), "{lacks:?}");
    let seen = store.open_dir(&id).unwrap();
    let inode = fs::metadata(root.0.join("one")).unwrap().ino();
    thread::scope(|scope| {
        let lacks = scope.spawn(|| seen.lacks(CONFIG, &id));
        while !is_waited_for(inode) {
            thread::yield_now();
        }
        store.remove(&id, &dir).unwrap();
        drop(dir);
        let lacks = lacks.join().unwrap();
        assert!(matches!(lacks, Error::Missing { .. }), "{lacks:?}");
    });
}
