//! The kind of machine that counts on file are of, and the same starting point on each.

use std::fs;

use crate::command::fail;

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the counts of a command's system calls and allocations depend on beside the runtime.
#[must_use]
pub fn kind() -> String {
    let names = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort();
    let apparmor = match fs::metadata("/sys/module/apparmor") {
        Ok(_) => "AppArmor",
        Err(_) => "no AppArmor",
    };
    let arch = std::env::consts::ARCH;
    format!("{arch}, {apparmor}, {CGROUPS}: {}", names.join(" "))
}

/// Enters the first cgroup of each hierarchy: paths below that of a deep one take more of everything.
///
/// # Panics
///
/// If the kernel does not let us.
pub fn enter_first_cgroups() {
    for entry in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        let procs = entry.path().join("cgroup.procs");
        if fs::metadata(&procs).is_ok() {
            let entered = fs::write(&procs, "0");
            entered.unwrap_or_else(|err| fail(&format!("enter {}: {err}", procs.display())));
        }
    }
}
