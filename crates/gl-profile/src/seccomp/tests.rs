//! Exact errors, and the answers of small filters.

use gl_spec::oci::Arch;
use serde_json::json;

use super::*;
use crate::error::Error;
use crate::layer::Layer;
use crate::node::Format;
use crate::profile::Profile;
use crate::value::SourceKind;

/// The filter of a profile with this seccomp part, which begins in line 4.
fn filter(seccomp: &str) -> Result<Filter, Error> {
    in_mode("enforcing", seccomp)
}

fn in_mode(mode: &str, seccomp: &str) -> Result<Filter, Error> {
    let text = format!("version = 1\nname = \"x\"\nmode = \"{mode}\"\n[seccomp]\n{seccomp}\n");
    let layer = Layer::parse("x.toml", &text, Format::Toml)?;
    let profile = Profile::resolve(layer, &())?;
    Filter::new(&profile.seccomp, profile.mode.value, Arch::ScmpArchX86_64)
}

/// The entries of `syscalls` that name a call, without the names beside it.
fn entries(filter: &Filter, call: &str) -> Vec<serde_json::Value> {
    let section = serde_json::to_value(filter.oci()).unwrap();
    let all = section["syscalls"].as_array().unwrap().clone();
    all.into_iter()
        .filter(|entry| entry["names"].as_array().unwrap().contains(&json!(call)))
        .map(|mut entry| {
            entry.as_object_mut().unwrap().remove("names");
            entry
        })
        .collect()
}

#[test]
fn faults_of_a_profile_are_refused_with_their_place() {
    for (seccomp, message) in [
        (
            "groups = [\n  \"memory\",\n  \"file-read\",\n]",
            "read x.toml:7: seccomp.groups: expected the name of a group of profiles/seccomp, found \
             \"file-read\"; did you mean \"files-read\"?",
        ),
        (
            "deny = [\"soket\"]",
            "read x.toml:5: seccomp.deny: expected the name of a system call, found \"soket\"; did you \
             mean \"socket\"?",
        ),
        (
            "allow = [\"read\", \"frobnicate\"]",
            "read x.toml:5: seccomp.allow: expected the name of a system call, found \"frobnicate\"",
        ),
        (
            "allow = [\"openat@file-read\"]",
            "read x.toml:5: seccomp.allow: expected the name of a group of profiles/seccomp, found \
             \"file-read\"; did you mean \"files-read\"?",
        ),
        (
            "deny = [\"socket@files-read\"]",
            "read x.toml:5: seccomp.deny: expected a group of profiles/seccomp that has socket, found \
             \"files-read\"",
        ),
    ] {
        match filter(seccomp) {
            Err(error) => assert_eq!(error.to_string(), message),
            Ok(_) => panic!("accepted: {seccomp}"),
        }
    }
}

#[test]
fn faults_of_a_group_are_refused_with_their_place() {
    let rule = |rule: &str| format!("name = \"g\"\nreason = \"r\"\n\n[[rules]]\n{rule}\n");
    for (text, message) in [
        (
            "name = ",
            "parse g.toml:1: string values must be quoted, expected literal string",
        ),
        (
            "name = \"g\"\nreason = \"r\"",
            "read g.toml: rules: missing, expected it beside the others",
        ),
        (
            "name = \"g\"\nreason = \"r\"\nrules = []",
            "read g.toml:3: rules: expected a list that is not empty, found a list",
        ),
        (
            &rule("call = [\"read\"]"),
            "read g.toml:5: rules[0].call: unknown key; did you mean \"calls\"?",
        ),
        (
            &rule("calls = [\"read\",\n \"wrte\"]"),
            "read g.toml:6: rules[0].calls[1]: expected the name of a system call, found \"wrte\"; did \
             you mean \"write\"?",
        ),
        (
            &rule("calls = [\"read\"]\nerrno = \"ENOSIS\""),
            "read g.toml:6: rules[0].errno: expected the name of an error, such as EPERM, found \
             \"ENOSIS\"; did you mean \"ENOSYS\"?",
        ),
        (
            &rule("calls = [\"read\"]\nwhen = [{ arg = 6, op = \"eq\", value = 1 }]"),
            "read g.toml:6: rules[0].when[0].arg: expected an argument from 0 to 5, found 6",
        ),
        (
            &rule("calls = [\"read\"]\nwhen = [{ arg = 0, op = \"mask_eq\", value = 1 }]"),
            "read g.toml:6: rules[0].when[0].op: expected one of eq, ne, lt, le, gt, ge, masked_eq, \
             masked_ne, found \"mask_eq\"; did you mean \"masked_eq\"?",
        ),
        (
            &rule(
                "calls = [\"read\"]\nwhen = [{ arg = 0, op = \"eq\", value = \"AF_INET|AF_INNET6\" }]",
            ),
            "read g.toml:6: rules[0].when[0].value: expected a number that is not negative, or the \
             kernel's names for bits, joined by |, found \"AF_INET|AF_INNET6\"; did you mean \
             \"AF_INET6\"?",
        ),
        (
            &rule("calls = [\"read\"]\nwhen = [{ arg = 0, op = \"eq\", value = -1 }]"),
            "read g.toml:6: rules[0].when[0].value: expected a number that is not negative, or the \
             kernel's names for bits, joined by |, found -1",
        ),
        (
            &rule("calls = [\"read\"]\nwhen = [{ arg = 0, op = \"eq\", value = 1, mask = 1 }]"),
            "read g.toml:6: rules[0].when[0].mask: unknown key",
        ),
        (
            &rule("calls = [\"read\"]\nwhen = [{ arg = 0, op = \"masked_eq\", value = 1 }]"),
            "read g.toml:6: rules[0].when[0].mask: missing, expected it beside the others",
        ),
        (
            &rule(
                "calls = [\"read\"]\nwhen = [{ arg = 0, op = \"masked_eq\", mask = 1, value = 2 }]",
            ),
            "read g.toml:6: rules[0].when[0].value: expected a value of bits that are all in the mask, \
             and a mask that is not 0, found 2",
        ),
        (
            &rule(
                "calls = [\"read\"]\nwhen = [{ arg = 0, op = \"eq\", value = 1 }, { arg = 0, op = \
                 \"gt\", value = 1 }]",
            ),
            "read g.toml:6: rules[0].when: expected conditions that can hold together, found a list",
        ),
    ] {
        match parse_group("g.toml", text) {
            Err(error) => assert_eq!(error.to_string(), message),
            Ok(_) => panic!("accepted: {text}"),
        }
    }
}

#[test]
fn names_of_values_join() {
    let text = "name = \"g\"\nreason = \"r\"\n[[rules]]\ncalls = [\"clone\"]\nwhen = [{ arg = 0, op = \
                \"masked_eq\", mask = \"CLONE_THREAD|CLONE_NEWUSER\", value = \"CLONE_THREAD\" }]\n";
    let group = parse_group("g.toml", text).unwrap();
    let condition = Condition {
        argument: 0,
        test: Test::MaskedEqual(0x1001_0000),
        value: 0x1_0000,
    };
    assert_eq!(*group.rules[0].conditions, [condition]);
    assert_eq!(group.rules[0].line, 4);
}

#[test]
fn groups_are_found_by_their_names() {
    let mut names: Vec<_> = group_names().collect();
    for name in &names {
        assert_eq!(group(name).unwrap().name, *name);
    }
    assert_eq!(group("no-such-group"), None);
    let found = names.clone();
    names.sort_unstable();
    assert_eq!(found, names);
}

#[test]
fn conditional_denial_leaves_no_unconditional_permission() {
    let filter = filter("default = \"allow\"\ndeny_groups = [\"terminal-injection\"]").unwrap();
    let rules = entries(&filter, "ioctl");
    assert!(rules.len() > 20, "{} rules", rules.len());
    for rule in rules {
        assert_eq!(rule["action"], "SCMP_ACT_ALLOW", "{rule}");
        let args = rule["args"].as_array().unwrap();
        assert_eq!(args.len(), 1, "{rule}");
        assert_eq!(args[0]["op"], "SCMP_CMP_MASKED_EQ", "{rule}");
    }
}

#[test]
fn personality_needs_two_rules() {
    // Both that the flags are off, and the query, which has them all.
    let filter = filter("default = \"allow\"\ndeny_groups = [\"process-forging\"]").unwrap();
    let bits = 0x0054_0000_u64;
    let rule = |mask: u64, value: u64| {
        json!({
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}],
        })
    };
    let mut seen = entries(&filter, "personality");
    seen.sort_by_key(|rule| rule["args"][0]["value"].as_u64());
    let query = 0xffff_ffff_u64;
    assert_eq!(seen, [rule(bits, 0), rule(query, query)]);
}

#[test]
fn weak_refusal_gives_way_to_permission() {
    let with = |more: &str| {
        let filter = filter(&format!("groups = [\"threads\"]\n{more}")).unwrap();
        entries(&filter, "clone3")
    };
    let unknown = json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    assert_eq!(with(""), std::slice::from_ref(&unknown));
    assert_eq!(
        with("allow = [\"clone3\"]"),
        [json!({"action": "SCMP_ACT_ALLOW"})]
    );
    assert_eq!(
        with("deny_groups = [\"namespaces\"]\nallow = [\"clone3\"]"),
        [unknown]
    );
    let refused = json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 1});
    assert_eq!(with("deny = [\"clone3\"]"), std::slice::from_ref(&refused));
    // What the profile itself denies counts before a group.
    assert_eq!(
        with("deny = [\"clone3\"]\ndeny_groups = [\"namespaces\"]"),
        [refused]
    );
}

#[test]
fn part_of_a_call_is_what_the_group_has_of_it() {
    let filter = filter("allow = [\"clone@threads\", \"clone3@threads\"]").unwrap();
    let allowed: Vec<_> = filter.rules().iter().map(|rule| rule.call).collect();
    assert_eq!(allowed, ["clone", "clone3"]);
    let clone = entries(&filter, "clone");
    assert_eq!(clone.len(), 1, "{clone:?}");
    assert_eq!(clone[0]["action"], "SCMP_ACT_ALLOW");
    assert_eq!(clone[0]["args"][0]["valueTwo"], 0x1_0000, "{clone:?}");
    let clone3 = entries(&filter, "clone3");
    assert_eq!(clone3[0]["errnoRet"], 38, "{clone3:?}");
    let Cause::Group { group, asked, .. } = &filter.rules()[0].cause else {
        panic!("{:?}", filter.rules()[0].cause);
    };
    assert_eq!((*group, asked.line), ("threads", 5));
}

#[test]
fn every_known_call_is_named_once_or_by_arguments() {
    let filter = filter("groups = [\"memory\", \"threads\"]\ndeny_groups = [\"mounts\"]").unwrap();
    for call in gl_seccomp::calls(Arch::ScmpArchX86_64) {
        let rules = entries(&filter, call);
        let by_arguments = rules.iter().all(|rule| rule.get("args").is_some());
        assert!(
            rules.len() == 1 || by_arguments && !rules.is_empty(),
            "{call}: {rules:?}"
        );
    }
}

#[test]
fn permissive_logs_instead_of_refusing() {
    let filter = in_mode(
        "permissive",
        "groups = [\"threads\"]\ndeny_groups = [\"mounts\"]\nallow = [\"mount\"]",
    )
    .unwrap();
    let section = serde_json::to_value(filter.oci()).unwrap();
    assert_eq!(section["defaultAction"], "SCMP_ACT_LOG");
    for entry in section["syscalls"].as_array().unwrap() {
        let allowed = entry["action"] == "SCMP_ACT_ALLOW";
        let names = entry["names"].as_array().unwrap();
        for call in ["clone3", "mount", "socket"] {
            assert!(!allowed || !names.contains(&json!(call)), "{call}: {entry}");
        }
    }
    assert_eq!(
        entries(&filter, "futex"),
        [json!({"action": "SCMP_ACT_ALLOW"})]
    );
}

#[test]
fn rules_say_where_they_come_from() {
    let filter = filter("groups = [\"time\"]\nallow = [\"mount\"]").unwrap();
    let of = |call: &str| {
        filter
            .rules()
            .iter()
            .find(|rule| rule.call == call)
            .unwrap()
    };
    let Cause::Profile(named) = &of("mount").cause else {
        panic!("{:?}", of("mount"));
    };
    assert_eq!(named.to_string(), "x.toml:6: seccomp.allow");
    assert_eq!(named.kind, SourceKind::File);
    let Cause::Group {
        group,
        file,
        line,
        reason,
        asked,
    } = &of("nanosleep").cause
    else {
        panic!("{:?}", of("nanosleep"));
    };
    assert_eq!(
        (*group, *file, *line),
        ("time", "profiles/seccomp/time.toml", 5)
    );
    assert_eq!(
        *reason,
        "Reading clocks, sleeping and timers. Setting a clock is not among them."
    );
    assert_eq!(asked.to_string(), "x.toml:5: seccomp.groups");
}

#[test]
fn logging_default_lets_through_and_denies_what_is_denied() {
    let filter = filter("default = \"log\"\ngroups = [\"threads\"]\ndeny = [\"mount\"]").unwrap();
    let section = serde_json::to_value(filter.oci()).unwrap();
    assert_eq!(section["defaultAction"], "SCMP_ACT_LOG");
    let refused = json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 1});
    assert_eq!(entries(&filter, "mount"), [refused]);
    assert_eq!(
        entries(&filter, "futex"),
        [json!({"action": "SCMP_ACT_ALLOW"})]
    );
    assert_eq!(
        entries(&filter, "clone3"),
        [json!({"action": "SCMP_ACT_LOG"})]
    );
}
