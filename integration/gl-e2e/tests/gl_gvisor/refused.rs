//! What nobody can enforce there is refused by its name, or left out where the profile degrades.

use gl_e2e::bundle::Bundle;
use gl_e2e::gl::{run, sh};
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use super::{layers, on, profile, reported, root};

pub(crate) const TESTS: &[Test] = tests![
    lines_of_profiles_are_refused_by_name,
    profile_that_degrades_leaves_them_out_and_the_report_says_so,
    fields_of_bundles_are_refused_by_name,
    user_without_root_is_refused,
];

/// Lines of profiles, and their keys.
const LINES: [(&str, &str); 6] = [
    (
        "[filesystem]\nread_write_paths = [\"/tmp\"]\n",
        "filesystem.read_write_paths",
    ),
    (
        "[limits]\ndisk_quota_bytes = \"10MiB\"\n",
        "limits.disk_quota_bytes",
    ),
    (
        "[filesystem]\napparmor_profile = \"x\"\n",
        "filesystem.apparmor_profile",
    ),
    (
        "[filesystem]\nselinux_context = \"a:b:c:s0\"\n",
        "filesystem.selinux_context",
    ),
    (
        "[filesystem]\nblocked_paths = [\"/proc/cpuinfo\"]\n",
        "filesystem.blocked_paths",
    ),
    (
        "[filesystem]\nmask_paths = [\"/sys/x\"]\n",
        "filesystem.mask_paths",
    ),
];

fn lines_of_profiles_are_refused_by_name() -> Outcome {
    let root = root()?;
    for (lines, key) in LINES {
        let own = profile(&root, &format!("extends = [\"default\"]\n{lines}"));
        let args = on(&root);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = sh(&[&args[..], &["--profile", &own]].concat(), "echo ran")?;
        assert_eq!(output.status, 125, "{output}");
        assert_eq!(output.stdout, "", "{output}");
        assert!(output.stderr.contains(key), "{key} in {output}");
    }
    Ok(())
}

fn profile_that_degrades_leaves_them_out_and_the_report_says_so() -> Outcome {
    let root = root()?;
    for (lines, key) in LINES {
        let text = format!("extends = [\"default\"]\non_missing = \"degrade\"\n{lines}");
        let own = profile(&root, &text);
        let (output, report) = reported(&root, &["--profile", &own], "echo ran");
        assert_eq!(output.ok(), "ran");
        let found = layers(&report, key);
        let lost = |one: &&Value| one["applied"] == "no" && one["how"] != "";
        assert!(found.iter().any(lost), "{key} in {report:#}");
    }
    Ok(())
}

fn fields_of_bundles_are_refused_by_name() -> Outcome {
    root()?;
    let namespaces = |more: Value| {
        let mut all = ["mount", "pid", "uts"]
            .map(|kind| json!({"type": kind}))
            .to_vec();
        all.push(more);
        Value::Array(all)
    };
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    for (pointer, value, want) in [
        (
            "/process/selinuxLabel",
            json!("a:b:c:s0"),
            "process.selinuxLabel",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH"}),
            "process.scheduler",
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX"}),
            "linux.personality",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices",
        ),
        (
            "/linux/sysctl",
            json!({"net.core.somaxconn": "9"}),
            "linux.sysctl[\"net.core.somaxconn\"]",
        ),
        (
            "/linux/namespaces",
            namespaces(json!({"type": "ipc", "path": "/proc/1/ns/ipc"})),
            "linux.namespaces[3]",
        ),
        (
            "/linux/namespaces",
            namespaces(json!({"type": "time"})),
            "linux.namespaces[3]",
        ),
        (
            "/linux/readonlyPaths",
            json!(["/etc"]),
            "linux.readonlyPaths[0]",
        ),
        (
            "/mounts",
            json!([{"destination": "/srv", "type": "bind", "source": "/srv", "options": ["bind"],
                "uidMappings": map, "gidMappings": map}]),
            "mounts[0]",
        ),
    ] {
        let box_ = Bundle::sh("echo ran").set(pointer, value);
        box_.write_config();
        let dir = box_.dir().to_str().unwrap().to_owned();
        let output = run(&["--tier", "gvisor", "--bundle", &dir])?;
        assert_eq!(output.status, 125, "{want}: {output}");
        assert_eq!(output.stdout, "", "{output}");
        assert!(output.stderr.contains(want), "{want} in {output}");
    }
    Ok(())
}

fn user_without_root_is_refused() -> Outcome {
    let root = root()?;
    let user = gl_e2e::gl::User::new("gvisor-user")?;
    let rootfs = root.rootfs();
    let rootfs = rootfs.to_str().unwrap();
    let args = ["--tier", "gvisor", "--rootfs", rootfs, "--", "true"];
    let output = gl_e2e::command::output(user.command(&args));
    assert_eq!(output.status, 125, "{output}");
    assert_ne!(output.stderr, "", "{output}");
    Ok(())
}
