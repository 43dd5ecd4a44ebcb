//! What a caller names on the host: a bundle, and documents in it.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::store::read_all;

/// The path of a bundle from the root.
pub(crate) fn absolute(bundle: &Path) -> Result<PathBuf, Error> {
    let failed = Error::file("find the bundle", bundle);
    let path = std::path::absolute(bundle)
        .map_err(|err| failed(Errno::from_io_error(&err).unwrap_or(Errno::INVAL)))?;
    if path.to_str().is_none() {
        return Err(Error::Option {
            option: "--bundle",
            problem: "its path is not UTF-8".into(),
            remedy: "move the bundle to a path that is",
        });
    }
    Ok(path)
}

/// Reads a document up to the limit of `gl-spec`, which refuses what is longer.
///
/// # Errors
///
/// [`Error::File`]; `EINVAL` for what is no file.
pub fn read_document(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || {
        // Without O_NONBLOCK a pipe in its place would hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        if size > gl_spec::MAX_DOCUMENT_BYTES {
            // Only as much as it takes to be refused by its size.
            return Ok(vec![0; size.min(gl_spec::MAX_DOCUMENT_BYTES + 1)]);
        }
        read_all(&file, size)
    };
    read().map_err(Error::file("read", path))
}
