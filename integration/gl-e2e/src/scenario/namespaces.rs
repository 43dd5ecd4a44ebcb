//! Namespaces: own ones, the host's, another container's.

use crate::Outcome;
use crate::engine::{Container, Engine};
use crate::kernel::namespace;

#[track_caller]
fn of(container: &Container<'_>, kind: &str) -> String {
    namespace(&container.pid().to_string(), kind)
}

/// Without options a container shares no namespace with the host but the user's and the clock's.
pub fn namespaces_are_own_by_default(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&[]);
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        assert_ne!(of(&container, kind), namespace("self", kind), "{kind}");
    }
    let other = engine.sleeper(&[]);
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        assert_ne!(of(&container, kind), of(&other, kind), "{kind}");
    }
    Ok(())
}

/// `--network none` has a loopback device and nothing else.
pub fn network_none_has_only_loopback(engine: &Engine) -> Outcome {
    let script = "ls /sys/class/net; ip route; ping -c1 -W1 127.0.0.1 >/dev/null && echo pong";
    // Podman 5 does not give the capability that busybox's ping needs.
    let out = engine.sh(&["--network=none", "--cap-add=NET_RAW"], script);
    assert_eq!(out.ok(), "lo\npong", "{out}");
    Ok(())
}

/// `--network host` is the engine's own network.
pub fn network_host_is_the_hosts(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--network=host"]);
    assert_eq!(of(&container, "net"), namespace("self", "net"));
    assert_ne!(of(&container, "mnt"), namespace("self", "mnt"));
    let exec = container.exec(&[], &["readlink", "/proc/self/ns/net"]);
    assert_eq!(exec.ok(), namespace("self", "net"), "{exec}");
    Ok(())
}

/// `--network container:` joins the other's network: a server there answers on loopback.
pub fn network_of_another_container(engine: &Engine) -> Outcome {
    let script = "echo ready; echo hello | nc -l -p 4000";
    let server = engine.start(&[], &["sh", "-c", script]);
    server.expect_log("ready");
    let network = format!("--network=container:{}", server.name);
    let client = engine.sleeper(&[&network]);
    assert_eq!(of(&client, "net"), of(&server, "net"));
    let ask = "i=0; until nc 127.0.0.1 4000 </dev/null 2>/dev/null; do sleep 0.05; i=$((i+1)); [ $i -lt 100 ] || exit 1; done";
    let out = client.exec_sh(ask);
    assert_eq!(out.ok(), "hello", "{out}");
    Ok(())
}

/// `--pid host` shows the host's processes.
pub fn pid_host_is_the_hosts(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--pid=host"]);
    assert_eq!(of(&container, "pid"), namespace("self", "pid"));
    let me = std::process::id();
    let out = container.exec_sh(&format!("cat /proc/{me}/comm"));
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    assert_eq!(out.ok(), name.trim(), "{out}");
    Ok(())
}

/// `--pid container:` shows the other's processes, and ends with the other.
pub fn pid_of_another_container(engine: &Engine) -> Outcome {
    let first = engine.start(&[], &["sleep", "1234"]);
    let second = engine.sleeper(&[&format!("--pid=container:{}", first.name)]);
    assert_eq!(of(&second, "pid"), of(&first, "pid"));
    assert_ne!(of(&second, "mnt"), of(&first, "mnt"));
    let out = second.exec_sh("tr '\\0' ' ' </proc/1/cmdline");
    assert_eq!(out.ok(), "sleep 1234", "{out}");
    let (pid, cgroup) = (second.pid(), second.cgroup());
    first.cli(&["kill"]).ok();
    crate::kernel::assert_gone(pid);
    second.remove().ok();
    cgroup.assert_removed();
    Ok(())
}

/// `--ipc`: the host's, a private one, and another container's with its `/dev/shm`.
pub fn ipc_modes(engine: &Engine) -> Outcome {
    let host = engine.sleeper(&["--ipc=host"]);
    assert_eq!(of(&host, "ipc"), namespace("self", "ipc"));
    let private = engine.sleeper(&["--ipc=private"]);
    assert_ne!(of(&private, "ipc"), namespace("self", "ipc"));
    let owner = engine.sleeper(&["--ipc=shareable"]);
    let guest = engine.sleeper(&[&format!("--ipc=container:{}", owner.name)]);
    assert_eq!(of(&guest, "ipc"), of(&owner, "ipc"));
    owner.exec_sh("echo shared >/dev/shm/note").ok();
    assert_eq!(guest.exec(&[], &["cat", "/dev/shm/note"]).ok(), "shared");
    Ok(())
}

/// `--uts host` is the host's name space of names.
pub fn uts_host_is_the_hosts(engine: &Engine) -> Outcome {
    let container = engine.sleeper(&["--uts=host"]);
    assert_eq!(of(&container, "uts"), namespace("self", "uts"));
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    assert_eq!(container.exec(&[], &["hostname"]).ok(), here.trim());
    Ok(())
}

/// `--cgroupns`: with an own one the container sees itself at the root of the hierarchy.
pub fn cgroup_namespace_modes(engine: &Engine) -> Outcome {
    let private = engine.sleeper(&["--cgroupns=private"]);
    assert_ne!(of(&private, "cgroup"), namespace("self", "cgroup"));
    let seen = private.exec_sh("grep -E ':(pids|):|^0::' /proc/1/cgroup | head -1 | cut -d: -f3");
    assert_eq!(seen.ok(), "/", "{seen}");
    let host = engine.sleeper(&["--cgroupns=host"]);
    assert_eq!(of(&host, "cgroup"), namespace("self", "cgroup"));
    Ok(())
}

/// `--sysctl` sets a key of the container's own namespaces; one of the host's is refused.
pub fn sysctl_is_set_in_the_container(engine: &Engine) -> Outcome {
    let keys = [
        ("net.ipv4.ip_unprivileged_port_start", "77"),
        ("net.ipv4.ip_default_ttl", "33"),
        ("kernel.shm_rmid_forced", "1"),
        ("kernel.msgmax", "7777"),
    ];
    let options: Vec<String> = keys
        .iter()
        .map(|(k, v)| format!("--sysctl={k}={v}"))
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let script = keys
        .map(|(key, _)| format!("cat /proc/sys/{}", key.replace('.', "/")))
        .join("; ");
    let out = engine.sh(&options, &script);
    assert_eq!(out.ok(), keys.map(|(_, value)| value).join("\n"), "{out}");

    let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap_or_default();
    let out = engine.run(&["--sysctl=kernel.panic=77"], &["true"]);
    assert!(out.refused().contains("kernel.panic"), "{out}");
    let after = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap_or_default();
    assert_eq!(before, after, "kernel.panic of the machine");
    Ok(())
}

/// Two containers on a bridge network of the engine reach each other, and only by that network.
pub fn bridge_network_connects_containers(engine: &Engine) -> Outcome {
    let script = "echo ready; echo hello | nc -l -p 4000";
    let server = engine.start(&["--network=bridge"], &["sh", "-c", script]);
    server.expect_log("ready");
    let address = server.inspect("{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let ask = format!(
        "i=0; until nc {address} 4000 </dev/null 2>/dev/null; do sleep 0.05; i=$((i+1)); [ $i -lt 100 ] || exit 1; done"
    );
    let out = engine.sh(&["--network=bridge"], &ask);
    assert_eq!(out.ok(), "hello", "{out}");
    let apart = engine.sh(&[], &format!("nc -w 1 {address} 4000 </dev/null"));
    assert!(apart.refused().contains("unreachable"), "{apart}");
    Ok(())
}
