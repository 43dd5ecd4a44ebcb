//! The bundle under measurement: the shape that Docker 20.10 gives a plain `docker run` with a
//! memory, a CPU and a pids limit.
//!
//! Left out is the hook by which Docker's network code learns the namespace: it runs a program of
//! Docker's own, which every runtime would wait for equally.

use serde_json::{Value, json};

use crate::calls;

/// What a bundle is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As Docker makes it.
    Docker,
    /// The same without a filter of system calls.
    Unfiltered,
    /// The same with so many mounts.
    Mounts(usize),
    /// The same with a memory limit of so many KiB.
    Memory(u64),
}

impl Shape {
    /// Part of the bundle's name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Docker => "docker".to_owned(),
            Self::Unfiltered => "unfiltered".to_owned(),
            Self::Mounts(count) => format!("mounts{count}"),
            Self::Memory(_) => "memory".to_owned(),
        }
    }

    fn apply(self, config: &mut Value, folder: &str) {
        match self {
            Self::Docker => {}
            Self::Unfiltered => {
                config["linux"]["seccomp"] = Value::Null;
            }
            Self::Mounts(count) => {
                if let Some(mounts) = config["mounts"].as_array_mut() {
                    let volumes = (mounts.len()..count).map(|number| volume(folder, number));
                    mounts.extend(volumes);
                }
            }
            Self::Memory(kib) => {
                config["linux"]["resources"]["memory"] = json!({"limit": kib * 1024});
            }
        }
    }
}

/// A mount of a directory, as of a volume.
fn volume(folder: &str, number: usize) -> Value {
    json!({
        "destination": format!("/volumes/{number}"), "type": "bind",
        "source": format!("{folder}/files"), "options": ["rbind", "ro", "rprivate"],
    })
}

/// What one container's config.json says beyond the shape.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    /// What it is like.
    pub(crate) shape: Shape,
    /// The program and its arguments.
    pub(crate) args: &'a [&'a str],
    /// Path below every cgroup hierarchy.
    pub(crate) cgroup: &'a str,
    /// Folder of `rootfs`, and of `files` with resolv.conf, hostname and hosts.
    pub(crate) folder: &'a str,
}

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The whole config.json of one container.
pub(crate) fn config(container: &Container<'_>) -> Value {
    let mut config = docker(container);
    container.shape.apply(&mut config, container.folder);
    config
}

fn docker(container: &Container<'_>) -> Value {
    json!({
        "ociVersion": "1.0.2-dev",
        "process": process(container.args),
        "root": {"path": format!("{}/rootfs", container.folder)},
        "hostname": "bench",
        "mounts": mounts(container.folder),
        "linux": {
            "sysctl": {
                "net.ipv4.ip_unprivileged_port_start": "0",
                "net.ipv4.ping_group_range": "0 2147483647",
            },
            "resources": resources(),
            "cgroupsPath": container.cgroup,
            "namespaces": [
                {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"},
                {"type": "ipc"},
            ],
            "seccomp": calls::seccomp(),
            "maskedPaths": [
                "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                "/sys/firmware",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

fn process(args: &[&str]) -> Value {
    json!({
        "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        "args": args,
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=bench",
        ],
        "cwd": "/",
        "capabilities": {
            "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
        },
        "oomScoreAdj": 0,
    })
}

fn mounts(folder: &str) -> Value {
    let file = |name: &str| {
        json!({
            "destination": format!("/etc/{name}"), "type": "bind",
            "source": format!("{folder}/files/{name}"), "options": ["rbind", "rprivate"],
        })
    };
    let strict = ["nosuid", "noexec", "nodev"];
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": strict},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options":
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
        file("resolv.conf"),
        file("hostname"),
        file("hosts"),
    ])
}

fn resources() -> Value {
    let device = |allow: bool, major: u32, minor: u32| json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"});
    json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            device(true, 1, 5), device(true, 1, 3), device(true, 1, 9), device(true, 1, 8),
            device(true, 5, 0), device(true, 5, 1), device(false, 10, 229),
        ],
        "memory": {"limit": 536_870_912, "swap": 1_073_741_824, "disableOOMKiller": false},
        "cpu": {"shares": 0, "quota": 100_000, "period": 100_000},
        "pids": {"limit": 100},
        "blockIO": {"weight": 0},
    })
}
