//! AppArmor profiles that exist for one container: loaded before its launch, unloaded after its end.

use std::io::Write as _;
use std::process::{Command, Stdio};

use gl_spec::AppArmor;

use crate::error::Error;

/// Where Debian, Ubuntu and SUSE have it: never by `$PATH`, which the caller chose.
const PARSER: &str = "/usr/sbin/apparmor_parser";

/// Loads all of them.
///
/// # Errors
///
/// [`Error::AppArmor`], naming the profile, with what the parser said.
pub(crate) fn load(profiles: &[AppArmor]) -> Result<(), Error> {
    profiles
        .iter()
        .try_for_each(|profile| parse("load", "--replace", profile, &profile.text))
}

/// Unloads all of them; all are tried.
///
/// # Errors
///
/// [`Error::AppArmor`]: the first failure.
pub(crate) fn unload(profiles: &[AppArmor]) -> Result<(), Error> {
    let mut result = Ok(());
    for profile in profiles {
        let text = format!("profile {} {{ }}\n", profile.name);
        result = result.and(parse("unload", "--remove", profile, &text));
    }
    result
}

fn parse(action: &'static str, option: &str, profile: &AppArmor, text: &str) -> Result<(), Error> {
    let failed = |said: String| Error::AppArmor {
        action,
        profile: profile.name.clone(),
        said,
    };
    let mut child = Command::new(PARSER)
        .args([option, "--skip-cache", "--quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| failed(format!("{PARSER}: {err}; install the package apparmor")))?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()),
        None => Ok(()),
    };
    let output = child
        .wait_with_output()
        .map_err(|err| failed(err.to_string()))?;
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    written.map_err(|err| failed(err.to_string()))
}
