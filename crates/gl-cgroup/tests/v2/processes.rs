//! Freezing, signalling and removing.

use std::fs;
use std::time::Duration;

use gl_cgroup::{Cgroup, Depth, Error, Parents};
use rustix::process::Signal;

use crate::support::{Fixture, LIMIT, host, paths_of};

#[test]
fn freeze_stops_and_thaw_continues() {
    let Some(layout) = host("freeze") else { return };
    let mut fixture = Fixture::new(&layout, "freeze");
    fixture.run("while :; do :; done");
    assert!(!fixture.cgroup.frozen().unwrap());
    fixture.cgroup.freeze().unwrap();
    let events = fixture.read("cgroup.events");
    assert!(events.contains("frozen 1"), "{events}");
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
    let below = fixture.dir().join("below");
    fs::create_dir(&below).unwrap();
    fixture.run("while :; do sleep 0.01 & done");
    let pid = fixture.run("exec sleep 1000");
    fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
    assert!(fixture.cgroup.pids(Depth::Tree).unwrap().contains(&pid));
    assert!(!fixture.cgroup.pids(Depth::Top).unwrap().contains(&pid));
    assert!(fixture.cgroup.kill_all(Signal::KILL).unwrap() >= 2);
    for child in &mut fixture.processes {
        child.wait().unwrap();
    }
    fixture.cgroup.wait_empty(LIMIT).unwrap();
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap(), Vec::<i32>::new());
}

#[test]
fn kill_all_ends_what_is_frozen_and_leaves_it_thawed() {
    let Some(layout) = host("kill_frozen") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "killfrozen");
    fixture.run("exec sleep 1000");
    fixture.cgroup.freeze().unwrap();
    assert_eq!(fixture.cgroup.kill_all(Signal::KILL).unwrap(), 1);
    fixture.processes.remove(0).wait().unwrap();
    assert!(!fixture.cgroup.frozen().unwrap());
}

#[test]
fn kill_all_with_another_signal_leaves_a_frozen_cgroup_frozen() {
    let Some(layout) = host("kill_term") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "killterm");
    fixture.run("exec sleep 1000");
    fixture.cgroup.freeze().unwrap();
    assert_eq!(fixture.cgroup.kill_all(Signal::TERM).unwrap(), 1);
    assert!(fixture.cgroup.frozen().unwrap());
    fixture.cgroup.thaw().unwrap();
    let status = fixture.processes.remove(0).wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(15)
    );
}

#[test]
fn remove_waits_for_processes_and_says_so_when_they_stay() {
    let Some(layout) = host("remove_waits") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "stay");
    fixture.run("exec sleep 1000");
    let err = fixture
        .cgroup
        .remove(Parents::Remove, Duration::from_millis(50))
        .unwrap_err();
    assert!(
        matches!(err, Error::NotEmpty { processes: 1, .. }),
        "{err:?}"
    );
}

#[test]
fn remove_takes_threaded_and_deep_cgroups_of_the_container() {
    let Some(layout) = host("remove_deep") else {
        return;
    };
    let mut fixture = Fixture::new(&layout, "deep");
    let pid = fixture.run("exec sleep 1000");
    let threaded = fixture.dir().join("threaded");
    fs::create_dir(&threaded).unwrap();
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    fs::write(threaded.join("cgroup.threads"), pid.to_string()).unwrap();
    fs::create_dir_all(fixture.dir().join("a/b/c/d")).unwrap();
    assert_eq!(fixture.cgroup.pids(Depth::Tree).unwrap(), [pid]);
    let dir = fixture.dir();
    drop(fixture);
    assert!(fs::metadata(&dir).is_err(), "{} is left", dir.display());
}

#[test]
fn remove_leaves_a_parent_that_others_use() {
    let Some(layout) = host("parent_used") else {
        return;
    };
    let fixture = Fixture::new(&layout, "shared");
    let parent = fixture.dir().parent().unwrap().to_owned();
    let name = parent.file_name().unwrap().to_str().unwrap().to_owned();
    let other = paths_of(&format!("/{name}/other"));
    let other = Cgroup::create(&layout, &other).unwrap();
    drop(fixture);
    let stays = fs::metadata(&parent);
    other.remove(Parents::Remove, LIMIT).unwrap();
    fs::remove_dir(&parent).unwrap();
    stays.unwrap();
}
