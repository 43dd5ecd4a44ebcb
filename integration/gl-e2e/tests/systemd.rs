//! The systemd cgroup driver: what systemd and the kernel say of a container's unit agrees, also after
//! systemd has read its units again, and nothing is left of it.
//!
//! Where systemd is not process 1, or not over cgroup v2, the only thing to see is the refusal. The
//! rest is shown on the test host (`integration/testhost`).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use gl_e2e::bundle::kernel::{eventually, proc_file, wait_dead};
use gl_e2e::bundle::{self, Bundle, Host, Output, config, finish, runtime};
use gl_e2e::{Outcome, Skip, tests};
use rustix::event::{Timespec, poll};
use serde_json::json;

fn main() -> ExitCode {
    let v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    if !v2 || fs::metadata("/run/systemd/system").is_err() {
        return bundle::main(tests![systemd_is_refused_where_it_is_not]);
    }
    bundle::main(tests![
        scope_has_the_limits_of_the_config,
        limits_and_devices_outlive_a_reload,
        update_reaches_systemd_and_the_kernel,
        pids_limit_of_one_lets_init_in,
        exec_and_pause_work_in_the_scope,
        delete_leaves_no_unit,
        delete_of_a_unit_that_is_stopped,
        failed_create_leaves_no_unit,
        create_that_is_killed_leaves_what_delete_finds,
        slice_with_dashes_is_nested,
        slice_as_the_unit_itself,
        unit_that_has_failed_before_is_replaced,
        unit_in_use_is_refused,
        unit_that_is_another_containers_by_now_is_left_alone,
        path_in_another_form_is_refused,
        property_of_an_annotation_is_set,
        property_that_is_not_allowed_is_refused,
        property_that_systemd_refuses_is_an_error,
        subgroup_holds_the_processes,
        delegated_cgroup_belongs_to_its_root,
        bus_is_not_needed,
        systemd_of_another_pid_namespace_is_refused,
        without_systemd_create_is_refused_and_delete_works,
        users_manager_makes_the_scope,
        users_manager_without_a_controller_is_refused,
        user_without_a_manager_is_refused,
    ])
}

fn systemd_is_refused_where_it_is_not() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice");
    let host = Host::before(&box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.contains("systemd"), "{out:?}");
    if bundle::is_greenlang() {
        out.says("--systemd-cgroup");
    }
    host.unchanged_soon("create with a systemd that is not there");
    Ok(())
}

// ---- what tests are written with

/// A bundle whose cgroup systemd makes, in `slice`.
fn scope(bundle: Bundle, slice: &str) -> Bundle {
    let path = format!("{slice}:gl:{}", bundle.id());
    bundle
        .with_global("--systemd-cgroup")
        .set("/linux/cgroupsPath", json!(path))
}

fn unit(box_: &Bundle) -> String {
    format!("gl-{}.scope", box_.id())
}

fn dir_of(box_: &Bundle) -> PathBuf {
    Path::new("/sys/fs/cgroup/system.slice").join(unit(box_))
}

fn value(dir: &Path, file: &str) -> String {
    let text = fs::read_to_string(dir.join(file));
    assert!(text.is_ok(), "{}/{file}: {text:?}", dir.display());
    text.unwrap().trim_end().to_owned()
}

fn systemctl(args: &[&str]) -> Output {
    finish(Command::new("systemctl").args(args).stdin(Stdio::null()))
}

/// A property of a unit, as `systemctl show` has it.
fn shown(unit: &str, name: &str) -> String {
    let out = systemctl(&["show", "--value", "--property", name, unit]).ok();
    out.stdout.trim_end().to_owned()
}

fn reload() {
    systemctl(&["daemon-reload"]).ok();
}

/// Waits until systemd knows no unit of that name.
fn wait_forgotten(unit: &str) {
    eventually(&format!("end of {unit}"), || {
        (shown(unit, "ActiveState") == "inactive" && shown(unit, "LoadState") == "not-found")
            .then_some(())
    });
}

fn gone(path: &Path) {
    let err = fs::metadata(path).unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::NotFound, "{path:?}: {err}");
}

/// The cgroup of a process, in the hierarchy of v2.
fn cgroup_of(pid: i32) -> String {
    let text = proc_file(pid, "cgroup");
    text.trim_end().strip_prefix("0::").unwrap().to_owned()
}

/// Limits of every kind that systemd has a property for.
fn limited(bundle: Bundle) -> Bundle {
    bundle
        .set(
            "/linux/resources/memory",
            json!({"limit": 67_108_864, "reservation": 33_554_432, "swap": 67_108_864}),
        )
        .set("/linux/resources/pids", json!({"limit": 33}))
        .set(
            "/linux/resources/cpu",
            json!({"shares": 2048, "quota": 50_000, "period": 100_000, "cpus": "0"}),
        )
}

// ---- limits

fn has_limits(dir: &Path, memory: &str) {
    for (file, want) in [
        ("memory.max", memory),
        ("memory.low", "33554432"),
        ("memory.swap.max", "0"),
        ("pids.max", "33"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
    ] {
        assert_eq!(value(dir, file), want, "{file}");
    }
    let weight: u32 = value(dir, "cpu.weight").parse().unwrap();
    assert!((150..=180).contains(&weight), "cpu.weight {weight}");
}

fn scope_has_the_limits_of_the_config() -> Outcome {
    let box_ = limited(scope(Bundle::new(), "system.slice")).idle();
    let (unit, dir) = (unit(&box_), dir_of(&box_));
    assert_eq!(cgroup_of(box_.pid()), format!("/system.slice/{unit}"));
    has_limits(&dir, "67108864");
    let weight = value(&dir, "cpu.weight");
    for (property, want) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "0"),
        ("TasksMax", "33"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUQuotaPeriodUSec", "100ms"),
        ("AllowedCPUs", "0"),
        ("CPUWeight", weight.as_str()),
        ("DevicePolicy", "auto"),
    ] {
        assert_eq!(shown(&unit, property), want, "{property}");
    }
    // The process that the unit was started around is gone.
    assert_eq!(value(&dir, "cgroup.procs"), box_.pid().to_string());
    Ok(())
}

fn limits_and_devices_outlive_a_reload() -> Outcome {
    let box_ = limited(scope(Bundle::new(), "system.slice"))
        .set("/linux/resources/unified", json!({"memory.high": "60M"}))
        .idle();
    let dir = dir_of(&box_);
    let kmsg = "rm -f /dev/gl; mknod /dev/gl c 1 11 && head -c 1 /dev/gl 2>&1; true";
    let denied = box_.inside(kmsg);
    assert!(denied.contains("not permitted"), "{denied}");
    reload();
    has_limits(&dir, "67108864");
    assert_eq!(value(&dir, "memory.high"), "62914560");
    let denied = box_.inside(kmsg);
    assert!(denied.contains("not permitted"), "after a reload: {denied}");
    Ok(())
}

fn update_reaches_systemd_and_the_kernel() -> Outcome {
    let box_ = limited(scope(Bundle::new(), "system.slice")).idle();
    let (unit, dir) = (unit(&box_), dir_of(&box_));
    let flags = [
        "--memory",
        "96M",
        "--memory-swap",
        "96M",
        "--pids-limit",
        "44",
    ];
    let id = box_.id().to_owned();
    let args: Vec<&str> = ["update"]
        .into_iter()
        .chain(flags)
        .chain([id.as_str()])
        .collect();
    box_.call(&args).ok();
    for _ in 0..2 {
        assert_eq!(value(&dir, "memory.max"), "100663296");
        assert_eq!(value(&dir, "pids.max"), "44");
        assert_eq!(value(&dir, "cpu.max"), "50000 100000");
        assert_eq!(shown(&unit, "MemoryMax"), "100663296");
        assert_eq!(shown(&unit, "TasksMax"), "44");
        reload();
    }
    Ok(())
}

fn pids_limit_of_one_lets_init_in() -> Outcome {
    let box_ = scope(Bundle::sh("echo up"), "system.slice")
        .set("/linux/resources/pids", json!({"limit": 1}));
    box_.run().ok().prints("up");
    wait_forgotten(&unit(&box_));
    Ok(())
}

// ---- life

fn exec_and_pause_work_in_the_scope() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice").idle();
    let dir = dir_of(&box_);
    let seen = box_.inside("cat /proc/self/cgroup");
    assert_eq!(seen.trim_end(), format!("0::{}", cgroup_of(box_.pid())));
    box_.call(&["pause", box_.id()]).ok();
    assert!(value(&dir, "cgroup.events").contains("frozen 1"));
    assert_eq!(box_.status(), "paused");
    reload();
    assert_eq!(box_.status(), "paused", "after a reload");
    box_.call(&["resume", box_.id()]).ok();
    assert!(value(&dir, "cgroup.events").contains("frozen 0"));
    Ok(())
}

fn delete_leaves_no_unit() -> Outcome {
    let box_ = limited(scope(Bundle::new(), "system.slice"));
    let host = Host::before(&box_, &[]);
    let box_ = box_.idle();
    box_.delete_force().ok();
    host.unchanged_soon("delete of a scope");
    wait_forgotten(&unit(&box_));
    gone(&dir_of(&box_));
    let left = Path::new("/run/systemd/transient").join(unit(&box_));
    gone(&left);
    gone(&Path::new("/run/systemd/system.control").join(format!("{}.d", unit(&box_))));
    Ok(())
}

fn delete_of_a_unit_that_is_stopped() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice").idle();
    let pid = box_.pid();
    // As at the shutdown of a host.
    systemctl(&["kill", "--signal", "KILL", &unit(&box_)]).ok();
    wait_dead(pid);
    wait_forgotten(&unit(&box_));
    assert_eq!(box_.status(), "stopped");
    box_.delete().ok();
    Ok(())
}

fn failed_create_leaves_no_unit() -> Outcome {
    let box_ = scope(Bundle::new().args(&["/no/such/program"]), "system.slice");
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("/no/such/program");
    host.unchanged_soon("create of a program that is not there");
    wait_forgotten(&unit(&box_));
    Ok(())
}

fn create_that_is_killed_leaves_what_delete_finds() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice");
    let start = Instant::now();
    box_.create().ok();
    let whole = start.elapsed();
    drop(box_);
    let rounds = bundle::rounds(8);
    for round in 0..rounds {
        let box_ = scope(Bundle::new(), "system.slice");
        let host = Host::before(&box_, &[]);
        box_.write_config();
        let mut command = box_.command(&["create", box_.id()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The record names the unit before there is one; from there on at another place each round.
        let record = box_.state_root().join(box_.id()).join("state.json");
        eventually("a record with the unit", || {
            let text = fs::read_to_string(&record).ok()?;
            text.contains(&unit(&box_)).then_some(())
        });
        let part = whole.mul_f64(round as f64 / rounds as f64);
        poll(&mut [], Some(&Timespec::try_from(part).unwrap())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        box_.delete_force().ok();
        wait_forgotten(&unit(&box_));
        host.unchanged_soon(&format!("create killed in round {round}"));
    }
    Ok(())
}

fn slice_with_dashes_is_nested() -> Outcome {
    let slice = format!("gle2e-{}.slice", std::process::id());
    let box_ = scope(Bundle::new(), &slice).idle();
    let want = format!("/gle2e.slice/{slice}/{}", unit(&box_));
    assert_eq!(cgroup_of(box_.pid()), want);
    box_.delete_force().ok();
    wait_forgotten(&unit(&box_));
    systemctl(&["stop", &slice, "gle2e.slice"]).ok();
    Ok(())
}

fn slice_as_the_unit_itself() -> Outcome {
    let slice = format!("gle2eown{}.slice", std::process::id());
    let box_ = Bundle::new()
        .with_global("--systemd-cgroup")
        .set("/linux/cgroupsPath", json!(format!("::{slice}")))
        .set("/linux/resources/pids", json!({"limit": 33}))
        .idle();
    assert_eq!(cgroup_of(box_.pid()), format!("/{slice}"));
    assert_eq!(shown(&slice, "TasksMax"), "33");
    box_.delete_force().ok();
    gone(&Path::new("/sys/fs/cgroup").join(&slice));
    assert_eq!(shown(&slice, "ActiveState"), "inactive");
    Ok(())
}

// ---- names that are taken or wrong

/// Starts `sleep` in a scope of the bundle's name; the handle ends it when dropped.
struct Taken(String);

impl Taken {
    fn new(box_: &Bundle, options: &[&str]) -> Self {
        let unit = unit(box_);
        let mut command = Command::new("systemd-run");
        command
            .args(["--scope", "--quiet", "--unit", &unit])
            .args(options)
            .args(["sleep", "1000"])
            .stdin(Stdio::null());
        // Ended with its scope, and reaped with all others.
        drop(command.spawn().unwrap());
        Self(unit)
    }

    fn wait_for(&self, state: &str) {
        eventually(&format!("{state} of {}", self.0), || {
            (shown(&self.0, "ActiveState") == state).then_some(())
        });
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        systemctl(&["kill", "--signal", "KILL", &self.0]);
        systemctl(&["reset-failed", &self.0]);
    }
}

fn unit_that_has_failed_before_is_replaced() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice");
    let taken = Taken::new(&box_, &["--property", "RuntimeMaxSec=100ms"]);
    taken.wait_for("failed");
    let box_ = box_.idle();
    assert_eq!(shown(&unit(&box_), "ActiveState"), "active");
    box_.delete_force().ok();
    wait_forgotten(&unit(&box_));
    Ok(())
}

fn unit_in_use_is_refused() -> Outcome {
    let box_ = scope(Bundle::new(), "system.slice");
    let taken = Taken::new(&box_, &[]);
    taken.wait_for("active");
    let path = dir_of(&box_);
    let out = box_.create().failed();
    out.says(path.to_str().unwrap());
    box_.delete_force();
    assert_eq!(shown(&taken.0, "ActiveState"), "active", "the other one");
    Ok(())
}

fn unit_that_is_another_containers_by_now_is_left_alone() -> Outcome {
    let old = scope(Bundle::sh("true"), "system.slice");
    old.create().ok();
    old.start().ok();
    wait_forgotten(&unit(&old));
    let path = format!("system.slice:gl:{}", old.id());
    let new = scope(Bundle::new(), "system.slice").set("/linux/cgroupsPath", json!(path));
    let new = new.idle();
    old.delete().failed();
    assert_eq!(new.status(), "running", "after the delete of the old one");
    assert_eq!(shown(&unit(&old), "ActiveState"), "active");
    new.kill_and_wait();
    new.delete().ok();
    old.delete().ok();
    gone(&dir_of(&old));
    Ok(())
}

fn path_in_another_form_is_refused() -> Outcome {
    for (path, says) in [
        ("/system.slice/x", "SLICE:PREFIX:NAME"),
        ("system.slice:x", "SLICE:PREFIX:NAME"),
        ("system:gl:x", "a slice is called NAME.slice"),
        ("a--b.slice:gl:x", "a slice is called NAME.slice"),
        ("system.slice:gl:../x", "letters, digits"),
    ] {
        let box_ = Bundle::new()
            .with_global("--systemd-cgroup")
            .set("/linux/cgroupsPath", json!(path));
        let host = Host::before(&box_, &[]);
        box_.create().failed().says(path).says(says);
        host.unchanged_soon(path);
    }
    Ok(())
}

// ---- annotations

fn annotated(bundle: Bundle, key: &str, value: &str) -> Bundle {
    let mut annotations = serde_json::Map::new();
    annotations.insert(key.to_owned(), json!(value));
    scope(bundle, "system.slice").set("/annotations", annotations.into())
}

fn property_of_an_annotation_is_set() -> Outcome {
    for (name, text, property, want) in [
        ("TimeoutStopSec", "7", "TimeoutStopUSec", "7s"),
        ("Description", "'of a test'", "Description", "of a test"),
        ("CollectMode", "'inactive'", "CollectMode", "inactive"),
        ("KillSignal", "int32 12", "KillSignal", "12"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let box_ = annotated(Bundle::new(), &key, text).idle();
        assert_eq!(shown(&unit(&box_), property), want, "{name}");
    }
    Ok(())
}

fn property_that_is_not_allowed_is_refused() -> Outcome {
    let key = "org.systemd.property.DeviceAllow";
    let box_ = annotated(Bundle::new(), key, "'/dev/sda'");
    let host = Host::before(&box_, &[]);
    box_.create().failed().says(key);
    host.unchanged_soon("create with a property that is not allowed");
    Ok(())
}

fn property_that_systemd_refuses_is_an_error() -> Outcome {
    let key = "org.systemd.property.CollectMode";
    let box_ = annotated(Bundle::new(), key, "'nonsense'");
    let host = Host::before(&box_, &[]);
    let unit = unit(&box_);
    let out = box_.create().failed().says(&unit).says("systemd says");
    if bundle::is_greenlang() {
        out.says("correct what systemd names: an annotation org.systemd.property.*");
    }
    host.unchanged_soon("create with a property that systemd refuses");
    wait_forgotten(&unit);
    Ok(())
}

fn subgroup_holds_the_processes() -> Outcome {
    let box_ = annotated(Bundle::new(), "run.oci.systemd.subgroup", "inner")
        .set("/linux/resources/pids", json!({"limit": 33}))
        .idle();
    let (unit, dir) = (unit(&box_), dir_of(&box_));
    assert_eq!(cgroup_of(box_.pid()), format!("/system.slice/{unit}/inner"));
    assert_eq!(value(&dir, "pids.max"), "33");
    assert_eq!(value(&dir, "cgroup.procs"), "");
    let seen = box_.inside("cat /proc/self/cgroup");
    assert_eq!(seen.trim_end(), format!("0::/system.slice/{unit}/inner"));
    let ps = box_.call(&["ps", "--format", "json", box_.id()]).ok();
    assert_eq!(ps.json(), json!([box_.pid()]));
    box_.delete_force().ok();
    wait_forgotten(&unit);
    gone(&dir);
    Ok(())
}

fn delegated_cgroup_belongs_to_its_root() -> Outcome {
    let map = config::id_map(100_000, 65_536);
    let owned = |options: &[&str]| {
        let box_ = scope(Bundle::new(), "system.slice")
            .without_mount("/sys/fs/cgroup")
            .namespace("cgroup", Some(json!({"type": "cgroup"})))
            .namespace("user", Some(json!({"type": "user"})))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", options);
        std::os::unix::fs::chown(box_.rootfs(), Some(100_000), Some(100_000)).unwrap();
        let box_ = box_.idle();
        let dir = dir_of(&box_);
        let names = [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
            "memory.max",
        ];
        let owners = names.map(|name| fs::metadata(dir.join(name)).unwrap().uid());
        let made = box_.inside("mkdir /sys/fs/cgroup/sub && echo made; true");
        (owners, made)
    };
    let (owners, made) = owned(&["nosuid", "noexec", "nodev", "rw"]);
    assert_eq!(owners, [100_000, 100_000, 100_000, 100_000, 0]);
    assert_eq!(made, "made\n");
    let (owners, made) = owned(&["nosuid", "noexec", "nodev", "ro"]);
    assert_eq!(owners, [0; 5], "mounted read-only");
    assert_eq!(made, "", "mounted read-only");
    Ok(())
}

// ---- without a bus

/// Calls the runtime where these directories are empty.
fn covered(box_: &Bundle, dirs: &[&str], args: &[&str]) -> Output {
    let cover: Vec<_> = dirs
        .iter()
        .map(|dir| format!("mount -t tmpfs none {dir} && "))
        .collect();
    let script = format!("{}exec \"$@\"", cover.concat());
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "/bin/sh", "-c", &script, "sh"])
        .arg(runtime())
        .arg("--root")
        .arg(box_.state_root())
        .args(args)
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    finish(&mut command)
}

fn bus_is_not_needed() -> Outcome {
    let box_ = limited(scope(Bundle::sh("echo up"), "system.slice"));
    box_.write_config();
    let out = covered(
        &box_,
        &["/run/dbus"],
        &["--systemd-cgroup", "run", box_.id()],
    );
    out.ok().prints("up");
    wait_forgotten(&unit(&box_));
    Ok(())
}

fn systemd_of_another_pid_namespace_is_refused() -> Outcome {
    // A process id that we give it would be that of a stranger, which would then be ended with us.
    let box_ = scope(Bundle::sh("echo up"), "system.slice");
    box_.write_config();
    let host = Host::before(&box_, &[]);
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount", "--mount-proc", "--"])
        .arg(runtime())
        .arg("--root")
        .arg(box_.state_root())
        .args(["--systemd-cgroup", "run", box_.id()])
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    let out = finish(&mut command).failed();
    out.says("outside this pid namespace").prints("");
    host.unchanged_soon("run in another pid namespace");
    wait_forgotten(&unit(&box_));
    Ok(())
}

fn without_systemd_create_is_refused_and_delete_works() -> Outcome {
    let dirs = ["/run/dbus", "/run/systemd"];
    let box_ = scope(Bundle::new(), "system.slice");
    box_.write_config();
    let host = Host::before(&box_, &[]);
    let out = covered(&box_, &dirs, &["--systemd-cgroup", "create", box_.id()]).failed();
    let said = out.says("/run/dbus/system_bus_socket");
    if bundle::is_greenlang() {
        said.says("--systemd-cgroup");
    }
    host.unchanged_soon("create without systemd");
    let box_ = box_.idle();
    let pid = box_.pid();
    covered(&box_, &dirs, &["delete", "--force", box_.id()]).ok();
    wait_dead(pid);
    gone(&dir_of(&box_));
    // systemd was not told, and may not have seen the end of processes in a cgroup that is gone by now.
    finish(Command::new("systemctl").args(["stop", "--", &unit(&box_)]));
    wait_forgotten(&unit(&box_));
    Ok(())
}

// ---- the manager of a user

/// The user of the test host that has a manager.
const USER: u32 = 1000;

/// Runs a shell script as root of a user namespace of [`USER`]'s; `$G` is the runtime.
fn as_user(box_: &Bundle, variables: &[&str], script: &str) -> Result<Output, Skip> {
    if fs::metadata(format!("/run/user/{USER}/systemd/private")).is_err() {
        return Err(Skip(format!("user {USER} has no manager")));
    }
    box_.write_config();
    let give = ["--recursive", "--no-dereference", &USER.to_string()];
    finish(Command::new("chown").args(give).arg(box_.dir())).ok();
    let program = box_.dir().join("runtime");
    fs::copy(runtime(), &program).unwrap();
    let mut command = Command::new("setpriv");
    let user = USER.to_string();
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
        .args([
            "env",
            "--unset=DBUS_SESSION_BUS_ADDRESS",
            "--unset=XDG_RUNTIME_DIR",
        ])
        .args(variables)
        .args(["unshare", "--user", "--map-root-user", "--mount", "--"])
        .args(["/bin/sh", "-c", script])
        .env("G", &program)
        .env("ID", box_.id())
        .env("ROOT", box_.state_root())
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    Ok(finish(&mut command))
}

fn users_box(script: &str) -> Bundle {
    let id_path = |id: &str| json!(format!("user.slice:gl:{id}"));
    let box_ = Bundle::sh(script);
    let path = id_path(box_.id());
    box_.without_mount("/dev/pts")
        .unset("/linux/resources")
        .unset("/process/user/additionalGids")
        .unset("/process/rlimits")
        .set("/linux/cgroupsPath", path)
}

const RUN: &str = "exec \"$G\" --root \"$ROOT\" --systemd-cgroup run $ID";
const DIR: &str = "XDG_RUNTIME_DIR=/run/user/1000";

fn users_manager_makes_the_scope() -> Outcome {
    let box_ = users_box("exec sleep 1000").set("/linux/resources", json!({"pids": {"limit": 33}}));
    // We are not below the user's manager here, so that neither init nor exec may move there alone.
    let script = "set -e; g() { \"$G\" --root \"$ROOT\" --systemd-cgroup \"$@\"; }; \
        g create $ID >/dev/null; g start $ID; pid=$(g state $ID | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
        path=$(sed -n 's/^0:://p' /proc/$pid/cgroup); echo $path; \
        cat /sys/fs/cgroup$path/pids.max; \
        test \"$(g exec $ID cat /proc/self/cgroup)\" = 0::$path && echo exec; g delete --force $ID; \
        test ! -e /sys/fs/cgroup$path && echo gone";
    let out = as_user(&box_, &[DIR], script)?.ok();
    let want = format!(
        "/user.slice/user-{USER}.slice/user@{USER}.service/user.slice/{}\n33\nexec\ngone",
        unit(&box_)
    );
    out.prints(&want);
    Ok(())
}

fn users_manager_without_a_controller_is_refused() -> Outcome {
    let delegated = format!("/sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service");
    let has = fs::read_to_string(format!("{delegated}/cgroup.controllers")).unwrap_or_default();
    if has.contains("io") {
        return Err(Skip("the user has the io controller".to_owned()));
    }
    let box_ = users_box("exit 0").set(
        "/linux/resources",
        json!({"unified": {"io.weight": "default 50"}}),
    );
    let out = as_user(&box_, &[DIR], RUN)?;
    out.clone().status(1);
    let out = out.says("systemd does not delegate the io controller");
    if bundle::is_greenlang() {
        out.says("Delegate=");
    }
    Ok(())
}

fn user_without_a_manager_is_refused() -> Outcome {
    let box_ = users_box("exit 0");
    let out = as_user(&box_, &[], RUN)?;
    out.clone().status(1);
    let out = out.says("XDG_RUNTIME_DIR");
    let elsewhere = users_box("exit 0");
    let dir = format!("XDG_RUNTIME_DIR={}", elsewhere.dir().display());
    let socket = elsewhere.dir().join("bus");
    let other = as_user(&elsewhere, &[&dir], RUN)?;
    other.clone().status(1);
    other.says(socket.to_str().unwrap());
    drop(out);
    Ok(())
}
