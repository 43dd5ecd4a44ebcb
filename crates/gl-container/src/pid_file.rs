//! Pid files, which engines wait for.

use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::Error;
use crate::store::write_all;

/// Writes a pid file so that whoever watches it sees the whole number or no file.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", rustix::process::getpid()));
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&new, flags, Mode::from_raw_mode(0o644))?;
        let written = write_all(&file, pid.to_string().as_bytes())
            .and_then(|()| rustix::fs::rename(&new, path));
        if written.is_err() {
            rustix::fs::unlink(&new)?;
        }
        written
    };
    write().map_err(|source| Error::Option {
        option: "--pid-file",
        problem: format!("write {}: {source}", path.display()).into(),
        remedy: "name a file in a directory that exists and can be written",
    })
}
