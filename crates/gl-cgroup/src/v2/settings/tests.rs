use gl_spec::oci::LinuxResources;
use gl_spec::{Class, Classify as _};

use super::{Absent, Current, Setting, Step, settings};
use crate::error::Error;
use crate::v2::cpu::weight;

fn decide(json: &str, current: &Current) -> Result<String, Error> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let out = settings(&resources, current)?;
    let shown = |setting: &Setting| {
        let mark = match setting.absent {
            Absent::Refuse => "",
            Absent::Skip => "?",
        };
        format!("{}{mark}={}", setting.file, setting.value)
    };
    let mut lines = Vec::new();
    for step in &out.steps {
        match step {
            Step::One(setting) => lines.push(shown(setting)),
            Step::Joint(all) => {
                let all: Vec<_> = all.iter().map(shown).collect();
                lines.push(format!("({})", all.join(" ")));
            }
        }
    }
    lines.extend(out.ignored.iter().map(|field| format!("ignored {field}")));
    Ok(lines.join("|"))
}

#[test]
fn settings_of_memory() {
    for (json, want) in [
        ("{}", ""),
        (r#"{"memory":{"limit":1000}}"#, "memory.max=1000"),
        (
            r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
            "memory.swap.max=2000|memory.max=1000|memory.low=500",
        ),
        (
            r#"{"memory":{"limit":1000,"swap":1000}}"#,
            "memory.swap.max?=0|memory.max=1000",
        ),
        (
            r#"{"memory":{"limit":1000,"swap":-1}}"#,
            "memory.swap.max?=max|memory.max=1000",
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            "memory.swap.max?=max|memory.max=max",
        ),
        (r#"{"memory":{"reservation":-1}}"#, "memory.low=max"),
        (
            r#"{"memory":{"limit":0,"swap":0,"kernel":5,"disableOOMKiller":true,"useHierarchy":false}}"#,
            "ignored linux.resources.memory.kernel|ignored linux.resources.memory.disableOOMKiller|ignored linux.resources.memory.useHierarchy",
        ),
        (
            r#"{"memory":{"disableOOMKiller":false,"swappiness":18446744073709551615}}"#,
            "",
        ),
    ] {
        let got = decide(json, &Current::default());
        assert_eq!(got.unwrap(), want, "{json}");
    }
}

#[test]
fn settings_of_the_other_controllers() {
    for (json, want) in [
        (r#"{"pids":{"limit":7}}"#, "pids.max=7"),
        (r#"{"pids":{"limit":-1}}"#, "pids.max=max"),
        (r#"{"pids":{"limit":0}}"#, ""),
        (
            r#"{"cpu":{"shares":1024,"cpus":"0-1","mems":"0"}}"#,
            "cpuset.cpus=0-1|cpuset.mems=0|cpu.weight=100",
        ),
        (
            r#"{"cpu":{"quota":50000,"period":100000,"burst":1000}}"#,
            "(cpu.max=50000 100000 cpu.max.burst=1000)",
        ),
        (r#"{"cpu":{"quota":50000}}"#, "(cpu.max=50000)"),
        (r#"{"cpu":{"quota":-1}}"#, "(cpu.max=max)"),
        (
            r#"{"cpu":{"quota":-1,"period":5000}}"#,
            "(cpu.max=max 5000)",
        ),
        (r#"{"cpu":{"period":5000}}"#, "(cpu.max=max 5000)"),
        (r#"{"cpu":{"burst":0}}"#, "(cpu.max.burst?=0)"),
        (
            r#"{"cpu":{"shares":1024,"idle":1}}"#,
            "cpu.weight=100|cpu.idle=1",
        ),
        (
            r#"{"cpu":{"shares":1024,"idle":0}}"#,
            "cpu.idle=0|cpu.weight=100",
        ),
        (r#"{"cpu":{"realtimePeriod":0,"realtimeRuntime":0}}"#, ""),
        (
            r#"{"blockIO":{"weight":500,"leafWeight":0,"weightDevice":[{"major":8,"minor":0,"weight":1000}]}}"#,
            "io.weight=default 4950|io.weight=8:0 10000",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
            "io.max=8:0 rbps=5|io.max=8:16 wiops=max",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9}]}"#,
            "hugetlb.2MB.max=9|hugetlb.2MB.rsvd.max?=9",
        ),
        (
            r#"{"rdma":{"mlx5":{"hcaHandles":3}}}"#,
            "rdma.max=mlx5 hca_handle=3",
        ),
        (r#"{"network":{"classID":0,"priorities":[]}}"#, ""),
        (
            r#"{"memory":{"limit":1000},"unified":{"memory.high":"900","cgroup.max.depth":"2"}}"#,
            "memory.max=1000|cgroup.max.depth=2|memory.high=900",
        ),
    ] {
        let got = decide(json, &Current::default());
        assert_eq!(got.unwrap(), want, "{json}");
    }
}

#[test]
fn settings_follow_what_the_cgroup_has() {
    let current = Current {
        memory_max: Some(1000),
        cpu_quota: Some("5000".to_owned()),
        has_bfq: true,
    };
    for (json, want) in [
        (r#"{"memory":{"swap":1500}}"#, "memory.swap.max=500"),
        (
            r#"{"memory":{"swap":1500,"limit":1200}}"#,
            "memory.swap.max=300|memory.max=1200",
        ),
        (r#"{"cpu":{"period":20000}}"#, "(cpu.max=5000 20000)"),
        (
            r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":20}]}}"#,
            "io.bfq.weight=500|io.bfq.weight=8:0 20",
        ),
    ] {
        assert_eq!(decide(json, &current).unwrap(), want, "{json}");
    }
}

#[test]
fn settings_refuse_by_name_what_only_v1_has() {
    for (json, field) in [
        (r#"{"memory":{"swappiness":60}}"#, "memory.swappiness"),
        (r#"{"memory":{"kernelTCP":60}}"#, "memory.kernelTCP"),
        (r#"{"cpu":{"realtimeRuntime":60}}"#, "cpu.realtimeRuntime"),
        (r#"{"cpu":{"realtimePeriod":60}}"#, "cpu.realtimePeriod"),
        (r#"{"blockIO":{"leafWeight":60}}"#, "blockIO.leafWeight"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":60}]}}"#,
            "blockIO.weightDevice[0].leafWeight",
        ),
        (r#"{"network":{"classID":60}}"#, "network.classID"),
        (
            r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
            "network.priorities",
        ),
    ] {
        let err = decide(json, &Current::default()).unwrap_err();
        let field = format!("linux.resources.{field}");
        assert_eq!(
            err.to_string(),
            format!("set {field}: cgroup v2 has no such limit")
        );
        assert_eq!(err.field().as_deref(), Some(field.as_str()));
        assert_eq!(err.class(), Class::Unsupported, "{err}");
    }
}

#[test]
fn settings_refuse_values_that_no_kernel_takes() {
    for (json, want) in [
        (
            r#"{"memory":{"limit":1000,"swap":999}}"#,
            "set linux.resources.memory.swap to \"999\": it is the sum of memory and swap, so at least memory.limit",
        ),
        (
            r#"{"memory":{"swap":999}}"#,
            "set linux.resources.memory.swap to \"999\": it is the sum of memory and swap, so memory.limit is needed",
        ),
        (
            r#"{"memory":{"swap":999,"limit":-1}}"#,
            "set linux.resources.memory.swap to \"999\": it is the sum of memory and swap, so memory.limit is needed",
        ),
        (
            r#"{"cpu":{"shares":1}}"#,
            "set linux.resources.cpu.shares to \"1\": shares are 2 to 262144",
        ),
        (
            r#"{"cpu":{"cpus":"0;1"}}"#,
            "set linux.resources.cpu.cpus to \"0;1\": a list looks like 0-3,6",
        ),
        (
            r#"{"unified":{"../x":"1"}}"#,
            "set linux.resources.unified[\"../x\"] to \"1\": a key is the name of one file of the cgroup",
        ),
        (
            r#"{"unified":{"cgroup.procs":"1"}}"#,
            "set linux.resources.unified[\"cgroup.procs\"] to \"1\": that file sets no limit",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2M","limit":9}]}"#,
            "set linux.resources.hugepageLimits[0].pageSize to \"2M\": a page size looks like 64KB, 2MB or 1GB",
        ),
    ] {
        let err = decide(json, &Current::default()).unwrap_err();
        assert_eq!(err.to_string(), want, "{json}");
        assert_eq!(err.class(), Class::Invalid, "{err}");
    }
}

#[test]
fn weight_goes_through_the_agreed_points_and_never_falls() {
    for (shares, want) in [
        (2, 1),
        (1024, 100),
        (2000, 170),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight(shares), want, "{shares}");
    }
    let mut last = 0;
    for shares in 2..=262_144 {
        let now = weight(shares);
        assert!(
            (1..=10_000).contains(&now) && now >= last,
            "{shares}: {now}"
        );
        last = now;
    }
}
