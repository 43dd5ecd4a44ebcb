use gl_spec::oci::LinuxDeviceCgroup;

use super::{Line, Policy};
use crate::error::Error;

const DOCKER_DENY: &str = r#"{"allow":false,"access":"rwm"}"#;
const DEFAULTS: &str = "b *:* m|c *:* m|c 1:3 rwm|c 1:5 rwm|c 1:7 rwm|c 1:8 rwm|c 1:9 rwm|\
                        c 5:0 rwm|c 5:2 rwm|c 10:200 rwm|c 136:* rwm";

fn policy(rules: &[&str]) -> Result<Policy, Error> {
    let rules: Vec<LinuxDeviceCgroup> = rules
        .iter()
        .map(|rule| serde_json::from_str(rule).unwrap())
        .collect();
    Policy::from_rules(&rules)
}

fn shown(lines: &[Line]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {}", line.file.trim_start_matches("devices."), line.text))
        .collect();
    lines.join("|")
}

fn allowed() -> String {
    let lines: Vec<_> = DEFAULTS
        .split('|')
        .map(|line| format!("allow {line}"))
        .collect();
    lines.join("|")
}

#[test]
fn policy_without_rules_allows_what_every_container_has() {
    assert_eq!(
        shown(&policy(&[]).unwrap().lines()),
        format!("deny a|{}", allowed())
    );
}

#[test]
fn policy_of_dockers_list_adds_each_device_once() {
    let got = policy(&[
        DOCKER_DENY,
        r#"{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"}"#,
        r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}"#,
        r#"{"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"}"#,
        r#"{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}"#,
    ])
    .unwrap();
    let want = allowed().replace("allow c 5:2", "allow c 5:1 rwm|allow c 5:2");
    assert_eq!(shown(&got.lines()), format!("deny a|{want}"));
}

#[test]
fn policy_of_a_privileged_container_has_no_exceptions() {
    let got = policy(&[DOCKER_DENY, r#"{"allow":true,"access":"rwm"}"#]).unwrap();
    assert_eq!(shown(&got.lines()), "allow a");
}

#[test]
fn policy_with_default_allow_keeps_later_denials() {
    let got = policy(&[
        r#"{"allow":true,"access":"rwm"}"#,
        r#"{"allow":false,"type":"b","major":8,"access":"w"}"#,
        r#"{"allow":false,"type":"c","major":1,"minor":3,"access":"w"}"#,
    ])
    .unwrap();
    assert_eq!(shown(&got.lines()), "allow a|deny b 8:* w");
}

#[test]
fn policy_of_a_partial_rule_for_all_types_never_becomes_everything() {
    for (rule, want) in [
        (
            r#"{"allow":true,"type":"a","access":"r"}"#,
            "allow b *:* rm|allow c *:* rm|",
        ),
        (
            r#"{"allow":true,"type":"a","major":7,"access":"rwm"}"#,
            "allow b *:* m|allow b 7:* rwm|allow c *:* m|",
        ),
    ] {
        let got = shown(&policy(&[rule]).unwrap().lines());
        assert!(got.starts_with(&format!("deny a|{want}")), "{rule}: {got}");
    }
}

#[test]
fn policy_takes_narrower_rules_out_with_a_wider_one() {
    let got = policy(&[
        r#"{"allow":true,"type":"b","major":8,"minor":1,"access":"rwm"}"#,
        r#"{"allow":false,"type":"b","major":8,"access":"w"}"#,
    ])
    .unwrap();
    let want = allowed().replace("allow c *:* m", "allow b 8:1 rm|allow c *:* m");
    assert_eq!(shown(&got.lines()), format!("deny a|{want}"));
}

#[test]
fn policy_without_access_denies_all_and_allows_none() {
    let got = policy(&[
        r#"{"allow":true,"type":"b","major":8,"minor":1,"access":"rwm"}"#,
        r#"{"allow":false,"type":"b","major":8,"minor":1}"#,
        r#"{"allow":true,"type":"b","major":9,"minor":1}"#,
    ])
    .unwrap();
    assert_eq!(shown(&got.lines()), format!("deny a|{}", allowed()));
}

#[test]
fn policy_refuses_what_v1_cannot_express_and_names_the_rule() {
    for (rules, message) in [
        (
            &[
                r#"{"allow":true,"type":"b","major":8,"access":"rw"}"#,
                r#"{"allow":false,"type":"b","major":8,"minor":1,"access":"w"}"#,
            ][..],
            r#"set linux.resources.devices[1] to "deny b 8:1 w": v1 cannot take a part out of an earlier, wider rule"#,
        ),
        (
            &[r#"{"allow":true,"type":"p","major":8,"access":"rw"}"#],
            r#"set linux.resources.devices[0] to "allow p 8:* rw": a fifo is not a device"#,
        ),
        (
            &[r#"{"allow":true,"type":"c","major":-2,"access":"rw"}"#],
            r#"set linux.resources.devices[0] to "allow c -2:* rw": device numbers are 0 to 4294967295, or -1 for all"#,
        ),
        (
            &[r#"{"allow":true,"type":"c","major":1,"minor":4294967296,"access":"rw"}"#],
            r#"set linux.resources.devices[0] to "allow c 1:4294967296 rw": device numbers are 0 to 4294967295, or -1 for all"#,
        ),
        (
            &[r#"{"allow":true,"type":"c","major":1,"access":"rx"}"#],
            r#"set linux.resources.devices[0] to "allow c 1:* rx": access is made of r, w and m"#,
        ),
    ] {
        assert_eq!(policy(rules).unwrap_err().to_string(), message);
    }
}

#[test]
fn policy_difference_between_lists_denies_before_it_allows() {
    let current = Policy::parse("c 1:3 rwm\nb 8:0 rw\nc *:* m\n").unwrap();
    let wanted = Policy::parse("c 1:3 rwm\nb 8:0 rm\nc 5:* w\n").unwrap();
    assert_eq!(
        shown(&wanted.difference(&current).unwrap()),
        "deny b 8:0 w|deny c *:* m|allow b 8:0 m|allow c 5:* w"
    );
    assert_eq!(shown(&wanted.difference(&wanted.clone()).unwrap()), "");
}

#[test]
fn policy_difference_from_allow_all_closes_first() {
    let current = Policy::parse("a *:* rwm\n").unwrap();
    let wanted = Policy::parse("c 1:3 rwm\n").unwrap();
    assert_eq!(
        shown(&wanted.difference(&current).unwrap()),
        "deny a|allow c 1:3 rwm"
    );
}

#[test]
fn policy_difference_to_allow_with_exceptions_needs_a_standstill() {
    let wanted = policy(&[
        r#"{"allow":true,"access":"rwm"}"#,
        r#"{"allow":false,"type":"b","major":8,"access":"w"}"#,
    ])
    .unwrap();
    assert_eq!(
        wanted.difference(&Policy::parse("c 1:3 rwm\n").unwrap()),
        None
    );
}

#[test]
fn policy_parse_returns_the_line_that_it_does_not_understand() {
    assert_eq!(Policy::parse("c 1:3 rwm\nx 1:3 r\n"), Err("x 1:3 r"));
}
