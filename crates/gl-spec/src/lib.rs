#![forbid(unsafe_code)]
//! config.json: load, validate, features, state document.

mod classify;

pub use classify::{Class, Classify, chain};
pub use oci_spec::runtime as oci;
