//! Prints the seccomp sections that built-in profiles come to, by name, for tests of the groups in
//! containers: `export-seccomp NAME…`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;

use gl_profile::Profile;
use gl_profile::seccomp::Filter;

fn main() -> Result<(), Box<dyn Error>> {
    let mut sections = BTreeMap::new();
    for name in std::env::args().skip(1) {
        let profile = Profile::resolve(name.as_str(), &())?;
        let filter = Filter::new(&profile.seccomp, profile.mode.value, gl_seccomp::NATIVE)?;
        sections.insert(name, filter.oci());
    }
    println!("{}", serde_json::to_string_pretty(&sections)?);
    Ok(())
}
