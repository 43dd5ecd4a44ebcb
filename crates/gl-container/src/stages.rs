//! The clock of stages, which the environment asks for.

use std::path::PathBuf;

use crate::error::Error;

/// Names the file.
pub(crate) const VARIABLE: &str = "GREENLANG_STAGES";

/// Has the stages of this command, and of the processes that it makes, noted in the file that `GREENLANG_STAGES` names,
/// if there is such a variable: [`gl_sys::time_stages`].
///
/// # Errors
///
/// [`Error::Stages`] for a file that cannot be used; it is left as it is.
pub fn time_stages() -> Result<(), Error> {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Ok(());
    };
    gl_sys::time_stages(&path).map_err(|source| Error::Stages { path, source })
}
