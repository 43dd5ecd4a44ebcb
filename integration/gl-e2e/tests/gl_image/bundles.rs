//! Bundles: their config is the ground, the profile and the options make it tighter.

use std::fs;

use gl_e2e::bundle::kernel::fields;
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::gl::{assert_nothing_left, assert_reason, command as gl, ready, reported, run, sh};
use gl_e2e::{Outcome, Test, command, tests};
use serde_json::json;

pub(crate) const TESTS: &[Test] = tests![
    bundle_runs_its_own_process,
    options_take_the_place_of_the_process,
    profile_tightens_a_bundle_and_loosens_nothing,
    relative_paths_are_the_bundles,
    limits_end_a_bundle_with_their_reasons,
    denied_calls_of_a_bundle_are_in_the_report,
    hooks_are_programs_of_the_host_and_take_allow,
    bundle_that_a_run_cannot_hold_to_is_refused,
    killed_caller_leaves_nothing_of_a_bundle,
];

/// The directory of a bundle whose config is written.
fn dir(box_: &Bundle) -> String {
    box_.write_config();
    box_.dir().to_str().unwrap().to_owned()
}

fn bundle_runs_its_own_process() -> Outcome {
    gl(&[])?;
    let box_ = Bundle::sh("id -u; pwd; echo $OWN; hostname; exit 6")
        .set("/process/user", json!({"uid": 12, "gid": 34}))
        .set("/process/cwd", json!("/etc"))
        // Whether there is one is the caller's to say.
        .set("/process/terminal", json!(true))
        .push("/process/env", json!("OWN=yes"));
    let output = run(&["--bundle", &dir(&box_)])?;
    assert_eq!(output.stdout, "12\n/etc\nyes\nbox\n", "{output}");
    assert_eq!(output.status, 6, "{output}");
    Ok(())
}

fn options_take_the_place_of_the_process() -> Outcome {
    let box_ = Bundle::sh("echo its own").push("/process/env", json!("OWN=yes"));
    let options = [
        "--bundle",
        &dir(&box_),
        "--chdir",
        "/tmp",
        "--env",
        "OWN=no",
        "--env",
        "MORE=yes",
    ];
    let output = sh(&options, "pwd; echo $OWN $MORE; env | grep -c TMPDIR")?;
    assert_eq!(output.stdout, "/tmp\nno yes\n0\n", "{output}");
    Ok(())
}

fn profile_tightens_a_bundle_and_loosens_nothing() -> Outcome {
    gl(&[])?;
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60},
        {"type": "RLIMIT_FSIZE", "soft": 1_000_000_000, "hard": 1_000_000_000},
    ]);
    let box_ = Bundle::new().set("/process/rlimits", limits);
    let options = ["--profile", "data_processing", "--file-size", "1MiB"];
    let dir = dir(&box_);
    let args = [&["--bundle", &dir][..], &options].concat();
    let script = "ulimit -Hn; ulimit -Hf; grep -E '^(Cap|NoNew)' /proc/self/status; ls /sys/class/net; unshare -r true || echo denied";
    let (output, report) = reported(&args, script)?;
    let seen = &output.stdout;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("60"), "{output}");
    // The shell counts blocks of 512 bytes.
    assert_eq!(lines.next(), Some("2048"), "{output}");
    let status = fields(seen);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set} of {output}");
    }
    assert_eq!(status["NoNewPrivs"], "1", "{output}");
    assert!(seen.ends_with("lo\ndenied\n"), "{output}");
    assert_eq!(report["tier"], "container", "{report:#}");
    assert_eq!(report["profile"], "data_processing", "{report:#}");
    assert_eq!(report["loosened"], json!([]), "{report:#}");
    let limits = report["layers"].as_array().unwrap().iter();
    let mut limits = limits.filter(|one| one["requested"] == "limits.memory_limit_bytes");
    assert!(limits.any(|one| one["applied"] == "yes"), "{report:#}");
    Ok(())
}

fn relative_paths_are_the_bundles() -> Outcome {
    let box_ = Bundle::sh("cat /own/f /mark").mount("bind", "own", "/own", &["bind", "ro"]);
    box_.file("mark", "mark\n");
    fs::create_dir(box_.dir().join("own")).unwrap();
    fs::write(box_.dir().join("own/f"), "own\n").unwrap();
    let dir = dir(&box_);
    let (above, name) = dir.rsplit_once('/').unwrap();
    let mut command = gl(&["--bundle", name])?;
    command.current_dir(above);
    assert_eq!(command::output(command).ok(), "own\nmark");
    Ok(())
}

fn limits_end_a_bundle_with_their_reasons() -> Outcome {
    gl(&[])?;
    let box_ = Bundle::new();
    let dir = dir(&box_);
    let (output, report) = reported(&["--bundle", &dir, "--timeout", "1s"], "sleep 60")?;
    assert_reason(&output, &report, "timeout", 124);
    let (output, report) = reported(
        &["--bundle", &dir, "--memory", "32MiB"],
        "head -c 200000000 /dev/zero | tail",
    )?;
    assert_reason(&output, &report, "oom", 121);
    Ok(())
}

fn denied_calls_of_a_bundle_are_in_the_report() -> Outcome {
    gl(&[])?;
    let own = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    let box_ = Bundle::new().set("/linux/seccomp", own);
    let script = "chmod 700 /tmp; unshare -r true";
    let (output, report) = reported(&["--bundle", &dir(&box_)], script)?;
    assert!(
        output.stderr.contains("No space left on device"),
        "{output}"
    );
    let denials = report["denials"].as_array().unwrap();
    let all: Vec<_> = denials.iter().map(|one| one["what"].as_str()).collect();
    assert!(all.contains(&Some("unshare")), "{report:#}");
    assert!(
        all.contains(&Some("chmod")) || all.contains(&Some("fchmodat")),
        "{report:#}"
    );
    Ok(())
}

fn hooks_are_programs_of_the_host_and_take_allow() -> Outcome {
    gl(&[])?;
    let box_ = Bundle::sh("echo ran");
    let mark = box_.dir().join("mark");
    let hook = box_.dir().join("hook");
    fs::write(&hook, format!("#!/bin/sh\ncat >{}\n", mark.display())).unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let box_ = box_.set("/hooks/createRuntime", json!([{"path": hook}]));
    let dir = dir(&box_);
    let output = run(&["--bundle", &dir])?;
    assert_eq!(output.status, 125, "{output}");
    let want = format!("hooks.createRuntime[0] {}", hook.display());
    for want in ["--bundle", &want, "--allow"] {
        assert!(output.stderr.contains(want), "{want} in {output}");
    }
    assert!(!mark.exists(), "the hook ran: {output}");
    let report = box_.dir().join("report");
    let report = report.to_str().unwrap();
    let output = run(&["--allow", "--bundle", &dir, "--report", report])?;
    assert_eq!(output.ok(), "ran");
    assert!(mark.exists(), "the hook did not run: {output}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["loosened"][0]["to"], want, "{report:#}");
    Ok(())
}

fn bundle_that_a_run_cannot_hold_to_is_refused() -> Outcome {
    gl(&[])?;
    let shared = Bundle::new().set("/linux/namespaces", json!([{"type": "mount"}]));
    let agent = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]});
    let agent = Bundle::new().set("/linux/seccomp", agent);
    let broken = Bundle::new().set("/root", json!(7));
    for (box_, want) in [
        (shared, "linux.namespaces"),
        (agent, "linux.seccomp.syscalls[0].action"),
        (broken, "root"),
    ] {
        let output = run(&["--bundle", &dir(&box_)])?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
        assert!(output.stderr.contains("config.json"), "{output}");
    }
    let output = run(&["--bundle", "/no/such/bundle"])?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("/no/such/bundle"), "{output}");
    Ok(())
}

fn killed_caller_leaves_nothing_of_a_bundle() -> Outcome {
    let name = format!("{}killed-bundle", bundle::tag());
    let box_ = Bundle::sh("echo ready; sleep 1000");
    let dir = dir(&box_);
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (mut child, _stdout) = ready(gl(&["--name", &name, "--bundle", &dir])?);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    Ok(())
}
