//! What limits do to processes: each with the limit, and without it or with a wider one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use gl_spec::{Class, Classify as _};

use crate::disk::{LoopDevice, Swap};
use crate::support::{Fixture, has, host, name};

/// Reads 2 MiB of a device in a cgroup, and returns how many seconds that took.
fn seconds_to_read(fixture: &Fixture, device: &LoopDevice) -> f64 {
    let begin = Instant::now();
    let (status, text) = fixture.output(&format!(
        "dd if={} of=/dev/null bs=64k count=32 iflag=direct",
        device.path
    ));
    assert_eq!(status, Some(0), "{text}");
    begin.elapsed().as_secs_f64()
}

#[test]
fn a_throttled_device_is_read_at_its_rate() {
    let Some(layout) = host("throttle") else {
        return;
    };
    let Some(device) = LoopDevice::new("throttle", 2) else {
        return;
    };
    let unlimited = Fixture::new(&layout, "free");
    let fixture = Fixture::new(&layout, "throttle");
    fixture
        .apply(&format!(
            r#"{{"blockIO":{{"throttleReadBpsDevice":[{{{},"rate":1048576}}]}}}}"#,
            device.json()
        ))
        .unwrap();
    let throttled = seconds_to_read(&fixture, &device);
    // A busy machine makes both slower, but a limit is never exceeded, and without one the device is
    // sooner or later read at once.
    let rate = 2.0 / throttled;
    assert!(rate < 1.4, "{rate} MiB/s");
    let mut free = Vec::new();
    while free.iter().all(|seconds| *seconds >= throttled / 2.0) {
        assert!(
            free.len() < 10,
            "{free:?} s without a limit, {throttled} s with one"
        );
        free.push(seconds_to_read(&unlimited, &device));
    }
}

#[test]
fn block_weights_reach_the_scheduler() {
    let Some(layout) = host("bfq") else { return };
    let Some(device) = LoopDevice::new("bfq", 1) else {
        return;
    };
    let fixture = Fixture::new(&layout, "costs");
    if fs::metadata(fixture.dir().join("io.bfq.weight")).is_err() {
        fixture.apply(r#"{"blockIO":{"weight":500}}"#).unwrap();
        assert_eq!(fixture.read("io.weight"), "default 4950");
    }
    drop(fixture);
    // The kernel loads the module by itself.
    if let Err(err) = fs::write(format!("{}/queue/scheduler", device.sysfs()), "bfq") {
        println!("SKIP bfq: this kernel has no BFQ: {err}");
        return;
    }
    let fixture = Fixture::new(&layout, "bfq");
    fixture
        .apply(&format!(
            r#"{{"blockIO":{{"weight":321,"weightDevice":[{{{},"weight":77}}]}}}}"#,
            device.json()
        ))
        .unwrap();
    assert_eq!(
        fixture.read("io.bfq.weight"),
        format!("default 321\n{} 77", device.numbers())
    );
}

/// A counter of `memory.events`.
fn memory_event(fixture: &Fixture, event: &str) -> u64 {
    let text = fixture.read("memory.events");
    let count = text.lines().find_map(|line| {
        let (name, count) = line.split_once(' ')?;
        (name == event).then(|| count.parse().unwrap())
    });
    count.unwrap_or_else(|| panic!("no {event} in {text}"))
}

#[test]
fn memory_above_the_high_mark_is_taken_back() {
    let Some(layout) = host("high") else { return };
    for (test, high, is_limited) in [("high", "4194304", true), ("nohigh", "max", false)] {
        // Each with a device that nobody has read yet.
        let Some(device) = LoopDevice::new(test, 16) else {
            return;
        };
        let fixture = Fixture::new(&layout, test);
        let json = format!(r#"{{"unified":{{"memory.high":"{high}"}}}}"#);
        fixture.apply(&json).unwrap();
        // What was read is kept as long as the device is open.
        let (status, text) = fixture.output(&format!(
            "exec 3<{}; cat <&3 >/dev/null; cat {}",
            device.path,
            fixture.dir().join("memory.current").display()
        ));
        assert_eq!(status, Some(0), "{text}");
        let used: u64 = text.trim().parse().unwrap();
        let events = memory_event(&fixture, "high");
        assert_eq!(events > 0, is_limited, "{high}: {events} events");
        assert_eq!(used < 8 << 20, is_limited, "{high}: {used} bytes");
    }
}

#[test]
fn swap_is_limited_apart_from_memory() {
    let Some(layout) = host("swap") else { return };
    let Some(_swap) = Swap::new("swap", 64) else {
        return;
    };
    // Limits on memory and on the sum, what a process takes, in MiB; whether it may have it.
    for (row, limit, sum, taken, fits) in [
        ("none", 16, 16, 24, false),
        ("some", 16, 32, 24, true),
        ("more", 16, 32, 48, false),
    ] {
        let fixture = Fixture::new(&layout, &format!("swap-{row}"));
        fixture
            .apply(&format!(
                r#"{{"memory":{{"limit":{},"swap":{}}}}}"#,
                limit << 20,
                sum << 20
            ))
            .unwrap();
        // The pipe is full while the whole buffer of dd is still in use.
        let (status, text) = fixture.output(&format!(
            "dd if=/dev/zero bs={taken}M count=1 2>/dev/null | {{ head -c 1 | wc -c; cat {}; }}",
            fixture.dir().join("memory.swap.current").display()
        ));
        assert_eq!(status, Some(0), "{row}: {text}");
        // The shell may say that dd was killed.
        let numbers = text.lines().filter_map(|line| line.trim().parse().ok());
        let seen: Vec<u64> = numbers.collect();
        let [bytes, swapped] = seen[..] else {
            panic!("{row}: {text}")
        };
        assert_eq!(bytes, u64::from(fits), "{row}: {text}");
        let kills = fixture.cgroup.oom_kills().unwrap();
        assert_eq!(kills, u64::from(!fits), "{row}: {text}");
        if fits {
            assert!(((4 << 20)..=(16 << 20)).contains(&swapped), "{row}: {text}");
        }
    }
}

/// Huge pages of 2 MiB and a filesystem with them, both gone at the end.
struct HugePages {
    dir: PathBuf,
    before: String,
}

const COUNT: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    fn new(test: &str, more: usize) -> Option<Self> {
        let before = fs::read_to_string(COUNT).unwrap();
        let want = before.trim().parse::<usize>().unwrap() + more;
        fs::write(COUNT, want.to_string()).unwrap();
        let pages = Self {
            dir: std::env::temp_dir().join(name(test)),
            before,
        };
        fs::create_dir(&pages.dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "hugetlbfs", "-o", "pagesize=2M", "hugetlbfs"])
            .arg(&pages.dir)
            .output()
            .unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
        let count = fs::read_to_string(COUNT).unwrap();
        if count.trim() != want.to_string() {
            println!(
                "SKIP {test}: the kernel gave {} huge pages of {want}",
                count.trim()
            );
            return None;
        }
        Some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.dir).status();
        let restored = fs::write(COUNT, &self.before);
        let removed = fs::remove_dir(&self.dir);
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
            restored.unwrap();
            removed.unwrap();
        }
    }
}

#[test]
fn huge_pages_are_limited() {
    let Some(layout) = host("hugepages") else {
        return;
    };
    if !has("hugepages", "hugetlb") {
        return;
    }
    let Some(pages) = HugePages::new("hugepages", 4) else {
        return;
    };
    let file = pages.dir.join("file");
    let take = |fixture: &Fixture, mebibytes: u32| {
        let script = format!("fallocate -l {mebibytes}M {}", file.display());
        let seen = fixture.output(&script);
        fs::remove_file(&file).unwrap();
        seen
    };
    let free = Fixture::new(&layout, "hugefree");
    assert_eq!(take(&free, 4).0, Some(0), "without a limit");
    let fixture = Fixture::new(&layout, "huge");
    fixture
        .apply(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#)
        .unwrap();
    assert_eq!(take(&fixture, 2).0, Some(0), "as much as the limit");
    let (status, text) = take(&fixture, 4);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    let events = fixture.read("hugetlb.2MB.events");
    assert_eq!(events, "max 1", "{events}");
}

#[test]
fn rdma_limits_are_those_of_devices_that_are_there() {
    let Some(layout) = host("rdma") else { return };
    if !has("rdma", "rdma") {
        return;
    }
    let fixture = Fixture::new(&layout, "rdma");
    let err = fixture
        .apply(r#"{"rdma":{"no_such0":{"hcaHandles":3}}}"#)
        .unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "set linux.resources.rdma[\"no_such0\"] to \"no_such0 hca_handle=3\" in {}/rdma.max",
            fixture.dir().display()
        )
    );
    assert_eq!(err.class(), Class::NotFound);
    for device in fs::read_dir("/sys/class/infiniband").into_iter().flatten() {
        let device = device.unwrap().file_name().into_string().unwrap();
        let json = format!(r#"{{"rdma":{{"{device}":{{"hcaHandles":3,"hcaObjects":500}}}}}}"#);
        fixture.apply(&json).unwrap();
        let want = format!("{device} hca_handle=3 hca_object=500");
        let seen = fixture.read("rdma.max");
        assert!(seen.lines().any(|line| line == want), "{seen}");
        println!("rdma limits of {device} are set");
    }
}
