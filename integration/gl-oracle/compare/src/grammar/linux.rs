//! Productions of `mounts` and `linux`.

use serde_json::{Map, Value, json};

use super::Choice;
use crate::case::Case;

type Set = Map<String, Value>;

/// `linux.namespaces` with what hangs on them: mappings, offsets, the names of the host.
pub(super) fn namespaces(choice: &mut Choice, made: &mut Case) {
    for (kind, chance) in [("pid", 15), ("network", 20), ("ipc", 20)] {
        if choice.percent(chance) {
            made.namespaces.insert(kind.to_owned(), None);
        }
    }
    if choice.percent(15) {
        made.namespaces.insert("uts".to_owned(), None);
        made.unset.push("/hostname".to_owned());
    } else {
        made.set.insert(
            "/hostname".to_owned(),
            choice.one(&["box", "a.b.c", "h", ""]).into(),
        );
        if choice.percent(25) {
            made.set.insert(
                "/domainname".to_owned(),
                choice.one(&["example.org", "d"]).into(),
            );
        }
    }
    if choice.percent(30) {
        made.namespaces
            .insert("cgroup".to_owned(), Some(json!({"type": "cgroup"})));
    }
    if choice.percent(15) {
        made.namespaces
            .insert("time".to_owned(), Some(json!({"type": "time"})));
        let offsets = choice.members(
            &[
                (
                    "monotonic",
                    vec![
                        json!({"secs": 100, "nanosecs": 5}),
                        json!({"secs": 1_000_000}),
                    ],
                ),
                (
                    "boottime",
                    vec![json!({"secs": 7, "nanosecs": 999_999_999})],
                ),
            ],
            60,
        );
        if !offsets.is_empty() {
            made.set
                .insert("/linux/timeOffsets".to_owned(), offsets.into());
        }
    }
}

/// Further `mounts`, some of the usual ones left out, and `linux.rootfsPropagation`.
pub(super) fn mounts(choice: &mut Choice, made: &mut Case) {
    let flags = [
        &["ro", "rw"][..],
        &["nosuid", "suid"],
        &["nodev", "dev"],
        &["noexec", "exec"],
        &["noatime", "relatime", "strictatime"],
        &["nodiratime", "diratime"],
    ];
    let propagation = [
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
    ];
    for (number, place) in ["/a", "/image/below", "/a/b", "/link/through"]
        .iter()
        .enumerate()
    {
        if !choice.percent(40) {
            continue;
        }
        let mut options: Vec<String> = Vec::new();
        for group in flags {
            if choice.percent(35) {
                options.push(choice.one(group).to_owned());
            }
        }
        if choice.percent(25) {
            options.push(choice.one(&propagation).to_owned());
        }
        let mut options = choice.shuffled(options);
        let mount = match choice.below(5) {
            0 | 1 => {
                options.extend(choice.some(
                    &[
                        "mode=1777".to_owned(),
                        "size=64k".to_owned(),
                        "nr_inodes=100".to_owned(),
                    ],
                    50,
                ));
                json!({"type": "tmpfs", "source": format!("tmpfs{number}"), "destination": place})
            }
            2 => {
                options.push("rbind".to_owned());
                json!({"type": "bind", "source": "$BUNDLE/volume", "destination": place})
            }
            3 => {
                options.insert(0, "bind".to_owned());
                json!({"type": "none", "source": "$BUNDLE/other", "destination": place})
            }
            _ => {
                options.insert(0, "bind".to_owned());
                json!({"type": "bind", "source": "$BUNDLE/volume/file", "destination": format!("{place}.file")})
            }
        };
        let mut mount = mount;
        mount["options"] = json!(options);
        made.push.push(("/mounts".to_owned(), mount));
    }
    leave_room_below(&mut made.push);
    if choice.percent(20) {
        let kinds = ["private", "slave", "shared"];
        made.set.insert(
            "/linux/rootfsPropagation".to_owned(),
            choice.one(&kinds).into(),
        );
    }
}

/// Nobody can make a mount point in what is mounted read-only at `/a`. A tmpfs there becomes so after all
/// mounts, but not for the reference, which then refuses the whole case: see the hand-made
/// `mount-in-a-read-only-tmpfs`.
fn leave_room_below(made: &mut [(String, Value)]) {
    let place = |mount: &Value| mount["destination"].as_str().unwrap_or_default().to_owned();
    if !made
        .iter()
        .any(|(_, mount)| place(mount).starts_with("/a/"))
    {
        return;
    }
    let above = made.iter_mut().find(|(_, mount)| place(mount) == "/a");
    if let Some((_, mount)) = above
        && let Some(options) = mount["options"].as_array_mut()
    {
        options.retain(|option| option != "ro");
    }
}

/// `linux.maskedPaths` and `linux.readonlyPaths`.
pub(super) fn paths(choice: &mut Choice, set: &mut Set) {
    let masked = [
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/sys/firmware",
        "/proc/scsi",
        "/image/file",
        "/etc/group",
        "/not/there",
        "/proc/interrupts",
    ];
    let readonly = [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/image",
        "/tmp",
        "/etc/passwd",
        "/not/there/either",
        "/dev/shm",
    ];
    for (name, all) in [("maskedPaths", masked), ("readonlyPaths", readonly)] {
        if choice.percent(50) {
            set.insert(format!("/linux/{name}"), json!(choice.some(&all, 50)));
        }
    }
}

/// `linux.devices`.
pub(super) fn devices(choice: &mut Choice, made: &mut Case) {
    let all = [
        json!({"path": "/dev/own", "type": "c", "major": 1, "minor": 3}),
        json!({"path": "/dev/deep/er/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6}),
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}),
        json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600}),
        json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o622}),
    ];
    for device in choice.some(&all, 15) {
        made.push.push(("/linux/devices".to_owned(), device));
    }
}

/// `linux.sysctl`, of the namespaces that the case has.
pub(super) fn settings(choice: &mut Choice, made: &mut Case) {
    let new = |kind: &str| !made.namespaces.contains_key(kind);
    let mut all = Vec::new();
    if new("network") {
        all.extend([
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.ping_group_range", "0 1000"),
        ]);
    }
    if new("ipc") {
        all.extend([
            ("kernel.msgmax", "65536"),
            ("kernel.shm_rmid_forced", "1"),
            ("fs.mqueue.msg_max", "20"),
        ]);
    }
    let chosen = choice.some(&all, 20);
    if !chosen.is_empty() {
        let chosen = chosen
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()));
        made.set
            .insert("/linux/sysctl".to_owned(), Value::Object(chosen.collect()));
    }
}

/// `linux.resources`, without the device list, which stays Docker's.
pub(super) fn resources(choice: &mut Choice, set: &mut Set) {
    let mebi = |n: i64| json!(n << 20);
    if choice.percent(40) {
        let mut memory = choice.members(
            &[
                ("limit", vec![mebi(64), mebi(256)]),
                ("reservation", vec![mebi(32)]),
            ],
            60,
        );
        if memory.contains_key("limit") && choice.percent(40) {
            memory.insert(
                "swap".to_owned(),
                choice.one(&[mebi(256), mebi(512), json!(-1)]),
            );
        }
        set.insert("/linux/resources/memory".to_owned(), memory.into());
    }
    if choice.percent(40) {
        let mut cpu = choice.members(
            &[
                ("shares", vec![json!(256), json!(512), json!(4096)]),
                ("cpus", vec![json!("0"), json!("0-1")]),
            ],
            50,
        );
        if choice.percent(50) {
            cpu.insert(
                "quota".to_owned(),
                choice.one(&[json!(50000), json!(200_000), json!(-1)]),
            );
            cpu.insert(
                "period".to_owned(),
                choice.one(&[json!(100_000), json!(50000)]),
            );
        }
        set.insert("/linux/resources/cpu".to_owned(), cpu.into());
    }
    if choice.percent(40) {
        set.insert(
            "/linux/resources/pids".to_owned(),
            json!({"limit": choice.one(&[64, 1024, -1])}),
        );
    }
}

/// Calls that neither the program's start nor the probe need.
const REFUSABLE: [&str; 23] = [
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "clock_settime",
    "init_module",
    "io_uring_setup",
    "kcmp",
    "mbind",
    "memfd_create",
    "mount",
    "open_by_handle_at",
    "perf_event_open",
    "personality",
    "pivot_root",
    "ptrace",
    "quotactl",
    "reboot",
    "setns",
    "swapon",
    "sysinfo",
    "umount2",
    "unshare",
];

/// `linux.seccomp`: a list of what is refused, with all verdicts and operators. The hand-made corpus has
/// the lists of what is allowed.
pub(super) fn seccomp(choice: &mut Choice, set: &mut Set) {
    if !choice.percent(40) {
        return;
    }
    let mut rules = Vec::new();
    let mut names = choice.shuffled(REFUSABLE.to_vec());
    for _ in 0..=choice.below(4) {
        let mut rule = json!({"names": names.split_off(names.len().saturating_sub(3))});
        rule["action"] = choice
            .one(&[
                "SCMP_ACT_ERRNO",
                "SCMP_ACT_KILL",
                "SCMP_ACT_KILL_THREAD",
                "SCMP_ACT_KILL_PROCESS",
                "SCMP_ACT_TRAP",
                "SCMP_ACT_TRACE",
                "SCMP_ACT_LOG",
            ])
            .into();
        if choice.percent(50) && rule["action"] == "SCMP_ACT_ERRNO" {
            rule["errnoRet"] = choice.one(&[1, 13, 22, 38]).into();
        }
        rules.push(rule);
    }
    let arguments = [
        json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 93, "args": [{"index": 0, "value": 17, "op": "SCMP_CMP_GE"}]}),
        json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0x5412, "op": "SCMP_CMP_EQ"}]}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ"}]}),
        json!({"names": ["setpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 5, "op": "SCMP_CMP_LT"}]}),
    ];
    rules.extend(choice.some(&arguments, 40));
    let mut filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": choice.shuffled(rules)});
    if choice.percent(50) {
        filter["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    }
    set.insert("/linux/seccomp".to_owned(), filter);
}
