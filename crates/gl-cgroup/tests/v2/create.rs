//! Making, joining, storing and opening cgroups.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gl_cgroup::{
    Asker, Below, Cgroup, Controller, Depth, Error, GroupPath, OwnCgroups, Parents, obtainable,
    resolve,
};
use gl_spec::{Class, Classify as _};
use rustix::process::Signal;

use crate::support::{Fixture, LIMIT, ROOT, host, name, paths, paths_of, resources};

/// Fails if a cgroup of a test is left.
fn assert_none_left(test: &str) {
    let left = format!("{ROOT}/{}", name(test));
    assert!(fs::metadata(&left).is_err(), "{left} is left");
}

#[test]
fn create_makes_the_cgroup_with_all_controllers_and_remove_leaves_nothing() {
    let Some(layout) = host("create_makes") else {
        return;
    };
    let fixture = Fixture::new(&layout, "create");
    let wanted = fs::read_to_string(format!("{ROOT}/cgroup.controllers")).unwrap();
    let has = fixture.read("cgroup.controllers");
    for one in wanted.split_whitespace() {
        let has = has.split_whitespace().any(|has| has == one);
        assert!(has, "{one} is not in {has:?}");
    }
    assert_eq!(fixture.read("cgroup.subtree_control"), "");
    drop(fixture);
    assert_none_left("create");
}

#[test]
fn what_can_be_had_is_what_is_made() {
    let Some(layout) = host("obtainable") else {
        return;
    };
    let names = |text: &str| -> Vec<String> {
        let known = text
            .split_whitespace()
            .filter(|one| Controller::from_name(one).is_some());
        known.map(str::to_owned).collect()
    };
    let asked = |test: &str| {
        let had = obtainable(&layout, &paths(test), Asker::Anybody).unwrap();
        had.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let before = asked("obtainable");
    assert_none_left("obtainable");
    let fixture = Fixture::new(&layout, "obtainable");
    assert_eq!(before, Some(names(&fixture.read("cgroup.controllers"))));
    assert_eq!(asked("obtainable"), before, "once it is there");
    drop(fixture);
    // One that has processes passes nothing on.
    let busy = format!("{ROOT}/{}", name("busy"));
    fs::create_dir(&busy).unwrap();
    let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(format!("{busy}/cgroup.procs"), sleep.id().to_string()).unwrap();
    let had = asked("busy");
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    fs::remove_dir(&busy).unwrap();
    assert_eq!(had, Some(Vec::new()));
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
    let err = Cgroup::intent(&layout, &fixture.paths).unwrap_err();
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

#[test]
fn create_that_fails_on_its_parents_removes_those_it_made() {
    let Some(layout) = host("create_parents") else {
        return;
    };
    // The new cgroup has a file of that name: ENOTDIR below it.
    let paths = paths_of(&format!("/{}/cgroup.procs/x", name("parents")));
    let err = Cgroup::create(&layout, &paths).unwrap_err();
    assert!(matches!(err, Error::Make { .. }), "{err:?}");
    assert_none_left("parents");
}

#[test]
fn create_in_a_cgroup_that_was_there_does_not_remove_it() {
    let Some(layout) = host("create_there") else {
        return;
    };
    let dir = format!("{ROOT}/{}", name("there"));
    fs::create_dir(&dir).unwrap();
    let paths = paths_of(&format!("/{}", name("there")));
    let cgroup = Cgroup::create(&layout, &paths).unwrap();
    let removed = cgroup.remove(Parents::Remove, LIMIT);
    fs::remove_dir(&dir).unwrap();
    removed.unwrap();
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
    assert_none_left("intent");
}

#[test]
fn join_fd_takes_a_process_that_writes_to_it() {
    let Some(layout) = host("join") else { return };
    let mut fixture = Fixture::new(&layout, "join");
    let pid = fixture.run("exec sleep 1000");
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let want = format!("0::{}", fixture.paths.unified().unwrap());
    assert!(own.lines().any(|line| line == want), "{own} lacks {want}");
}

#[test]
fn the_directory_can_be_opened_for_a_birth_in_it() {
    let Some(layout) = host("open_dir") else {
        return;
    };
    let fixture = Fixture::new(&layout, "opendir");
    let dir = fixture.cgroup.open_dir(&[]).unwrap().expect("v2 has one");
    let same = rustix::fs::fstat(&dir).unwrap().st_ino;
    assert_eq!(same, rustix::fs::stat(fixture.dir()).unwrap().st_ino);
}

#[test]
fn a_cgroup_below_is_joined_for_all_controllers_or_not_at_all() {
    let Some(layout) = host("below") else { return };
    let fixture = Fixture::new(&layout, "below");
    fs::create_dir(fixture.dir().join("sub")).unwrap();
    let below = |controller, path| Below {
        controller,
        path: GroupPath::clean(path),
    };
    let sub = fixture.cgroup.open_dir(&[below(None, "/../sub")]).unwrap();
    let same = rustix::fs::fstat(sub.unwrap()).unwrap().st_ino;
    let want = rustix::fs::stat(fixture.dir().join("sub")).unwrap().st_ino;
    assert_eq!(same, want);
    for (given, want) in [
        (
            below(Some(Controller::Pids), "sub"),
            "place the cgroup at \"/sub\": cgroup v2 has one hierarchy for all controllers, so none can be named",
        ),
        (
            below(None, "none"),
            &format!(
                "open {}/none/cgroup.procs to join it",
                fixture.dir().display()
            ),
        ),
    ] {
        let err = fixture.cgroup.join_fds_below(&[given]).unwrap_err();
        assert_eq!(err.to_string(), want);
    }
}

#[test]
fn open_finds_the_cgroup_of_a_stored_record() {
    let Some(layout) = host("open") else { return };
    let mut fixture = Fixture::new(&layout, "record");
    let pid = fixture.run("exec sleep 1000");
    let json = serde_json::to_string(&fixture.cgroup.record()).unwrap();
    assert!(json.contains(r#""driver":"cgroupfs-v2""#), "{json}");
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
    assert_eq!(gone.kill_all(Signal::TERM).unwrap(), 0);
    assert!(!gone.frozen().unwrap());
    gone.wait_empty(LIMIT).unwrap();
    gone.remove(Parents::Remove, LIMIT).unwrap();
    let err = gone
        .update(&resources(r#"{"pids":{"limit":5}}"#))
        .unwrap_err();
    assert_eq!(err.class(), Class::NotFound, "{err}");
}

#[test]
fn a_relative_path_is_beside_the_own_cgroup() {
    let Some(_) = host("relative") else { return };
    for (own, want) in [
        ("0::/\n", "/x"),
        ("0::/a\n", "/x"),
        ("0::/a/b\n", "/a/x"),
        ("4:memory:/v1\n0::/a/b/c\n", "/a/b/x"),
    ] {
        let paths = resolve(Some("x"), "unused", || Ok(OwnCgroups::parse(own))).unwrap();
        assert_eq!(paths.unified().unwrap().to_string(), want, "{own}");
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let seen = resolve(Some("x"), "unused", OwnCgroups::read).unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap();
    let above = Path::new(own).parent().unwrap_or(Path::new("/"));
    let want = above.join("x");
    assert_eq!(Path::new(&seen.unified().unwrap().to_string()), want);
}

#[test]
fn a_limit_below_a_cgroup_with_processes_names_the_file_and_the_fix() {
    let Some(layout) = host("inner") else { return };
    let parent = format!("{ROOT}/{}", name("inner"));
    fs::create_dir(&parent).unwrap();
    let mut child = Command::new("sleep")
        .arg("1000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    fs::write(format!("{parent}/cgroup.procs"), child.id().to_string()).unwrap();
    let cgroup = Cgroup::create(&layout, &paths("inner"));
    let applied = cgroup
        .as_ref()
        .map(|cgroup| cgroup.update(&resources(r#"{"pids":{"limit":5}}"#)));
    let removed = cgroup
        .as_ref()
        .map(|cgroup| cgroup.remove(Parents::Remove, LIMIT));
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir(&parent).unwrap();
    let err = applied.unwrap().unwrap_err();
    removed.unwrap().unwrap();
    assert_eq!(
        err.to_string(),
        format!("set linux.resources.pids.limit: enable pids in {parent}/cgroup.subtree_control")
    );
    assert_eq!(err.class(), Class::Conflict);
    let hint = err.hint().unwrap();
    assert!(hint.contains("has processes"), "{hint}");
}
