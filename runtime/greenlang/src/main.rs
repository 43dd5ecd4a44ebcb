#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]
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

// The program begins there: see build.rs.
use gl_entry as _;

#[global_allocator]
static MEMORY: gl_sys::Arena = gl_sys::Arena::new();

#[cfg(not(test))]
gl_sys::main!(perform);

#[cfg_attr(test, expect(dead_code, reason = "a test has another main"))]
fn perform() -> u8 {
    if let Some(launched) = gl_runsc::launcher::launch_if_called() {
        return exit::launched(launched);
    }
    let ended = program::run(std::env::args_os().skip(1));
    exit::status(ended.verb, &ended.result)
}
