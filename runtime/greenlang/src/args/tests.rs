//! The command lines that engines were seen to send, and what is read from them.

use std::path::Path;
use std::time::Duration;

use gl_container::{Force, Whom};

use super::*;
use crate::command::{Command, Verb};
use crate::log::{Format as LogFormat, Level};
use crate::verb::exec::{Exec, Program};
use crate::verb::ps::Format;
use crate::verb::update::Limits;

fn os(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

/// Reads a whole command line.
fn read(line: &[&str]) -> Result<(Global, Command), Error> {
    let given = split(os(line), FLAGS, Order::OptionsFirst)?;
    let global = Global::read(&given)?;
    let mut rest = given.raw_operands().into_iter();
    let verb = rest.next().unwrap();
    let verb = Verb::parse(verb.to_str().unwrap()).unwrap_or_else(|| panic!("{verb:?}"));
    Ok((global, verb.read(rest)?))
}

fn command(line: &[&str]) -> Command {
    read(line).unwrap_or_else(|err| panic!("{line:?}: {err}")).1
}

fn failure(line: &[&str]) -> String {
    match read(line) {
        Err(err) => err.to_string(),
        Ok(read) => panic!("{line:?} gave {read:?}"),
    }
}

fn exec(line: &[&str]) -> Exec {
    match command(line) {
        Command::Exec(exec) => *exec,
        other => panic!("{line:?} gave {other:?}"),
    }
}

#[test]
fn create_of_containerd_is_read() {
    let (global, command) = read(&[
        "--root",
        "/run/containerd/runc/moby",
        "--log",
        "/b/log.json",
        "--log-format",
        "json",
        "--systemd-cgroup",
        "create",
        "--bundle",
        "/b",
        "--pid-file",
        "/b/init.pid",
        "--console-socket",
        "/tmp/pty1/pty.sock",
        "--no-pivot",
        "--no-new-keyring",
        "--preserve-fds",
        "2",
        "--detach",
        "c1",
    ])
    .unwrap();
    assert_eq!(
        global.root.as_deref(),
        Some(Path::new("/run/containerd/runc/moby"))
    );
    assert_eq!(global.log.as_deref(), Some(Path::new("/b/log.json")));
    assert_eq!(global.log_format, LogFormat::Json);
    assert_eq!(global.cgroup_manager, CgroupManager::Systemd);
    let Command::Create(create) = command else {
        panic!("{command:?}")
    };
    assert_eq!(create.id.as_str(), "c1");
    assert_eq!(create.launch.bundle, Path::new("/b"));
    assert_eq!(
        create.launch.pid_file.as_deref(),
        Some(Path::new("/b/init.pid"))
    );
    assert_eq!(
        create.launch.console_socket.as_deref(),
        Some(Path::new("/tmp/pty1/pty.sock"))
    );
    assert!(create.launch.no_pivot && create.launch.no_new_keyring);
    assert_eq!(create.launch.preserve_fds, 2);
}

#[test]
fn create_of_conmon_is_read() {
    let Command::Create(create) =
        command(&["create", "--bundle", "/u", "--pid-file", "/u/pidfile", "c1"])
    else {
        panic!()
    };
    assert_eq!(create.launch.bundle, Path::new("/u"));
    assert_eq!(create.launch.console_socket, None);
}

#[test]
fn short_lines_of_engines_are_read() {
    for (line, want) in [
        (&["start", "c1"][..], "Start"),
        (&["state", "c1"], "State"),
        (&["pause", "c1"], "Pause"),
        (&["resume", "c1"], "Resume"),
        (&["features"], "Features"),
        (&["list", "--format=json"], "List"),
        (&["spec", "--rootless", "-b", "/b"], "Spec"),
        (&["start", "--help"], "Help"),
        (&["checkpoint", "--help"], "Help"),
        (&["restore", "--help"], "Help"),
        (&["exec", "-h"], "Help"),
    ] {
        let got = format!("{:?}", command(line));
        assert!(got.starts_with(want), "{line:?} gave {got}");
    }
}

#[test]
fn kill_reads_the_signal_wherever_all_stands() {
    for (line, signal, whom) in [
        (&["kill", "c1", "9"][..], 9, Whom::Init),
        (&["kill", "c1"], 15, Whom::Init),
        (&["kill", "c1", "0"], 0, Whom::Init),
        (&["kill", "c1", "SIGRTMIN+3"], 37, Whom::Init),
        (&["kill", "--all", "c1", "KILL"], 9, Whom::All),
        (&["kill", "c1", "SIGKILL", "--all"], 9, Whom::All),
        (&["kill", "-a=false", "c1", "9"], 9, Whom::Init),
    ] {
        let Command::Kill(kill) = command(line) else {
            panic!("{line:?}")
        };
        assert_eq!(
            (kill.id.as_str(), kill.signal.number(), kill.whom),
            ("c1", signal, whom),
            "{line:?}"
        );
    }
    assert_eq!(
        failure(&["kill", "c1", "NOPE"]),
        "read signal: \"NOPE\" is not a signal: use a number from 0 to 64 or a name such as TERM"
    );
}

#[test]
fn delete_reads_force_in_every_spelling() {
    for (line, want) in [
        (&["delete", "c1"][..], Force::No),
        (&["delete", "--force", "c1"], Force::Yes),
        (&["delete", "-force", "c1"], Force::Yes),
        (&["delete", "-f", "c1"], Force::Yes),
        (&["delete", "c1", "--force"], Force::Yes),
        (&["delete", "--force=true", "c1"], Force::Yes),
        (&["delete", "--force=0", "c1"], Force::No),
    ] {
        let Command::Delete(delete) = command(line) else {
            panic!("{line:?}")
        };
        assert_eq!(delete.force, want, "{line:?}");
    }
}

#[test]
fn exec_of_engines_is_read() {
    for line in [
        &[
            "exec",
            "--process",
            "/p",
            "--console-socket",
            "/s",
            "--detach",
            "--pid-file",
            "/f",
            "c1",
        ][..],
        &[
            "exec",
            "--pid-file",
            "/f",
            "--process",
            "/p",
            "--detach",
            "--tty",
            "--console-socket",
            "/s",
            "c1",
        ],
    ] {
        let exec = exec(line);
        assert_eq!(exec.id.as_str(), "c1");
        assert_eq!(exec.program, Program::File(PathBuf::from("/p")), "{line:?}");
        assert_eq!(exec.console_socket.as_deref(), Some(Path::new("/s")));
        assert_eq!(exec.pid_file.as_deref(), Some(Path::new("/f")));
        assert!(exec.detach);
    }
}

#[test]
fn exec_of_people_is_read() {
    let exec = exec(&[
        "exec",
        "-t",
        "-e",
        "A=1",
        "--env=B=2=3",
        "--cwd",
        "/tmp",
        "-u",
        "1:2",
        "-g",
        "3",
        "-g",
        "4",
        "-c",
        "CAP_KILL",
        "--apparmor",
        "p",
        "--process-label",
        "l",
        "--no-new-privs",
        "--cgroup",
        "sub",
        "--ignore-paused",
        "--preserve-fds=1",
        "c1",
        "ls",
        "-ls",
        "--",
        "--help",
    ]);
    assert_eq!(
        exec.program,
        Program::Words(["ls", "-ls", "--", "--help"].map(str::to_owned).to_vec())
    );
    let changes = &exec.changes;
    assert_eq!(changes.tty, Some(true));
    assert_eq!(changes.env, ["A=1", "B=2=3"]);
    assert_eq!(changes.cwd.as_deref(), Some("/tmp"));
    assert_eq!(
        changes.user,
        Some(User {
            uid: 1,
            gid: Some(2)
        })
    );
    assert_eq!(changes.additional_gids, [3, 4]);
    assert_eq!(changes.capabilities, ["CAP_KILL"]);
    assert_eq!(changes.apparmor.as_deref(), Some("p"));
    assert_eq!(changes.process_label.as_deref(), Some("l"));
    assert_eq!(changes.no_new_privs, Some(true));
    assert_eq!(exec.cgroups, ["sub"]);
    assert!(exec.ignore_paused && !exec.detach);
    assert_eq!(exec.preserve_fds, 1);
}

#[test]
fn exec_refuses_what_it_would_have_to_guess() {
    for (line, want) in [
        (
            &["exec", "-u", "1x", "c1", "sh"][..],
            "read option --user: \"1x\" is not UID or UID:GID in numbers from 0 to 4294967294",
        ),
        (
            &["exec", "-u", "", "c1", "sh"],
            "read option --user: \"\" is not UID or UID:GID in numbers from 0 to 4294967294",
        ),
        (
            &["exec", "-g", "-1", "c1", "sh"],
            "read option --additional-gids: \"-1\" is not a number from 0 to 4294967294",
        ),
        (
            &["exec", "c1"],
            "read command (or --process FILE): it is missing",
        ),
        (
            &["exec", "-p", "/p", "c1", "sh"],
            "read arguments: \"sh\" is one too many",
        ),
        (&["exec"], "read container id: it is missing"),
        (
            &["exec", "-it", "c1", "sh"],
            "read option \"-it\": flag provided but not defined",
        ),
    ] {
        assert_eq!(failure(line), want, "{line:?}");
    }
}

#[test]
fn run_takes_options_before_the_id_only() {
    let Command::Run(run) = command(&["run", "-d", "--keep", "-no-subreaper", "-b", "/b", "c1"])
    else {
        panic!()
    };
    assert!(run.detach && run.keep);
    assert_eq!(run.launch.bundle, Path::new("/b"));
    assert_eq!(
        failure(&["run", "c1", "--keep"]),
        "read arguments: \"--keep\" is one too many"
    );
    let Command::Run(run) = command(&["run", "c1"]) else {
        panic!()
    };
    assert_eq!(run.launch.bundle, Path::new("."));
}

#[test]
fn ps_hands_on_what_stands_behind_the_id() {
    let Command::Ps(ps) = command(&["ps", "--format", "json", "c1"]) else {
        panic!()
    };
    assert_eq!((ps.format, ps.options.len()), (Format::Json, 0));
    let Command::Ps(ps) = command(&["ps", "--format", "table", "c1", "-eo pid,comm", "-f"]) else {
        panic!()
    };
    assert_eq!(ps.options, ["-eo pid,comm", "-f"]);
    assert_eq!(
        failure(&["ps", "--format", "yaml", "c1"]),
        "read option --format: \"yaml\" is not table or json"
    );
}

#[test]
fn update_of_engines_names_a_file() {
    for (line, want) in [
        (&["update", "--resources=-", "c1"][..], "-"),
        (&["update", "--resources", "-", "c1"], "-"),
        (
            &["update", "--resources=/var/tmp/podman1", "c1"],
            "/var/tmp/podman1",
        ),
        (&["update", "-r", "/x", "c1"], "/x"),
    ] {
        let Command::Update(update) = command(line) else {
            panic!("{line:?}")
        };
        assert_eq!(update.limits, Limits::File(PathBuf::from(want)), "{line:?}");
        assert_eq!(update.id.as_str(), "c1");
    }
}

#[test]
fn update_of_people_names_limits() {
    let Command::Update(update) = command(&[
        "update",
        "--memory",
        "64m",
        "--memory-swap",
        "-1",
        "--memory-reservation",
        "1k",
        "--cpu-quota",
        "-1",
        "--cpu-period",
        "100000",
        "--cpu-shares",
        "512",
        "--cpu-burst",
        "5",
        "--cpu-idle",
        "1",
        "--cpu-rt-period",
        "6",
        "--cpu-rt-runtime",
        "7",
        "--cpuset-cpus",
        "0-1",
        "--cpuset-mems",
        "0",
        "--blkio-weight",
        "300",
        "--pids-limit",
        "9",
        "--l3-cache-schema",
        "L3:0=f",
        "--mem-bw-schema",
        "MB:0=70",
        "c1",
    ]) else {
        panic!()
    };
    let Limits::Options(resources) = &update.limits else {
        panic!("{update:?}")
    };
    let memory = resources.memory().unwrap();
    assert_eq!(memory.limit(), Some(64 << 20));
    assert_eq!(memory.swap(), Some(-1));
    assert_eq!(memory.reservation(), Some(1024));
    let cpu = resources.cpu().as_ref().unwrap();
    assert_eq!(cpu.quota(), Some(-1));
    assert_eq!(cpu.period(), Some(100_000));
    assert_eq!(cpu.shares(), Some(512));
    assert_eq!(cpu.burst(), Some(5));
    assert_eq!(cpu.idle(), Some(1));
    assert_eq!(cpu.realtime_period(), Some(6));
    assert_eq!(cpu.realtime_runtime(), Some(7));
    assert_eq!(cpu.cpus().as_deref(), Some("0-1"));
    assert_eq!(cpu.mems().as_deref(), Some("0"));
    assert_eq!(resources.block_io().as_ref().unwrap().weight(), Some(300));
    assert_eq!(resources.pids().unwrap().limit(), 9);
    assert_eq!(update.l3_cache_schema.as_deref(), Some("L3:0=f"));
    assert_eq!(update.mem_bw_schema.as_deref(), Some("MB:0=70"));
}

#[test]
fn update_leaves_what_is_not_named() {
    let Command::Update(update) = command(&["update", "--pids-limit", "5", "c1"]) else {
        panic!()
    };
    let Limits::Options(resources) = update.limits else {
        panic!()
    };
    assert_eq!(resources.memory(), &None);
    assert_eq!(resources.cpu(), &None);
    assert_eq!(
        failure(&["update", "--memory", "lots", "c1"]),
        "read option --memory: \"lots\" is not an amount such as 67108864 or 64m, or -1 for no limit"
    );
    assert_eq!(
        failure(&["update", "--cpu-period", "-5", "c1"]),
        "read option --cpu-period: \"-5\" is not a number in range"
    );
}

#[test]
fn events_reads_its_interval() {
    for (line, want) in [
        (&["events", "c1"][..], Some(Duration::from_secs(5))),
        (
            &["events", "--interval=1m", "c1"],
            Some(Duration::from_secs(60)),
        ),
        (&["events", "--stats", "c1"], None),
        (&["events", "--stats", "--interval", "2s", "c1"], None),
    ] {
        let Command::Events(events) = command(line) else {
            panic!("{line:?}")
        };
        assert_eq!(events.interval, want, "{line:?}");
    }
    assert_eq!(
        failure(&["events", "--interval", "0s", "c1"]),
        "read option --interval: \"0s\" is not a time such as 5s"
    );
}

#[test]
fn checkpoint_and_restore_of_engines_are_read() {
    command(&[
        "checkpoint",
        "--image-path",
        "/i",
        "--work-path",
        "/w",
        "--parent-path",
        "../x",
        "--leave-running",
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--pre-dump",
        "--lazy-pages",
        "--status-fd",
        "5",
        "--page-server",
        "h:1",
        "--manage-cgroups-mode",
        "soft",
        "--empty-ns",
        "network",
        "c1",
    ]);
    command(&[
        "restore",
        "--image-path",
        "/i",
        "--work-path",
        "/w",
        "--detach",
        "--pid-file",
        "/p",
        "-no-subreaper",
        "--bundle",
        "/b",
        "--console-socket",
        "/s",
        "--no-pivot",
        "--tcp-close",
        "--file-locks",
        "--lsm-profile=selinux:x",
        "--lsm-mount-context=x",
        "c1",
    ]);
}

#[test]
fn global_options_have_defaults_and_refuse_what_they_do_not_know() {
    let (global, _) = read(&["features"]).unwrap();
    assert_eq!(
        global,
        Global {
            root: None,
            log: None,
            log_format: LogFormat::Text,
            log_level: Level::Info,
            cgroup_manager: CgroupManager::Cgroupfs,
            rootless: Rootless::Auto,
            profile: None,
            wants_version: false,
        }
    );
    for (line, want) in [
        (
            &["--log-format", "xml", "features"][..],
            "read option --log-format: \"xml\" is not text or json",
        ),
        (
            &["--log-level", "loud", "features"],
            "read option --log-level: \"loud\" is not trace, debug, info, warn, error, fatal or panic",
        ),
        (
            &["--rootless", "maybe", "features"],
            "read option --rootless: \"maybe\" is not true, false or auto",
        ),
        (
            &["--cgroup-manager", "docker", "features"],
            "read option --cgroup-manager: \"docker\" is not cgroupfs, systemd or disabled",
        ),
        (
            &[
                "--systemd-cgroup",
                "--cgroup-manager",
                "disabled",
                "features",
            ],
            "read option --systemd-cgroup: it excludes another --cgroup-manager",
        ),
        (
            &["--nope", "features"],
            "read option \"--nope\": flag provided but not defined",
        ),
        (&["--root"], "read option --root: flag needs an argument"),
        (
            &["--debug=perhaps", "features"],
            "read option --debug: \"perhaps\" is not true or false",
        ),
    ] {
        assert_eq!(failure(line), want, "{line:?}");
    }
}

#[test]
fn global_options_are_read_in_every_spelling() {
    for (line, level, manager, rootless) in [
        (
            &[
                "-debug",
                "-cgroup-manager=disabled",
                "--rootless=true",
                "features",
            ][..],
            Level::Debug,
            CgroupManager::Disabled,
            Rootless::Yes,
        ),
        (
            &[
                "--log-level=warn",
                "--cgroup-manager",
                "systemd",
                "--rootless",
                "false",
                "features",
            ],
            Level::Warning,
            CgroupManager::Systemd,
            Rootless::No,
        ),
        (
            &["--systemd-cgroup=false", "--log-level", "error", "features"],
            Level::Error,
            CgroupManager::Cgroupfs,
            Rootless::Auto,
        ),
    ] {
        let (global, _) = read(line).unwrap();
        assert_eq!(
            (global.log_level, global.cgroup_manager, global.rootless),
            (level, manager, rootless),
            "{line:?}"
        );
    }
}

#[test]
fn the_last_of_two_values_counts() {
    let Command::Create(create) = command(&["create", "-b", "/a", "--bundle=/b", "c1"]) else {
        panic!()
    };
    assert_eq!(create.launch.bundle, Path::new("/b"));
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(
        exec(&["exec", "--", "c1", "-x"]).program,
        Program::Words(vec!["-x".to_owned()])
    );
    assert_eq!(
        failure(&["state", "--", "-x", "y"]),
        "read arguments: \"y\" is one too many"
    );
    // An id may begin with a dash, if that is made clear.
    let Command::State(state) = command(&["state", "--", "-x"]) else {
        panic!()
    };
    assert_eq!(state.id.as_str(), "-x");
}

#[test]
fn container_ids_are_checked_before_anything_is_done() {
    assert_eq!(
        failure(&["delete", "../x"]),
        "use \"../x\" as container id: character '/' is not accepted"
    );
    assert_eq!(
        failure(&["state", ""]),
        "use \"\" as container id: it is empty"
    );
    assert_eq!(failure(&["state"]), "read container id: it is missing");
}

#[test]
fn arguments_that_are_not_text_do_not_pass_for_something_else() {
    use std::os::unix::ffi::OsStringExt as _;

    let odd = OsString::from_vec(b"a\xff".to_vec());
    let err = Verb::Exec
        .read([OsString::from("c1"), odd.clone()])
        .unwrap_err();
    assert_eq!(err.to_string(), "read command: \"a\u{fffd}\" is not UTF-8");
    let err = Verb::State.read([odd]).unwrap_err();
    assert_eq!(
        err.to_string(),
        "use \"a\u{fffd}\" as container id: character '\u{fffd}' is not accepted"
    );
    // A path may have any bytes.
    let path = OsString::from_vec(b"/b\xff".to_vec());
    let Command::Create(create) = Verb::Create
        .read([OsString::from("-b"), path.clone(), OsString::from("c1")])
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(create.launch.bundle, PathBuf::from(path));
}

#[test]
fn every_option_of_every_verb_is_read_from_its_table() {
    for verb in Verb::ALL {
        for flag in verb.page().flags {
            for name in flag.names {
                let line = match flag.takes {
                    Takes::Nothing => os(&[&format!("--{name}")]),
                    Takes::Value(_) => os(&[&format!("--{name}"), "1"]),
                };
                let given = split(line, verb.page().flags, verb.page().order).unwrap();
                assert_eq!(given.options.len(), 1, "{verb:?} {name}");
                assert_eq!(given.options[0].0, flag.names[0], "{verb:?} {name}");
            }
        }
    }
}
