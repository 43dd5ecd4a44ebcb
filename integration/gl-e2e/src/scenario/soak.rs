//! Many containers, and nothing left of them.

use crate::Outcome;
use crate::engine::{Container, Engine, text};
use crate::kernel::Traces;

/// Twenty containers at once, of all kinds and ended in all ways, leave no process, mount, cgroup,
/// socket or state directory behind.
pub fn twenty_containers_leave_nothing_behind(engine: &Engine) -> Outcome {
    // The first container makes what the engine keeps for all, such as the parent cgroup.
    drop(engine.sleeper(&["--memory=64m"]));
    let before = Traces::settled(&engine.scope);

    let volume = format!("{}:/data:rslave", text(&engine.directory()));
    let kinds: [&[&str]; 5] = [
        &["--memory=64m", "--pids-limit=50"],
        &["--read-only", "--tmpfs=/tmp", "--cpus=0.5"],
        &["-v", &volume, "--user=1000"],
        &[],
        &["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"],
    ];
    let containers: Vec<Container<'_>> = (0..20)
        .map(|n| {
            let options = kinds.iter().cycle().nth(n).copied().unwrap_or_default();
            engine.start(
                options,
                &[
                    "sh",
                    "-c",
                    "trap 'exit 0' TERM; sleep 1001 & while :; do sleep 0.1; done",
                ],
            )
        })
        .collect();
    for container in &containers {
        assert_eq!(
            container.exec(&[], &["echo", "alive"]).ok(),
            "alive",
            "{container}"
        );
    }
    for (n, container) in containers.iter().enumerate() {
        match n % 5 {
            0 => container.cli(&["stop", "-t", "5"]),
            1 => container.cli(&["kill"]),
            2 => container.cli(&["pause"]),
            3 => container.cli(&["restart", "-t", "0"]),
            _ => container.exec_sh("kill -TERM 1"),
        }
        .ok();
    }
    drop(containers);
    before.assert_nothing_new(&engine.scope);
    Ok(())
}

/// Containers that cannot start leave nothing behind either.
pub fn failed_starts_leave_nothing_behind(engine: &Engine) -> Outcome {
    drop(engine.sleeper(&["--memory=64m"]));
    let before = Traces::settled(&engine.scope);
    for _ in 0..5 {
        let missing = engine.run(&["--memory=64m"], &["no-such-program"]);
        assert_eq!(missing.status, 127, "{missing}");
        let denied = engine.run(&["--memory=64m"], &["/bin/not-executable"]);
        assert_eq!(denied.status, 126, "{denied}");
        let sysctl = engine.run(&["--sysctl=net.ipv4.ip_default_ttl=none"], &["true"]);
        sysctl.refused();
    }
    before.assert_nothing_new(&engine.scope);
    Ok(())
}
