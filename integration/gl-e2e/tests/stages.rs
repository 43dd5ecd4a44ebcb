//! `GREENLANG_STAGES`: when which stage of a command was done, and that nobody pays for it or is harmed by it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use gl_e2e::bundle::{self, Bundle, is_greenlang};
use gl_e2e::command::{Output, fail, output};
use gl_e2e::gl::{Dir, User, command};
use gl_e2e::{Outcome, Skip, tests};

const VARIABLE: &str = "GREENLANG_STAGES";

fn main() -> ExitCode {
    bundle::main(tests![
        run_tells_its_stages_in_their_order,
        commands_of_one_container_share_a_clock,
        every_tier_tells_its_stages,
        sandbox_of_a_user_tells_its_stages,
        without_the_variable_nothing_is_written,
        program_has_neither_variable_nor_file,
        file_of_somebody_else_is_refused_and_left_as_it_is,
        more_stages_than_lines_are_no_failure,
    ])
}

/// What the file says: microseconds and names.
#[track_caller]
fn stages(file: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.len(), 64 * 256, "{text}");
    let used = text.trim_end_matches('\0');
    let mut lines = used.lines();
    let first = lines.next().unwrap_or_default();
    assert!(
        first
            .trim_end()
            .ends_with(" ns of CLOCK_MONOTONIC are 0 us"),
        "{used}"
    );
    let stages = lines.map(|line| {
        assert_eq!(line.len(), 63, "{line:?} of\n{used}");
        let stage = line.split_once(" us  ").and_then(|(time, name)| {
            let time = time.trim_start().parse().ok()?;
            Some((time, name.trim_end().to_owned()))
        });
        stage.unwrap_or_else(|| fail(&format!("{line:?} is no stage, of\n{used}")))
    });
    stages.collect()
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

fn commands_of_one_container_share_a_clock() -> Outcome {
    let bundle = bundle()?.args(&["/bin/sleep", "1000"]);
    bundle.write_config();
    let file = bundle.dir().join("stages");
    let id = bundle.id();
    for words in [
        &["create", id][..],
        &["start", id],
        &["exec", id, "/bin/true"],
        &["delete", "--force", id],
    ] {
        timed(bundle.command(words), &file).ok();
    }
    assert_in_order(
        &stages(&file),
        &[
            "runtime: begins",
            "init: became its user",
            "runtime: ends",
            // start
            "runtime: begins",
            "init: let through the gate",
            "runtime: program executed",
            "runtime: ends",
            // exec
            "runtime: begins",
            "runtime: process forked",
            "program: cgroups and namespaces entered",
            "runtime: program executed",
            "runtime: program ended",
            // delete
            "runtime: begins",
            "runtime: all processes ended",
            "runtime: state removed",
            "runtime: ends",
        ],
        "create, start, exec, delete",
    );
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

fn without_the_variable_nothing_is_written() -> Outcome {
    let bundle = bundle()?;
    let mut command = bundle.command(&["run", bundle.id()]);
    command.env_remove(VARIABLE);
    let before = names(bundle.dir());
    output(command).ok();
    assert_eq!(names(bundle.dir()), before);
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn program_has_neither_variable_nor_file() -> Outcome {
    let script = "env; ls -l /proc/self/fd; cat /proc/self/maps";
    let bundle = bundle()?.args(&["/bin/sh", "-c", script]);
    bundle.write_config();
    let file = bundle.dir().join("file-of-stages");
    let told = timed(bundle.command(&["run", bundle.id()]), &file);
    let told = told.ok().to_owned();
    for word in [VARIABLE, "file-of-stages"] {
        assert!(!told.contains(word), "{word} is seen inside: {told}");
    }
    assert!(told.contains("PATH="), "{told}");
    Ok(())
}

fn file_of_somebody_else_is_refused_and_left_as_it_is() -> Outcome {
    let bundle = bundle()?;
    let dir = bundle.dir();
    let text = dir.join("text");
    fs::write(&text, "mine").unwrap();
    let long = dir.join("long");
    fs::write(&long, [b'x'; 64 * 256]).unwrap();
    let (link, linked) = (dir.join("link"), dir.join("linked"));
    symlink(&linked, &link).unwrap();
    let made = dir.join("made");
    timed(bundle.command(&["list"]), &made).ok();
    let theirs = dir.join("theirs");
    fs::copy(&made, &theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(1000), None).unwrap();
    let twice = dir.join("twice");
    fs::hard_link(&made, &twice).unwrap();
    for file in [
        &text,
        &long,
        &link,
        &theirs,
        &twice,
        dir,
        Path::new("/dev/null"),
    ] {
        let before = fs::read(file).ok();
        let told = timed(bundle.command(&["run", bundle.id()]), file);
        let told = told.refused();
        for word in [VARIABLE, file.to_str().unwrap(), "is not there yet"] {
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

fn more_stages_than_lines_are_no_failure() -> Outcome {
    let bundle = bundle()?;
    let file = bundle.dir().join("stages");
    // Ten commands with some thirty stages each.
    for _ in 0..10 {
        timed(bundle.command(&["run", bundle.id()]), &file).ok();
    }
    assert_eq!(stages(&file).len(), 255);
    Ok(())
}
