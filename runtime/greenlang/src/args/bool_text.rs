//! Truth values of `--switch=value`.

use std::ffi::OsStr;

/// Reads a truth value in any of the spellings that Go programs accept.
pub(super) fn parse(text: &OsStr) -> Option<bool> {
    match text.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
