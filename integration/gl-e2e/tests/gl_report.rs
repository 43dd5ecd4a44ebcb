//! The report of `gl run`: its form, that there is always one, and what is said of a run that never was or was
//! cut short. Nothing stays of any of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use gl_e2e::bundle;
use gl_e2e::command::{self as process, Output};
use gl_e2e::gl::{
    BASIC, Dir, User, assert_nothing_left, assert_reason, bare, command, gl, ready, reported, run,
    sh, started,
};
use gl_e2e::schema::faults;
use gl_e2e::terminal::Terminal;
use gl_e2e::{Outcome, Skip, tests};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        reports_of_every_tier_follow_the_schema,
        report_of_gvisor_follows_the_schema,
        schema_refuses_what_it_does_not_know,
        killed_worker_has_a_report,
        lock_that_outlives_the_worker_leaves_nothing,
        run_that_never_was_has_a_report,
        old_report_is_not_taken_for_a_new_one,
        report_on_a_full_disk_is_an_error_and_leaves_nothing,
        report_to_a_pipe_is_whole,
        options_that_make_no_sense_end_with_125,
        options_that_contradict_each_other_are_refused_by_name,
        host_without_the_tier_is_told,
        closed_streams_are_no_obstacle,
        layers_are_true_of_a_view_of_the_host,
        writable_paths_leave_tmp_to_the_program,
        writable_path_on_a_tmpfs_is_the_callers,
        log_of_the_host_has_every_run,
        help_fits_a_screen,
        colours_are_for_terminals,
        front_killed_at_any_point_leaves_nothing,
        worker_killed_at_any_point_leaves_nothing,
    ])
}

/// The schema, as `gl` prints it.
fn schema() -> Result<Value, Skip> {
    let output = process::output(bare(&["why", "--schema"])?);
    Ok(serde_json::from_str(output.ok()).unwrap())
}

#[track_caller]
fn assert_follows(schema: &Value, report: &Value, what: &str) {
    let faults = faults(schema, report);
    assert_eq!(faults, Vec::<String>::new(), "{what}: {report:#}");
}

fn reports_of_every_tier_follow_the_schema() -> Outcome {
    let schema = schema()?;
    let root = bundle::Bundle::new();
    let root = root.rootfs();
    let root = root.to_str().unwrap();
    let denied = "unshare -U true; exit 3";
    for (tier, options) in [
        ("namespace", &[][..]),
        ("basic", &BASIC),
        ("container", &["--rootfs", root]),
        ("namespace", &["--timeout", "1s", "--cpus", "0.5"]),
        (
            "namespace",
            &["--allow", "--mode", "permissive", "--memory", "1GiB"],
        ),
    ] {
        let script = match options.contains(&"--timeout") {
            true => "sleep 60",
            false => denied,
        };
        let (output, report) = reported(options, script)?;
        assert_follows(&schema, &report, &format!("{options:?}: {output}"));
        assert_eq!(report["tier"], tier, "{report:#}");
    }
    let user = User::new("user")?;
    for options in [&BASIC[..], &["--allow", "--on-missing", "degrade"]] {
        let (output, report) = user.reported(options, denied);
        assert_follows(&schema, &report, &format!("user, {options:?}: {output}"));
    }
    Ok(())
}

fn report_of_gvisor_follows_the_schema() -> Outcome {
    let runsc = Command::new("runsc").arg("--version").output();
    if !runsc.is_ok_and(|output| output.status.success()) {
        return Err(Skip("there is no runsc".to_owned()));
    }
    let root = bundle::Bundle::new();
    let root = root.rootfs();
    let options = [
        "--allow",
        "--tier",
        "gvisor",
        "--rootfs",
        root.to_str().unwrap(),
    ];
    let (output, report) = reported(&options, "unshare -U true; exit 3")?;
    assert_follows(&schema()?, &report, &format!("gvisor: {output}"));
    assert_reason(&output, &report, "exited", 3);
    assert_eq!(report["tier"], "gvisor", "{report:#}");
    Ok(())
}

fn schema_refuses_what_it_does_not_know() -> Outcome {
    let schema = schema()?;
    let (_, report) = reported(&[], "unshare -U true")?;
    assert_follows(&schema, &report, "as it is");
    let mut more = report.clone();
    more["denials"][0]["mood"] = json!("fine");
    assert_eq!(faults(&schema, &more), ["/denials/0: mood is not known"]);
    let mut less = report.clone();
    less["exit"].as_object_mut().unwrap().remove("reason");
    assert_eq!(faults(&schema, &less), ["/exit: reason is missing"]);
    let mut other = report;
    other["tier"] = json!("cellar");
    let seen = faults(&schema, &other);
    assert!(
        seen.len() == 1 && seen[0].starts_with("/tier: enum"),
        "{seen:?}"
    );
    Ok(())
}

/// The process that looks after the sandbox of this caller, as soon as there is one.
fn worker_of(front: &Child) -> Option<Pid> {
    let below = format!("/proc/{0}/task/{0}/children", front.id());
    let below = fs::read_to_string(below).ok()?;
    Pid::from_raw(below.split_whitespace().next()?.parse().ok()?)
}

fn killed_worker_has_a_report() -> Outcome {
    let schema = schema()?;
    let dir = Dir::new("killed");
    let (file, log) = (dir.path("report.json"), dir.path("audit.jsonl"));
    let name = format!("{}reported", bundle::tag());
    for tier in [&[][..], &BASIC] {
        let options = [&["--report", &file, "--audit", &log], tier].concat();
        let mut front = started(&name, &options)?;
        kill_process(worker_of(&front).unwrap(), Signal::KILL).unwrap();
        assert_eq!(front.wait().unwrap().code(), Some(125));
        assert_nothing_left(&name);
        let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_follows(&schema, &report, "killed");
        assert_eq!(report["exit"]["reason"], "killed", "{report:#}");
        assert_eq!(report["exit"]["status"], 125, "{report:#}");
        let error = report["exit"]["error"].as_str().unwrap();
        assert!(error.contains("killed by signal 9"), "{error}");
        assert_eq!(report["id"], name, "{report:#}");
    }
    let events = fs::read_to_string(&log).unwrap();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(events, ["start", "error", "start", "error"]);
    let output = process::output(bare(&["why", &file])?);
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stdout.contains("killed by signal 9"), "{output}");
    Ok(())
}

/// What a worker has just forked has its lock for a moment longer than it lives: here, we have it.
fn lock_that_outlives_the_worker_leaves_nothing() -> Outcome {
    let name = format!("{}locked", bundle::tag());
    let script = [
        "--name",
        &name,
        "--",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ];
    let (mut front, _output) = ready(command(&script)?);
    let worker = worker_of(&front).unwrap();
    let lock = format!("/run/greenlang-sandboxes/{name}/sandbox.json");
    let number = fs::read_dir(format!("/proc/{worker}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_link(path).is_ok_and(|to| to == Path::new(&lock)))
        .and_then(|path| path.file_name()?.to_str()?.parse().ok())
        .unwrap();
    let pidfd = pidfd_open(worker, PidfdFlags::empty()).unwrap();
    let held = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    let ended = process::gone_within(Pid::from_child(&front), Duration::from_millis(500));
    drop(held);
    assert_eq!(front.wait().unwrap().code(), Some(125));
    assert!(!ended, "the front has not waited for the lock");
    assert_nothing_left(&name);
    Ok(())
}

fn run_that_never_was_has_a_report() -> Outcome {
    let schema = schema()?;
    let dir = Dir::new("never");
    let file = dir.path("report.json");
    for (args, tier, want) in [
        (
            &["--", "no-such-program"][..],
            "namespace",
            "no-such-program",
        ),
        (
            &["--profile", "no_such_profile", "--", "true"],
            "unknown",
            "no_such_profile",
        ),
        (&["--memory", "2GiB", "--", "true"], "unknown", "--memory"),
        (
            &["--allow", "--ro", "/no/such/path", "--", "true"],
            "namespace",
            "/no/such/path",
        ),
        (
            &["--rootfs", "/no/such/root", "--", "true"],
            "container",
            "/no/such/root",
        ),
        (
            &["--image", "/no/such/image", "--", "true"],
            "unknown",
            "/no/such/image",
        ),
        // It is there, and no image.
        (&["--image", &file, "--", "true"], "unknown", &file),
        (
            &["--bundle", "/no/such/bundle", "--", "true"],
            "unknown",
            "/no/such/bundle",
        ),
        (
            &["--audit", "/no/such/log", "--", "true"],
            "namespace",
            "/no/such/log",
        ),
    ] {
        let output = run(&[&["--report", &file], args].concat())?;
        assert_eq!(output.status, 125, "{output}");
        let text = fs::read_to_string(&file).unwrap();
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text:?} of {output}"));
        assert_follows(&schema, &report, &output.to_string());
        assert_eq!(report["exit"]["reason"], "setup_error", "{output}");
        assert_eq!(report["exit"]["status"], 125, "{output}");
        assert_eq!(report["tier"], tier, "{output}");
        let error = report["exit"]["error"].as_str().unwrap_or_default();
        assert!(error.contains(want), "{want} in {report:#}\n{output}");
        assert!(output.stderr.contains(error), "{error:?} in {output}");
    }
    Ok(())
}

fn old_report_is_not_taken_for_a_new_one() -> Outcome {
    let dir = Dir::new("old");
    let file = dir.path("report.json");
    sh(&["--report", &file], "exit 3")?;
    assert!(fs::read_to_string(&file).unwrap().contains("\"code\": 3"));
    let output = run(&["--report", &file, "--tier", "cellar", "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["exit"]["reason"], "setup_error", "{report:#}");
    assert_eq!(report["exit"]["code"], Value::Null, "{report:#}");
    Ok(())
}

fn report_on_a_full_disk_is_an_error_and_leaves_nothing() -> Outcome {
    let dir = Dir::new("full");
    let disk = dir.path("disk");
    fs::create_dir(&disk).unwrap();
    // Two pages: one for the directory's file, and less than a report takes.
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k", "none", &disk])
        .status();
    assert!(mounted.unwrap().success());
    let file = format!("{disk}/report.json");
    let name = format!("{}full", bundle::tag());
    let outputs: Result<Vec<Output>, Skip> = [&[][..], &BASIC]
        .into_iter()
        .map(|tier| {
            sh(
                &[&["--name", &name, "--report", &file], tier].concat(),
                "exit 0",
            )
        })
        .collect();
    let left = fs::read(&file).map(|bytes| bytes.len());
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.unwrap().success());
    for output in outputs? {
        assert_eq!(output.status, 125, "{output}");
        let want = format!("write {file}: no space left on device");
        assert!(output.stderr.contains(&want), "{output}");
    }
    assert_eq!(left.ok(), Some(0), "a part of a report");
    assert_nothing_left(&name);
    Ok(())
}

fn report_to_a_pipe_is_whole() -> Outcome {
    let schema = schema()?;
    let (gl, script) = (
        gl()?,
        "\"$0\" run --report /dev/stderr -- echo out 2>&1 >/dev/null | cat",
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(gl).stdin(Stdio::null());
    let output = process::output(shell);
    let report: Value =
        serde_json::from_str(output.ok()).unwrap_or_else(|err| panic!("{err} in {output}"));
    assert_follows(&schema, &report, "of a pipe");
    Ok(())
}

fn options_that_make_no_sense_end_with_125() -> Outcome {
    for (args, want) in [
        (&["--no-such-option", "--", "true"][..], "--no-such-option"),
        (&[][..], "COMMAND"),
        (&["--tty", "perhaps", "--", "true"], "perhaps"),
        (&["--timeout", "soon", "--", "true"], "--timeout"),
        (&["--net", "maybe", "--", "true"], "--net"),
        (&["--threads", "-1", "--", "true"], "-1"),
        (&["--tier", "cellar", "--", "true"], "cellar"),
        (&["--env", "=x", "--", "true"], "--env"),
        (&["--chdir", "/no/such/dir", "--", "true"], "/no/such/dir"),
        (&["--name", "", "--", "true"], "id"),
        (&["--", ""], ""),
    ] {
        let output = run(args)?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
        assert_ne!(output.stderr, "", "{output}");
    }
    let help = run(&["--help"])?;
    assert!(help.ok().contains("--report"), "{help}");
    Ok(())
}

fn options_that_contradict_each_other_are_refused_by_name() -> Outcome {
    let dir = Dir::new("contradiction");
    let root = dir.path("");
    let root = root.trim_end_matches('/');
    for (args, want) in [
        (&["--tier", "container"][..], "--rootfs"),
        (
            &["--tier", "basic", "--allow", "--rootfs", root],
            "--rootfs",
        ),
        (&["--tier", "namespace", "--rootfs", root], "--rootfs"),
        (&["--memory", "1MiB", "--memory", "2MiB"], "--memory"),
    ] {
        let output = run(&[args, &["--", "true"]].concat())?;
        assert_eq!(output.status, 125, "{args:?}: {output}");
        assert!(output.stderr.contains(want), "{args:?}: {output}");
    }
    Ok(())
}

fn host_without_the_tier_is_told() -> Outcome {
    // A host without user namespaces, as far as those below one go.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" run -- true";
    let here = std::env::current_dir().unwrap();
    for dir in [here.as_path(), "/".as_ref()] {
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        shell.arg(gl()?).stdin(Stdio::null()).current_dir(dir);
        let output = process::output(shell);
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains("max_*_namespaces"), "{output}");
    }
    // And one without gVisor.
    let root = bundle::Bundle::new();
    let root = root.rootfs();
    let mut none = command(&[
        "--allow",
        "--tier",
        "gvisor",
        "--rootfs",
        root.to_str().unwrap(),
    ])?;
    none.args(["--", "true"]).env("PATH", "/no/such/dir");
    let output = process::output(none);
    if !fs::exists("/usr/bin/runsc").unwrap() {
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains("runsc"), "{output}");
    }
    Ok(())
}

fn closed_streams_are_no_obstacle() -> Outcome {
    for tier in ["", "--allow --tier basic --on-missing degrade"] {
        for closing in ["<&-", "<&- >&-", "<&- >&- 2>&-"] {
            let script = format!("\"$0\" run {tier} -- sh -c 'cat; exit 3' {closing}");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(gl()?);
            let output = process::output(shell);
            assert_eq!(output.status, 3, "{tier} {closing}: {output}");
            assert_eq!(output.stdout, "", "{tier} {closing}: {output}");
        }
    }
    Ok(())
}

/// The lines of a report about this key or option.
fn told<'a>(report: &'a Value, requested: &str) -> Vec<(&'a str, &'a str)> {
    let layers = report["layers"].as_array().unwrap().iter();
    let lines = layers.filter(|one| one["requested"] == requested);
    lines
        .map(|one| {
            (
                one["applied"].as_str().unwrap(),
                one["how"].as_str().unwrap(),
            )
        })
        .collect()
}

fn layers_are_true_of_a_view_of_the_host() -> Outcome {
    let bind = ["--allow", "--bind", "/usr/share:/inside", "--pids", "7"];
    let (_, report) = reported(&bind, "true")?;
    for layer in report["layers"].as_array().unwrap() {
        let how = layer["how"].as_str().unwrap();
        for word in ["image", "engine", "container"] {
            assert!(!how.contains(word), "{word} in {layer}");
        }
    }
    let read_only = told(&report, "filesystem.read_only_paths");
    assert!(
        read_only.contains(&("yes", "/usr of the host, read-only")),
        "{read_only:?}"
    );
    let blocked = told(&report, "filesystem.blocked_paths");
    assert_eq!(
        blocked,
        ["/root", "/home", "/boot"]
            .map(|path| format!("{path} of the host is not to be seen"))
            .iter()
            .map(|how| ("yes", how.as_str()))
            .collect::<Vec<_>>()
    );
    // Beside it the profile of AppArmor, where the kernel has that.
    let mut isolation = told(&report, "isolation");
    isolation.retain(|(_, how)| !how.starts_with(":greenlang-sandbox-"));
    assert_eq!(isolation, [("yes", "tier namespace")]);
    let bound = "/usr/share of the host at /inside, read-only";
    assert_eq!(told(&report, "--bind"), [("yes", bound)]);
    let counted = "8 processes, the sandbox's own first one among them";
    assert_eq!(told(&report, "--pids"), [("yes", counted)]);
    Ok(())
}

fn writable_paths_leave_tmp_to_the_program() -> Outcome {
    let dir = Dir::new("writable");
    let path = dir.path("");
    let path = path.trim_end_matches('/');
    let script =
        format!("echo a >/tmp/a && echo b >/var/tmp/b && echo c >{path}/c && cat /tmp/a /tmp/b");
    let output = sh(&["--allow", "--rw", path], &script)?;
    assert_eq!(output.ok(), "a\nb", "{output}");
    assert_eq!(fs::read_to_string(dir.path("c")).unwrap(), "c\n");
    // What is shown at /var/tmp is there, and nothing of it at /tmp.
    let name = format!("{}shown", bundle::tag());
    let script = format!("echo x >/var/tmp/{name} && ls -A /tmp && ls /var/tmp/{name}");
    let output = sh(&["--allow", "--rw", "/var/tmp", "--chdir", "/"], &script);
    let removed = fs::remove_file(format!("/var/tmp/{name}"));
    let output = output?;
    assert_eq!(output.ok(), format!("/var/tmp/{name}"), "{output}");
    removed.unwrap();
    Ok(())
}

/// The `/tmp` of many hosts is one.
fn writable_path_on_a_tmpfs_is_the_callers() -> Outcome {
    let dir = Dir::new("tmpfs");
    let path = dir.path("");
    let path = path.trim_end_matches('/');
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", path]);
    process::output(mount).ok();
    let output = sh(
        &["--allow", "--rw", path],
        &format!("echo c >{path}/c && stat -c %u {path}/c"),
    );
    let owner =
        fs::metadata(dir.path("c")).map(|found| std::os::unix::fs::MetadataExt::uid(&found));
    let mut unmount = Command::new("umount");
    unmount.arg(path);
    process::output(unmount).ok();
    let output = output?;
    assert_eq!(output.ok(), "0", "{output}");
    assert_eq!(owner.unwrap(), 0);
    Ok(())
}

fn log_of_the_host_has_every_run() -> Outcome {
    let dir = Dir::new("hostlog");
    let (log, own) = (dir.path("host.jsonl"), dir.path("own.jsonl"));
    let events = |path: &str| -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["event"].clone()).collect()
    };
    {
        let text = format!("version = 1\naudit = {log:?}\n");
        let _setting = bundle::settings::Setting::new("config.toml", &text);
        sh(&[], "true")?.ok();
        sh(&["--audit", &own], "true")?.ok();
        // The same file twice is one log.
        sh(&["--audit", &log], "true")?.ok();
        // A user cannot write to it, and so cannot run anything.
        let user = User::new("noted")?;
        let output = process::output(user.command(&[
            "--allow",
            "--tier",
            "basic",
            "--on-missing",
            "degrade",
            "--",
            "true",
        ]));
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(&log), "{output}");
    }
    assert_eq!(
        events(&log),
        ["start", "exit", "start", "exit", "start", "exit"]
    );
    assert_eq!(events(&own), ["start", "exit"]);
    process::output(bare(&["audit", "verify", &log])?).ok();
    {
        let text = "version = 1\naudit = \"/no/such/dir/log\"\n";
        let _setting = bundle::settings::Setting::new("config.toml", text);
        let output = sh(&[], "echo ran")?;
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (125, ""),
            "{output}"
        );
        assert!(output.stderr.contains("/no/such/dir/log"), "{output}");
    }
    sh(&[], "true")?.ok();
    assert_eq!(events(&log).len(), 6, "it is noted without being told to");
    Ok(())
}

fn help_fits_a_screen() -> Outcome {
    let help = process::output(bare(&["--help"])?);
    let lines: Vec<&str> = help.ok().lines().collect();
    assert!(lines.len() <= 24, "{} lines: {help}", lines.len());
    let wide: Vec<_> = lines
        .iter()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert_eq!(wide, Vec::<&&str>::new());
    Ok(())
}

fn colours_are_for_terminals() -> Outcome {
    const COLOUR: &str = "\u{1b}[";
    let args = ["run", "--tty", "never", "--report", "text", "--", "false"];
    let with = |name: &str, value: &str| -> Result<Command, Skip> {
        let mut command = bare(&args)?;
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.env("TERM", "xterm").env(name, value);
        Ok(command)
    };
    for (name, value, coloured) in [
        ("TERM", "xterm", true),
        ("TERM", "dumb", false),
        ("NO_COLOR", "1", false),
        ("NO_COLOR", "", true),
    ] {
        let mut terminal = Terminal::start(&with(name, value)?);
        let seen = terminal.expect("exited with 1");
        assert_eq!(seen.contains(COLOUR), coloured, "{name}={value}: {seen:?}");
        assert_eq!(terminal.wait(), 1);
    }
    for (name, value, coloured) in [
        ("TERM", "xterm", false),
        ("CLICOLOR_FORCE", "1", true),
        ("CLICOLOR_FORCE", "0", false),
    ] {
        let output = process::output(with(name, value)?);
        assert!(output.stderr.contains("exited with 1"), "{output}");
        assert_eq!(
            output.stderr.contains(COLOUR),
            coloured,
            "{name}={value}: {output}"
        );
    }
    let mut both = with("CLICOLOR_FORCE", "1")?;
    both.env("NO_COLOR", "1");
    let output = process::output(both);
    assert!(!output.stderr.contains(COLOUR), "{output}");
    Ok(())
}

/// Kills what `whom` names, `rounds` times, at moments spread over the start of a sandbox and what comes after.
fn kill_all_over(rounds: u32, options: &[&str], whom: fn(&Child) -> Option<Pid>) -> Outcome {
    let name = format!("{}round", bundle::tag());
    let args = [&["--name", &name], options, &["--", "sleep", "0.03"]].concat();
    // How long it takes, so that the kills are spread over all of it.
    let begun = std::time::Instant::now();
    let output = run(&args)?;
    output.ok();
    let whole = begun.elapsed();
    let mut hit = 0;
    for round in 0..rounds {
        let mut command = command(&args)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut front = command.spawn().unwrap();
        std::thread::sleep(whole * round / rounds);
        if let Some(pid) = whom(&front) {
            hit += u32::from(kill_process(pid, Signal::KILL).is_ok());
        }
        let status = front.wait().unwrap();
        assert!(
            [Some(125), Some(0), None].contains(&status.code()),
            "round {round} of {options:?}: {status}"
        );
        assert_nothing_left(&name);
    }
    // Those that came before there was anybody, or after the end, have shown nothing.
    assert!(hit >= rounds / 3, "{hit} of {rounds} were hit");
    Ok(())
}

fn front_killed_at_any_point_leaves_nothing() -> Outcome {
    let front = |child: &Child| Some(Pid::from_child(child));
    kill_all_over(40, &[], front)?;
    kill_all_over(20, &BASIC, front)
}

fn worker_killed_at_any_point_leaves_nothing() -> Outcome {
    kill_all_over(40, &[], worker_of)?;
    kill_all_over(20, &BASIC, worker_of)
}
