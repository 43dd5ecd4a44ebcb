//! Programs started in a running container.

use std::process::Command;

use super::security::{all_capabilities_or_skip, assert_all_capabilities};
use crate::Outcome;
use crate::command::{LIMIT, output, output_of};
use crate::engine::Engine;

/// Output and exit status of an exec are the program's.
pub fn exec_output_and_status(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let out = container.exec_sh("echo out; echo err >&2; exit 9");
    assert_eq!(out.status, 9, "{out}");
    assert_eq!(
        (out.stdout.trim(), out.stderr.trim()),
        ("out", "err"),
        "{out}"
    );
    Ok(())
}

/// Failing to start is 126 or 127, a signal 128 more than its number; the container lives on.
pub fn exec_exit_statuses(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    // Docker before 23 has 126 for a missing program as well.
    for (program, statuses, why) in [
        (
            "no-such-program",
            126..=127,
            "executable file not found in $PATH",
        ),
        ("/no/such/program", 126..=127, "no such file or directory"),
        ("/bin/not-executable", 126..=126, "permission denied"),
    ] {
        let out = container.exec(&[], &[program]);
        assert!(statuses.contains(&out.status), "{out}");
        let said = format!("{}{}", out.stdout, out.stderr).to_lowercase();
        assert!(said.contains(&why.to_lowercase()), "no {why:?}: {out}");
    }
    for (signal, status) in [("TERM", 143), ("KILL", 137)] {
        let out = container.exec_sh(&format!("kill -{signal} $$"));
        assert_eq!(out.status, status, "{out}");
    }
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
    Ok(())
}

/// `exec -i` hands its standard input to the program.
pub fn exec_passes_standard_input(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let command = engine.command(&["exec", "-i", &container.name, "md5sum"]);
    let out = output_of(command, &[b'x'; 100_000], LIMIT);
    let here = output_of(Command::new("md5sum"), &[b'x'; 100_000], LIMIT);
    assert_eq!(out.ok(), here.ok(), "{out}");
    Ok(())
}

/// `exec -u` by name, by number and with a group, with the groups that the image gives the user.
pub fn exec_as_another_user(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    for (user, want) in [
        ("user", "1000 1000 1000 2000"),
        ("1000", "1000 1000 1000 2000"),
        ("1000:2000", "1000 2000 2000"),
        ("4321", "4321 0 0"),
    ] {
        let script = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\n' | sort -n)";
        let out = container.exec(&["-u", user], &["sh", "-c", script]);
        assert_eq!(out.ok(), want, "-u {user}: {out}");
    }
    Ok(())
}

/// A user other than root has no capabilities in an exec, root has those of the container.
pub fn exec_capabilities_follow_the_user(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--cap-drop=ALL", "--cap-add=CHOWN"]);
    let sets = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | awk '{printf \"%s \", $2}'";
    let zero = "0000000000000000";
    let chown = "0000000000000001";
    let root = container.exec_sh(sets);
    assert_eq!(
        root.ok(),
        format!("{zero} {chown} {chown} {chown} {zero}"),
        "{root}"
    );
    let user = container.exec(&["-u", "1000"], &["sh", "-c", sets]);
    assert_eq!(
        user.ok(),
        format!("{zero} {zero} {zero} {chown} {zero}"),
        "{user}"
    );
    Ok(())
}

/// `exec -w` sets the working directory.
pub fn exec_in_a_directory(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["-w", "/tmp"]);
    assert_eq!(container.exec(&[], &["pwd"]).ok(), "/tmp");
    assert_eq!(
        container.exec(&["-w", "/home/user"], &["pwd"]).ok(),
        "/home/user"
    );
    let missing = container.exec(&["-w", "/no/such/directory"], &["pwd"]);
    assert_ne!(missing.status, 0, "{missing}");
    Ok(())
}

/// `exec -e` adds to the environment of the container.
pub fn exec_with_environment(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["-e", "ONE=container", "-e", "TWO=container"]);
    let out = container.exec(&["-e", "TWO=exec", "-e", "SPACE=a b"], &["env"]);
    for line in ["ONE=container", "TWO=exec", "SPACE=a b", "HOME=/root"] {
        assert!(
            out.ok().lines().any(|l| l == line),
            "{line} is missing: {out}"
        );
    }
    Ok(())
}

/// An exec is in the container's namespaces and cgroups.
pub fn exec_joins_namespaces_and_cgroups(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let script = |pid: &str| {
        format!(
            "for n in cgroup ipc mnt net pid uts; do readlink /proc/{pid}/ns/$n; done; cat /proc/{pid}/cgroup"
        )
    };
    let first = container.exec_sh(&script("1"));
    let exec = container.exec_sh(&script("self"));
    assert_eq!(exec.ok(), first.ok());
    Ok(())
}

/// An exec has the limits, filter and privileges of the container's first process.
pub fn exec_inherits_restrictions(engine: &Engine) -> Outcome {
    let options = [
        "--ulimit=nofile=200:200",
        "--ulimit=core=0:0",
        "--security-opt=no-new-privileges",
        "--cap-drop=MKNOD",
        "--oom-score-adj=500",
    ];
    let container = engine.sleeper(&options);
    let script = |pid: &str| {
        format!(
            "grep -E '^(CapBnd|CapEff|CapInh|CapAmb|NoNewPrivs|Seccomp|Groups):' /proc/{pid}/status;
             cat /proc/{pid}/oom_score_adj; cat /proc/{pid}/limits"
        )
    };
    let first = container.exec_sh(&script("1"));
    let exec = container.exec_sh(&script("$$"));
    assert_eq!(exec.ok(), first.ok());
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "500"] {
        assert!(
            exec.stdout.lines().any(|l| l == line),
            "{line:?} is missing: {exec}"
        );
    }
    Ok(())
}

/// `exec -d` returns at once and the program runs on.
pub fn exec_detached(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    container
        .exec(&["-d"], &["sh", "-c", "echo $$ >/tmp/pid; exec sleep 1003"])
        .ok();
    let script =
        "until [ -s /tmp/pid ]; do sleep 0.05; done; tr '\\0' ' ' </proc/$(cat /tmp/pid)/cmdline";
    let wait_for_name =
        format!("{script}; until grep -q sleep /proc/$(cat /tmp/pid)/comm; do sleep 0.05; done");
    container.exec_sh(&wait_for_name).ok();
    let out = container.exec_sh(script);
    assert_eq!(out.ok(), "sleep 1003", "{out}");
    Ok(())
}

/// `exec --privileged` gives all capabilities of the machine to this one program.
pub fn exec_privileged(engine: &Engine) -> Outcome {
    all_capabilities_or_skip()?;
    let container = engine.sleeper(&[]);
    let plain = container.exec_sh("grep CapEff /proc/self/status");
    let out = container.exec(&["--privileged"], &["grep", "CapEff", "/proc/self/status"]);
    assert_ne!(plain.ok(), out.ok());
    assert_all_capabilities(out.ok().rsplit('\t').next().unwrap_or_default());
    Ok(())
}

/// Twenty execs at once all come back with their own output.
pub fn exec_many_at_once(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let one = |n: usize| container.exec_sh(&format!("echo {n}; exit {n}"));
        let running: Vec<_> = (0..20).map(|n| scope.spawn(move || one(n))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("an exec thread"))
            .collect()
    });
    for (n, out) in outputs.iter().enumerate() {
        assert_eq!(
            (out.stdout.trim(), out.status),
            (n.to_string().as_str(), i32::try_from(n).unwrap_or(-1)),
            "{out}"
        );
    }
    let left = output(engine.command(&["top", &container.name]));
    assert_eq!(
        left.ok().lines().count(),
        2,
        "only the first process is left: {left}"
    );
    Ok(())
}
