//! Who enforces what: each line of the table, looked at from inside and in the report.

use std::time::Instant;

use gl_e2e::bundle::kernel::fields;
use gl_e2e::gl::assert_reason;
use gl_e2e::{Outcome, Test, tests};
use serde_json::{Value, json};

use super::{layers, profile, reported, root};

pub(crate) const TESTS: &[Test] = tests![
    memory_limit_ends_it_with_its_reason,
    timeout_ends_it_with_its_reason,
    cpu_time_ends_it_with_its_reason,
    as_many_processes_as_there_may_be_run,
    too_many_processes_end_it_with_their_reason,
    tasks_files_and_sizes_are_bounded_exactly,
    capabilities_ids_and_privileges_are_bounded,
    filter_and_umask_hold_inside,
    root_is_read_only_and_paths_are_hidden,
    network_off_leaves_loopback_or_no_socket,
    report_says_what_is_asked_of_whom_and_what_is_not_seen,
];

fn memory_limit_ends_it_with_its_reason() -> Outcome {
    let root = root()?;
    let script = "head -c 400000000 /dev/zero | tail; echo survived";
    let (output, report) = reported(&root, &["--memory", "64MiB"], script);
    assert_reason(&output, &report, "oom", 121);
    assert!(!output.stdout.contains("survived"), "{output}");
    let denials = report["denials"].as_array().unwrap();
    assert!(
        denials.iter().any(|one| one["what"] == "memory"),
        "{report:#}"
    );
    let lines = layers(&report, "--memory");
    assert_eq!(lines[0]["applied"], "yes", "{report:#}");
    assert_eq!(lines[0]["layer"], "cgroup", "{report:#}");
    Ok(())
}

fn timeout_ends_it_with_its_reason() -> Outcome {
    let root = root()?;
    let asked = "trap 'echo asked; exit 3' TERM; while :; do sleep 0.1; done";
    let (output, report) = reported(&root, &["--timeout", "1s"], asked);
    assert_reason(&output, &report, "timeout", 124);
    assert_eq!(output.stdout, "asked\n", "{output}");
    let begin = Instant::now();
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    let (output, report) = reported(&root, &["--timeout", "1s"], deaf);
    assert_reason(&output, &report, "timeout", 124);
    let took = begin.elapsed().as_secs_f32();
    assert!((2.9..20.0).contains(&took), "{took}");
    Ok(())
}

fn cpu_time_ends_it_with_its_reason() -> Outcome {
    let root = root()?;
    // Each of them for less than that.
    let script = "while :; do sh -c 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done'; done";
    let (output, report) = reported(&root, &["--cpu-time", "2s"], script);
    assert_reason(&output, &report, "cpu_time", 123);
    Ok(())
}

fn as_many_processes_as_there_may_be_run() -> Outcome {
    let root = root()?;
    let script = "i=0; while [ $i -lt 15 ]; do sleep 1 & i=$((i+1)); done; wait; echo $i";
    let (output, report) = reported(&root, &[], script);
    assert_eq!(output.ok(), "15");
    assert_eq!(report["usage"]["tasks_refused"], 0, "{report:#}");
    Ok(())
}

fn too_many_processes_end_it_with_their_reason() -> Outcome {
    let root = root()?;
    let many = "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait";
    let (output, report) = reported(&root, &["--pids", "4"], many);
    assert_reason(&output, &report, "pids", 122);
    // As many as there may be live on.
    let some = "sleep 4 & sleep 4 & sleep 4 & wait; echo done";
    let (output, _) = reported(&root, &["--pids", "4"], some);
    assert_eq!(output.ok(), "done");
    Ok(())
}

fn tasks_files_and_sizes_are_bounded_exactly() -> Outcome {
    let root = root()?;
    let options = [
        "--threads",
        "12",
        "--pids",
        "12",
        "--files",
        "77",
        "--file-size",
        "1MiB",
        "--virtual-memory",
        "1GiB",
    ];
    let script = "ulimit -u; ulimit -n; ulimit -f; ulimit -v; ulimit -c; \
        head -c 2000000 /dev/zero >/tmp/f; stat -c %s /tmp/f; \
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 1 & done";
    let (output, report) = reported(&root, &options, script);
    // Sizes in blocks of 512 bytes, address space in KiB.
    let want = "12\n77\n2048\n1048576\n0\n1048576\n";
    assert_eq!(output.stdout, want, "{output}");
    assert!(output.stderr.contains("can't fork"), "{output}");
    for key in ["--threads", "--files", "--file-size"] {
        let lines = layers(&report, key);
        let held = lines
            .iter()
            .any(|one| one["layer"] == "rlimit" && one["applied"] == "yes");
        assert!(held, "{key} in {report:#}");
    }
    Ok(())
}

fn capabilities_ids_and_privileges_are_bounded() -> Outcome {
    let root = root()?;
    let script = "grep ^Cap /proc/self/status; id; chown 1 /tmp; mount -t tmpfs t /tmp";
    let (output, _) = reported(&root, &[], script);
    let status = fields(&output.stdout);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status[set], "0000000000000000", "{set} of {output}");
    }
    assert!(output.stdout.contains("uid=0"), "{output}");
    let refused = output.stderr.matches("not permitted").count()
        + output.stderr.matches("permission denied").count();
    assert_eq!(refused, 2, "{output}");
    Ok(())
}

fn filter_and_umask_hold_inside() -> Outcome {
    let root = root()?;
    let own = profile(
        &root,
        "extends = [\"data_processing\"]\n[process]\numask = \"027\"\n",
    );
    let script = "umask; nc -l -p 4000; grep ^Seccomp: /proc/self/status";
    let (output, report) = reported(&root, &["--profile", &own], script);
    assert_eq!(output.stdout, "0027\nSeccomp:\t2\n", "{output}");
    assert!(
        output
            .stderr
            .contains("nc: socket: Operation not permitted"),
        "{output}"
    );
    // It is denied, and nobody outside is told.
    assert_eq!(report["denials"], json!([]), "{report:#}");
    // What would only be noted passes.
    let options = ["--profile", &own, "--allow", "--mode", "permissive"];
    let (output, _) = reported(&root, &options, "nc -w 1 127.0.0.1 4000");
    assert!(output.stderr.contains("refused"), "{output}");
    Ok(())
}

fn root_is_read_only_and_paths_are_hidden() -> Outcome {
    let root = root()?;
    root.file("etc/token", "TOKEN");
    root.file("secrets/a", "SECRET");
    let script = "cat /etc/token /secrets/* 2>&1; touch /a /bin/a /etc/token; \
        echo x >/tmp/x && echo y >/dev/shm/y && cat /tmp/x /dev/shm/y";
    let (output, report) = reported(
        &root,
        &["--hide", "/etc/token", "--hide", "/secrets"],
        script,
    );
    assert!(output.stdout.ends_with("x\ny\n"), "{output}");
    for hidden in ["TOKEN", "SECRET"] {
        assert!(!output.stdout.contains(hidden), "{hidden} in {output}");
    }
    let denied = output.stderr.matches("Read-only file system").count();
    assert_eq!(denied, 3, "{output}");
    for path in ["a", "bin/a", "tmp/x"] {
        let found = root.rootfs().join(path).symlink_metadata();
        assert!(found.is_err(), "{path}: {found:?}");
    }
    let lines = layers(&report, "--hide");
    let hows: Vec<&Value> = lines.iter().map(|one| &one["how"]).collect();
    for path in ["/etc/token", "/secrets"] {
        let want = json!(format!("{path} reads as empty"));
        assert!(hows.contains(&&want), "{want} in {hows:?}");
    }
    Ok(())
}

fn network_off_leaves_loopback_or_no_socket() -> Outcome {
    let root = root()?;
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; nc -l -p 4000 -e echo hello & sleep 0.5; nc 127.0.0.1 4000";
    let (output, report) = reported(&root, &[], script);
    assert_eq!(output.stdout, "lo\nhello\n", "{output}");
    let all = report["layers"].as_array().unwrap();
    let network = all.iter().find(|one| one["layer"] == "network").unwrap();
    let how = network["how"].as_str().unwrap();
    assert!(how.starts_with("runsc --network none"), "{report:#}");
    let own = profile(
        &root,
        "extends = [\"default\"]\n[network]\nallow_network = false\nallow_loopback = false\n",
    );
    let (output, report) = reported(&root, &["--profile", &own], "nc -w 1 127.0.0.1 4000");
    assert!(
        output.stderr.contains("nc: socket: Permission denied"),
        "{output}"
    );
    let lines = layers(&report, "network.allow_loopback");
    assert!(
        lines.iter().any(|one| one["layer"] == "seccomp"),
        "{report:#}"
    );
    Ok(())
}

fn report_says_what_is_asked_of_whom_and_what_is_not_seen() -> Outcome {
    let root = root()?;
    let (output, report) = reported(&root, &[], "true");
    output.ok();
    for (layer, how) in [
        ("kernel", "runsc version"),
        ("network", "runsc --network none"),
        ("cgroup", "the host's cgroup"),
        ("seccomp", "attached inside by the launcher"),
        ("process", "gVisor's kernel"),
    ] {
        let all = report["layers"].as_array().unwrap().iter();
        let mut own = all.filter(|one| one["layer"] == layer && one["origin"] == "gVisor");
        let line = own.next().unwrap();
        assert_eq!(line["applied"], "yes", "{line:#}");
        assert_ne!(line["requested"], "", "{line:#}");
        assert!(line["how"].as_str().unwrap().contains(how), "{line:#}");
    }
    let unseen = report["not_observed"].as_array().unwrap();
    let want = "system calls that the filter denies: gVisor's kernel";
    let told = |one: &Value| one.as_str().is_some_and(|text| text.starts_with(want));
    assert!(unseen.iter().any(told), "{report:#}");
    assert!(
        report["usage"]["memory_peak_bytes"].as_u64() > Some(1 << 20),
        "{report:#}"
    );
    Ok(())
}
