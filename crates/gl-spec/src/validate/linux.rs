//! `linux`: namespaces, devices, paths and the smaller sections.

use std::collections::HashMap;
use std::path::Path;

use super::field::{self, Namespaces};
use super::{resources, sysctl};
use crate::error::invalid;
use crate::oci::{LinuxDeviceType, LinuxNamespaceType, MemoryPolicyFlagType, MemoryPolicyModeType};
use crate::{Error, Problem, oci};

/// Longest name of a network device with its NUL byte (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;

pub(super) fn check(linux: &oci::Linux, namespaces: Namespaces<'_>) -> Result<(), Error> {
    sysctl::check(linux, namespaces)?;
    if let Some(wanted) = linux.resources() {
        resources::check("linux.resources", wanted)?;
    }
    if let Some(path) = linux.cgroups_path() {
        field::path("linux.cgroupsPath", path)?;
    }
    for (i, wanted) in linux.devices().iter().flatten().enumerate() {
        device(&format!("linux.devices[{i}]"), wanted)?;
    }
    propagation(linux.rootfs_propagation().as_deref())?;
    for (name, paths) in [
        ("maskedPaths", linux.masked_paths()),
        ("readonlyPaths", linux.readonly_paths()),
    ] {
        for (i, path) in paths.iter().flatten().enumerate() {
            field::absolute_path(&format!("linux.{name}[{i}]"), Path::new(path))?;
        }
    }
    if let Some(rdt) = linux.intel_rdt() {
        intel_rdt(rdt)?;
    }
    if let Some(policy) = linux.memory_policy() {
        memory_policy(policy)?;
    }
    if let Some(personality) = linux.personality() {
        check_personality(personality)?;
    }
    if let Some(offsets) = linux.time_offsets() {
        time_offsets(offsets, namespaces)?;
    }
    match linux.net_devices() {
        Some(devices) => net_devices(devices, namespaces),
        None => Ok(()),
    }
}

/// # Spec
///
/// `config-linux.md`, "Namespaces": a type that stands twice is an error, and a path is absolute.
pub(super) fn check_namespaces(namespaces: Namespaces<'_>) -> Result<(), Error> {
    for (i, namespace) in namespaces.all().iter().enumerate() {
        let typ = namespace.typ();
        let first = namespaces.position(typ).unwrap_or(i);
        if first != i {
            return Err(invalid(
                format!("linux.namespaces[{i}].type"),
                Problem::Duplicate {
                    seen: field::name(typ).to_owned(),
                    first: format!("linux.namespaces[{first}]"),
                },
            ));
        }
        if let Some(path) = namespace.path() {
            field::absolute_path(&format!("linux.namespaces[{i}].path"), path)?;
        }
    }
    // SPEC: runtime-spec would let the container share the host's mounts.
    namespaces.require("root", LinuxNamespaceType::Mount)
}

fn device(prefix: &str, device: &oci::LinuxDevice) -> Result<(), Error> {
    field::absolute_path(&format!("{prefix}.path"), device.path())?;
    for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
        if let Some(id) = id {
            field::id(&format!("{prefix}.{name}"), id)?;
        }
    }
    match device.typ() {
        LinuxDeviceType::P => Ok(()),
        LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U => {
            resources::device_number(prefix, device.major(), device.minor())
        }
        LinuxDeviceType::A => Err(invalid(
            format!("{prefix}.type"),
            Problem::Unknown {
                seen: "a".to_owned(),
                accepted: "b, c, u, p",
            },
        )),
    }
}

/// # Spec
///
/// `config-linux.md`, "Rootfs Mount Propagation"; the recursive spellings mean the same here.
fn propagation(seen: Option<&str>) -> Result<(), Error> {
    match seen {
        None
        | Some(
            "" | "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" | "unbindable"
            | "runbindable",
        ) => Ok(()),
        Some(seen) => Err(invalid(
            "linux.rootfsPropagation",
            Problem::Unknown {
                seen: seen.to_owned(),
                accepted: "private, slave, shared, unbindable",
            },
        )),
    }
}

/// # Spec
///
/// `config-linux.md`, "Memory policy"; the combinations are those of `set_mempolicy(2)`.
fn memory_policy(policy: &oci::LinuxMemoryPolicy) -> Result<(), Error> {
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    let mode = policy.mode();
    let flags = policy.flags().as_deref().unwrap_or_default();
    let takes_nodes = !matches!(
        mode,
        MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal
    );
    let may_lack_nodes = !takes_nodes || mode == MemoryPolicyModeType::MpolPreferred;
    if nodes.is_empty() && !may_lack_nodes {
        return Err(invalid("linux.memoryPolicy.nodes", Problem::Missing));
    }
    if !nodes.is_empty() {
        if !takes_nodes {
            return Err(invalid(
                "linux.memoryPolicy.nodes",
                Problem::Contradicts {
                    seen: nodes.to_owned(),
                    other: format!("linux.memoryPolicy.mode {mode}"),
                },
            ));
        }
        field::cpu_list("linux.memoryPolicy.nodes", nodes)?;
    }
    let has = |flag| flags.contains(&flag);
    if has(MemoryPolicyFlagType::MpolFStaticNodes) && has(MemoryPolicyFlagType::MpolFRelativeNodes)
    {
        return Err(invalid(
            "linux.memoryPolicy.flags",
            Problem::Contradicts {
                seen: "MPOL_F_STATIC_NODES".to_owned(),
                other: "MPOL_F_RELATIVE_NODES".to_owned(),
            },
        ));
    }
    Ok(())
}

/// # Spec
///
/// `config-linux.md`, "Personality": no flag is defined.
fn check_personality(personality: &oci::LinuxPersonality) -> Result<(), Error> {
    match personality.flags().iter().flatten().next() {
        None => Ok(()),
        Some(flag) => Err(invalid(
            "linux.personality.flags[0]",
            Problem::Unknown {
                seen: flag.clone(),
                accepted: "none: runtime-spec defines no flag",
            },
        )),
    }
}

/// # Spec
///
/// `config-linux.md`, "Offset for Time Namespace": set before the first process enters it, so only
/// in a new one.
fn time_offsets(
    offsets: &HashMap<String, oci::LinuxTimeOffset>,
    namespaces: Namespaces<'_>,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    namespaces.require_new("linux.timeOffsets", LinuxNamespaceType::Time)?;
    // In one order, so that the same config is refused for the same reason.
    let mut offsets: Vec<_> = offsets.iter().collect();
    offsets.sort_by_key(|(clock, _)| *clock);
    for (clock, offset) in offsets {
        let field = format!("linux.timeOffsets[{clock:?}]");
        if clock != "monotonic" && clock != "boottime" {
            return Err(invalid(
                field,
                Problem::Unknown {
                    seen: clock.clone(),
                    accepted: "monotonic, boottime",
                },
            ));
        }
        if let Some(nanos) = offset.nanosecs() {
            field::range(format_args!("{field}.nanosecs"), nanos, 0, 999_999_999)?;
        }
    }
    Ok(())
}

/// # Spec
///
/// `config-linux.md`, "IntelRdt": one line each, and the bandwidth's begins with `MB:`.
fn intel_rdt(rdt: &oci::LinuxIntelRdt) -> Result<(), Error> {
    if let Some(group) = rdt.clos_id() {
        field::file_name(
            "linux.intelRdt.closID",
            group,
            "the name of a directory, without a slash",
        )?;
    }
    let refused = |field: String, seen: &str, expected| {
        Err(invalid(
            field,
            Problem::Format {
                seen: seen.to_owned(),
                expected,
            },
        ))
    };
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.contains(['\n', '\0']) {
            let field = format!("linux.intelRdt.schemata[{index}]");
            return refused(field, line, "one line");
        }
    }
    match rdt.mem_bw_schema().as_deref() {
        Some(line) if !line.is_empty() && (!line.starts_with("MB:") || line.contains('\n')) => {
            let field = "linux.intelRdt.memBwSchema".to_owned();
            refused(field, line, "one line that begins with MB:")
        }
        _ => Ok(()),
    }
}

/// # Spec
///
/// `config-linux.md`, "Network Devices": moved into a network namespace that is not the runtime's.
fn net_devices(
    devices: &HashMap<String, oci::LinuxNetDevice>,
    namespaces: Namespaces<'_>,
) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    namespaces.require("linux.netDevices", LinuxNamespaceType::Network)?;
    let mut sorted: Vec<_> = devices.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut inside: HashMap<&str, &str> = HashMap::new();
    for (name, device) in sorted {
        let field = format!("linux.netDevices[{name:?}]");
        device_name(&field, name)?;
        let renamed = device.name().as_deref().filter(|name| !name.is_empty());
        if let Some(renamed) = renamed {
            // The kernel chooses a number there.
            let plain = renamed.strip_suffix("%d").unwrap_or(renamed);
            device_name(&format!("{field}.name"), plain)?;
        }
        if renamed.is_some_and(|name| name.ends_with("%d")) {
            continue;
        }
        if let Some(first) = inside.insert(renamed.unwrap_or(name), name) {
            return Err(invalid(
                format!("{field}.name"),
                Problem::Duplicate {
                    seen: renamed.unwrap_or(name).to_owned(),
                    first: format!("linux.netDevices[{first:?}]"),
                },
            ));
        }
    }
    Ok(())
}

fn device_name(field: &str, seen: &str) -> Result<(), Error> {
    let fits = !seen.is_empty()
        && seen.len() < IFNAMSIZ
        && seen != "."
        && seen != ".."
        && !seen.contains(|c: char| matches!(c, '/' | ':' | '%' | '\0') || c.is_whitespace());
    if fits {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Format {
            seen: seen.to_owned(),
            expected: "the name of a network device of at most 15 bytes",
        },
    ))
}
