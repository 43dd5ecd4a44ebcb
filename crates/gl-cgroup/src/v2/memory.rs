//! `linux.resources.memory` for the memory controller of v2.

use gl_spec::oci::LinuxMemory;

use super::settings::{Current, Setting, Settings};
use crate::error::Error;

const SWAP: &str = "linux.resources.memory.swap";

/// Limits in bytes, -1 for none; 0 means "not set", as engines send it.
pub(crate) fn memory(
    memory: &LinuxMemory,
    current: &Current,
    out: &mut Settings,
) -> Result<(), Error> {
    refuse(memory)?;
    // First: a limit on memory that is lower than what is used takes less pain with room in swap.
    if let Some(value) = swap_max(memory, current)? {
        let setting = Setting::new(SWAP, "memory.swap.max", &value);
        // Without swap there is no limit on it, and none of it can be used.
        out.one(match value.as_str() {
            "max" | "0" => setting.or_skip(),
            _ => setting,
        });
    }
    if let Some(bytes) = set(memory.limit()) {
        let field = "linux.resources.memory.limit";
        out.one(Setting::new(field, "memory.max", shown(bytes)));
    }
    if let Some(bytes) = set(memory.reservation()) {
        let field = "linux.resources.memory.reservation";
        out.one(Setting::new(field, "memory.low", shown(bytes)));
    }
    // v2 counts kernel memory as all other; v1 refuses a limit on it by now.
    if set(memory.kernel()).is_some() {
        out.ignored.push("linux.resources.memory.kernel");
    }
    // v2 has no switch: the killer is always on, and nothing hangs for want of memory.
    if memory.disable_oom_killer() == Some(true) {
        out.ignored.push("linux.resources.memory.disableOOMKiller");
    }
    // v2 has nothing but hierarchies.
    if memory.use_hierarchy() == Some(false) {
        out.ignored.push("linux.resources.memory.useHierarchy");
    }
    Ok(())
}

/// Refuses limits that v2 does not have. Engines that mean "no swappiness" send -1.
fn refuse(memory: &LinuxMemory) -> Result<(), Error> {
    let field = if set(memory.kernel_tcp()).is_some_and(|bytes| bytes > 0) {
        "linux.resources.memory.kernelTCP"
    } else if memory.swappiness().is_some_and(|value| value != u64::MAX) {
        "linux.resources.memory.swappiness"
    } else {
        return Ok(());
    };
    Err(Error::V1Only {
        field: field.into(),
    })
}

/// The config limits memory and swap together; v2 limits swap alone.
fn swap_max(memory: &LinuxMemory, current: &Current) -> Result<Option<String>, Error> {
    let asked = set(memory.limit());
    let both = match set(memory.swap()) {
        // No limit on memory, so none on the sum either.
        None if asked.is_some_and(|bytes| bytes < 0) => return Ok(Some("max".to_owned())),
        None => return Ok(None),
        Some(both) if both < 0 => return Ok(Some("max".to_owned())),
        Some(both) => both,
    };
    let refused = |reason| Error::Value {
        field: SWAP.into(),
        value: both.to_string(),
        reason,
    };
    let limit = asked
        .or(current.memory_max)
        .filter(|bytes| *bytes >= 0)
        .ok_or_else(|| refused("it is the sum of memory and swap, so memory.limit is needed"))?;
    match both.checked_sub(limit) {
        Some(swap) if swap >= 0 => Ok(Some(swap.to_string())),
        _ => Err(refused(
            "it is the sum of memory and swap, so at least memory.limit",
        )),
    }
}

/// Whether [`swap_max`] asks for the limit that is there.
pub(crate) fn needs_current(memory: &LinuxMemory) -> bool {
    set(memory.limit()).is_none() && set(memory.swap()).is_some_and(|both| both > 0)
}

pub(crate) fn set(bytes: Option<i64>) -> Option<i64> {
    bytes.filter(|bytes| *bytes != 0)
}

fn shown(bytes: i64) -> String {
    match bytes {
        ..0 => "max".to_owned(),
        bytes => bytes.to_string(),
    }
}
