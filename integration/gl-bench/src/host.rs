//! The machine that the figures are from, in words that name no path of it.

use std::fs;
use std::process::Command;

/// Lines of a Markdown list that describe the machine and the day.
pub(crate) fn describe() -> Vec<String> {
    let uname = rustix::system::uname();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = field(&read("/proc/cpuinfo"), "model name", ':');
    let virtual_machine = read("/proc/cpuinfo").contains(" hypervisor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal", ':');
    let memory = memory.split_whitespace().next().unwrap_or_default();
    let gibibytes = memory.parse::<u64>().unwrap_or_default() / 1024 / 1024;
    let kind = if virtual_machine {
        "virtual machine"
    } else {
        "bare machine, or one that does not say"
    };
    vec![
        format!("date: {}", date()),
        format!(
            "processor: {processor}, {cores} cores ({}), {gibibytes} GiB of memory, {kind}",
            uname.machine().to_string_lossy()
        ),
        format!("kernel: Linux {}", uname.release().to_string_lossy()),
        format!(
            "system: {}",
            field(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"')
        ),
        format!("cgroups: {}", cgroups(&read("/proc/self/mountinfo"))),
        format!(
            "load before the run (1, 5 and 15 minutes): {}",
            read("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    ]
}

/// Value of the first line that starts with `key` and has `separator`.
fn field(text: &str, key: &str, separator: char) -> String {
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(separator));
    value
        .map_or("unknown", |(_, value)| value.trim())
        .to_owned()
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Which cgroup versions are mounted.
fn cgroups(mountinfo: &str) -> &'static str {
    let mounted = |kind: &str| mountinfo.contains(&format!(" - {kind} "));
    match (mounted("cgroup"), mounted("cgroup2")) {
        (true, true) => "v1 with a v2 hierarchy beside it, which is unmounted for every runtime",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}
