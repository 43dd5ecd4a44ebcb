//! The clock of stages, which the environment asks for.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::Error;

/// Names the file.
pub(crate) const VARIABLE: &str = "GREENLANG_STAGES";

/// Has the stages of this command, and of the processes that it makes, noted for the file that `GREENLANG_STAGES`
/// names, if there is such a variable: [`gl_sys::time_stages`].
///
/// # Errors
///
/// [`Error::Stages`] for a file that cannot be used.
pub fn time_stages() -> Result<(), Error> {
    with_file(gl_sys::time_stages)
}

/// Appends them to that file: [`gl_sys::write_stages`].
///
/// # Errors
///
/// [`Error::Stages`] if it cannot be written.
pub fn write_stages() -> Result<(), Error> {
    with_file(gl_sys::write_stages)
}

fn with_file(act: fn(&Path) -> Result<(), Errno>) -> Result<(), Error> {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Ok(());
    };
    act(&path).map_err(|source| Error::Stages { path, source })
}
