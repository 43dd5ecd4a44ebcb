use super::{Purpose, Setting, Step, settings};
use crate::error::Error;
use gl_spec::Classify as _;
use gl_spec::oci::LinuxResources;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// `file=value` of each step; joint ones in brackets.
fn written(json: &str, purpose: Purpose) -> Vec<String> {
    let show = |s: &Setting| format!("{}={}", s.file, s.value);
    settings(&resources(json), purpose)
        .unwrap()
        .steps
        .iter()
        .map(|step| match step {
            Step::One(setting) => show(setting),
            Step::Joint(all) => format!("[{}]", all.iter().map(show).collect::<Vec<_>>().join(" ")),
        })
        .collect()
}

#[test]
fn settings_of_nothing_are_nothing() {
    for json in [
        "{}",
        r#"{"memory":{},"cpu":{},"pids":{"limit":0},"blockIO":{},"network":{}}"#,
    ] {
        assert_eq!(
            written(json, Purpose::Create),
            Vec::<String>::new(),
            "{json}"
        );
    }
}

#[test]
fn settings_of_memory_are_written_in_the_order_that_the_kernel_needs() {
    for (json, want) in [
        (
            r#"{"memory":{"limit":1,"swap":2}}"#,
            "[memory.limit_in_bytes=1 memory.memsw.limit_in_bytes=2]",
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            "[memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1]",
        ),
        (r#"{"memory":{"limit":5}}"#, "memory.limit_in_bytes=5"),
        (
            r#"{"memory":{"reservation":7,"swappiness":60}}"#,
            "memory.soft_limit_in_bytes=7 memory.swappiness=60",
        ),
        (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness=0"),
        (r#"{"memory":{"swappiness":18446744073709551615}}"#, ""),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            "memory.oom_control=1",
        ),
        (r#"{"memory":{"disableOOMKiller":false}}"#, ""),
        (
            r#"{"memory":{"kernelTCP":9}}"#,
            "memory.kmem.tcp.limit_in_bytes=9",
        ),
        (
            r#"{"memory":{"useHierarchy":true}}"#,
            "memory.use_hierarchy=1",
        ),
    ] {
        assert_eq!(written(json, Purpose::Create).join(" "), want, "{json}");
    }
}

#[test]
fn settings_of_other_controllers_are_written_as_their_files_want() {
    for (json, want) in [
        (
            r#"{"cpu":{"shares":512,"idle":1}}"#,
            "cpu.shares=512 cpu.idle=1",
        ),
        (
            r#"{"cpu":{"shares":512,"idle":0}}"#,
            "cpu.idle=0 cpu.shares=512",
        ),
        (
            r#"{"cpu":{"quota":50000,"period":100000,"burst":10}}"#,
            "[cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 cpu.cfs_burst_us=10]",
        ),
        (r#"{"cpu":{"quota":-1}}"#, "cpu.cfs_quota_us=-1"),
        (
            r#"{"cpu":{"realtimeRuntime":1,"realtimePeriod":2}}"#,
            "[cpu.rt_period_us=2 cpu.rt_runtime_us=1]",
        ),
        (
            r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
            "cpuset.cpus=0-1,3 cpuset.mems=0",
        ),
        (r#"{"cpu":{"cpus":"","mems":""}}"#, ""),
        (r#"{"pids":{"limit":10}}"#, "pids.max=10"),
        (r#"{"pids":{"limit":-1}}"#, "pids.max=max"),
        (
            r#"{"blockIO":{"weight":100,"leafWeight":0,"weightDevice":[{"major":8,"minor":0,"weight":200,"leafWeight":300}]}}"#,
            "blkio.bfq.weight=100 blkio.bfq.weight_device=8:0 200 blkio.leaf_weight_device=8:0 300",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
                        "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
                        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]}}"#,
            "blkio.throttle.read_bps_device=8:0 1 blkio.throttle.write_bps_device=8:0 2 \
             blkio.throttle.read_iops_device=8:0 3 blkio.throttle.write_iops_device=8:0 4",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#,
            "hugetlb.2MB.limit_in_bytes=4 hugetlb.2MB.rsvd.limit_in_bytes=4",
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4}}}"#,
            "rdma.max=mlx5_1 hca_handle=3 hca_object=4",
        ),
        (r#"{"rdma":{"mlx5_1":{}}}"#, ""),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
            "net_cls.classid=1048577 net_prio.ifpriomap=eth0 5",
        ),
    ] {
        assert_eq!(written(json, Purpose::Create).join(" "), want, "{json}");
    }
}

#[test]
fn settings_of_an_update_enable_the_oom_killer_again() {
    let json = r#"{"memory":{"disableOOMKiller":false}}"#;
    assert_eq!(written(json, Purpose::Update), ["memory.oom_control=0"]);
}

#[test]
fn settings_tolerate_a_kernel_memory_limit_and_say_so() {
    let got = settings(
        &resources(r#"{"memory":{"kernel":1048576}}"#),
        Purpose::Create,
    )
    .unwrap();
    assert_eq!(got.steps, []);
    assert_eq!(got.ignored, ["linux.resources.memory.kernel"]);
}

#[test]
fn settings_refuse_values_that_no_kernel_takes_and_name_the_field() {
    for (json, field, message) in [
        (
            r#"{"cpu":{"shares":1}}"#,
            "linux.resources.cpu.shares",
            r#"set linux.resources.cpu.shares to "1": shares are 2 to 262144"#,
        ),
        (
            r#"{"cpu":{"shares":262145}}"#,
            "linux.resources.cpu.shares",
            r#"set linux.resources.cpu.shares to "262145": shares are 2 to 262144"#,
        ),
        (
            r#"{"cpu":{"cpus":"0\n1"}}"#,
            "linux.resources.cpu.cpus",
            r#"set linux.resources.cpu.cpus to "0\n1": a list looks like 0-3,6"#,
        ),
        (
            r#"{"memory":{"swappiness":101}}"#,
            "linux.resources.memory.swappiness",
            r#"set linux.resources.memory.swappiness to "101": swappiness is 0 to 100"#,
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"../x","limit":1}]}"#,
            "linux.resources.hugepageLimits[1].pageSize",
            r#"set linux.resources.hugepageLimits[1].pageSize to "../x": a page size looks like 64KB, 2MB or 1GB"#,
        ),
        (
            r#"{"rdma":{"a b":{"hcaHandles":1}}}"#,
            r#"linux.resources.rdma["a b"]"#,
            r#"set linux.resources.rdma["a b"] to "a b": a device name has no white space and is not empty"#,
        ),
        (
            r#"{"network":{"priorities":[{"name":"a\nb","priority":1}]}}"#,
            "linux.resources.network.priorities[0]",
            r#"set linux.resources.network.priorities[0] to "a\nb": a device name has no white space and is not empty"#,
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#,
            "linux.resources.blockIO.throttleReadBpsDevice[0]",
            r#"set linux.resources.blockIO.throttleReadBpsDevice[0] to "-1:0": a block device has numbers from 0 up"#,
        ),
        (
            r#"{"unified":{"memory.high":"1"}}"#,
            r#"linux.resources.unified["memory.high"]"#,
            r#"set linux.resources.unified["memory.high"] to "1": unified settings need cgroup v2, and this host has v1"#,
        ),
    ] {
        let err = settings(&resources(json), Purpose::Create).unwrap_err();
        assert_eq!(err.to_string(), message);
        assert_eq!(err.field().as_deref(), Some(field));
        assert!(matches!(err, Error::Value { .. }), "{err:?}");
    }
}

#[test]
fn settings_name_the_field_and_controller_of_each_value() {
    let json = r#"{"blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}]}}"#;
    let got = settings(&resources(json), Purpose::Create).unwrap();
    let fields: Vec<_> = got
        .steps
        .iter()
        .map(|step| match step {
            Step::One(setting) => (setting.field.as_ref(), setting.controller.name()),
            Step::Joint(_) => ("joint", ""),
        })
        .collect();
    assert_eq!(
        fields,
        [
            (
                "linux.resources.blockIO.throttleWriteIOPSDevice[0]",
                "blkio"
            ),
            (
                "linux.resources.blockIO.throttleWriteIOPSDevice[1]",
                "blkio"
            ),
        ]
    );
}
