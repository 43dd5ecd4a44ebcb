//! What the compiler refuses, what it makes of special lists, and how policies merge.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::bpf::{self, Data};
use common::lists::{self, Rules, VALUES};
use common::rng::Rng;
use gl_seccomp::{
    Error, Flags, MAX_INSNS, NATIVE, Program, StoredFault, Verdict, assemble, compile, policy,
};
use gl_spec::oci::{Arch, LinuxSeccomp};
use gl_spec::{Class, Classify as _};

const X86_64: u32 = 0xc000_003e;
const X32: u32 = 0x4000_0000;

fn list(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn verdict(program: &Program, arch: u32, nr: u32, first: u64) -> u32 {
    let args = [first, 0, 0, 0, 0, 0];
    bpf::run(program.insns(), &Data { nr, arch, args })
}

#[test]
fn faulty_lists_are_refused_by_name() {
    for (json, message, field) in [
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}"#,
            "use SCMP_ACT_NOTIFY as default action: no call could reach the agent",
            "linux.seccomp.defaultAction",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[
                {"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "use SCMP_ACT_NOTIFY for write in syscalls[0]: the runtime needs the call itself",
            "linux.seccomp.syscalls[0].action",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["read"],"action":"SCMP_ACT_NOTIFY"}],"listenerPath":""}"#,
            "use SCMP_ACT_NOTIFY in syscalls[0]: listenerPath is not set",
            "linux.seccomp.listenerPath",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#,
            "set listenerMetadata: listenerPath is not set",
            "linux.seccomp.listenerMetadata",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
            "set errnoRet: SCMP_ACT_ALLOW returns none",
            "linux.seccomp.defaultErrnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":1}]}"#,
            "set errnoRet: SCMP_ACT_KILL returns none",
            "linux.seccomp.syscalls[0].errnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#,
            "set errnoRet 4096: the largest for SCMP_ACT_ERRNO is 4095",
            "linux.seccomp.defaultErrnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],
                "action":"SCMP_ACT_KILL","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "test argument 6 in syscalls[0]: a call has six, counted from 0",
            "linux.seccomp.syscalls[0].args",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["read",""],"action":"SCMP_ACT_KILL"}]}"#,
            "find call in syscalls[0]: a name is empty",
            "linux.seccomp.syscalls[0].names",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["read"],"action":"SCMP_ACT_KILL",
                 "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
                {"names":["read"],"action":"SCMP_ACT_TRAP",
                 "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "add rule for read in syscalls[1]: an earlier one with the same conditions has another \
             action",
            "linux.seccomp.syscalls[1].action",
        ),
    ] {
        let err = compile(&list(json), NATIVE).unwrap_err();
        assert_eq!(err.to_string(), message);
        assert_eq!(err.field().as_deref(), Some(field), "{message}");
        assert_eq!(err.class(), Class::Invalid, "{message}");
    }
}

#[test]
fn other_machine_is_refused() {
    let list = list(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    let err = compile(&list, Arch::ScmpArchS390x).unwrap_err();
    let message = "compile seccomp filter: native architecture SCMP_ARCH_S390X is not supported";
    assert_eq!(err.to_string(), message);
}

#[test]
fn flags_become_those_of_the_kernel() {
    for (json, want) in [
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#,
            2,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_TSYNC"]}"#,
            5,
        ),
        // Nothing to wait for without a listener; the kernel would refuse the flag.
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
            0,
        ),
        // Listener, TSYNC_ESRCH beside TSYNC.
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","flags":[
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV","SECCOMP_FILTER_FLAG_TSYNC"],
                "syscalls":[{"names":["no_such_call"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            1 | 8 | 16 | 32,
        ),
    ] {
        let program = compile(&list(json), NATIVE).unwrap();
        assert_eq!(program.flags().bits(), want, "{json}");
        assert_eq!(program.needs_listener(), want & 8 != 0, "{json}");
    }
}

/// moby#42871: a program that probes for a new call must see `ENOSYS`.
#[test]
fn call_newer_than_the_list_is_unknown_not_forbidden() {
    let json = |default: &str| {
        format!(
            r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],
            "syscalls":[{{"names":["read","openat2","execve"],"action":"SCMP_ACT_LOG"}}]}}"#
        )
    };
    let enosys = Verdict::errno(38).bits();
    // openat2 is 437 in both; execve is 520 for x32, which is no sign of age there.
    for (default, usual) in [
        ("SCMP_ACT_ERRNO", Verdict::errno(1).bits()),
        ("SCMP_ACT_KILL_PROCESS", Verdict::KILL_PROCESS.bits()),
        ("SCMP_ACT_TRAP", Verdict::TRAP.bits()),
    ] {
        let program = compile(&list(&json(default)), Arch::ScmpArchX86_64).unwrap();
        for base in [0, X32] {
            for (nr, want) in [
                (436, usual),
                (437, Verdict::LOG.bits()),
                (438, enosys),
                (511, enosys),
                (0x3000_0000, enosys),
            ] {
                assert_eq!(
                    verdict(&program, X86_64, base + nr, 0),
                    want,
                    "{default} {base} {nr}"
                );
            }
        }
        assert_eq!(verdict(&program, X86_64, X32 + 513, 0), usual, "{default}");
        assert_eq!(verdict(&program, X86_64, u32::MAX, 0), usual, "{default}");
    }
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_TRACE"] {
        let program = compile(&list(&json(default)), Arch::ScmpArchX86_64).unwrap();
        assert_ne!(verdict(&program, X86_64, 438, 0), enosys, "{default}");
    }
}

/// These are newer than the tables of the libseccomp that the oracle test runs with.
#[test]
fn newest_calls_have_the_kernels_numbers() {
    let program = compile(&lists::docker(), Arch::ScmpArchX86_64).unwrap();
    for (name, nr) in [
        ("uretprobe", 335),
        ("cachestat", 451),
        ("map_shadow_stack", 453),
        ("statmount", 457),
        ("listmount", 458),
        ("mseal", 462),
        ("setxattrat", 463),
        ("removexattrat", 466),
    ] {
        assert_eq!(
            verdict(&program, X86_64, nr, 0),
            Verdict::ALLOW.bits(),
            "{name}"
        );
    }
    assert_eq!(verdict(&program, X86_64, 467, 0), Verdict::errno(38).bits());
}

#[test]
fn long_list_is_refused_with_its_length() {
    let args: Vec<String> = (0..3000)
        .map(|n| {
            format!(
                r#"{{"names":["socket"],"action":"SCMP_ACT_KILL","args":[
                {{"index":0,"value":{n},"op":"SCMP_CMP_EQ"}},
                {{"index":1,"value":{n},"op":"SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
        args.join(",")
    );
    match compile(&list(&json), NATIVE) {
        Err(Error::TooLong { len, max }) => assert!(len > max && max == MAX_INSNS, "{len}"),
        other => panic!("{:?}", other.map(|program| program.insns().len())),
    }
}

/// 250 rules for a call, with a verdict of three each, and a call on either side of it; `more` are further
/// conditions.
fn long_list(more: &str) -> Program {
    let rules: Vec<String> = (0..250)
        .map(|n| {
            let action = ["SCMP_ACT_TRAP", "SCMP_ACT_KILL", "SCMP_ACT_LOG"][n % 3];
            format!(
                r#"{{"names":["socket"],"action":"{action}","args":[
                {{"index":0,"value":{n},"op":"SCMP_CMP_EQ"}}{more}]}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{},
            {{"names":["dup2","connect"],"action":"SCMP_ACT_ERRNO","errnoRet":9}}]}}"#,
        rules.join(",")
    );
    compile(&list(&json), Arch::ScmpArchX86_64).unwrap()
}

fn long_list_answers(program: &Program) {
    let wanted = [Verdict::TRAP, Verdict::KILL_THREAD, Verdict::LOG];
    for n in 0..250_u64 {
        let want = wanted[usize::try_from(n % 3).unwrap()].bits();
        assert_eq!(verdict(program, X86_64, 41, n), want, "{n}");
    }
    for n in [250, 1 << 32, 1 << 32 | 1, u64::MAX] {
        let got = verdict(program, X86_64, 41, n);
        assert_eq!(got, Verdict::ALLOW.bits(), "{n:#x}");
    }
    for nr in [33, 42] {
        let got = verdict(program, X86_64, nr, 0);
        assert_eq!(got, Verdict::errno(9).bits(), "{nr}");
    }
}

#[test]
fn jumps_beyond_255_arrive() {
    // Two conditions, so that each rule has tests of its own.
    let program = long_list(r#",{"index":1,"value":0,"op":"SCMP_CMP_EQ"}"#);
    assert!(program.insns().len() > 800, "{}", program.insns().len());
    long_list_answers(&program);
}

#[test]
fn values_of_an_argument_are_searched() {
    let program = long_list("");
    assert!(program.insns().len() < 300, "{}", program.insns().len());
    long_list_answers(&program);
    // The longest way to an answer is a search, not a walk past 250 values.
    let steps = (0..=250).map(|n| bpf::walk(program.insns(), &call_of_socket(n)).1);
    let longest = steps.max().unwrap();
    assert!(longest < 24, "{longest} instructions for one call");
}

#[test]
fn values_with_other_high_halves_take_no_longer_program() {
    let value = |n: u64| (n << 32) | (n * 7919 % 4096);
    let rules: Vec<String> = (0..300)
        .map(|n| {
            let value = value(n);
            format!(
                r#"{{"names":["socket"],"action":"SCMP_ACT_TRAP","args":[
                {{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
        rules.join(",")
    );
    let program = compile(&list(&json), Arch::ScmpArchX86_64).unwrap();
    // Four for each, as for a rule by itself.
    assert!(program.insns().len() < 1300, "{}", program.insns().len());
    for value in (0..300).map(value) {
        let got = [value, value + 1].map(|value| verdict(&program, X86_64, 41, value));
        let want = [Verdict::TRAP.bits(), Verdict::ALLOW.bits()];
        assert_eq!(got, want, "{value:#x} and the next");
    }
}

fn call_of_socket(first: u64) -> Data {
    Data {
        nr: 41,
        arch: X86_64,
        args: [first, 0, 0, 0, 0, 0],
    }
}

/// What the kernel compiles and runs for every call number when the filter is attached.
#[test]
fn dockers_list_is_short_and_its_search_flat() {
    let program = compile(&lists::docker(), NATIVE).unwrap();
    let insns = program.insns();
    assert!(insns.len() < 256, "{} instructions", insns.len());
    let data = |nr| Data {
        nr,
        arch: X86_64,
        args: [0; 6],
    };
    let steps: Vec<usize> = (0..470).map(|nr| bpf::walk(insns, &data(nr)).1).collect();
    let longest = steps.iter().max().unwrap();
    assert!(*longest < 24, "{longest} instructions for one call");
}

#[test]
fn stored_program_is_read_only_if_whole_and_ours() {
    let program = compile(&lists::docker(), NATIVE).unwrap();
    let good = program.to_bytes();
    let edited = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let longer = [&good[..], &[0; 8]].concat();
    let mut last_is_no_return = good.clone();
    let last = good.len() - 8;
    last_is_no_return[last] = 0x05;
    for (bytes, want) in [
        (good[..11].to_vec(), StoredFault::Length),
        (good[..good.len() - 1].to_vec(), StoredFault::Length),
        (good[..good.len() - 8].to_vec(), StoredFault::Length),
        (longer, StoredFault::Length),
        (edited(0, b'X'), StoredFault::Magic),
        (edited(4, 99), StoredFault::Version),
        (edited(8, 0x40), StoredFault::Header),
        // TSYNC_ESRCH is never alone.
        (edited(8, 0x10), StoredFault::Header),
        // The first instruction: an operation that is never emitted, a load past the end.
        (edited(12, 0x61), StoredFault::Instruction),
        (edited(16, 64), StoredFault::Instruction),
        (last_is_no_return, StoredFault::Instruction),
    ] {
        match Program::from_bytes(&bytes) {
            Err(Error::Stored { fault }) => assert_eq!(fault, want),
            other => panic!("{want}: {other:?}"),
        }
    }
    assert_eq!(Program::from_bytes(&good).unwrap(), program);
}

/// One merged filter decides as the kernel does with both attached.
#[test]
fn merged_policy_is_the_stricter_of_both() {
    let names = lists::names();
    let all = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
    let mut merged_lists = 0;
    for seed in 0..120 {
        let mut rng = Rng(seed);
        let make = |rng: &mut Rng| {
            let count = 1 + rng.below(3);
            lists::generated(rng, &names, &all[..count], Rules::Anything).0
        };
        let mut one = make(&mut rng);
        let two = make(&mut rng);
        if rng.one_in(3) {
            one = lists::docker();
        }
        let (Ok(one), Ok(two)) = (policy(&one, all[0]), policy(&two, all[0])) else {
            continue;
        };
        let programs = [&one, &two, &one.tightened_by(&two)].map(assemble);
        let [Ok(one), Ok(two), Ok(merged)] = programs else {
            continue;
        };
        merged_lists += 1;
        let numbers = (0..600).chain(X32..X32 + 600).chain([u32::MAX]);
        let calls =
            numbers.flat_map(|nr| [X86_64, 0x4000_0003, 0xc000_00b7].map(|arch| (arch, nr)));
        for (arch, nr) in calls {
            let args = std::array::from_fn(|_| rng.pick(&VALUES));
            let data = Data { nr, arch, args };
            let run = |program: &Program| bpf::run(program.insns(), &data);
            let (a, b) = (run(&one), run(&two));
            let action = |bits: u32| (bits & 0xffff_0000).cast_signed();
            let want = if action(b) < action(a) { b } else { a };
            assert_eq!(
                run(&merged),
                want,
                "seed {seed} {data:x?}: {a:#x} and {b:#x}"
            );
        }
    }
    assert!(merged_lists > 60, "{merged_lists} lists");
}

/// Merging lists both by their pairs; those that say nothing new are left out.
#[test]
fn merging_a_list_with_itself_adds_nothing() {
    for list in [lists::docker(), lists::podman()] {
        let one = policy(&list, Arch::ScmpArchX86_64).unwrap();
        let alone = assemble(&one).unwrap();
        let merged = assemble(&one.tightened_by(&one)).unwrap();
        assert_eq!(merged.insns().len(), alone.insns().len());
    }
}

#[test]
fn merged_flags_keep_what_protects() {
    let flagged = |flags: &str| {
        let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":[{flags}]}}"#);
        policy(&list(&json), NATIVE).unwrap()
    };
    let one = flagged(r#""SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_LOG""#);
    let two = flagged(r#""SECCOMP_FILTER_FLAG_TSYNC""#);
    let merged = assemble(&one.tightened_by(&two)).unwrap().flags();
    assert_eq!(merged, Flags::LOG.with(Flags::TSYNC));
    let same = assemble(&one.tightened_by(&one)).unwrap().flags();
    assert_eq!(same, Flags::LOG.with(Flags::SPEC_ALLOW));
}
