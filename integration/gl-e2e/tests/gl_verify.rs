//! `gl verify`: what profiles and tiers promise is measured, and a sandbox that does not hold is told.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use gl_e2e::bundle;
use gl_e2e::command::{self as process, Output};
use gl_e2e::kernel::processes;
use gl_e2e::{Outcome, Skip, tests};
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(tests![
        namespaces_hold_for_root,
        basic_holds_for_root,
        containers_hold,
        gvisor_holds,
        every_built_in_profile_holds,
        users_sandboxes_hold,
        weak_profile_is_expected_to_be_weak,
        no_sandbox_contradicts_every_denial_that_is_two_sided,
        short_times_are_measured,
        small_limits_are_measured,
        what_cannot_be_measured_is_said_with_125,
        probes_are_listed,
        table_says_the_same_as_the_document,
        denial_that_fails_outside_as_well_is_no_proof,
        nothing_stays,
        killed_one_leaves_nothing,
    ])
}

fn program() -> Result<PathBuf, Skip> {
    let path = bundle::runtime().with_file_name("gl");
    if !path.exists() {
        assert!(!bundle::is_greenlang(), "no {}", path.display());
        return Err(Skip("there is no gl beside this runtime".to_owned()));
    }
    Ok(path)
}

/// A directory of this test, gone when dropped. What `gl verify` makes is in it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("{}{name}", bundle::tag()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn verify(args: &[&str]) -> Result<Output, Skip> {
    let mut command = Command::new(program()?);
    command.arg("verify").args(args).stdin(Stdio::null());
    Ok(process::output(command))
}

#[track_caller]
fn document(output: &Output) -> Value {
    let read = serde_json::from_str(&output.stdout);
    read.unwrap_or_else(|err| panic!("{err} in {output}"))
}

fn measured(args: &[&str]) -> Result<(Output, Value), Skip> {
    let output = verify(&[args, &["--format", "json"]].concat())?;
    let document = document(&output);
    Ok((output, document))
}

/// The names of the probes with this verdict.
fn with<'a>(document: &'a Value, verdict: &str) -> Vec<&'a str> {
    let probes = document["probes"].as_array().unwrap();
    let some = probes.iter().filter(|probe| probe["verdict"] == verdict);
    some.map(|probe| probe["name"].as_str().unwrap()).collect()
}

fn probe<'a>(document: &'a Value, name: &str) -> &'a Value {
    let probes = document["probes"].as_array().unwrap();
    let found = probes.iter().find(|probe| probe["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

/// Nothing contradicts, and there is enough of each.
#[track_caller]
fn assert_holds(output: &Output, document: &Value, tier: &str) {
    let none: Vec<&str> = Vec::new();
    assert_eq!(with(document, "contradicts"), none, "{document:#}");
    assert_eq!(output.status, 0, "{output}");
    assert_eq!(document["tier"], tier, "{document:#}");
    let denied = with(document, "denied").len();
    let works = with(document, "works").len();
    // Each of them works outside.
    assert!(denied >= 40, "{denied} denied: {document:#}");
    assert!(works >= 20, "{works} work: {document:#}");
    assert_eq!(document["summary"]["denied"], denied, "{document:#}");
    assert_eq!(document["summary"]["works"], works, "{document:#}");
    let unproved = with(document, "unproved");
    assert_eq!(document["summary"]["unproved"], unproved.len());
    for name in unproved {
        let control = &probe(document, name)["control"];
        assert_ne!(control["outcome"], "worked", "{name} in {document:#}");
    }
}

fn namespaces_hold_for_root() -> Outcome {
    let (output, document) = measured(&["--profile", "compute_only"])?;
    assert_holds(&output, &document, "namespace");
    // Killed by the filter, and seen as that.
    let call = &probe(&document, "call_32")["inside"];
    if cfg!(target_arch = "x86_64") {
        assert_eq!(call["outcome"], "killed", "{document:#}");
        assert_eq!(call["how"], "SIGSYS", "{document:#}");
    }
    for (name, how) in [
        ("memory", "oom"),
        ("threads", "EAGAIN after 32 tasks, 32 allowed"),
    ] {
        assert_eq!(probe(&document, name)["inside"]["how"], how, "{document:#}");
    }
    Ok(())
}

const BASIC: [&str; 4] = ["--tier", "basic", "--on-missing", "degrade"];

fn basic_holds_for_root() -> Outcome {
    let (output, document) = measured(&[&["--profile", "compute_only"][..], &BASIC].concat())?;
    assert_holds(&output, &document, "basic");
    // What the tier does not promise is said to be none of its promises.
    assert_eq!(
        probe(&document, "see_host_name")["verdict"],
        "not_promised",
        "{document:#}"
    );
    Ok(())
}

fn containers_hold() -> Outcome {
    let (output, document) = measured(&["--profile", "compute_only", "--tier", "container"])?;
    assert_holds(&output, &document, "container");
    Ok(())
}

fn gvisor_holds() -> Outcome {
    if !Path::new("/usr/bin/runsc").exists() {
        return Err(Skip("there is no runsc".to_owned()));
    }
    let (output, document) = measured(&["--profile", "compute_only", "--tier", "gvisor"])?;
    assert_holds(&output, &document, "gvisor");
    Ok(())
}

fn every_built_in_profile_holds() -> Outcome {
    // The limits take long, and are those of the level.
    let areas = "files,kernel files,devices,processes,mounts,namespaces,administration,\
                 attack surface,network,shared,identity,basics";
    for profile in [
        "default",
        "data_processing",
        "network_client",
        "blocked_dangerous",
    ] {
        let (output, document) = measured(&["--profile", profile, "--only", areas])?;
        assert_holds(&output, &document, "namespace");
        // Under all of them but compute_only.
        assert_eq!(probe(&document, "process")["verdict"], "works", "{profile}");
    }
    Ok(())
}

/// The same for a user without any right on the host.
fn measured_by_a_user(args: &[&str]) -> Result<(Output, Value), Skip> {
    let dir = Dir::new("user");
    let copy = dir.path("gl");
    fs::copy(program()?, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime_dir = dir.path("runtime");
    fs::create_dir(&runtime_dir).unwrap();
    std::os::unix::fs::chown(&runtime_dir, Some(54_321), Some(54_321)).unwrap();
    fs::set_permissions(&runtime_dir, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "54321", "--regid", "54321", "--clear-groups"])
        .args([&copy, "verify", "--on-missing", "degrade"])
        .args(args)
        .args(["--format", "json"])
        .env("XDG_RUNTIME_DIR", &runtime_dir)
        .env("HOME", &runtime_dir)
        .current_dir("/")
        .stdin(Stdio::null());
    let output = process::output(command);
    let document = document(&output);
    assert_eq!(document["root"], false, "{document:#}");
    Ok((output, document))
}

fn users_sandboxes_hold() -> Outcome {
    for tier in ["namespace", "basic"] {
        let profile = ["--profile", "compute_only", "--tier", tier];
        let (output, document) = measured_by_a_user(&profile)?;
        assert_holds(&output, &document, tier);
        let home = probe(&document, "list_home");
        assert_eq!(home["two_sided"], true, "{document:#}");
    }
    Ok(())
}

fn weak_profile_is_expected_to_be_weak() -> Outcome {
    let dir = Dir::new("weak");
    let file = dir.path("weak.toml");
    let text = "version = 1\nname = \"weak\"\nextends = [\"default\"]\n\
        [network]\nallow_network = true\n\
        [filesystem]\nread_only_paths = [\"/usr\", \"/bin\", \"/sbin\", \"/lib\", \"/lib64\", \"/etc\", \"/var/log\"]\n\
        [limits]\nmax_open_files = 100\n";
    fs::write(&file, text).unwrap();
    let (output, document) = measured(&["--profile", &file])?;
    assert_holds(&output, &document, "namespace");
    for (name, must, verdict) in [
        ("host_loopback", "work", "works"),
        ("interfaces", "not_promised", "not_promised"),
        ("list_logs", "not_promised", "not_promised"),
        ("write_hosts", "deny", "denied"),
        ("read_secret", "deny", "denied"),
    ] {
        let found = probe(&document, name);
        assert_eq!(found["must"], must, "{name} in {document:#}");
        assert_eq!(found["verdict"], verdict, "{name} in {document:#}");
    }
    let logs = &probe(&document, "list_logs")["inside"]["outcome"];
    assert_eq!(logs, "worked", "{document:#}");
    let files = &probe(&document, "open_files")["inside"]["how"];
    let files = files.as_str().unwrap();
    assert!(files.ends_with("100 allowed"), "{files}");
    Ok(())
}

fn no_sandbox_contradicts_every_denial_that_is_two_sided() -> Outcome {
    let (_, inside) = measured(&["--profile", "compute_only"])?;
    let (output, document) = measured(&["--profile", "compute_only", "--without-sandbox"])?;
    assert_eq!(output.status, 1, "{output}");
    let contradicted = with(&document, "contradicts");
    let probes = inside["probes"].as_array().unwrap();
    let two_sided = probes.iter().filter(|probe| {
        let control = &probe["control"];
        probe["verdict"] == "denied" && control["by"] == "outside" && control["outcome"] == "worked"
    });
    let two_sided: Vec<&str> = two_sided.map(|one| one["name"].as_str().unwrap()).collect();
    assert!(two_sided.len() >= 40, "{two_sided:?}");
    for name in two_sided {
        assert!(contradicted.contains(&name), "{name} in {document:#}");
    }
    Ok(())
}

fn short_times_are_measured() -> Outcome {
    let args = [
        "--only",
        "time,cpu_time",
        "--timeout",
        "1s",
        "--cpu-time",
        "1s",
    ];
    let (output, document) = measured(&args)?;
    assert_eq!(output.status, 0, "{output}");
    for (name, reason) in [("time", "timeout"), ("cpu_time", "cpu_time")] {
        let found = probe(&document, name);
        // Outside there is no such limit to be tried.
        assert_eq!(found["verdict"], "unproved", "{document:#}");
        assert_eq!(found["inside"]["how"], reason, "{document:#}");
    }
    Ok(())
}

fn small_limits_are_measured() -> Outcome {
    let dir = Dir::new("small");
    // A file may not be as large as what all may have together, so each limit has a profile.
    for (name, line, how) in [
        ("file_size", "max_file_size_bytes = \"1MiB\"", "signal 25"),
        ("disk_quota", "disk_quota_bytes = \"8MiB\"", "ENOSPC"),
        (
            "threads",
            "max_threads = 12\nmax_processes = 4",
            "EAGAIN after 12 tasks, 12 allowed",
        ),
        ("processes", "max_threads = 12\nmax_processes = 4", "pids"),
        ("memory", "memory_limit_bytes = \"96MiB\"", "oom"),
    ] {
        let file = dir.path(&format!("{name}.toml"));
        let text = format!(
            "version = 1\nname = \"{name}\"\nextends = [\"data_processing\"]\n[limits]\n{line}\n"
        );
        fs::write(&file, text).unwrap();
        let (output, document) = measured(&["--profile", &file, "--only", name])?;
        assert_eq!(output.status, 0, "{output}");
        let probe = probe(&document, name);
        let verdict = probe["verdict"].as_str().unwrap();
        assert!(["denied", "unproved"].contains(&verdict), "{document:#}");
        assert_eq!(probe["inside"]["how"], how, "{document:#}");
    }
    Ok(())
}

fn what_cannot_be_measured_is_said_with_125() -> Outcome {
    for (args, want) in [
        (&["--profile", "no_such_profile"][..], "no_such_profile"),
        (&["--only", "no_such_probe"], "no_such_probe"),
        (&["--memory", "0"], "--memory"),
        (&["--allow-everything"], "--allow-everything"),
    ] {
        let output = verify(args)?;
        let status = if want == "--allow-everything" { 2 } else { 125 };
        assert_eq!(output.status, status, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
        assert_eq!(output.stdout, "", "{output}");
    }
    Ok(())
}

fn probes_are_listed() -> Outcome {
    let output = verify(&["--list", "--format", "json"])?;
    let listed = document(&output);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.len() >= 60, "{names:?}");
    for name in ["read_shadow", "trace_process", "mount", "packets", "random"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let text = verify(&["--list"])?;
    assert_eq!(text.ok().lines().count(), names.len(), "{text}");
    Ok(())
}

fn table_says_the_same_as_the_document() -> Outcome {
    let output = verify(&["--only", "mount,random"])?;
    let text = output.ok();
    let line = |name: &str| {
        let found = text
            .lines()
            .find(|line| line.contains(&format!("  {name} ")));
        let words = found.unwrap_or_else(|| panic!("no {name} in {output}"));
        words.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!((line("mount"), line("random")), ("ok".into(), "ok".into()));
    let last = text.lines().last().unwrap();
    let want = "default in tier namespace: 1 denied as they must be, 0 denied without proof (they fail outside as \
                well), 1 work as they must, 0 contradict the profile, 0 not promised, 0 not provable here";
    assert_eq!(last, want, "{output}");
    Ok(())
}

fn denial_that_fails_outside_as_well_is_no_proof() -> Outcome {
    // Who has no right to it anywhere: what is denied inside is denied outside.
    let only = ["--only", "administration,devices", "--without-sandbox"];
    let (output, document) = measured_by_a_user(&only)?;
    let fails = |one: &&Value| {
        let outcome = &one["inside"]["outcome"];
        one["must"] == "deny" && (outcome == "denied" || outcome == "absent")
    };
    let probes = document["probes"].as_array().unwrap();
    let failing: Vec<&Value> = probes.iter().filter(fails).collect();
    assert!(!failing.is_empty(), "all works here: {document:#}");
    for one in &failing {
        let own = one["control"]["by"] == "own_namespace";
        let verdict = if own { "denied" } else { "unproved" };
        assert_eq!(one["verdict"], verdict, "{one:#}");
    }
    let unproved = document["summary"]["unproved"].as_u64().unwrap();
    assert!(unproved >= 1, "{output}");
    Ok(())
}

fn nothing_stays() -> Outcome {
    let dir = Dir::new("left");
    let segments = || {
        fs::read_to_string("/proc/sysvipc/shm")
            .unwrap()
            .lines()
            .count()
    };
    let before = segments();
    let mut command = Command::new(program()?);
    command
        .args(["verify", "--only", "shared"])
        .env("TMPDIR", &dir.0);
    let output = process::output(command);
    output.ok();
    let left: Vec<_> = fs::read_dir(&dir.0).unwrap().collect();
    assert!(left.is_empty(), "{left:?} of {output}");
    assert_eq!(segments(), before, "{output}");
    let targets = processes().into_values();
    let targets: Vec<String> = targets
        .filter(|line| line.contains("probe-target"))
        .collect();
    assert_eq!(targets, Vec::<String>::new(), "{output}");
    Ok(())
}

/// Killed while something of a sandbox runs: what was made outside goes with it.
fn killed_one_leaves_nothing() -> Outcome {
    let dir = Dir::new("killed");
    let shared = || -> Vec<String> {
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let rows = table.lines().map(|line| {
            let words = line.split_whitespace().take(2);
            words.collect::<Vec<_>>().join(" ")
        });
        rows.collect()
    };
    let before = shared();
    let mut command = Command::new(program()?);
    command
        .args(["verify", "--only", "time", "--timeout", "5s"])
        .env("TMPDIR", &dir.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let tag = dir.0.display().to_string();
    let running = || {
        let all = processes().into_values();
        all.filter(|line| line.contains(&tag)).collect::<Vec<_>>()
    };
    // Until a sandbox runs.
    assert!(eventually(|| running()
        .iter()
        .any(|line| line.contains(" run "))));
    let mut made = shared();
    made.retain(|one| !before.contains(one));
    assert_ne!(made, Vec::<String>::new());
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = eventually(|| {
        let empty = fs::read_dir(&dir.0).unwrap().next().is_none();
        empty && running().is_empty() && !shared().iter().any(|one| made.contains(one))
    });
    let left: Vec<_> = fs::read_dir(&dir.0).unwrap().collect();
    assert!(gone, "{left:?}, {:?}, {:?}", running(), shared());
    Ok(())
}

/// Whether it comes true, of which nobody tells.
fn eventually(mut what: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
