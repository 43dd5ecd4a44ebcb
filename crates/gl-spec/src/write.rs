//! Writes a configuration as config.json.
//!
//! Here and not where it is needed, so that the OCI types are compiled for writing once: each crate
//! that calls `serde_json` with one of them compiles all of them, some 50 KiB of code.

use crate::oci;

/// The text of a configuration, in one line.
///
/// # Panics
///
/// If a path in it is not UTF-8, as none is that was read from a config.json.
pub fn write(spec: &oci::Spec) -> String {
    serde_json::to_string(spec).expect("paths in a config.json are UTF-8")
}
