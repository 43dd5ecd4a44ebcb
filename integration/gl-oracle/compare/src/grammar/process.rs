//! Productions of `process`.

use gl_e2e::bundle::config::{CAPABILITIES, PATH};
use serde_json::{Map, Value, json};

use super::Choice;
use crate::case::Case;

type Set = Map<String, Value>;

/// `process.user`.
pub(super) fn user(choice: &mut Choice, set: &mut Set) {
    let ids = [0, 0, 0, 1000, 12345, 65534];
    let mut user = json!({"uid": choice.one(&ids), "gid": choice.one(&ids)});
    if choice.percent(40) {
        user["additionalGids"] = json!(choice.some(&[1, 5, 10, 1000, 54321], 50));
    }
    if choice.percent(40) {
        user["umask"] = choice.one(&[0, 0o022, 0o027, 0o077, 0o777]).into();
    }
    set.insert("/process/user".to_owned(), user);
}

/// `process.env` and `process.cwd`.
pub(super) fn environment(choice: &mut Choice, set: &mut Set) {
    let more = [
        "HOME=/somewhere",
        "EMPTY=",
        "TWO=a=b",
        "SPACE=a b\tc",
        "UNICODE=\u{e4}\u{20ac}",
        "TERM=xterm",
        "HOSTNAME=other",
    ];
    let mut list = vec![PATH];
    list.extend(choice.some(&more, 40));
    set.insert("/process/env".to_owned(), json!(choice.shuffled(list)));
    let places = ["/", "/", "/tmp", "/image", "/bin"];
    set.insert("/process/cwd".to_owned(), choice.one(&places).into());
}

/// `process.capabilities` with sets that the kernel takes, and `process.noNewPrivileges`.
pub(super) fn capabilities(choice: &mut Choice, made: &mut Case) {
    if choice.percent(30) {
        made.set
            .insert("/process/noNewPrivileges".to_owned(), true.into());
    }
    match choice.below(10) {
        0..3 => return,
        3 => return made.unset.push("/process/capabilities".to_owned()),
        _ => (),
    }
    let more = [
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_SYS_NICE",
    ];
    let all: Vec<&str> = CAPABILITIES.iter().chain(&more).copied().collect();
    let bounding = choice.some(&all, 50);
    let permitted = choice.some(&bounding, 80);
    let inheritable = if choice.percent(40) {
        choice.some(&permitted, 60)
    } else {
        Vec::new()
    };
    made.set.insert(
        "/process/capabilities".to_owned(),
        json!({
            "effective": choice.some(&permitted, 80),
            "ambient": choice.some(&inheritable, 60),
            "bounding": bounding, "permitted": permitted, "inheritable": inheritable,
        }),
    );
}

/// `process.rlimits` and `process.oomScoreAdj`.
pub(super) fn limits(choice: &mut Choice, set: &mut Set) {
    let kinds = [
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_CPU", 60, 120),
        ("RLIMIT_DATA", 1_u64 << 30, 1_u64 << 31),
        ("RLIMIT_FSIZE", 1 << 24, 1 << 25),
        ("RLIMIT_LOCKS", 10, 20),
        ("RLIMIT_MEMLOCK", 65536, 131_072),
        ("RLIMIT_MSGQUEUE", 1000, 819_200),
        ("RLIMIT_NICE", 0, 0),
        ("RLIMIT_NOFILE", 512, 1024),
        ("RLIMIT_NPROC", 4096, 8192),
        ("RLIMIT_RSS", 1 << 30, 1 << 30),
        ("RLIMIT_RTPRIO", 0, 0),
        ("RLIMIT_RTTIME", 1000, 2000),
        ("RLIMIT_SIGPENDING", 100, 200),
        ("RLIMIT_STACK", 8 << 20, 16 << 20),
    ];
    if choice.percent(50) {
        let chosen = choice.some(&kinds, 30);
        let list: Vec<Value> = choice
            .shuffled(chosen)
            .into_iter()
            .map(|(kind, soft, hard)| json!({"type": kind, "soft": soft, "hard": hard}))
            .collect();
        set.insert("/process/rlimits".to_owned(), list.into());
    }
    if choice.percent(40) {
        set.insert(
            "/process/oomScoreAdj".to_owned(),
            choice.one(&[0, 1, 100, 999, 1000]).into(),
        );
    }
}

/// `process.scheduler` and `process.ioPriority`.
pub(super) fn scheduling(choice: &mut Choice, set: &mut Set) {
    if choice.percent(15) {
        let policies = [
            json!({"policy": "SCHED_OTHER", "nice": 5}),
            json!({"policy": "SCHED_OTHER", "nice": -5}),
            json!({"policy": "SCHED_BATCH", "nice": 19}),
            json!({"policy": "SCHED_BATCH", "nice": 0, "flags": ["SCHED_RESET_ON_FORK"]}),
            json!({"policy": "SCHED_IDLE"}),
        ];
        set.insert("/process/scheduler".to_owned(), choice.one(&policies));
    }
    if choice.percent(20) {
        let classes = ["IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_RT"];
        let value = json!({"class": choice.one(&classes), "priority": choice.below(8)});
        set.insert("/process/ioPriority".to_owned(), value);
    }
}
