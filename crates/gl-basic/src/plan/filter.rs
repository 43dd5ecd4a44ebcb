//! `[seccomp]`, and what Landlock does not hold on the host's own namespaces.
//!
//! Two filters in one: the profile's, or that of `blocked_dangerous` where it has none, tightened by a list
//! of what would reach past the paths and processes that Landlock knows.

use gl_profile::Profile;
use gl_profile::seccomp::{Answers, Filter};
use gl_profile::translate::Effect;
use gl_seccomp::{Builder, Call, Condition, NATIVE, Policy, Rule, Syscall, Test, Verdict, Width};

use super::Deciding;
use crate::error::Error;

const EPERM: u16 = 1;

/// Calls that are denied, with what they would reach.
const DENIED: [(&str, &[&str]); 5] = [
    (
        "modes, owners and extended attributes stay: Landlock does not hold them",
        &[
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "setxattrat",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "removexattrat",
            "file_setattr",
        ],
    ),
    (
        "no names of files are watched: Landlock does not hold that",
        &["inotify_add_watch", "fanotify_init", "fanotify_mark"],
    ),
    (
        "no IPC by numbers and names that all processes of the host share",
        &[
            "shmget",
            "shmat",
            "shmctl",
            "semget",
            "semop",
            "semtimedop",
            "semctl",
            "msgget",
            "msgsnd",
            "msgrcv",
            "msgctl",
            "mq_open",
            "mq_unlink",
        ],
    ),
    (
        "no keys of the user's session",
        &["add_key", "request_key", "keyctl"],
    ),
    (
        "no io_uring, whose sockets no filter sees",
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
    ),
];

/// Calls that are denied where there is no network.
const CONNECTING: [&str; 3] = ["connect", "bind", "listen"];

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const NETLINK_ROUTE: u64 = 0;
const SOCK_STREAM: u64 = 1;
const SOCK_SEQPACKET: u64 = 5;
/// What of the type of a socket is its type.
const TYPE: u64 = 0xf;

/// The calls that no profile can allow in this tier, as Landlock does not hold what they do.
pub fn never_allowed() -> impl Iterator<Item = &'static str> {
    DENIED.iter().flat_map(|(_, calls)| calls.iter().copied())
}

pub(super) fn apply(run: &mut Deciding<'_>) -> Result<Option<Policy>, Error> {
    let profile = run.profile;
    let mode = profile.mode.value;
    let has_own = Filter::is_for(profile);
    let base = match has_own {
        true => Answers::new(&profile.seccomp, mode)?,
        false => {
            let floor = Profile::resolve("blocked_dangerous", &())?;
            Answers::new(&floor.seccomp, mode)?
        }
    };
    let policy = base.policy(NATIVE)?;
    let line = profile.seccomp.default.as_ref();
    let origin = line.map_or(&profile.isolation.origin, |line| &line.origin);
    let setting = match has_own {
        true => "a filter of the profile's groups".to_owned(),
        false => "the filter of blocked_dangerous, as the profile has none".to_owned(),
    };
    run.step(origin, "seccomp", setting, Effect::Applied);
    if !run.enforcing() {
        return Ok(Some(policy));
    }
    for (why, _) in DENIED {
        let origin = &profile.isolation.origin;
        run.step(origin, "seccomp", why.to_owned(), Effect::Applied);
    }
    for why in [
        "no socket by path or name: Landlock does not hold connections to them",
        "limits and priorities of other processes stay",
    ] {
        let origin = &profile.isolation.origin;
        run.step(origin, "seccomp", why.to_owned(), Effect::Applied);
    }
    let own = own(profile.network.allow_network.value)?;
    Ok(Some(policy.tightened_by(&own)))
}

/// The list as a policy: everything else is allowed.
fn own(network: bool) -> Result<Policy, Error> {
    let denied = Verdict::errno(EPERM);
    let mut builder = Builder::new(NATIVE, Verdict::ALLOW, Verdict::KILL_PROCESS)?;
    let mut answer = |name: &str, call: Call| {
        // One that this architecture lacks cannot be made.
        if let Some(name) = Syscall::named(name) {
            builder.answer(name, call);
        }
    };
    let connecting = CONNECTING.iter().filter(|_| !network);
    let calls = DENIED.iter().flat_map(|(_, calls)| *calls);
    for name in calls.chain(connecting) {
        answer(name, only(&[], denied));
    }
    let inet = [
        vec![is(0, AF_INET)],
        vec![is(0, AF_INET6)],
        vec![is(0, AF_NETLINK), is(2, NETLINK_ROUTE)],
    ];
    answer("socket", only(if network { &inet } else { &[] }, denied));
    // One end of a pair of datagram sockets could send to any path.
    let pairs =
        [SOCK_STREAM, SOCK_SEQPACKET].map(|kind| vec![is(0, AF_UNIX), masked(1, TYPE, kind)]);
    answer("socketpair", only(&pairs, denied));
    // Itself, which is how the C library asks.
    answer("prlimit64", only(&[vec![is(0, 0)]], denied));
    let itself = [vec![is(0, 0), is(1, 0)]];
    answer("setpriority", only(&itself, denied));
    // IOPRIO_WHO_PROCESS.
    answer("ioprio_set", only(&[vec![is(0, 1), is(1, 0)]], denied));
    Ok(builder.finish())
}

/// Allowed with these arguments only.
fn only(allowed: &[Vec<Condition>], otherwise: Verdict) -> Call {
    let rules = allowed.iter().map(|conditions| Rule {
        conditions: conditions.clone(),
        verdict: Verdict::ALLOW,
    });
    Call {
        rules: rules.collect(),
        otherwise,
    }
}

/// The kernel takes these arguments as 32 bits.
fn is(argument: u8, value: u64) -> Condition {
    Condition {
        argument,
        width: Width::Half,
        test: Test::Equal,
        mask: u64::from(u32::MAX),
        value,
    }
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    Condition {
        argument,
        width: Width::Half,
        test: Test::MaskedEqual,
        mask,
        value,
    }
}
