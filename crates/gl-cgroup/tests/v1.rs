//! The v1 driver against the real hierarchies, as root.
//!
//! Each test makes cgroups below a name of its own and removes them, and ends only its own processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "also in what tests share, a step that fails is a failed test, and a skip is said"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gl_cgroup::{
    Cgroup, Controller, Depth, DeviceDefault, Driver, Error, Layout, OomEvent, OomWatch, Parents,
    Paths, Version, resolve,
};
use gl_spec::oci::LinuxResources;
use gl_spec::{Class, Classify as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(10);

/// A layout to test on, or the reason why there is none.
fn host(test: &str) -> Option<Layout> {
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(err) => return skip(test, &err.to_string()),
    };
    if layout.version() != Version::V1 {
        return skip(test, "this host has no cgroup v1");
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root");
    }
    Some(layout)
}

fn skip(test: &str, reason: &str) -> Option<Layout> {
    println!("SKIP {test}: {reason}");
    None
}

/// The path of a test's cgroup, two levels below the root.
fn paths(test: &str) -> Paths {
    paths_of(&format!(
        "/greenlang-test-{}-{test}/{test}",
        std::process::id()
    ))
}

fn paths_of(path: &str) -> Paths {
    resolve(Some(path), "unused", || {
        panic!("an absolute path needs no own cgroup")
    })
    .unwrap()
}

/// A cgroup that is removed with its processes at the end of a test, also of one that fails.
struct Fixture {
    cgroup: Cgroup,
    paths: Paths,
    processes: Vec<Child>,
}

impl Fixture {
    fn new(layout: &Layout, test: &str) -> Self {
        let paths = paths(test);
        Self {
            cgroup: Cgroup::create(Driver::Cgroupfs, layout, &paths).unwrap(),
            paths,
            processes: Vec::new(),
        }
    }

    fn dir(&self, controller: Controller) -> PathBuf {
        let path = self.paths.path(controller).unwrap();
        Path::new("/sys/fs/cgroup")
            .join(controller.name())
            .join(path.as_str())
    }

    fn read(&self, controller: Controller, file: &str) -> String {
        let path = self.dir(controller).join(file);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        text.trim_end().to_owned()
    }

    fn apply(&self, json: &str) -> Result<gl_cgroup::Applied, Error> {
        self.cgroup.apply(&resources(json), DeviceDefault::Keep)
    }

    /// Starts a shell in the cgroup that runs `script` once it has joined.
    fn run(&mut self, script: &str) -> i32 {
        let fds = self.cgroup.join_fds().unwrap();
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("{}; echo ready; {script}", join_script(&fds)),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let pid = i32::try_from(child.id()).unwrap();
        self.processes.push(child);
        pid
    }
}

/// Writes 0 to each descriptor of this process.
fn join_script(fds: &[OwnedFd]) -> String {
    let own = std::process::id();
    let one = |fd: &OwnedFd| format!("echo 0 > /proc/{own}/fd/{}", fd.as_raw_fd());
    fds.iter().map(one).collect::<Vec<_>>().join(" && ")
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let killed = self.cgroup.kill_all(Signal::KILL).map(drop);
        for child in &mut self.processes {
            child.wait().unwrap();
        }
        let removed = self.cgroup.remove(Parents::Remove, LIMIT);
        if !std::thread::panicking() {
            killed.unwrap();
            removed.unwrap();
        }
    }
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

#[test]
fn create_makes_the_cgroup_in_every_hierarchy_and_remove_leaves_nothing() {
    let Some(layout) = host("create_makes") else {
        return;
    };
    let fixture = Fixture::new(&layout, "create");
    for hierarchy in layout.hierarchies() {
        let dir = fixture.dir(hierarchy.controllers[0]);
        assert!(fs::metadata(&dir).unwrap().is_dir(), "{}", dir.display());
    }
    let dirs: Vec<_> = layout
        .hierarchies()
        .iter()
        .map(|h| fixture.dir(h.controllers[0]))
        .collect();
    drop(fixture);
    for dir in dirs {
        let err = fs::metadata(&dir).unwrap_err();
        assert_eq!(
            err.kind(),
            std::io::ErrorKind::NotFound,
            "{}",
            dir.display()
        );
    }
}

#[test]
fn create_gives_a_new_cpuset_what_its_parent_has() {
    let Some(layout) = host("create_cpuset") else {
        return;
    };
    let fixture = Fixture::new(&layout, "cpuset");
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let root = fs::read_to_string(format!("/sys/fs/cgroup/cpuset/{file}")).unwrap();
        assert_eq!(
            fixture.read(Controller::Cpuset, file),
            root.trim_end(),
            "{file}"
        );
    }
}

#[test]
fn create_fills_a_cpuset_that_somebody_left_empty() {
    let Some(layout) = host("create_fills") else {
        return;
    };
    let parent = format!(
        "/sys/fs/cgroup/cpuset/greenlang-test-{}-empty",
        std::process::id()
    );
    fs::create_dir(&parent).unwrap();
    let paths = paths_of(&format!("/greenlang-test-{}-empty/x", std::process::id()));
    let cgroup = Cgroup::create(Driver::Cgroupfs, &layout, &paths);
    let filled = fs::read_to_string(format!("{parent}/x/cpuset.cpus"));
    cgroup.unwrap().remove(Parents::Remove, LIMIT).unwrap();
    // The parent in this hierarchy is not ours to remove, so it is still there.
    fs::remove_dir(&parent).unwrap();
    let root = fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.cpus").unwrap();
    assert_eq!(filled.unwrap(), root);
}

#[test]
fn create_refuses_a_cgroup_with_processes_and_touches_nothing() {
    let Some(layout) = host("create_refuses") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "used");
    fixture.run("exec sleep 1000");
    let err = Cgroup::create(Driver::Cgroupfs, &layout, &fixture.paths).unwrap_err();
    assert!(matches!(err, Error::InUse { processes: 1, .. }), "{err:?}");
    assert_eq!(err.class(), Class::Conflict);
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap().len(), 1);
}

#[test]
fn create_refuses_a_frozen_cgroup() {
    let Some(layout) = host("create_frozen") else {
        return;
    };
    let fixture = Fixture::new(&layout, "frozen");
    fixture.cgroup.freeze().unwrap();
    let err = Cgroup::create(Driver::Cgroupfs, &layout, &fixture.paths).unwrap_err();
    assert!(matches!(err, Error::Frozen { .. }), "{err:?}");
    fixture.cgroup.thaw().unwrap();
}

/// Fails if a cgroup of that name is left in any hierarchy.
fn assert_none_left(layout: &Layout, name: &str) {
    for hierarchy in layout.hierarchies() {
        let left = format!("/sys/fs/cgroup/{}/{name}", hierarchy.dir);
        assert!(fs::metadata(&left).is_err(), "{left} is left");
    }
}

#[test]
fn create_that_fails_on_its_parents_removes_those_it_made() {
    let Some(layout) = host("create_parents") else {
        return;
    };
    let name = format!("greenlang-test-{}-parents", std::process::id());
    // The new cgroup has a file of that name: ENOTDIR below it.
    let paths = paths_of(&format!("/{name}/tasks/x"));
    let err = Cgroup::create(Driver::Cgroupfs, &layout, &paths).unwrap_err();
    assert!(matches!(err, Error::Make { .. }), "{err:?}");
    assert_none_left(&layout, &name);
}

#[test]
fn create_that_fails_in_the_last_hierarchy_leaves_none_in_the_others() {
    let Some(layout) = host("create_last") else {
        return;
    };
    let name = format!("greenlang-test-{}-last", std::process::id());
    let last = &layout.hierarchies().last().unwrap().dir;
    let used = format!("/sys/fs/cgroup/{last}/{name}");
    fs::create_dir(&used).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(format!("{used}/cgroup.procs"), child.id().to_string()).unwrap();
    let result = Cgroup::create(Driver::Cgroupfs, &layout, &paths_of(&format!("/{name}")));
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir(&used).unwrap();
    let err = result.unwrap_err();
    assert!(matches!(err, Error::InUse { processes: 1, .. }), "{err:?}");
    assert_none_left(&layout, &name);
}

#[test]
fn join_fds_put_a_process_in_every_hierarchy_once() {
    let Some(layout) = host("join_fds") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "join");
    assert_eq!(
        fixture.cgroup.join_fds().unwrap().len(),
        layout.hierarchies().len()
    );
    let pid = fixture.run("exec sleep 1000");
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let want = fixture.paths.path(Controller::Memory).unwrap().to_string();
    for line in own.lines().filter(|line| !line.starts_with("0:")) {
        assert_eq!(line.splitn(3, ':').nth(2), Some(want.as_str()), "{line}");
    }
}

#[test]
fn join_fds_take_a_process_that_writes_to_them_directly() {
    let Some(layout) = host("join_direct") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "direct");
    let tasks = fixture.cgroup.join_fds().unwrap().remove(0);
    // The shell's standard output is the tasks file itself.
    let child = Command::new("sh")
        .args(["-c", "echo 0; exec cat"])
        .stdin(Stdio::piped())
        .stdout(tasks)
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    fixture.processes.push(child);
    let controller = layout.hierarchies()[0].controllers[0];
    let seen = (0..10_000).any(|_| fixture.read(controller, "tasks") == pid);
    let input = fixture.processes[0].stdin.take();
    drop(input);
    assert!(seen, "{pid} did not join");
}

#[test]
fn open_finds_the_cgroup_of_a_stored_record() {
    let Some(layout) = host("open") else { return };
    let mut fixture = Fixture::new(&layout, "record");
    let pid = fixture.run("exec sleep 1000");
    let json = serde_json::to_string(&fixture.cgroup.record()).unwrap();
    let opened = Cgroup::open(&serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(opened.pids(Depth::Tree).unwrap(), [pid], "{json}");
    assert_eq!(opened.record(), fixture.cgroup.record());
}

#[test]
fn open_of_a_cgroup_that_is_gone_is_empty_and_can_be_removed() {
    let Some(layout) = host("open_gone") else {
        return;
    };
    let fixture = Fixture::new(&layout, "gone");
    let record = fixture.cgroup.record();
    drop(fixture);
    let gone = Cgroup::open(&record).unwrap();
    assert_eq!(gone.pids(Depth::Tree).unwrap(), Vec::<i32>::new());
    assert_eq!(gone.kill_all(Signal::KILL).unwrap(), 0);
    assert!(!gone.frozen().unwrap());
    gone.remove(Parents::Remove, LIMIT).unwrap();
    let err = gone
        .update(&resources(r#"{"pids":{"limit":5}}"#))
        .unwrap_err();
    assert_eq!(err.class(), Class::NotFound, "{err}");
}

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
fn apply_limits_devices_to_the_list_and_the_defaults() {
    let Some(layout) = host("apply_devices") else {
        return;
    };
    let fixture = Fixture::new(&layout, "devices");
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"b","major":7,"minor":3,"access":"r"}]}"#;
    fixture
        .cgroup
        .apply(&resources(rules), DeviceDefault::Deny)
        .unwrap();
    let mut list: Vec<_> = fixture
        .read(Controller::Devices, "devices.list")
        .lines()
        .map(str::to_owned)
        .collect();
    list.sort();
    assert_eq!(
        list,
        [
            "b *:* m",
            "b 7:3 r",
            "c *:* m",
            "c 10:200 rwm",
            "c 136:* rwm",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
        ]
    );
}

#[test]
fn update_of_devices_works_while_there_are_cgroups_below() {
    let Some(layout) = host("update_devices") else {
        return;
    };
    let fixture = Fixture::new(&layout, "devupdate");
    let first = r#"{"devices":[{"allow":true,"type":"b","major":7,"minor":3,"access":"rw"}]}"#;
    fixture
        .cgroup
        .apply(&resources(first), DeviceDefault::Deny)
        .unwrap();
    fs::create_dir(fixture.dir(Controller::Devices).join("below")).unwrap();
    let second = r#"{"devices":[{"allow":true,"type":"b","major":7,"minor":3,"access":"r"},
        {"allow":true,"type":"b","major":7,"minor":4,"access":"w"}]}"#;
    fixture.cgroup.update(&resources(second)).unwrap();
    let list = fixture.read(Controller::Devices, "devices.list");
    let blocks: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("b 7"))
        .collect();
    assert_eq!(blocks, ["b 7:3 r", "b 7:4 w"], "{list}");
}

#[test]
fn devices_keep_leaves_the_controller_alone() {
    let Some(layout) = host("devices_keep") else {
        return;
    };
    let fixture = Fixture::new(&layout, "keep");
    fixture
        .cgroup
        .apply(&resources("{}"), DeviceDefault::Keep)
        .unwrap();
    assert_eq!(
        fixture.read(Controller::Devices, "devices.list"),
        "a *:* rwm"
    );
    fixture
        .cgroup
        .apply(&resources("{}"), DeviceDefault::Deny)
        .unwrap();
    assert_ne!(
        fixture.read(Controller::Devices, "devices.list"),
        "a *:* rwm"
    );
}

#[test]
fn freeze_stops_and_thaw_continues() {
    let Some(layout) = host("freeze") else { return };
    let mut fixture = Fixture::new(&layout, "freeze");
    fixture.run("while :; do :; done");
    assert!(!fixture.cgroup.frozen().unwrap());
    fixture.cgroup.freeze().unwrap();
    assert_eq!(fixture.read(Controller::Freezer, "freezer.state"), "FROZEN");
    assert!(fixture.cgroup.frozen().unwrap());
    fixture.cgroup.thaw().unwrap();
    assert!(!fixture.cgroup.frozen().unwrap());
}

#[test]
fn kill_all_reaches_forking_processes_and_cgroups_below() {
    let Some(layout) = host("kill_all") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "kill");
    let below = fixture.dir(Controller::Freezer).join("below");
    fs::create_dir(&below).unwrap();
    fixture.run("while :; do sleep 0.01 & done");
    fixture.run(&format!(
        "echo 0 > {}/tasks; exec sleep 1000",
        below.display()
    ));
    let pids = fixture.cgroup.pids(Depth::Tree).unwrap();
    assert!(pids.len() >= 2, "{pids:?}");
    let killed = fixture.cgroup.kill_all(Signal::KILL).unwrap();
    assert!(killed >= 2, "{killed}");
    fixture.cgroup.wait_empty(LIMIT).unwrap();
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap(), Vec::<i32>::new());
}

#[test]
fn kill_all_of_a_frozen_container_ends_it() {
    let Some(layout) = host("kill_frozen") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "killfrozen");
    fixture.run("exec sleep 1000");
    fixture.cgroup.freeze().unwrap();
    // A signal that is not fatal leaves a paused container paused.
    assert_eq!(fixture.cgroup.kill_all(Signal::USR1).unwrap(), 1);
    assert!(fixture.cgroup.frozen().unwrap());
    assert_eq!(fixture.cgroup.kill_all(Signal::KILL).unwrap(), 1);
    fixture.cgroup.wait_empty(LIMIT).unwrap();
}

#[test]
fn wait_empty_gives_up_after_its_limit() {
    let Some(layout) = host("wait_empty") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "wait");
    fixture.run("exec sleep 1000");
    let err = fixture
        .cgroup
        .wait_empty(Duration::from_millis(20))
        .unwrap_err();
    assert!(
        matches!(err, Error::NotEmpty { processes: 1, .. }),
        "{err:?}"
    );
}

#[test]
fn remove_takes_cgroups_that_the_container_made_and_waits_for_the_dying() {
    let Some(layout) = host("remove") else { return };
    let mut fixture = Fixture::new(&layout, "remove");
    for controller in [Controller::Memory, Controller::Freezer, Controller::Pids] {
        fs::create_dir_all(fixture.dir(controller).join("a/b/c")).unwrap();
    }
    fixture.run("exec sleep 1000");
    fixture.cgroup.kill_all(Signal::KILL).unwrap();
    // Not waited for: its pidfd is.
    fixture.cgroup.remove(Parents::Keep, LIMIT).unwrap();
    assert!(fs::metadata(fixture.dir(Controller::Memory)).is_err());
    assert!(fs::metadata(fixture.dir(Controller::Memory).parent().unwrap()).is_ok());
}

#[test]
fn remove_is_not_stopped_by_names_and_depth_that_the_container_chose() {
    let Some(layout) = host("remove_hostile") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "hostile");
    let top = fixture.dir(Controller::Freezer);
    let strange = top.join(OsStr::from_bytes(b"\xff\xfe not text"));
    fs::create_dir(&strange).unwrap();
    // 20 names of 250 bytes: no path can hold them. The last one gets the process.
    let name = "x".repeat(250);
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = rustix::fs::open(&top, open, Mode::empty()).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, &name, open, Mode::empty()).unwrap();
    }
    let pid = fixture.run("exec sleep 1000");
    let procs = OFlags::WRONLY | OFlags::CLOEXEC;
    let procs = rustix::fs::openat(&dir, "cgroup.procs", procs, Mode::empty()).unwrap();
    rustix::io::write(&procs, pid.to_string().as_bytes()).unwrap();
    assert_eq!(fixture.cgroup.pids(Depth::Top).unwrap(), Vec::<i32>::new());
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap(), [pid]);
    assert_eq!(fixture.cgroup.kill_all(Signal::KILL).unwrap(), 1);
    fixture.cgroup.remove(Parents::Keep, LIMIT).unwrap();
    assert!(fs::metadata(&top).is_err(), "{} is left", top.display());
}

#[test]
fn remove_gives_up_on_a_process_that_stays_and_keeps_its_cgroup() {
    let Some(layout) = host("remove_busy") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "busy");
    fixture.run("exec sleep 1000");
    let err = fixture
        .cgroup
        .remove(Parents::Keep, Duration::from_millis(20))
        .unwrap_err();
    assert!(
        matches!(err, Error::NotEmpty { processes: 1, .. }),
        "{err:?}"
    );
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap().len(), 1);
}

#[test]
fn intent_names_what_create_makes() {
    let Some(layout) = host("intent") else { return };
    let (driver, paths) = (Driver::Cgroupfs, paths("intent"));
    let intent = Cgroup::intent(driver, &layout, &paths).unwrap();
    let first = Cgroup::create(driver, &layout, &paths).unwrap();
    let both = first.record();
    let again = Cgroup::intent(driver, &layout, &paths).unwrap();
    let second = Cgroup::create(driver, &layout, &paths).unwrap().record();
    // A record stored before create is enough to remove everything.
    Cgroup::open(&intent)
        .unwrap()
        .remove(Parents::Remove, LIMIT)
        .unwrap();
    assert_eq!(intent, both);
    assert_eq!(again, second);
    let fixture_dir = layout.hierarchies()[0].dir.clone();
    let left = format!(
        "/sys/fs/cgroup/{fixture_dir}{}",
        paths.path(Controller::Pids).unwrap()
    );
    assert!(fs::metadata(&left).is_err(), "{left} is left");
    assert!(
        fs::metadata(Path::new(&left).parent().unwrap()).is_err(),
        "parent of {left} is left"
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
    fixture.run(
        "x=$(head -c 16777216 /dev/zero | tr '\\0' x); echo full; exec 1>&-; sleep 1000; echo $x",
    );
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
fn devices_that_are_not_on_the_list_cannot_be_opened() {
    let Some(layout) = host("devices_enforced") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "enforced");
    fixture
        .cgroup
        .apply(&resources(r#"{"devices":[]}"#), DeviceDefault::Deny)
        .unwrap();
    let (zero, kmsg) = ("exec 3</dev/zero", "exec 3</dev/kmsg");
    for (list, script, want) in [
        (r#"[]"#, zero, true),
        (r#"[]"#, kmsg, false),
        (
            r#"[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#,
            kmsg,
            true,
        ),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"r"}]"#,
            kmsg,
            false,
        ),
        (r#"[{"allow":true,"access":"rwm"}]"#, kmsg, true),
        (r#"[]"#, kmsg, false),
    ] {
        let json = format!(r#"{{"devices":{list}}}"#);
        fixture.cgroup.update(&resources(&json)).unwrap();
        fixture.run(script);
        let status = fixture.processes.pop().unwrap().wait().unwrap();
        assert_eq!(status.success(), want, "{json} {script}");
        assert!(!fixture.cgroup.frozen().unwrap());
    }
}

#[test]
fn remove_leaves_directories_that_were_there_before() {
    let Some(layout) = host("remove_foreign") else {
        return;
    };
    let paths = paths_of(&format!("/greenlang-test-{}-foreign", std::process::id()));
    let first = Cgroup::create(Driver::Cgroupfs, &layout, &paths).unwrap();
    let second = Cgroup::create(Driver::Cgroupfs, &layout, &paths).unwrap();
    second.remove(Parents::Remove, LIMIT).unwrap();
    let fds = first.join_fds();
    first.remove(Parents::Remove, LIMIT).unwrap();
    assert_eq!(fds.unwrap().len(), layout.hierarchies().len());
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
    assert_eq!(
        stats.cpu.usage.percpu.iter().sum::<u64>(),
        stats.cpu.usage.total
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

#[test]
fn systemd_driver_is_refused_by_name() {
    let Some(layout) = host("systemd_driver") else {
        return;
    };
    let err = Cgroup::create(Driver::Systemd, &layout, &paths("systemd")).unwrap_err();
    assert_eq!(
        err.to_string(),
        "use the systemd cgroup driver: only cgroup v1 through cgroupfs is driven so far"
    );
    assert_eq!(err.class(), Class::Unsupported);
}
