//! Limits as the kernel shows them, and as it enforces them.

use std::fs;

use gl_cgroup::{Error, OomEvent};
use gl_spec::{Class, Classify as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::disk::LoopDevice;
use crate::support::{Fixture, has, host, resources};

#[test]
fn limits_are_in_their_files() {
    let Some(layout) = host("limits") else { return };
    let fixture = Fixture::new(&layout, "limits");
    let applied = fixture
        .apply(
            r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"disableOOMKiller":true},
                "pids":{"limit":77},
                "cpu":{"shares":2000,"quota":50000,"period":100000,"burst":10000,"cpus":"0","mems":"0"}}"#,
        )
        .unwrap();
    assert_eq!(applied.ignored, ["linux.resources.memory.disableOOMKiller"]);
    for (file, want) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "67108864"),
        ("pids.max", "77"),
        ("cpu.weight", "170"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
    ] {
        assert_eq!(fixture.read(file), want, "{file}");
    }
}

#[test]
fn update_changes_what_it_names_and_keeps_the_rest() {
    let Some(layout) = host("update") else { return };
    let mut fixture = Fixture::new(&layout, "update");
    fixture
        .apply(
            r#"{"memory":{"limit":67108864},"cpu":{"quota":50000,"period":100000,"burst":40000}}"#,
        )
        .unwrap();
    fixture.run("exec sleep 1000");
    let update = |json| fixture.cgroup.update(&resources(json)).unwrap();
    update(r#"{"cpu":{"period":50000}}"#);
    assert_eq!(fixture.read("cpu.max"), "50000 50000");
    // Lower than the burst, which has to go first.
    update(r#"{"cpu":{"quota":20000,"burst":0}}"#);
    assert_eq!(fixture.read("cpu.max"), "20000 50000");
    assert_eq!(fixture.read("cpu.max.burst"), "0");
    update(r#"{"cpu":{"quota":-1}}"#);
    assert_eq!(fixture.read("cpu.max"), "max 50000");
    update(r#"{"memory":{"swap":100000000}}"#);
    assert_eq!(fixture.read("memory.max"), "67108864");
    let swap: u64 = fixture.read("memory.swap.max").parse().unwrap();
    // In whole pages.
    assert!(
        (100_000_000 - 67_108_864 - 4096..=100_000_000 - 67_108_864).contains(&swap),
        "{swap}"
    );
    update(r#"{"memory":{"limit":-1}}"#);
    assert_eq!(fixture.read("memory.max"), "max");
    assert_eq!(fixture.read("memory.swap.max"), "max");
    update(r#"{"pids":{"limit":-1}}"#);
    assert_eq!(fixture.read("pids.max"), "max");
    update(r#"{"cpu":{"idle":1}}"#);
    assert_eq!(fixture.read("cpu.idle"), "1");
    update(r#"{"cpu":{"idle":0,"shares":1024}}"#);
    assert_eq!(fixture.read("cpu.weight"), "100");
}

#[test]
fn check_before_update_refuses_a_limit_below_the_use() {
    let Some(layout) = host("check") else { return };
    let mut fixture = Fixture::new(&layout, "check");
    fixture.run("exec sleep 1000");
    let err = fixture
        .cgroup
        .update(&resources(
            r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#,
        ))
        .unwrap_err();
    assert!(matches!(err, Error::Set { .. }), "{err:?}");
    assert_eq!(err.class(), Class::Conflict);
    assert_eq!(fixture.read("memory.max"), "max");
}

#[test]
fn a_value_that_the_kernel_refuses_names_field_and_file() {
    let Some(layout) = host("refused") else {
        return;
    };
    let fixture = Fixture::new(&layout, "refused");
    let err = fixture.apply(r#"{"cpu":{"quota":1}}"#).unwrap_err();
    let want = format!(
        "set linux.resources.cpu.quota to \"1\" in {}/cpu.max",
        fixture.dir().display()
    );
    assert_eq!(err.to_string(), want);
    assert_eq!(err.class(), Class::Invalid);
}

#[test]
fn unified_sets_any_file_of_the_cgroup_and_no_other() {
    let Some(layout) = host("unified") else {
        return;
    };
    let fixture = Fixture::new(&layout, "unified");
    fixture
        .apply(
            r#"{"memory":{"limit":67108864},"unified":{"memory.high":"33554432","cgroup.max.depth":"3"}}"#,
        )
        .unwrap();
    assert_eq!(fixture.read("memory.high"), "33554432");
    assert_eq!(fixture.read("cgroup.max.depth"), "3");
    for (key, want) in [
        ("memory.nothing", "this kernel has no"),
        ("nothing.max", "this kernel has no"),
        ("freezer.state", "this host has no freezer controller"),
    ] {
        let json = format!(r#"{{"unified":{{"{key}":"1"}}}}"#);
        let err = fixture.apply(&json).unwrap_err();
        assert!(err.to_string().contains(want), "{err}");
        assert_eq!(err.class(), Class::Unsupported, "{err}");
    }
}

#[test]
fn pids_limit_is_enforced() {
    let Some(layout) = host("pids") else { return };
    let fixture = Fixture::new(&layout, "pids");
    fixture.apply(r#"{"pids":{"limit":1}}"#).unwrap();
    let (status, text) = fixture.output("true | true; echo forked");
    assert!(!text.contains("forked"), "{status:?} {text}");
}

#[test]
fn out_of_memory_is_told_and_counted() {
    let Some(layout) = host("oom") else { return };
    let fixture = Fixture::new(&layout, "oom");
    fixture
        .apply(r#"{"memory":{"limit":8388608,"swap":8388608}}"#)
        .unwrap();
    let watch = fixture.cgroup.oom_watch().unwrap();
    assert_eq!(watch.take().unwrap(), OomEvent::Quiet);
    // A child of the shell, so that the shell can tell.
    let (status, text) = fixture.output("sh -c 'x=x; while :; do x=$x$x; done'; echo status $?");
    assert!(text.contains("status 137"), "{status:?} {text}");
    let mut fds = [PollFd::new(&watch, PollFlags::IN)];
    let second = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut fds, Some(&second)).unwrap(), 1);
    assert_eq!(watch.take().unwrap(), OomEvent::OutOfMemory { kills: 1 });
    assert_eq!(watch.take().unwrap(), OomEvent::Quiet);
    assert_eq!(fixture.cgroup.oom_kills().unwrap(), 1);
    drop(fixture);
    assert_eq!(watch.take().unwrap(), OomEvent::Gone);
}

#[test]
fn hugetlb_and_rdma_limits() {
    let Some(layout) = host("hugetlb") else {
        return;
    };
    if !has("hugetlb", "hugetlb") {
        return;
    }
    let fixture = Fixture::new(&layout, "hugetlb");
    if fs::metadata(fixture.dir().join("hugetlb.2MB.max")).is_err() {
        println!("SKIP hugetlb: this host has no huge pages of 2MB");
        return;
    }
    fixture
        .apply(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#)
        .unwrap();
    assert_eq!(fixture.read("hugetlb.2MB.max"), "4194304");
    assert_eq!(fixture.read("hugetlb.2MB.rsvd.max"), "4194304");
    let err = fixture
        .apply(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":4194304}]}"#)
        .unwrap_err();
    assert!(matches!(err, Error::NoFile { .. }), "{err:?}");
}

#[test]
fn stats_count_what_was_used() {
    let Some(layout) = host("stats") else { return };
    let mut fixture = Fixture::new(&layout, "stats");
    fixture
        .apply(
            r#"{"memory":{"limit":67108864,"swap":134217728},"pids":{"limit":77},"cpu":{"cpus":"0"}}"#,
        )
        .unwrap();
    fixture.output("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done");
    fixture.run("exec sleep 1000");
    let stats = fixture.cgroup.stats().unwrap();
    let cpu = &stats.cpu.usage;
    assert!(
        cpu.total > 1_000_000 && cpu.total.is_multiple_of(1000),
        "{cpu:?}"
    );
    assert!(cpu.user > 0, "{cpu:?}");
    assert_eq!(stats.pids.limit, 77);
    assert_eq!(stats.pids.current, 1);
    assert_eq!(stats.memory.usage.limit, 67_108_864);
    assert!(stats.memory.usage.usage > 0, "{:?}", stats.memory.usage);
    if stats.memory.swap.limit != 0 {
        assert_eq!(stats.memory.swap.limit, 134_217_728);
    }
    assert!(stats.memory.raw.contains_key("anon"), "{:?}", stats.memory);
    assert_eq!(stats.cpuset.cpus, [0]);
    let json = serde_json::to_value(&stats).unwrap();
    for pointer in ["/cpu/usage/total", "/memory/raw/anon", "/pids/current"] {
        assert!(json.pointer(pointer).is_some(), "{pointer} of {json}");
    }
}

#[test]
fn io_throttles_and_statistics_of_a_loop_device() {
    let Some(layout) = host("io") else { return };
    let Some(device) = LoopDevice::new("io", 1) else {
        return;
    };
    let fixture = Fixture::new(&layout, "io");
    let numbers = device.numbers();
    let (major, minor) = numbers.split_once(':').unwrap();
    fixture
        .apply(&format!(
            r#"{{"blockIO":{{
                "throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
                "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":100}}]}}}}"#
        ))
        .unwrap();
    assert_eq!(
        fixture.read("io.max"),
        format!("{numbers} rbps=1048576 wbps=max riops=max wiops=100")
    );
    let read = format!(
        "dd if={} of=/dev/null bs=64k count=4 iflag=direct",
        device.path
    );
    let (status, text) = fixture.output(&read);
    assert_eq!(status, Some(0), "{text}");
    let stats = fixture.cgroup.stats().unwrap();
    let bytes = stats
        .blkio
        .io_service_bytes_recursive
        .iter()
        .find(|one| one.op == "Read" && format!("{}:{}", one.major, one.minor) == numbers);
    assert_eq!(bytes.map(|one| one.value), Some(262_144), "{stats:?}");
    let err = fixture
        .apply(r#"{"blockIO":{"throttleReadBpsDevice":[{"major":99,"minor":99,"rate":1}]}}"#)
        .unwrap_err();
    assert_eq!(err.class(), Class::NotFound, "{err}");
}
