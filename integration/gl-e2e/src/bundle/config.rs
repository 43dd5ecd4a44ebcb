//! The configuration that tests start from, shaped as Docker writes it, and edits by JSON pointer.

use serde_json::{Map, Value, json};

/// Busybox applets that get a link in `/bin`.
pub const APPLETS: &[&str] = &[
    "awk", "base64", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dmesg", "echo",
    "env", "false", "find", "grep", "head", "hostname", "id", "ionice", "ip", "ipcs", "kill", "ln",
    "ls", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "nproc", "od", "printf", "ps",
    "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setpriv", "sh", "sleep", "sort", "stat",
    "stty", "su", "sync", "tail", "taskset", "tee", "test", "timeout", "touch", "tr", "true",
    "tty", "umount", "uname", "unshare", "wc", "xargs", "yes",
];

/// Capabilities that Docker gives.
pub const CAPABILITIES: [&str; 14] = [
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

/// Those of [`CAPABILITIES`] as the mask that `/proc/self/status` shows.
pub const CAPABILITY_MASK: &str = "00000000a80425fb";

/// The `PATH` of the default configuration.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A configuration with Docker's mounts, masks, devices, capabilities and namespaces.
pub fn docker_shaped(id: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sleep", "1000"],
            "env": [PATH, "HOSTNAME=box"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "resources": {"devices": devices()},
            "namespaces": [
                {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"},
                {"type": "ipc"},
            ],
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

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
    ])
}

fn devices() -> Value {
    let mut list = vec![json!({"allow": false, "access": "rwm"})];
    for (major, minor) in [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)] {
        list.push(json!({
            "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm",
        }));
    }
    list.push(json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}));
    Value::Array(list)
}

/// The id maps of a user namespace whose root is the unprivileged host id `base`.
pub fn id_map(base: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": base, "size": size}])
}

/// Sets the value at a JSON pointer and creates missing objects on the way.
///
/// # Panics
///
/// If the pointer does not start with `/` or leads through something that is no object or array.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("pointer with a /");
    if !parent.is_empty() && config.pointer(parent).is_none() {
        set(config, parent, Value::Object(Map::new()));
    }
    let parent = config.pointer_mut(parent).expect("parent was made");
    match parent {
        Value::Array(list) => {
            let index: usize = key.parse().expect("index of an array");
            list[index] = value;
        }
        object => object[key] = value,
    }
}

/// Removes the value at a JSON pointer.
///
/// # Panics
///
/// If there is no object at the parent.
pub fn unset(config: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("pointer with a /");
    let parent = config.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.expect("object at the parent").remove(key);
}
