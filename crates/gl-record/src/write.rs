//! A profile on disk: whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::Error;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced.
    Replace,
}

/// Writes a file that was not there, or replaces one: nobody ever sees half of it.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::Write`]; what was there is there then.
pub fn write(path: &Path, text: &str, existing: Existing) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let io = |err: std::io::Error| failed(Errno::from_io_error(&err).unwrap_or(Errno::IO));
    let name = path.file_name().ok_or_else(|| failed(Errno::ISDIR))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(hidden);
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .open(&new)
        .map_err(io)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)
        .and_then(|()| {
            let flags = match existing {
                Existing::Keep => RenameFlags::NOREPLACE,
                Existing::Replace => RenameFlags::empty(),
            };
            match rustix::fs::renameat_with(CWD, &new, CWD, path, flags) {
                Err(Errno::EXIST) => Err(Error::Exists {
                    path: path.to_owned(),
                }),
                other => other.map_err(failed),
            }
        });
    if written.is_err() {
        // What failed before is what to tell.
        std::fs::remove_file(&new).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn file_is_written_whole_and_replaced_only_where_asked() {
        let dir = std::env::temp_dir().join(format!("gl-record-write-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("profile.toml");
        write(&path, "one", Existing::Keep).unwrap();
        let err = write(&path, "two", Existing::Keep).unwrap_err().to_string();
        let kept = fs::read_to_string(&path).unwrap();
        write(&path, "three", Existing::Replace).unwrap();
        let now = fs::read_to_string(&path).unwrap();
        let left = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(
            err,
            format!("write {}: it is there already", path.display())
        );
        assert_eq!((kept.as_str(), now.as_str(), left), ("one", "three", 1));
    }
}
