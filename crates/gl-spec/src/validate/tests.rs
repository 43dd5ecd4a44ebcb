use serde_json::{Value, json};

use super::*;
use crate::{Class, Classify as _, load};

/// A config with all namespaces, changed by `edit`.
fn config(edit: impl FnOnce(&mut Value)) -> oci::Spec {
    let mut config = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [
            {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "network"}, {"type": "user"}, {"type": "time"}, {"type": "cgroup"},
        ]},
    });
    edit(&mut config);
    let text = serde_json::to_vec(&config).unwrap();
    load(&text)
        .unwrap_or_else(|e| panic!("{config}: {}", crate::chain(&e)))
        .spec
}

fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for step in pointer.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        };
    }
    *place = value;
}

/// Checks rows of (JSON pointer, value, message); an empty message stands for "accepted".
fn check(rows: &[(&str, Value, &str)]) {
    for (pointer, value, want) in rows {
        let spec = config(|config| set(config, pointer, value.clone()));
        let got = match validate(&spec) {
            Ok(_) => String::new(),
            Err(err) => {
                assert_eq!(err.class(), Class::Invalid, "{err}");
                assert_eq!(err.code(), "E_CONFIG", "{err}");
                assert!(err.field().is_some() && err.hint().is_some(), "{err}");
                err.to_string()
            }
        };
        assert_eq!(&got, want, "{pointer} = {value}");
    }
}

#[test]
fn versions_of_the_first_major_are_accepted() {
    check(&[
        ("/ociVersion", json!("1.0.0"), ""),
        ("/ociVersion", json!("1.0.2-dev"), ""),
        ("/ociVersion", json!("1.1.0-rc.2+build.1"), ""),
        ("/ociVersion", json!("1.9.0"), ""),
        (
            "/ociVersion",
            json!(""),
            "validate ociVersion: it is missing",
        ),
        (
            "/ociVersion",
            json!("2.0.0"),
            "validate ociVersion: version \"2.0.0\" is not supported",
        ),
        (
            "/ociVersion",
            json!("0.9.0"),
            "validate ociVersion: version \"0.9.0\" is not supported",
        ),
        (
            "/ociVersion",
            json!("1"),
            "validate ociVersion: \"1\" is not a version such as 1.2.0",
        ),
        (
            "/ociVersion",
            json!("1.+2.0"),
            "validate ociVersion: \"1.+2.0\" is not a version such as 1.2.0",
        ),
    ]);
    let warnings = validate(&config(|c| c["ociVersion"] = json!("1.4.0"))).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn what_every_container_needs_is_required() {
    check(&[
        ("/root", Value::Null, "validate root: it is missing"),
        ("/root/path", json!(""), "validate root.path: it is empty"),
        ("/process", Value::Null, "validate process: it is missing"),
        (
            "/process/args",
            json!([]),
            "validate process.args: it is empty",
        ),
        (
            "/process/args",
            Value::Null,
            "validate process.args: it is empty",
        ),
        (
            "/process/cwd",
            json!(""),
            "validate process.cwd: it is missing",
        ),
        (
            "/process/cwd",
            json!("tmp"),
            "validate process.cwd: \"tmp\" is not an absolute path",
        ),
        ("/linux", Value::Null, "validate linux: it is missing"),
        (
            "/linux/namespaces",
            json!([]),
            "validate root: it needs a mount namespace, and linux.namespaces has none",
        ),
    ]);
}

#[test]
fn ids_and_umask_out_of_range_are_refused() {
    const NO_ID: &str = "4294967295 is not an id: system calls take it as \"leave unchanged\"";
    check(&[
        ("/process/user/uid", json!(4_294_967_294_u32), ""),
        (
            "/process/user/uid",
            json!(u32::MAX),
            &format!("validate process.user.uid: {NO_ID}"),
        ),
        (
            "/process/user/gid",
            json!(u32::MAX),
            &format!("validate process.user.gid: {NO_ID}"),
        ),
        (
            "/process/user/additionalGids",
            json!([0, u32::MAX]),
            &format!("validate process.user.additionalGids[1]: {NO_ID}"),
        ),
        ("/process/user/umask", json!(0o777), ""),
        (
            "/process/user/umask",
            json!(0o1000),
            "validate process.user.umask: 512 is not between 0 and 511",
        ),
        (
            "/process/oomScoreAdj",
            json!(1001),
            "validate process.oomScoreAdj: 1001 is not between -1000 and 1000",
        ),
    ]);
}

#[test]
fn environment_entries_are_assignments() {
    check(&[
        ("/process/env", json!(["A=", "B==", "C=D=E", "a b=c"]), ""),
        (
            "/process/env",
            json!(["A=1", "B"]),
            "validate process.env[1]: \"B\" is not of the form NAME=value",
        ),
        (
            "/process/env",
            json!(["=1"]),
            "validate process.env[0]: \"=1\" is not of the form NAME=value",
        ),
    ]);
    let mut spec = config(|_| {});
    let process = spec.process_mut().as_mut().unwrap();
    process.set_env(Some(vec!["A=\0".to_owned()]));
    assert_eq!(
        validate(&spec).unwrap_err().to_string(),
        r#"validate process.env[0]: "A=\0" contains a NUL byte"#
    );
}

#[test]
fn rlimits_are_unique_and_ordered() {
    let limit = |typ: &str, soft: u64, hard: u64| json!({"type": typ, "soft": soft, "hard": hard});
    check(&[
        (
            "/process/rlimits",
            json!([
                limit("RLIMIT_CORE", 0, u64::MAX),
                limit("RLIMIT_NOFILE", 5, 5)
            ]),
            "",
        ),
        (
            "/process/rlimits",
            json!([
                limit("RLIMIT_NOFILE", 1, 1),
                limit("RLIMIT_CORE", 1, 1),
                limit("RLIMIT_NOFILE", 1, 1)
            ]),
            "validate process.rlimits[2].type: \"RLIMIT_NOFILE\" is given already by process.rlimits[0]",
        ),
        (
            "/process/rlimits",
            json!([limit("RLIMIT_NOFILE", 2, 1)]),
            "validate process.rlimits[0].soft: soft limit 2 is above hard limit 1",
        ),
    ]);
}

#[test]
fn scheduler_fields_fit_their_policy() {
    check(&[
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": -20}),
            "",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO", "priority": 99}),
            "",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
            "",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "validate process.scheduler.nice: 20 is not between -20 and 19",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_RR"}),
            "validate process.scheduler.priority: 0 is not between 1 and 99",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "priority": 1}),
            "validate process.scheduler.priority: \"1\" contradicts process.scheduler.policy SCHED_BATCH",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO", "priority": 1, "period": 3}),
            "validate process.scheduler.period: \"3\" contradicts process.scheduler.policy SCHED_FIFO",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "validate process.ioPriority.priority: 8 is not between 0 and 7",
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "3-1"}),
            "validate process.execCPUAffinity.initial: \"3-1\" is not a list such as 0-3,7",
        ),
    ]);
}

#[test]
fn namespaces_are_unique_and_their_paths_absolute() {
    check(&[
        (
            "/linux/namespaces/3",
            json!({"type": "pid"}),
            "validate linux.namespaces[3].type: \"pid\" is given already by linux.namespaces[1]",
        ),
        (
            "/linux/namespaces/1/path",
            json!("proc/1/ns/pid"),
            "validate linux.namespaces[1].path: \"proc/1/ns/pid\" is not an absolute path",
        ),
        ("/linux/namespaces/1/path", json!("/proc/1/ns/pid"), ""),
    ]);
}

#[test]
fn names_of_the_host_need_their_namespace() {
    for field in ["hostname", "domainname"] {
        let spec = config(|config| {
            config[field] = json!("box");
            config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        });
        assert_eq!(
            validate(&spec).unwrap_err().to_string(),
            format!("validate {field}: it needs a uts namespace, and linux.namespaces has none")
        );
    }
    check(&[
        ("/hostname", json!("box"), ""),
        (
            "/hostname",
            json!("x".repeat(65)),
            "validate hostname: 65 bytes are more than 64",
        ),
    ]);
}

#[test]
fn id_mappings_are_checked_as_the_kernel_does() {
    let map = |container: u32, host: u32, size: u32| json!({"containerID": container, "hostID": host, "size": size});
    for (mappings, want) in [
        (json!([map(0, 1000, 1), map(1, 100_000, 65_535)]), ""),
        (json!([map(0, 0, u32::MAX)]), ""),
        (
            json!([map(0, 1000, 0)]),
            "validate linux.uidMappings[0].size: 0 is not between 1 and 4294967295",
        ),
        (
            json!([map(0, 2, u32::MAX - 1)]),
            "validate linux.uidMappings[0].hostID: 4294967294 ids from 2 on end above 4294967295",
        ),
        (
            json!([map(0, 1000, 10), map(9, 5000, 1)]),
            "validate linux.uidMappings[1]: its container ids overlap with linux.uidMappings[0]",
        ),
        (
            json!([map(0, 1000, 10), map(10, 1009, 1)]),
            "validate linux.uidMappings[1]: its host ids overlap with linux.uidMappings[0]",
        ),
        (
            json!([map(1, 1000, 10)]),
            "validate process.user.uid: id 0 is not in linux.uidMappings",
        ),
    ] {
        let spec = config(|config| {
            config["linux"]["uidMappings"] = mappings.clone();
            config["linux"]["gidMappings"] = json!([map(0, 1000, 1)]);
        });
        let got = validate(&spec).map_or_else(|err| err.to_string(), |_| String::new());
        assert_eq!(got, want, "{mappings}");
    }
}

#[test]
fn id_mappings_need_their_namespace_and_each_other() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let spec = config(|config| {
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map.clone();
    });
    assert_eq!(
        validate(&spec).unwrap_err().to_string(),
        "validate linux.uidMappings: it needs a user namespace, and linux.namespaces has none"
    );
    check(&[
        (
            "/linux/uidMappings",
            map.clone(),
            "validate linux.uidMappings: it needs gidMappings beside it",
        ),
        (
            "/mounts",
            json!([{"destination": "/a", "gidMappings": map}]),
            "validate mounts[0].gidMappings: it needs uidMappings beside it",
        ),
    ]);
}

#[test]
fn additional_groups_have_to_be_mapped() {
    let spec = config(|config| {
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 5}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["process"]["user"]["additionalGids"] = json!([4, 5]);
    });
    assert_eq!(
        validate(&spec).unwrap_err().to_string(),
        "validate process.user.additionalGids[1]: id 5 is not in linux.gidMappings"
    );
}

/// A bind mount of `source` at `destination`.
fn bind(destination: &str, source: &str) -> Value {
    json!({"destination": destination, "source": source, "options": ["rbind", "ro"]})
}

fn mount(destination: &str, typ: &str) -> Value {
    json!({"destination": destination, "type": typ, "source": typ})
}

#[test]
fn procfs_and_resource_files_may_be_mounted_over_proc() {
    for mount in [
        mount("/proc", "proc"),
        mount("/proc/", "proc"),
        bind("/proc", "/proc"),
        bind("/proc/cpuinfo", "/x"),
        bind("/proc/net/dev", "/x"),
        mount("/process", "tmpfs"),
        mount("/a/proc/self", "tmpfs"),
        mount("/proc/../a", "tmpfs"),
    ] {
        let spec = config(|config| config["mounts"] = json!([mount]));
        assert_eq!(
            validate(&spec).map_err(|e| e.to_string()),
            Ok(vec![]),
            "{mount}"
        );
    }
}

#[test]
fn other_mounts_over_proc_are_refused() {
    for mount in [
        mount("/proc", "tmpfs"),
        mount("/proc", ""),
        bind("/proc", "/vol/proc"),
        json!({"destination": "/proc", "type": "proc", "source": "/vol", "options": ["rbind"]}),
        mount("/proc/self/attr", "tmpfs"),
        bind("/proc/1", "/x"),
        mount("/proc/cpuinfo", "tmpfs"),
        bind("/proc/cpuinfo/x", "/x"),
        mount("/a/../proc/self", "tmpfs"),
        mount("//proc//./sys", "tmpfs"),
        mount("../proc/sys", "tmpfs"),
        mount("proc", "tmpfs"),
    ] {
        let spec = config(|config| config["mounts"] = json!([mount]));
        let destination = mount["destination"].as_str().unwrap();
        assert_eq!(
            validate(&spec).unwrap_err().to_string(),
            format!(
                "validate mounts[0].destination: a mount at {destination:?} would cover part of /proc"
            ),
            "{mount}"
        );
    }
}

#[test]
fn relative_mount_destinations_are_taken_from_the_root_with_a_warning() {
    let spec = config(|config| config["mounts"] = json!([{"destination": "tmp", "type": "tmpfs"}]));
    let warnings = validate(&spec).unwrap();
    assert_eq!(
        warnings[0].to_string(),
        "mounts[0].destination: \"tmp\" is not an absolute path: taken as from / on"
    );
    check(&[(
        "/mounts",
        json!([{"destination": "/a"}, {"destination": ""}]),
        "validate mounts[1].destination: it is empty",
    )]);
}

#[test]
fn sysctls_are_those_of_a_namespace() {
    for key in [
        "net.ipv4.ip_forward",
        "net/ipv4/ip_forward",
        "net.ipv4.conf.eth0/100.forwarding",
        "kernel.shmmax",
        "kernel/shmmax",
        "kernel.sem",
        "kernel.shm_rmid_forced",
        "fs.mqueue.msg_max",
        "kernel.domainname",
    ] {
        let spec = config(|config| config["linux"]["sysctl"] = json!({key: "1"}));
        assert_eq!(
            validate(&spec).map_err(|e| e.to_string()),
            Ok(vec![]),
            "{key}"
        );
    }
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "vm.swappiness",
        "kernel.shmsomething",
        "kernel.sem.x",
        "fs.mqueue",
        "net",
        "netx.y",
        "fs.file-max",
    ] {
        let spec = config(|config| config["linux"]["sysctl"] = json!({key: "1"}));
        assert_eq!(
            validate(&spec).unwrap_err().to_string(),
            format!(
                "validate linux.sysctl[{key:?}]: {key:?} is not a setting of a namespace: it would change the host"
            )
        );
    }
    for key in [
        "net.ipv4.../../kernel.core_pattern",
        "net/../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "net/ipv4/./x",
        "net..x",
        "net.",
        ".net",
        "",
        "net/a\nb",
    ] {
        let spec = config(|config| config["linux"]["sysctl"] = json!({key: "1"}));
        assert_eq!(
            validate(&spec).unwrap_err().to_string(),
            format!(
                "validate linux.sysctl[{key:?}]: {key:?} is not a setting such as net.ipv4.ip_forward"
            )
        );
    }
}

#[test]
fn sysctls_need_their_namespace() {
    for (key, namespace) in [
        ("net.ipv4.ip_forward", "network"),
        ("kernel.msgmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.domainname", "uts"),
    ] {
        let spec = config(|config| {
            config["linux"]["sysctl"] = json!({key: "1"});
            config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        });
        assert_eq!(
            validate(&spec).unwrap_err().to_string(),
            format!(
                "validate linux.sysctl[{key:?}]: it needs a {namespace} namespace, and linux.namespaces has none"
            )
        );
    }
    check(&[(
        "/linux/sysctl",
        json!({"kernel.hostname": "x"}),
        "validate linux.sysctl[\"kernel.hostname\"]: \"kernel.hostname\" contradicts the field hostname, which sets the same",
    )]);
}

#[test]
fn devices_have_a_path_a_kind_and_a_number() {
    let device = |path: &str, typ: &str, major: i64, minor: i64| json!([{"path": path, "type": typ, "major": major, "minor": minor}]);
    check(&[
        ("/linux/devices", device("/dev/fuse", "c", 10, 229), ""),
        ("/linux/devices", device("/srv/x", "b", 4095, 1_048_575), ""),
        ("/linux/devices", device("/dev/p", "p", 0, 0), ""),
        (
            "/linux/devices",
            device("dev/x", "c", 1, 1),
            "validate linux.devices[0].path: \"dev/x\" is not an absolute path",
        ),
        (
            "/linux/devices",
            device("/dev/x", "a", 1, 1),
            "validate linux.devices[0].type: \"a\" is not known",
        ),
        (
            "/linux/devices",
            device("/dev/x", "c", -1, 1),
            "validate linux.devices[0].major: -1 is not between 0 and 4095",
        ),
        (
            "/linux/devices",
            device("/dev/x", "c", 1, 1_048_576),
            "validate linux.devices[0].minor: 1048576 is not between 0 and 1048575",
        ),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true, "type": "u"}]}),
            "validate linux.resources.devices[0].type: \"u\" is not known",
        ),
        (
            "/linux/resources",
            json!({"devices": [{"allow": true, "type": "c", "major": -1, "access": "rwx"}]}),
            "validate linux.resources.devices[0].access: \"rwx\" is not letters of \"rwm\"",
        ),
    ]);
}

#[test]
fn names_that_become_file_names_cannot_leave_their_directory() {
    let unified = |key: &str| json!({"unified": {key: "1"}});
    check(&[
        ("/linux/resources", unified("memory.high"), ""),
        (
            "/linux/resources",
            unified("../x"),
            "validate linux.resources.unified[\"../x\"]: \"../x\" is not the name of a cgroup file, without a slash",
        ),
        (
            "/linux/resources",
            unified(".."),
            "validate linux.resources.unified[\"..\"]: \"..\" is not the name of a cgroup file, without a slash",
        ),
        (
            "/linux/resources",
            json!({"hugepageLimits": [{"pageSize": "../x.2MB", "limit": 1}]}),
            "validate linux.resources.hugepageLimits[0].pageSize: \"../x.2MB\" is not a page size such as 64KB, 2MB or 1GB",
        ),
        ("/linux/intelRdt", json!({"closID": "group1"}), ""),
        (
            "/linux/intelRdt",
            json!({"schemata": ["L3:0=f", "MB:0=1\nL3:0=1"]}),
            "validate linux.intelRdt.schemata[1]: \"MB:0=1\\nL3:0=1\" is not one line",
        ),
        (
            "/linux/intelRdt",
            json!({"memBwSchema": "L3:0=f"}),
            "validate linux.intelRdt.memBwSchema: \"L3:0=f\" is not one line that begins with MB:",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "../group1"}),
            "validate linux.intelRdt.closID: \"../group1\" is not the name of a directory, without a slash",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": ".."}),
            "validate linux.intelRdt.closID: \"..\" is not the name of a directory, without a slash",
        ),
    ]);
}

#[test]
fn resource_values_that_no_kernel_takes_are_refused() {
    check(&[
        (
            "/linux/resources",
            json!({"memory": {"swappiness": 101}}),
            "validate linux.resources.memory.swappiness: 101 is not between 0 and 100",
        ),
        (
            "/linux/resources",
            json!({"cpu": {"cpus": "0-"}}),
            "validate linux.resources.cpu.cpus: \"0-\" is not a list such as 0-3,7",
        ),
        (
            "/linux/resources",
            json!({"blockIO": {"weight": 9}}),
            "validate linux.resources.blockIO.weight: 9 is not between 10 and 1000",
        ),
        (
            "/linux/resources",
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": -1, "rate": 1}]}}),
            "validate linux.resources.blockIO.throttleReadBpsDevice[0].minor: -1 is not between 0 and 1048575",
        ),
        (
            "/linux/resources",
            json!({"cpu": {"cpus": "", "mems": "0"}, "blockIO": {"weight": 0}}),
            "",
        ),
    ]);
}

#[test]
fn hooks_are_absolute_and_end() {
    check(&[
        (
            "/hooks",
            json!({"poststop": [{"path": "/bin/true", "timeout": 1}]}),
            "",
        ),
        (
            "/hooks",
            json!({"createRuntime": [{"path": "/bin/true"}, {"path": "true"}]}),
            "validate hooks.createRuntime[1].path: \"true\" is not an absolute path",
        ),
        (
            "/hooks",
            json!({"prestart": [{"path": "/bin/true", "timeout": 0}]}),
            "validate hooks.prestart[0].timeout: 0 is not between 1 and 9223372036854775807",
        ),
        (
            "/hooks",
            json!({"poststart": [{"path": "/bin/true", "env": ["X"]}]}),
            "validate hooks.poststart[0].env[0]: \"X\" is not of the form NAME=value",
        ),
    ]);
}

#[test]
fn paths_to_hide_are_absolute() {
    check(&[
        ("/linux/maskedPaths", json!(["/proc/kcore"]), ""),
        (
            "/linux/maskedPaths",
            json!(["/proc/kcore", "sys"]),
            "validate linux.maskedPaths[1]: \"sys\" is not an absolute path",
        ),
        (
            "/linux/readonlyPaths",
            json!([""]),
            "validate linux.readonlyPaths[0]: it is empty",
        ),
        ("/linux/rootfsPropagation", json!("rslave"), ""),
        (
            "/linux/rootfsPropagation",
            json!("sharedd"),
            "validate linux.rootfsPropagation: \"sharedd\" is not known",
        ),
    ]);
}

#[test]
fn time_offsets_need_a_new_time_namespace() {
    let offsets = json!({"monotonic": {"secs": 1, "nanosecs": 999_999_999}});
    check(&[
        ("/linux/timeOffsets", offsets.clone(), ""),
        (
            "/linux/timeOffsets",
            json!({"realtime": {"secs": 1}}),
            "validate linux.timeOffsets[\"realtime\"]: \"realtime\" is not known",
        ),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"nanosecs": 1_000_000_000}}),
            "validate linux.timeOffsets[\"boottime\"].nanosecs: 1000000000 is not between 0 and 999999999",
        ),
        (
            "/linux/timeOffsets",
            json!({"e": {}, "c": {}, "a": {}, "f": {}, "b": {}, "d": {}}),
            "validate linux.timeOffsets[\"a\"]: \"a\" is not known",
        ),
    ]);
    for (namespaces, want) in [
        (
            json!([{"type": "mount"}]),
            "validate linux.timeOffsets: it needs a time namespace, and linux.namespaces has none",
        ),
        (
            json!([{"type": "mount"}, {"type": "time", "path": "/proc/1/ns/time"}]),
            "validate linux.timeOffsets: it needs a new time namespace, and linux.namespaces[1].path joins one",
        ),
    ] {
        let spec = config(|config| {
            config["linux"]["timeOffsets"] = offsets.clone();
            config["linux"]["namespaces"] = namespaces;
        });
        assert_eq!(validate(&spec).unwrap_err().to_string(), want);
    }
}

#[test]
fn network_devices_have_names_that_the_kernel_takes() {
    check(&[
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "ens1"}, "eth1": {}}),
            "",
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "a/b"}}),
            "validate linux.netDevices[\"eth0\"].name: \"a/b\" is not the name of a network device of at most 15 bytes",
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "x"}, "eth1": {"name": "x"}}),
            "validate linux.netDevices[\"eth1\"].name: \"x\" is given already by linux.netDevices[\"eth0\"]",
        ),
        (
            "/linux/netDevices",
            json!({"sixteen_bytes_xx": {}}),
            "validate linux.netDevices[\"sixteen_bytes_xx\"]: \"sixteen_bytes_xx\" is not the name of a network device of at most 15 bytes",
        ),
    ]);
}

#[test]
fn memory_policy_and_personality_are_consistent() {
    check(&[
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-1"}),
            "",
        ),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}), ""),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_PREFERRED"}), ""),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND"}),
            "validate linux.memoryPolicy.nodes: it is missing",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_DEFAULT", "nodes": "0"}),
            "validate linux.memoryPolicy.nodes: \"0\" contradicts linux.memoryPolicy.mode MPOL_DEFAULT",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            "validate linux.memoryPolicy.flags: \"MPOL_F_STATIC_NODES\" contradicts MPOL_F_RELATIVE_NODES",
        ),
        ("/linux/personality", json!({"domain": "LINUX32"}), ""),
        (
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["X"]}),
            "validate linux.personality.flags[0]: \"X\" is not known",
        ),
    ]);
}
