//! Prints the seccomp section that a built-in profile comes to, for tests of the groups in containers:
//! `export-seccomp NAME`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;

use gl_profile::Profile;
use gl_profile::seccomp::Filter;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args()
        .nth(1)
        .ok_or("usage: export-seccomp NAME")?;
    let profile = Profile::resolve(name.as_str(), &())?;
    let filter = Filter::new(&profile.seccomp, profile.mode.value, gl_seccomp::NATIVE)?;
    println!("{}", serde_json::to_string_pretty(&filter.oci())?);
    Ok(())
}
