//! Namespaces: new ones, the host's, those of another process by path, and user namespaces with
//! their maps.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use gl_e2e::bundle::config::id_map;
use gl_e2e::bundle::kernel::{self, eventually, fields, namespace, proc_file};
use gl_e2e::bundle::{self, Bundle, Host, known_elsewhere};
use gl_e2e::kernel::is_v2;
use gl_e2e::{Outcome, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        listed_namespaces_are_new,
        unlisted_namespaces_are_the_hosts,
        cgroup_namespace_is_new_when_listed,
        time_namespace_has_the_offsets,
        network_by_path_is_joined,
        pid_by_path_is_joined,
        ipc_and_uts_by_path_are_joined,
        container_of_a_pod_shares_and_outlives,
        path_of_another_type_is_refused,
        path_that_is_missing_is_refused,
        path_that_is_no_namespace_is_refused,
        network_of_the_host_is_kept,
        pid_of_the_host_is_kept,
        hostname_without_a_uts_namespace_is_refused,
        domainname_without_a_uts_namespace_is_refused,
        user_namespace_maps_ids,
        user_namespace_takes_several_ranges,
        user_namespace_process_user_is_mapped,
        user_namespace_has_working_mounts_and_devices,
        user_namespace_without_own_network_shows_the_hosts_sysfs_read_only,
        user_namespace_owns_the_other_namespaces,
        user_namespace_by_path_is_joined,
        user_namespace_exec_is_mapped,
        user_namespace_binds_unreadable_sources_of_root,
        user_namespace_root_cannot_leave_the_map,
        user_namespace_without_maps_is_refused,
        user_namespace_shifted_volume_keeps_owners,
        loopback_is_up_in_a_new_network,
        exec_joins_every_namespace,
    ])
}

const KINDS: [(&str, &str); 5] = [
    ("mount", "mnt"),
    ("network", "net"),
    ("uts", "uts"),
    ("pid", "pid"),
    ("ipc", "ipc"),
];

fn me() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn listed_namespaces_are_new() -> Outcome {
    let box_ = Bundle::new().idle();
    for (kind, file) in KINDS {
        let (seen, ours) = (namespace(box_.pid(), file), namespace(me(), file));
        assert_ne!(seen, ours, "{kind}");
    }
    Ok(())
}

fn unlisted_namespaces_are_the_hosts() -> Outcome {
    let box_ = Bundle::new()
        .namespace("network", None)
        .namespace("uts", None)
        .namespace("pid", None)
        .namespace("ipc", None)
        .unset("/hostname")
        .idle();
    for (_, file) in &KINDS[1..] {
        assert_eq!(namespace(box_.pid(), file), namespace(me(), file), "{file}");
    }
    for file in ["cgroup", "user", "time"] {
        assert_eq!(namespace(box_.pid(), file), namespace(me(), file), "{file}");
    }
    Ok(())
}

fn cgroup_namespace_is_new_when_listed() -> Outcome {
    let box_ = Bundle::new()
        .namespace("cgroup", Some(json!({"type": "cgroup"})))
        .idle();
    assert_ne!(namespace(box_.pid(), "cgroup"), namespace(me(), "cgroup"));
    let seen = box_.inside("cat /proc/1/cgroup");
    let want = match is_v2() {
        true => "0::/\n",
        false => ":memory:/\n",
    };
    assert!(seen.contains(want), "{seen}");
    Ok(())
}

fn time_namespace_has_the_offsets() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::sh("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime")
            .namespace("time", Some(json!({"type": "time"})))
            .set(
                "/linux/timeOffsets",
                json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}}),
            );
        let out = box_.run().ok();
        let uptime: u64 = out.stdout.lines().last().unwrap().parse().unwrap();
        assert!(uptime > 1_000_000, "{out:?}");
        let rows: Vec<Vec<&str>> = out
            .stdout
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert!(rows.contains(&vec!["monotonic", "5", "7"]), "{out:?}");
    })
}

/// A process with namespaces of its own, killed at the end.
struct Holder(Child);

impl Holder {
    /// Starts `unshare FLAGS sleep` and waits until its namespace of this kind is a new one.
    fn new(flags: &[&str], file: &str) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(flags)
            .args(["sleep", "1000"])
            .stdin(Stdio::null());
        let holder = Self(command.spawn().unwrap());
        eventually("namespace of the holder", || {
            let is_sleep = proc_file(holder.pid(), "comm") == "sleep\n";
            (is_sleep && namespace(holder.pid(), file) != namespace(me(), file)).then_some(())
        });
        holder
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.pid())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn by_path(kind: &str, path: &str) -> Option<Value> {
    Some(json!({"type": kind, "path": path}))
}

fn network_by_path_is_joined() -> Outcome {
    let holder = Holder::new(&["--net"], "net");
    let box_ = Bundle::new()
        .namespace("network", by_path("network", &holder.path("net")))
        .idle();
    assert_eq!(namespace(box_.pid(), "net"), namespace(holder.pid(), "net"));
    Ok(())
}

fn pid_by_path_is_joined() -> Outcome {
    let first = Bundle::new().idle();
    let path = format!("/proc/{}/ns/pid", first.pid());
    let second = Bundle::sh("echo me $$; echo ready; exec sleep 1234")
        .namespace("pid", by_path("pid", &path));
    second.create().ok();
    second.start().ok();
    let text = second.wait_for("ready");
    assert!(!text.contains("me 1\n"), "{text}");
    assert_eq!(
        namespace(second.pid(), "pid"),
        namespace(first.pid(), "pid")
    );
    let seen = fields(&proc_file(second.pid(), "status"));
    assert_eq!(seen["NSpid"].split(' ').count(), 2, "{seen:?}");
    let list = first.inside("ps");
    assert!(list.contains("sleep 1234"), "{list}");
    let pid = second.pid();
    second.delete_force().ok();
    kernel::wait_dead(pid);
    assert_eq!(first.status(), "running");
    Ok(())
}

fn ipc_and_uts_by_path_are_joined() -> Outcome {
    let holder = Holder::new(&["--ipc", "--uts"], "uts");
    let box_ = Bundle::new()
        .unset("/hostname")
        .namespace("ipc", by_path("ipc", &holder.path("ipc")))
        .namespace("uts", by_path("uts", &holder.path("uts")))
        .idle();
    for file in ["ipc", "uts"] {
        assert_eq!(
            namespace(box_.pid(), file),
            namespace(holder.pid(), file),
            "{file}"
        );
    }
    Ok(())
}

fn container_of_a_pod_shares_and_outlives() -> Outcome {
    let pause = Bundle::new().set("/hostname", json!("pod")).idle();
    let mut member = Bundle::new().unset("/hostname");
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let path = format!("/proc/{}/ns/{file}", pause.pid());
        member = member.namespace(kind, by_path(kind, &path));
    }
    let member = member.idle();
    assert_eq!(member.inside("hostname"), "pod\n");
    pause.delete_force().ok();
    assert_eq!(member.status(), "running");
    assert_eq!(member.inside("hostname"), "pod\n");
    Ok(())
}

#[track_caller]
fn refused(box_: &Bundle, text: &str) {
    let host = Host::before(box_, &[]);
    let out = box_.create().failed();
    assert!(out.stderr.contains(text), "no {text:?} in {out:?}");
    host.unchanged(text);
}

/// The field where the runtime names it, else the call that failed.
fn joined_field() -> &'static str {
    if bundle::is_greenlang() {
        "linux.namespaces[4]"
    } else {
        "setns"
    }
}

fn path_of_another_type_is_refused() -> Outcome {
    let box_ = Bundle::new().namespace("network", by_path("network", "/proc/self/ns/ipc"));
    refused(&box_, joined_field());
    Ok(())
}

fn path_that_is_missing_is_refused() -> Outcome {
    let box_ = Bundle::new().namespace("ipc", by_path("ipc", "/no/such/namespace"));
    refused(&box_, "/no/such/namespace");
    Ok(())
}

fn path_that_is_no_namespace_is_refused() -> Outcome {
    let box_ = Bundle::new().namespace("uts", by_path("uts", "/etc/passwd"));
    refused(&box_, joined_field());
    Ok(())
}

fn network_of_the_host_is_kept() -> Outcome {
    let box_ = Bundle::new()
        .args(&["readlink", "/proc/self/ns/net"])
        .namespace("network", None);
    box_.run().ok().prints(&namespace(me(), "net"));
    Ok(())
}

fn pid_of_the_host_is_kept() -> Outcome {
    let box_ = Bundle::new().namespace("pid", None).idle();
    let pid = box_.pid();
    assert_eq!(box_.inside(&format!("cat /proc/{pid}/comm")), "sleep\n");
    assert_eq!(namespace(pid, "pid"), namespace(me(), "pid"));
    box_.kill_and_wait();
    assert_eq!(box_.status(), "stopped");
    Ok(())
}

fn hostname_without_a_uts_namespace_is_refused() -> Outcome {
    refused(&Bundle::new().namespace("uts", None), "hostname");
    Ok(())
}

fn domainname_without_a_uts_namespace_is_refused() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::new()
            .unset("/hostname")
            .set("/domainname", json!("example.org"))
            .namespace("uts", None);
        refused(&box_, "domainname");
    })
}

const BASE: u32 = 100_000;

/// A bundle whose root is an unprivileged host id that owns the rootfs.
fn in_user_namespace(box_: Bundle) -> Bundle {
    chown(&box_.rootfs());
    box_.namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", id_map(BASE, 65536))
        .set("/linux/gidMappings", id_map(BASE, 65536))
}

fn chown(path: &Path) {
    lchown(path, Some(BASE), Some(BASE)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            chown(&entry.path());
        }
    }
}

fn rows(text: &str) -> Vec<Vec<u32>> {
    let row = |l: &str| l.split_whitespace().map(|n| n.parse().unwrap()).collect();
    text.lines().map(row).collect()
}

fn user_namespace_maps_ids() -> Outcome {
    let box_ = in_user_namespace(Bundle::new()).idle();
    let pid = box_.pid();
    for file in ["uid_map", "gid_map"] {
        assert_eq!(rows(&proc_file(pid, file)), [[0, BASE, 65536]], "{file}");
    }
    let seen = fields(&proc_file(pid, "status"));
    assert_eq!(seen["Uid"], "100000 100000 100000 100000", "{seen:?}");
    assert_eq!(seen["Gid"], "100000 100000 100000 100000", "{seen:?}");
    assert_ne!(namespace(pid, "user"), namespace(me(), "user"));
    Ok(())
}

fn user_namespace_takes_several_ranges() -> Outcome {
    let ranges = json!([
        {"containerID": 0, "hostID": BASE, "size": 1000},
        {"containerID": 1000, "hostID": 300_000, "size": 500},
        {"containerID": 5000, "hostID": 400_000, "size": 1},
    ]);
    let box_ = in_user_namespace(Bundle::sh(
        "cat /proc/self/uid_map /proc/self/gid_map; id -u",
    ))
    .set("/linux/uidMappings", ranges.clone())
    .set("/linux/gidMappings", ranges)
    .set(
        "/process/user",
        json!({"uid": 5000, "gid": 1499, "additionalGids": [3]}),
    );
    let out = box_.run().ok();
    let (maps, id) = out.stdout.trim_end().rsplit_once('\n').unwrap();
    let want = [[0, BASE, 1000], [1000, 300_000, 500], [5000, 400_000, 1]];
    assert_eq!(rows(maps), [want, want].concat(), "{out:?}");
    assert_eq!(id, "5000", "{out:?}");
    Ok(())
}

fn user_namespace_process_user_is_mapped() -> Outcome {
    let box_ = in_user_namespace(Bundle::new())
        .set(
            "/process/user",
            json!({"uid": 7, "gid": 8, "additionalGids": [9]}),
        )
        .idle();
    let seen = fields(&proc_file(box_.pid(), "status"));
    assert_eq!(seen["Uid"].split(' ').next(), Some("100007"), "{seen:?}");
    assert_eq!(seen["Gid"].split(' ').next(), Some("100008"), "{seen:?}");
    assert_eq!(seen["Groups"], "100009", "{seen:?}");
    Ok(())
}

fn user_namespace_has_working_mounts_and_devices() -> Outcome {
    let script = "echo x > /dev/null && head -c 1 /dev/zero | wc -c && touch /dev/shm/x \
         && touch /dev/mqueue/q && ls /dev/pts && ls /sys/class >/dev/null && cat /proc/self/comm \
         && stat -c %u /dev/shm/x; cat /proc/self/mountinfo";
    let box_ = in_user_namespace(Bundle::sh(script));
    let out = box_.run().ok();
    assert!(out.stdout.starts_with("1\nptmx\ncat\n0\n"), "{out:?}");
    for target in [
        "/dev/null",
        "/proc",
        "/sys",
        "/dev/pts",
        "/dev/mqueue",
        "/sys/fs/cgroup",
    ] {
        assert!(
            kernel::mount_at(&out.stdout, target).is_some(),
            "{target}: {out:?}"
        );
    }
    Ok(())
}

fn user_namespace_without_own_network_shows_the_hosts_sysfs_read_only() -> Outcome {
    known_elsewhere("cannot mount sysfs there", || {
        let devices = || {
            let mut names: Vec<_> = fs::read_dir("/sys/class/net")
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort_unstable();
            names
        };
        let script = "ls /sys/class/net; mkdir /sys/x; cat /proc/self/mountinfo";
        let box_ = in_user_namespace(Bundle::sh(script))
            .namespace("network", None)
            .set("/mounts/3/options", json!(["rw"]));
        assert_eq!(box_.config["mounts"][3]["type"], "sysfs");
        let out = box_.run().ok();
        let mut seen: Vec<_> = out.stdout.lines().take(devices().len()).collect();
        seen.sort_unstable();
        assert_eq!(seen, devices(), "{out:?}");
        assert!(out.stderr.contains("Read-only file system"), "{out:?}");
        let below = |target: &str| target == "/sys" || target.starts_with("/sys/");
        let all = kernel::mounts(&out.stdout);
        let sysfs: Vec<_> = all.iter().filter(|mount| below(&mount.target)).collect();
        let own = kernel::mount_at(&out.stdout, "/sys").unwrap();
        assert_eq!(own.kind, "sysfs", "{own:?}");
        for mount in sysfs {
            for option in ["ro", "nosuid", "nodev", "noexec"] {
                assert!(mount.has(option), "{option}: {mount:?}");
            }
        }
    })
}

fn user_namespace_owns_the_other_namespaces() -> Outcome {
    // Only the owner of the network namespace may set a link up, and of the UTS one a name.
    let box_ = in_user_namespace(Bundle::sh(
        "ip link set lo down && hostname other && hostname",
    ))
    .set(
        "/process/capabilities/bounding",
        json!(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    )
    .set(
        "/process/capabilities/permitted",
        json!(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    )
    .set(
        "/process/capabilities/effective",
        json!(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    );
    box_.run().ok().prints("other");
    Ok(())
}

fn user_namespace_by_path_is_joined() -> Outcome {
    known_elsewhere("asks for maps of a namespace that has them", || {
        let first = in_user_namespace(Bundle::new()).idle();
        let mut box_ = Bundle::new()
            .unset("/hostname")
            .without_mount("/sys/fs/cgroup");
        chown(&box_.rootfs());
        for (kind, file) in [
            ("user", "user"),
            ("network", "net"),
            ("uts", "uts"),
            ("ipc", "ipc"),
        ] {
            let path = format!("/proc/{}/ns/{file}", first.pid());
            box_ = box_.namespace(kind, by_path(kind, &path));
        }
        let box_ = box_.idle();
        for file in ["user", "net", "uts", "ipc"] {
            assert_eq!(
                namespace(box_.pid(), file),
                namespace(first.pid(), file),
                "{file}"
            );
        }
        let seen = fields(&proc_file(box_.pid(), "status"));
        assert_eq!(seen["Uid"].split(' ').next(), Some("100000"), "{seen:?}");
    })
}

fn user_namespace_exec_is_mapped() -> Outcome {
    let box_ = in_user_namespace(Bundle::new()).idle();
    assert_eq!(
        box_.inside("id -u; cat /proc/self/uid_map").lines().next(),
        Some("0")
    );
    box_.exec(&["-u", "12:34"], &["sh", "-c", "id -u; id -g"])
        .ok()
        .prints("12\n34");
    Ok(())
}

fn user_namespace_binds_unreadable_sources_of_root() -> Outcome {
    // The source is opened before the user namespace is entered.
    known_elsewhere("opens the source inside", || {
        let box_ = Bundle::new().args(&["cat", "/mnt/file"]);
        let volume = box_.outside("private/volume");
        fs::write(volume.join("file"), "reached\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(box_.dir().join("private"), mode).unwrap();
        let box_ = in_user_namespace(box_).mount(
            "bind",
            volume.to_str().unwrap(),
            "/mnt",
            &["rbind", "ro"],
        );
        box_.run().ok().prints("reached");
    })
}

fn user_namespace_root_cannot_leave_the_map() -> Outcome {
    let box_ = Bundle::sh("touch /mnt/x; cat /mnt/secret; chown 0 /mnt/secret; true");
    let volume = box_.outside("volume");
    fs::write(volume.join("secret"), "secret").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(volume.join("secret"), mode).unwrap();
    let box_ = in_user_namespace(box_).mount("bind", "volume", "/mnt", &["rbind"]);
    let host = Host::before(&box_, &[&volume]);
    let out = box_.run().ok().prints("");
    assert_eq!(out.stderr.matches("ermi").count(), 3, "{out:?}");
    host.unchanged("volume of the host's root");
    Ok(())
}

fn user_namespace_without_maps_is_refused() -> Outcome {
    let box_ = Bundle::new().namespace("user", Some(json!({"type": "user"})));
    chown(&box_.rootfs());
    refused(&box_, "");
    Ok(())
}

fn user_namespace_shifted_volume_keeps_owners() -> Outcome {
    known_elsewhere("older spec", || {
        let box_ = Bundle::sh("stat -c %u /mnt/file; touch /mnt/new");
        let volume = box_.outside("volume");
        fs::write(volume.join("file"), "x").unwrap();
        let box_ = in_user_namespace(box_).mount("bind", "volume", "/mnt", &["bind", "idmap"]);
        // `features` says whether it works; where it does not, it is refused by name.
        if !box_.has_feature("/linux/mountExtensions/idmap/enabled") {
            box_.run().status(1).says("mounts[7].options[1]");
            return;
        }
        box_.run().ok().prints("0");
        assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 0);
    })
}

fn loopback_is_up_in_a_new_network() -> Outcome {
    let out = Bundle::new().args(&["ip", "addr", "show", "lo"]).run().ok();
    assert!(
        out.stdout.contains("127.0.0.1") && out.stdout.contains("UP"),
        "{out:?}"
    );
    Ok(())
}

fn exec_joins_every_namespace() -> Outcome {
    let box_ = in_user_namespace(Bundle::new())
        .namespace("cgroup", Some(json!({"type": "cgroup"})))
        .idle();
    let files = ["mnt", "net", "uts", "pid", "ipc", "user", "cgroup"];
    let seen =
        box_.inside("for f in mnt net uts pid ipc user cgroup; do readlink /proc/self/ns/$f; done");
    for (line, file) in seen.lines().zip(files) {
        assert_eq!(line, namespace(box_.pid(), file), "{file}");
    }
    Ok(())
}
