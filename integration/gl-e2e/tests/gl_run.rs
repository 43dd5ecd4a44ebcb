//! `gl run`, as a person calls it: what the program inside sees and may do, how the call ends, what the
//! report says, and that nothing stays.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use gl_e2e::bundle;
use gl_e2e::command::{self as process, Output};
use gl_e2e::gl::{
    BASIC, Dir, assert_nothing_left, assert_reason, command, gl, ready, reported, run, sh, started,
};
use gl_e2e::terminal::Terminal;
use gl_e2e::{Outcome, Skip, tests};
use serde_json::Value;

fn main() -> ExitCode {
    bundle::main(tests![
        program_gets_its_streams_and_gives_its_status,
        program_ended_by_a_signal_shows_as_in_a_shell,
        program_gets_the_signals_of_the_caller,
        program_on_a_terminal_has_its_size_and_is_interrupted,
        program_sees_no_process_and_no_secret_of_the_host,
        program_writes_to_tmp_and_nowhere_else,
        program_has_no_network,
        loopback_is_as_the_profile_says,
        loopback_is_up_for_a_root_without_rights_in_networks,
        program_has_no_capability_and_other_ids_outside,
        profile_of_apparmor_confines_the_program,
        environment_is_clean_but_for_what_is_given,
        working_directory_is_shown_read_only,
        paths_are_shown_only_if_that_is_said_aloud,
        paths_over_links_of_the_host_change_nothing_there,
        name_in_use_is_refused_and_its_owner_untouched,
        options_that_loosen_are_refused_and_with_allow_reported,
        environment_words_set_the_profile,
        denied_calls_are_in_the_report,
        permissive_mode_allows_and_reports,
        report_is_told_in_sentences,
        audit_log_has_every_run_in_one_chain,
        help_completions_and_man_pages_come_with_it,
        rootfs_is_what_a_container_sees,
        rootfs_with_paths_of_the_host_is_refused,
        what_cannot_run_is_said_with_125,
        report_that_cannot_be_written_keeps_it_from_running,
        killed_caller_leaves_nothing,
        killed_worker_leaves_nothing_and_is_told,
        basic_tier_stays_on_the_host_and_is_bound,
        basic_tier_kills_what_it_started,
        user_runs_both_tiers,
    ])
}

fn program_gets_its_streams_and_gives_its_status() -> Outcome {
    let mut command = command(&["--", "sh", "-c", "cat; echo err >&2; exit 7"])?;
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"in\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(7));
    Ok(())
}

fn program_ended_by_a_signal_shows_as_in_a_shell() -> Outcome {
    let (output, report) = reported(&[], "kill -TERM $$")?;
    assert_reason(&output, &report, "signal", 143);
    assert_eq!(report["exit"]["signal"], 15, "{report:#}");
    Ok(())
}

fn program_gets_the_signals_of_the_caller() -> Outcome {
    let script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let (mut child, _stdout) = ready(command(&["--", "sh", "-c", script])?);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(5));
    Ok(())
}

fn program_on_a_terminal_has_its_size_and_is_interrupted() -> Outcome {
    let script = "tty; stty size; echo begun; sleep 60";
    let mut terminal = Terminal::start(&command(&["--tty", "always", "--", "sh", "-c", script])?);
    let seen = terminal.expect("begun");
    assert!(seen.contains("/dev/pts/0"), "{seen:?}");
    terminal.press("\u{3}");
    assert_eq!(terminal.wait(), 130);
    Ok(())
}

fn program_sees_no_process_and_no_secret_of_the_host() -> Outcome {
    let script = "set -- /proc/[0-9]*; echo $#; cat /etc/shadow /root/.profile /proc/1/maps; ls /home /boot /sys";
    let output = sh(&[], script)?;
    // The first process and the shell.
    assert_eq!(output.stdout, "2\n", "{output}");
    for denied in [
        "/etc/shadow",
        "/root/.profile",
        "/proc/1/maps",
        "/home",
        "/boot",
        "/sys",
    ] {
        assert!(output.stderr.contains(denied), "{denied} in {output}");
    }
    let outside = fs::read_dir("/proc").unwrap().count();
    assert!(outside > 4, "the host has {outside} entries in /proc");
    Ok(())
}

fn program_writes_to_tmp_and_nowhere_else() -> Outcome {
    let script = "for f in /tmp/a /dev/shm/a; do echo x >$f && cat $f; done; for f in /usr/a /etc/a /a /run/a /var/a /proc/sys/kernel/hostname; do (echo x >$f) 2>/dev/null && echo wrote $f; done; true";
    let output = sh(&[], script)?;
    assert_eq!(output.ok(), "x\nx", "{output}");
    assert!(!Path::new("/tmp/a").exists());
    Ok(())
}

fn program_has_no_network() -> Outcome {
    let output = sh(
        &[],
        "cat /proc/net/dev | tail -n +3 | wc -l; cat /proc/net/route | wc -l",
    )?;
    assert_eq!(output.ok(), "1\n1", "{output}");
    Ok(())
}

fn loopback_is_as_the_profile_says() -> Outcome {
    let dir = Dir::new("loopback");
    for (allowed, want) in [(true, "up"), (false, "down")] {
        let profile = dir.path(&format!("{want}.toml"));
        let text = format!(
            "version = 1\nname = \"{want}\"\nisolation = \"namespace\"\n\n\
             [network]\nallow_network = false\nallow_loopback = {allowed}\n"
        );
        fs::write(&profile, text).unwrap();
        let script = "grep -q 127.0.0.1 /proc/net/fib_trie && echo up || echo down";
        let output = sh(&["--profile", &profile], script)?;
        assert_eq!(output.ok(), want, "{output}");
    }
    Ok(())
}

/// It may make the namespace ahead, and do nothing in it: the interface comes up all the same.
fn loopback_is_up_for_a_root_without_rights_in_networks() -> Outcome {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-net_admin"])
        .arg(gl()?)
        .args(["run", "--", "grep", "-c", "127.0.0.1", "/proc/net/fib_trie"]);
    let output = process::output(command);
    assert!(output.ok().parse::<u32>().unwrap() > 0, "{output}");
    Ok(())
}

fn program_has_no_capability_and_other_ids_outside() -> Outcome {
    let output = sh(
        &[],
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/uid_map",
    )?;
    let text = output.ok();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            text.contains(&format!("{set}:\t0000000000000000")),
            "{output}"
        );
    }
    assert!(text.contains("NoNewPrivs:\t1\nSeccomp:\t2"), "{output}");
    let map: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "2000000000", "65536"], "{output}");
    Ok(())
}

fn profile_of_apparmor_confines_the_program() -> Outcome {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.unwrap_or_default().trim() != "Y" {
        return Err(Skip("AppArmor is off".to_owned()));
    }
    let (output, report) = reported(&[], "cat /proc/self/attr/current")?;
    // As its own policy namespace shows it.
    let shown = format!("{} (enforce)", report["profile"].as_str().unwrap());
    assert_eq!(output.ok(), shown, "{output} {report:#}");
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    let id = report["id"].as_str().unwrap();
    assert!(!loaded.contains(id), "{id} has left a profile in {loaded}");
    Ok(())
}

fn environment_is_clean_but_for_what_is_given() -> Outcome {
    let dir = Dir::new("env");
    let file = dir.path("env");
    fs::write(&file, "# comment\n\nFROM_FILE=one two\n").unwrap();
    let mut command = command(&[
        "--env",
        "GIVEN=1",
        "--env",
        "PASSED",
        "--env-file",
        &file,
        "--",
        "env",
    ])?;
    command
        .env("SECRET", "x")
        .env("PASSED", "on")
        .env_remove("LANG");
    let output = process::output(command);
    let text = output.ok();
    for line in ["GIVEN=1", "PASSED=on", "FROM_FILE=one two", "HOME=/tmp"] {
        assert!(text.lines().any(|seen| seen == line), "{line} in {output}");
    }
    assert!(!text.contains("SECRET"), "{output}");
    Ok(())
}

fn working_directory_is_shown_read_only() -> Outcome {
    let dir = Dir::new("work");
    fs::write(dir.path("job"), "content\n").unwrap();
    let mut command = command(&["--", "sh", "-c", "pwd; cat job; echo x >new"])?;
    let output = {
        command.current_dir(&dir.0);
        process::output(command)
    };
    let want = format!("{}\ncontent\n", dir.0.display());
    assert_eq!(output.stdout, want, "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    Ok(())
}

fn paths_are_shown_only_if_that_is_said_aloud() -> Outcome {
    let dir = Dir::new("shown");
    fs::write(dir.path("file"), "content\n").unwrap();
    let path = dir.path("");
    let path = path.trim_end_matches('/');
    let output = run(&["--rw", path, "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    assert!(
        output.stderr.contains("--rw") && output.stderr.contains("--allow"),
        "{output}"
    );
    let script = format!("cat {path}/file; echo new >{path}/made; cat /inside/file");
    let bind = format!("{path}:/inside");
    let output = sh(&["--allow", "--rw", path, "--bind", &bind], &script)?;
    assert_eq!(output.ok(), "content\ncontent", "{output}");
    assert_eq!(fs::read_to_string(dir.path("made")).unwrap(), "new\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(dir.path("made")).unwrap());
    assert_eq!(owner, 0, "what root's sandbox writes is root's");
    Ok(())
}

/// The root of a sandbox has copies of the host's links, absolute ones among them.
fn paths_over_links_of_the_host_change_nothing_there() -> Outcome {
    let dir = Dir::new("links");
    fs::write(dir.path("new"), "inside\n").unwrap();
    fs::write(dir.path("victim"), "of the host\n").unwrap();
    // Of this program's own mount namespace: the host keeps its link.
    let etc = dir.path("etc");
    let status = Command::new("cp")
        .args(["--archive", "/etc", &etc])
        .status();
    assert!(status.unwrap().success());
    fs::remove_file(format!("{etc}/localtime")).ok();
    std::os::unix::fs::symlink(dir.path("victim"), format!("{etc}/localtime")).unwrap();
    let bound = Command::new("mount")
        .args(["--bind", &etc, "/etc"])
        .status();
    assert!(bound.unwrap().success());
    let bind = format!("{}:/etc/localtime", dir.path("new"));
    let output = sh(&["--allow", "--bind", &bind], "cat /etc/localtime");
    assert!(
        Command::new("umount")
            .arg("/etc")
            .status()
            .unwrap()
            .success()
    );
    let output = output?;
    assert_eq!(output.ok(), "inside", "{output}");
    let victim = fs::read_to_string(dir.path("victim")).unwrap();
    assert_eq!(victim, "of the host\n");
    Ok(())
}

fn name_in_use_is_refused_and_its_owner_untouched() -> Outcome {
    let name = format!("{}twice", bundle::tag());
    let mut child = started(&name, &[])?;
    let output = run(&["--name", &name, "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains(&name), "{output}");
    // Nor when its worker is killed at any moment.
    for millis in [0, 1, 2, 3, 5] {
        let mut second = command(&["--name", &name, "--", "true"])?.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        let below = format!("/proc/{0}/task/{0}/children", second.id());
        let below = fs::read_to_string(below).unwrap_or_default();
        let worker = below
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        if let Some(worker) = worker.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(worker, rustix::process::Signal::KILL).ok();
        }
        assert_eq!(second.wait().unwrap().code(), Some(125));
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "the first was ended after {millis} ms"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_left(&name);
    Ok(())
}

fn options_that_loosen_are_refused_and_with_allow_reported() -> Outcome {
    let output = run(&["--memory", "2GiB", "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    assert!(
        output
            .stderr
            .contains("--memory: profile default says 536870912"),
        "{output}"
    );
    let (output, report) = reported(&["--allow", "--memory", "2GiB"], "true")?;
    assert_reason(&output, &report, "exited", 0);
    assert_eq!(report["loosened"][0]["option"], "--memory", "{report:#}");
    let (output, report) = reported(&["--memory", "64MiB"], "true")?;
    assert_reason(&output, &report, "exited", 0);
    assert_eq!(report["loosened"], serde_json::json!([]), "{report:#}");
    Ok(())
}

fn environment_words_set_the_profile() -> Outcome {
    let mut words = command(&["--report", "-", "--", "true"])?;
    let output = {
        words.env("GL_EXECUTION_TIMEOUT", "7");
        process::output(words)
    };
    let report: Value = serde_json::from_str(output.ok()).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let timeout = layers
        .iter()
        .find(|one| one["requested"] == "GL_EXECUTION_TIMEOUT");
    assert!(
        timeout.is_some_and(|one| one["how"].to_string().contains("7 s")),
        "{report:#}"
    );
    let mut wrong = command(&["--", "true"])?;
    let output = {
        wrong.env("GL_EXECUTION_TIMEOUT", "soon");
        process::output(wrong)
    };
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("GL_EXECUTION_TIMEOUT"), "{output}");
    Ok(())
}

fn denied_calls_are_in_the_report() -> Outcome {
    let script = "python3 -c 'import socket
for i in range(3):
    try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    except OSError as err: print(err.errno)'";
    let (output, report) = reported(&[], script)?;
    assert_eq!(output.ok(), "1\n1\n1", "{output}");
    let denials = report["denials"].as_array().unwrap();
    let socket = denials.iter().find(|one| one["what"] == "socket").unwrap();
    assert_eq!(socket["count"], 3, "{report:#}");
    assert_eq!(socket["answer"], "EPERM", "{report:#}");
    assert!(
        socket["arguments"].to_string().contains("AF_PACKET"),
        "{report:#}"
    );
    Ok(())
}

fn permissive_mode_allows_and_reports() -> Outcome {
    let script = "python3 -c 'import socket; socket.socket(socket.AF_UNIX); print(1)'";
    let options = ["--profile", "compute_only"];
    let (output, report) = reported(&options, script)?;
    assert_ne!(output.status, 0, "{output}\n{report:#}");
    let options = [
        "--profile",
        "compute_only",
        "--allow",
        "--mode",
        "permissive",
    ];
    let (output, report) = reported(&options, script)?;
    assert_eq!(output.ok(), "1", "{output}");
    let denials = report["denials"].as_array().unwrap();
    let socket = denials.iter().find(|one| one["what"] == "socket");
    assert_eq!(socket.unwrap()["answer"], "allowed", "{report:#}");
    Ok(())
}

fn report_is_told_in_sentences() -> Outcome {
    let dir = Dir::new("why");
    let why = |options: &[&str], script: &str| -> Result<Output, Skip> {
        let file = dir.path("report.json");
        sh(&[&["--report", &file], options].concat(), script)?;
        let mut command = Command::new(command(&[])?.get_program());
        command.args(["why", &file]);
        Ok(process::output(command))
    };
    let output = why(&[], "exit 3")?;
    assert_eq!(output.status, 0, "{output}");
    assert!(
        output.stdout.contains("ended by itself with status 3"),
        "{output}"
    );
    let output = why(&["--timeout", "1s"], "sleep 60")?;
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stdout.contains("execution_timeout"), "{output}");
    let output = why(
        &["--profile", "compute_only"],
        "exec python3 -c 'import socket; socket.socket()'",
    )?;
    assert_eq!(output.status, 1, "{output}");
    let sentence = "was denied (EPERM) once by python3 (seccomp); this line of a profile would allow it: seccomp.groups";
    assert!(output.stdout.contains(sentence), "{output}");
    fs::write(dir.path("report.json"), "{}").unwrap();
    let mut broken = Command::new(command(&[])?.get_program());
    broken.args(["why", &dir.path("report.json")]);
    let output = process::output(broken);
    assert_eq!(output.status, 1, "{output}");
    assert!(
        output.stderr.contains("report.json") && output.stderr.contains("missing field"),
        "{output}"
    );
    Ok(())
}

fn audit_log_has_every_run_in_one_chain() -> Outcome {
    let dir = Dir::new("audit");
    let log = dir.path("audit.jsonl");
    let socket = "exec python3 -c 'import socket; socket.socket()'";
    for (options, script) in [
        (&[][..], "exit 3"),
        (&["--timeout", "1s"], "sleep 60"),
        (&["--profile", "compute_only"], socket),
        (&BASIC, "true"),
    ] {
        sh(&[&["--audit", &log], options].concat(), script)?;
    }
    let text = fs::read_to_string(&log).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<String> = lines
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    let want = [
        "start", "exit", "start", "timeout", "exit", "start", "denial", "exit", "start", "exit",
    ];
    assert_eq!(events, want, "{text}");
    let mut verify = Command::new(command(&[])?.get_program());
    verify.args(["audit", "verify", &log]);
    process::output(verify).ok();
    // One that cannot be written keeps the program from running.
    let mark = dir.path("mark");
    let root = dir.path("");
    let options = [
        "--allow",
        "--rw",
        root.trim_end_matches('/'),
        "--audit",
        "/no/such/log",
    ];
    let output = sh(&options, &format!("echo ran >{mark}"))?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("/no/such/log"), "{output}");
    assert!(!Path::new(&mark).exists(), "the program ran: {output}");
    Ok(())
}

fn help_completions_and_man_pages_come_with_it() -> Outcome {
    let dir = Dir::new("man");
    let gl = |args: &[&str]| -> Result<Output, Skip> {
        let mut command = Command::new(command(&[])?.get_program());
        command.args(args);
        Ok(process::output(command))
    };
    let help = gl(&["--help"])?;
    assert!(help.ok().lines().count() <= 24, "{help}");
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef gl"),
        ("fish", "complete -c gl"),
    ] {
        let script = gl(&["completions", shell])?;
        assert!(script.ok().contains(word), "{shell}: {script}");
        assert!(script.stdout.contains("on-missing"), "{shell}: {script}");
    }
    gl(&["man", &dir.path("pages")])?.ok();
    for page in ["gl.1", "gl-run.1", "gl-profile-show.1"] {
        let text = fs::read_to_string(dir.path("pages").clone() + "/" + page).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    Ok(())
}

fn rootfs_is_what_a_container_sees() -> Outcome {
    let bundle = bundle::Bundle::new();
    bundle.file("mark", "here\n");
    let root = bundle.rootfs();
    let root = root.to_str().unwrap();
    let output = sh(
        &["--rootfs", root],
        "cat /mark; ls /usr/bin/python3; echo x >/new; echo y >/tmp/y && cat /tmp/y",
    )?;
    assert_eq!(output.stdout, "here\ny\n", "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    Ok(())
}

fn rootfs_with_paths_of_the_host_is_refused() -> Outcome {
    let bundle = bundle::Bundle::new();
    let root = bundle.rootfs();
    let root = root.to_str().unwrap();
    let output = run(&["--allow", "--rootfs", root, "--rw", "/srv", "--", "true"])?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains("--rw"), "{output}");
    Ok(())
}

fn what_cannot_run_is_said_with_125() -> Outcome {
    for (args, want) in [
        (&["--", "no-such-program"][..], "no-such-program"),
        (
            &["--rootfs", "/no/such/directory", "--", "true"],
            "/no/such/directory",
        ),
        (
            &["--allow", "--ro", "/no/such/path", "--", "true"],
            "/no/such/path",
        ),
        (&["--tier", "container", "--", "true"], "--rootfs"),
        (
            &["--profile", "no_such_profile", "--", "true"],
            "no_such_profile",
        ),
        (&["--memory", "0", "--", "true"], "--memory"),
        (
            &["--env-file", "/no/such/file", "--", "true"],
            "/no/such/file",
        ),
        (&["--name", "a/b", "--", "true"], "a/b"),
    ] {
        let output = run(args)?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
    }
    Ok(())
}

fn report_that_cannot_be_written_keeps_it_from_running() -> Outcome {
    let dir = Dir::new("unwritten");
    let mark = dir.path("mark");
    let path = dir.path("no/such/report");
    let root = dir.path("");
    let output = sh(
        &[
            "--allow",
            "--rw",
            root.trim_end_matches('/'),
            "--report",
            &path,
        ],
        &format!("echo ran >{mark}"),
    )?;
    assert_eq!(output.status, 125, "{output}");
    assert!(output.stderr.contains(&path), "{output}");
    assert!(!Path::new(&mark).exists(), "the program ran: {output}");
    Ok(())
}

fn killed_caller_leaves_nothing() -> Outcome {
    for (number, options) in [
        &[][..],
        &["--allow", "--tier", "basic", "--on-missing", "degrade"],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{}killed-{number}", bundle::tag());
        let mut child = started(&name, options)?;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_nothing_left(&name);
    }
    // At any moment of the setup.
    for millis in [0, 1, 2, 3, 4, 6, 8, 12, 16] {
        let name = format!("{}early-{millis}", bundle::tag());
        let mut child = command(&["--name", &name, "--", "sleep", "1000"])?
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_nothing_left(&name);
    }
    Ok(())
}

fn killed_worker_leaves_nothing_and_is_told() -> Outcome {
    let name = format!("{}worker", bundle::tag());
    let mut child = started(&name, &[])?;
    let below = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let worker: i32 = below.split_whitespace().next().unwrap().parse().unwrap();
    let worker = rustix::process::Pid::from_raw(worker).unwrap();
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert_nothing_left(&name);
    Ok(())
}

fn basic_tier_stays_on_the_host_and_is_bound() -> Outcome {
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    let script = "readlink /proc/self/ns/pid; for f in /etc/shadow /root/.profile; do cat $f; done; for f in /usr/a /tmp/a /etc/a; do (echo x >$f) 2>/dev/null && echo wrote $f; done; echo ok >$TMPDIR/a && cat $TMPDIR/a; exec 3</proc/self/status; grep NoNewPrivs <&3; kill -0 1 || echo no signal";
    let (output, report) = reported(&BASIC, script)?;
    let want = format!("{}\nok\nNoNewPrivs:\t1\nno signal\n", own.display());
    assert_eq!(output.stdout, want, "{output}");
    assert!(
        output.stderr.contains("/etc/shadow: Permission denied"),
        "{output}"
    );
    assert_eq!(report["tier"], "basic", "{report:#}");
    assert_reason(&output, &report, "exited", 0);
    Ok(())
}

fn basic_tier_kills_what_it_started() -> Outcome {
    let name = format!("{}daemon", bundle::tag());
    let script = format!("setsid sh -c 'sleep 1000; echo {name}' </dev/null >/dev/null 2>&1 &");
    let output = sh(&BASIC, &script)?;
    output.ok();
    assert_nothing_left(&name);
    let options = [&BASIC[..], &["--timeout", "1s"]].concat();
    let (output, report) = reported(&options, "sleep 60")?;
    assert_reason(&output, &report, "timeout", 124);
    Ok(())
}

fn user_runs_both_tiers() -> Outcome {
    let dir = Dir::new("user");
    let own = command(&[])?;
    let program = dir.path("gl");
    fs::copy(own.get_program(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime_dir = dir.path("runtime");
    fs::create_dir(&runtime_dir).unwrap();
    std::os::unix::fs::chown(&runtime_dir, Some(54_321), Some(54_321)).unwrap();
    fs::set_permissions(&runtime_dir, fs::Permissions::from_mode(0o700)).unwrap();
    for tier in ["basic", "namespace"] {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            "54321",
            "--regid",
            "54321",
            "--clear-groups",
            &program,
            "run",
        ]);
        command.args(["--allow", "--tier", tier, "--on-missing", "degrade", "--"]);
        command.args(["sh", "-c", "id -u; cat /etc/shadow; exit 3"]);
        command
            .env("XDG_RUNTIME_DIR", &runtime_dir)
            .current_dir("/")
            .stdin(Stdio::null());
        let output = process::output(command);
        assert_eq!(output.stdout, "54321\n", "{tier}: {output}");
        assert_eq!(output.status, 3, "{tier}: {output}");
        assert!(output.stderr.contains("/etc/shadow"), "{tier}: {output}");
    }
    let left: Vec<_> = gl_e2e::kernel::directories_below(Path::new(&runtime_dir));
    assert!(left.len() <= 3, "{left:?}");
    Ok(())
}
