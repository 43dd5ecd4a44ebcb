//! On a directory tree that is made for the test, as no machine here has the hardware. What the kernel would
//! fill a new directory with, the test does.

use std::fs;

use gl_spec::oci::LinuxIntelRdt;

use super::*;

/// A directory that stands for the mount, gone when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gl-resctrl-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// What the kernel makes of a new directory.
    fn group(&self, name: &str, schemata: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir_all(dir.join("mon_groups")).unwrap();
        fs::write(dir.join("schemata"), schemata).unwrap();
        fs::write(dir.join("tasks"), "").unwrap();
        dir
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn rdt(json: &str) -> LinuxIntelRdt {
    serde_json::from_str(json).unwrap()
}

fn wanted_by(tree: &Tree, json: &str) -> Wanted {
    let id = ContainerId::new("box").unwrap();
    wanted(&id, &rdt(json), tree.0.clone())
}

#[test]
fn mount_is_found_in_mountinfo() {
    let text = "30 24 0:27 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n";
    assert_eq!(mount_point(text), Some("/sys/fs/resctrl".into()));
    assert_eq!(mount_point("30 24 0:27 / /x rw - tmpfs resctrl rw\n"), None);
}

#[test]
fn schemata_come_last_and_the_bandwidth_has_its_own() {
    let tree = Tree::new("order");
    let seen = wanted_by(
        &tree,
        r#"{"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3"]}"#,
    );
    assert_eq!(seen.schemata, ["L3:0=f", "MB:0=20", "L2:0=3"]);
    assert_eq!((seen.group.name.as_str(), seen.group.own), ("box", true));
}

#[test]
fn named_group_that_is_there_must_have_the_schema() {
    let tree = Tree::new("there");
    tree.group("gold", "    L3:0=000ff;1=fffff\n    MB:0= 50;1=100\n");
    for (schema, want) in [
        (
            r#"{"closID": "gold", "schemata": ["L3:0=ff", "MB:1=100"]}"#,
            None,
        ),
        (r#"{"closID": "gold"}"#, None),
        (
            r#"{"closID": "gold", "schemata": ["L3:0=0xFF;1=f"]}"#,
            Some("the group gold is there with another schema: L3:1 is fffff, not f"),
        ),
        (
            r#"{"closID": "gold", "schemata": ["L2:0=1"]}"#,
            Some("the group gold is there with another schema: L2:0 is not there, not 1"),
        ),
    ] {
        let mut one = wanted_by(&tree, schema);
        one.settle().unwrap();
        assert!(!one.group.made, "{schema}");
        let seen = one.make().map_err(|err| err.to_string());
        let want = want.map_or(Ok(()), |want| Err(format!("use linux.intelRdt: {want}")));
        assert_eq!(seen, want, "{schema}");
    }
}

#[test]
fn group_without_a_schema_has_to_be_there() {
    let tree = Tree::new("missing");
    let err = wanted_by(&tree, r#"{"closID": "none"}"#)
        .settle()
        .unwrap_err();
    assert_eq!(
        err.to_string(),
        "use linux.intelRdt: the group none is not there, and nothing says what it should be"
    );
    tree.group("box", "");
    let err = wanted_by(&tree, "{}").settle().unwrap_err();
    assert_eq!(
        err.to_string(),
        "use linux.intelRdt: the group box is there already, and closID does not name it"
    );
}

#[test]
fn new_group_is_made_joined_and_removed() {
    let tree = Tree::new("life");
    let mut one = wanted_by(&tree, r#"{"closID": "new", "schemata": ["L3:0=f"]}"#);
    one.settle().unwrap();
    assert!(one.group.made);
    // A plain directory stays empty, which a group of the kernel never is.
    let err = one.make().unwrap_err().to_string();
    assert!(err.contains("write the schemata of the group new"), "{err}");
    let dir = tree.group("new", "");
    one.group.join(Pid::from_raw(77).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(dir.join("tasks")).unwrap(), "77");
    // Somebody is in it.
    one.group.remove().unwrap();
    assert!(dir.is_dir(), "removed with a task in it");
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    one.group.own = true;
    one.group.remove().unwrap();
    assert!(!dir.is_dir(), "it is still there");
    one.group.remove().unwrap();
}

#[test]
fn monitoring_group_is_the_containers_and_goes_with_it() {
    let tree = Tree::new("monitor");
    let dir = tree.group("gold", "L3:0=f\n");
    let mut one = wanted_by(&tree, r#"{"closID": "gold", "enableMonitoring": true}"#);
    one.settle().unwrap();
    one.make().unwrap();
    let monitor = dir.join("mon_groups/box");
    fs::write(monitor.join("tasks"), "").unwrap();
    one.group.join(Pid::from_raw(77).unwrap()).unwrap();
    for tasks in [dir.join("tasks"), monitor.join("tasks")] {
        assert_eq!(fs::read_to_string(tasks).unwrap(), "77");
    }
    fs::remove_file(monitor.join("tasks")).unwrap();
    one.group.remove().unwrap();
    assert!(!monitor.is_dir(), "still monitored");
    assert!(dir.is_dir(), "somebody else's group is gone");
}
