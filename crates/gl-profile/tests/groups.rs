//! The seccomp groups in `profiles/seccomp`: each file can be read, says why it is there, and names
//! calls that exist.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and the groups are files"
)]

use std::fs;
use std::path::Path;

use gl_profile::seccomp::{group, group_names, parse_group};
use gl_spec::oci::{Arch, LinuxSeccomp};
use serde_json::json;
use toml::de::{DeTable, DeValue};

/// The files, as name without `.toml` and text.
fn groups() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/seccomp");
    let mut groups: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    groups.sort();
    groups
}

fn text<'a>(table: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    table.get(key).and_then(|value| value.get_ref().as_str())
}

/// Calls `visit` with each group's name and each of its rules.
fn each_rule(mut visit: impl FnMut(&str, &DeTable<'_>)) {
    for (name, content) in groups() {
        let table = DeTable::parse(&content).unwrap_or_else(|err| panic!("{name}: {err}"));
        let Some(DeValue::Array(rules)) = table.get_ref().get("rules").map(|rules| rules.get_ref())
        else {
            panic!("{name}: no list of rules");
        };
        assert!(rules.iter().count() > 0, "{name}: no rule");
        for rule in rules.iter() {
            let DeValue::Table(rule) = rule.get_ref() else {
                panic!("{name}: a rule is no table");
            };
            visit(&name, rule);
        }
    }
}

fn calls(group: &str, rule: &DeTable<'_>) -> Vec<String> {
    let Some(DeValue::Array(calls)) = rule.get("calls").map(|calls| calls.get_ref()) else {
        panic!("{group}: a rule without calls");
    };
    calls
        .iter()
        .map(|call| call.get_ref().as_str().unwrap().to_owned())
        .collect()
}

/// A list that allows `names` and nothing else, on 64 and 32 bits.
fn list(names: &[&str]) -> LinuxSeccomp {
    let architectures = [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
    ];
    let rules = match names {
        [] => json!([]),
        names => json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]),
    };
    serde_json::from_value(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": rules,
    }))
    .unwrap()
}

/// Whether `call` makes a difference to a filter for `native`; a name that is unknown makes none.
fn exists(call: &str, native: Arch) -> bool {
    let with = gl_seccomp::policy(&list(&[call]), native).unwrap();
    let without = gl_seccomp::policy(&list(&[]), native).unwrap();
    with.spaces() != without.spaces()
}

#[test]
fn group_has_the_name_of_its_file_and_a_reason() {
    let groups = groups();
    assert!(groups.len() >= 30, "{} groups", groups.len());
    for (name, content) in groups {
        let table = DeTable::parse(&content).unwrap_or_else(|err| panic!("{name}: {err}"));
        let table = table.get_ref();
        assert_eq!(text(table, "name"), Some(name.as_str()));
        let reason = text(table, "reason").unwrap_or_default();
        assert!(reason.len() > 20, "{name}: reason {reason:?}");
        for (key, _) in table {
            let known = ["name", "reason", "rules"];
            assert!(
                known.contains(&key.get_ref().as_ref()),
                "{name}: key {key:?}"
            );
        }
    }
}

#[test]
fn tables_are_what_the_files_say() {
    let groups = groups();
    let names: Vec<_> = groups.iter().map(|(name, _)| name.as_str()).collect();
    let how = "make them anew: see crates/gl-profile/examples/tables.rs";
    assert_eq!(group_names().collect::<Vec<_>>(), names, "{how}");
    for (name, content) in &groups {
        let written = parse_group(&format!("profiles/seccomp/{name}.toml"), content);
        let written = written.unwrap_or_else(|err| panic!("{name}: {err}"));
        assert_eq!(group(name), Some(&written), "{how}");
    }
}

#[test]
fn rules_have_only_keys_that_mean_something() {
    each_rule(|group, rule| {
        for (key, _) in rule {
            let known = ["calls", "when", "errno", "reason"];
            assert!(
                known.contains(&key.get_ref().as_ref()),
                "{group}: key {key:?}"
            );
        }
    });
}

#[test]
fn every_call_exists() {
    assert!(!exists("no_such_call", Arch::ScmpArchX86_64));
    let mut unknown = Vec::new();
    each_rule(|group, rule| {
        for call in calls(group, rule) {
            if !exists(&call, Arch::ScmpArchX86_64) && !exists(&call, Arch::ScmpArchAarch64) {
                unknown.push(format!("{group}: {call}"));
            }
        }
    });
    assert_eq!(unknown, Vec::<String>::new());
}
