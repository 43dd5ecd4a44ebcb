//! The cgroups of a container that was created, read from outside: where they are, and the limits in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gl_e2e::kernel::is_v2;
use serde_json::{Value, json};

use crate::Failure;

/// Files that hold a limit, of both versions. What only counts is not among them.
const LIMITS: &[&str] = &[
    "blkio.bfq.weight",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.write_iops_device",
    "blkio.weight",
    "cgroup.clone_children",
    "cgroup.freeze",
    "cgroup.max.depth",
    "cgroup.max.descendants",
    "cgroup.type",
    "cpu.cfs_burst_us",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.rt_period_us",
    "cpu.rt_runtime_us",
    "cpu.shares",
    "cpu.weight",
    "cpuset.cpu_exclusive",
    "cpuset.cpus",
    "cpuset.mems",
    "devices.list",
    "freezer.state",
    "io.bfq.weight",
    "io.max",
    "io.weight",
    "memory.high",
    "memory.limit_in_bytes",
    "memory.low",
    "memory.max",
    "memory.memsw.limit_in_bytes",
    "memory.min",
    "memory.oom_control",
    "memory.soft_limit_in_bytes",
    "memory.swap.max",
    "memory.swappiness",
    "memory.use_hierarchy",
    "net_cls.classid",
    "net_prio.ifpriomap",
    "notify_on_release",
    "pids.max",
    "rdma.max",
    "tasks",
];

/// The limits of each hierarchy that the process is in, with the path there.
pub(crate) fn values(pid: i32) -> Result<Value, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
            return Err(format!("no line of a cgroup: {line:?}").into());
        };
        let hierarchy = match names.strip_prefix("name=") {
            Some(name) => name,
            None if names.is_empty() => "unified",
            None => names,
        };
        let root = Path::new("/sys/fs/cgroup");
        let dir = if is_v2() {
            root.to_owned()
        } else {
            root.join(hierarchy)
        };
        let dir = dir.join(path.trim_start_matches('/'));
        let mut found = if path == "/" {
            BTreeMap::new()
        } else {
            limits(&dir)
        };
        found.insert("path".to_owned(), path.to_owned());
        all.insert(hierarchy.to_owned(), found);
    }
    Ok(json!(all))
}

fn limits(dir: &Path) -> BTreeMap<String, String> {
    let huge = fs::read_dir(dir).into_iter().flatten().flatten();
    let huge = huge
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.starts_with("hugetlb.")
                && (name.ends_with("limit_in_bytes") || name.ends_with(".max"))
        });
    let names = LIMITS.iter().map(|name| (*name).to_owned()).chain(huge);
    // What this kernel or this hierarchy lacks is the same for both runtimes.
    let read =
        names.filter_map(|name| Some((name.clone(), fs::read_to_string(dir.join(&name)).ok()?)));
    read.map(|(name, text)| {
        let value = match name.as_str() {
            // Its number differs.
            "tasks" => format!("{} tasks", text.lines().count()),
            // Whether it is under pressure, and how often it killed.
            "memory.oom_control" => text.lines().next().unwrap_or_default().to_owned(),
            // Lists, whose order is that in which they were written.
            _ => {
                let mut lines: Vec<&str> = text.lines().collect();
                lines.sort_unstable();
                lines.join(", ")
            }
        };
        (name, value)
    })
    .collect()
}
