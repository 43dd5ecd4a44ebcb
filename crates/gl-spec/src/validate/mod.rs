//! Checks everything about a config.json that can be said without the host.
//!
//! One file a chapter of runtime-spec. Each check answers with the first fault: its field, the value
//! seen and what to do. Mount types and options and the seccomp rules are checked where they are
//! translated.

mod field;
mod hooks;
mod idmap;
mod linux;
mod mounts;
mod process;
mod resources;
mod sysctl;

use crate::error::invalid;
use crate::{Error, Problem, Warning, oci};
use field::Namespaces;

pub use sysctl::sysctl_name;

/// Longest host or domain name that the kernel keeps (`__NEW_UTS_LEN`), in bytes.
const UTS_NAME_MAX: usize = 64;

/// Checks a whole config.json.
///
/// # Spec
///
/// Stricter than runtime-spec in one thing: a container without a mount namespace of its own is
/// refused, because its mounts would be the host's.
///
/// # Errors
///
/// [`Error::Invalid`] for the first fault.
pub fn validate(spec: &oci::Spec) -> Result<Vec<Warning>, Error> {
    let mut warnings = Vec::new();
    version(spec.version(), &mut warnings)?;
    root(spec.root().as_ref())?;
    let namespaces = Namespaces::of(spec);
    let Some(process) = spec.process() else {
        return Err(invalid("process", Problem::Missing));
    };
    process::check("process", process)?;
    let Some(linux) = spec.linux() else {
        return Err(invalid("linux", Problem::Missing));
    };
    linux::check_namespaces(namespaces)?;
    uts_name("hostname", spec.hostname().as_deref(), namespaces)?;
    uts_name("domainname", spec.domainname().as_deref(), namespaces)?;
    if let Some(hooks) = spec.hooks() {
        hooks::check(hooks)?;
    }
    mounts::check(spec.mounts().as_deref().unwrap_or_default(), &mut warnings)?;
    linux::check(linux, namespaces)?;
    idmap::check(linux, process.user(), namespaces)?;
    annotations(spec, &mut warnings);
    Ok(warnings)
}

/// Checks the process of an `exec`.
///
/// # Errors
///
/// [`Error::Invalid`] for the first fault, with fields counted from the process object on.
pub fn validate_process(process: &oci::Process) -> Result<(), Error> {
    process::check("", process)
}

/// Checks the resources of an `update`.
///
/// # Errors
///
/// [`Error::Invalid`] for the first fault, with fields counted from the resources object on.
pub fn validate_resources(resources: &oci::LinuxResources) -> Result<(), Error> {
    resources::check("", resources)
}

/// # Spec
///
/// `config.md`, "Specification version": `SemVer` 2.0.0. A newer minor version adds fields that may
/// be ignored, a newer major one may mean something else.
fn version(seen: &str, warnings: &mut Vec<Warning>) -> Result<(), Error> {
    if seen.is_empty() {
        return Err(invalid("ociVersion", Problem::Missing));
    }
    let core = seen.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = core.split('.').map(|n| {
        let is_number = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        if is_number {
            n.parse::<u32>().ok()
        } else {
            None
        }
    });
    let (Some(Some(major)), Some(Some(minor)), Some(Some(_)), None) = (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) else {
        return Err(invalid(
            "ociVersion",
            Problem::Format {
                seen: seen.to_owned(),
                expected: "a version such as 1.2.0",
            },
        ));
    };
    if major != 1 {
        return Err(invalid(
            "ociVersion",
            Problem::Version {
                seen: seen.to_owned(),
            },
        ));
    }
    if minor > 3 {
        warnings.push(Warning {
            field: "ociVersion".to_owned(),
            message: format!("version {seen:?} is newer than 1.3: fields it adds are ignored"),
        });
    }
    Ok(())
}

fn root(root: Option<&oci::Root>) -> Result<(), Error> {
    let Some(root) = root else {
        return Err(invalid("root", Problem::Missing));
    };
    field::path("root.path", root.path())
}

/// # Spec
///
/// `config.md`, "Hostname": without a UTS namespace it would be the host's name. A joined one is
/// accepted, as the members of a pod share theirs.
fn uts_name(field: &str, name: Option<&str>, namespaces: Namespaces<'_>) -> Result<(), Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    namespaces.require(field, oci::LinuxNamespaceType::Uts)?;
    if name.len() > UTS_NAME_MAX {
        return Err(invalid(
            field,
            Problem::TooLong {
                length: name.len(),
                limit: UTS_NAME_MAX,
            },
        ));
    }
    field::no_nul(field, name)
}

fn annotations(spec: &oci::Spec, warnings: &mut Vec<Warning>) {
    let has_empty_key = spec
        .annotations()
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(""));
    if has_empty_key {
        warnings.push(Warning {
            field: "annotations".to_owned(),
            message: "an annotation without a name is ignored".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
