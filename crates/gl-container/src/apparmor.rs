//! AppArmor profiles that exist for one container: loaded before its launch, unloaded after its end,
//! in a policy namespace of its own (`:NAMESPACE:NAME`), which comes and goes with them.
//!
//! `apparmor_parser` only compiles. The kernel is told by this process, in one write: whoever kills it
//! leaves no other behind that loads the profile later, when `delete` has been.

use std::io::Write as _;
use std::process::{Command, Stdio};

use gl_spec::AppArmor;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Where Debian, Ubuntu and SUSE have it: never by `$PATH`, which the caller chose.
const PARSER: &str = "/usr/sbin/apparmor_parser";
/// Takes compiled profiles.
const REPLACE: &str = "/sys/kernel/security/apparmor/.replace";
/// Takes a name, or that of a namespace.
const REMOVE: &str = "/sys/kernel/security/apparmor/.remove";

/// Loads all of them.
///
/// # Errors
///
/// [`Error::AppArmor`], naming the profile, with what the parser or the kernel said.
pub(crate) fn load(profiles: &[AppArmor]) -> Result<(), Error> {
    profiles.iter().try_for_each(|profile| {
        let compiled = compile(profile)?;
        let said = |(file, errno)| failed("load", profile, format!("{file}: {errno}"));
        write(REPLACE, &compiled).map_err(said)
    })
}

/// Unloads all of them; all are tried. One that is not loaded is fine: a create may have been killed.
///
/// # Errors
///
/// [`Error::AppArmor`]: the first failure.
pub(crate) fn unload(profiles: &[AppArmor]) -> Result<(), Error> {
    let mut result = Ok(());
    for profile in profiles {
        // `:NAMESPACE:` is the namespace, with all that is in it.
        let end = profile.name.rfind(':').map_or(0, |at| at + 1);
        let namespace = profile.name.get(..end).filter(|name| !name.is_empty());
        let name = namespace.unwrap_or(&profile.name);
        let removed = match write(REMOVE, name.as_bytes()) {
            Ok(()) | Err((REMOVE, Errno::NOENT)) => Ok(()),
            Err((file, errno)) => Err(failed("unload", profile, format!("{file}: {errno}"))),
        };
        result = result.and(removed);
    }
    result
}

fn failed(action: &'static str, profile: &AppArmor, said: String) -> Error {
    Error::AppArmor {
        action,
        profile: profile.name.clone(),
        said,
    }
}

/// Writes in one call, as the kernel wants it. The error has the file, or what could not be opened.
fn write(file: &'static str, bytes: &[u8]) -> Result<(), (&'static str, Errno)> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let open = rustix::fs::open(file, flags, Mode::empty());
    let open = open.map_err(|errno| ("open securityfs", errno))?;
    match rustix::io::write(&open, bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err((file, Errno::IO)),
        Err(errno) => Err((file, errno)),
    }
}

/// The profile as the kernel takes it.
fn compile(profile: &AppArmor) -> Result<Vec<u8>, Error> {
    let failed = |said: String| failed("compile", profile, said);
    let mut child = Command::new(PARSER)
        .args(["--stdout", "--skip-cache", "--quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| failed(format!("{PARSER}: {err}; install the package apparmor")))?;
    // It reads all before it writes anything.
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(profile.text.as_bytes()),
        None => Ok(()),
    };
    let output = child
        .wait_with_output()
        .map_err(|err| failed(err.to_string()))?;
    if !output.status.success() || output.stdout.is_empty() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    written.map_err(|err| failed(err.to_string()))?;
    Ok(output.stdout)
}
