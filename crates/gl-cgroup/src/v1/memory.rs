//! `linux.resources.memory` for the memory controller of v1.

use gl_spec::oci::LinuxMemory;

use super::settings::{Absent, Purpose, Setting, Settings};
use crate::controller::Controller::Memory;
use crate::error::Error;

/// Limits in bytes, -1 for none; 0 means "not set", as engines send it.
///
/// `checkBeforeUpdate` needs nothing here: v1 itself refuses a limit that is below what cannot be
/// reclaimed (`EBUSY`), and leaves the old one.
pub(crate) fn memory(
    memory: &LinuxMemory,
    purpose: Purpose,
    out: &mut Settings,
) -> Result<(), Error> {
    if let Some(hierarchy) = memory.use_hierarchy() {
        out.one(Setting::new(
            "linux.resources.memory.useHierarchy",
            Memory,
            "memory.use_hierarchy",
            u8::from(hierarchy),
        ));
    }
    out.joint(limits(memory));
    if let Some(bytes) = set(memory.reservation()) {
        out.one(Setting::new(
            "linux.resources.memory.reservation",
            Memory,
            "memory.soft_limit_in_bytes",
            bytes,
        ));
    }
    // Refused by the kernel since 5.16 and without effect long before; engines still send it.
    if set(memory.kernel()).is_some() {
        out.ignored.push("linux.resources.memory.kernel");
    }
    if let Some(bytes) = set(memory.kernel_tcp()) {
        out.one(Setting::new(
            "linux.resources.memory.kernelTCP",
            Memory,
            "memory.kmem.tcp.limit_in_bytes",
            bytes,
        ));
    }
    // Engines always send `false`; a new cgroup has its killer on unless its parent is without.
    if let Some(disable) = memory.disable_oom_killer()
        && (disable || purpose == Purpose::Update)
    {
        out.one(Setting::new(
            "linux.resources.memory.disableOOMKiller",
            Memory,
            "memory.oom_control",
            u8::from(disable),
        ));
    }
    swappiness(memory, out)
}

fn set(bytes: Option<i64>) -> Option<i64> {
    bytes.filter(|bytes| *bytes != 0)
}

/// The kernel keeps limit ≤ memory plus swap at every moment: raising both starts with swap.
fn limits(memory: &LinuxMemory) -> Vec<Setting> {
    let limit = set(memory.limit());
    let swap = match set(memory.swap()) {
        // No memory limit, so none on the sum either, or the old one would still hold.
        None if limit == Some(-1) => Some(-1),
        swap => swap,
    };
    let limit = limit.map(|bytes| {
        Setting::new(
            "linux.resources.memory.limit",
            Memory,
            "memory.limit_in_bytes",
            bytes,
        )
    });
    let swap = swap.map(|bytes| {
        // Without swap accounting there is no limit on swap, which is what -1 asks for.
        let absent = if bytes == -1 {
            Absent::Skip
        } else {
            Absent::Refuse
        };
        Setting::new(
            "linux.resources.memory.swap",
            Memory,
            "memory.memsw.limit_in_bytes",
            bytes,
        )
        .absent(absent)
    });
    [limit, swap].into_iter().flatten().collect()
}

/// Engines that mean "not set" send -1, which reaches us as 2^64 - 1.
fn swappiness(memory: &LinuxMemory, out: &mut Settings) -> Result<(), Error> {
    let field = "linux.resources.memory.swappiness";
    match memory.swappiness() {
        None | Some(u64::MAX) => Ok(()),
        Some(percent) if percent <= 100 => {
            out.one(Setting::new(field, Memory, "memory.swappiness", percent));
            Ok(())
        }
        Some(percent) => Err(Error::Value {
            field: field.into(),
            value: percent.to_string(),
            reason: "swappiness is 0 to 100",
        }),
    }
}
