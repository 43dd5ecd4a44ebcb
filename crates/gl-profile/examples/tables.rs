//! Prints the tables of what is built in, worked out from the files of `profiles`:
//!
//!     cargo run -p gl-profile --example tables groups >tables.rs && mv tables.rs crates/gl-profile/src/seccomp/
//!     cargo run -p gl-profile --example tables profiles >tables.rs && mv tables.rs crates/gl-profile/src/builtin/
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a program for people, which fails by panicking"
)]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gl_profile::seccomp::{Bits, Condition, Group, GroupRule, Piece, Test, parse_group};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
    match std::env::args().nth(1).as_deref() {
        Some("groups") => groups(),
        Some("profiles") => profiles(),
        _ => panic!("name the table: groups or profiles"),
    }
}

/// The files of a folder, as name without `.toml`, file name and text.
fn files(folder: &str) -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles");
    let mut paths: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let word = |word: Option<&OsStr>| word.unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| (word(path.file_stem()), word(path.file_name()), text(path)))
        .collect()
}

fn groups() {
    let mut out = HEAD.to_owned();
    for (_, file, text) in files("seccomp") {
        let group = parse_group(&format!("profiles/seccomp/{file}"), &text).unwrap();
        write_group(&mut out, &group);
    }
    out.push_str("];\n");
    print!("{out}");
}

const PROFILES_HEAD: &str = r#"//! The built-in profiles as documents that are parsed already, by name. Made by `examples/tables.rs`, not by
//! hand.

use super::document::{Document, Member, Value::{Bool, Integer, List, Table, Text}};

const fn m(key: &'static str, line: u32, value: Document) -> Member {
    Member { key, line, value }
}

const fn d(line: u32, value: super::document::Value) -> Document {
    Document { line, value }
}

pub(super) static DOCUMENTS: &[(&str, Document)] = &[
"#;

fn profiles() {
    let mut out = PROFILES_HEAD.to_owned();
    for (name, _, text) in [files("."), files("levels")].concat() {
        let document = DeTable::parse(&text).unwrap();
        let root = table(document.get_ref(), &text);
        writeln!(out, "    ({name:?}, d(1, {root})),").unwrap();
    }
    out.push_str("];\n");
    print!("{out}");
}

fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn table(table: &DeTable<'_>, text: &str) -> String {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(key, _)| line(text, key.span().start));
    let members = members.iter().map(|(key, value)| {
        let at = line(text, key.span().start);
        format!("m({:?}, {at}, {})", key.get_ref(), document(value, text))
    });
    format!("Table(&[{}])", members.collect::<Vec<_>>().join(", "))
}

fn document(value: &Spanned<DeValue<'_>>, text: &str) -> String {
    let inner = match value.get_ref() {
        DeValue::String(text) => format!("Text({text:?})"),
        DeValue::Integer(number) => format!("Integer({})", number.as_str()),
        DeValue::Boolean(value) => format!("Bool({value})"),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| document(item, text));
            format!("List(&[{}])", items.collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(members) => table(members, text),
        other => panic!("no built-in profile has {other:?}"),
    };
    format!("d({}, {inner})", line(text, value.span().start))
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
