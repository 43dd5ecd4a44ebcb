//! The same `linux.resources` through this driver and through runc: the cgroups must hold the same.
//!
//! Every writable file of both is compared, so a limit that one of them sets and the other does not
//! is seen. Differences that are meant are listed in [`MEANT`] with their reason.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "also in what tests share, a step that fails is a failed test, and a skip is said"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gl_cgroup::{Cgroup, DeviceDefault, Layout, Parents, Version, resolve};
use serde_json::{Value, json};

/// Files in which the two may differ, and why.
const MEANT: [(&str, &str); 1] = [(
    "memory.kmem.tcp.limit_in_bytes",
    "the kernel enforces it, so a limit that was asked for is set; runc ignores it",
)];

/// Writable files that count something or list processes.
const COUNTERS: [&str; 5] = [
    "cpuacct.usage",
    "cgroup.procs",
    "tasks",
    ".failcnt",
    ".max_usage_in_bytes",
];

/// What both runtimes are asked to set: everything that this kind of host has.
fn full() -> Value {
    json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            {"allow": true, "type": "b", "major": 7, "minor": 3, "access": "r"},
            {"allow": true, "type": "b", "major": 7, "access": "m"},
            {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rw"},
            {"allow": false, "type": "c", "major": 5, "minor": 1, "access": "w"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
        ],
        "memory": {
            "limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728, "swappiness": 10,
            "kernel": 1_048_576, "kernelTCP": 8_388_608, "disableOOMKiller": true,
            "useHierarchy": true
        },
        "cpu": {"shares": 512, "quota": 50_000, "period": 20_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 42},
        "blockIO": {"weight": 321}
    })
}

/// A container of runc that is created and not started, deleted in the end.
struct Container {
    name: String,
    dir: PathBuf,
}

impl Container {
    /// None, with the reason said, where runc cannot be run.
    fn create(test: &str, resources: &Value) -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|p| is_static(p));
        let reason = match (
            Layout::detect(),
            busybox,
            Command::new("runc").arg("--version").output(),
        ) {
            (Ok(layout), ..) if layout.version() != Version::V1 => "this host has no cgroup v1",
            (Err(_), ..) => "this host has no cgroups",
            (_, None, _) => "needs a static busybox",
            (_, _, Err(_)) => "needs runc",
            _ if !rustix::process::geteuid().is_root() => "needs root",
            (_, Some(busybox), Ok(_)) => return Some(Self::run(test, busybox, resources)),
        };
        println!("SKIP {test}: {reason}");
        None
    }

    fn run(test: &str, busybox: &str, resources: &Value) -> Self {
        let name = format!("greenlang-test-{}-{test}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
        fs::copy(busybox, dir.join("rootfs/bin/busybox")).unwrap();
        let container = Self { name, dir };
        assert!(
            container
                .runc(&["spec", "--bundle", &container.bundle()])
                .is_empty()
        );
        let config = container.dir.join("config.json");
        let mut spec: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/busybox", "true"]);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}/runc", container.name));
        spec["linux"]["resources"] = resources.clone();
        fs::write(&config, spec.to_string()).unwrap();
        container.runc(&["create", "--bundle", &container.bundle(), &container.name]);
        container
    }

    fn bundle(&self) -> String {
        self.dir.display().to_string()
    }

    /// Runs runc with its state beside the bundle and returns what it prints.
    fn runc(&self, args: &[&str]) -> String {
        // Output to a file: the container inherits it, and a pipe would never end.
        let log = self.dir.join("output");
        let file = fs::File::create(&log).unwrap();
        let status = Command::new("runc")
            .arg("--root")
            .arg(self.dir.join("state"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap();
        let output = fs::read_to_string(&log).unwrap();
        assert!(status.success(), "runc {args:?}: {output}");
        output
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = std::panic::catch_unwind(|| self.runc(&["delete", "--force", &self.name]));
        // runc leaves the parents that it made, also the one in the hybrid v2 hierarchy.
        let layout = Layout::detect().unwrap();
        let hierarchies = layout.hierarchies().iter().map(|h| h.dir.as_str());
        for hierarchy in hierarchies.chain(["unified"]) {
            fs::remove_dir(Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.name)).ok();
        }
        fs::remove_dir_all(&self.dir).unwrap();
        assert!(deleted.is_ok() || std::thread::panicking());
    }
}

/// Whether a program is there and needs no loader: `ldd` fails for such a one.
fn is_static(path: &str) -> bool {
    let listed = Command::new("ldd").arg(path).output().unwrap();
    fs::metadata(path).is_ok() && !listed.status.success()
}

/// The contents of all files that can be both written and read, by hierarchy and name.
fn state(layout: &Layout, group: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for hierarchy in layout.hierarchies() {
        let dir = Path::new("/sys/fs/cgroup").join(&hierarchy.dir).join(group);
        for entry in fs::read_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display())) {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let limit = entry.metadata().unwrap().permissions().mode() & 0o600 == 0o600
                || name == "devices.list";
            if !limit || COUNTERS.iter().any(|counter| name.ends_with(counter)) {
                continue;
            }
            let text = match fs::read_to_string(entry.path()) {
                Ok(text) => text,
                Err(err) => err.to_string(),
            };
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            files.insert(name, lines.join("|"));
        }
    }
    files
}

#[test]
fn apply_leaves_the_same_values_as_runc() {
    let resources = full();
    let Some(container) = Container::create("apply", &resources) else {
        return;
    };
    let layout = Layout::detect().unwrap();
    let path = format!("/{}/own", container.name);
    let paths = resolve(Some(&path), "unused", || panic!("absolute")).unwrap();
    let cgroup = Cgroup::create(&layout, &paths).unwrap();
    let resources = serde_json::from_value(resources).unwrap();
    let applied = cgroup.apply(&resources, DeviceDefault::Deny);
    let own = state(&layout, &path[1..]);
    cgroup
        .remove(Parents::Remove, Duration::from_secs(10))
        .unwrap();
    applied.unwrap();
    let runc = state(&layout, &format!("{}/runc", container.name));
    assert!(own.len() > 30, "{own:#?}");
    assert_eq!(own["memory.limit_in_bytes"], "67108864");
    let mut differences = Vec::new();
    for (file, runc) in &runc {
        if own.get(file) != Some(runc) {
            differences.push(file.as_str());
            println!("{file}: runc {runc:?}, own {:?}", own.get(file));
        }
    }
    assert_eq!(differences, MEANT.map(|(file, _)| file));
    assert_eq!(
        own.keys().collect::<Vec<_>>(),
        runc.keys().collect::<Vec<_>>()
    );
}

/// Replaces what changes from one moment to the next.
fn settled(mut stats: Value) -> Value {
    let changing = [
        "total",
        "percpu",
        "percpu_kernel",
        "percpu_user",
        "kernel",
        "user",
    ];
    for name in changing {
        stats["cpu"]["usage"][name] = json!("changes");
    }
    for kind in ["usage", "swap", "kernel"] {
        for name in ["usage", "max"] {
            stats["memory"][kind][name] = json!("changes");
        }
    }
    stats["memory"]["cache"] = json!("changes");
    for (_, value) in stats["memory"]["raw"].as_object_mut().unwrap() {
        *value = json!("changes");
    }
    stats
}

#[test]
fn stats_have_the_shape_and_the_limits_that_runc_shows() {
    // Without a quota, whose periods would go on counting.
    let mut resources = full();
    resources["cpu"] = json!({"shares": 512, "cpus": "0-1", "mems": "0"});
    let Some(container) = Container::create("stats", &resources) else {
        return;
    };
    let event = container.runc(&["events", "--stats", &container.name]);
    let event: Value = serde_json::from_str(&event).unwrap();

    let path = format!("{}/own", container.name);
    let layout = Layout::detect().unwrap();
    let paths = resolve(Some(&format!("/{path}")), "unused", || panic!("absolute")).unwrap();
    let cgroup = Cgroup::create(&layout, &paths).unwrap();
    let record = serde_json::to_string(&cgroup.record()).unwrap();
    cgroup
        .remove(Parents::Remove, Duration::from_secs(10))
        .unwrap();
    let record = record.replace(&path, &format!("{}/runc", container.name));
    let cgroup = Cgroup::open(&serde_json::from_str(&record).unwrap()).unwrap();
    let own = serde_json::to_value(cgroup.stats().unwrap()).unwrap();
    assert_eq!(own["pids"]["limit"], 42, "{own:#}");
    let (own, runc) = (settled(own), settled(event["data"].clone()));
    assert_eq!(own, runc, "own {own:#}\nrunc {runc:#}");
}
