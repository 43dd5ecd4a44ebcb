//! Resource limits: the cgroup's files, and what happens to a program that goes beyond.

use serde_json::json;

use crate::command::{eventually, fail};
use crate::engine::{Engine, Kind, docker};
use crate::{Outcome, kernel};

/// `--memory` is the limit of the cgroup, and of the exec's as well.
pub fn memory_limit_is_in_the_cgroup(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--memory=48m", "--memory-reservation=24m"]);
    let cgroup = container.cgroup();
    assert_eq!(cgroup.memory_limit(), (48 << 20).to_string());
    let low = cgroup.read("memory", "memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(low, (24 << 20).to_string(), "reservation");
    Ok(())
}

/// `--pids-limit` stops a program that forks beyond it.
pub fn pids_limit_stops_forks(engine: &Engine) -> Outcome {
    let script = "i=0; while [ $i -lt 20 ]; do sleep 20 & i=$((i+1)); done; echo all";
    let out = engine.sh(&["--pids-limit=8"], script);
    assert!(
        out.stderr.contains("can't fork"),
        "forks go on beyond the limit: {out}"
    );
    let container = engine.sleeper(&["--pids-limit=8"]);
    assert_eq!(container.cgroup().pids_limit(), "8");
    let free = engine.sh(&["--pids-limit=200"], script);
    assert_eq!(free.ok(), "all", "{free}");
    Ok(())
}

/// `--cpus` is the quota of the cgroup, and a busy program is throttled by it.
pub fn cpus_throttle_a_busy_program(engine: &Engine) -> Outcome {
    let container = engine.start(&["--cpus=0.2"], &["sh", "-c", "while :; do :; done"]);
    let cgroup = container.cgroup();
    assert_eq!(cgroup.cpu_quota(), "20000 100000");
    let limit = std::time::Duration::from_secs(20);
    assert!(
        eventually(limit, || cgroup.throttled() > 0),
        "never throttled"
    );
    Ok(())
}

/// `--cpu-shares` is the weight of the cgroup.
pub fn cpu_shares_are_the_weight(engine: &Engine) -> Outcome {
    let heavy = engine.sleeper(&["--cpu-shares=2048"]).cgroup_weight();
    let light = engine.sleeper(&["--cpu-shares=256"]).cgroup_weight();
    if kernel::is_v2() {
        assert!(light < heavy, "weights {light} and {heavy}");
    } else {
        assert_eq!((light, heavy), (256, 2048));
    }
    Ok(())
}

/// `--cpuset-cpus` is the set of processors that the scheduler may use.
pub fn cpuset_restricts_processors(engine: &Engine) -> Outcome {
    let last = last_processor();
    let option = format!("--cpuset-cpus={last}");
    let container = engine.sleeper(&[&option]);
    assert_eq!(kernel::status(container.pid(), "Cpus_allowed_list"), last);
    let exec = container.exec_sh("grep Cpus_allowed_list /proc/self/status; nproc");
    assert_eq!(
        exec.ok(),
        format!("Cpus_allowed_list:\t{last}\n1"),
        "{exec}"
    );
    Ok(())
}

/// `--ulimit` sets both limits of the program and of an exec.
pub fn ulimits_are_set(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--ulimit=nofile=300:300", "--ulimit=stack=1048576:2097152"]);
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Ss; ulimit -Hs";
    let out = container.exec_sh(script);
    assert_eq!(out.ok(), "300\n300\n1024\n2048", "{out}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", container.pid()));
    let limits = limits.unwrap_or_else(|e| fail(&format!("read limits: {e}")));
    let row = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default()
            .split_whitespace()
            .rev()
            .skip(1)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row("Max open files"), "300 300", "{limits}");
    assert_eq!(row("Max stack size"), "2097152 1048576", "{limits}");
    Ok(())
}

/// `--oom-score-adj` is set on the program.
pub fn oom_score_is_set(engine: &Engine) -> Outcome {
    let out = engine.run(
        &["--oom-score-adj=700"],
        &["cat", "/proc/self/oom_score_adj"],
    );
    assert_eq!(out.ok(), "700", "{out}");
    Ok(())
}

/// `--shm-size` is the size of `/dev/shm`, and writing beyond it fails.
pub fn shm_size_is_the_size(engine: &Engine) -> Outcome {
    let script =
        "df -k /dev/shm | awk 'END{print $2}'; dd if=/dev/zero of=/dev/shm/x bs=1M count=5";
    let out = engine.sh(&["--shm-size=4m"], script);
    assert_eq!(out.stdout.trim(), "4096", "{out}");
    assert!(out.refused().contains("No space left"), "{out}");
    Ok(())
}

/// `--device-read-bps` reaches the block controller.
pub fn block_throttle_is_in_the_cgroup(engine: &Engine) -> Outcome {
    let Some((path, number)) = block_device() else {
        return Err(crate::Skip("no block device in /dev".to_owned()));
    };
    let option = format!("--device-read-bps={path}:1mb");
    let mut container = engine.sleeper(&[&option]);
    // Docker's client forgets the option in some versions (docker/cli#5321).
    let taken = container.inspect("{{len .HostConfig.BlkioDeviceReadBps}}");
    if taken == "0" && engine.kind == Kind::Docker {
        let throttle = json!([{ "Path": path, "Rate": 1 << 20 }]);
        let settings = json!({ "BlkioDeviceReadBps": throttle, "NetworkMode": "none" });
        container = docker::sleeper_by_api(engine, &settings);
    }
    let limits = container
        .cgroup()
        .read("blkio", "blkio.throttle.read_bps_device", "io.max");
    let wanted = [
        format!("{number} 1048576"),
        format!("{number} rbps=1048576"),
    ];
    assert!(
        wanted.iter().any(|w| limits.contains(w.as_str())),
        "{limits:?} has none of {wanted:?}"
    );
    Ok(())
}

/// `--cgroup-parent` is where the cgroup is made.
pub fn cgroup_parent_holds_the_container(engine: &Engine) -> Outcome {
    let parent = engine.sandbox.parent_below("own");
    let container = engine.sleeper(&["--cgroup-parent", &parent, "--memory=64m"]);
    for controller in ["memory", "pids", "cpu", "devices"] {
        let cgroup = container.cgroup();
        let dir = cgroup.dir(controller);
        let shown = dir.to_string_lossy();
        assert!(
            shown.contains(&parent),
            "{controller}: {shown} is not below {parent}"
        );
        assert!(
            shown.contains(&container.id()),
            "{controller}: {shown} is not the container's"
        );
    }
    Ok(())
}

fn last_processor() -> String {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let last = online.trim().rsplit(['-', ',']).next().unwrap_or("0");
    last.to_owned()
}

fn block_device() -> Option<(String, String)> {
    ["vda", "sda", "nvme0n1", "loop0"].iter().find_map(|name| {
        let number = std::fs::read_to_string(format!("/sys/class/block/{name}/dev")).ok()?;
        Some((format!("/dev/{name}"), number.trim().to_owned()))
    })
}

impl crate::engine::Container<'_> {
    fn cgroup_weight(&self) -> u64 {
        let weight = self.cgroup().read("cpu", "cpu.shares", "cpu.weight");
        weight.parse().unwrap_or(0)
    }
}
