//! The groups that are built in: the files of `profiles/seccomp`.

use crate::error::Error;
use crate::seccomp::group::{Group, parse_group};

/// A list of files by their names.
macro_rules! groups {
    ($($name:literal),+ $(,)?) => {
        &[$((
            $name,
            concat!("profiles/seccomp/", $name, ".toml"),
            include_str!(concat!("../../../../profiles/seccomp/", $name, ".toml")),
        )),+]
    };
}

/// Name, file and text.
const GROUPS: &[(&str, &str, &str)] = groups![
    "aio",
    "debugging",
    "descriptors",
    "device-control",
    "file-handles",
    "files-attributes",
    "files-read",
    "files-watch",
    "files-write",
    "identity",
    "io-uring",
    "ipc-sysv",
    "kernel-code",
    "keyring",
    "memory",
    "mounts",
    "namespaces",
    "numa",
    "process-forging",
    "process-self",
    "processes",
    "profiling",
    "scheduling",
    "self-sandboxing",
    "sockets-client",
    "sockets-kernel",
    "sockets-pair",
    "sockets-raw",
    "sockets-server",
    "sockets-unix",
    "system-control",
    "terminal-injection",
    "terminal-read",
    "threads",
    "time",
    "userfaults",
];

/// Tells the built-in groups from those of another version: FNV-1a over all their texts.
pub const EDITION: u64 = edition();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "worked out by the compiler, where a fault ends the build"
)]
const fn edition() -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut group = 0;
    while group < GROUPS.len() {
        let text = GROUPS[group].2.as_bytes();
        let mut at = 0;
        while at < text.len() {
            hash = (hash ^ text[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        group += 1;
    }
    hash
}

/// The names of all groups, in order.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.0)
}

/// Reads a group, or nothing if there is none of this name.
///
/// # Errors
///
/// As [`parse_group`], if the file is wrong; tests read them all.
pub fn group(name: &str) -> Result<Option<Group>, Error> {
    let mut all = GROUPS.iter();
    match all.find(|group| group.0 == name) {
        None => Ok(None),
        Some((_, file, text)) => parse_group(file, text).map(Some),
    }
}
