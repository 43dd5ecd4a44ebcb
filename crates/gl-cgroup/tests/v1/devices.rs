//! Device lists, and what the kernel then lets through.

use std::fs;

use gl_cgroup::{Controller, DeviceDefault};

use crate::support::{Fixture, host, resources};
#[test]
fn apply_limits_devices_to_the_list_and_the_defaults() {
    let Some(layout) = host("apply_devices") else {
        return;
    };
    let fixture = Fixture::new(&layout, "devices");
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"b","major":7,"minor":3,"access":"r"}]}"#;
    fixture
        .cgroup
        .apply(&resources(rules), DeviceDefault::Deny)
        .unwrap();
    let mut list: Vec<_> = fixture
        .read(Controller::Devices, "devices.list")
        .lines()
        .map(str::to_owned)
        .collect();
    list.sort();
    assert_eq!(
        list,
        [
            "b *:* m",
            "b 7:3 r",
            "c *:* m",
            "c 10:200 rwm",
            "c 136:* rwm",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
        ]
    );
}

#[test]
fn update_of_devices_works_while_there_are_cgroups_below() {
    let Some(layout) = host("update_devices") else {
        return;
    };
    let fixture = Fixture::new(&layout, "devupdate");
    let first = r#"{"devices":[{"allow":true,"type":"b","major":7,"minor":3,"access":"rw"}]}"#;
    fixture
        .cgroup
        .apply(&resources(first), DeviceDefault::Deny)
        .unwrap();
    fs::create_dir(fixture.dir(Controller::Devices).join("below")).unwrap();
    let second = r#"{"devices":[{"allow":true,"type":"b","major":7,"minor":3,"access":"r"},
        {"allow":true,"type":"b","major":7,"minor":4,"access":"w"}]}"#;
    fixture.cgroup.update(&resources(second)).unwrap();
    let list = fixture.read(Controller::Devices, "devices.list");
    let blocks: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("b 7"))
        .collect();
    assert_eq!(blocks, ["b 7:3 r", "b 7:4 w"], "{list}");
}

#[test]
fn devices_keep_leaves_the_controller_alone() {
    let Some(layout) = host("devices_keep") else {
        return;
    };
    let fixture = Fixture::new(&layout, "keep");
    fixture
        .cgroup
        .apply(&resources("{}"), DeviceDefault::Keep)
        .unwrap();
    assert_eq!(
        fixture.read(Controller::Devices, "devices.list"),
        "a *:* rwm"
    );
    fixture
        .cgroup
        .apply(&resources("{}"), DeviceDefault::Deny)
        .unwrap();
    assert_ne!(
        fixture.read(Controller::Devices, "devices.list"),
        "a *:* rwm"
    );
}

#[test]
fn devices_that_are_not_on_the_list_cannot_be_opened() {
    let Some(layout) = host("devices_enforced") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "enforced");
    fixture
        .cgroup
        .apply(&resources(r#"{"devices":[]}"#), DeviceDefault::Deny)
        .unwrap();
    // What the shell says of it would go between the lines of other tests.
    let (zero, kmsg) = ("exec 2>&- 3</dev/zero", "exec 2>&- 3</dev/kmsg");
    for (list, script, want) in [
        (r#"[]"#, zero, true),
        (r#"[]"#, kmsg, false),
        (
            r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#,
            kmsg,
            true,
        ),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}]"#,
            kmsg,
            false,
        ),
        (r#"[{"allow":true,"access":"rwm"}]"#, kmsg, true),
        (r#"[]"#, kmsg, false),
    ] {
        let json = format!(r#"{{"devices":{list}}}"#);
        fixture.cgroup.update(&resources(&json)).unwrap();
        fixture.run(script);
        let status = fixture.processes.pop().unwrap().wait().unwrap();
        assert_eq!(status.success(), want, "{json} {script}");
        assert!(!fixture.cgroup.frozen().unwrap());
    }
}
