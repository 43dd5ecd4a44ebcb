//! `gl run --tier gvisor`: what [gvisor.md] says of who enforces what and of what is refused, line by line, with
//! the statuses and the report of every other tier.
//!
//! Needs a runsc of the system and a `gl` that is linked statically.
//!
//! [gvisor.md]: ../../../docs/gvisor.md
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

mod bounds;
mod life;
mod refused;

use std::path::Path;
use std::process::ExitCode;

use gl_e2e::Skip;
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::command::Output;
use gl_e2e::gl;
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(&[life::TESTS, bounds::TESTS, refused::TESTS].concat())
}

/// A root of busybox, where there is a runsc.
fn root() -> Result<Bundle, Skip> {
    gl::gl()?;
    let dirs = ["/usr/local/bin", "/usr/bin"];
    match dirs
        .iter()
        .any(|dir| Path::new(dir).join("runsc").is_file())
    {
        true => Ok(Bundle::new()),
        false => Err(Skip("no runsc".to_owned())),
    }
}

/// Options that run on it.
fn on(root: &Bundle) -> [String; 4] {
    let path = root.rootfs().to_str().unwrap().to_owned();
    ["--tier".into(), "gvisor".into(), "--rootfs".into(), path]
}

/// Runs a script on it with more options, and reads the report.
fn reported(root: &Bundle, options: &[&str], script: &str) -> (Output, Value) {
    let own = on(root);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    gl::reported(&[&own, options].concat(), script).unwrap()
}

/// The lines of the report about this.
fn layers<'a>(report: &'a Value, requested: &str) -> Vec<&'a Value> {
    let all = report["layers"].as_array().unwrap().iter();
    all.filter(|one| one["requested"] == requested).collect()
}

/// A profile in a file of a directory of the test.
fn profile(root: &Bundle, lines: &str) -> String {
    let path = root.dir().join("own.toml");
    std::fs::write(&path, format!("version = 1\nname = \"own\"\n{lines}")).unwrap();
    path.to_str().unwrap().to_owned()
}
