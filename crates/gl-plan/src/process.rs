//! What one process of a container runs as: `process`, for init and for exec alike.

use std::ffi::CString;

use gl_spec::oci::{
    self, Capability, IOPriorityClass, LinuxIOPriority, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, PosixRlimitType, Scheduler,
    Spec,
};

use crate::error::Refusal;
use crate::model::{Facts, Setgroups};

/// The five capability sets, bit n for capability number n of `<linux/capability.h>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Upper limit for everything that the process ever executes.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept over an execve of a file with inheritable capabilities.
    pub inheritable: u64,
    /// Kept over any execve.
    pub ambient: u64,
}

/// One resource limit, with the number of `<asm-generic/resource.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit; `u64::MAX` for none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` for none.
    pub hard: u64,
}

/// I/O priority, encoded for `ioprio_set(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority(pub u16);

/// Scheduling policy, in the terms of `sched_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Deadline policy: runtime, nanoseconds.
    pub runtime: u64,
    /// Deadline policy: deadline, nanoseconds.
    pub deadline: u64,
    /// Deadline policy: period, nanoseconds.
    pub period: u64,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// One process to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// `argv`; never empty.
    pub args: Vec<CString>,
    /// `NAME=value` strings, in order.
    pub env: Vec<CString>,
    /// Working directory, absolute, inside the container.
    pub cwd: CString,
    /// User, as seen in the container.
    pub uid: u32,
    /// Group, as seen in the container.
    pub gid: u32,
    /// Supplementary groups; replaced even if empty, unless `keep_groups`.
    pub groups: Vec<u32>,
    /// Annotation `run.oci.keep_original_groups`: leave the supplementary groups alone.
    pub keep_groups: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Resource limits to set; the others are inherited.
    pub rlimits: Vec<Rlimit>,
    /// Highest values of resource limits, inherited ones too.
    pub rlimit_bounds: Vec<gl_spec::RlimitBound>,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Label for `execve` in the AppArmor attribute file.
    pub apparmor: Option<String>,
    /// Label for `execve` in the SELinux attribute file.
    pub selinux: Option<String>,
    /// Rights that are given up before the program runs, one ruleset after the other.
    pub landlock: Vec<gl_spec::Landlock>,
    /// The name under which it gives them up, so that the kernel's audit tells what is denied.
    pub landlock_mark: Option<CString>,
    /// Scheduling policy.
    pub scheduling: Option<Scheduling>,
    /// I/O priority.
    pub io_priority: Option<IoPriority>,
    /// CPUs for an exec before it enters the container's cgroup.
    pub affinity_initial: Option<Vec<u32>>,
    /// CPUs for an exec afterwards.
    pub affinity_final: Option<Vec<u32>>,
    /// `personality(2)`.
    pub personality: Option<u64>,
    /// `MPOL_*` with flags, and the node mask.
    pub memory_policy: Option<(i32, Vec<u64>)>,
    /// A terminal is allocated and becomes the process's stdio.
    pub terminal: bool,
    /// Its size.
    pub console_size: Option<Size>,
}

impl Process {
    /// The value of an environment variable, if set; the last one counts, as it does for libc.
    pub fn var(&self, name: &str) -> Option<&[u8]> {
        self.env.iter().rev().find_map(|entry| {
            let rest = entry.as_bytes().strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        })
    }
}

pub(crate) fn build(
    process: &oci::Process,
    spec: &Spec,
    facts: &Facts,
) -> Result<Process, Refusal> {
    let user = process.user();
    let linux = spec.linux().as_ref();
    Ok(Process {
        args: strings(
            "process.args",
            process.args().as_deref().unwrap_or_default(),
        )?,
        env: strings("process.env", process.env().as_deref().unwrap_or_default())?,
        cwd: string("process.cwd", &process.cwd().to_string_lossy())?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        keep_groups: keeps_groups(spec) || groups_stay(user, facts)?,
        umask: user.umask().unwrap_or(0o022),
        capabilities: capabilities(process.capabilities().as_ref()),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default()),
        rlimit_bounds: Vec::new(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: process.oom_score_adj(),
        apparmor: label(
            process.apparmor_profile().as_deref(),
            "process.apparmorProfile",
            facts.apparmor,
            "AppArmor is not enabled in this kernel",
        )?,
        selinux: label(
            process.selinux_label().as_deref(),
            "process.selinuxLabel",
            facts.selinux,
            "SELinux is not enabled in this kernel",
        )?,
        landlock: Vec::new(),
        landlock_mark: None,
        scheduling: process.scheduler().as_ref().map(scheduling).transpose()?,
        io_priority: process
            .io_priority()
            .as_ref()
            .map(io_priority)
            .transpose()?,
        affinity_initial: affinity(process, oci::ExecCPUAffinity::initial, "initial")?,
        affinity_final: affinity(process, oci::ExecCPUAffinity::cpu_affinity_final, "final")?,
        personality: linux
            .and_then(|l| l.personality().as_ref())
            .map(|p| match p.domain() {
                LinuxPersonalityDomain::PerLinux => 0,
                LinuxPersonalityDomain::PerLinux32 => 8,
            }),
        memory_policy: linux
            .and_then(|l| l.memory_policy().as_ref())
            .map(memory_policy)
            .transpose()?,
        terminal: process.terminal().unwrap_or(false),
        console_size: process.console_size().and_then(|size| {
            let rows = u16::try_from(size.height()).ok()?;
            let columns = u16::try_from(size.width()).ok()?;
            (rows != 0 || columns != 0).then_some(Size { rows, columns })
        }),
    })
}

/// Whether the groups cannot be changed, where none are asked for. Asking for some is refused then.
fn groups_stay(user: &oci::User, facts: &Facts) -> Result<bool, Refusal> {
    if facts.setgroups == Setgroups::Allowed {
        return Ok(false);
    }
    if user.additional_gids().iter().flatten().next().is_some() {
        return Err(Refusal::Unenforceable {
            field: "process.user.additionalGids".to_owned(),
            missing: "the user namespace that this runs in denies setgroups(2)",
            remedy: "remove the groups, or map group ids with newgidmap (/etc/subgid)",
        });
    }
    Ok(true)
}

fn keeps_groups(spec: &Spec) -> bool {
    let annotations = spec.annotations().as_ref();
    annotations
        .and_then(|map| map.get("run.oci.keep_original_groups"))
        .is_some_and(|value| value == "1" || value == "true")
}

fn string(field: &str, value: &str) -> Result<CString, Refusal> {
    CString::new(value).map_err(|_err: std::ffi::NulError| Refusal::Nul {
        field: field.to_owned(),
    })
}

fn strings(field: &str, values: &[String]) -> Result<Vec<CString>, Refusal> {
    let indexed = values.iter().enumerate();
    indexed
        .map(|(index, value)| {
            CString::new(value.as_str()).map_err(|_err: std::ffi::NulError| Refusal::Nul {
                field: format!("{field}[{index}]"),
            })
        })
        .collect()
}

/// A security label, refused where its module is off or where it holds a NUL byte.
pub(crate) fn label(
    label: Option<&str>,
    field: &str,
    available: bool,
    missing: &'static str,
) -> Result<Option<String>, Refusal> {
    match label.filter(|label| !label.is_empty()) {
        None => Ok(None),
        Some(label) if label.contains('\0') => Err(Refusal::Nul {
            field: field.to_owned(),
        }),
        Some(label) if available => Ok(Some(label.to_owned())),
        Some(_) => Err(Refusal::Unenforceable {
            field: field.to_owned(),
            missing,
            remedy: "remove the label from the config, or boot with the security module enabled",
        }),
    }
}

fn capabilities(sets: Option<&oci::LinuxCapabilities>) -> Capabilities {
    let Some(sets) = sets else {
        return Capabilities::default();
    };
    let bits = |set: &Option<oci::Capabilities>| {
        let set = set.iter().flatten();
        set.fold(0, |bits, &capability| bits | 1 << number(capability))
    };
    let (permitted, inheritable) = (bits(sets.permitted()), bits(sets.inheritable()));
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted,
        inheritable,
        // SPEC: the kernel raises nothing else (capabilities(7)), and `runc spec` writes configs
        // that ask for it: what cannot be had is left out.
        ambient: bits(sets.ambient()) & permitted & inheritable,
    }
}

/// The capability's number in `<linux/capability.h>`.
const fn number(capability: Capability) -> u32 {
    match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}

fn rlimits(limits: &[oci::PosixRlimit]) -> Vec<Rlimit> {
    let limits = limits.iter();
    limits
        .map(|limit| Rlimit {
            resource: match limit.typ() {
                PosixRlimitType::RlimitCpu => 0,
                PosixRlimitType::RlimitFsize => 1,
                PosixRlimitType::RlimitData => 2,
                PosixRlimitType::RlimitStack => 3,
                PosixRlimitType::RlimitCore => 4,
                PosixRlimitType::RlimitRss => 5,
                PosixRlimitType::RlimitNproc => 6,
                PosixRlimitType::RlimitNofile => 7,
                PosixRlimitType::RlimitMemlock => 8,
                PosixRlimitType::RlimitAs => 9,
                PosixRlimitType::RlimitLocks => 10,
                PosixRlimitType::RlimitSigpending => 11,
                PosixRlimitType::RlimitMsgqueue => 12,
                PosixRlimitType::RlimitNice => 13,
                PosixRlimitType::RlimitRtprio => 14,
                PosixRlimitType::RlimitRttime => 15,
            },
            soft: limit.soft(),
            hard: limit.hard(),
        })
        .collect()
}

fn io_priority(priority: &LinuxIOPriority) -> Result<IoPriority, Refusal> {
    let class: u16 = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(priority.priority()) {
        Ok(level) if level <= 7 => Ok(IoPriority(class << 13 | level)),
        _ => Err(Refusal::value(
            "process.ioPriority.priority",
            priority.priority().to_string(),
            "a level is 0 to 7",
        )),
    }
}

fn scheduling(scheduler: &Scheduler) -> Result<Scheduling, Refusal> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten();
    let flags = flags.fold(0, |bits, flag| {
        bits | match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        }
    });
    let priority = scheduler.priority().unwrap_or(0);
    Ok(Scheduling {
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(priority).map_err(|_err: std::num::TryFromIntError| {
            Refusal::value(
                "process.scheduler.priority",
                priority.to_string(),
                "it is negative",
            )
        })?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

fn affinity(
    process: &oci::Process,
    which: impl Fn(&oci::ExecCPUAffinity) -> &Option<String>,
    name: &str,
) -> Result<Option<Vec<u32>>, Refusal> {
    let list = process
        .exec_cpu_affinity()
        .as_ref()
        .and_then(|a| which(a).as_deref());
    match list.filter(|list| !list.is_empty()) {
        None => Ok(None),
        Some(list) => numbers(list, 1024).map(Some).ok_or_else(|| {
            Refusal::value(
                format!("process.execCPUAffinity.{name}"),
                list,
                "a list is numbers below 1024 and ranges, such as 0-3,7",
            )
        }),
    }
}

/// Reads `0-3,7` into its numbers, all below `limit`.
fn numbers(list: &str, limit: u32) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().ok()?;
        let last: u32 = last.trim().parse().ok()?;
        if first > last || last >= limit {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

fn memory_policy(policy: &oci::LinuxMemoryPolicy) -> Result<(i32, Vec<u64>), Refusal> {
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten();
    let mode = flags.fold(mode, |bits, flag| {
        bits | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let list = policy.nodes().as_deref().unwrap_or_default();
    let mut mask = Vec::new();
    if !list.is_empty() {
        let nodes = numbers(list, 1024).ok_or_else(|| {
            Refusal::value(
                "linux.memoryPolicy.nodes",
                list,
                "a list is numbers and ranges, such as 0-3,7",
            )
        })?;
        mask = vec![0u64; 16];
        for node in nodes {
            if let Some(word) = mask.get_mut(node as usize / 64) {
                *word |= 1 << (node % 64);
            }
        }
    }
    Ok((mode, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_or_refused() {
        for (list, want) in [
            ("0", Some(vec![0])),
            ("0-2,7", Some(vec![0, 1, 2, 7])),
            ("3-1", None),
            ("1024", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(numbers(list, 1024), want, "{list:?}");
        }
    }

    #[test]
    fn last_value_of_a_variable_counts() {
        let process = Process {
            env: vec![c"A=1".into(), c"AB=2".into(), c"A=3".into()],
            ..Process::default()
        };
        assert_eq!(process.var("A"), Some(&b"3"[..]));
        assert_eq!(process.var("C"), None);
    }

    #[test]
    fn no_capabilities_object_means_none() {
        assert_eq!(capabilities(None), Capabilities::default());
    }

    #[test]
    fn label_with_a_nul_byte_is_refused_by_name() {
        let err = label(Some("a\0b"), "linux.mountLabel", true, "off").unwrap_err();
        assert_eq!(
            err.to_string(),
            "use linux.mountLabel: it contains a NUL byte"
        );
    }

    #[test]
    fn label_without_its_module_is_refused_by_name() {
        let err = label(
            Some("docker-default"),
            "process.apparmorProfile",
            false,
            "AppArmor is not enabled in this kernel",
        )
        .unwrap_err();
        assert_eq!(
            err.to_string(),
            "use process.apparmorProfile: AppArmor is not enabled in this kernel"
        );
    }
}
