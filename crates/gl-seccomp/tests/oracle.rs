//! The compiler against libseccomp: both programs run in an interpreter, for every call number and
//! for arguments around every border, and must return the same.
//!
//! Two differences are known and asserted. Where our rule answers `ENOSYS` (a call newer than the
//! profile) libseccomp answers with the default action. And libseccomp 2.5 miscompiles some
//! generated lists: it then returns a verdict that no rule of the list gives for the call
//! ([`Letter`] says so independently of both); such verdicts are counted and bounded.

#![expect(clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::bpf::{self, Data};
use common::lists::{self, Rules, VALUES};
use common::oracle::{self, Letter};
use common::rng::Rng;
use gl_seccomp::{Insn, Program, compile};
use gl_spec::oci::{Arch, LinuxSeccomp};

const ERRNO_ENOSYS: u32 = 0x0005_0026;
const X32: u32 = 0x4000_0000;

const X86_ABIS: [Arch; 3] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
const ARM_ABIS: [Arch; 2] = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];

/// Numbers of every ABI and around all borders.
fn numbers() -> impl Iterator<Item = u32> {
    (0..600)
        .chain(X32..X32 + 600)
        .chain(0x000f_0000 - 2..0x000f_0020)
        .chain([X32 - 1, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000])
        // The bit of x32 below the highest one, and the highest one alone.
        .chain([
            0xc000_0000,
            0xc000_0029,
            0xc000_003b,
            0x8000_0029,
            0x8000_003b,
        ])
        .chain([u32::MAX - 1, u32::MAX])
}

/// Every architecture of the tables and one that nobody listed (RISC-V).
const AUDITS: [u32; 5] = [
    0xc000_003e,
    0x4000_0003,
    0xc000_00b7,
    0x4000_0028,
    0xc000_00f3,
];

/// Highest number that the list names in each ABI, from libseccomp's tables; the compiler's own
/// rule, written anew.
struct Newest(Vec<(Arch, u32)>);

impl Newest {
    fn read(list: &LinuxSeccomp, abis: &[Arch]) -> Self {
        let names = || list.syscalls().iter().flatten().flat_map(|s| s.names());
        let newest = |&abi: &Arch| {
            let numbers = names().filter_map(|name| oracle::direct_number(name, abi));
            let counted = numbers.filter(|&number| match abi {
                Arch::ScmpArchX32 => !(512..548).contains(&(number - X32)),
                Arch::ScmpArchArm => number < 0x000f_0000,
                _ => true,
            });
            counted.max().map(|number| (abi, number))
        };
        Self(abis.iter().filter_map(newest).collect())
    }

    /// Whether the call is newer than the list.
    fn is_before(&self, data: &Data) -> bool {
        if data.nr == u32::MAX {
            return false;
        }
        self.0.iter().any(|&(abi, newest)| {
            let audit = oracle::audit(abi);
            let in_abi = match abi {
                Arch::ScmpArchX86_64 => data.nr < X32,
                Arch::ScmpArchX32 => data.nr >= X32 && !(X32 + 512..X32 + 548).contains(&data.nr),
                Arch::ScmpArchArm => data.nr < 0x000f_0000,
                _ => true,
            };
            audit == data.arch && in_abi && data.nr > newest
        })
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
struct Found {
    lists: usize,
    verdicts: usize,
    newer: usize,
    /// libseccomp refused the list, as it takes two rules for contradictory.
    refused: usize,
    /// libseccomp returned what no rule that holds gives.
    miscompiled: usize,
    /// Both by the letter, in another order.
    reordered: usize,
    /// libseccomp did not return.
    stuck: usize,
}

/// Compares one list; `strict` forbids another order of overlapping rules.
fn compare(list: &LinuxSeccomp, abis: &[Arch], rng: &mut Rng, found: &mut Found, context: &str) {
    found.lists += 1;
    let Some(theirs) = ask(list, abis[0], found) else {
        return;
    };
    let ours = match compile(list, abis[0]) {
        Ok(ours) => ours,
        Err(err) => panic!("{context}: {err}, but libseccomp takes it"),
    };
    let letter = Letter::read(list, abis);
    let newest = Newest::read(list, abis);
    let refuses = !matches!(
        letter.default() & 0xffff_0000,
        0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000
    );
    let mut check = |data: Data| {
        found.verdicts += 1;
        let ours = bpf::run(ours.insns(), &data);
        let theirs = bpf::run(&theirs, &data);
        let letter = letter.verdicts(&data);
        if refuses && newest.is_before(&data) {
            found.newer += 1;
            assert_eq!(
                ours, ERRNO_ENOSYS,
                "{context}: {data:x?} is newer than the list"
            );
            return;
        }
        assert!(
            letter.contains(&ours),
            "{context}: {data:x?} gives {ours:#x}, the rules that hold say {letter:x?}"
        );
        if ours != theirs && letter.contains(&theirs) {
            found.reordered += 1;
        } else if ours != theirs {
            found.miscompiled += 1;
        }
    };
    for arch in AUDITS {
        for nr in numbers() {
            for _ in 0..2 {
                check(Data {
                    nr,
                    arch,
                    args: arguments(rng),
                });
            }
        }
    }
    for (arch, nr) in letter.conditional() {
        for _ in 0..200 {
            check(Data {
                nr,
                arch,
                args: arguments(rng),
            });
        }
    }
}

/// Values of the lists and their neighbours, and now and then anything.
fn arguments(rng: &mut Rng) -> [u64; 6] {
    std::array::from_fn(|_| {
        let near = rng
            .pick(&VALUES)
            .wrapping_add(rng.pick(&[0, 0, 0, 1, u64::MAX]));
        if rng.one_in(8) { rng.next() } else { near }
    })
}

/// libseccomp's program. Some lists make libseccomp 2.5 loop for ever, hence the thread.
fn ask(list: &LinuxSeccomp, native: Arch, found: &mut Found) -> Option<Vec<Insn>> {
    let (send, receive) = mpsc::channel();
    let list = list.clone();
    thread::spawn(move || {
        // The receiver may have given up.
        drop(send.send(oracle::program(&list, native)));
    });
    match receive.recv_timeout(Duration::from_secs(10)) {
        Ok(Some(program)) => Some(program),
        Ok(None) => {
            found.refused += 1;
            None
        }
        Err(_) => {
            found.stuck += 1;
            None
        }
    }
}

/// Lists on which libseccomp 2.5.4 loops: left out, as each would keep a core busy.
const STUCK: [u64; 8] = [14, 182, 192, 292, 366, 580, 680, 789];

fn generated(rules: Rules, seeds: std::ops::Range<u64>) -> Found {
    let names = lists::names();
    let mut found = Found::default();
    for seed in seeds.filter(|seed| !STUCK.contains(seed)) {
        let mut rng = Rng(seed);
        let listed = if rng.one_in(4) {
            &ARM_ABIS[..]
        } else {
            &X86_ABIS[..]
        };
        let listed = &listed[..=rng.below(listed.len())];
        let (list, _) = lists::generated(&mut rng, &names, listed, rules);
        compare(
            &list,
            listed,
            &mut rng,
            &mut found,
            &format!("{rules:?} seed {seed}"),
        );
    }
    println!("{rules:?}: {found:?}");
    found
}

#[test]
fn engine_lists_equal_libseccomp_on_every_number() {
    for (name, list) in [("docker", lists::docker()), ("podman", lists::podman())] {
        let list = lists::known_to_oracle(list);
        let mut found = Found::default();
        compare(&list, &X86_ABIS, &mut Rng(1), &mut found, name);
        compare(
            &lists::for_arm(list),
            &ARM_ABIS,
            &mut Rng(2),
            &mut found,
            name,
        );
        println!("{name}: {found:?}");
        let wrong = found.miscompiled + found.reordered + found.refused + found.stuck;
        assert_eq!(wrong, 0, "{name}: {found:?}");
        assert!(found.newer > 0, "{name}: {found:?}");
    }
}

#[test]
fn every_name_has_libseccomps_number() {
    for (abis, native) in [(&X86_ABIS[..], X86_ABIS[0]), (&ARM_ABIS[..], ARM_ABIS[0])] {
        for name in lists::names() {
            let list = lists::one_call(&name, abis);
            let mut found = Found::default();
            let ours = compile(&list, native).unwrap();
            let theirs = ask(&list, native, &mut found).unwrap();
            let own = |&abi: &Arch| Some((abi, oracle::direct_number(&name, abi)?));
            for (abi, nr) in abis.iter().filter_map(own) {
                let arch = oracle::audit(abi);
                let args = [0; 6];
                let data = Data { nr, arch, args };
                let verdicts = (bpf::run(ours.insns(), &data), bpf::run(&theirs, &data));
                assert_eq!(verdicts, (0x7fff_0000, 0x7fff_0000), "{name} {abi} {nr}");
            }
        }
    }
}

#[test]
fn lists_with_one_action_a_call_equal_libseccomp() {
    let found = generated(Rules::OneAction, 0..220);
    assert_eq!(found.reordered, 0, "{found:?}");
    assert!(found.miscompiled * 1000 < found.verdicts, "{found:?}");
    assert!(found.lists - found.refused - found.stuck > 100, "{found:?}");
}

#[test]
fn lists_of_equalities_equal_libseccomp_in_any_order() {
    let found = generated(Rules::Equalities, 0..220);
    assert_eq!(found.reordered, 0, "{found:?}");
    assert!(found.miscompiled * 1000 < found.verdicts, "{found:?}");
    assert!(found.lists - found.refused - found.stuck > 80, "{found:?}");
}

/// Ranges and inequalities of one argument that overlap and differ in action: libseccomp's answer
/// depends on which came first into a branch of its tree. Ours is by the letter, and nearly always
/// the same.
#[test]
fn any_lists_follow_the_letter() {
    let found = generated(Rules::Anything, 0..220);
    assert!(found.reordered * 1000 < found.verdicts, "{found:?}");
    assert!(found.lists - found.refused - found.stuck > 80, "{found:?}");
}

/// Stored and read again, a program is the same; this runs on generated ones because their shapes
/// cover what the reader must accept.
#[test]
fn programs_survive_storage() {
    let names = lists::names();
    for seed in 0..100 {
        let mut rng = Rng(seed);
        let (list, _) = lists::generated(&mut rng, &names, &X86_ABIS, Rules::Anything);
        let Ok(program) = compile(&list, Arch::ScmpArchX86_64) else {
            continue;
        };
        let read = Program::from_bytes(&program.to_bytes()).unwrap();
        assert_eq!(read, program, "seed {seed}");
    }
}
