//! Filters as the kernel would run them: what each answers, for every call number and the values of
//! arguments around every condition, against the groups as they are written and, merged with
//! another filter, against both.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the list of an engine"
)]

#[path = "../../gl-seccomp/tests/common/bpf.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared with gl-seccomp")]
mod bpf;
#[path = "../../gl-seccomp/tests/common/rng.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "shared with gl-seccomp")]
mod rng;

use std::collections::{BTreeMap, BTreeSet};

use bpf::{Data, run};
use gl_profile::seccomp::{Answers, Condition, Filter, GroupRule, Test, group, group_names};
use gl_profile::{
    Format, Layer, Mode, Name, Profile, SeccompAction, SeccompPolicy, Setting, SyscallName,
};
use gl_seccomp::{Policy, Program, assemble};
use gl_spec::oci::{Arch, LinuxSeccomp};
use rng::Rng;

const NATIVE: Arch = Arch::ScmpArchX86_64;
const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

fn errno(errno: u32) -> u32 {
    0x0005_0000 | errno
}

/// The numbers of the calls of x86-64, found by asking for a filter that speaks of one call only.
fn numbers() -> BTreeMap<u32, &'static str> {
    let mut found = BTreeMap::new();
    for call in gl_seccomp::calls(NATIVE) {
        let section: LinuxSeccomp = serde_json::from_value(serde_json::json!({
            "defaultAction": "SCMP_ACT_LOG",
            "syscalls": [{"names": [call], "action": "SCMP_ACT_KILL_PROCESS"}],
        }))
        .unwrap();
        let policy = gl_seccomp::policy(&section, NATIVE).unwrap();
        let mut spans = policy.spaces()[0].spans().iter();
        let span = spans.find(|span| span.call.otherwise.bits() == KILL_PROCESS);
        found.insert(span.unwrap().first, call);
    }
    found
}

/// The seccomp part of a profile, and its mode.
#[derive(Debug, Clone)]
struct Spec(SeccompPolicy, Mode);

impl Spec {
    /// Of a profile with these groups and single calls.
    fn new(default: &str, groups: [&[&str]; 2], calls: [&[&str]; 2]) -> Self {
        let text = format!(
            "version = 1\nname = \"x\"\n[seccomp]\ndefault = \"{default}\"\ngroups = {:?}\n\
             deny_groups = {:?}\nallow = {:?}\ndeny = {:?}\n",
            groups[0], groups[1], calls[0], calls[1]
        );
        let layer = Layer::parse("x.toml", &text, Format::Toml).unwrap();
        let profile = Profile::resolve(layer, &()).unwrap();
        Self(profile.seccomp, Mode::Enforcing)
    }

    fn built_in(name: &str) -> Self {
        Self(
            Profile::resolve(name, &()).unwrap().seccomp,
            Mode::Enforcing,
        )
    }

    fn filter(&self) -> Filter {
        Filter::new(&self.0, self.1, NATIVE).unwrap()
    }

    fn policy(&self) -> Policy {
        Answers::new(&self.0, self.1)
            .unwrap()
            .policy(NATIVE)
            .unwrap()
    }

    fn default(&self) -> SeccompAction {
        self.0.default.as_ref().unwrap().value
    }

    /// The answer to what is refused without an errno of its own.
    fn refusal(&self) -> u32 {
        match self.default() {
            SeccompAction::Allow | SeccompAction::Log => errno(1),
            SeccompAction::Errno(number) => errno(number.into()),
            SeccompAction::KillThread => 0,
            SeccompAction::KillProcess => KILL_PROCESS,
        }
    }

    /// The answer to what nothing speaks of.
    fn otherwise(&self) -> u32 {
        match self.default() {
            SeccompAction::Log => LOG,
            _ => self.refusal(),
        }
    }
}

fn holds(condition: Condition, args: &[u64; 6]) -> bool {
    let (argument, value) = (args[usize::from(condition.argument)], condition.value);
    match condition.test {
        Test::Equal => argument == value,
        Test::NotEqual => argument != value,
        Test::Less => argument < value,
        Test::LessOrEqual => argument <= value,
        Test::Greater => argument > value,
        Test::GreaterOrEqual => argument >= value,
        Test::MaskedEqual(mask) => argument & mask == value,
        Test::MaskedNotEqual(mask) => argument & mask != value,
    }
}

/// The rules of a group.
fn rules(name: &str) -> &'static [GroupRule] {
    &group(name).unwrap().rules
}

/// The rules of a group that speak of a call with these arguments, as their errnos.
fn speaking(group: &str, call: &str, args: &[u64; 6]) -> Vec<Option<u16>> {
    let met = |rule: &&GroupRule| {
        let mut conditions = rule.conditions.iter();
        conditions.all(|&condition| holds(condition, args))
    };
    let named = |rule: &&GroupRule| rule.calls.iter().any(|named| named.name() == call);
    let rules = rules(group).iter().filter(named).filter(met);
    rules.map(|rule| rule.errno).collect()
}

/// The same of several groups.
fn in_groups(groups: &[Setting<Name>], call: &str, args: &[u64; 6]) -> Vec<Option<u16>> {
    let groups = groups.iter().map(|name| name.value.as_str());
    groups.flat_map(|name| speaking(name, call, args)).collect()
}

/// The same of a list of calls and parts of calls.
fn in_calls(calls: &[Setting<SyscallName>], call: &str, args: &[u64; 6]) -> Vec<Option<u16>> {
    let ours = calls.iter().filter(|name| name.value.call() == call);
    ours.flat_map(|name| match name.value.group() {
        None => vec![None],
        Some(group) => speaking(group, call, args),
    })
    .collect()
}

/// What the documentation of the module says, word by word.
fn expected(spec: &Spec, call: &str, args: &[u64; 6]) -> u32 {
    let denied = [
        in_calls(&spec.0.deny, call, args),
        in_groups(&spec.0.deny_groups, call, args),
    ];
    if let Some(first) = denied.iter().flatten().next() {
        return first.map_or(spec.refusal(), |number| errno(number.into()));
    }
    let said = [
        in_calls(&spec.0.allow, call, args),
        in_groups(&spec.0.groups, call, args),
    ]
    .concat();
    if said.contains(&None) || spec.default() == SeccompAction::Allow {
        return ALLOW;
    }
    match said.first() {
        Some(number) if spec.default() != SeccompAction::Log => errno(number.unwrap().into()),
        _ => spec.otherwise(),
    }
}

/// Values of arguments: around those of every condition of every group, bit by bit.
fn values() -> Vec<u64> {
    let mut values = vec![
        0,
        1,
        2,
        3,
        u64::MAX,
        0xffff_ffff,
        0x1_0000_0000,
        0x7fff_ffff,
        1 << 63,
    ];
    let conditions = group_names()
        .flat_map(rules)
        .flat_map(|rule| &*rule.conditions);
    for condition in conditions {
        let value = condition.value;
        values.extend([
            value,
            value.wrapping_add(1),
            value.wrapping_sub(1),
            value | 1 << 32,
        ]);
        if let Test::MaskedEqual(mask) | Test::MaskedNotEqual(mask) = condition.test {
            values.extend([mask, !mask, value | !mask, mask & !value]);
        }
    }
    values.extend((0..64).map(|bit| 1 << bit));
    values.sort_unstable();
    values.dedup();
    values
}

/// Tuples of arguments: each value in each of the first three places, and random ones.
fn arguments(rng: &mut Rng, values: &[u64], random: usize) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for place in 0..3 {
        for &value in values {
            let mut args = [0; 6];
            args[place] = value;
            all.push(args);
        }
    }
    for _ in 0..random {
        all.push(std::array::from_fn(|_| rng.pick(values)));
    }
    all
}

fn program(policy: &Policy) -> Program {
    assemble(policy).unwrap()
}

#[track_caller]
fn check(spec: &Spec, numbers: &BTreeMap<u32, &'static str>, arguments: &[[u64; 6]]) {
    let exported = gl_seccomp::policy_with_foreign(
        &spec.filter().oci(),
        NATIVE,
        gl_seccomp::Verdict::KILL_PROCESS,
    );
    check_one(spec, numbers, arguments, &spec.policy());
    check_one(spec, numbers, arguments, &exported.unwrap());
}

/// Checks what greenlang attaches, or the section for other runtimes.
#[track_caller]
fn check_one(
    spec: &Spec,
    numbers: &BTreeMap<u32, &'static str>,
    arguments: &[[u64; 6]],
    policy: &Policy,
) {
    let program = program(policy);
    let newest = *numbers.keys().next_back().unwrap();
    let answer =
        |arch: u32, nr: u32, args: [u64; 6]| run(program.insns(), &Data { nr, arch, args });
    for (&nr, &call) in numbers {
        for &args in arguments {
            let want = expected(spec, call, &args);
            let got = answer(X86_64, nr, args);
            assert_eq!(
                got, want,
                "{call} {args:x?}: {got:#x}, not {want:#x}; {spec:?}"
            );
        }
    }
    let known = |nr: u32| numbers.contains_key(&nr);
    for nr in (0..newest).filter(|&nr| !known(nr)) {
        assert_eq!(
            answer(X86_64, nr, [0; 6]),
            spec.otherwise(),
            "{nr}, a number without a call"
        );
    }
    let newer = match spec.default() {
        SeccompAction::Log => LOG,
        _ => errno(38),
    };
    for nr in (newest + 1..newest + 200).chain([X32 - 1]) {
        assert_eq!(
            answer(X86_64, nr, [0; 6]),
            newer,
            "{nr}, newer than the list"
        );
    }
    for nr in [0, 1, 59, 520, 547, 1 << 20] {
        assert_eq!(answer(X86_64, X32 | nr, [0; 6]), KILL_PROCESS, "x32 {nr}");
        assert_eq!(answer(X86, nr, [0; 6]), KILL_PROCESS, "x86 {nr}");
    }
}

#[test]
fn each_group_answers_as_it_is_written() {
    let numbers = numbers();
    let values = values();
    for name in group_names() {
        let calls = rules(name).iter().flat_map(|rule| &*rule.calls);
        let calls: Vec<_> = calls.map(|call| call.name()).collect();
        // All values for the calls that it speaks of, a few for the others.
        let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            numbers.iter().partition(|(_, call)| calls.contains(*call));
        for spec in [
            Spec::new("errno EPERM", [&[name], &[]], [&[], &[]]),
            Spec::new("allow", [&[], &[name]], [&[], &[]]),
            Spec::new("kill_process", [&[name], &[]], [&[], &[]]),
            Spec::new("log", [&[], &[name]], [&[], &[]]),
        ] {
            let arguments = arguments(&mut Rng(7), &values, 300);
            check_calls(&spec, &ours, &arguments).unwrap_or_else(|seen| panic!("{name}: {seen}"));
            check_calls(&spec, &others, &arguments[..8])
                .unwrap_or_else(|seen| panic!("{name}: {seen}"));
        }
    }
}

fn check_calls(
    spec: &Spec,
    calls: &BTreeMap<u32, &'static str>,
    arguments: &[[u64; 6]],
) -> Result<(), String> {
    let program = program(&spec.policy());
    for (&nr, &call) in calls {
        for &args in arguments {
            let data = Data {
                nr,
                arch: X86_64,
                args,
            };
            let (got, want) = (run(program.insns(), &data), expected(spec, call, &args));
            if got != want {
                return Err(format!("{call} {args:x?}: {got:#x}, not {want:#x}"));
            }
        }
    }
    Ok(())
}

/// Every part of a call that a group has.
fn parts() -> Vec<&'static str> {
    let of = |name: &'static str| {
        let calls = rules(name).iter().flat_map(|rule| &*rule.calls);
        calls.map(move |call| format!("{}@{name}", call.name()))
    };
    let all: BTreeSet<String> = group_names().flat_map(of).collect();
    all.into_iter().map(|part| &*part.leak()).collect()
}

#[test]
fn each_part_of_a_call_answers_as_it_is_written() {
    let numbers = numbers();
    let arguments = arguments(&mut Rng(3), &values(), 300);
    let few = &arguments[..8];
    let mut conditional = 0;
    for part in parts() {
        let (call, group) = part.split_once('@').unwrap();
        let own: BTreeMap<_, _> = numbers.iter().filter(|(_, name)| **name == call).collect();
        let own: BTreeMap<_, _> = own.into_iter().map(|(nr, name)| (*nr, *name)).collect();
        let rules = rules(group).iter();
        let mut rules = rules.filter(|rule| rule.calls.iter().any(|one| one.name() == call));
        let some = match rules.any(|rule| !rule.conditions.is_empty()) {
            true => &arguments,
            false => few,
        };
        conditional += usize::from(some.len() > few.len());
        for spec in [
            Spec::new("errno EACCES", [&[], &[]], [&[part], &[]]),
            Spec::new("allow", [&[], &[]], [&[], &[part]]),
        ] {
            check_calls(&spec, &own, some).unwrap_or_else(|seen| panic!("{part}: {seen}"));
        }
    }
    assert!(conditional > 10, "{conditional} parts with conditions");
}

/// Specs of random groups and calls.
fn random(rng: &mut Rng) -> Spec {
    let names: Vec<_> = group_names().collect();
    let mut calls: Vec<_> = gl_seccomp::calls(NATIVE).collect();
    // As many parts of calls, for which every test keeps its few texts.
    let parts = parts();
    let most = calls.len();
    calls.extend((0..most).map(|_| rng.pick(&parts)));
    let defaults = [
        "allow",
        "log",
        "errno EPERM",
        "errno ENOSYS",
        "kill_thread",
        "kill_process",
    ];
    let default = rng.pick(&defaults);
    let mut some = |from: &[&'static str], most: usize| -> Vec<&'static str> {
        (0..rng.below(most)).map(|_| rng.pick(from)).collect()
    };
    let (mut allow_groups, deny_groups) = (some(&names, 8), some(&names, 5));
    let (mut allow, deny) = (some(&calls, 12), some(&calls, 6));
    // Of the same name, a profile cannot say both.
    allow_groups.retain(|name| !deny_groups.contains(name));
    allow.retain(|name| !deny.contains(name));
    Spec::new(default, [&allow_groups, &deny_groups], [&allow, &deny])
}

#[test]
fn random_combinations_answer_as_documented() {
    let numbers = numbers();
    let values = values();
    for seed in 0..24 {
        let mut rng = Rng(seed);
        let spec = random(&mut rng);
        let arguments = arguments(&mut rng, &values, 0);
        let some: Vec<_> = (0..60)
            .map(|_| arguments[rng.below(arguments.len())])
            .collect();
        check(&spec, &numbers, &some);
    }
}

const BUILT_IN: [&str; 5] = [
    "default",
    "compute_only",
    "data_processing",
    "network_client",
    "blocked_dangerous",
];

#[test]
fn built_in_profiles_answer_as_documented() {
    let numbers = numbers();
    let arguments = arguments(&mut Rng(11), &values(), 100);
    for name in BUILT_IN {
        check(&Spec::built_in(name), &numbers, &arguments);
    }
}

/// The lists of engines that the tests of gl-seccomp have.
fn engine(name: &str) -> LinuxSeccomp {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../gl-seccomp/tests/data/");
    let text = std::fs::read_to_string(format!("{dir}{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The stricter of two answers, in the order of `seccomp(2)`; of two errnos the first.
fn stricter(one: u32, two: u32) -> u32 {
    let order = |answer: u32| (answer & 0xffff_0000).cast_signed();
    if order(two) < order(one) { two } else { one }
}

#[track_caller]
fn check_merged(own: &Policy, engine: &LinuxSeccomp, arguments: &[[u64; 6]], what: &str) {
    let mine = program(own);
    let theirs = program(&gl_seccomp::policy(engine, NATIVE).unwrap());
    let merged = program(&gl_seccomp::policy_tightened_by(engine, NATIVE, own).unwrap());
    let numbers = (0..560).chain(X32..X32 + 560).chain([X32 - 1, u32::MAX]);
    for nr in numbers {
        for arch in [X86_64, X86, 0xc000_00b7] {
            let some = if arch == X86_64 {
                arguments
            } else {
                &arguments[..4]
            };
            for &args in some {
                let data = Data { nr, arch, args };
                let both = [&theirs, &mine].map(|program| run(program.insns(), &data));
                let got = run(merged.insns(), &data);
                let want = stricter(both[0], both[1]);
                assert_eq!(got, want, "{what}: {data:x?}: {got:#x} of {both:x?}");
            }
        }
    }
}

#[test]
fn merged_filter_is_the_stricter_of_both() {
    let values = values();
    let arguments = arguments(&mut Rng(3), &values, 60);
    for (name, engine) in ["docker", "podman"].map(|name| (name, engine(name))) {
        for profile in BUILT_IN {
            check_merged(
                &Spec::built_in(profile).policy(),
                &engine,
                &arguments,
                &format!("{name} with {profile}"),
            );
        }
    }
}

#[test]
fn merged_random_filters_are_the_stricter_of_both() {
    let values = values();
    for seed in 100..130 {
        let mut rng = Rng(seed);
        let mut one = random(&mut rng);
        if rng.one_in(4) {
            one.1 = Mode::Permissive;
        }
        let two = random(&mut rng).filter().oci();
        let arguments = arguments(&mut rng, &values, 0);
        let some: Vec<_> = (0..20)
            .map(|_| arguments[rng.below(arguments.len())])
            .collect();
        check_merged(&one.policy(), &two, &some, &format!("seed {seed}"));
    }
}

#[test]
fn permissive_filter_refuses_nothing() {
    let groups = ["process-self", "threads", "device-control"];
    let denied = ["terminal-injection", "namespaces"];
    let mut spec = Spec::new("kill_process", [&groups, &denied], [&[], &[]]);
    let strict = program(&spec.policy());
    spec.1 = Mode::Permissive;
    let filter = spec.filter();
    let loose = program(&spec.policy());
    let exported = program(&gl_seccomp::policy(&filter.oci(), NATIVE).unwrap());
    let arguments = arguments(&mut Rng(5), &values(), 100);
    for nr in (0..560).chain(X32..X32 + 560).chain([u32::MAX]) {
        for &args in &arguments {
            for arch in [X86_64, X86] {
                let data = Data { nr, arch, args };
                let want = match run(strict.insns(), &data) {
                    ALLOW => ALLOW,
                    _ => LOG,
                };
                assert_eq!(run(loose.insns(), &data), want, "{data:x?}");
                let seen = run(exported.insns(), &data);
                assert!(
                    [ALLOW, LOG].contains(&seen),
                    "exported: {data:x?}: {seen:#x}"
                );
            }
        }
    }
}
