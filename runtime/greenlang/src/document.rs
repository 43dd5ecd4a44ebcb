//! Reads the documents that options name, up to the length that is accepted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gl_spec::MAX_DOCUMENT_BYTES;

use crate::error::Error;

/// Reads a file, or standard input if it is called `-`. One byte more than the limit at most, so
/// that the parser can say what is wrong.
///
/// # Errors
///
/// It cannot be opened or read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let read = if path.as_os_str() == "-" {
        limited(io::stdin().lock())
    } else {
        File::open(path).and_then(limited)
    };
    read.map_err(|source| Error::ReadFile {
        path: path.to_owned(),
        source,
    })
}

fn limited(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_endless_is_read_to_one_byte_over_the_limit() {
        let bytes = limited(io::repeat(b' ')).unwrap();
        assert_eq!(bytes.len(), MAX_DOCUMENT_BYTES + 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let err = read(Path::new("/nonexistent/process.json")).unwrap_err();
        assert_eq!(err.to_string(), "read /nonexistent/process.json");
    }
}
