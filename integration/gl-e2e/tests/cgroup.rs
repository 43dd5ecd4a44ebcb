//! cgroups through cgroupfs: limits in files, devices, joining, updating, deleting. What differs
//! between the versions has a test for each.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::host::cgroups_of;
use gl_e2e::bundle::kernel::{cgroup, cgroup_value, eventually, fields, proc_file};
use gl_e2e::bundle::{self, Bundle, Host, Output, finish, known_elsewhere};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, Skip, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    if is_v2() {
        return bundle::main(tests![
            memory_limit_kills_what_exceeds_it,
            cpuset_is_set,
            cpuset_of_a_missing_cpu_is_refused,
            pids_limit_is_set_and_enforced,
            pids_limit_of_minus_one_is_unlimited,
            device_list_is_enforced,
            device_list_without_resources_allows_the_defaults,
            path_with_dots_is_cleaned,
            path_unset_is_made_from_the_id,
            path_in_use_by_another_container,
            update_of_a_stopped_container_fails,
            update_survives_in_the_state,
            update_with_bad_input_changes_nothing,
            limits_that_the_kernel_refuses_leave_nothing,
            v2_limits_are_in_their_files,
            v2_limits_that_only_v1_has_are_refused_by_name,
            v2_unified_files_are_set,
            v2_exec_is_in_the_cgroup_of_init,
            v2_update_changes_the_files_and_keeps_the_rest,
            v2_delete_removes_what_the_container_made_below,
            v2_own_cgroup_is_read_only,
            v2_controller_that_is_missing_is_named_with_its_file,
            v2_controller_below_processes_is_named_with_its_file,
        ]);
    }
    if fs::metadata("/sys/fs/cgroup/memory/cgroup.procs").is_err() {
        return bundle::main(tests![cgroup_v1_is_absent]);
    }
    bundle::main(tests![
        memory_limits_are_set,
        memory_limit_kills_what_exceeds_it,
        memory_swap_minus_one_is_unlimited,
        cpu_shares_quota_and_period_are_set,
        cpu_quota_without_a_period_is_set,
        cpuset_is_set,
        cpuset_of_a_missing_cpu_is_refused,
        pids_limit_is_set_and_enforced,
        pids_limit_of_minus_one_is_unlimited,
        block_io_throttles_are_set,
        device_list_is_what_the_config_says,
        device_list_is_enforced,
        device_list_without_resources_allows_the_defaults,
        every_controller_is_joined,
        path_is_made_with_its_parents,
        path_without_a_slash_stays_below_the_root,
        path_with_dots_is_cleaned,
        path_unset_is_made_from_the_id,
        path_in_use_by_another_container,
        update_by_flags_changes_the_files,
        update_by_document_changes_the_files,
        update_from_standard_input_changes_the_files,
        update_raises_memory_and_swap_together,
        update_keeps_what_it_does_not_name,
        update_of_a_stopped_container_fails,
        update_survives_in_the_state,
        update_with_bad_input_changes_nothing,
        delete_removes_every_directory,
        delete_removes_what_the_container_made_below,
        limits_that_the_kernel_refuses_leave_nothing,
        child_cannot_leave_its_cgroup,
    ])
}

fn cgroup_v1_is_absent() -> Outcome {
    Err(Skip("cgroup v1 is not mounted here".to_owned()))
}

fn with(resources: &[(&str, Value)]) -> Bundle {
    let mut box_ = Bundle::new();
    for (key, value) in resources {
        box_ = box_.set(&format!("/linux/resources/{key}"), value.clone());
    }
    box_
}

const MIB: u64 = 1024 * 1024;

fn memory_limits_are_set() -> Outcome {
    let memory = json!({
        "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB, "swappiness": 10,
    });
    let box_ = with(&[("memory", memory)]);
    box_.create().ok();
    for (file, want) in [
        ("memory.limit_in_bytes", 64 * MIB),
        ("memory.soft_limit_in_bytes", 32 * MIB),
        ("memory.swappiness", 10),
    ] {
        assert_eq!(
            cgroup_value("memory", box_.id(), file),
            want.to_string(),
            "{file}"
        );
    }
    let swap = cgroup("memory", box_.id()).join("memory.memsw.limit_in_bytes");
    if fs::metadata(&swap).is_ok() {
        let seen = fs::read_to_string(swap).unwrap();
        assert_eq!(seen.trim_end(), (128 * MIB).to_string());
    }
    Ok(())
}

fn memory_limit_kills_what_exceeds_it() -> Outcome {
    let memory = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    let box_ = Bundle::sh("tail /dev/zero; echo status $?").set("/linux/resources/memory", memory);
    let out = box_.run();
    assert!(
        out.stdout.contains("status 137") || out.code == 137,
        "{out:?}"
    );
    Ok(())
}

fn memory_swap_minus_one_is_unlimited() -> Outcome {
    let box_ = with(&[("memory", json!({"limit": 64 * MIB, "swap": -1}))]);
    box_.create().ok();
    let limit = cgroup_value("memory", box_.id(), "memory.limit_in_bytes");
    assert_eq!(limit, (64 * MIB).to_string());
    Ok(())
}

fn cpu_shares_quota_and_period_are_set() -> Outcome {
    let cpu = json!({"shares": 512, "quota": 50_000, "period": 200_000});
    let box_ = with(&[("cpu", cpu)]);
    box_.create().ok();
    for (file, want) in [
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_period_us", "200000"),
    ] {
        assert_eq!(cgroup_value("cpu", box_.id(), file), want, "{file}");
    }
    Ok(())
}

fn cpu_quota_without_a_period_is_set() -> Outcome {
    let box_ = with(&[("cpu", json!({"quota": 30_000}))]);
    box_.create().ok();
    assert_eq!(cgroup_value("cpu", box_.id(), "cpu.cfs_quota_us"), "30000");
    assert_eq!(
        cgroup_value("cpu", box_.id(), "cpu.cfs_period_us"),
        "100000"
    );
    Ok(())
}

fn cpuset_is_set() -> Outcome {
    let box_ = with(&[("cpu", json!({"cpus": "0", "mems": "0"}))]).idle();
    assert_eq!(cgroup_value("cpuset", box_.id(), "cpuset.cpus"), "0");
    assert_eq!(cgroup_value("cpuset", box_.id(), "cpuset.mems"), "0");
    let seen = fields(&proc_file(box_.pid(), "status"));
    assert_eq!(seen["Cpus_allowed_list"], "0", "{seen:?}");
    assert_eq!(box_.inside("nproc"), "1\n");
    Ok(())
}

fn cpuset_of_a_missing_cpu_is_refused() -> Outcome {
    let box_ = with(&[("cpu", json!({"cpus": "4000"}))]);
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("cpu");
    host.unchanged("cpu that is not there");
    Ok(())
}

fn pids_limit_is_set_and_enforced() -> Outcome {
    let box_ = Bundle::sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all")
        .set("/linux/resources/pids", json!({"limit": 5}));
    let out = box_.run();
    assert!(!out.stdout.contains("all"), "{out:?}");
    assert!(out.stderr.contains("can't fork"), "{out:?}");
    let box_ = with(&[("pids", json!({"limit": 77}))]);
    box_.create().ok();
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), "77");
    Ok(())
}

fn pids_limit_of_minus_one_is_unlimited() -> Outcome {
    let box_ = with(&[("pids", json!({"limit": -1}))]);
    box_.create().ok();
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), "max");
    Ok(())
}

fn block_io_throttles_are_set() -> Outcome {
    let disks = fs::read_to_string("/proc/partitions").unwrap();
    let Some(disk) = disks
        .lines()
        .skip(2)
        .find(|l| l.ends_with("vda") || l.ends_with("sda"))
    else {
        return Err(Skip("no vda or sda".to_owned()));
    };
    let mut numbers = disk
        .split_whitespace()
        .map(|n| n.parse::<u64>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
    let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let box_ = with(&[(
        "blockIO",
        json!({
            "throttleReadBpsDevice": device(1_000_000), "throttleWriteBpsDevice": device(2_000_000),
            "throttleReadIOPSDevice": device(300), "throttleWriteIOPSDevice": device(400),
        }),
    )]);
    box_.create().ok();
    for (file, want) in [
        ("blkio.throttle.read_bps_device", 1_000_000),
        ("blkio.throttle.write_bps_device", 2_000_000),
        ("blkio.throttle.read_iops_device", 300),
        ("blkio.throttle.write_iops_device", 400),
    ] {
        let want = format!("{major}:{minor} {want}");
        assert_eq!(cgroup_value("blkio", box_.id(), file), want, "{file}");
    }
    Ok(())
}

fn device_list_is_what_the_config_says() -> Outcome {
    let rule = |kind: &str, major: u32, minor: Option<u32>| {
        let mut rule = json!({"allow": true, "type": kind, "major": major, "access": "r"});
        if let Some(minor) = minor {
            rule["minor"] = json!(minor);
        }
        rule
    };
    let box_ = Bundle::new()
        .push("/linux/resources/devices", rule("c", 10, Some(201)))
        .push("/linux/resources/devices", rule("b", 8, None));
    box_.create().ok();
    let list = cgroup_value("devices", box_.id(), "devices.list");
    let lines: Vec<&str> = list.lines().collect();
    for want in ["c 1:3 rwm", "c 1:5 rwm", "c 10:201 r", "b 8:* r"] {
        assert!(lines.contains(&want), "{want} in {list}");
    }
    assert!(!lines.contains(&"a *:* rwm"), "{list}");
    Ok(())
}

fn device_list_is_enforced() -> Outcome {
    // A mount of its own: the host's /tmp, which holds the bundle, may be `nodev`.
    let box_ = Bundle::sh(
        "cd /nodes; mknod null c 1 3 && echo x > null && echo null; \
         head -c1 kmsg; head -c1 disk; mknod kmsg2 c 1 11 && head -c1 kmsg2; true",
    );
    let nodes = box_.rootfs().join("nodes");
    fs::create_dir(&nodes).unwrap();
    for (name, kind, device) in [
        ("kmsg", rustix::fs::FileType::CharacterDevice, (1, 11)),
        ("disk", rustix::fs::FileType::BlockDevice, (254, 0)),
    ] {
        let path = nodes.join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(device.0, device.1);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, device).unwrap();
    }
    let source = nodes.to_str().unwrap();
    let box_ = box_.mount("bind", source, "/nodes", &["bind", "dev"]);
    let out = box_.run().ok().prints("null");
    assert_eq!(
        out.stderr.matches("Operation not permitted").count(),
        3,
        "{out:?}"
    );
    Ok(())
}

fn device_list_without_resources_allows_the_defaults() -> Outcome {
    let box_ =
        Bundle::sh("echo x > /dev/null && head -c1 /dev/urandom | wc -c").unset("/linux/resources");
    box_.run().ok().prints("1");
    Ok(())
}

fn every_controller_is_joined() -> Outcome {
    let box_ = Bundle::new().idle();
    let text = proc_file(box_.pid(), "cgroup");
    for line in text.lines().filter(|l| !l.starts_with("0::")) {
        assert!(line.ends_with(&format!(":/{}", box_.id())), "{line}");
    }
    Ok(())
}

fn path_is_made_with_its_parents() -> Outcome {
    let box_ = Bundle::new();
    let parent = format!("{}parent", bundle::tag());
    let path = format!("/{parent}/middle/{}", box_.id());
    let box_ = box_.set("/linux/cgroupsPath", json!(path)).idle();
    let text = proc_file(box_.pid(), "cgroup");
    assert!(text.contains(&format!(":memory:{path}\n")), "{text}");
    box_.kill_and_wait();
    box_.delete().ok();
    let left = cgroups_of(box_.id());
    assert!(left.is_empty(), "{left:?}");
    for dir in cgroups_of(&parent).iter().rev() {
        fs::remove_dir(dir).unwrap();
    }
    Ok(())
}

fn path_without_a_slash_stays_below_the_root() -> Outcome {
    let box_ = Bundle::new();
    let id = box_.id().to_owned();
    let box_ = box_.set("/linux/cgroupsPath", json!(id)).idle();
    let text = proc_file(box_.pid(), "cgroup");
    let pids = text.lines().find(|l| l.contains(":pids:")).unwrap();
    assert!(pids.ends_with(&format!("/{id}")), "{text}");
    Ok(())
}

fn path_with_dots_is_cleaned() -> Outcome {
    for (n, shape) in ["/../../ID", "/a/../ID", "../../../ID", "/./ID/.", "//ID//"]
        .iter()
        .enumerate()
    {
        let box_ = Bundle::new();
        let id = box_.id().to_owned();
        let box_ = box_.set("/linux/cgroupsPath", json!(shape.replace("ID", &id)));
        let host = Host::before(&box_, &[]);
        let out = box_.create();
        if out.code == 0 {
            let text = proc_file(box_.pid(), "cgroup");
            assert!(text.contains(&format!("/{id}\n")), "{n} {shape}: {text}");
            assert!(!text.contains(".."), "{shape}: {text}");
            box_.delete_force().ok();
        }
        host.unchanged(shape);
    }
    Ok(())
}

fn path_unset_is_made_from_the_id() -> Outcome {
    let box_ = Bundle::new().unset("/linux/cgroupsPath").idle();
    let text = proc_file(box_.pid(), "cgroup");
    assert!(text.contains(box_.id()), "{text}");
    Ok(())
}

fn path_in_use_by_another_container() -> Outcome {
    // Deleting one must not take the processes of the other along without saying so.
    let first = Bundle::new().idle();
    let second = Bundle::new().set("/linux/cgroupsPath", json!(format!("/{}", first.id())));
    let out = second.create();
    if out.code == 0 {
        second.delete_force().ok();
    } else {
        assert!(out.stderr.contains("cgroup"), "{out:?}");
    }
    assert_eq!(first.status(), "running");
    Ok(())
}

fn update_by_flags_changes_the_files() -> Outcome {
    let box_ = with(&[("memory", json!({"limit": 64 * MIB, "swap": 64 * MIB}))]).idle();
    box_.call(&[
        "update",
        "--memory",
        "100663296",
        "--memory-swap",
        "-1",
        "--memory-reservation",
        "33554432",
        "--cpu-share",
        "256",
        "--cpu-quota",
        "20000",
        "--cpu-period",
        "100000",
        "--pids-limit",
        "55",
        "--cpuset-cpus",
        "0",
        box_.id(),
    ])
    .ok();
    for (controller, file, want) in [
        ("memory", "memory.limit_in_bytes", "100663296"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "256"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("pids", "pids.max", "55"),
        ("cpuset", "cpuset.cpus", "0"),
    ] {
        assert_eq!(cgroup_value(controller, box_.id(), file), want, "{file}");
    }
    Ok(())
}

fn document() -> Value {
    json!({
        "memory": {"limit": 80 * MIB, "reservation": 16 * MIB},
        "cpu": {"shares": 333, "quota": 40_000, "period": 80_000},
        "pids": {"limit": 44},
    })
}

fn document_is_applied(box_: &Bundle) {
    for (controller, file, want) in [
        ("memory", "memory.limit_in_bytes", (80 * MIB).to_string()),
        ("cpu", "cpu.shares", "333".to_owned()),
        ("cpu", "cpu.cfs_quota_us", "40000".to_owned()),
        ("cpu", "cpu.cfs_period_us", "80000".to_owned()),
        ("pids", "pids.max", "44".to_owned()),
    ] {
        assert_eq!(cgroup_value(controller, box_.id(), file), want, "{file}");
    }
}

fn update_by_document_changes_the_files() -> Outcome {
    let box_ = Bundle::new().idle();
    fs::write(box_.dir().join("resources.json"), document().to_string()).unwrap();
    box_.call(&["update", "--resources", "resources.json", box_.id()])
        .ok();
    document_is_applied(&box_);
    Ok(())
}

fn update_from_standard_input_changes_the_files() -> Outcome {
    let box_ = Bundle::new().idle();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(document().to_string().as_bytes()).unwrap();
    drop(writer);
    let mut command = box_.command(&["update", "--resources=-", box_.id()]);
    finish(command.stdin(reader)).ok();
    document_is_applied(&box_);
    Ok(())
}

fn update_raises_memory_and_swap_together() -> Outcome {
    // The kernel wants the limit below limit plus swap at each step, up and down.
    let box_ = with(&[("memory", json!({"limit": 32 * MIB, "swap": 32 * MIB}))]).idle();
    for size in [128, 48, 96] {
        let bytes = (size * MIB).to_string();
        box_.call(&[
            "update",
            "--memory",
            &bytes,
            "--memory-swap",
            &bytes,
            box_.id(),
        ])
        .ok();
        assert_eq!(
            cgroup_value("memory", box_.id(), "memory.limit_in_bytes"),
            bytes
        );
    }
    Ok(())
}

fn update_keeps_what_it_does_not_name() -> Outcome {
    let box_ = with(&[
        ("memory", json!({"limit": 64 * MIB})),
        ("cpu", json!({"shares": 222})),
        ("pids", json!({"limit": 66})),
    ])
    .idle();
    let devices = cgroup_value("devices", box_.id(), "devices.list");
    box_.call(&["update", "--pids-limit", "99", box_.id()]).ok();
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), "99");
    assert_eq!(cgroup_value("cpu", box_.id(), "cpu.shares"), "222");
    let limit = cgroup_value("memory", box_.id(), "memory.limit_in_bytes");
    assert_eq!(limit, (64 * MIB).to_string());
    assert_eq!(cgroup_value("devices", box_.id(), "devices.list"), devices);
    Ok(())
}

fn update_of_a_stopped_container_fails() -> Outcome {
    let box_ = Bundle::new().idle();
    box_.kill_and_wait();
    known_elsewhere("updates it", || {
        let box_ = Bundle::new().idle();
        box_.kill_and_wait();
        box_.call(&["update", "--pids-limit", "9", box_.id()])
            .failed()
            .says("not running");
    })
}

fn update_survives_in_the_state() -> Outcome {
    // A second update must not bring back the first values.
    let box_ = with(&[("pids", json!({"limit": 66}))]).idle();
    box_.call(&["update", "--pids-limit", "99", box_.id()]).ok();
    box_.call(&["update", "--cpu-share", "300", box_.id()]).ok();
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), "99");
    Ok(())
}

fn update_with_bad_input_changes_nothing() -> Outcome {
    let box_ = with(&[("pids", json!({"limit": 66}))]).idle();
    let host = Host::before(&box_, &[]);
    for text in [
        "",
        "{",
        "[1]",
        r#"{"pids": {"limit": "many"}}"#,
        r#"{"memory": 5}"#,
    ] {
        fs::write(box_.dir().join("bad.json"), text).unwrap();
        box_.call(&["update", "--resources", "bad.json", box_.id()])
            .failed();
    }
    box_.call(&["update", "--memory", "lots", box_.id()])
        .failed();
    box_.call(&["update", "--resources", "no-such.json", box_.id()])
        .failed();
    host.unchanged("bad updates");
    assert_eq!(cgroup_value("pids", box_.id(), "pids.max"), "66");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn delete_removes_every_directory() -> Outcome {
    let box_ = Bundle::new();
    assert!(cgroups_of(box_.id()).is_empty());
    let box_ = box_.idle();
    assert!(cgroups_of(box_.id()).len() > 6);
    box_.kill_and_wait();
    box_.delete().ok();
    assert_eq!(cgroups_of(box_.id()), Vec::<PathBuf>::new());
    Ok(())
}

fn delete_removes_what_the_container_made_below() -> Outcome {
    // A container with a writable view makes cgroups of its own.
    let box_ = Bundle::sh("mkdir -p /sys/fs/cgroup/pids/a/b/c && echo $$ > /sys/fs/cgroup/pids/a/b/c/cgroup.procs && echo ready; exec sleep 1000")
        .without_mount("/sys/fs/cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw", "nosuid", "noexec", "nodev"])
        .namespace("cgroup", Some(json!({"type": "cgroup"})));
    let host = Host::before(&box_, &[]);
    let box_ = box_.ready();
    assert!(fs::metadata(cgroup("pids", box_.id()).join("a/b/c")).is_ok());
    box_.delete_force().ok();
    host.unchanged("cgroups made by the container");
    Ok(())
}

fn limits_that_the_kernel_refuses_leave_nothing() -> Outcome {
    for (key, value) in [
        ("memory", json!({"limit": 64 * MIB, "swap": 32 * MIB})),
        ("cpu", json!({"period": 1})),
        ("memory", json!({"swappiness": 1000})),
    ] {
        let box_ = with(&[(key, value.clone())]);
        let host = Host::before(&box_, &[]);
        let out = box_.create().failed();
        assert!(!out.stderr.is_empty(), "{out:?}");
        host.unchanged(&value.to_string());
    }
    Ok(())
}

fn child_cannot_leave_its_cgroup() -> Outcome {
    let box_ = Bundle::sh(
        "echo $$ > /sys/fs/cgroup/pids/cgroup.procs; echo 1 > /sys/fs/cgroup/memory/release_agent; true",
    );
    let out = box_.run().ok();
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    assert!(fs::metadata(Path::new("/sys/fs/cgroup/memory/release_agent")).is_ok());
    Ok(())
}

/// Values of files of a container's cgroup on v2.
#[track_caller]
fn has_values(box_: &Bundle, values: &[(&str, &str)]) {
    for (file, want) in values {
        assert_eq!(cgroup_value("", box_.id(), file), *want, "{file}");
    }
}

fn v2_limits_are_in_their_files() -> Outcome {
    let memory = json!({
        "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB, "disableOOMKiller": true,
    });
    let cpu = json!({"shares": 2000, "quota": 50_000, "period": 200_000, "burst": 1000});
    let box_ = with(&[("memory", memory), ("cpu", cpu)]);
    box_.create().ok();
    let values = [
        ("memory.max", (64 * MIB).to_string()),
        ("memory.low", (32 * MIB).to_string()),
        ("memory.swap.max", (64 * MIB).to_string()),
        ("cpu.weight", "170".to_owned()),
        ("cpu.max", "50000 200000".to_owned()),
        ("cpu.max.burst", "1000".to_owned()),
    ];
    for (file, want) in values {
        assert_eq!(cgroup_value("", box_.id(), file), want, "{file}");
    }
    Ok(())
}

fn v2_limits_that_only_v1_has_are_refused_by_name() -> Outcome {
    known_elsewhere("leaves them out", || {
        for (key, value, field) in [
            ("memory", json!({"swappiness": 10}), "memory.swappiness"),
            ("network", json!({"classID": 5}), "network.classID"),
        ] {
            let box_ = with(&[(key, value)]);
            let host = Host::before(&box_, &[]);
            box_.create().failed().says(field);
            host.unchanged(field);
        }
    })
}

fn v2_unified_files_are_set() -> Outcome {
    let box_ = with(&[(
        "unified",
        json!({"memory.high": "33554432", "pids.max": "9"}),
    )]);
    box_.create().ok();
    has_values(&box_, &[("memory.high", "33554432"), ("pids.max", "9")]);
    let box_ = with(&[("unified", json!({"memory.nothing": "1"}))]);
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("memory.nothing");
    host.unchanged("a file that is not there");
    Ok(())
}

fn v2_exec_is_in_the_cgroup_of_init() -> Outcome {
    let box_ = Bundle::new().idle();
    let want = format!("0::/{}\n", box_.id());
    assert!(proc_file(box_.pid(), "cgroup").ends_with(&want));
    let seen = box_.inside("cat /proc/self/cgroup");
    assert!(seen.ends_with(&want), "{seen}");
    Ok(())
}

fn v2_update_changes_the_files_and_keeps_the_rest() -> Outcome {
    let box_ = with(&[
        ("memory", json!({"limit": 64 * MIB, "swap": 64 * MIB})),
        ("pids", json!({"limit": 66})),
    ])
    .idle();
    box_.call(&[
        "update",
        "--memory",
        "100663296",
        "--memory-swap",
        "-1",
        "--cpu-share",
        "1024",
        "--cpu-quota",
        "20000",
        "--cpu-period",
        "100000",
        box_.id(),
    ])
    .ok();
    let values = [
        ("memory.max", "100663296"),
        ("memory.swap.max", "max"),
        ("cpu.weight", "100"),
        ("cpu.max", "20000 100000"),
        ("pids.max", "66"),
    ];
    has_values(&box_, &values);
    Ok(())
}

fn v2_delete_removes_what_the_container_made_below() -> Outcome {
    // A container with a writable view makes cgroups of its own.
    let box_ = Bundle::sh("mkdir -p /sys/fs/cgroup/a/b/c && echo $$ > /sys/fs/cgroup/a/b/c/cgroup.procs && echo ready; exec sleep 1000")
        .without_mount("/sys/fs/cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw", "nosuid", "noexec", "nodev"])
        .namespace("cgroup", Some(json!({"type": "cgroup"})));
    let host = Host::before(&box_, &[]);
    let box_ = box_.ready();
    assert!(fs::metadata(cgroup("", box_.id()).join("a/b/c")).is_ok());
    box_.delete_force().ok();
    host.unchanged("cgroups made by the container");
    Ok(())
}

fn v2_own_cgroup_is_read_only() -> Outcome {
    let box_ = Bundle::sh("echo $$ > /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x; true");
    let out = box_.run().ok();
    assert_eq!(
        out.stderr.matches("Read-only file system").count(),
        2,
        "{out:?}"
    );
    Ok(())
}

/// A cgroup that has one controller, the top of what is seen from within, and in it nothing else.
struct Enclosed {
    outer: PathBuf,
}

impl Enclosed {
    fn with(controller: &str) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        let outer = top.join(format!("{}enclosed", bundle::tag()));
        // As systemd has it, and the runtime wherever it makes a cgroup.
        fs::write(top.join("cgroup.subtree_control"), "+pids +memory").unwrap();
        fs::create_dir(&outer).unwrap();
        let enclosed = Self { outer };
        let passed_on = enclosed.outer.join("cgroup.subtree_control");
        fs::write(passed_on, format!("+{controller}")).unwrap();
        fs::create_dir(enclosed.inner()).unwrap();
        enclosed
    }

    fn inner(&self) -> PathBuf {
        self.outer.join("inner")
    }

    /// `run` by a runtime that is in it and has it as the root of its cgroups.
    fn run(&self, box_: &Bundle) -> Output {
        box_.write_config();
        let enter = "set -e; echo $$ >\"$INNER/cgroup.procs\"; exec unshare --cgroup --mount -- /bin/sh -c \
            'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"' sh \"$@\"";
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", enter, "sh"])
            .arg(bundle::runtime())
            .arg("--root")
            .arg(box_.state_root())
            .args(["run", box_.id()])
            .env("INNER", self.inner())
            .current_dir(box_.dir())
            .stdin(Stdio::null());
        finish(&mut command)
    }
}

impl Drop for Enclosed {
    fn drop(&mut self) {
        for dir in [self.inner(), self.outer.clone()] {
            let removed = || fs::remove_dir(&dir).ok();
            if std::thread::panicking() {
                // What a failed test left behind goes as far as it can.
                removed();
            } else {
                eventually("an empty cgroup", removed);
            }
        }
    }
}

/// A bundle that prints a word and asks for one limit.
fn says_up(limit: &str, value: &Value) -> Bundle {
    Bundle::sh("echo up")
        .unset("/linux/resources")
        .set("/linux/resources", json!({limit: value}))
}

fn v2_controller_that_is_missing_is_named_with_its_file() -> Outcome {
    known_elsewhere("have words of their own", || {
        let enclosed = Enclosed::with("pids");
        let plain = Bundle::sh("echo up").unset("/linux/resources");
        enclosed.run(&plain).ok().prints("up");
        let box_ = says_up("memory", &json!({"limit": 64 * MIB}));
        let host = Host::before(&box_, &[]);
        enclosed
            .run(&box_)
            .status(1)
            .prints("")
            .says(
                "set linux.resources.memory.limit: this host has no memory controller (memory.max)",
            )
            .says("in the cgroup.controllers of the topmost cgroup (v2)");
        host.unchanged_soon("a missing controller");
    })
}

fn v2_controller_below_processes_is_named_with_its_file() -> Outcome {
    known_elsewhere("have words of their own", || {
        // The runtime itself is in the cgroup that would have to pass the controller on.
        let enclosed = Enclosed::with("pids");
        let box_ = says_up("pids", &json!({"limit": 5}));
        let host = Host::before(&box_, &[]);
        enclosed
            .run(&box_)
            .status(1)
            .prints("")
            .says("set linux.resources.pids.limit: enable pids in /sys/fs/cgroup/cgroup.subtree_control")
            .says("that cgroup has processes: move them to one below it");
        host.unchanged_soon("a controller that is not passed on");
    })
}
