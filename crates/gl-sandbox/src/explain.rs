//! A denied call in words: its arguments, and the lines of a profile that have a say in it.
//!
//! Shown are the arguments that some group of calls asks for, and a few more that are numbers of a known
//! meaning. None of them is an address: a filter cannot read what one points to, so no rule asks for any.

use gl_profile::seccomp::{Group, group, group_names};
use gl_profile::{Origin, Profile};
use gl_seccomp::Syscall;

/// Arguments that are numbers, by call: position and name.
const NAMES: &[(&str, &[(usize, &str)])] = &[
    ("socket", &[(0, "domain"), (1, "type"), (2, "protocol")]),
    ("socketpair", &[(0, "domain"), (1, "type"), (2, "protocol")]),
    ("clone", &[(0, "flags")]),
    ("unshare", &[(0, "flags")]),
    ("setns", &[(1, "type")]),
    ("ioctl", &[(1, "request")]),
    ("prctl", &[(0, "option")]),
    ("personality", &[(0, "persona")]),
    ("keyctl", &[(0, "operation")]),
    ("bpf", &[(0, "command")]),
    ("ptrace", &[(0, "request"), (1, "pid")]),
    ("kill", &[(0, "pid"), (1, "signal")]),
    ("tgkill", &[(0, "pid"), (1, "thread"), (2, "signal")]),
    ("fcntl", &[(1, "command")]),
];

const DOMAINS: &[(u64, &str)] = &[
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (15, "AF_KEY"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (31, "AF_BLUETOOTH"),
    (38, "AF_ALG"),
    (40, "AF_VSOCK"),
    (44, "AF_XDP"),
];
const TYPES: &[(u64, &str)] = &[
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (5, "SOCK_SEQPACKET"),
];
const TYPE_FLAGS: &[(u64, &str)] = &[(0o4000, "SOCK_NONBLOCK"), (0o200_0000, "SOCK_CLOEXEC")];
const CLONE_FLAGS: &[(u64, &str)] = &[
    (0x80, "CLONE_NEWTIME"),
    (0x100, "CLONE_VM"),
    (0x200, "CLONE_FS"),
    (0x400, "CLONE_FILES"),
    (0x800, "CLONE_SIGHAND"),
    (0x1_0000, "CLONE_THREAD"),
    (0x2_0000, "CLONE_NEWNS"),
    (0x4000, "CLONE_VFORK"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];
const REQUESTS: &[(u64, &str)] = &[
    (0x5401, "TCGETS"),
    (0x5412, "TIOCSTI"),
    (0x5413, "TIOCGWINSZ"),
    (0x541c, "TIOCLINUX"),
];

/// The positions of the arguments that tell one kind of a call from another.
pub(crate) fn telling(call: Syscall) -> Vec<usize> {
    let mut all: Vec<usize> = named(call).iter().map(|(index, _)| *index).collect();
    for group in group_names().filter_map(group) {
        let rules = group.rules.iter().filter(|rule| rule.calls.contains(&call));
        let asked = rules.flat_map(|rule| rule.conditions.iter());
        all.extend(asked.map(|condition| usize::from(condition.argument)));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn named(call: Syscall) -> &'static [(usize, &'static str)] {
    let found = NAMES.iter().find(|(name, _)| *name == call.name());
    found.map_or(&[], |(_, names)| names)
}

/// Those arguments as `name=value`.
pub(crate) fn arguments(call: Syscall, raw: &[u64; 6]) -> Vec<String> {
    let shown = telling(call).into_iter().map(|index| {
        let value = raw.get(index).copied().unwrap_or(0);
        let name = named(call).iter().find(|(at, _)| *at == index);
        match name {
            Some((_, name)) => format!("{name}={}", value_of(call.name(), name, value)),
            None => format!("argument {index}={value:#x}"),
        }
    });
    shown.collect()
}

fn value_of(call: &str, argument: &str, value: u64) -> String {
    let one = |table: &[(u64, &str)]| {
        let found = table.iter().find(|(number, _)| *number == value);
        found.map(|(_, name)| (*name).to_owned())
    };
    let known = match (call, argument) {
        (_, "domain") => one(DOMAINS),
        ("socket" | "socketpair", "type") => {
            let (kind, rest) = (value & 0xf, value & !0xf);
            let name = TYPES.iter().find(|(number, _)| *number == kind);
            name.map(|(_, name)| flags(TYPE_FLAGS, rest, vec![(*name).to_owned()]))
        }
        (_, "flags") => Some(flags(CLONE_FLAGS, value & !0xff, Vec::new())),
        ("ioctl", "request") => one(REQUESTS),
        (_, "pid" | "thread" | "signal" | "option" | "operation" | "command" | "protocol") => {
            // The kernel reads the low half.
            Some(((value & 0xffff_ffff) as u32).cast_signed().to_string())
        }
        _ => None,
    };
    known.unwrap_or_else(|| format!("{value:#x}"))
}

fn flags(table: &[(u64, &str)], value: u64, mut words: Vec<String>) -> String {
    let known = table.iter().filter(|(bit, _)| value & bit != 0);
    words.extend(known.clone().map(|(_, name)| (*name).to_owned()));
    let rest = known.fold(value, |rest, (bit, _)| rest & !bit);
    if rest != 0 || words.is_empty() {
        words.push(format!("{rest:#x}"));
    }
    words.join("|")
}

/// The line that would allow a call with these arguments, and the one that denies it whatever allows it.
pub(crate) fn lines(
    profiles: &[Profile],
    call: Syscall,
    raw: &[u64; 6],
) -> (Option<String>, Option<String>) {
    let denied = profiles
        .iter()
        .find_map(|profile| denies(profile, call, raw));
    let group = smallest(call, raw);
    let allow = match group {
        Some(group) => format!("seccomp.groups = [{:?}]", group.name),
        None => format!("seccomp.allow = [{:?}]", call.name()),
    };
    (Some(allow), denied)
}

/// The group with the fewest calls that allows it.
fn smallest(call: Syscall, raw: &[u64; 6]) -> Option<&'static Group> {
    let groups = group_names().filter_map(group);
    let allows = groups.filter(|group| speaks(group, call, raw, Refusing::No));
    allows.min_by_key(|group| {
        group
            .rules
            .iter()
            .map(|rule| rule.calls.len())
            .sum::<usize>()
    })
}

/// Whether rules that make a call fail count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    Yes,
    No,
}

fn speaks(group: &Group, call: Syscall, raw: &[u64; 6], refusing: Refusing) -> bool {
    group.rules.iter().any(|rule| {
        (refusing == Refusing::Yes || rule.errno.is_none())
            && rule.calls.contains(&call)
            && rule.pieces.iter().any(|piece| {
                let mut pairs = piece.0.iter().zip(raw);
                pairs.all(|(bits, argument)| argument & bits.mask == bits.value)
            })
    })
}

fn denies(profile: &Profile, call: Syscall, raw: &[u64; 6]) -> Option<String> {
    let policy = &profile.seccomp;
    let said = |key: &str, word: &str, origin: &Origin| format!("{key} {word:?} ({origin})");
    let single = policy
        .deny
        .iter()
        .find(|one| one.value.call() == call.name() && has_part(one.value.group(), call, raw));
    let single = single.map(|one| said("seccomp.deny", one.value.as_str(), &one.origin));
    single.or_else(|| {
        let found = policy.deny_groups.iter().find(|one| {
            group(one.value.as_str()).is_some_and(|group| speaks(group, call, raw, Refusing::Yes))
        });
        found.map(|one| said("seccomp.deny_groups", one.value.as_str(), &one.origin))
    })
}

/// Whether these arguments are in the part of a call that a group has; without one, all of it counts.
fn has_part(part: Option<&str>, call: Syscall, raw: &[u64; 6]) -> bool {
    part.is_none_or(|name| group(name).is_some_and(|one| speaks(one, call, raw, Refusing::Yes)))
}

#[cfg(test)]
mod tests {
    use super::{arguments, lines};
    use gl_seccomp::Syscall;

    #[test]
    fn arguments_are_told_by_their_names() {
        let call = |name| Syscall::named(name).unwrap();
        let socket = arguments(call("socket"), &[2, 0o200_0001, 6, 0, 0, 0]);
        assert_eq!(
            socket,
            [
                "domain=AF_INET",
                "type=SOCK_STREAM|SOCK_CLOEXEC",
                "protocol=6"
            ]
        );
        let unshare = arguments(call("unshare"), &[0x1002_0000, 0, 0, 0, 0, 0]);
        assert_eq!(unshare, ["flags=CLONE_NEWNS|CLONE_NEWUSER"]);
        let kill = arguments(call("kill"), &[0xffff_ffff, 9, 0, 0, 0, 0]);
        assert_eq!(kill, ["pid=-1", "signal=9"]);
        let open = arguments(call("open"), &[0xdead_beef, 0, 0, 0, 0, 0]).join(" ");
        assert!(!open.contains("dead"), "{open}");
    }

    #[test]
    fn allowing_line_is_the_group_that_has_the_call_with_these_arguments() {
        let socket = Syscall::named("socket").unwrap();
        let line = |raw| lines(&[], socket, &raw).0.unwrap();
        assert_eq!(
            line([2, 1, 0, 0, 0, 0]),
            r#"seccomp.groups = ["sockets-client"]"#
        );
        assert_eq!(
            line([17, 3, 0, 0, 0, 0]),
            r#"seccomp.groups = ["sockets-raw"]"#
        );
    }
}
