#![forbid(unsafe_code)]
//! `greenlang`: the OCI runtime that container engines and people call.
//!
//! Arguments become a typed command ([`args`], [`command`]), one file a verb acts on it ([`verb`]),
//! and how the program ends is decided in one place ([`exit`]).

mod args;
mod command;
mod document;
mod error;
mod exit;
mod help;
mod json;
mod log;
mod program;
mod verb;
mod version;

use std::process::ExitCode;

// The program begins there: see build.rs.
use gl_entry as _;

#[global_allocator]
static MEMORY: gl_sys::Arena = gl_sys::Arena::new();

fn main() -> ExitCode {
    if let Some(launched) = gl_runsc::launcher::launch_if_called() {
        return exit::launched(launched);
    }
    let ended = program::run(std::env::args_os().skip(1));
    exit::status(ended.verb, &ended.result)
}
