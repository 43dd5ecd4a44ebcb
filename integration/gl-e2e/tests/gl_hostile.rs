//! `gl run` against programs, callers and neighbours that mean it no good: what they can reach of the host through
//! names, files, streams and descriptors.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle;
use gl_e2e::command as process;
use gl_e2e::gl::{BASIC, Dir, User, assert_nothing_left, command, gl, run, sh, started};
use gl_e2e::terminal::Terminal;
use gl_e2e::{Outcome, tests};
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(tests![
        report_to_a_fifo_is_whole,
        report_to_a_full_device_is_an_error,
        report_goes_to_no_file_that_the_program_put_there,
        log_goes_to_no_directory_that_the_program_put_there,
        files_of_variables_have_a_size_and_a_form,
        names_lead_nowhere_else,
        sandboxes_of_one_name_at_once_are_one,
        first_process_does_not_tell_what_the_caller_has_said,
        open_descriptors_stay_outside,
        links_in_paths_show_what_the_caller_can_see_and_nothing_over_the_system,
        words_of_the_environment_that_are_none_are_refused,
        programs_with_other_rights_get_none,
        terminal_of_the_caller_takes_no_input_from_the_program,
        user_cannot_lay_traps_for_sandboxes_of_root,
    ])
}

/// Whoever reads it hears of no end before there is a report, and one whom nobody reads is not waited for.
fn report_to_a_fifo_is_whole() -> Outcome {
    let dir = Dir::new("fifo");
    let fifo = dir.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let reader = Command::new("cat")
        .arg(&fifo)
        .stdout(Stdio::piped())
        .spawn();
    let output = sh(&["--report", &fifo], "sleep 0.2");
    let read = reader.unwrap().wait_with_output().unwrap();
    let output = output?;
    let text = String::from_utf8(read.stdout).unwrap();
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err} in {text:?}: {output}"));
    assert_eq!(report["exit"]["code"], 0, "{report:#}");
    let mut reader = Command::new("head")
        .args(["-c", "0"])
        .arg(&fifo)
        .spawn()
        .unwrap();
    let output = sh(&["--report", &fifo], "sleep 0.2");
    assert!(reader.wait().unwrap().success());
    let output = output?;
    assert_eq!(output.status, 125, "{output}");
    assert!(
        output.stderr.contains(&format!("write {fifo}: ")),
        "{output}"
    );
    Ok(())
}

fn report_to_a_full_device_is_an_error() -> Outcome {
    for tier in [&[][..], &BASIC] {
        let output = sh(&[&["--report", "/dev/full"], tier].concat(), "exit 0")?;
        assert_eq!(output.status, 125, "{output}");
        let want = "write /dev/full: no space left on device";
        assert!(output.stderr.contains(want), "{output}");
    }
    Ok(())
}

/// A program that can write where the report is to be could have it written anywhere else on the host.
fn report_goes_to_no_file_that_the_program_put_there() -> Outcome {
    let (shown, other) = (Dir::new("shown"), Dir::new("other"));
    let victim = other.path("victim");
    let inside = shown.0.to_str().unwrap();
    for script in [
        format!("rm report.json && ln -s {victim} report.json"),
        format!("rm report.json && ln -s {victim}.new report.json"),
        "rm report.json && echo mine >report.json".to_owned(),
        "rm report.json".to_owned(),
        format!(
            "cd / && mv {inside}/sub {inside}/was && ln -s {} {inside}/sub",
            other.path("")
        ),
    ] {
        fs::write(&victim, "of the host\n").unwrap();
        fs::create_dir_all(shown.path("sub")).unwrap();
        let report = match script.contains("/sub") {
            true => shown.path("sub/report.json"),
            false => shown.path("report.json"),
        };
        for tier in [&["--allow"][..], &BASIC] {
            fs::remove_file(shown.path("sub")).ok();
            fs::remove_dir_all(shown.path("was")).ok();
            fs::create_dir_all(shown.path("sub")).unwrap();
            let options = [
                tier,
                &["--rw", inside, "--chdir", inside, "--report", &report],
            ]
            .concat();
            let output = sh(&options, &format!("{script} && echo put"))?;
            assert_eq!(output.stdout, "put\n", "{script}: {output}");
            assert_eq!(output.status, 125, "{script}: {output}");
            assert!(
                output.stderr.contains(&format!("write {report}: ")),
                "{script}: {output}"
            );
            assert_eq!(
                fs::read_to_string(&victim).unwrap(),
                "of the host\n",
                "{script}: {output}"
            );
            let there: Vec<_> = fs::read_dir(&other.0)
                .unwrap()
                .map(|one| one.unwrap().file_name())
                .collect();
            assert_eq!(there, ["victim"], "{script}: {output}");
            fs::remove_file(&report).ok();
        }
    }
    Ok(())
}

fn log_goes_to_no_directory_that_the_program_put_there() -> Outcome {
    let (shown, other) = (Dir::new("shown"), Dir::new("other"));
    let inside = shown.0.to_str().unwrap();
    fs::create_dir(shown.path("sub")).unwrap();
    let log = shown.path("sub/log");
    let script = format!(
        "cd / && mv {inside}/sub {inside}/was && ln -s {} {inside}/sub",
        other.path("")
    );
    let output = sh(&["--allow", "--rw", inside, "--audit", &log], &script)?;
    assert_eq!(output.status, 125, "{output}");
    assert!(
        output.stderr.contains(&format!("write {log}: ")),
        "{output}"
    );
    assert_eq!(fs::read_dir(&other.0).unwrap().count(), 0, "{output}");
    Ok(())
}

fn files_of_variables_have_a_size_and_a_form() -> Outcome {
    let dir = Dir::new("variables");
    let file = dir.path("env");
    for (text, want) in [
        (&b"A=1\n=x\n"[..], "is no name of a variable"),
        (b"A=x\0y\n", "is no name of a variable"),
        (b"A=\xff\n", "valid UTF-8"),
    ] {
        fs::write(&file, text).unwrap();
        let output = run(&["--env-file", &file, "--", "true"])?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
    }
    // As long as somebody reads it.
    let output = run(&["--env-file", "/dev/zero", "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    let want = "--env-file /dev/zero: it is larger than";
    assert!(output.stderr.contains(want), "{output}");
    fs::write(&file, "# said\n\n  A=one two\r\nB=\n").unwrap();
    let output = sh(&["--env-file", &file], "echo \"$A|$B\"")?;
    assert_eq!(output.ok(), "one two|", "{output}");
    Ok(())
}

fn names_lead_nowhere_else() -> Outcome {
    let long = "a".repeat(256);
    for name in ["..", ".", "a/b", "../x", "a b", "a\nb", "ä", &long] {
        let output = run(&[&format!("--name={name}"), "--", "true"])?;
        assert_eq!(output.status, 125, "{name:?}: {output}");
        assert!(output.stderr.contains("container id"), "{name:?}: {output}");
        for verb in ["kill", "rm", "logs", "wait"] {
            let output = process::output(gl_e2e::gl::bare(&[verb, "--", name])?);
            assert_ne!(output.status, 0, "{verb} {name:?}: {output}");
        }
    }
    Ok(())
}

fn sandboxes_of_one_name_at_once_are_one() -> Outcome {
    let name = format!("{}same", bundle::tag());
    let begin = || {
        let mut command = command(&["--name", &name, "--", "sh", "-c", "sleep 0.5; exit 7"])?;
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped());
        Ok::<_, gl_e2e::Skip>(child.spawn().unwrap())
    };
    let all: Result<Vec<_>, _> = (0..6).map(|_| begin()).collect();
    let all = all?.into_iter().map(|one| one.wait_with_output().unwrap());
    let all: Vec<_> = all.collect();
    let status = |wanted: i32| {
        let some = all.iter().filter(|one| one.status.code() == Some(wanted));
        some.count()
    };
    // Whoever came when it had ended had it again.
    assert!(status(7) >= 1, "{all:?}");
    assert_eq!(status(7) + status(125), all.len(), "{all:?}");
    for one in all.iter().filter(|one| one.status.code() == Some(125)) {
        let said = String::from_utf8_lossy(&one.stderr);
        assert!(said.contains(&name), "{said}");
    }
    assert_nothing_left(&name);
    Ok(())
}

fn first_process_does_not_tell_what_the_caller_has_said() -> Outcome {
    let script = "cat /proc/1/cmdline /proc/1/environ /proc/*/cmdline 2>/dev/null | tr '\\0' ' '";
    let secret = "of-the-caller";
    let output = sh(&["--env", "WORD=of-the-caller"], script)?;
    assert!(output.stdout.starts_with("greenlang "), "{output}");
    assert!(!output.stdout.contains(secret), "{output}");
    Ok(())
}

fn open_descriptors_stay_outside() -> Outcome {
    let gl = gl()?;
    for tier in ["", "--allow --tier basic --on-missing degrade"] {
        // One that is closed on exec by nobody, in the shell that calls us.
        let script = format!(
            "exec 7</etc/shadow 9>/dev/null; exec \"$0\" run {tier} -- sh -c 'for fd in /proc/self/fd/*; do echo ${{fd##*/}}; done'"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(&gl).stdin(Stdio::null());
        let output = process::output(shell);
        for line in output.ok().lines() {
            assert!(!["7", "9"].contains(&line), "{tier}: {output}");
        }
    }
    Ok(())
}

fn links_in_paths_show_what_the_caller_can_see_and_nothing_over_the_system() -> Outcome {
    let dir = Dir::new("links");
    symlink("/etc", dir.path("link")).unwrap();
    let link = dir.path("link");
    for (bind, want) in [
        ("/tmp:/proc/x", "cover part of /proc"),
        ("/tmp:/../../x", "without \"..\""),
        ("/tmp:relative", "absolute path"),
        ("/tmp:/", "target"),
        ("/dev/null:/x", "neither a directory nor a file"),
        ("/no/such/path:/x", "/no/such/path"),
    ] {
        let output = run(&["--allow", "--bind", bind, "--", "true"])?;
        assert_eq!(output.status, 125, "{bind}: {output}");
        assert!(output.stderr.contains(want), "{bind}: {output}");
    }
    // What is behind a link is shown, and the link is not what can be written.
    let bind = format!("{link}:/behind");
    let output = sh(
        &["--allow", "--bind", &bind],
        "ls /behind/hostname /behind/passwd; echo x >/behind/passwd",
    )?;
    assert!(output.stdout.contains("/behind/passwd"), "{output}");
    assert!(output.stderr.contains("Read-only"), "{output}");
    Ok(())
}

fn words_of_the_environment_that_are_none_are_refused() -> Outcome {
    for (name, value) in [
        ("GL_MEMORY_LIMIT_MB", "abc"),
        ("GL_MEMORY_LIMIT_MB", "-1"),
        ("GL_MEMORY_LIMIT_MB", "99999999999999999999"),
        ("GL_MEMORY_LIMIT_MB", "1\n2"),
        ("GL_SECURITY_LEVEL", "sideways"),
        ("GL_FORCE_OS_SANDBOX", "2"),
        ("GL_ISOLATION_TYPE", ""),
        ("GL_CPU_LIMIT_SECONDS", "1e9"),
        ("GL_EXECUTION_TIMEOUT", "0"),
    ] {
        let mut command = command(&["--", "true"])?;
        command.env(name, value);
        let output = process::output(command);
        assert_eq!(output.status, 125, "{name}={value:?}: {output}");
        assert!(output.stderr.contains(name), "{name}={value:?}: {output}");
    }
    Ok(())
}

/// Programs that belong to root and take their owner's rights, on the host's own files.
fn programs_with_other_rights_get_none() -> Outcome {
    let user = User::new("rights")?;
    let program = user.dir.path("id");
    fs::copy("/usr/bin/id", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let uid = |args: &[&str]| process::output(user.command(args));
    let options = ["--ro", user.dir.0.to_str().unwrap(), "--", &program, "-u"];
    for tier in [&BASIC[..], &["--allow", "--on-missing", "degrade"]] {
        let output = uid(&[tier, &options].concat());
        assert_ne!(output.ok(), "0", "{tier:?}: {output}");
    }
    Ok(())
}

fn terminal_of_the_caller_takes_no_input_from_the_program() -> Outcome {
    let python = "import fcntl, sys
for request in (0x5412, 0x541c):
    try: fcntl.ioctl(0, request, b'x'); print('done')
    except OSError as err: print('errno', err.errno)
print('over')";
    for tier in [&[][..], &BASIC] {
        for tty in ["never", "always"] {
            let args = [
                &["run", "--tty", tty],
                tier,
                &["--", "python3", "-c", python],
            ]
            .concat();
            let mut command = Command::new(gl()?);
            command.args(args);
            let mut terminal = Terminal::start(&command);
            let seen = terminal.expect("over");
            assert_eq!(terminal.wait(), 0, "{seen}");
            assert!(!seen.contains("done"), "{tier:?} {tty}: {seen}");
            assert_eq!(seen.matches("errno 1").count(), 2, "{tier:?} {tty}: {seen}");
        }
    }
    Ok(())
}

/// A user makes everything first that root's sandbox could want to make in places that are everybody's.
fn user_cannot_lay_traps_for_sandboxes_of_root() -> Outcome {
    let name = format!("{}trap", bundle::tag());
    let mut child = started(&name, &[])?;
    let user = User::new("neighbour")?;
    for verb in [&["kill"][..], &["exec"], &["logs"], &["wait"]] {
        let args = match verb[0] {
            "exec" => [verb, &[name.as_str(), "--", "true"]].concat(),
            _ => [verb, &[name.as_str()]].concat(),
        };
        let output = process::output(user.bare(&args));
        assert_ne!(output.status, 0, "{verb:?}: {output}");
    }
    let mut look = Command::new("setpriv");
    look.args([
        "--reuid",
        "54321",
        "--regid",
        "54321",
        "--clear-groups",
        "ls",
        "/run/greenlang-sandboxes",
    ]);
    look.arg(format!("/run/greenlang-sandboxes/{name}"))
        .stdin(Stdio::null());
    let output = process::output(look);
    assert_ne!(output.status, 0, "{output}");
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    let output = process::output(gl_e2e::gl::bare(&["rm", "--force", &name])?);
    assert_eq!(output.status, 0, "{output}");
    child.wait().unwrap();
    assert_nothing_left(&name);
    Ok(())
}
