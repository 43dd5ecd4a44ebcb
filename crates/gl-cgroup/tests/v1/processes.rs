//! Freezing, signalling and removing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use gl_cgroup::{Cgroup, Controller, Depth, Error, Parents};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::support::{Fixture, LIMIT, host, paths_of};
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
    let gone = fs::metadata(fixture.dir(Controller::Memory)).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound, "{gone}");
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
fn remove_leaves_directories_that_were_there_before() {
    let Some(layout) = host("remove_foreign") else {
        return;
    };
    let paths = paths_of(&format!("/greenlang-test-{}-foreign", std::process::id()));
    let first = Cgroup::create(&layout, &paths).unwrap();
    let second = Cgroup::create(&layout, &paths).unwrap();
    second.remove(Parents::Remove, LIMIT).unwrap();
    let fds = first.join_fds();
    first.remove(Parents::Remove, LIMIT).unwrap();
    assert_eq!(fds.unwrap().len(), layout.hierarchies().len());
}
