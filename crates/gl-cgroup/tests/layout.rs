//! How other hosts' mounts below `/sys/fs/cgroup` are understood.
//!
//! Each test runs itself again in a mount namespace of its own, over mounts that a script made there.
//! Only hierarchies that the host has, or controllers that it uses nowhere, are mounted, so nothing
//! changes outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "also in what tests share, a step that fails is a failed test, and a skip is said"
)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use gl_cgroup::Controller::{Blkio, Cpu, Cpuacct, Pids, Rdma};
use gl_cgroup::{Cgroup, DeviceDefault, Error, Layout, Parents, Paths, Version, resolve};
use gl_spec::{Class, Classify as _};

/// Tells the second run of a test that it is the second.
const INSIDE: &str = "GL_CGROUP_TEST_INSIDE";

/// True in the second run. In the first: does the second after `script` and passes its verdict on.
fn inside(test: &str, script: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let v1 = Layout::detect().is_ok_and(|layout| layout.version() == Version::V1);
    if !v1 || !rustix::process::geteuid().is_root() {
        println!("SKIP {test}: needs root on a host with cgroup v1");
        return false;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!("{script}\nexec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (shown(&output.stdout), shown(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(
        out.contains("1 passed"),
        "the second run did not run {test}: {out}"
    );
    false
}

fn path(test: &str) -> Paths {
    let path = format!("/greenlang-test-{}-{test}", std::process::id());
    resolve(Some(&path), "unused", || panic!("absolute")).unwrap()
}

#[test]
fn co_mounted_controllers_are_one_hierarchy() {
    let script = "
        mount -t tmpfs tmpfs /sys/fs/cgroup; cd /sys/fs/cgroup
        mkdir cpu,cpuacct blkio pids memory unified
        mount -t cgroup -o cpu cgroup cpu,cpuacct
        mount -t cgroup -o blkio cgroup blkio
        mount -t cgroup -o pids cgroup pids
        ln -s cpu,cpuacct cpu; ln -s cpu,cpuacct cpuacct; ln -s blkio rdma";
    if !inside("co_mounted_controllers_are_one_hierarchy", script) {
        return;
    }
    let layout = Layout::detect().unwrap();
    let mut seen: Vec<_> = layout
        .hierarchies()
        .iter()
        .map(|h| (h.dir.as_str(), h.controllers.as_slice()))
        .collect();
    seen.sort_unstable();
    // The directory `memory` is no mount: the controller is not to be had there.
    let want: [(&str, &[_]); 3] = [
        ("blkio", &[Blkio, Rdma]),
        ("cpu,cpuacct", &[Cpu, Cpuacct]),
        ("pids", &[Pids]),
    ];
    assert_eq!(seen, want);

    let cgroup = Cgroup::create(&layout, &path("co")).unwrap();
    let fds = cgroup.join_fds();
    let resources = serde_json::from_str(r#"{"cpu":{"shares":77}}"#).unwrap();
    let applied = cgroup.update(&resources);
    let file = format!(
        "/sys/fs/cgroup/cpuacct/greenlang-test-{}-co/cpu.shares",
        std::process::id()
    );
    let shares = fs::read_to_string(file);
    cgroup
        .remove(Parents::Remove, Duration::from_secs(10))
        .unwrap();
    applied.unwrap();
    assert_eq!(fds.unwrap().len(), 3);
    assert_eq!(shares.unwrap(), "77\n");
}

#[test]
fn v2_is_told_and_a_limit_without_its_controller_refused_by_name() {
    let script = "umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup";
    let test = "v2_is_told_and_a_limit_without_its_controller_refused_by_name";
    if !inside(test, script) {
        return;
    }
    let layout = Layout::detect().unwrap();
    assert_eq!(layout.version(), Version::V2);
    let cgroup = Cgroup::create(&layout, &path("v2")).unwrap();
    // A host with v1 has this controller there.
    let resources = serde_json::from_str(r#"{"pids":{"limit":77}}"#).unwrap();
    let applied = cgroup.update(&resources);
    cgroup
        .remove(Parents::Remove, Duration::from_secs(10))
        .unwrap();
    let err = applied.unwrap_err();
    assert_eq!(
        err.to_string(),
        "set linux.resources.pids.limit: this host has no pids controller (pids.max)"
    );
    assert_eq!(err.class(), Class::Unsupported);
}

#[test]
fn a_place_without_cgroups_is_an_error() {
    for (name, script, want) in [
        (
            "a_place_without_cgroups_is_an_error",
            "mount -t tmpfs tmpfs /sys/fs/cgroup",
            "find cgroups at /sys/fs/cgroup: filesystem type 0x1021994 holds none",
        ),
        (
            "a_place_without_cgroups_is_an_error",
            "mount -t proc proc /sys/fs/cgroup",
            "find cgroups at /sys/fs/cgroup: filesystem type 0x9fa0 holds none",
        ),
    ] {
        let script = format!("{script}; export GL_CGROUP_TEST_WANT='{want}'");
        if inside(name, &script) {
            let want = std::env::var("GL_CGROUP_TEST_WANT").unwrap();
            assert_eq!(Layout::detect().unwrap_err().to_string(), want);
            return;
        }
    }
}

#[test]
fn a_read_only_mount_is_said_to_be_denied() {
    let script = "for dir in /sys/fs/cgroup/*; do mount -o remount,bind,ro $dir; done";
    if !inside("a_read_only_mount_is_said_to_be_denied", script) {
        return;
    }
    let layout = Layout::detect().unwrap();
    let err = Cgroup::create(&layout, &path("ro")).unwrap_err();
    assert!(matches!(err, Error::Make { .. }), "{err:?}");
    assert_eq!(err.class(), Class::Denied);
    assert_eq!(
        err.hint().as_deref(),
        Some(
            "cgroups are made as root and on a writable /sys/fs/cgroup; without root use --systemd-cgroup, or set linux.cgroupsPath below a cgroup that is delegated to you"
        )
    );
}

#[test]
fn network_class_and_priorities_are_set() {
    let test = "network_class_and_priorities_are_set";
    let unused = fs::read_to_string("/proc/cgroups").unwrap();
    let is_unused = |name| unused.contains(&format!("\n{name}\t0\t"));
    if !is_unused("net_cls") || !is_unused("net_prio") {
        println!("SKIP {test}: needs net_cls and net_prio, and nobody who uses them");
        return;
    }
    let script = "
        mount -t tmpfs tmpfs /sys/fs/cgroup; cd /sys/fs/cgroup
        mkdir net_cls,net_prio
        mount -t cgroup -o net_cls,net_prio cgroup net_cls,net_prio
        ln -s net_cls,net_prio net_cls; ln -s net_cls,net_prio net_prio";
    if !inside(test, script) {
        return;
    }
    let layout = Layout::detect().unwrap();
    let cgroup = Cgroup::create(&layout, &path("net")).unwrap();
    let apply = |json| {
        let resources = serde_json::from_str(json).unwrap();
        cgroup.apply(&resources, DeviceDefault::Keep)
    };
    let applied =
        apply(r#"{"network":{"classID":1048577,"priorities":[{"name":"lo","priority":3}]}}"#);
    let read = |file| {
        let pid = std::process::id();
        fs::read_to_string(format!(
            "/sys/fs/cgroup/net_cls,net_prio/greenlang-test-{pid}-net/{file}"
        ))
    };
    let (class, priorities) = (read("net_cls.classid"), read("net_prio.ifpriomap"));
    let refused = apply(r#"{"network":{"priorities":[{"name":"no_such0","priority":3}]}}"#);
    cgroup
        .remove(Parents::Remove, Duration::from_secs(10))
        .unwrap();
    applied.unwrap();
    assert_eq!(class.unwrap(), "1048577\n");
    let priorities = priorities.unwrap();
    assert!(
        priorities.lines().any(|line| line == "lo 3"),
        "{priorities}"
    );
    let err = refused.unwrap_err();
    assert_eq!(
        err.field().as_deref(),
        Some("linux.resources.network.priorities[0]")
    );
    assert_eq!(err.class(), Class::NotFound, "{err}");
}
