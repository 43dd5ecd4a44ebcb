//! Prints the tables of the built-in groups, worked out from the files of `profiles/seccomp`:
//!
//!     cargo run -p gl-profile --example tables >tables.rs && mv tables.rs crates/gl-profile/src/seccomp/
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program for people, which fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gl_profile::seccomp::{Bits, Condition, Group, GroupRule, Piece, Test, parse_group};

const HEAD: &str = r#"//! The groups of `profiles/seccomp` as tables, by name. Made by `examples/tables.rs`, not by hand.

use std::borrow::Cow;

use gl_seccomp::Syscall;

use super::group::{Condition, Group, GroupRule, Test};
use super::pieces::Piece;

const ANY: Piece = Piece::ALL;

const fn c(name: &str) -> Syscall {
    Syscall::named(name).expect("a call that exists")
}

const fn when(argument: u8, test: Test, value: u64) -> Condition {
    Condition { argument, test, value }
}

pub(super) static GROUPS: &[Group] = &[
"#;

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/seccomp");
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    let mut out = HEAD.to_owned();
    for path in paths {
        let file = format!(
            "profiles/seccomp/{}",
            path.file_name().unwrap().to_str().unwrap()
        );
        let group = parse_group(&file, &fs::read_to_string(&path).unwrap()).unwrap();
        write_group(&mut out, &group);
    }
    out.push_str("];\n");
    print!("{out}");
}

fn write_group(out: &mut String, group: &Group) {
    let Group {
        name,
        file,
        reason,
        rules,
    } = group;
    writeln!(out, "    Group {{").unwrap();
    writeln!(out, "        name: Cow::Borrowed({name:?}),").unwrap();
    writeln!(out, "        file: Cow::Borrowed({file:?}),").unwrap();
    writeln!(out, "        reason: Cow::Borrowed({reason:?}),").unwrap();
    writeln!(out, "        rules: Cow::Borrowed(&[").unwrap();
    for rule in &**rules {
        write_rule(out, rule);
    }
    writeln!(out, "        ]),\n    }},").unwrap();
}

fn write_rule(out: &mut String, rule: &GroupRule) {
    let calls: Vec<_> = rule
        .calls
        .iter()
        .map(|call| format!("c({:?})", call.name()))
        .collect();
    let conditions: Vec<_> = rule.conditions.iter().map(condition).collect();
    let pieces: Vec<_> = rule.pieces.iter().map(piece).collect();
    let reason = rule.reason.as_ref();
    let reason = reason.map_or("None".to_owned(), |reason| {
        format!("Some(Cow::Borrowed({reason:?}))")
    });
    writeln!(out, "            GroupRule {{").unwrap();
    writeln!(out, "                line: {},", rule.line).unwrap();
    writeln!(
        out,
        "                calls: Cow::Borrowed(&[{}]),",
        calls.join(", ")
    )
    .unwrap();
    writeln!(
        out,
        "                conditions: Cow::Borrowed(&[{}]),",
        conditions.join(", ")
    )
    .unwrap();
    writeln!(
        out,
        "                pieces: Cow::Borrowed(&[{}]),",
        pieces.join(", ")
    )
    .unwrap();
    writeln!(out, "                errno: {:?},", rule.errno).unwrap();
    writeln!(out, "                reason: {reason},").unwrap();
    writeln!(out, "            }},").unwrap();
}

fn condition(condition: &Condition) -> String {
    let Condition {
        argument,
        test,
        value,
    } = condition;
    let test = match test {
        Test::MaskedEqual(mask) => format!("MaskedEqual({mask:#x})"),
        Test::MaskedNotEqual(mask) => format!("MaskedNotEqual({mask:#x})"),
        test => format!("{test:?}"),
    };
    format!("when({argument}, Test::{test}, {value:#x})")
}

fn piece(piece: &Piece) -> String {
    let arguments = piece
        .0
        .iter()
        .enumerate()
        .filter(|(_, bits)| bits.mask != 0);
    let arguments = arguments.map(|(index, Bits { mask, value })| match *mask {
        u64::MAX => format!(".on({index}, u64::MAX, {value:#x})"),
        mask => format!(".on({index}, {mask:#x}, {value:#x})"),
    });
    format!("ANY{}", arguments.collect::<String>())
}
