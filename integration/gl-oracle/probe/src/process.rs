//! What a process is: identity, limits, namespaces, scheduling, descriptors, session.

use std::collections::BTreeMap;
use std::fs;
use std::io::Error;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

use serde_json::{Map, Value, json};

use crate::{calls, names};

/// Lines of `/proc/self/status` that a config decides, or that a runtime could leave behind.
const STATUS: &[&str] = &[
    "CapAmb",
    "CapBnd",
    "CapEff",
    "CapInh",
    "CapPrm",
    "Cpus_allowed",
    "Gid",
    "Groups",
    "Mems_allowed",
    "NSpid",
    "NoNewPrivs",
    "PPid",
    "Seccomp",
    "Seccomp_filters",
    "ShdPnd",
    "SigBlk",
    "SigCgt",
    "SigIgn",
    "SigPnd",
    "THP_enabled",
    "Threads",
    "TracerPid",
    "Uid",
    "Umask",
];

/// Files of `/proc/self` that are one value.
const FILES: &[&str] = &[
    "attr/current",
    "autogroup",
    "cgroup",
    "comm",
    "coredump_filter",
    "gid_map",
    "loginuid",
    "oom_score_adj",
    "personality",
    "projid_map",
    "setgroups",
    "timens_offsets",
    "timerslack_ns",
    "uid_map",
];

const NAMESPACES: &[&str] = &[
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid",
    "pid_for_children",
    "time",
    "time_for_children",
    "user",
    "uts",
];

/// All of it, in sections.
pub(crate) fn sections(into: &mut Map<String, Value>) {
    into.insert("status".to_owned(), status());
    into.insert("limits".to_owned(), limits());
    into.insert("self".to_owned(), files());
    into.insert("namespaces".to_owned(), namespaces());
    into.insert("environment".to_owned(), environment());
    into.insert("scheduling".to_owned(), scheduling());
    into.insert("attributes".to_owned(), attributes());
    into.insert("descriptors".to_owned(), descriptors());
    into.insert("session".to_owned(), session());
    into.insert("names".to_owned(), host_names());
    into.insert("interfaces".to_owned(), interfaces());
}

/// The content of a file without its last newline, or the name of the error.
pub(crate) fn text(path: &str) -> Value {
    names::value(fs::read(path).map(|b| String::from_utf8_lossy(&b).trim_end().to_owned()))
}

fn status() -> Value {
    let Ok(all) = fs::read_to_string("/proc/self/status") else {
        return text("/proc/self/status");
    };
    let fields = all.lines().filter_map(|line| line.split_once(':'));
    let known = fields.filter(|(name, _)| STATUS.contains(name));
    known
        .map(|(name, value)| {
            (
                name.to_owned(),
                Value::from(value.trim().replace('\t', " ")),
            )
        })
        .collect()
}

/// Soft and hard limit of each resource.
fn limits() -> Value {
    let Ok(all) = fs::read_to_string("/proc/self/limits") else {
        return text("/proc/self/limits");
    };
    let rows = all.lines().skip(1).filter_map(|line| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut words = rest.split_whitespace();
        let both = format!("{} {}", words.next()?, words.next()?);
        Some((name.trim().to_owned(), Value::from(both)))
    });
    rows.collect()
}

fn files() -> Value {
    let pairs = FILES
        .iter()
        .map(|name| ((*name).to_owned(), text(&format!("/proc/self/{name}"))));
    pairs.collect()
}

fn namespaces() -> Value {
    let link = |name: &&str| {
        let target = fs::read_link(format!("/proc/self/ns/{name}"));
        let target = target.map(|t| t.to_string_lossy().into_owned());
        ((*name).to_owned(), names::value(target))
    };
    NAMESPACES.iter().map(link).collect()
}

fn environment() -> Value {
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let variables = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", lossy(name.into_vec()), lossy(value.into_vec())));
    let cwd = std::env::current_dir().map(|p| p.to_string_lossy().into_owned());
    json!({
        "variables": variables.collect::<Vec<_>>(),
        "program": std::env::args_os().next().map(|a| lossy(a.into_vec())),
        "cwd": names::value(cwd),
        "exe": names::value(fs::read_link("/proc/self/exe").map(|p| p.to_string_lossy().into_owned())),
    })
}

fn scheduling() -> Value {
    let scheduling = calls::scheduling().map(|s| {
        json!({
            "policy": s.policy, "flags": s.flags, "nice": s.nice, "priority": s.priority,
            "runtime": s.runtime, "deadline": s.deadline, "period": s.period,
        })
    });
    let memory =
        calls::memory_policy().map(|(mode, nodes)| format!("mode {mode:#x} nodes {nodes:#x}"));
    json!({
        "cpu": names::value(scheduling),
        "io": names::value(calls::raw(libc::SYS_ioprio_get, [1, 0, 0, 0, 0, 0])),
        "memory": names::value(memory),
    })
}

fn attributes() -> Value {
    json!({
        "parent death signal": names::value(calls::parent_death_signal()),
        "dumpable": names::value(calls::prctl(libc::PR_GET_DUMPABLE, 0)),
        "securebits": names::value(calls::prctl(libc::PR_GET_SECUREBITS, 0)),
        "keep capabilities": names::value(calls::prctl(libc::PR_GET_KEEPCAPS, 0)),
        "timer slack": names::value(calls::prctl(libc::PR_GET_TIMERSLACK, 0)),
        "session keyring": names::value(calls::session_keyring()),
    })
}

/// Every descriptor with what it leads to and its flags, but for the one that lists them.
fn descriptors() -> Value {
    let mut all = BTreeMap::new();
    for number in 0..256 {
        let fd: RawFd = number;
        let Ok(flags) = calls::raw(
            libc::SYS_fcntl,
            [fd.into(), libc::F_GETFL.into(), 0, 0, 0, 0],
        ) else {
            continue;
        };
        let on_exec = calls::raw(
            libc::SYS_fcntl,
            [fd.into(), libc::F_GETFD.into(), 0, 0, 0, 0],
        );
        let target = fs::read_link(format!("/proc/self/fd/{fd}"));
        all.insert(
            format!("{fd:03}"),
            json!({
                "target": names::value(target.map(|t| t.to_string_lossy().into_owned())),
                "flags": format!("{flags:#o}"),
                "close on exec": names::value(on_exec),
            }),
        );
    }
    json!(all)
}

fn session() -> Value {
    let number = |call: i64| names::value(calls::raw(call, [0; 6]));
    let terminal = fs::OpenOptions::new().read(true).open("/dev/tty");
    let is_terminal = |fd: i64| {
        // TIOCGPGRP into nowhere: EFAULT of a terminal, ENOTTY of anything else.
        let answer = calls::raw(libc::SYS_ioctl, [fd, 0x540f, 0, 0, 0, 0]);
        answer.map_or_else(|e| names::errno(&e), |n| n.to_string())
    };
    json!({
        "pid": number(libc::SYS_getpid),
        "parent": number(libc::SYS_getppid),
        "session": number(libc::SYS_getsid),
        "group": names::value(calls::raw(libc::SYS_getpgid, [0; 6])),
        "terminal": names::value(terminal.map(|_| "opens")),
        "standard descriptors": [is_terminal(0), is_terminal(1), is_terminal(2)],
    })
}

fn host_names() -> Value {
    let names = rustix::system::uname();
    json!({
        "host": names.nodename().to_string_lossy(),
        "domain": names.domainname().to_string_lossy(),
        "machine": names.machine().to_string_lossy(),
    })
}

fn interfaces() -> Value {
    let Ok(all) = fs::read_to_string("/proc/self/net/dev") else {
        return text("/proc/self/net/dev");
    };
    let names = all.lines().skip(2).filter_map(|line| line.split_once(':'));
    let flags = |name: &str| -> Result<String, Error> {
        Ok(format!("{:#x}", calls::interface_flags(name)?))
    };
    names
        .map(|(name, _)| (name.trim().to_owned(), names::value(flags(name.trim()))))
        .collect()
}
