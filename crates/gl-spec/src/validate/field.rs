//! The checks that many fields share.

use std::fmt::Display;
use std::path::Path;

use crate::error::invalid;
use crate::oci::{LinuxNamespace, LinuxNamespaceType};
use crate::{Error, Problem, oci};

/// The largest uid or gid. One more is `(uid_t) -1`, which system calls take as "unchanged".
const ID_MAX: u32 = u32::MAX - 1;

/// Joins names with a dot, where there are two.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

pub(super) fn no_nul(field: &str, text: &str) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(invalid(
            field,
            Problem::Nul {
                seen: text.to_owned(),
            },
        ));
    }
    Ok(())
}

/// A path that may be relative, but is not empty.
pub(super) fn path(field: &str, path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() {
        return Err(invalid(field, Problem::Empty));
    }
    no_nul(field, &path.to_string_lossy())
}

pub(super) fn absolute_path(field: &str, seen: &Path) -> Result<(), Error> {
    path(field, seen)?;
    if !seen.is_absolute() {
        return Err(invalid(
            field,
            Problem::Relative {
                seen: seen.to_string_lossy().into_owned(),
            },
        ));
    }
    Ok(())
}

/// A name that becomes one component of a host path.
pub(super) fn file_name(field: &str, seen: &str, expected: &'static str) -> Result<(), Error> {
    let fits = !seen.is_empty()
        && seen.len() <= 255
        && seen != "."
        && seen != ".."
        && !seen.contains(['/', '\0', '\n']);
    if fits {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Format {
            seen: seen.to_owned(),
            expected,
        },
    ))
}

pub(super) fn id(field: &str, seen: u32) -> Result<(), Error> {
    if seen > ID_MAX {
        return Err(invalid(field, Problem::NoId));
    }
    Ok(())
}

pub(super) fn range(
    field: impl Display,
    seen: impl Into<i128>,
    min: i128,
    max: i128,
) -> Result<(), Error> {
    let seen = seen.into();
    if (min..=max).contains(&seen) {
        return Ok(());
    }
    Err(invalid(
        field.to_string(),
        Problem::Range { seen, min, max },
    ))
}

/// Entries of an environment: `NAME=value`.
pub(super) fn environment(field: &str, entries: &[String]) -> Result<(), Error> {
    for (i, entry) in entries.iter().enumerate() {
        if entry.contains('\0') {
            return no_nul(&format!("{field}[{i}]"), entry);
        }
        if entry.find('=').is_none_or(|at| at == 0) {
            return Err(invalid(
                format!("{field}[{i}]"),
                Problem::NotAssignment {
                    seen: entry.clone(),
                },
            ));
        }
    }
    Ok(())
}

/// A list of numbers and ranges, as in `0-3,7`.
pub(super) fn cpu_list(field: &str, seen: &str) -> Result<(), Error> {
    let number = |text: &str| -> Option<u32> {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    let fits = seen.split(',').all(|part| match part.split_once('-') {
        None => number(part).is_some(),
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b)
        }
    });
    if fits {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Format {
            seen: seen.to_owned(),
            expected: "a list such as 0-3,7",
        },
    ))
}

/// The namespaces that a container asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespaces<'a>(&'a [LinuxNamespace]);

impl<'a> Namespaces<'a> {
    pub(super) fn of(spec: &'a oci::Spec) -> Self {
        Self(
            spec.linux()
                .as_ref()
                .and_then(|linux| linux.namespaces().as_deref())
                .unwrap_or_default(),
        )
    }

    pub(super) fn all(self) -> &'a [LinuxNamespace] {
        self.0
    }

    /// Position of the namespace of that type.
    pub(super) fn position(self, typ: LinuxNamespaceType) -> Option<usize> {
        self.0.iter().position(|namespace| namespace.typ() == typ)
    }

    /// Whether a namespace of that type is made for this container.
    pub(super) fn makes(self, typ: LinuxNamespaceType) -> bool {
        self.0
            .iter()
            .any(|namespace| namespace.typ() == typ && namespace.path().is_none())
    }

    /// Requires a namespace of that type, new or joined.
    pub(super) fn require(self, field: &str, typ: LinuxNamespaceType) -> Result<(), Error> {
        if self.position(typ).is_some() {
            return Ok(());
        }
        Err(invalid(
            field,
            Problem::NeedsNamespace {
                namespace: name(typ),
            },
        ))
    }

    /// Requires a namespace of that type that is made for this container.
    pub(super) fn require_new(self, field: &str, typ: LinuxNamespaceType) -> Result<(), Error> {
        let Some(position) = self.position(typ) else {
            return self.require(field, typ);
        };
        if self.makes(typ) {
            return Ok(());
        }
        Err(invalid(
            field,
            Problem::NeedsNewNamespace {
                namespace: name(typ),
                field: format!("linux.namespaces[{position}].path"),
            },
        ))
    }
}

/// The type as `linux.namespaces` spells it.
pub(super) fn name(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}
