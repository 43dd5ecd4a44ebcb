//! Lists to compile: those of the engines, and generated ones.

use gl_spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use libseccomp::ScmpSyscall;

use super::oracle;
use super::rng::Rng;

/// Docker's default list, see `source` in the file.
pub(crate) fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../data/docker.json")).unwrap()
}

/// Podman's default list, see `source` in the file.
pub(crate) fn podman() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../data/podman.json")).unwrap()
}

/// The list without the names that libseccomp does not know, or not for every ABI that has them.
pub(crate) fn known_to_oracle(mut seccomp: LinuxSeccomp) -> LinuxSeccomp {
    let mut syscalls = seccomp.syscalls().clone().unwrap_or_default();
    for syscall in &mut syscalls {
        let mut names = syscall.names().clone();
        names.retain(|name| ScmpSyscall::from_name(name).is_ok() && name != X32_UNKNOWN);
        syscall.set_names(names);
    }
    seccomp.set_syscalls(Some(syscalls));
    seccomp
}

/// The tables of libseccomp 2.5 lack it for x32, where it is 453.
const X32_UNKNOWN: &str = "map_shadow_stack";

/// The same list for an ARM machine.
pub(crate) fn for_arm(mut seccomp: LinuxSeccomp) -> LinuxSeccomp {
    seccomp.set_architectures(Some(vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]));
    seccomp
}

/// All names that libseccomp knows for any ABI here.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for arch in [
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchArm,
    ] {
        let arch = oracle::arch(arch);
        for number in (0..600)
            .chain(0x000f_0000..0x000f_0010)
            .chain(0x4000_0000..0x4000_0258)
        {
            names.extend(ScmpSyscall::from_raw_syscall(number).get_name_by_arch(arch));
        }
        // Calls of x86 that are reached through `socketcall` and `ipc` alone.
        names.extend(["accept", "recv", "send", "semop", "semtimedop"].map(String::from));
    }
    names.sort_unstable();
    names.dedup();
    names.retain(|name| name != X32_UNKNOWN);
    names
}

/// What generated rules of one call may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// All operators; all rules of a call have one action.
    OneAction,
    /// All actions; only `EQ` and `MASKED_EQ`.
    Equalities,
    /// Anything.
    Anything,
}

const ACTIONS: [(LinuxSeccompAction, Option<u32>); 9] = [
    (LinuxSeccompAction::ScmpActAllow, None),
    (LinuxSeccompAction::ScmpActErrno, None),
    (LinuxSeccompAction::ScmpActErrno, Some(38)),
    (LinuxSeccompAction::ScmpActErrno, Some(22)),
    (LinuxSeccompAction::ScmpActKill, None),
    (LinuxSeccompAction::ScmpActKillProcess, None),
    (LinuxSeccompAction::ScmpActTrap, None),
    (LinuxSeccompAction::ScmpActTrace, Some(7)),
    (LinuxSeccompAction::ScmpActLog, None),
];

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

const EQUALITIES: [LinuxSeccompOperator; 2] = [
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

/// Values that meet each other and the borders of the halves.
pub(crate) const VALUES: [u64; 14] = [
    0,
    1,
    2,
    3,
    8,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_0000_0008,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// A list with some calls that get many rules, the hot ones, which come back beside it.
pub(crate) fn generated(
    rng: &mut Rng,
    names: &[String],
    architectures: &[Arch],
    rules: Rules,
) -> (LinuxSeccomp, Vec<String>) {
    let hot: Vec<String> = (0..1 + rng.below(6))
        .map(|_| names[rng.below(names.len())].clone())
        .collect();
    let fixed: Vec<_> = hot.iter().map(|_| rng.pick(&ACTIONS)).collect();
    let mut syscalls = Vec::new();
    for _ in 0..1 + rng.below(30) {
        let which = rng.below(hot.len());
        let (action, errno) = match rules {
            Rules::OneAction => fixed[which],
            Rules::Equalities | Rules::Anything => rng.pick(&ACTIONS),
        };
        let args = if rng.one_in(12) {
            Vec::new()
        } else {
            arguments(rng, rules)
        };
        syscalls.push(syscall(vec![hot[which].clone()], action, errno, args));
    }
    for _ in 0..rng.below(40) {
        let count = 1 + rng.below(12);
        let some = (0..count)
            .map(|_| names[rng.below(names.len())].clone())
            .collect();
        let (action, errno) = rng.pick(&ACTIONS);
        syscalls.push(syscall(some, action, errno, Vec::new()));
    }
    let (action, errno) = rng.pick(&ACTIONS);
    let mut list = LinuxSeccompBuilder::default()
        .default_action(action)
        .architectures(architectures.to_vec())
        .syscalls(syscalls)
        .build()
        .unwrap();
    list.set_default_errno_ret(errno);
    (list, hot)
}

fn arguments(rng: &mut Rng, rules: Rules) -> Vec<LinuxSeccompArg> {
    (0..1 + rng.below(3))
        .map(|_| argument(rng, rules))
        .collect()
}

fn argument(rng: &mut Rng, rules: Rules) -> LinuxSeccompArg {
    let operators = match rules {
        Rules::Equalities => &EQUALITIES[..],
        Rules::OneAction | Rules::Anything => &OPERATORS[..],
    };
    let mut argument = LinuxSeccompArgBuilder::default()
        .index(rng.below(3))
        .op(rng.pick(operators))
        .value(rng.pick(&VALUES));
    if !rng.one_in(4) {
        argument = argument.value_two(rng.pick(&VALUES));
    }
    argument.build().unwrap()
}

/// A list that allows one call and kills for all others.
pub(crate) fn one_call(name: &str, architectures: &[Arch]) -> LinuxSeccomp {
    let allow = LinuxSeccompAction::ScmpActAllow;
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActKill)
        .architectures(architectures.to_vec())
        .syscalls(vec![syscall(
            vec![name.to_owned()],
            allow,
            None,
            Vec::new(),
        )])
        .build()
        .unwrap()
}

/// One entry of `syscalls`.
pub(crate) fn syscall(
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    args: Vec<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut syscall = LinuxSyscallBuilder::default()
        .names(names)
        .action(action)
        .build()
        .unwrap();
    syscall.set_errno_ret(errno);
    if !args.is_empty() {
        syscall.set_args(Some(args));
    }
    syscall
}
