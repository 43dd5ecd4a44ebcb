//! The cache: what it shares, what it never shares, and what it makes of a spoilt directory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use common::lists;
use gl_seccomp::{Cache, CacheFault, Error, Origin, compile};
use gl_spec::oci::{Arch, LinuxSeccomp};

const NATIVE: Arch = Arch::ScmpArchX86_64;

/// A directory of its own that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gl-seccomp-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn origin(cache: &Cache, list: &LinuxSeccomp) -> &'static str {
    let compiled = cache.compile(list, NATIVE).unwrap();
    assert_eq!(compiled.program, compile(list, NATIVE).unwrap());
    match compiled.origin {
        Origin::Cache => "cache",
        Origin::Compiler => "compiler",
        Origin::CompilerOnly(err) => panic!("{err:?}"),
    }
}

fn from_json(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn second_compile_comes_from_the_cache() {
    let dir = Dir::new("second");
    let cache = Cache::open(&dir.0).unwrap();
    assert_eq!(origin(&cache, &lists::docker()), "compiler");
    assert_eq!(origin(&cache, &lists::docker()), "cache");
    let entries = dir.entries();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn lists_that_differ_anywhere_share_no_entry() {
    let dir = Dir::new("differ");
    let cache = Cache::open(&dir.0).unwrap();
    let lists = [
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#,
        // errnoRet
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","errnoRet":2}]}"#,
        // Names split otherwise, in one string, in two entries, in another order.
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["readwrite"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","writ","e"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"},{"names":["write"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["write","read"],"action":"SCMP_ACT_ERRNO"}]}"#,
        // Arguments.
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"valueTwo":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_NE"}]}]}"#,
        // Architectures and their order, flags.
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X86_64"],"syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#,
    ];
    for list in lists {
        assert_eq!(origin(&cache, &from_json(list)), "compiler", "{list}");
    }
    for list in lists {
        assert_eq!(origin(&cache, &from_json(list)), "cache", "{list}");
    }
    assert_eq!(dir.entries().len(), lists.len());
}

#[test]
fn native_architecture_is_part_of_the_key() {
    let dir = Dir::new("native");
    let cache = Cache::open(&dir.0).unwrap();
    for native in [Arch::ScmpArchX86_64, Arch::ScmpArchAarch64] {
        let compiled = cache.compile(&lists::docker(), native).unwrap();
        assert!(matches!(compiled.origin, Origin::Compiler), "{native}");
        assert_eq!(compiled.program, compile(&lists::docker(), native).unwrap());
    }
}

#[test]
fn spoilt_entry_is_ignored_and_written_anew() {
    let dir = Dir::new("spoilt");
    let cache = Cache::open(&dir.0).unwrap();
    origin(&cache, &lists::docker());
    let entry = dir.entries().remove(0);
    let good = fs::read(&entry).unwrap();
    let step = good.len() / 97;
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&entry, &bad).unwrap();
        assert_eq!(origin(&cache, &lists::docker()), "compiler", "byte {at}");
        assert_eq!(fs::read(&entry).unwrap(), good, "byte {at}");
    }
    for len in [0, 1, 39, good.len() - 1] {
        fs::write(&entry, &good[..len]).unwrap();
        assert_eq!(origin(&cache, &lists::docker()), "compiler", "{len} bytes");
    }
    assert_eq!(origin(&cache, &lists::docker()), "cache");
}

#[test]
fn entry_of_another_list_is_not_taken_for_this_one() {
    let dir = Dir::new("swapped");
    let cache = Cache::open(&dir.0).unwrap();
    origin(&cache, &lists::docker());
    let docker = dir.entries().remove(0);
    origin(&cache, &lists::podman());
    let podman = dir
        .entries()
        .into_iter()
        .find(|path| *path != docker)
        .unwrap();
    fs::copy(&docker, &podman).unwrap();
    assert_eq!(origin(&cache, &lists::podman()), "compiler");
}

#[test]
fn entry_that_others_may_write_or_a_link_is_not_read() {
    let dir = Dir::new("link");
    let elsewhere = Dir::new("elsewhere");
    let cache = Cache::open(&dir.0).unwrap();
    origin(&cache, &lists::docker());
    let entry = dir.entries().remove(0);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o622)).unwrap();
    assert_eq!(origin(&cache, &lists::docker()), "compiler");
    let moved = elsewhere.0.join("entry");
    fs::rename(&entry, &moved).unwrap();
    symlink(&moved, &entry).unwrap();
    assert_eq!(origin(&cache, &lists::docker()), "compiler");
    assert!(
        entry.symlink_metadata().unwrap().is_file(),
        "the link is replaced"
    );
}

fn refused(path: &Path) -> CacheFault {
    match Cache::open(path) {
        Err(Error::CacheUnsafe { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn directory_open_to_others_is_refused() {
    let dir = Dir::new("mode");
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(refused(&dir.0), CacheFault::Mode);
}

#[test]
fn link_and_file_are_refused_as_directory() {
    let dir = Dir::new("kind");
    let inner = dir.0.join("inner");
    fs::create_dir(&inner).unwrap();
    symlink(&inner, dir.0.join("link")).unwrap();
    fs::write(dir.0.join("file"), "").unwrap();
    assert_eq!(refused(&dir.0.join("link")), CacheFault::NotDirectory);
    assert_eq!(refused(&dir.0.join("file")), CacheFault::NotDirectory);
}

#[test]
fn directory_is_made_for_us_alone() {
    let dir = Dir::new("made");
    let path = dir.0.join("cache");
    let cache = Cache::open(&path).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    origin(&cache, &lists::podman());
    let cache = Cache::from_fd(fs::File::open(&path).unwrap().into(), &path).unwrap();
    assert_eq!(origin(&cache, &lists::podman()), "cache");
}

#[test]
fn unwritable_directory_costs_speed_alone() {
    let dir = Dir::new("gone");
    let path = dir.0.join("cache");
    let cache = Cache::open(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    let compiled = cache.compile(&lists::docker(), NATIVE).unwrap();
    let Origin::CompilerOnly(err) = compiled.origin else {
        panic!("{:?}", compiled.origin);
    };
    assert_eq!(err.to_string(), "write seccomp cache entry");
}

#[test]
fn cache_stays_small() {
    let dir = Dir::new("small");
    let cache = Cache::open(&dir.0).unwrap();
    for errno in 0..150 {
        let section = from_json(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": {errno}}}"#
        ));
        cache.compile(&section, NATIVE).unwrap();
        let entries = dir.entries().len();
        assert!(
            (1..=64).contains(&entries),
            "{entries} entries after {errno}"
        );
    }
}
