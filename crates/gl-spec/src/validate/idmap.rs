//! `linux.uidMappings` and `linux.gidMappings`: which ids the user namespace has, and whether the
//! process's ids are among them. `user_namespaces(7)`.

use super::field::Namespaces;
use crate::error::invalid;
use crate::oci::{LinuxIdMapping, LinuxNamespaceType};
use crate::{Error, Problem, oci};

/// Most ranges that the kernel takes (`UID_GID_MAP_MAX_EXTENTS`).
const RANGES_MAX: usize = 340;

pub(super) fn check(
    linux: &oci::Linux,
    user: &oci::User,
    namespaces: Namespaces<'_>,
) -> Result<(), Error> {
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    for (field, mappings) in [("linux.uidMappings", uids), ("linux.gidMappings", gids)] {
        if !mappings.is_empty() {
            namespaces.require(field, LinuxNamespaceType::User)?;
        }
        ranges(field, mappings)?;
    }
    both_or_none("linux.", [uids.len(), gids.len()])?;
    // Without mappings the launch takes the caller's own, and a joined namespace has its own.
    if uids.is_empty() || !namespaces.makes(LinuxNamespaceType::User) {
        return Ok(());
    }
    mapped("process.user.uid", user.uid(), "linux.uidMappings", uids)?;
    mapped("process.user.gid", user.gid(), "linux.gidMappings", gids)?;
    for (i, gid) in user.additional_gids().iter().flatten().enumerate() {
        let field = format!("process.user.additionalGids[{i}]");
        mapped(&field, *gid, "linux.gidMappings", gids)?;
    }
    Ok(())
}

/// Requires that of two lists of mappings, of that many elements, both or none are given.
pub(super) fn both_or_none(prefix: &str, lengths: [usize; 2]) -> Result<(), Error> {
    let [uids, gids] = lengths.map(|length| length != 0);
    if uids == gids {
        return Ok(());
    }
    let (given, other) = if uids {
        ("uidMappings", "gidMappings")
    } else {
        ("gidMappings", "uidMappings")
    };
    Err(invalid(
        format!("{prefix}{given}"),
        Problem::Needs { other },
    ))
}

/// Checks what the kernel checks when the map is written, where it only says `EINVAL`.
pub(super) fn ranges(field: &str, mappings: &[LinuxIdMapping]) -> Result<(), Error> {
    super::field::range(
        format_args!("number of {field}"),
        i128::try_from(mappings.len()).unwrap_or(i128::MAX),
        0,
        i128::try_from(RANGES_MAX).unwrap_or(i128::MAX),
    )?;
    for (i, mapping) in mappings.iter().enumerate() {
        let size = mapping.size();
        if size == 0 {
            return Err(invalid(
                format!("{field}[{i}].size"),
                Problem::Range {
                    seen: 0,
                    min: 1,
                    max: u32::MAX.into(),
                },
            ));
        }
        for (start, name) in [
            (mapping.container_id(), "containerID"),
            (mapping.host_id(), "hostID"),
        ] {
            if start.checked_add(size).is_none() {
                return Err(invalid(
                    format!("{field}[{i}].{name}"),
                    Problem::IdOverflow { start, size },
                ));
            }
        }
        for (j, other) in mappings[..i].iter().enumerate() {
            overlap(
                &format!("{field}[{i}]"),
                mapping,
                &format!("{field}[{j}]"),
                other,
            )?;
        }
    }
    Ok(())
}

fn overlap(
    field: &str,
    mapping: &LinuxIdMapping,
    other_field: &str,
    other: &LinuxIdMapping,
) -> Result<(), Error> {
    for (side, a, b) in [
        ("container", mapping.container_id(), other.container_id()),
        ("host", mapping.host_id(), other.host_id()),
    ] {
        // Neither sum overflows: both were checked.
        if a < b + other.size() && b < a + mapping.size() {
            return Err(invalid(
                field,
                Problem::IdOverlap {
                    side,
                    other: other_field.to_owned(),
                },
            ));
        }
    }
    Ok(())
}

fn mapped(
    field: &str,
    id: u32,
    mappings_field: &'static str,
    mappings: &[LinuxIdMapping],
) -> Result<(), Error> {
    let is_mapped = mappings.iter().any(|mapping| {
        id.checked_sub(mapping.container_id())
            .is_some_and(|offset| offset < mapping.size())
    });
    if is_mapped {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Unmapped {
            id,
            mappings: mappings_field,
        },
    ))
}
