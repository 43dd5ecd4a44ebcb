//! The log in real files, and a journald of the tests' own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod journal;
mod log;
mod support;
mod verify;
