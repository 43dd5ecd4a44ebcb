//! What a process can see and do in its file tree: mounts, devices, masked and read-only paths.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{Error, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::names;
use crate::process::text;

/// Directories below `/dev` that are file systems of their own, whose content is not the runtime's.
const OTHER_FILE_SYSTEMS: &[&str] = &["/dev/mqueue", "/dev/shm"];

/// Adds the sections; `paths` are tried, `settings` are read below `/proc/sys`.
pub(crate) fn sections(paths: &[String], settings: &[String], into: &mut Map<String, Value>) {
    into.insert("mountinfo".to_owned(), text("/proc/self/mountinfo"));
    let mut devices = BTreeMap::new();
    list_devices(Path::new("/dev"), &mut devices);
    into.insert("devices".to_owned(), json!(devices));
    let tried = paths
        .iter()
        .map(|path| (path.clone(), attempts(Path::new(path))));
    into.insert("paths".to_owned(), tried.collect());
    let read = settings.iter().map(|key| {
        (
            key.clone(),
            text(&format!("/proc/sys/{}", key.replace('.', "/"))),
        )
    });
    into.insert("settings".to_owned(), read.collect());
}

/// What is below `/dev`: kind, mode, owner, numbers; links with their targets; whether devices open.
fn list_devices(dir: &Path, into: &mut BTreeMap<String, Value>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.to_string_lossy().into_owned();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        into.insert(name.clone(), device(&path, &meta));
        if meta.is_dir() && !OTHER_FILE_SYSTEMS.contains(&name.as_str()) {
            list_devices(&path, into);
        }
    }
}

fn device(path: &Path, meta: &Metadata) -> Value {
    let mut found = description(meta);
    if meta.is_symlink() {
        let target = fs::read_link(path).map(|t| t.to_string_lossy().into_owned());
        found["target"] = names::value(target);
    }
    let kind = meta.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        found["numbers"] =
            format!("{}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev())).into();
        // A device opens for reading and for writing, or the reason why not; nothing is transferred.
        found["read"] = names::value(open(path, true, false).map(|_| "opens"));
        found["write"] = names::value(open(path, false, true).map(|_| "opens"));
    }
    found
}

fn open(path: &Path, read: bool, write: bool) -> Result<File, Error> {
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

fn description(meta: &Metadata) -> Value {
    json!({
        "kind": kind(meta.file_type()),
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "owner": format!("{}:{}", meta.uid(), meta.gid()),
    })
}

fn kind(of: FileType) -> &'static str {
    match of {
        _ if of.is_dir() => "directory",
        _ if of.is_file() => "file",
        _ if of.is_symlink() => "link",
        _ if of.is_char_device() => "character device",
        _ if of.is_block_device() => "block device",
        _ if of.is_fifo() => "pipe",
        _ => "socket",
    }
}

/// What the path is, and what becomes of reading and of writing there. Files are opened for writing, but
/// not written; in a directory one is made and removed.
fn attempts(path: &Path) -> Value {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(failure) => return names::errno(&failure).into(),
    };
    let mut found = description(&meta);
    if meta.is_dir() {
        let list = fs::read_dir(path).map(|list| match list.count() {
            0 => "empty",
            _ => "has entries",
        });
        let inside = path.join(".oracle");
        let made = fs::create_dir(&inside).and_then(|()| fs::remove_dir(&inside));
        found["read"] = names::value(list);
        found["write"] = names::value(made.map(|()| "works"));
        return found;
    }
    let first = open(path, true, false).and_then(|mut file| file.read(&mut [0]));
    found["read"] = names::value(first.map(|count| match count {
        0 => "empty",
        _ => "has content",
    }));
    found["write"] = names::value(open(path, false, true).map(|_| "opens"));
    found
}
