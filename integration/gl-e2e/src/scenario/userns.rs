//! Containers in a user namespace: their root is nobody on the host.

use std::fs;

use crate::Outcome;
use crate::engine::{Engine, Kind, text};
use crate::kernel::{namespace, status};

/// First host id that the containers of these tests get.
pub const FIRST_ID: u32 = 200_000;

/// Options with which an engine maps the ids; Docker's daemon does it for all.
fn mapped(engine: &Engine) -> Vec<&'static str> {
    match engine.kind {
        Kind::Docker => Vec::new(),
        Kind::Podman => vec!["--uidmap=0:200000:65536", "--gidmap=0:200000:65536"],
    }
}

/// Root inside is an unprivileged user outside, with its own user namespace and maps.
pub fn userns_maps_root_to_a_user(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&mapped(engine));
    let pid = container.pid();
    let four = [FIRST_ID.to_string().as_str(); 4].join("\t");
    assert_eq!(status(pid, "Uid"), four);
    assert_eq!(status(pid, "Gid"), four);
    assert_ne!(
        namespace(&pid.to_string(), "user"),
        namespace("self", "user")
    );
    let inside = container.exec_sh("id -u; id -g; cat /proc/self/uid_map | tr -s ' ' | head -1");
    assert_eq!(inside.ok(), "0\n0\n 0 200000 65536", "{inside}");
    Ok(())
}

/// `--user` inside the namespace is shifted as well.
pub fn userns_shifts_other_users(engine: &Engine) -> Outcome {
    let options = [mapped(engine), vec!["--user=1000:1000"]].concat();
    let container = engine.sleeper(&options);
    let host = (FIRST_ID + 1000).to_string();
    assert!(status(container.pid(), "Uid").starts_with(&host));
    assert_eq!(container.exec(&[], &["id", "-u"]).ok(), "1000");
    Ok(())
}

/// What the container writes belongs to the mapped user, and the host's files stay closed to it.
pub fn userns_protects_the_hosts_files(engine: &Engine) -> Outcome {
    let dir = engine.directory();
    let (open, closed) = (dir.join("open"), dir.join("closed"));
    fs::create_dir(&open).expect("make a directory");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
    fs::write(&closed, "secret").expect("write a file");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("chmod");
    let volume = format!("{}:/data", text(&dir));
    let options = [mapped(engine), vec!["-v", &volume]].concat();
    let out = engine.sh(&options, "touch /data/open/mine; cat /data/closed");
    assert!(out.refused().contains("Permission denied"), "{out}");
    let owner = fs::metadata(open.join("mine")).map(|m| std::os::unix::fs::MetadataExt::uid(&m));
    assert_eq!(owner.ok(), Some(FIRST_ID), "owner on the host: {out}");
    Ok(())
}

/// Devices, proc, sys, `/dev/shm`, mqueue and the cgroup limits work in a user namespace too.
pub fn userns_has_a_complete_container(engine: &Engine) -> Outcome {
    let options = [
        mapped(engine),
        vec![
            "--memory=64m",
            "--read-only",
            "--tmpfs=/tmp",
            "--hostname=inside",
        ],
    ]
    .concat();
    let container = engine.sleeper(&options);
    assert_eq!(container.cgroup().memory_limit(), (64 << 20).to_string());
    let script = "echo x >/dev/null && head -c 4 /dev/zero | wc -c && echo x >/dev/shm/f && echo x >/tmp/f
        ls -d /proc/self /sys/kernel /dev/pts/ptmx && hostname; touch /x; echo 1 >/proc/sys/kernel/panic";
    let out = container.exec_sh(script);
    assert_eq!(
        out.stdout, "4\n/dev/pts/ptmx\n/proc/self\n/sys/kernel\ninside\n",
        "{out}"
    );
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        2,
        "{out}"
    );
    Ok(())
}

/// A terminal in a user namespace.
pub fn userns_has_a_terminal(engine: &Engine) -> Outcome {
    let mut terminal = engine.run_on_terminal(&[mapped(engine), vec!["--rm"]].concat(), &["sh"]);
    terminal.expect("#");
    terminal.send("stat -c 'owner=%u=' $(tty)\n");
    terminal.expect("owner=%");
    terminal.expect("owner=0=");
    terminal.send("exit 3\n");
    assert_eq!(terminal.wait(), 3);
    Ok(())
}

/// `--userns host` leaves a container in the host's user namespace.
pub fn userns_host_is_the_hosts(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--userns=host"]);
    let pid = container.pid();
    assert_eq!(
        namespace(&pid.to_string(), "user"),
        namespace("self", "user")
    );
    assert!(status(pid, "Uid").starts_with("0\t"));
    Ok(())
}
