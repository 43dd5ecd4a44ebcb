//! `gl run` on images and bundles: what their configs say, what the profile makes of it, what the cache keeps,
//! and what is refused.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

mod bundles;
mod images;
mod made;
mod refused;
mod users;

use std::process::ExitCode;

use gl_e2e::bundle;

fn main() -> ExitCode {
    bundle::main(&[images::TESTS, bundles::TESTS, refused::TESTS, users::TESTS].concat())
}
