//! Directories and entries of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use gl_audit::{Durability, Entry, Event, Hash, Log, Report};
use serde_json::{Map, Value, json};

/// A directory that is removed with all that is in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gl-audit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) fn data(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn open(path: &Path) -> Log {
    Log::open(path, Durability::Kernel).unwrap()
}

/// Appends an entry with a number in it.
pub(crate) fn append(log: &mut Log, number: u64) -> Result<Hash, gl_audit::Error> {
    log.append(&Entry {
        event: Event::Denial,
        id: "box",
        profile_hash: Some("sha256:12"),
        tier: "container",
        mode: "enforcing",
        data: &data(&json!({"number": number})),
    })
}

/// A log with that many lines, and their hashes.
pub(crate) fn filled(path: &Path, lines: u64) -> Vec<Hash> {
    let mut log = open(path);
    (1..=lines)
        .map(|number| append(&mut log, number).unwrap())
        .collect()
}

pub(crate) fn verified(path: &Path) -> Report {
    gl_audit::verify(path, None).unwrap()
}

/// Number, kind and words of the first fault.
pub(crate) fn fault(report: &Report) -> Option<(u64, String, &str)> {
    let fault = report.fault.as_ref()?;
    Some((fault.line, format!("{:?}", fault.kind), fault.what.as_str()))
}
