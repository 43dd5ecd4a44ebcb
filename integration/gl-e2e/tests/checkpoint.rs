//! `checkpoint` and `restore` through CRIU: what comes back, what is refused, and what is left after a
//! failure. CRIU has to work here (`criu check`); what is refused before it is called needs none.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gl_e2e::bundle::host::cgroups_of;
use gl_e2e::bundle::kernel::{eventually, wait_dead};
use gl_e2e::bundle::listener::{Console, Listener};
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{self, Bundle, Host, Output, finish, process};
use gl_e2e::kernel::{Cgroup, status};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        restored_processes_run_on_with_the_callers_streams,
        restored_container_is_one_like_any_other,
        checkpoint_deletes_the_container,
        checkpoint_that_leaves_it_running_leaves_it_running,
        checkpoint_after_a_pre_dump_is_restored,
        paused_container_is_saved,
        terminal_is_sent_to_the_console_socket_again,
        restore_in_the_foreground_ends_with_the_programs_status,
        restored_container_has_the_restrictions_of_its_config,
        restored_root_is_read_only,
        bind_mounts_come_from_the_config_of_the_restore,
        limits_of_the_restore_are_in_force,
        hooks_run_at_the_restore,
        network_namespace_by_path_is_joined_again,
        open_connection_is_refused_unless_that_is_asked_for,
        open_connection_is_saved_if_that_is_asked_for,
        user_namespace_and_its_devices_come_back,
        user_namespace_on_the_hosts_network_comes_back,
        checkpoint_that_fails_lets_the_container_run_on,
        restore_that_fails_leaves_nothing,
        restore_to_something_weaker_is_refused,
        mount_that_was_made_to_look_like_another_keeps_its_options,
        restore_without_a_mount_that_was_there_is_refused,
        timeout_of_a_profile_counts_what_was_before,
        profile_with_landlock_is_refused,
        filter_with_a_listener_is_refused,
        config_file_outside_etc_criu_is_refused,
        created_container_is_refused,
        parent_path_has_to_be_relative_and_there,
        image_path_in_the_container_is_refused,
        image_path_that_others_may_write_to_is_refused,
        options_that_are_none_are_refused,
    ])
}

/// Counts the signals that it gets: what it says depends on its memory.
const COUNTS: &str =
    "n=0; trap 'n=$((n+1)); echo got $n' USR1; echo ready; while :; do sleep 1000 & wait $!; done";

/// A filter of system calls.
fn filter() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
    })
}

/// A skip where CRIU does not work.
fn criu() -> Result<(), Skip> {
    let found = Command::new("criu").arg("check").output();
    match found {
        Ok(out) if out.status.success() => Ok(()),
        Ok(_) => Err(Skip("CRIU does not work here".to_owned())),
        Err(_) => Err(Skip("there is no criu".to_owned())),
    }
}

fn images(box_: &Bundle, name: &str) -> String {
    let path = box_.dir().join(name);
    path.to_str().unwrap().to_owned()
}

fn checkpoint(box_: &Bundle, flags: &[&str]) -> Output {
    let images = images(box_, "images");
    let args = ["checkpoint", "--image-path", &images];
    box_.call(&[&args, flags, &[box_.id()]].concat())
}

fn restore(box_: &Bundle, flags: &[&str]) -> Output {
    let images = images(box_, "images");
    let args = ["--detach", "--image-path", &images];
    box_.make_with("restore", &[&args, flags].concat())
}

/// Saved and brought back, with another process.
fn moved(box_: &Bundle) {
    let before = box_.pid();
    checkpoint(box_, &[]).ok();
    wait_dead(before);
    restore(box_, &[]).ok();
    assert_ne!(box_.pid(), before);
}

fn restored_processes_run_on_with_the_callers_streams() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    for want in ["got 1", "got 2"] {
        box_.kill("USR1").ok();
        box_.wait_for(want);
    }
    for want in ["got 3", "got 4"] {
        moved(&box_);
        box_.kill("USR1").ok();
        assert_eq!(box_.wait_for(want).trim(), want);
    }
    Ok(())
}

fn restored_container_is_one_like_any_other() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).set("/linux/seccomp", filter()).ready();
    checkpoint(&box_, &[]).ok();
    let pid_file = box_.dir().join("pid");
    restore(&box_, &["--pid-file", pid_file.to_str().unwrap()]).ok();
    assert_eq!(box_.status(), "running");
    let pid: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    assert_eq!(pid, box_.pid());
    assert_eq!(box_.inside("cat /proc/1/comm").trim(), "sh");
    let exec = box_.inside("cat /proc/self/status");
    assert!(exec.contains("Seccomp:\t2"), "{exec}");
    box_.call(&["pause", box_.id()]).ok();
    assert_eq!(box_.status(), "paused");
    box_.call(&["resume", box_.id()]).ok();
    box_.kill_and_wait();
    assert_eq!(box_.status(), "stopped");
    box_.delete().ok();
    assert_eq!(cgroups_of(box_.id()), Vec::<PathBuf>::new());
    Ok(())
}

fn checkpoint_deletes_the_container() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let images = images(&box_, "images");
    fs::create_dir(&images).unwrap();
    let host = Host::before(&box_, &[]);
    let box_ = box_.ready();
    checkpoint(&box_, &[]).ok();
    let gone = box_.call(&["state", box_.id()]).status(1);
    assert!(gone.stderr.contains("does not exist"), "{gone:?}");
    fs::remove_dir_all(images).unwrap();
    fs::remove_file(box_.dir().join("config.json")).unwrap();
    host.unchanged_soon("after the checkpoint");
    Ok(())
}

fn checkpoint_that_leaves_it_running_leaves_it_running() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    let pid = box_.pid();
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    checkpoint(&box_, &["--leave-running"]).ok();
    assert_eq!((box_.pid(), &*box_.status()), (pid, "running"));
    box_.kill("USR1").ok();
    box_.wait_for("got 2");
    // What was saved is older.
    box_.delete_force().ok();
    restore(&box_, &[]).ok();
    box_.kill("USR1").ok();
    assert_eq!(box_.wait_for("got 2").trim(), "got 2");
    Ok(())
}

fn checkpoint_after_a_pre_dump_is_restored() -> Outcome {
    criu()?;
    let tracks = Command::new("criu")
        .args(["check", "--feature", "mem_dirty_track"])
        .output();
    if !tracks.unwrap().status.success() {
        return Err(Skip(
            "the kernel does not track changes of memory".to_owned(),
        ));
    }
    // Memory that does not change meanwhile.
    let script = format!("x=$(head -c 4000000 /dev/zero | tr '\\0' a); {COUNTS}");
    let box_ = Bundle::sh(&script).ready();
    let before = images(&box_, "before");
    let args = [
        "checkpoint",
        "--image-path",
        &before,
        "--pre-dump",
        box_.id(),
    ];
    box_.call(&args).ok();
    assert_eq!(box_.status(), "running");
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    checkpoint(&box_, &["--parent-path", "../before"]).ok();
    let pages = |dir: &str| -> u64 {
        let files = fs::read_dir(box_.dir().join(dir))
            .unwrap()
            .map(Result::unwrap);
        let pages = files.filter(|file| file.file_name().to_str().unwrap().starts_with("pages-"));
        pages.map(|file| file.metadata().unwrap().len()).sum()
    };
    let (first, second) = (pages("before"), pages("images"));
    assert!(
        first > 4_000_000 && second < first / 2,
        "{first} bytes, then {second}"
    );
    restore(&box_, &[]).ok();
    box_.kill("USR1").ok();
    box_.wait_for("got 2");
    Ok(())
}

fn paused_container_is_saved() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    box_.call(&["pause", box_.id()]).ok();
    checkpoint(&box_, &["--leave-running"]).ok();
    assert_eq!(box_.status(), "paused");
    checkpoint(&box_, &[]).ok();
    restore(&box_, &[]).ok();
    if box_.status() == "paused" {
        box_.call(&["resume", box_.id()]).ok();
    }
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    Ok(())
}

fn terminal_is_sent_to_the_console_socket_again() -> Outcome {
    criu()?;
    let script = "n=0; echo ready; while read x; do n=$((n+1)); echo line $n is $x; tty; done";
    let box_ = Bundle::sh(script).set("/process/terminal", json!(true));
    let listener = Listener::new(box_.dir(), "console.sock");
    box_.create_with(&["--console-socket", listener.path()])
        .ok();
    let console = Console::from_message(listener.receive());
    box_.start().ok();
    console.line("one");
    console.wait_for("line 1 is one");
    checkpoint(&box_, &[]).ok();
    drop((console, listener));
    fs::remove_file(box_.dir().join("console.sock")).unwrap();
    let refused = restore(&box_, &[]).status(1);
    assert!(refused.stderr.contains("--console-socket"), "{refused:?}");
    let listener = Listener::new(box_.dir(), "console.sock");
    restore(&box_, &["--console-socket", listener.path()]).ok();
    let console = Console::from_message(listener.receive());
    console.line("two");
    let seen = console.wait_for("/dev/pts/0");
    assert!(seen.contains("line 2 is two"), "{seen:?}");
    Ok(())
}

fn restore_in_the_foreground_ends_with_the_programs_status() -> Outcome {
    criu()?;
    let box_ = Bundle::sh("trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done");
    let box_ = box_.ready();
    checkpoint(&box_, &[]).ok();
    box_.write_config();
    let images = images(&box_, "images");
    let mut restore = box_.command(&["restore", "--image-path", &images, box_.id()]);
    let mut restore = restore.spawn().unwrap();
    let running = || {
        let state = box_.call(&["state", box_.id()]);
        (state.code == 0 && state.json()["status"] == "running").then_some(())
    };
    eventually("runs", running);
    box_.kill("TERM").ok();
    assert_eq!(restore.wait().unwrap().code(), Some(7));
    box_.call(&["state", box_.id()]).status(1);
    Ok(())
}

fn restored_container_has_the_restrictions_of_its_config() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS)
        .set("/linux/seccomp", filter())
        .set("/process/noNewPrivileges", json!(true))
        .ready();
    let fields = [
        "Seccomp",
        "NoNewPrivs",
        "CapBnd",
        "CapEff",
        "CapPrm",
        "CapInh",
        "CapAmb",
    ];
    let facts = |pid| fields.map(|field| status(pid, field));
    let seen = "cat /proc/kcore /proc/timer_list | wc -c; ls -A /proc/acpi /sys/firmware 2>&1; \
                echo x 2>&1 > /proc/sys/kernel/hostname; cat /proc/mounts | cut -d ' ' -f 2-4 | sort";
    let (before, inside) = (facts(box_.pid()), box_.inside(seen));
    moved(&box_);
    assert_eq!(facts(box_.pid()), before);
    let again = box_.inside(seen);
    assert_eq!(again, inside);
    assert_eq!(status(box_.pid(), "Seccomp"), "2");
    Ok(())
}

fn restored_root_is_read_only() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS)
        .set("/root/readonly", json!(true))
        .ready();
    moved(&box_);
    let seen = box_.inside("echo x 2>/dev/null > /file && echo written; true");
    assert_eq!(seen, "");
    Ok(())
}

fn bind_mounts_come_from_the_config_of_the_restore() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let (old, new) = (box_.outside("old"), box_.outside("new"));
    fs::write(old.join("name"), "old").unwrap();
    fs::write(new.join("name"), "new").unwrap();
    let source = old.to_str().unwrap();
    let mut box_ = box_
        .mount("bind", source, "/mnt/deep", &["rbind", "ro"])
        .ready();
    assert_eq!(box_.inside("cat /mnt/deep/name"), "old");
    checkpoint(&box_, &[]).ok();
    // Of a root that is new.
    fs::remove_dir_all(box_.rootfs().join("mnt")).unwrap();
    let last = box_.config["mounts"].as_array().unwrap().len() - 1;
    box_.config["mounts"][last]["source"] = json!(new);
    restore(&box_, &[]).ok();
    let seen = box_.inside("cat /mnt/deep/name; echo x 2>/dev/null > /mnt/deep/name; true");
    assert_eq!(seen, "new");
    Ok(())
}

fn limits_of_the_restore_are_in_force() -> Outcome {
    criu()?;
    let limit = |bytes: u64| json!({ "limit": bytes });
    let box_ = Bundle::sh(COUNTS)
        .set("/linux/resources/memory", limit(64 << 20))
        .ready();
    checkpoint(&box_, &[]).ok();
    let box_ = box_.set("/linux/resources/memory", limit(48 << 20));
    let box_ = box_.set("/linux/resources/pids", json!({ "limit": 17 }));
    restore(&box_, &[]).ok();
    let cgroup = Cgroup::of(box_.pid());
    assert_eq!(cgroup.memory_limit(), (48 << 20).to_string());
    assert_eq!(cgroup.pids_limit(), "17");
    Ok(())
}

fn hooks_run_at_the_restore() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let log = box_.dir().join("hooks");
    let hook = |name: &str| {
        let script = format!(
            "echo {name} $(grep -o '\"pid\":[0-9]*') >> {}",
            log.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
    };
    let box_ = box_
        .set("/hooks/prestart", hook("prestart"))
        .set("/hooks/createRuntime", hook("createRuntime"))
        .set("/hooks/poststop", hook("poststop"))
        .ready();
    fs::remove_file(&log).unwrap();
    checkpoint(&box_, &[]).ok();
    restore(&box_, &[]).ok();
    let pid = box_.pid();
    let want = format!("poststop\nprestart \"pid\":{pid}\ncreateRuntime \"pid\":{pid}\n");
    let seen = fs::read_to_string(&log).unwrap();
    let seen: Vec<&str> = seen
        .lines()
        .map(|line| line.strip_suffix(" \"pid\":0").unwrap_or(line))
        .collect();
    assert_eq!(seen, want.lines().collect::<Vec<_>>());
    Ok(())
}

/// A network namespace that is there until it is dropped.
struct Network(PathBuf);

impl Network {
    fn new(box_: &Bundle) -> Self {
        let path = box_.dir().join("network");
        fs::write(&path, "").unwrap();
        let script = format!(
            "ip link set lo up; mount --bind /proc/self/ns/net {}",
            path.display()
        );
        finish(Command::new("unshare").args(["--net", "sh", "-c", &script])).ok();
        Self(path)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        // It is gone with the mount namespace of the tests at the latest.
        rustix::mount::unmount(&self.0, flags).ok();
    }
}

fn network_namespace_by_path_is_joined_again() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let network = Network::new(&box_);
    let path = network.0.to_str().unwrap();
    let box_ = box_
        .namespace("network", Some(json!({ "type": "network", "path": path })))
        .ready();
    let own = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let before = own(box_.pid());
    moved(&box_);
    assert_eq!(own(box_.pid()), before);
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    Ok(())
}

/// A container in which two processes are connected to each other, in a network that outlives it.
fn connected(network: &Network, box_: Bundle) -> Bundle {
    let path = network.0.to_str().unwrap();
    let box_ = box_.namespace("network", Some(json!({ "type": "network", "path": path })));
    // What one is told, the other prints.
    box_.args(&["/bin/sh", "-c", CONNECTED]).ready()
}

const CONNECTED: &str = "mkfifo /tmp/words; sleep 1000 | busybox nc -l -p 99 & sleep 0.5; \
    busybox nc 127.0.0.1 99 0<>/tmp/words & echo ready; while :; do sleep 1000 & wait $!; done";

/// A skip where this CRIU cannot save sockets: 4.1 asks each for `SO_PASSCRED`, which from Linux 6.16 on only
/// unix sockets have.
fn sockets() -> Result<(), Skip> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    match rustix::net::sockopt::socket_passcred(&socket) {
        Ok(_) => Ok(()),
        Err(_) => Err(Skip(
            "this CRIU cannot save sockets of this kernel".to_owned(),
        )),
    }
}

fn open_connection_is_refused_unless_that_is_asked_for() -> Outcome {
    criu()?;
    let box_ = Bundle::new();
    let network = Network::new(&box_);
    let box_ = connected(&network, box_);
    let refused = checkpoint(&box_, &[]).status(1);
    assert!(refused.stderr.contains("--tcp-established"), "{refused:?}");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn open_connection_is_saved_if_that_is_asked_for() -> Outcome {
    criu()?;
    sockets()?;
    let box_ = Bundle::new();
    let network = Network::new(&box_);
    let box_ = connected(&network, box_);
    box_.inside("echo first > /tmp/words");
    box_.wait_for("first");
    checkpoint(&box_, &["--tcp-established"]).ok();
    restore(&box_, &["--tcp-established"]).ok();
    // busybox's nc itself ends with the call that was interrupted, so nothing more is said.
    assert_eq!(box_.status(), "running");
    Ok(())
}

/// A container in a user namespace.
fn mapped() -> Bundle {
    // The harness gives a stream that is in memory only, which such a root cannot make.
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let box_ = Bundle::sh(&format!("exec 2>/dev/null; {COUNTS}"))
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    fs::set_permissions(box_.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    box_
}

fn user_namespace_and_its_devices_come_back() -> Outcome {
    criu()?;
    let box_ = mapped().ready();
    moved(&box_);
    let seen = fs::read_to_string(format!("/proc/{}/uid_map", box_.pid())).unwrap();
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    assert_eq!(box_.inside("head -c 3 /dev/zero | wc -c").trim(), "3");
    Ok(())
}

fn user_namespace_on_the_hosts_network_comes_back() -> Outcome {
    criu()?;
    // Without a network to make, the first process reads images before anybody has written its maps.
    let box_ = mapped().namespace("network", None);
    let box_ = box_.without_mount("/sys").without_mount("/sys/fs/cgroup");
    let box_ = box_.ready();
    for want in ["got 1", "got 2", "got 3"] {
        moved(&box_);
        box_.kill("USR1").ok();
        assert_eq!(box_.wait_for(want).trim(), want);
    }
    Ok(())
}

fn checkpoint_that_fails_lets_the_container_run_on() -> Outcome {
    criu()?;
    // Its log is somebody's directory.
    let box_ = Bundle::sh(COUNTS).ready();
    let work = images(&box_, "work");
    fs::create_dir_all(Path::new(&work).join("dump.log")).unwrap();
    let failed = checkpoint(&box_, &["--work-path", &work]).status(1);
    assert!(failed.stderr.contains("E_CRIU_FAILED"), "{failed:?}");
    assert_eq!(box_.status(), "running");
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    Ok(())
}

fn restore_that_fails_leaves_nothing() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    checkpoint(&box_, &[]).ok();
    let images = box_.dir().join("images");
    let host = Host::before(&box_, &[]);
    for name in ["core-1.img", "pstree.img", "inventory.img"] {
        let path = images.join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let failed = restore(&box_, &[]).status(1);
        assert!(failed.stderr.contains("restore.log"), "{name}: {failed:?}");
        fs::write(&path, &whole).unwrap();
        process::reap();
        fs::remove_file(images.join("restore.log")).unwrap();
        host.unchanged_soon(name);
    }
    restore(&box_, &[]).ok();
    box_.kill("USR1").ok();
    box_.wait_for("got 1");
    Ok(())
}

fn restore_to_something_weaker_is_refused() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS)
        .unset("/linux/seccomp")
        .set("/process/noNewPrivileges", json!(false));
    let box_ = box_.set("/linux/maskedPaths", json!([])).ready();
    checkpoint(&box_, &[]).ok();
    let config = box_.config.clone();
    let host = Host::before(&box_, &[]);
    let mut box_ = box_;
    for (pointer, value, field) in [
        (
            "/process/noNewPrivileges",
            json!(true),
            "process.noNewPrivileges",
        ),
        (
            "/process/capabilities/bounding",
            json!(["CAP_KILL"]),
            "process.capabilities",
        ),
        (
            "/linux/maskedPaths",
            json!(["/proc/stat"]),
            "linux.maskedPaths",
        ),
        (
            "/linux/readonlyPaths",
            json!(["/tmp"]),
            "linux.readonlyPaths",
        ),
        ("/linux/seccomp", filter(), "linux.seccomp"),
    ] {
        box_.config = config.clone();
        box_ = box_.set(pointer, value);
        let refused = restore(&box_, &[]).status(1);
        let want = format!("it would be weaker than its config in {field}");
        assert!(refused.stderr.contains(&want), "{field}: {refused:?}");
        process::reap();
        drop(fs::remove_file(box_.dir().join("images/restore.log")));
        box_.config = config.clone();
        box_.write_config();
        host.unchanged_soon(field);
    }
    Ok(())
}

fn mount_that_was_made_to_look_like_another_keeps_its_options() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let (kept, given) = (box_.outside("kept"), box_.outside("given"));
    // Of a filesystem that nothing else of the container is from.
    let own = ["-t", "tmpfs", "tmpfs", kept.to_str().unwrap()];
    finish(Command::new("mount").args(own)).ok();
    let box_ = box_
        .mount("bind", given.to_str().unwrap(), "/given", &["rbind", "rw"])
        .mount("bind", kept.to_str().unwrap(), "/a/kept", &["rbind", "ro"])
        .ready();
    // What is read-only is now found where something else can be written to.
    box_.inside("mv /a /b && mkdir /a && ln -s /given /a/kept");
    checkpoint(&box_, &[]).ok();
    let refused = restore(&box_, &[]).status(1);
    let want = "options: /given is mounted without ro";
    assert!(refused.stderr.contains(want), "{refused:?}");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
    Ok(())
}

fn restore_without_a_mount_that_was_there_is_refused() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let volume = box_.outside("volume");
    let box_ = box_
        .mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind"])
        .ready();
    checkpoint(&box_, &[]).ok();
    let box_ = box_.without_mount("/mnt");
    let refused = restore(&box_, &[]).status(1);
    assert!(
        refused
            .stderr
            .contains("a bind mount that its config lacks"),
        "{refused:?}"
    );
    Ok(())
}

fn timeout_of_a_profile_counts_what_was_before() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let _profile = Setting::profile(
        "brief",
        "execution_timeout = 6
",
    );
    let box_ = box_.with_global("--profile").with_global("brief").ready();
    checkpoint(&box_, &[]).ok();
    restore(&box_, &[]).ok();
    let extras = box_.state_root().join(box_.id()).join("extras.json");
    let extras: Value = serde_json::from_slice(&fs::read(extras).unwrap()).unwrap();
    let left = extras["execution_timeout_ms"].as_u64().unwrap();
    assert!((1..6000).contains(&left), "{extras}");
    wait_dead(box_.pid());
    assert_eq!(
        box_.state()["annotations"]["dev.greenlang.end-reason"],
        "timeout"
    );
    Ok(())
}

fn profile_with_landlock_is_refused() -> Outcome {
    let box_ = Bundle::sh(COUNTS);
    let _profile = Setting::profile(
        "lands",
        "[filesystem]
read_write_paths = [\"/tmp\"]
",
    );
    let box_ = box_.with_global("--profile").with_global("lands").ready();
    let refused = checkpoint(&box_, &[]).status(1);
    assert!(refused.stderr.contains("field=landlock"), "{refused:?}");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn filter_with_a_listener_is_refused() -> Outcome {
    let box_ = Bundle::sh(COUNTS);
    let listener = Listener::new(box_.dir(), "agent.sock");
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": listener.path(),
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let box_ = box_.set("/linux/seccomp", seccomp).ready();
    let refused = checkpoint(&box_, &[]).status(1);
    assert!(
        refused.stderr.contains("field=linux.seccomp.listenerPath"),
        "{refused:?}"
    );
    Ok(())
}

fn config_file_outside_etc_criu_is_refused() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS);
    let path = box_.file("tmp/criu.conf", "action-script /tmp/evil\n");
    let box_ = box_
        .set("/annotations/org.criu.config", json!(path))
        .ready();
    let refused = checkpoint(&box_, &[]).status(1);
    let want = "as CRIU's config file: it is not in /etc/criu itself";
    assert!(refused.stderr.contains(want), "{refused:?}");
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn created_container_is_refused() -> Outcome {
    let box_ = Bundle::sh(COUNTS);
    box_.create().ok();
    let refused = checkpoint(&box_, &[]).status(1);
    let want = format!("checkpoint container {}: it is created", box_.id());
    assert!(refused.stderr.contains(&want), "{refused:?}");
    Ok(())
}

fn parent_path_has_to_be_relative_and_there() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    for (parent, want) in [
        ("/tmp", "/tmp is absolute"),
        ("../missing", "open "),
        ("./x", "is no name"),
    ] {
        let refused = checkpoint(&box_, &["--parent-path", parent]).status(1);
        let said = format!("use --parent-path: {want}");
        let said = refused.stderr.contains(&said) || refused.stderr.contains(want);
        assert!(
            said && refused.stderr.contains("--parent-path"),
            "{parent}: {refused:?}"
        );
    }
    assert_eq!(box_.status(), "running");
    Ok(())
}

fn image_path_in_the_container_is_refused() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    let path = box_.dir_in("tmp/images");
    box_.link("tmp/link", "/etc");
    let args = [
        "checkpoint",
        "--image-path",
        path.to_str().unwrap(),
        box_.id(),
    ];
    let refused = box_.call(&args).status(1);
    assert!(
        refused.stderr.contains("is in the container's root"),
        "{refused:?}"
    );
    Ok(())
}

fn image_path_that_others_may_write_to_is_refused() -> Outcome {
    criu()?;
    let box_ = Bundle::sh(COUNTS).ready();
    let path = box_.outside("images");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = checkpoint(&box_, &[]).status(1);
    assert!(
        refused.stderr.contains("others than root may write to"),
        "{refused:?}"
    );
    Ok(())
}

fn options_that_are_none_are_refused() -> Outcome {
    let box_ = Bundle::sh(COUNTS);
    for (verb, flag, value) in [
        ("checkpoint", "--manage-cgroups-mode", "none"),
        ("checkpoint", "--empty-ns", "mount"),
        ("checkpoint", "--page-server", "host"),
        ("checkpoint", "--page-server", ":1"),
        ("checkpoint", "--page-server", "host:0"),
        ("checkpoint", "--page-server", "host:65536"),
        ("restore", "--lsm-profile", "apparmor"),
        ("restore", "--lsm-profile", "selinux:"),
        ("restore", "--manage-cgroups-mode", "SOFT"),
    ] {
        let refused = box_.call(&[verb, flag, value, box_.id()]).status(1);
        assert!(refused.stderr.contains(flag), "{flag} {value}: {refused:?}");
    }
    Ok(())
}
