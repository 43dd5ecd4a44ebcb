//! `linux.resources`: values that no kernel takes, and names that become file names below
//! `/sys/fs/cgroup`. What the host's controllers have is found out where they are written.

use super::field::{self, join};
use crate::error::invalid;
use crate::oci::LinuxDeviceType;
use crate::{Error, Problem, oci};

/// Checks the resources; `prefix` is the name of the object, empty for a document of its own.
pub(super) fn check(prefix: &str, resources: &oci::LinuxResources) -> Result<(), Error> {
    let name = |field: &str| join(prefix, field);
    for (i, rule) in resources.devices().iter().flatten().enumerate() {
        device(&name(&format!("devices[{i}]")), rule)?;
    }
    if let Some(swappiness) = resources.memory().and_then(|memory| memory.swappiness()) {
        field::range(name("memory.swappiness"), swappiness, 0, 100)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_time(&name("cpu"), cpu)?;
    }
    if let Some(io) = resources.block_io() {
        block_io(&name("blockIO"), io)?;
    }
    for (i, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        page_size(
            &name(&format!("hugepageLimits[{i}].pageSize")),
            limit.page_size(),
        )?;
    }
    for key in resources
        .unified()
        .iter()
        .flat_map(|unified| unified.keys())
    {
        field::file_name(
            &name(&format!("unified[{key:?}]")),
            key,
            "the name of a cgroup file, without a slash",
        )?;
    }
    for device in resources.rdma().iter().flat_map(|rdma| rdma.keys()) {
        word(&name(&format!("rdma[{device:?}]")), device)?;
    }
    let priorities = resources
        .network()
        .iter()
        .filter_map(|network| network.priorities().as_ref());
    for (i, priority) in priorities.flatten().enumerate() {
        word(
            &name(&format!("network.priorities[{i}].name")),
            priority.name(),
        )?;
    }
    Ok(())
}

fn device(prefix: &str, rule: &oci::LinuxDeviceCgroup) -> Result<(), Error> {
    if let Some(typ @ (LinuxDeviceType::U | LinuxDeviceType::P)) = rule.typ() {
        return Err(invalid(
            join(prefix, "type"),
            Problem::Unknown {
                seen: typ.as_str().to_owned(),
                accepted: "a, b, c",
            },
        ));
    }
    for (name, number) in [("major", rule.major()), ("minor", rule.minor())] {
        if let Some(number) = number {
            // -1 stands for any.
            field::range(join(prefix, name), number, -1, u32::MAX.into())?;
        }
    }
    let access = rule.access().as_deref().unwrap_or_default();
    if access.chars().all(|c| matches!(c, 'r' | 'w' | 'm')) {
        return Ok(());
    }
    Err(invalid(
        join(prefix, "access"),
        Problem::Format {
            seen: access.to_owned(),
            expected: "letters of \"rwm\"",
        },
    ))
}

fn cpu_time(prefix: &str, cpu: &oci::LinuxCpu) -> Result<(), Error> {
    if let Some(idle) = cpu.idle() {
        field::range(join(prefix, "idle"), idle, 0, 1)?;
    }
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            field::cpu_list(&join(prefix, name), list)?;
        }
    }
    Ok(())
}

fn block_io(prefix: &str, io: &oci::LinuxBlockIo) -> Result<(), Error> {
    // 0 means that nothing is asked for.
    for (name, weight) in [("weight", io.weight()), ("leafWeight", io.leaf_weight())] {
        if let Some(weight) = weight.filter(|weight| *weight != 0) {
            field::range(join(prefix, name), weight, 10, 1000)?;
        }
    }
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        let prefix = join(prefix, &format!("weightDevice[{i}]"));
        device_number(&prefix, device.major(), device.minor())?;
    }
    for (name, throttles) in [
        ("throttleReadBpsDevice", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", io.throttle_write_iops_device()),
    ] {
        for (i, device) in throttles.iter().flatten().enumerate() {
            let prefix = join(prefix, &format!("{name}[{i}]"));
            device_number(&prefix, device.major(), device.minor())?;
        }
    }
    Ok(())
}

/// The number of a device: the kernel has 12 bits for the major and 20 for the minor.
pub(super) fn device_number(prefix: &str, major: i64, minor: i64) -> Result<(), Error> {
    field::range(join(prefix, "major"), major, 0, 0xfff)?;
    field::range(join(prefix, "minor"), minor, 0, 0xf_ffff)
}

/// A page size as in the name of a hugetlb file: digits and a unit.
fn page_size(field: &str, seen: &str) -> Result<(), Error> {
    let digits = seen
        .strip_suffix("KB")
        .or_else(|| seen.strip_suffix("MB"))
        .or_else(|| seen.strip_suffix("GB"));
    let fits = digits.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    });
    if fits {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Format {
            seen: seen.to_owned(),
            expected: "a page size such as 64KB, 2MB or 1GB",
        },
    ))
}

/// A word in a line that is written to the kernel.
fn word(field: &str, seen: &str) -> Result<(), Error> {
    let fits = !seen.is_empty() && !seen.contains(|c: char| c.is_whitespace() || c == '\0');
    if fits {
        return Ok(());
    }
    Err(invalid(
        field,
        Problem::Format {
            seen: seen.to_owned(),
            expected: "a device name without spaces",
        },
    ))
}
