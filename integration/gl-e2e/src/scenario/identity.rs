//! Users, groups, environment and names.

use crate::engine::{Engine, Kind};
use crate::{Outcome, kernel};

/// `--user` by name and by number sets ids, groups and HOME; the kernel agrees.
pub fn user_sets_all_ids(engine: &Engine) -> Outcome {
    for (user, uids, gids) in [
        ("user", "1000", "1000"),
        ("1000:2000", "1000", "2000"),
        ("4321:4322", "4321", "4322"),
    ] {
        let container = engine.sleeper(&["--user", user]);
        let pid = container.pid();
        let four = |id: &str| [id; 4].join("\t");
        assert_eq!(kernel::status(pid, "Uid"), four(uids), "--user {user}");
        assert_eq!(kernel::status(pid, "Gid"), four(gids), "--user {user}");
        assert_eq!(
            kernel::status(pid, "CapEff"),
            "0000000000000000",
            "--user {user}"
        );
    }
    let home = engine.sh(
        &["--user", "user"],
        "echo $HOME; touch /home/user/mine && echo writable",
    );
    assert_eq!(home.ok(), "/home/user\nwritable", "{home}");
    Ok(())
}

/// A user that the image does not know is refused.
pub fn unknown_user_is_refused(engine: &Engine) -> Outcome {
    let out = engine.run(&["--user", "no-such-user"], &["true"]);
    assert!(out.refused().contains("no-such-user"), "{out}");
    Ok(())
}

/// `--group-add` adds supplementary groups, by name and by number.
pub fn group_add_adds_groups(engine: &Engine) -> Outcome {
    let options = ["--user=1000", "--group-add=extra", "--group-add=3456"];
    let container = engine.sleeper(&options);
    let groups = kernel::status(container.pid(), "Groups");
    for group in ["2000", "3456"] {
        assert!(
            groups.split(' ').any(|g| g == group),
            "no group {group} in {groups:?}"
        );
    }
    let out = container.exec(&[], &["id", "-G"]);
    for group in ["2000", "3456"] {
        assert!(
            out.ok().split(' ').any(|g| g == group),
            "no group {group}: {out}"
        );
    }
    Ok(())
}

/// `--hostname` is what the kernel says inside, in a namespace of its own.
pub fn hostname_is_set_inside_only(engine: &Engine) -> Outcome {
    let here = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let before = here();
    let out = engine.sh(
        &["--hostname=gl-box-host"],
        "hostname; cat /proc/sys/kernel/hostname",
    );
    assert_eq!(out.ok(), "gl-box-host\ngl-box-host", "{out}");
    assert_eq!(here(), before, "the machine's own name");
    Ok(())
}

/// `--domainname`, which only Docker has, is set in the kernel.
pub fn domainname_is_set(engine: &Engine) -> Outcome {
    let out = engine.sh(
        &["--domainname=gl.example"],
        "cat /proc/sys/kernel/domainname",
    );
    assert_eq!(out.ok(), "gl.example", "{out}");
    Ok(())
}

/// `-e` and `-w` reach the program, which finds itself in the directory.
pub fn environment_and_directory(engine: &Engine) -> Outcome {
    let options = ["-e", "KEY=a value", "-w", "/home/user"];
    let out = engine.sh(&options, "echo $KEY; pwd; stat -c %u:%a .");
    assert_eq!(out.ok(), "a value\n/home/user\n1000:755", "{out}");
    Ok(())
}

/// A working directory that the image lacks is made by Docker.
pub fn missing_directory_is_made(engine: &Engine) -> Outcome {
    let out = engine.sh(&["-w", "/made/for/this"], "pwd; stat -c %u:%a .");
    assert_eq!(out.ok(), "/made/for/this\n0:755", "{out}");
    Ok(())
}

/// `--init` puts a reaper in front of the program: orphans do not stay as zombies.
pub fn init_reaps_orphans(engine: &Engine) -> Outcome {
    let init = match engine.kind {
        Kind::Docker => vec!["--init"],
        // Debian packages Podman without the init that it looks for.
        Kind::Podman => vec!["--init", "--init-path=/usr/bin/docker-init"],
    };
    let container = engine.start(&init, &["sleep", "1000"]);
    let names = container.exec_sh("tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm");
    assert!(
        names.ok().contains("init"),
        "the first process is not an init: {names}"
    );
    assert!(names.ok().contains("-- sleep 1000"), "{names}");
    let script = "orphan=$(sh -c 'true & echo $!'); i=0
        while [ -d /proc/$orphan ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done
        ls -d /proc/$orphan 2>/dev/null || echo reaped";
    assert_eq!(container.exec_sh(script).ok(), "reaped");
    assert_eq!(container.cli(&["stop", "-t", "20"]).status, 0);
    assert_eq!(
        container.inspect("{{.State.ExitCode}}"),
        "143",
        "the init passes SIGTERM on"
    );
    Ok(())
}
