//! Device access as the kernel decides it by our program.

use gl_cgroup::DeviceDefault;
use gl_spec::{Class, Classify as _};

use crate::support::{Fixture, host, resources};

const DENY: &str = r#"{"allow":false,"access":"rwm"}"#;

fn devices(rules: &[&str]) -> String {
    format!(r#"{{"devices":[{}]}}"#, rules.join(","))
}

/// What a process of the cgroup can do, of a few things.
fn can(fixture: &Fixture) -> String {
    let script = "
        head -c 1 /dev/zero >/dev/null && echo zero
        true </dev/kmsg && echo kmsg-read
        true >>/dev/kmsg && echo kmsg-write
        node=$(mktemp -u) && mknod $node c 1 3 && echo mknod && rm $node";
    let (_, text) = fixture.output(script);
    let words = ["zero", "kmsg-read", "kmsg-write", "mknod"];
    let seen = text.lines().filter(|line| words.contains(line));
    seen.collect::<Vec<_>>().join(" ")
}

#[test]
fn devices_follow_the_rules_and_their_updates() {
    let Some(layout) = host("devices") else {
        return;
    };
    let fixture = Fixture::new(&layout, "devices");
    assert_eq!(can(&fixture), "zero kmsg-read kmsg-write mknod");
    fixture.apply(&devices(&[DENY])).unwrap();
    assert_eq!(can(&fixture), "zero mknod");
    let update = |rules: &[&str]| fixture.cgroup.update(&resources(&devices(rules)));
    update(&[
        DENY,
        r#"{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}"#,
    ])
    .unwrap();
    assert_eq!(can(&fixture), "zero kmsg-read mknod");
    // A part out of a wider rule.
    update(&[
        DENY,
        r#"{"allow":true,"type":"c","major":1,"access":"rwm"}"#,
        r#"{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}"#,
    ])
    .unwrap();
    assert_eq!(can(&fixture), "zero kmsg-write mknod");
    update(&[DENY, r#"{"allow":true,"access":"rwm"}"#]).unwrap();
    assert_eq!(can(&fixture), "zero kmsg-read kmsg-write mknod");
    update(&[DENY]).unwrap();
    assert_eq!(can(&fixture), "zero mknod");
}

#[test]
fn without_a_list_only_what_every_container_has_is_allowed() {
    let Some(layout) = host("devices_default") else {
        return;
    };
    let fixture = Fixture::new(&layout, "default");
    fixture
        .cgroup
        .apply(&resources("{}"), DeviceDefault::Deny)
        .unwrap();
    assert_eq!(can(&fixture), "zero mknod");
}

#[test]
fn a_wrong_rule_is_refused_before_anything_is_written() {
    let Some(layout) = host("devices_wrong") else {
        return;
    };
    let fixture = Fixture::new(&layout, "wrong");
    let err = fixture
        .apply(r#"{"devices":[{"allow":true,"type":"p","access":"r"}],"pids":{"limit":7}}"#)
        .unwrap_err();
    assert_eq!(
        err.to_string(),
        "set linux.resources.devices[0] to \"allow p *:* r\": a fifo is not a device"
    );
    assert_eq!(err.class(), Class::Invalid);
    assert_eq!(fixture.read("pids.max"), "max");
}
