//! The config.json that `greenlang spec` writes: a shell in namespaces of its own, little else.

use serde_json::{Value, json};

use crate::{OCI_VERSION, oci};

/// For whom a config.json is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rootless {
    /// For root.
    No,
    /// For a user without privileges, who is root inside a user namespace.
    Yes {
        /// The user's uid on the host.
        uid: u32,
        /// The user's gid on the host.
        gid: u32,
    },
}

/// Builds the config.json to start from.
///
/// # Panics
///
/// Never: the text is fixed, and a test reads it.
pub fn default_spec(rootless: Rootless) -> oci::Spec {
    // By way of a text, which keeps the parser of `load` the only one that is compiled.
    let text = document(rootless).to_string();
    serde_json::from_str(&text).expect("the built-in config.json is well formed")
}

fn document(rootless: Rootless) -> Value {
    json!({
        "ociVersion": OCI_VERSION,
        "process": process(),
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "greenlang",
        "mounts": mounts(rootless),
        "linux": linux(rootless),
    })
}

fn process() -> Value {
    // No inheritable and no ambient set: a program that changes its uid keeps nothing.
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts(rootless: Rootless) -> Value {
    let mut devpts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    let sys = match rootless {
        Rootless::No => {
            devpts.push("gid=5");
            json!({
                "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            })
        }
        // The kernel wants a network namespace of the same user for a new sysfs, and gid 5 mapped
        // for such a devpts.
        Rootless::Yes { .. } => json!({
            "destination": "/sys", "type": "none", "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        }),
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": devpts,
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        sys,
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

fn linux(rootless: Rootless) -> Value {
    let mut linux = json!({
        "maskedPaths": [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ],
        "readonlyPaths": [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ],
    });
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    match rootless {
        Rootless::No => {
            namespaces.insert(1, "network");
            linux["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
        }
        Rootless::Yes { uid, gid } => {
            namespaces.push("user");
            linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
            linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
        }
    }
    linux["namespaces"] = namespaces
        .into_iter()
        .map(|namespace| json!({ "type": namespace }))
        .collect();
    linux
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load, validate, write};

    #[test]
    fn spec_for_root_and_for_a_user_is_valid_and_survives_being_written() {
        for rootless in [
            Rootless::No,
            Rootless::Yes {
                uid: 1000,
                gid: 100,
            },
        ] {
            let spec = default_spec(rootless);
            assert_eq!(validate(&spec).unwrap(), [], "{rootless:?}");
            let text = write(&spec);
            assert_eq!(load(text.as_bytes()).unwrap().spec, spec, "{rootless:?}");
        }
    }

    #[test]
    fn spec_for_a_user_maps_that_user_and_makes_no_network() {
        let spec = default_spec(Rootless::Yes {
            uid: 1000,
            gid: 100,
        });
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.uid_mappings().as_ref().unwrap()[0].host_id(), 1000);
        assert_eq!(linux.gid_mappings().as_ref().unwrap()[0].host_id(), 100);
        let types: Vec<String> = linux
            .namespaces()
            .iter()
            .flatten()
            .map(|namespace| namespace.typ().to_string())
            .collect();
        assert_eq!(types, ["pid", "ipc", "uts", "mnt", "cgroup", "user"]);
    }
}
