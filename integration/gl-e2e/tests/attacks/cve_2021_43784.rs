//! CVE-2021-43784: lists longer than the length field of the message that carries them.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::Bundle;
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use super::ground::harmless;

pub(crate) const TESTS: &[Test] = tests![
    cve_2021_43784_lists_over_64_kib,
    cve_2021_43784_arguments_of_100_kib,
    cve_2021_43784_paths_of_namespaces_over_64_kib,
    cve_2021_43784_as_many_id_maps_as_the_kernel_takes,
];

fn cve_2021_43784_lists_over_64_kib() -> Outcome {
    let mut box_ = Bundle::sh("grep -c ' /m' /proc/self/mountinfo");
    for n in 0..600 {
        let target = format!("/m{n}-{}", "x".repeat(100));
        box_ = box_.mount("bind", "volume", &target, &["bind", "ro"]);
    }
    box_.outside("volume");
    harmless(&box_, &[], "many mounts").ok().prints("600");
    let masks: Vec<String> = (0..2000)
        .map(|n| format!("/etc/{n}/{}", "y".repeat(60)))
        .collect();
    let box_ = Bundle::new()
        .args(&["echo", "ok"])
        .set("/linux/maskedPaths", json!(masks));
    box_.run().ok().prints("ok");
    Ok(())
}

fn cve_2021_43784_arguments_of_100_kib() -> Outcome {
    for length in [65_535, 65_536, 65_537, 100 * 1024] {
        let long = "a".repeat(length);
        let script = format!("echo ${{#1}} ${{#VALUE}}; [ $1 = $VALUE ] && echo same {length}");
        let want = format!("{length} {length}\nsame {length}");
        let args = ["/bin/sh", "-c", &script, "sh", &long];
        let box_ = Bundle::new()
            .args(&args)
            .push("/process/env", json!(format!("VALUE={long}")));
        harmless(&box_, &[], "long arguments").ok().prints(&want);
        let box_ = box_.idle();
        box_.exec(&[], &args).ok().prints(&want);
    }
    // Longer than the kernel takes in one argument: an error, and no other program.
    let box_ = Bundle::new().args(&["/bin/echo", &"a".repeat(200 * 1024)]);
    let out = harmless(&box_, &[], "an argument of 200 KiB").failed();
    assert_eq!(out.stdout, "", "{out:?}");
    Ok(())
}

fn cve_2021_43784_paths_of_namespaces_over_64_kib() -> Outcome {
    for length in [4095, 4096, 65_536, 70_000] {
        let path = format!("/{}", "n".repeat(length - 1));
        let network = json!({"type": "network", "path": path});
        let box_ = Bundle::new().namespace("network", Some(network));
        harmless(&box_, &[], &format!("path of {length}")).failed();
    }
    Ok(())
}

fn cve_2021_43784_as_many_id_maps_as_the_kernel_takes() -> Outcome {
    let maps = |count: u32| -> Value {
        let one = |n| json!({"containerID": n, "hostID": 100_000 + 2 * n, "size": 1});
        (0..count).map(one).collect()
    };
    let with = |count| {
        let box_ = Bundle::sh("grep -c . /proc/self/uid_map; grep -c . /proc/self/gid_map")
            .namespace("user", Some(json!({"type": "user"})))
            .set("/linux/uidMappings", maps(count))
            .set("/linux/gidMappings", maps(count));
        let (root, dirs) = (box_.rootfs(), [box_.dir().to_owned(), box_.rootfs()]);
        for dir in dirs {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(dir, open).unwrap();
        }
        std::os::unix::fs::chown(root, Some(100_000), Some(100_000)).unwrap();
        box_
    };
    // The text of more would not fit into the page that the kernel takes.
    with(250).run().ok().prints("250\n250");
    harmless(&with(341), &[], "341 id maps").failed();
    Ok(())
}
