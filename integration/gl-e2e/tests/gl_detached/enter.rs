//! `gl exec`.

use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::eventually;
use gl_e2e::gl::{BASIC, Dir, User};
use gl_e2e::terminal::Terminal;
use gl_e2e::{Outcome, bundle};
use serde_json::Value;

use crate::{Detaching as _, Sandbox, Who, borrowed, of_user, tiers};

/// By what a process is bound, one line each.
const BOUNDS: &str = "grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)' /proc/self/status; \
    for n in pid mnt ipc uts net cgroup user; do readlink /proc/self/ns/$n; done; \
    cat /proc/self/cgroup /proc/self/limits; cat /proc/1/comm; echo $PWD; umask; env | grep -v ^_ | sort; echo END";

fn same_bounds(who: &Who, tier: &str, options: &[&str]) -> Outcome {
    let script = format!("{BOUNDS}; sleep 1000");
    let sandbox = who.detach(&format!("bounds-{tier}"), options, &script)?;
    sandbox.says("--stdout", "END\n")?;
    let own = sandbox.gl(&["logs", "--stdout"])?;
    let entered = who.gl(&["exec", &sandbox.name, "--", "sh", "-c", BOUNDS])?;
    assert_eq!(entered.status, 0, "{entered}");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&entered.stdout), lines(&own.stdout), "{tier}");
    assert!(own.stdout.contains("CapBnd:\t0000000000000000"), "{own}");
    assert!(own.stdout.contains("Seccomp:\t2"), "{own}");
    // Landlock is not to be seen there, but felt.
    let wrote = who.gl(&["exec", &sandbox.name, "--", "sh", "-c", "echo x >/usr/x"])?;
    assert_ne!(wrote.status, 0, "{wrote}");
    Ok(())
}

pub(crate) fn exec_is_bound_as_the_program_is() -> Outcome {
    let bundle = Bundle::new();
    for (tier, options) in &tiers(&bundle) {
        if *tier != "basic" {
            same_bounds(&Who::Root, tier, &borrowed(options))?;
        }
    }
    Ok(())
}

pub(crate) fn exec_of_a_user_is_bound_as_the_program_is() -> Outcome {
    let who = Who::User(User::new("user-enter")?);
    same_bounds(&who, "namespace", &of_user("namespace"))
}

pub(crate) fn exec_has_its_own_environment_directory_and_status() -> Outcome {
    let sandbox = Who::Root.detach(
        "env",
        &["--env", "A=of-run", "--env", "B=kept"],
        "sleep 1000",
    )?;
    let script = "echo $A $B $C; pwd; cat; exit 9";
    let args = [
        "exec",
        "-e",
        "A=mine",
        "--env",
        "C",
        "--cwd",
        "/usr",
        &sandbox.name,
    ];
    let mut command = Who::Root.command(&[&args[..], &["--", "sh", "-c", script]].concat())?;
    command.env("C", "passed");
    let entered = gl_e2e::command::output(command);
    assert_eq!(entered.stdout, "mine kept passed\n/usr\n", "{entered}");
    assert_eq!(entered.status, 9, "{entered}");
    let killed = Who::Root.gl(&["exec", &sandbox.name, "--", "sh", "-c", "kill -TERM $$"])?;
    assert_eq!(killed.status, 143, "{killed}");
    let missing = Who::Root.gl(&["exec", &sandbox.name, "--", "no-such-program"])?;
    assert_eq!(missing.status, 125, "{missing}");
    assert!(missing.stderr.contains("no-such-program"), "{missing}");
    assert_eq!(sandbox.seen()?["state"], "running");
    Ok(())
}

pub(crate) fn exec_on_a_terminal_has_its_size() -> Outcome {
    let sandbox = Who::Root.detach("tty", &[], "sleep 1000")?;
    let script = "tty; stty size; echo begun; sleep 60";
    let args = ["exec", "--tty", &sandbox.name, "--", "sh", "-c", script];
    let mut terminal = Terminal::start(&Who::Root.command(&args)?);
    let seen = terminal.expect("begun");
    assert!(seen.contains("/dev/pts/"), "{seen:?}");
    assert!(seen.contains("24 80"), "{seen:?}");
    terminal.press("\u{3}");
    assert_eq!(terminal.wait(), 130);
    assert_eq!(sandbox.seen()?["state"], "running");
    Ok(())
}

pub(crate) fn exec_of_denied_calls_is_in_the_report() -> Outcome {
    let dir = Dir::new("denied");
    let file = dir.path("report.json");
    let script = "trap exit USR1; echo ready; while :; do sleep 0.05; done";
    let sandbox = Who::Root.detach("denied", &["--report", &file], script)?;
    sandbox.says("--stdout", "ready\n")?;
    let python = "import socket
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError as err: print(err.errno)";
    let entered = Who::Root.gl(&["exec", &sandbox.name, "--", "python3", "-c", python])?;
    assert_eq!(entered.ok(), "1", "{entered}");
    assert_eq!(sandbox.gl(&["kill", "-s", "USR1"])?.status, 0);
    assert_eq!(sandbox.wait()?, 0);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let denials = report["denials"].as_array().unwrap();
    let socket = denials.iter().find(|one| one["what"] == "socket");
    assert_eq!(
        socket.map(|one| &one["count"]),
        Some(&1.into()),
        "{report:#}"
    );
    Ok(())
}

pub(crate) fn exec_in_the_tier_basic_is_refused() -> Outcome {
    let sandbox = Who::Root.detach("basic", &BASIC, "sleep 1000")?;
    let refused = Who::Root.gl(&["exec", &sandbox.name, "--", "true"])?;
    assert_eq!(refused.status, 125, "{refused}");
    assert!(refused.stderr.contains("no namespaces"), "{refused}");
    assert!(refused.stderr.contains("--tier namespace"), "{refused}");
    Ok(())
}

pub(crate) fn exec_ends_with_the_sandbox() -> Outcome {
    let name = format!("{}front", bundle::tag());
    let mut child = gl_e2e::gl::started(&name, &[])?;
    let sandbox = Sandbox {
        who: &Who::Root,
        name: name.clone(),
    };
    let args = ["exec", &name, "--", "sh", "-c", "echo in; sleep 1000"];
    let (read, write) = std::io::pipe().unwrap();
    let mut command = Who::Root.command(&args)?;
    let mut entered = command.stdout(write).spawn().unwrap();
    drop(command);
    assert_eq!(bundle::kernel::read_until(&read, "in\n"), "in\n");
    assert_eq!(sandbox.gl(&["kill", "-s", "KILL"])?.status, 0);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert_eq!(entered.wait().unwrap().code(), Some(137));
    eventually("the end of all", || {
        gl_e2e::gl::left(&name).is_empty().then_some(())
    });
    Ok(())
}
