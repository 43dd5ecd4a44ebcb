//! Seccomp sections: what is compiled answers as the rules say, and the kernel takes it.

use std::collections::BTreeMap;

use gl_seccomp::{Policy, Program};
use gl_spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use crate::bpf::{self, Data};
use crate::bytes::Bytes;

/// Docker's list.
pub(crate) const DOCKER: &str = include_str!("../../../crates/gl-seccomp/tests/data/docker.json");

/// What the kernel calls this machine.
#[cfg(target_arch = "x86_64")]
pub(crate) const AUDIT: u32 = 0xc000_003e;
/// What the kernel calls this machine.
#[cfg(target_arch = "aarch64")]
pub(crate) const AUDIT: u32 = 0xc000_00b7;

const AUDITS: [u32; 5] = [AUDIT, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_00f3];

/// Values at the borders of halves and signs.
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    8,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// A section as text.
pub fn seccomp_section(data: &[u8]) {
    if let Ok(section) = serde_json::from_slice::<LinuxSeccomp>(data)
        && let Some((policy, program)) = compiled(&section)
    {
        agree(&policy, &program, &mut Bytes::new(data), &VALUES);
    }
}

/// A section that the bytes describe; its rules are also evaluated without the compiler.
pub fn seccomp(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let section = generated(&mut bytes);
    let Some((policy, program)) = compiled(&section) else {
        return;
    };
    let near = values_near(&section);
    agree(&policy, &program, &mut bytes, &near);
    directly(&section, &program, &near, &mut bytes);
    if bytes.byte() < 8 {
        assert!(kernel_takes(&program), "the kernel refuses {section:?}");
    }
    // A second section over it is never kinder.
    let other = generated(&mut bytes);
    if let Some((other, _)) = compiled(&other) {
        let both = policy.tightened_by(&other);
        let Ok(merged) = gl_seccomp::assemble(&both) else {
            return;
        };
        agree(&both, &merged, &mut bytes, &near);
        for _ in 0..16 {
            let data = call(&mut bytes, &near);
            let verdict = |policy: &Policy| policy.verdict(data.arch, data.nr, &data.args);
            let (got, one, two) = (verdict(&both), verdict(&policy), verdict(&other));
            assert_eq!(got.action(), one.stricter(two).action(), "{data:?}");
        }
    }
}

fn compiled(section: &LinuxSeccomp) -> Option<(Policy, Program)> {
    let policy = match gl_seccomp::policy(section, gl_seccomp::NATIVE) {
        Ok(policy) => policy,
        Err(err) => {
            assert!(!err.to_string().is_empty());
            return None;
        }
    };
    let program = gl_seccomp::assemble(&policy).ok()?;
    let stored = Program::from_bytes(&program.to_bytes()).expect("what was stored");
    assert_eq!(stored, program);
    Some((policy, program))
}

/// The instructions give the verdict of the policy, whatever the call.
fn agree(policy: &Policy, program: &Program, bytes: &mut Bytes<'_>, values: &[u64]) {
    for _ in 0..64 {
        let data = call(bytes, values);
        let verdict = policy.verdict(data.arch, data.nr, &data.args);
        assert_eq!(bpf::run(program.insns(), &data), verdict.bits(), "{data:?}");
    }
}

fn call(bytes: &mut Bytes<'_>, values: &[u64]) -> Data {
    let number = u32::try_from(bytes.below(500)).unwrap_or(0);
    Data {
        nr: match bytes.below(8) {
            0 => number | 0x4000_0000,
            1 => u32::MAX - number,
            2 => 0x000f_0000 + number,
            _ => number,
        },
        arch: match bytes.below(4) {
            0 => *bytes.pick(&AUDITS),
            _ => AUDIT,
        },
        args: std::array::from_fn(|_| *bytes.pick(values)),
    }
}

fn values_near(section: &LinuxSeccomp) -> Vec<u64> {
    let args = section.syscalls().iter().flatten();
    let args = args.flat_map(|syscall| syscall.args().iter().flatten());
    let own = args.flat_map(|arg| [arg.value(), arg.value_two().unwrap_or(0)]);
    let near = own.flat_map(|value| [value, value.wrapping_add(1), value.wrapping_sub(1)]);
    near.chain(VALUES).collect()
}

/// Calls that every machine has by the same meaning of their arguments.
const NAMES: [&str; 12] = [
    "getpid",
    "openat",
    "kill",
    "socket",
    "prctl",
    "setns",
    "personality",
    "read",
    "clone3",
    "futex",
    "nonsense",
    "mount_setattr",
];

const ACTIONS: [LinuxSeccompAction; 8] = [
    LinuxSeccompAction::ScmpActAllow,
    LinuxSeccompAction::ScmpActErrno,
    LinuxSeccompAction::ScmpActKill,
    LinuxSeccompAction::ScmpActKillProcess,
    LinuxSeccompAction::ScmpActTrap,
    LinuxSeccompAction::ScmpActTrace,
    LinuxSeccompAction::ScmpActLog,
    LinuxSeccompAction::ScmpActNotify,
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

fn generated(bytes: &mut Bytes<'_>) -> LinuxSeccomp {
    let mut syscalls = Vec::new();
    for _ in 0..bytes.below(24) {
        let mut syscall = LinuxSyscallBuilder::default()
            .names(vec![(*bytes.pick(&NAMES)).to_owned()])
            .action(*bytes.pick(&ACTIONS))
            .build()
            .expect("all that is needed");
        let fails = matches!(
            syscall.action(),
            LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace
        );
        if fails && bytes.byte() & 1 == 0 {
            syscall.set_errno_ret(Some(u32::from(bytes.byte()) << bytes.below(6)));
        }
        let args: Vec<_> = (0..bytes.below(4)).map(|_| argument(bytes)).collect();
        if !args.is_empty() {
            syscall.set_args(Some(args));
        }
        syscalls.push(syscall);
    }
    let mut section = LinuxSeccompBuilder::default()
        .default_action(*bytes.pick(&ACTIONS[..7]))
        .syscalls(syscalls)
        .build()
        .expect("all that is needed");
    if bytes.byte() & 1 == 0 {
        section.set_architectures(Some(vec![
            Arch::ScmpArchX86_64,
            Arch::ScmpArchX86,
            Arch::ScmpArchX32,
        ]));
    }
    section
}

fn argument(bytes: &mut Bytes<'_>) -> LinuxSeccompArg {
    let value = |bytes: &mut Bytes<'_>| match bytes.below(4) {
        0 => bytes.u64(),
        _ => *bytes.pick(&VALUES),
    };
    let mut argument = LinuxSeccompArgBuilder::default()
        .index(bytes.below(7))
        .op(*bytes.pick(&OPERATORS))
        .value(value(bytes));
    if bytes.byte() & 1 == 0 {
        argument = argument.value_two(value(bytes));
    }
    argument.build().expect("all that is needed")
}

/// Each named call of this machine, evaluated rule by rule: what the filter answers is what some rule that
/// holds says, and the default action only if none holds.
fn directly(section: &LinuxSeccomp, program: &Program, values: &[u64], bytes: &mut Bytes<'_>) {
    let mut rules: BTreeMap<&str, Vec<&LinuxSyscall>> = BTreeMap::new();
    for syscall in section.syscalls().iter().flatten() {
        for name in syscall.names() {
            rules.entry(name).or_default().push(syscall);
        }
    }
    let default = value(section.default_action(), section.default_errno_ret());
    for (name, rules) in rules {
        let Some(number) = number(name) else { continue };
        // An argument that occurs twice makes a rule of each condition: told apart elsewhere.
        if rules.iter().any(|rule| repeats(rule)) {
            continue;
        }
        let args: [u64; 6] = std::array::from_fn(|_| *bytes.pick(values));
        let data = Data {
            nr: number,
            arch: AUDIT,
            args,
        };
        let got = bpf::run(program.insns(), &data);
        let mut said: Vec<u32> = rules
            .iter()
            .filter(|rule| rule.args().iter().flatten().all(|arg| holds(arg, &args)))
            .map(|rule| value(rule.action(), rule.errno_ret()))
            .collect();
        // A rule with the default action is left out, so the default has a say where it does.
        if said.is_empty() || said.contains(&default) {
            said.push(default);
        }
        assert!(
            said.contains(&got),
            "{name}{args:?}: {got:#x} is none of {said:#x?}"
        );
    }
}

fn repeats(rule: &LinuxSyscall) -> bool {
    let indices: Vec<_> = rule
        .args()
        .iter()
        .flatten()
        .map(LinuxSeccompArg::index)
        .collect();
    (1..indices.len()).any(|at| indices[..at].contains(&indices[at]))
}

fn holds(arg: &LinuxSeccompArg, args: &[u64; 6]) -> bool {
    let (seen, value) = (args[arg.index()], arg.value());
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => seen != value,
        LinuxSeccompOperator::ScmpCmpLt => seen < value,
        LinuxSeccompOperator::ScmpCmpLe => seen <= value,
        LinuxSeccompOperator::ScmpCmpEq => seen == value,
        LinuxSeccompOperator::ScmpCmpGe => seen >= value,
        LinuxSeccompOperator::ScmpCmpGt => seen > value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            seen & value == arg.value_two().unwrap_or(0) & value
        }
    }
}

/// What a filter returns for an action: TRACE has sixteen bits for a tracer, and no ERRNO is over 4095.
fn value(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match action {
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | errno,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | errno,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
        _ => 0,
    }
}

fn number(name: &str) -> Option<u32> {
    let number = match name {
        "getpid" => libc::SYS_getpid,
        "openat" => libc::SYS_openat,
        "kill" => libc::SYS_kill,
        "socket" => libc::SYS_socket,
        "prctl" => libc::SYS_prctl,
        "setns" => libc::SYS_setns,
        "personality" => libc::SYS_personality,
        "read" => libc::SYS_read,
        "clone3" => libc::SYS_clone3,
        "futex" => libc::SYS_futex,
        "mount_setattr" => libc::SYS_mount_setattr,
        _ => return None,
    };
    u32::try_from(number).ok()
}

/// Attaches the program in a process that then ends, however the filter lets it.
fn kernel_takes(program: &Program) -> bool {
    const REFUSED: i32 = 77;
    // SAFETY: the child makes two system calls with what it has on its stack, and ends; it takes no lock
    // and returns to nobody.
    match unsafe { libc::fork() } {
        0 => {
            let refused = gl_seccomp::install(program).is_err();
            // SAFETY: ends the process; where the filter does not let it, the signal below does.
            unsafe { libc::_exit(if refused { REFUSED } else { 0 }) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child that was just made; `status` outlives the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            !(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == REFUSED)
        }
    }
}
