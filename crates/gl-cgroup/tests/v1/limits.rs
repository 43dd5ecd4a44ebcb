//! Limits, statistics and running out of memory.

use std::fs;

use gl_cgroup::{Controller, Error, OomEvent, OomWatch, Parents, stats::Stats};
use gl_spec::{Class, Classify as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::{Fixture, LIMIT, host, resources, skip};
#[test]
fn apply_writes_each_limit_to_its_file() {
    let Some(layout) = host("apply") else { return };
    let fixture = Fixture::new(&layout, "apply");
    let json = r#"{
        "memory": {"limit": 67108864, "reservation": 33554432, "swap": 134217728, "swappiness": 10,
                   "kernel": 1048576, "kernelTCP": 8388608, "disableOOMKiller": true, "useHierarchy": true},
        "cpu": {"shares": 512, "quota": 50000, "period": 20000, "burst": 10000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 42},
        "blockIO": {"weight": 321}
    }"#;
    let applied = fixture.apply(json).unwrap();
    assert_eq!(applied.ignored, ["linux.resources.memory.kernel"]);
    for (controller, file, want) in [
        (Controller::Memory, "memory.limit_in_bytes", "67108864"),
        (Controller::Memory, "memory.soft_limit_in_bytes", "33554432"),
        (
            Controller::Memory,
            "memory.memsw.limit_in_bytes",
            "134217728",
        ),
        (Controller::Memory, "memory.swappiness", "10"),
        (
            Controller::Memory,
            "memory.kmem.tcp.limit_in_bytes",
            "8388608",
        ),
        (Controller::Cpu, "cpu.shares", "512"),
        (Controller::Cpu, "cpu.cfs_quota_us", "50000"),
        (Controller::Cpu, "cpu.cfs_period_us", "20000"),
        (Controller::Cpu, "cpu.cfs_burst_us", "10000"),
        (Controller::Cpuset, "cpuset.cpus", "0"),
        (Controller::Cpuset, "cpuset.mems", "0"),
        (Controller::Pids, "pids.max", "42"),
        (Controller::Blkio, "blkio.bfq.weight", "321"),
    ] {
        assert_eq!(fixture.read(controller, file), want, "{file}");
    }
    let control = fixture.read(Controller::Memory, "memory.oom_control");
    assert!(control.starts_with("oom_kill_disable 1\n"), "{control}");
}

#[test]
fn update_raises_and_lowers_memory_and_swap_together() {
    let Some(layout) = host("update_memory") else {
        return;
    };
    let fixture = Fixture::new(&layout, "memory");
    for (limit, swap, want_swap) in [
        (64 << 20, 128 << 20, "134217728"),
        (256 << 20, 512 << 20, "536870912"),
        (16 << 20, 16 << 20, "16777216"),
        (32 << 20, -1, "9223372036854771712"),
        (8 << 20, 64 << 20, "67108864"),
    ] {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
        fixture.cgroup.update(&resources(&json)).unwrap();
        let got = fixture.read(Controller::Memory, "memory.limit_in_bytes");
        assert_eq!(got, limit.to_string(), "{json}");
        let got = fixture.read(Controller::Memory, "memory.memsw.limit_in_bytes");
        assert_eq!(got, want_swap, "{json}");
    }
    fixture
        .cgroup
        .update(&resources(r#"{"memory":{"limit":-1}}"#))
        .unwrap();
    for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
        assert_eq!(
            fixture.read(Controller::Memory, file),
            "9223372036854771712",
            "{file}"
        );
    }
}

#[test]
fn update_moves_quota_and_period_within_the_limit_of_the_parent() {
    let Some(layout) = host("update_cpu") else {
        return;
    };
    let fixture = Fixture::new(&layout, "cpu");
    let parent = fixture
        .dir(Controller::Cpu)
        .parent()
        .unwrap()
        .join("cpu.cfs_quota_us");
    fixture
        .apply(r#"{"cpu":{"quota":50000,"period":100000}}"#)
        .unwrap();
    fs::write(&parent, "50000").unwrap();
    // A period of 10000 with the old quota would be five times what the parent allows.
    fixture
        .cgroup
        .update(&resources(r#"{"cpu":{"quota":5000,"period":10000}}"#))
        .unwrap();
    assert_eq!(fixture.read(Controller::Cpu, "cpu.cfs_quota_us"), "5000");
    assert_eq!(fixture.read(Controller::Cpu, "cpu.cfs_period_us"), "10000");
}

#[test]
fn apply_names_field_value_and_file_of_a_refused_value() {
    let Some(layout) = host("apply_refused") else {
        return;
    };
    let fixture = Fixture::new(&layout, "refused");
    let err = fixture.apply(r#"{"cpu":{"cpus":"4000"}}"#).unwrap_err();
    let file = fixture.dir(Controller::Cpuset).join("cpuset.cpus");
    assert_eq!(
        err.to_string(),
        format!(
            r#"set linux.resources.cpu.cpus to "4000" in {}"#,
            file.display()
        )
    );
    assert_eq!(err.field().as_deref(), Some("linux.resources.cpu.cpus"));
}

#[test]
fn apply_refuses_a_limit_whose_controller_is_missing() {
    let Some(layout) = host("apply_missing") else {
        return;
    };
    let has = |c| {
        layout
            .hierarchies()
            .iter()
            .any(|h| h.controllers.contains(&c))
    };
    if has(Controller::NetCls) {
        skip("apply_missing", "this host has net_cls");
        return;
    }
    let fixture = Fixture::new(&layout, "missing");
    let err = fixture.apply(r#"{"network":{"classID":5}}"#).unwrap_err();
    assert_eq!(
        err.to_string(),
        "set linux.resources.network.classID: this host has no net_cls controller (net_cls.classid)"
    );
    assert_eq!(err.class(), Class::Unsupported);
}

#[test]
fn apply_refuses_a_limit_whose_file_is_missing() {
    let Some(layout) = host("apply_no_file") else {
        return;
    };
    let fixture = Fixture::new(&layout, "nofile");
    let err = fixture
        .apply(r#"{"blockIO":{"leafWeight":5}}"#)
        .unwrap_err();
    assert!(matches!(err, Error::NoFile { .. }), "{err:?}");
    assert_eq!(
        err.field().as_deref(),
        Some("linux.resources.blockIO.leafWeight")
    );
}

#[test]
fn update_refuses_memory_below_what_is_in_use_and_keeps_the_old_limit() {
    let Some(layout) = host("update_busy") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "inuse");
    fixture
        .apply(r#"{"memory":{"limit":67108864,"swap":67108864}}"#)
        .unwrap();
    // dd holds its block as long as nobody reads it.
    fixture.run("dd if=/dev/zero bs=16M count=1 | sleep 1000");
    let full = |f: &Fixture| f.cgroup.stats().unwrap().memory.usage.usage > 16 << 20;
    assert!((0..100_000).any(|_| full(&fixture)), "never got full");
    let err = fixture
        .cgroup
        .update(&resources(r#"{"memory":{"limit":1048576,"swap":1048576}}"#))
        .unwrap_err();
    assert_eq!(err.class(), Class::Conflict, "{err}");
    assert_eq!(
        fixture.read(Controller::Memory, "memory.memsw.limit_in_bytes"),
        "67108864"
    );
}

#[test]
fn stats_show_limits_and_use() {
    let Some(layout) = host("stats") else { return };
    let mut fixture = Fixture::new(&layout, "stats");
    fixture
        .apply(r#"{"memory":{"limit":67108864,"swap":134217728},"pids":{"limit":42},"cpu":{"cpus":"0"}}"#)
        .unwrap();
    fixture.run("exec sleep 1000");
    let stats = fixture.cgroup.stats().unwrap();
    assert_eq!(stats.pids.limit, 42);
    assert_eq!(stats.pids.current, 1);
    assert_eq!(stats.cpuset.cpus, [0]);
    assert_eq!(stats.cpuset.sched_relax_domain_level, -1);
    assert_eq!(stats.memory.usage.limit, 64 << 20);
    assert_eq!(stats.memory.swap.limit, 128 << 20);
    assert!(stats.memory.usage.usage > 0, "{:?}", stats.memory);
    assert_eq!(stats.memory.raw.get("cache"), Some(&stats.memory.cache));
    assert!(stats.cpu.usage.total > 0, "{:?}", stats.cpu);
    // The counts of the processors are read before the total, and the process may run in between.
    let percpu = |stats: &Stats| stats.cpu.usage.percpu.iter().sum::<u64>();
    let later = fixture.cgroup.stats().unwrap();
    assert!(percpu(&stats) <= stats.cpu.usage.total, "{:?}", stats.cpu);
    assert!(
        stats.cpu.usage.total <= percpu(&later),
        "{:?}, then {:?}",
        stats.cpu,
        later.cpu
    );
    assert_eq!(
        stats.cpu.usage.percpu_user.len(),
        stats.cpu.usage.percpu.len()
    );
}

#[test]
fn oom_watch_reports_a_kill_and_then_the_end() {
    let Some(layout) = host("oom_watch") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "oom");
    fixture
        .apply(r#"{"memory":{"limit":8388608,"swap":8388608}}"#)
        .unwrap();
    let watch = fixture.cgroup.oom_watch().unwrap();
    assert_eq!(watch.take().unwrap(), OomEvent::Quiet);
    fixture.run("x=a; while :; do x=$x$x; done");
    wait_readable(&watch);
    let event = watch.take().unwrap();
    assert!(matches!(event, OomEvent::OutOfMemory { .. }), "{event:?}");
    fixture.processes[0].wait().unwrap();
    assert_eq!(fixture.cgroup.oom_kills().unwrap(), 1);
    fixture.cgroup.remove(Parents::Keep, LIMIT).unwrap();
    wait_readable(&watch);
    assert_eq!(watch.take().unwrap(), OomEvent::Gone);
}

fn wait_readable(watch: &OomWatch) {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "no event within 10 s");
}
