//! `GREENLANG_STAGES`: when which stage of a command was done, and that nobody pays for it or is harmed by it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use gl_e2e::bundle::{self, Bundle, is_greenlang};
use gl_e2e::command::{Output, fail, output};
use gl_e2e::gl::{Dir, User, command};
use gl_e2e::{Outcome, Skip, tests};
use rustix::mount::{MountFlags, UnmountFlags};

const VARIABLE: &str = "GREENLANG_STAGES";

fn main() -> ExitCode {
    bundle::main(tests![
        run_tells_its_stages_in_their_order,
        commands_of_one_container_write_one_after_the_other,
        commands_at_once_write_theirs_whole,
        every_tier_tells_its_stages,
        sandbox_of_a_user_tells_its_stages,
        program_does_not_see_the_variable,
        disk_that_is_full_is_told_and_changes_no_status,
        program_that_writes_to_the_file_harms_nobody,
        file_of_somebody_else_is_refused_and_left_as_it_is,
    ])
}

/// What the file says, a list for each command: microseconds and names.
#[track_caller]
fn commands(file: &Path) -> Vec<Vec<(u64, String)>> {
    let text = fs::read_to_string(file).unwrap();
    let mut commands = Vec::new();
    for line in text.lines() {
        assert_eq!(line.len(), 63, "{line:?} of\n{text}");
        if line.trim_end().ends_with(" ns of CLOCK_MONOTONIC are 0 us") {
            commands.push(Vec::new());
            continue;
        }
        let stage = line.split_once(" us  ").and_then(|(time, name)| {
            let time: u64 = time.trim_start().parse().ok()?;
            Some((time, name.trim_end().to_owned()))
        });
        match (stage, commands.last_mut()) {
            (Some(stage), Some(command)) => command.push(stage),
            _ => fail(&format!("{line:?} is no stage, of\n{text}")),
        }
    }
    commands
}

/// What the last command has written.
#[track_caller]
fn stages(file: &Path) -> Vec<(u64, String)> {
    commands(file).pop().unwrap_or_default()
}

#[track_caller]
fn assert_in_order(stages: &[(u64, String)], names: &[&str], what: &str) {
    let mut seen = stages.iter();
    for name in names {
        assert!(
            seen.any(|(_, seen)| seen == name),
            "{what}: no {name:?} in its place: {stages:#?}"
        );
    }
}

fn timed(mut command: Command, file: &Path) -> Output {
    command.env(VARIABLE, file);
    output(command)
}

/// A bundle of the runtime that has the clock.
fn bundle() -> Result<Bundle, Skip> {
    if !is_greenlang() {
        return Err(Skip("this runtime has no clock of stages".to_owned()));
    }
    let bundle = Bundle::new().args(&["/bin/true"]);
    bundle.write_config();
    Ok(bundle)
}

fn run_tells_its_stages_in_their_order() -> Outcome {
    let bundle = bundle()?;
    let file = bundle.dir().join("stages");
    let begun = Instant::now();
    timed(bundle.command(&["run", bundle.id()]), &file).ok();
    let whole = begun.elapsed().as_micros();
    let stages = stages(&file);
    assert_in_order(
        &stages,
        &[
            "runtime: begins",
            "runtime: options read",
            "runtime: config read and checked",
            "runtime: planned",
            "runtime: cgroups made",
            "runtime: init forked",
            "init: mounts made",
            "init: root changed",
            "runtime: init is built",
            "runtime: gate opened",
            "runtime: program executed",
            "runtime: program ended",
            "runtime: cgroups removed",
            "runtime: ends",
        ],
        "run",
    );
    // Those of one process; two may be at it at once.
    for who in ["runtime:", "init:"] {
        let own = stages.iter().filter(|(_, name)| name.starts_with(who));
        let times: Vec<_> = own.map(|(time, _)| *time).collect();
        assert!(times.is_sorted(), "{who} {stages:#?}");
    }
    let last = stages
        .iter()
        .map(|(time, _)| *time)
        .max()
        .unwrap_or_default();
    assert!(
        last > 0 && u128::from(last) <= whole,
        "{last} us of {whole} us: {stages:#?}"
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "of the file with the stages");
    Ok(())
}

fn commands_of_one_container_write_one_after_the_other() -> Outcome {
    let bundle = bundle()?.args(&["/bin/sleep", "1000"]);
    bundle.write_config();
    let file = bundle.dir().join("stages");
    let id = bundle.id();
    let calls: [(&[&str], &[&str]); 4] = [
        (
            &["create", id],
            &[
                "runtime: init forked",
                "init: became its user",
                "runtime: ends",
            ],
        ),
        (
            &["start", id],
            &[
                "runtime: gate opened",
                "runtime: program executed",
                "runtime: ends",
            ],
        ),
        (
            &["exec", id, "/bin/true"],
            &[
                "runtime: process forked",
                "program: cgroups and namespaces entered",
                "program: limits, label and Landlock set",
                "runtime: program executed",
                "runtime: program ended",
            ],
        ),
        (
            &["delete", "--force", id],
            &[
                "runtime: all processes ended",
                "runtime: state removed",
                "runtime: ends",
            ],
        ),
    ];
    for (words, _) in calls {
        timed(bundle.command(words), &file).ok();
    }
    let seen = commands(&file);
    assert_eq!(seen.len(), calls.len(), "{seen:#?}");
    for (seen, (words, names)) in seen.iter().zip(calls) {
        assert_in_order(seen, &[&["runtime: begins"], names].concat(), words[0]);
    }
    Ok(())
}

fn commands_at_once_write_theirs_whole() -> Outcome {
    let bundle = bundle()?;
    let file = bundle.dir().join("stages");
    let begin = || {
        let mut command = bundle.command(&["list"]);
        command.env(VARIABLE, &file).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    for _ in 0..10 {
        let mut running: Vec<_> = (0..4).map(|_| begin()).collect();
        for one in &mut running {
            let status = one.wait().unwrap();
            assert!(status.success(), "{status}");
        }
    }
    let seen = commands(&file);
    let names = ["runtime: begins", "runtime: options read", "runtime: ends"];
    assert_eq!(seen.len(), 40, "{seen:#?}");
    for one in &seen {
        assert_in_order(one, &names, "list");
    }
    Ok(())
}

const SANDBOX: [&str; 8] = [
    "gl: begins",
    "gl: options read",
    "gl: profile resolved",
    "worker: begins",
    "worker: sandbox entered",
    "program: limits",
    "worker: sandbox removed",
    "gl: ends",
];

/// The stages of a sandbox, with those of its tier.
fn of_sandbox(tier: &str) -> Vec<&'static str> {
    let limits = match tier {
        "basic" => "program: limits and Landlock set",
        _ => "program: limits, label and Landlock set",
    };
    let all = SANDBOX.iter();
    all.map(|name| {
        if *name == "program: limits" {
            limits
        } else {
            name
        }
    })
    .collect()
}

fn every_tier_tells_its_stages() -> Outcome {
    let root = Bundle::new();
    let root = root.rootfs();
    let root = root.to_str().unwrap();
    for (tier, options) in [
        ("basic", &["--allow"][..]),
        ("namespace", &["--allow"]),
        ("container", &["--allow", "--rootfs", root]),
    ] {
        let dir = Dir::new("stages");
        let file = dir.0.join(tier);
        let words = [options, &["--tier", tier, "--", "/bin/true"]].concat();
        timed(command(&words)?, &file).ok();
        assert_in_order(&stages(&file), &of_sandbox(tier), tier);
    }
    Ok(())
}

fn sandbox_of_a_user_tells_its_stages() -> Outcome {
    let user = User::new("stages")?;
    for tier in ["basic", "namespace"] {
        let file = user.dir.0.join("home").join(tier);
        let words = [
            "--allow",
            "--on-missing",
            "degrade",
            "--tier",
            tier,
            "--",
            "true",
        ];
        timed(user.command(&words), &file).ok();
        assert_in_order(&stages(&file), &of_sandbox(tier), tier);
    }
    Ok(())
}

fn program_does_not_see_the_variable() -> Outcome {
    let bundle = bundle()?.args(&["/bin/sh", "-c", "env; exec sleep 1000"]);
    bundle.write_config();
    let file = bundle.dir().join("stages");
    let created = bundle.create();
    created.ok();
    let mut start = bundle.command(&["start", bundle.id()]);
    start.env(VARIABLE, &file);
    output(start).ok();
    let program = bundle.wait_for("PATH=");
    let exec = timed(bundle.command(&["exec", bundle.id(), "env"]), &file);
    let namespace = timed(command(&["--", "env"])?, &file);
    let basic = timed(
        command(&["--allow", "--tier", "basic", "--", "env"])?,
        &file,
    );
    for told in [&program, exec.ok(), namespace.ok(), basic.ok()] {
        assert!(told.contains("PATH="), "{told}");
        assert!(!told.contains(VARIABLE), "{told}");
    }
    Ok(())
}

fn disk_that_is_full_is_told_and_changes_no_status() -> Outcome {
    let bundle = bundle()?;
    let dir = bundle.outside("small");
    fs::create_dir_all(&dir).unwrap();
    let (flags, size) = (MountFlags::empty(), c"size=4k");
    rustix::mount::mount("tmpfs", &dir, "tmpfs", flags, Some(size)).unwrap();
    let file = dir.join("stages");
    let mut told = Vec::new();
    for _ in 0..10 {
        told.push(timed(bundle.command(&["run", bundle.id()]), &file));
    }
    let gl = timed(command(&["--", "sh", "-c", "exit 7"])?, &file);
    rustix::mount::unmount(&dir, UnmountFlags::empty()).unwrap();
    for run in &told {
        run.ok();
    }
    let last = told.last().unwrap();
    assert!(last.stderr.contains("no space left on device"), "{last}");
    assert_eq!(gl.status, 7, "{gl}");
    Ok(())
}

fn program_that_writes_to_the_file_harms_nobody() -> Outcome {
    let dir = Dir::new("stages");
    let file = dir.0.join("stages");
    let report = dir.path("report");
    let words = [
        "--allow",
        "--rw",
        dir.0.to_str().unwrap(),
        "--report",
        &report,
        "--",
        "sh",
        "-c",
        "exit 3",
    ];
    let script = format!(": > {}; exit 3", file.display());
    let words: Vec<_> = words
        .iter()
        .map(|word| if *word == "exit 3" { &script } else { *word })
        .collect();
    let told = timed(command(&words)?, &file);
    assert_eq!(told.status, 3, "{told}");
    let report = fs::read_to_string(&report).unwrap();
    assert!(report.contains("\"exited\""), "{told}: {report}");
    assert_in_order(
        &stages(&file),
        &of_sandbox("namespace"),
        "after it was emptied",
    );
    Ok(())
}

fn file_of_somebody_else_is_refused_and_left_as_it_is() -> Outcome {
    let bundle = bundle()?;
    let dir = bundle.dir();
    let (link, linked) = (dir.join("link"), dir.join("linked"));
    symlink(&linked, &link).unwrap();
    let made = dir.join("made");
    timed(bundle.command(&["list"]), &made).ok();
    let theirs = dir.join("theirs");
    fs::copy(&made, &theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(1000), None).unwrap();
    let twice = dir.join("twice");
    fs::hard_link(&made, &twice).unwrap();
    for file in [&link, &theirs, &twice, dir, Path::new("/dev/null")] {
        let before = fs::read(file).ok();
        let told = timed(bundle.command(&["run", bundle.id()]), file);
        let told = told.refused();
        for word in [VARIABLE, file.to_str().unwrap(), "of the caller's own"] {
            assert!(
                told.contains(word),
                "{}: no {word} in {told}",
                file.display()
            );
        }
        assert_eq!(fs::read(file).ok(), before, "{}", file.display());
        let gl = timed(command(&["--", "true"])?, file);
        assert_eq!(gl.status, 125, "{gl}");
    }
    let followed = fs::symlink_metadata(&linked).is_ok();
    assert!(!followed, "a link was followed");
    let left = bundle.call(&["list", "--quiet"]);
    assert_eq!(left.stdout, "", "containers that were made all the same");
    Ok(())
}
