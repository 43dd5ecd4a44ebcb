//! What `features` prints: which parts of runtime-spec this runtime has, for engines to read.
//!
//! `features.md` and `features-linux.md` of runtime-spec. What is known here by name only is listed
//! as known, what depends on the build comes in as [`Facility`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::OCI_VERSION;

/// Every hook of runtime-spec.
pub const HOOKS: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Every mount option with a meaning of its own; others go to the file system as data.
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// Every capability, by its number.
pub const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Every seccomp action.
pub const SECCOMP_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Every operator of a seccomp argument test.
pub const SECCOMP_OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// The architectures that seccomp filters are made for.
pub const SECCOMP_ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// Every flag of a seccomp filter.
pub const SECCOMP_FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Annotations of a config.json that change what the runtime does. A name that ends in a dot stands
/// for all that begin with it.
pub const ANNOTATIONS: &[&str] = &[
    "dev.greenlang.",
    "org.criu.config",
    "org.systemd.property.",
    "run.oci.delegate-cgroup",
    "run.oci.keep_original_groups",
    "run.oci.systemd.subgroup",
];

/// The annotations that have an effect in this version.
const EFFECTIVE: &[&str] = &[
    "org.criu.config",
    "org.systemd.property.",
    "run.oci.keep_original_groups",
    "run.oci.systemd.subgroup",
];

/// Something that a build of the runtime may or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Facility {
    /// Control groups, version 1.
    CgroupV1,
    /// Control groups, version 2.
    CgroupV2,
    /// The systemd cgroup driver of the system.
    CgroupSystemd,
    /// The systemd cgroup driver of a user.
    CgroupSystemdUser,
    /// RDMA limits.
    CgroupRdma,
    /// Seccomp filters.
    Seccomp,
    /// `AppArmor` profiles.
    Apparmor,
    /// `SELinux` labels.
    Selinux,
    /// Intel RDT.
    IntelRdt,
    /// Mounts with id mappings of their own.
    IdmapMounts,
    /// Moving network devices into the container.
    NetDevices,
    /// NUMA memory policy.
    MemoryPolicy,
    /// Checkpoint and restore.
    Checkpoint,
}

/// The document that `features` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [&'static str],
    capabilities: &'static [&'static str],
    cgroup: BTreeMap<&'static str, bool>,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

/// Describes a runtime of `version` that was built with `facilities`.
pub fn features(version: &str, facilities: &[Facility]) -> Features {
    let has = |facility| facilities.contains(&facility);
    let enabled = |facility| Enabled {
        enabled: has(facility),
    };
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: OCI_VERSION,
        hooks: HOOKS,
        mount_options: MOUNT_OPTIONS
            .iter()
            .copied()
            .filter(|option| has(Facility::IdmapMounts) || !option.ends_with("idmap"))
            .collect(),
        linux: Linux {
            namespaces: &[
                "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
            ],
            capabilities: CAPABILITIES,
            cgroup: BTreeMap::from([
                ("v1", has(Facility::CgroupV1)),
                ("v2", has(Facility::CgroupV2)),
                ("systemd", has(Facility::CgroupSystemd)),
                ("systemdUser", has(Facility::CgroupSystemdUser)),
                ("rdma", has(Facility::CgroupRdma)),
            ]),
            seccomp: seccomp(has(Facility::Seccomp)),
            apparmor: enabled(Facility::Apparmor),
            selinux: enabled(Facility::Selinux),
            intel_rdt: IntelRdt {
                enabled: has(Facility::IntelRdt),
                schemata: has(Facility::IntelRdt),
                monitoring: has(Facility::IntelRdt),
            },
            memory_policy: memory_policy(has(Facility::MemoryPolicy)),
            mount_extensions: MountExtensions {
                idmap: enabled(Facility::IdmapMounts),
            },
            net_devices: enabled(Facility::NetDevices),
        },
        annotations: BTreeMap::from([
            ("dev.greenlang.version", version.to_owned()),
            ("dev.greenlang.annotations", EFFECTIVE.join(",")),
            (
                "dev.greenlang.checkpoint.enabled",
                has(Facility::Checkpoint).to_string(),
            ),
            // By which engines ask the runtime that they know best.
            (
                "org.opencontainers.runc.checkpoint.enabled",
                has(Facility::Checkpoint).to_string(),
            ),
        ]),
        potentially_unsafe_config_annotations: ANNOTATIONS,
    }
}

fn seccomp(enabled: bool) -> Seccomp {
    Seccomp {
        enabled,
        actions: SECCOMP_ACTIONS,
        operators: SECCOMP_OPERATORS,
        archs: SECCOMP_ARCHS,
        known_flags: SECCOMP_FLAGS,
        supported_flags: if enabled { SECCOMP_FLAGS } else { &[] },
    }
}

fn memory_policy(enabled: bool) -> MemoryPolicy {
    if !enabled {
        return MemoryPolicy {
            modes: &[],
            flags: &[],
        };
    }
    MemoryPolicy {
        modes: &[
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ],
        flags: &[
            "MPOL_F_NUMA_BALANCING",
            "MPOL_F_RELATIVE_NODES",
            "MPOL_F_STATIC_NODES",
        ],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::oci;

    fn document(facilities: &[Facility]) -> Value {
        serde_json::to_value(features("1.2.3", facilities)).unwrap()
    }

    #[test]
    fn features_have_every_part_that_engines_look_at() {
        let got = document(&[Facility::IdmapMounts, Facility::Seccomp, Facility::CgroupV1]);
        for (pointer, want) in [
            ("/ociVersionMin", Value::from("1.0.0")),
            ("/ociVersionMax", Value::from(OCI_VERSION)),
            ("/linux/mountExtensions/idmap/enabled", Value::from(true)),
            ("/linux/seccomp/enabled", Value::from(true)),
            ("/linux/cgroup/v1", Value::from(true)),
            ("/linux/cgroup/v2", Value::from(false)),
            ("/linux/cgroup/systemdUser", Value::from(false)),
            ("/linux/netDevices/enabled", Value::from(false)),
            ("/annotations/dev.greenlang.version", Value::from("1.2.3")),
        ] {
            assert_eq!(got.pointer(pointer), Some(&want), "{pointer} in {got:#}");
        }
        let options = got["mountOptions"].as_array().unwrap();
        assert!(options.contains(&Value::from("rro")), "{options:?}");
    }

    #[test]
    fn options_of_idmapped_mounts_are_listed_only_where_they_work() {
        for (facilities, want) in [(&[Facility::IdmapMounts][..], 2), (&[], 0)] {
            let got = document(facilities);
            let options = got["mountOptions"].as_array().unwrap();
            let found = options
                .iter()
                .filter(|option| option.as_str().unwrap().contains("idmap"));
            assert_eq!(found.count(), want, "{options:?}");
        }
    }

    #[test]
    fn features_are_read_back_by_the_oci_types() {
        let got = document(&[Facility::Seccomp, Facility::MemoryPolicy]);
        let read: oci::Features = serde_json::from_value(got.clone()).unwrap();
        let linux = read.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 8, "{got:#}");
        assert_eq!(linux.seccomp().as_ref().unwrap().enabled(), &Some(true));
    }

    #[test]
    fn every_capability_is_one_of_the_oci_types() {
        let mut seen = std::collections::HashSet::new();
        for name in CAPABILITIES {
            let capability: oci::Capability = serde_json::from_value(Value::from(*name)).unwrap();
            assert!(seen.insert(capability), "{name} stands twice");
        }
        assert_eq!(seen.len(), 41);
    }

    #[test]
    fn mount_options_are_sorted_and_unique() {
        for pair in MOUNT_OPTIONS.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }
}
