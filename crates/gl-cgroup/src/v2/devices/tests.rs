//! The program is run in an interpreter of the few instructions that it has.

use gl_spec::oci::LinuxDeviceCgroup;
use gl_sys::EbpfInsn;

use super::Rules;
use crate::device::{Access, DEFAULTS, Kind, Node};
use crate::v1::devices::Policy;

/// One access, with kernel's bits: 1 mknod, 2 read, 4 write.
#[derive(Debug, Clone, Copy)]
struct Try {
    kind: Kind,
    major: u32,
    minor: u32,
    bits: u32,
}

/// Runs a program as the kernel does; panics on what the kernel's verifier would refuse.
fn run(program: &[EbpfInsn], asked: Try) -> bool {
    let kind = match asked.kind {
        Kind::Block => 1,
        Kind::Char => 2,
    };
    let context = [asked.bits << 16 | kind, asked.major, asked.minor];
    let mut registers: [Option<u64>; 11] = [None; 11];
    let mut at = 0_usize;
    for _ in 0..=program.len() {
        let insn = program[at];
        at += 1;
        let destination = usize::from(insn.registers & 15);
        let source = usize::from(insn.registers >> 4);
        let imm = i64::from(insn.imm).cast_unsigned();
        let value = |register: usize| registers[register].expect("a register that was set");
        let taken = match insn.code {
            0x61 => {
                assert_eq!(source, 1, "loads are from the context");
                let word = usize::try_from(insn.off).unwrap() / 4;
                registers[destination] = Some(context[word].into());
                continue;
            }
            0xbf => {
                registers[destination] = Some(value(source));
                continue;
            }
            0xb7 => {
                registers[destination] = Some(imm);
                continue;
            }
            0x57 => {
                registers[destination] = Some(value(destination) & imm);
                continue;
            }
            0x77 => {
                registers[destination] = Some(value(destination) >> imm);
                continue;
            }
            0x55 => value(destination) != imm,
            0x45 => value(destination) & imm != 0,
            0x05 => true,
            0x95 => return value(0) == 1,
            other => panic!("unknown instruction {other:#x}"),
        };
        if taken {
            at = at.checked_add_signed(isize::from(insn.off)).unwrap();
        }
    }
    panic!("the program does not end: {program:?}");
}

/// Small numbers from a seed, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn rule(&mut self) -> String {
        let mut fields = vec![format!("\"allow\":{}", self.pick(&["true", "false"]))];
        if let Some(kind) = self.pick(&[None, Some("a"), Some("b"), Some("c"), Some("c")]) {
            fields.push(format!("\"type\":\"{kind}\""));
        }
        if let Some(major) = self.pick(&[None, Some("-1"), Some("1"), Some("5"), Some("8")]) {
            fields.push(format!("\"major\":{major}"));
        }
        if let Some(minor) = self.pick(&[None, Some("-1"), Some("0"), Some("3"), Some("5")]) {
            fields.push(format!("\"minor\":{minor}"));
        }
        if let Some(access) = self.pick(&[None, Some("rwm"), Some("rw"), Some("r"), Some("m")]) {
            fields.push(format!("\"access\":\"{access}\""));
        }
        format!("{{{}}}", fields.join(","))
    }
}

fn parse(rules: &[String]) -> Vec<LinuxDeviceCgroup> {
    rules
        .iter()
        .map(|rule| serde_json::from_str(rule).unwrap())
        .collect()
}

/// Every device that a rule or a default can tell apart, by every set of accesses.
fn tries() -> Vec<Try> {
    let kinds = [Kind::Block, Kind::Char].into_iter();
    let nodes = kinds.flat_map(|kind| [1, 5, 8, 10, 136, 240].map(|major| (kind, major)));
    let nodes = nodes.flat_map(|node| [0, 2, 3, 5, 7, 9, 200].map(|minor| (node, minor)));
    let all = nodes.flat_map(|((kind, major), minor)| {
        (1..8).map(move |bits| Try {
            kind,
            major,
            minor,
            bits,
        })
    });
    all.collect()
}

/// What the kernel of v1 says for one access, from the lines that are written to it.
fn v1_allows(policy: &Policy, asked: Try) -> bool {
    let mut otherwise = true;
    let mut exceptions = Vec::new();
    for line in policy.lines() {
        if line.text == "a" {
            otherwise = line.file == "devices.allow";
        } else {
            exceptions.push(line.text);
        }
    }
    let bit = match asked.bits {
        1 => 'm',
        2 => 'r',
        4 => 'w',
        other => panic!("one access at a time, not {other}"),
    };
    let is_named = exceptions.iter().any(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = match asked.kind {
            Kind::Block => "b",
            Kind::Char => "c",
        };
        let (major, minor) = words[1].split_once(':').unwrap();
        let fits = |pattern: &str, number: u32| pattern == "*" || pattern == number.to_string();
        words[0] == kind
            && fits(major, asked.major)
            && fits(minor, asked.minor)
            && words[2].contains(bit)
    });
    otherwise != is_named
}

/// What the rules say for one access, read as they stand: the last one that names it decides.
fn spec_allows(rules: &[LinuxDeviceCgroup], asked: Try) -> bool {
    let bit = match asked.bits {
        1 => Access::MKNOD,
        2 => Access::READ,
        _ => Access::WRITE,
    };
    let asked_node = Node {
        kind: asked.kind,
        major: Some(asked.major),
        minor: Some(asked.minor),
    };
    let rules = Rules::read(rules).unwrap();
    let mut allowed = rules.otherwise;
    for (verdict, node, access) in &rules.some {
        if node.covers(asked_node) && access.0 & bit != 0 {
            allowed = *verdict;
        }
    }
    allowed == crate::device::Otherwise::Allow
}

#[test]
fn program_decides_as_v1_does_wherever_v1_can() {
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let tries = tries();
    let mut compared = 0;
    for _ in 0..3000 {
        let count = dice.roll(7);
        let texts: Vec<_> = (0..count).map(|_| dice.rule()).collect();
        let rules = parse(&texts);
        let program = Rules::read(&rules).unwrap().program();
        let policy = Policy::from_rules(&rules).ok().filter(|policy| {
            // v1 cannot take a default out of a wider denial either, and leaves it denied.
            let lines = policy.lines();
            lines[0].file == "devices.deny"
                || lines.len() == 1
                || DEFAULTS.iter().all(|(node, _)| !is_denied(&lines, *node))
        });
        for one in tries.iter().filter(|one| one.bits.is_power_of_two()) {
            let got = run(&program, *one);
            assert_eq!(got, spec_allows(&rules, *one), "{one:?} under {texts:?}");
            if let Some(policy) = &policy {
                compared += 1;
                assert_eq!(got, v1_allows(policy, *one), "{one:?} under {texts:?}");
            }
        }
    }
    assert!(compared > 100_000, "only {compared} comparisons with v1");
}

/// Whether an exception of a policy that allows the rest names a default.
fn is_denied(lines: &[crate::v1::devices::Line], node: Node) -> bool {
    lines[1..].iter().any(|line| {
        let words: Vec<&str> = line.text.split(' ').collect();
        let (major, minor) = words[1].split_once(':').unwrap();
        let meets = |pattern: &str, number: Option<u32>| {
            pattern == "*" || number.is_none_or(|number| pattern == number.to_string())
        };
        let kind = match node.kind {
            Kind::Block => "b",
            Kind::Char => "c",
        };
        words[0] == kind && meets(major, node.major) && meets(minor, node.minor)
    })
}

#[test]
fn program_allows_several_accesses_exactly_if_it_allows_each() {
    let mut dice = Dice(0xfeed_beef);
    for _ in 0..500 {
        let texts: Vec<_> = (0..dice.roll(7)).map(|_| dice.rule()).collect();
        let program = Rules::read(&parse(&texts)).unwrap().program();
        for one in tries() {
            let each = [1, 2, 4].into_iter().filter(|bit| one.bits & bit != 0);
            let want = each.fold(true, |all, bits| all & run(&program, Try { bits, ..one }));
            assert_eq!(run(&program, one), want, "{one:?} under {texts:?}");
        }
    }
}

#[test]
fn program_takes_a_part_out_of_a_wider_rule() {
    let rules = parse(&[
        r#"{"allow":false,"access":"rwm"}"#.to_owned(),
        r#"{"allow":true,"type":"c","major":8,"access":"rw"}"#.to_owned(),
        r#"{"allow":false,"type":"c","major":8,"minor":3,"access":"w"}"#.to_owned(),
    ]);
    let program = Rules::read(&rules).unwrap().program();
    let asked = |minor, bits| Try {
        kind: Kind::Char,
        major: 8,
        minor,
        bits,
    };
    for (minor, bits, want) in [(0, 6, true), (3, 2, true), (3, 4, false), (3, 6, false)] {
        assert_eq!(run(&program, asked(minor, bits)), want, "{minor} {bits}");
    }
}

#[test]
fn no_program_is_needed_for_a_privileged_container() {
    let rules = parse(&[
        r#"{"allow":false,"access":"rwm"}"#.to_owned(),
        r#"{"allow":true,"access":"rwm"}"#.to_owned(),
    ]);
    let rules = Rules::read(&rules).unwrap();
    assert!(rules.allow_all(), "{rules:?}");
    assert!(run(&rules.program(), tries()[0]));
}
