//! Making, joining, storing and opening cgroups.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gl_cgroup::systemd::{Manager, Unit};
use gl_cgroup::{Cgroup, Controller, Depth, Error, Layout, Parents};
use gl_spec::{Class, Classify as _};
use rustix::process::Signal;

use crate::support::{Fixture, LIMIT, host, paths, paths_of, resources};
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
    let cgroup = Cgroup::create(&layout, &paths);
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
    let err = Cgroup::create(&layout, &fixture.paths).unwrap_err();
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
    let err = Cgroup::create(&layout, &fixture.paths).unwrap_err();
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
    let err = Cgroup::create(&layout, &paths).unwrap_err();
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
    let result = Cgroup::create(&layout, &paths_of(&format!("/{name}")));
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
fn intent_names_what_create_makes() {
    let Some(layout) = host("intent") else { return };
    let paths = paths("intent");
    let intent = Cgroup::intent(&layout, &paths).unwrap();
    let first = Cgroup::create(&layout, &paths).unwrap();
    let both = first.record();
    let again = Cgroup::intent(&layout, &paths).unwrap();
    let second = Cgroup::create(&layout, &paths).unwrap().record();
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
fn systemd_driver_is_refused_by_name() {
    let Some(layout) = host("systemd_driver") else {
        return;
    };
    let path = Some("system.slice:box:x");
    let none = std::iter::empty();
    let err = Unit::decide(&layout, path, "x", none, Manager::System).unwrap_err();
    assert_eq!(
        err.to_string(),
        "use the systemd cgroup driver: this host has cgroup v1, and the driver is for v2"
    );
    assert_eq!(err.class(), Class::Unsupported);
    assert_eq!(
        err.hint().unwrap(),
        "leave --systemd-cgroup out, or boot with systemd.unified_cgroup_hierarchy=1"
    );
}
