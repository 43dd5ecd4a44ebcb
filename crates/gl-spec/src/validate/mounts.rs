//! `mounts`: destinations, above all that none covers part of `/proc`.
//!
//! The runtime reads and writes below `/proc` to confine the process, so whoever could put
//! something else there could undo it. Types and options are checked where they are translated.

use std::path::{Component, Path, PathBuf};

use super::{field, idmap};
use crate::error::invalid;
use crate::{Error, Problem, Warning, oci};

/// Files of `/proc` that report resources, over which lxcfs-like programs mount what fits the
/// container. None of them takes part in confinement.
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

pub(super) fn check(mounts: &[oci::Mount], warnings: &mut Vec<Warning>) -> Result<(), Error> {
    for (i, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{i}].destination");
        let destination = mount.destination();
        field::path(&field, destination)?;
        if !destination.is_absolute() {
            warnings.push(Warning {
                field: field.clone(),
                message: format!(
                    "{:?} is not an absolute path: taken as from / on",
                    destination.to_string_lossy()
                ),
            });
        }
        over_proc(&field, mount)?;
        id_mappings(i, mount)?;
    }
    Ok(())
}

fn over_proc(field: &str, mount: &oci::Mount) -> Result<(), Error> {
    let destination = clean(mount.destination());
    let accepted = if destination == Path::new("/proc") {
        is_procfs(mount)
    } else if destination.starts_with("/proc") {
        is_bind(mount) && PROC_FILES.iter().any(|file| destination == Path::new(file))
    } else {
        true
    };
    if accepted {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::OverProc {
            seen: mount.destination().to_string_lossy().into_owned(),
        },
    ))
}

/// A new procfs, or the host's: a container that keeps the host's process ids and has a user
/// namespace cannot have a new one. That the source is a procfs indeed is checked on the open mount.
fn is_procfs(mount: &oci::Mount) -> bool {
    if is_bind(mount) {
        // A relative one is in the bundle.
        return mount
            .source()
            .as_deref()
            .is_some_and(|source| source.is_absolute() && clean(source) == Path::new("/proc"));
    }
    mount.typ().as_deref() == Some("proc")
}

fn is_bind(mount: &oci::Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "bind" || option == "rbind")
}

/// The path from `/` on with `.`, `..` and doubled slashes resolved, symbolic links apart.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn id_mappings(index: usize, mount: &oci::Mount) -> Result<(), Error> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let prefix = format!("mounts[{index}].");
    idmap::both_or_none(&prefix, [uids.len(), gids.len()])?;
    idmap::ranges(&format!("{prefix}uidMappings"), uids)?;
    idmap::ranges(&format!("{prefix}gidMappings"), gids)
}
