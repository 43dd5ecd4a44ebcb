//! libseccomp, driven as runc drives it.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _};

use gl_seccomp::Insn;
use gl_spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};

use super::bpf;

/// The program that libseccomp makes; `None` if it refuses a rule (two actions for the same
/// conditions), in which case runc refuses the container.
pub(crate) fn program(seccomp: &LinuxSeccomp, native: Arch) -> Option<Vec<Insn>> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default).unwrap();
    let here = ScmpArch::native();
    let native = arch(native);
    if native != here {
        filter.add_arch(native).unwrap();
        filter.remove_arch(here).unwrap();
    }
    for &listed in seccomp.architectures().iter().flatten() {
        filter.add_arch(arch(listed)).unwrap();
    }
    let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
    // A tree for longer lists, as runc asks for.
    filter
        .set_ctl_optimize(if syscalls.len() > 32 { 2 } else { 1 })
        .unwrap();
    for syscall in syscalls {
        for name in syscall.names() {
            add(&mut filter, syscall, name, default)?;
        }
    }
    Some(export(&filter))
}

fn add(
    filter: &mut ScmpFilterContext,
    syscall: &LinuxSyscall,
    name: &str,
    default: ScmpAction,
) -> Option<()> {
    let action = action(syscall.action(), syscall.errno_ret());
    let Ok(number) = ScmpSyscall::from_name(name) else {
        return Some(());
    };
    if action == default {
        return Some(());
    }
    let conditions: Vec<_> = syscall.args().iter().flatten().map(compare).collect();
    let mut indexes: Vec<_> = syscall
        .args()
        .iter()
        .flatten()
        .map(LinuxSeccompArg::index)
        .collect();
    indexes.sort_unstable();
    if indexes.windows(2).any(|pair| pair[0] == pair[1]) {
        for condition in conditions {
            filter
                .add_rule_conditional(action, number, &[condition])
                .ok()?;
        }
        return Some(());
    }
    filter
        .add_rule_conditional(action, number, &conditions)
        .ok()
        .map(drop)
}

fn export(filter: &ScmpFilterContext) -> Vec<Insn> {
    let memory = rustix::fs::memfd_create("bpf", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    filter.export_bpf(&memory).unwrap();
    let mut file = std::fs::File::from(memory);
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bpf::parse(&bytes)
}

fn compare(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (
            ScmpCompareOp::MaskedEqual(arg.value()),
            arg.value_two().unwrap_or(0),
        ),
    };
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap(), op, value)
}

pub(crate) fn arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::native(),
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        other => panic!("no test uses {other}"),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    let data = u16::try_from(errno.unwrap_or(1)).unwrap();
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(data.into()),
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(data),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
    }
}

/// The ABIs of a filter and how each shows in `struct seccomp_data`.
pub(crate) const ABIS: [(Arch, u32); 5] = [
    (Arch::ScmpArchX86_64, 0xc000_003e),
    (Arch::ScmpArchX86, 0x4000_0003),
    (Arch::ScmpArchX32, 0xc000_003e),
    (Arch::ScmpArchAarch64, 0xc000_00b7),
    (Arch::ScmpArchArm, 0x4000_0028),
];

/// Conditions and what the filter returns if all hold.
type Conditional = (Vec<LinuxSeccompArg>, u32);

/// `AUDIT_ARCH_*` of an ABI.
pub(crate) fn audit(abi: Arch) -> u32 {
    ABIS.iter().find(|known| known.0 == abi).unwrap().1
}

/// What a list says by the letter of the documentation: which rules hold, in no order. Names are
/// looked up with libseccomp's tables, not ours.
pub(crate) struct Letter {
    default: u32,
    /// `AUDIT_ARCH_*` and number, conditions, value to return.
    rules: HashMap<(u32, u32), Vec<Conditional>>,
    /// The same, of calls whose arguments do not matter.
    always: HashMap<(u32, u32), u32>,
    half: Vec<(u32, bool)>,
}

impl Letter {
    pub(crate) fn read(seccomp: &LinuxSeccomp, abis: &[Arch]) -> Self {
        let default = seccomp.default_action().as_u32(seccomp.default_errno_ret());
        let mut letter = Self {
            default,
            rules: HashMap::new(),
            always: HashMap::new(),
            half: Vec::new(),
        };
        for &abi in abis {
            let audit = audit(abi);
            letter.half.push((audit, abi == Arch::ScmpArchX32));
            let syscalls = seccomp.syscalls().iter().flatten();
            let others = syscalls.filter(|s| s.action().as_u32(s.errno_ret()) != default);
            for syscall in others {
                letter.add(abi, syscall);
            }
        }
        letter
    }

    fn add(&mut self, abi: Arch, syscall: &LinuxSyscall) {
        let verdict = syscall.action().as_u32(syscall.errno_ret());
        let mut rules = split(syscall);
        for rule in &mut rules {
            rule.retain(|arg| !always_holds(arg, abi));
        }
        for name in syscall.names() {
            for rule in &rules {
                self.add_rule(abi, name, rule.clone(), verdict);
            }
        }
    }

    fn add_rule(&mut self, abi: Arch, name: &str, rule: Vec<LinuxSeccompArg>, verdict: u32) {
        let numbers = (
            ScmpSyscall::from_name_by_arch(name, arch(abi)),
            ScmpSyscall::from_name_by_arch_rewrite(name, arch(abi)),
        );
        let (Ok(plain), Ok(rewritten)) = numbers else {
            return;
        };
        let (plain, number) = (plain.as_raw_syscall(), rewritten.as_raw_syscall());
        if abi == Arch::ScmpArchX86 && plain < 0 && number >= 0 {
            self.add_multiplexed(audit(abi), (name, plain, number), rule, verdict);
        } else if let Ok(number) = u32::try_from(number) {
            self.note((audit(abi), number), rule, verdict);
        }
    }

    /// A call of x86 that is reached through `socketcall` (-101…) or `ipc` (-201…), and perhaps
    /// directly.
    fn add_multiplexed(
        &mut self,
        audit: u32,
        (name, pseudo, number): (&str, i32, i32),
        rule: Vec<LinuxSeccompArg>,
        verdict: u32,
    ) {
        let selector = LinuxSeccompArgBuilder::default()
            .op(LinuxSeccompOperator::ScmpCmpEq)
            .value(u64::try_from(-pseudo % 100).unwrap())
            .build()
            .unwrap();
        let mut through = rule.clone();
        through.retain(|arg| arg.index() != 0);
        through.push(selector);
        let number = u32::try_from(number).unwrap();
        self.note((audit, number), through, verdict);
        if let Some(direct) = direct(name) {
            self.note((audit, direct), rule, verdict);
        }
    }

    fn note(&mut self, call: (u32, u32), rule: Vec<LinuxSeccompArg>, verdict: u32) {
        if rule.is_empty() {
            self.always.entry(call).or_insert(verdict);
        } else {
            self.rules.entry(call).or_default().push((rule, verdict));
        }
    }

    /// What the default action returns.
    pub(crate) fn default(&self) -> u32 {
        self.default
    }

    /// The calls that have rules with conditions.
    pub(crate) fn conditional(&self) -> impl Iterator<Item = (u32, u32)> {
        self.rules.keys().copied()
    }

    /// The verdicts of all rules that hold; one if the letter leaves nothing open.
    pub(crate) fn verdicts(&self, data: &bpf::Data) -> Vec<u32> {
        let call = (data.arch, data.nr);
        let x32 = data.arch == 0xc000_003e && data.nr >= 0x4000_0000 && data.nr != u32::MAX;
        if !self.half.contains(&(data.arch, x32)) {
            return vec![0];
        }
        if let Some(&verdict) = self.always.get(&call) {
            return vec![verdict];
        }
        let half = x32 || data.arch & 0x8000_0000 == 0;
        let rules = self.rules.get(&call).map(Vec::as_slice).unwrap_or_default();
        let mut verdicts: Vec<u32> = rules
            .iter()
            .filter(|(args, _)| args.iter().all(|arg| holds(arg, data, half)))
            .map(|&(_, verdict)| verdict)
            .collect();
        verdicts.sort_unstable();
        verdicts.dedup();
        if verdicts.is_empty() {
            verdicts.push(self.default);
        }
        verdicts
    }
}

fn always_holds(arg: &LinuxSeccompArg, abi: Arch) -> bool {
    let half = !matches!(abi, Arch::ScmpArchX86_64 | Arch::ScmpArchAarch64);
    let bits = if half { 0xffff_ffff } else { u64::MAX };
    arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq && arg.value() & bits == 0
}

fn holds(arg: &LinuxSeccompArg, data: &bpf::Data, half: bool) -> bool {
    let bits = if half { 0xffff_ffff } else { u64::MAX };
    let found = data.args[arg.index()] & bits;
    let value = arg.value() & bits;
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => found != value,
        LinuxSeccompOperator::ScmpCmpLt => found < value,
        LinuxSeccompOperator::ScmpCmpLe => found <= value,
        LinuxSeccompOperator::ScmpCmpEq => found == value,
        LinuxSeccompOperator::ScmpCmpGe => found >= value,
        LinuxSeccompOperator::ScmpCmpGt => found > value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            found & value == arg.value_two().unwrap_or(0) & value
        }
    }
}

/// One rule, or one for each condition if two test the same argument.
fn split(syscall: &LinuxSyscall) -> Vec<Vec<LinuxSeccompArg>> {
    let args = syscall.args().clone().unwrap_or_default();
    let twice =
        |arg: &LinuxSeccompArg| args.iter().filter(|a| a.index() == arg.index()).count() > 1;
    if args.iter().any(twice) {
        args.into_iter().map(|arg| vec![arg]).collect()
    } else {
        vec![args]
    }
}

/// The number under which an ABI has a call of its own.
pub(crate) fn direct_number(name: &str, abi: Arch) -> Option<u32> {
    let number = ScmpSyscall::from_name_by_arch(name, arch(abi)).ok()?;
    match u32::try_from(number.as_raw_syscall()) {
        Ok(number) => Some(number),
        Err(_) if abi == Arch::ScmpArchX86 => direct(name),
        Err(_) => None,
    }
}

/// Numbers that 32-bit x86 gave to some multiplexed calls in 4.3 and 5.1.
fn direct(name: &str) -> Option<u32> {
    let direct = [
        ("socket", 359),
        ("socketpair", 360),
        ("bind", 361),
        ("connect", 362),
        ("listen", 363),
        ("accept4", 364),
        ("getsockopt", 365),
        ("setsockopt", 366),
        ("getsockname", 367),
        ("getpeername", 368),
        ("sendto", 369),
        ("sendmsg", 370),
        ("recvfrom", 371),
        ("recvmsg", 372),
        ("shutdown", 373),
        ("recvmmsg", 337),
        ("sendmmsg", 345),
        ("semget", 393),
        ("semctl", 394),
        ("shmget", 395),
        ("shmctl", 396),
        ("shmat", 397),
        ("shmdt", 398),
        ("msgget", 399),
        ("msgsnd", 400),
        ("msgrcv", 401),
        ("msgctl", 402),
    ];
    direct.iter().find(|call| call.0 == name).map(|call| call.1)
}
