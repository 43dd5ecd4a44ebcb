//! The v2 driver against the real hierarchy, as root.
//!
//! Each test makes cgroups below a name of its own and removes them, and ends only its own processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "also in what tests share, a step that fails is a failed test, and a skip is said"
)]

mod create;
mod devices;
mod disk;
mod enforced;
mod limits;
mod processes;
mod support;
