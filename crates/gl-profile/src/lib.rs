//! GreenLang profiles: text in, a checked [`Layer`] or an [`Error`] with its place out.
//!
//! Pure: no I/O, no clock, no environment.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod decode;
mod error;
mod json;
mod model;
mod node;
mod value;
mod word;

pub use error::{Error, Place};
pub use model::{Layer, Limits, Network, Process, SCHEMA_VERSION, Seccomp, parse};
pub use node::{Format, MAX_PROFILE_BYTES};
pub use value::{Bytes, Count, Isolation, Level, Located, Mode, Name, OnMissing, Origin, Seconds};
