//! The limits of `gl run`: each is exceeded, in every tier that holds it, as root and as a user, and the
//! report says so.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking with what was seen"
)]

use std::process::ExitCode;

use gl_e2e::bundle;
use gl_e2e::command::Output;
use gl_e2e::gl::{BASIC, User, assert_reason, reported};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(tests![
        memory_is_held_for_all_processes_together,
        memory_without_a_cgroup_is_address_space_of_each_process,
        virtual_memory_is_held_for_each_process,
        cpu_time_is_held_for_all_processes_together,
        cpu_time_without_a_cgroup_is_held_for_each_process,
        cpu_share_is_within_a_tenth,
        open_files_are_held,
        size_of_a_file_is_held,
        processes_are_counted,
        as_many_processes_as_the_host_can_have_may_be_asked_for,
        threads_are_refused_and_reported,
        threads_without_a_cgroup_are_refused_inside,
        disk_is_full_at_its_quota,
        timeout_ends_everything,
        limit_that_was_not_met_is_not_reported,
    ])
}

/// Who runs a sandbox, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    RootBasic,
    User,
    UserBasic,
}

use Who::{Root, RootBasic, User as Plain, UserBasic};

const DEGRADING: [&str; 3] = ["--allow", "--on-missing", "degrade"];

impl Who {
    /// Runs a script with the limits of these options.
    fn run(self, options: &[&str], script: &str) -> Result<(Output, Value), Skip> {
        let user = |first: &[&str]| -> Result<(Output, Value), Skip> {
            Ok(User::new("user")?.reported(&[first, options].concat(), script))
        };
        match self {
            Self::Root => reported(options, script),
            Self::RootBasic => reported(&[&BASIC, options].concat(), script),
            Self::User => user(&DEGRADING),
            Self::UserBasic => user(&BASIC),
        }
    }
}

/// What became of a limit: the texts of the lines of the report about this key or option.
#[track_caller]
fn assert_layer(report: &Value, option: &str, applied: &str, how: &str) {
    let layers = report["layers"].as_array().unwrap();
    let found = layers.iter().any(|one| {
        one["requested"] == option
            && one["applied"] == applied
            && one["how"].as_str().unwrap().contains(how)
    });
    assert!(found, "no {option}, {applied}, {how:?} in {report:#}");
}

/// The denial of this layer and kind.
#[track_caller]
fn denial<'a>(report: &'a Value, layer: &str, what: &str) -> &'a Value {
    let denials = report["denials"].as_array().unwrap();
    let found = denials
        .iter()
        .find(|one| one["layer"] == layer && one["what"] == what);
    found.unwrap_or_else(|| panic!("no denial of {what} by {layer} in {report:#}"))
}

fn memory_is_held_for_all_processes_together() -> Outcome {
    // Two that have less than the limit each.
    let script = "hog() { python3 -c 'import time; x = bytearray(40 << 20); time.sleep(2)'; }; hog & hog && \
                  wait $!";
    for who in [Root, RootBasic] {
        let (output, report) = who.run(&["--memory", "64MiB"], script)?;
        assert_reason(&output, &report, "oom", 121);
        let denial = denial(&report, "cgroup", "memory");
        assert_eq!(denial["answer"], "SIGKILL", "{who:?}: {report:#}");
        let allow = "limits.memory_limit_bytes = 134217728";
        assert_eq!(denial["allow"], allow, "{who:?}: {report:#}");
        let peak = report["usage"]["memory_peak_bytes"].as_u64().unwrap();
        assert!(peak <= 64 << 20, "{who:?}: {report:#}");
        let (output, report) = who.run(&["--memory", "256MiB"], script)?;
        assert_reason(&output, &report, "exited", 0);
    }
    Ok(())
}

fn memory_without_a_cgroup_is_address_space_of_each_process() -> Outcome {
    let script = "exec python3 -c 'x = bytearray(200 << 20)'";
    for who in [Plain, UserBasic] {
        let (output, report) = who.run(&["--memory", "128MiB"], script)?;
        assert_reason(&output, &report, "exited", 1);
        assert!(output.stderr.contains("MemoryError"), "{who:?}: {output}");
        assert_layer(&report, "--memory", "no", "cgroup");
    }
    Ok(())
}

fn virtual_memory_is_held_for_each_process() -> Outcome {
    let script = "ulimit -v; exec python3 -c 'x = bytearray(200 << 20)'";
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--virtual-memory", "128MiB"], script)?;
        assert_reason(&output, &report, "exited", 1);
        assert_eq!(output.stdout, "131072\n", "{who:?}: {output}");
        assert!(output.stderr.contains("MemoryError"), "{who:?}: {output}");
        let how = "RLIMIT_AS at most 134217728";
        assert_layer(&report, "--virtual-memory", "yes", how);
        // Who looks for the reason finds that the kernel tells nobody.
        let unseen = report["not_observed"].to_string();
        assert!(unseen.contains("RLIMIT_AS"), "{who:?}: {report:#}");
    }
    Ok(())
}

fn cpu_time_is_held_for_all_processes_together() -> Outcome {
    let script = "while :; do :; done & while :; do :; done";
    for who in [Root, RootBasic] {
        let (output, report) = who.run(&["--cpu-time", "1s"], script)?;
        assert_reason(&output, &report, "cpu_time", 123);
        let used = report["usage"]["cpu_us"].as_u64().unwrap();
        let near = (900_000..2_500_000).contains(&used);
        assert!(near, "{who:?}: {used} µs in {report:#}");
    }
    Ok(())
}

fn cpu_time_without_a_cgroup_is_held_for_each_process() -> Outcome {
    for who in [Plain, UserBasic] {
        let (output, report) = who.run(&["--cpu-time", "1s"], "while :; do :; done")?;
        assert_reason(&output, &report, "cpu_time", 123);
        assert_layer(&report, "--cpu-time", "yes", "RLIMIT_CPU at most 1");
        let used = report["usage"]["cpu_us"].as_u64().unwrap();
        let near = (800_000..2_500_000).contains(&used);
        assert!(near, "{who:?}: {used} µs in {report:#}");
    }
    Ok(())
}

/// Two that are always busy get as much as the limit says; where the machine is busy with other things they
/// may get less, so the best of three runs counts.
/// Two processes that are never idle, with the CPU time of both and the wall clock before and after: what
/// the sandbox itself took to begin is not in it.
const BURN: &str = r#"read from _ </proc/uptime; times
burn() { end=$((${from%.*} + 4)); while read now _ </proc/uptime; [ "${now%.*}" -lt $end ]; do :; done; }
burn & burn; wait
times; read to _ </proc/uptime; echo "clock $from $to""#;

/// The share of a CPU that [`BURN`] had.
fn share(output: &Output) -> f64 {
    let seconds = |word: &str| -> Option<f64> {
        let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    // Each `times` says user and system time, of the shell and then of its children.
    let words = output.stdout.split_whitespace();
    let times: Vec<f64> = words.filter_map(seconds).collect();
    let clock = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("clock "));
    let clock: Vec<f64> = clock
        .map(|line| {
            line.split(' ')
                .filter_map(|word| word.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    let ([before @ .., _, _, _, _], [from, to]) = (&times[..], &clock[..]) else {
        panic!("no times: {output}")
    };
    assert_eq!(before.len(), 4, "{output}");
    let after: f64 = times[4..].iter().sum();
    (after - before.iter().sum::<f64>()) / (to - from)
}

fn cpu_share_is_within_a_tenth() -> Outcome {
    for who in [Root, RootBasic] {
        // What the machine gives at all: others may be busy on it.
        let (output, _) = who.run(&[], BURN)?;
        let free = share(&output);
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let (output, report) = who.run(&["--cpus", "0.3"], BURN)?;
            assert_reason(&output, &report, "exited", 0);
            let share = share(&output);
            assert!(share <= 0.33, "{who:?}: {share}: {output}");
            best = best.max(share);
            if best >= 0.27 {
                break;
            }
        }
        let least = (free * 0.6).min(0.27);
        assert!(
            best >= least,
            "{who:?}: {best} of 0.3, {free} without a limit"
        );
    }
    Ok(())
}

fn open_files_are_held() -> Outcome {
    // Three streams, and what is opened until none is left.
    let script = "exec python3 -c 'import os
n = 3
try:
    while True: os.open(\"/dev/null\", os.O_RDONLY); n += 1
except OSError as err: print(n, err.errno)'";
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--files", "17"], script)?;
        assert_eq!(output.ok(), "17 24", "{who:?}: {output}");
        assert_layer(&report, "--files", "yes", "RLIMIT_NOFILE at most 17");
    }
    Ok(())
}

fn size_of_a_file_is_held() -> Outcome {
    let script = "exec head -c 3000000 /dev/zero >$TMPDIR/big";
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--file-size", "1MiB"], script)?;
        // SIGXFSZ.
        assert_reason(&output, &report, "signal", 153);
        let denial = denial(&report, "rlimit", "file size");
        assert_eq!(denial["answer"], "SIGXFSZ", "{who:?}: {report:#}");
        let allow = "limits.max_file_size_bytes = 2097152";
        assert_eq!(denial["allow"], allow, "{who:?}: {report:#}");
        let (output, report) = who.run(&["--file-size", "4MiB"], script)?;
        assert_reason(&output, &report, "exited", 0);
    }
    Ok(())
}

fn as_many_processes_as_the_host_can_have_may_be_asked_for() -> Outcome {
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let most: u64 = most.trim().parse().unwrap();
    for tier in ["namespace", "basic"] {
        for (asked, status) in [(most, 0), (most + 1, 125)] {
            let asked = asked.to_string();
            let options = ["--tier", tier, "--pids", &asked, "--threads", &asked];
            let output = gl_e2e::gl::sh(&[&DEGRADING[..], &options].concat(), "true")?;
            assert_eq!(output.status, status, "{tier}: {output}");
        }
    }
    Ok(())
}

fn processes_are_counted() -> Outcome {
    let script = "for i in 1 2 3 4 5 6; do sleep 30 & done; wait";
    let enough = "sleep 1 & sleep 1 & sleep 1 & wait";
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--pids", "4"], script)?;
        assert_reason(&output, &report, "pids", 122);
        // The shell and three others are four.
        let (output, report) = who.run(&["--pids", "4"], enough)?;
        assert_reason(&output, &report, "exited", 0);
    }
    Ok(())
}

/// Starts threads until that fails, and fails itself.
const THREADS: &str = "exec python3 -c 'import threading, time
n = 1
try:
    while n < 60: threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); n += 1
except RuntimeError: print(n, flush=True); import os; os._exit(1)'";

fn threads_are_refused_and_reported() -> Outcome {
    for who in [Root, RootBasic] {
        let (output, report) = who.run(&["--threads", "12"], THREADS)?;
        assert_eq!(output.stdout, "12\n", "{who:?}: {output}");
        assert_reason(&output, &report, "pids", 122);
        assert_eq!(report["usage"]["tasks_refused"], 1, "{who:?}: {report:#}");
        let denial = denial(&report, "cgroup", "tasks");
        assert_eq!(denial["answer"], "EAGAIN", "{who:?}: {report:#}");
        assert_eq!(denial["allow"], "limits.max_threads = 24", "{report:#}");
    }
    Ok(())
}

fn threads_without_a_cgroup_are_refused_inside() -> Outcome {
    let (output, report) = Plain.run(&["--threads", "12"], THREADS)?;
    assert_eq!(output.stdout, "12\n", "{output}");
    assert_reason(&output, &report, "exited", 1);
    assert_layer(&report, "--threads", "yes", "RLIMIT_NPROC at most");
    // Counted from outside at least.
    let (output, report) = UserBasic.run(&["--threads", "12"], THREADS)?;
    assert!([1, 122].contains(&output.status), "{output}\n{report:#}");
    assert_layer(&report, "--threads", "no", "cgroup");
    Ok(())
}

fn disk_is_full_at_its_quota() -> Outcome {
    // Not what is mounted below: the directory of this test may be in /tmp as well.
    let script = "head -c 9000000 /dev/zero >/tmp/big; head -c 9000000 /dev/zero >/dev/shm/big; \
                  du -skxc /tmp /dev/shm | tail -1 | cut -f1; exit 1";
    for who in [Root, Plain] {
        let (output, report) = who.run(&["--disk", "4MiB"], script)?;
        let used: u64 = output.stdout.trim().parse().unwrap();
        assert!((2000..=4096).contains(&used), "{who:?}: {used} KiB");
        assert_reason(&output, &report, "disk", 119);
        let denial = denial(&report, "mounts", "disk");
        assert_eq!(denial["answer"], "ENOSPC", "{who:?}: {report:#}");
        let allow = "limits.disk_quota_bytes = 8388608";
        assert_eq!(denial["allow"], allow, "{who:?}: {report:#}");
        let little = "head -c 1000 /dev/zero >/tmp/small; exit 1";
        let (output, report) = who.run(&["--disk", "4MiB"], little)?;
        assert_reason(&output, &report, "exited", 1);
    }
    Ok(())
}

fn timeout_ends_everything() -> Outcome {
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--timeout", "1s"], "sleep 60 & sleep 60")?;
        assert_reason(&output, &report, "timeout", 124);
        let run = report["times"]["run_us"].as_u64().unwrap();
        let near = (900_000..2_500_000).contains(&run);
        assert!(near, "{who:?}: {run} µs in {report:#}");
    }
    Ok(())
}

fn limit_that_was_not_met_is_not_reported() -> Outcome {
    for who in [Root, RootBasic, Plain, UserBasic] {
        let (output, report) = who.run(&["--file-size", "1MiB"], "echo x >$TMPDIR/x; exit 1")?;
        assert_reason(&output, &report, "exited", 1);
        assert_eq!(report["denials"], serde_json::json!([]), "{who:?}");
    }
    Ok(())
}
