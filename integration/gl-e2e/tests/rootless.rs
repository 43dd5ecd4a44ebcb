//! The runtime without root. As root of a user namespace only, as an engine calls it: one id is
//! mapped, `setgroups(2)` is denied, and no cgroup can be made. And called by a plain user, with
//! subordinate ids and without.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::kernel::eventually;
use gl_e2e::bundle::settings::Setting;
use gl_e2e::bundle::{self, Bundle, Output, finish, runtime};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        userns_root_runs_a_container,
        userns_root_keeps_state_in_the_users_directory,
        userns_root_execs_kills_and_deletes,
        userns_root_cannot_write_to_sys_or_cgroups,
        userns_root_without_setgroups_refuses_groups,
        userns_root_with_limits_and_no_cgroup_is_refused,
        userns_root_has_no_use_for_a_device_list,
        userns_root_joins_a_pid_namespace,
        userns_root_makes_a_time_namespace,
        userns_root_signals_all_and_lists_without_a_cgroup,
        userns_root_without_cgroup_and_pid_namespace_says_so,
        user_runs_a_container_with_all_ids_by_default,
        user_maps_ids_of_the_host_in_the_config,
        user_without_mappings_gets_the_default_ones,
        user_execs_kills_and_deletes,
        user_hooks_run_as_root_of_the_namespace,
        user_is_refused_ids_of_others,
        user_without_ranges_is_told_about_subuid,
        user_without_ranges_runs_the_config_of_spec,
        user_runs_no_newuidmap_from_path,
        user_gets_a_read_only_runtime,
        user_runtime_directory_must_be_the_users_own,
        user_has_limits_in_a_delegated_cgroup,
        user_deletes_cgroups_that_the_container_made,
        user_outside_the_delegated_cgroup_is_told,
        user_without_a_delegated_controller_is_told,
        user_with_a_profile_and_no_cgroup_is_told_what_to_do,
        user_with_a_degrading_profile_has_the_limits_of_each_process,
        user_is_told_what_a_degrading_profile_gives_up,
        user_with_a_degrading_profile_and_too_many_processes_is_ended,
        user_with_a_profile_has_its_limits_in_a_delegated_cgroup,
        user_runs_every_built_in_profile_that_degrades,
    ])
}

/// An id that no account has.
const USER: u32 = 54_321;

/// A bundle of [`USER`]'s that asks for nothing that takes the host's root.
fn bundle(script: &str) -> Bundle {
    Bundle::sh(script)
        .without_mount("/dev/pts")
        .unset("/linux/resources")
        .unset("/process/user/additionalGids")
        .unset("/process/rlimits")
}

/// Runs a shell script as root of a user namespace of [`USER`]'s; `$G` is the runtime.
fn as_user(box_: &Bundle, script: &str) -> Output {
    box_.write_config();
    give(box_.dir());
    let program = box_.dir().join("runtime");
    fs::copy(runtime(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (user, group) = (USER.to_string(), USER.to_string());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &group, "--clear-groups", "--"])
        .args(["unshare", "--user", "--map-root-user", "--mount", "--"])
        .args(["/bin/sh", "-c", script])
        .env("G", &program)
        .env("ID", box_.id())
        .env("XDG_RUNTIME_DIR", box_.dir())
        .current_dir(box_.dir())
        .stdin(Stdio::null());
    finish(&mut command)
}

/// Whether the user has subordinate ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subordinate {
    /// 300000 to 365535.
    Yes,
    No,
}

/// Makes the accounts and the ranges of [`USER`], in a mount namespace of its own, and becomes that
/// user. `$CALLER` is a cgroup to go to first.
const LOGIN: &str = "set -e; cd /; mount -t tmpfs -o mode=755 tmpfs /mnt; \
    { cat /etc/passwd; echo \"gltest:x:$U:$U::/:/bin/sh\"; } >/mnt/passwd; \
    { cat /etc/group; echo \"gltest:x:$U:\"; } >/mnt/group; \
    if [ $IDS = yes ]; then echo gltest:300000:65536 >/mnt/subuid; else : >/mnt/subuid; fi; \
    for file in subuid subgid; do \
        mount --bind /mnt/subuid /etc/$file; \
    done; \
    mount --bind /mnt/passwd /etc/passwd; mount --bind /mnt/group /etc/group; \
    if [ -n \"$CALLER\" ]; then echo $$ >\"$CALLER/cgroup.procs\"; fi; cd \"$DIR\"; \
    exec setpriv --reuid $U --regid $U --clear-groups -- sh -c \"$SCRIPT\"";

/// Runs a shell script as [`USER`], who has no privileges; `$G` is the runtime.
fn as_plain_user(box_: &Bundle, ids: Subordinate, script: &str) -> Output {
    finish(&mut plain_user(box_, ids, script))
}

fn plain_user(box_: &Bundle, ids: Subordinate, script: &str) -> Command {
    box_.write_config();
    give(box_.dir());
    let program = box_.dir().join("runtime");
    fs::copy(runtime(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "/bin/sh", "-c", LOGIN])
        .env("G", &program)
        .env("ID", box_.id())
        .env("U", USER.to_string())
        .env("IDS", if ids == Subordinate::Yes { "yes" } else { "no" })
        .env("DIR", box_.dir())
        .env("CALLER", "")
        .env("SCRIPT", script)
        .env("XDG_RUNTIME_DIR", box_.dir())
        .stdin(Stdio::null());
    command
}

/// A bundle for a plain user: nothing of Docker's is left out but the limits.
fn plain_bundle(script: &str) -> Bundle {
    Bundle::sh(script)
        .unset("/linux/resources")
        .unset("/process/rlimits")
}

/// Gives a directory with all below it to [`USER`].
fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        let entries = fs::read_dir(path).unwrap();
        let below: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        below.iter().for_each(|entry| give(entry));
    }
}

fn userns_root_runs_a_container() -> Outcome {
    let box_ = bundle("cat /proc/self/uid_map; echo x >/dev/null && ls /dev; exit 7")
        .set("/process/oomScoreAdj", json!(-900));
    let out = as_user(&box_, "exec \"$G\" run $ID");
    out.clone().status(7);
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words[..3], ["0", "54321", "1"], "{out:?}");
    for name in ["full", "null", "random", "tty", "urandom", "zero"] {
        assert!(words.contains(&name), "{name}: {out:?}");
    }
    Ok(())
}

fn userns_root_keeps_state_in_the_users_directory() -> Outcome {
    let box_ = bundle("exit 0");
    let script = "\"$G\" create $ID >/dev/null && ls greenlang && \"$G\" delete --force $ID";
    let out = as_user(&box_, script).ok();
    assert_eq!(out.stdout, format!("{}\n", box_.id()));
    let left = fs::read_dir(box_.dir().join("greenlang")).unwrap().count();
    assert_eq!(left, 0, "entries of the state root");
    Ok(())
}

fn userns_root_execs_kills_and_deletes() -> Outcome {
    let box_ = bundle("exec sleep 1000");
    let script = "set -e; \"$G\" create $ID >/dev/null; \"$G\" start $ID; \
        \"$G\" exec $ID /bin/sh -c 'echo pid $$ uid $(id -u); cat /proc/1/comm'; \
        \"$G\" kill $ID KILL; \"$G\" delete --force $ID; \"$G\" list -q";
    let out = as_user(&box_, script).ok();
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{out:?}");
    assert!(lines[0].ends_with("uid 0"), "{out:?}");
    assert_eq!(lines[1], "sleep", "{out:?}");
    Ok(())
}

/// CVE-2023-25809.
fn userns_root_cannot_write_to_sys_or_cgroups() -> Outcome {
    let box_ = bundle("mkdir /sys/fs/cgroup/x; mkdir /sys/x; echo 1 >/sys/kernel/x; exit 0")
        .namespace("network", None)
        .namespace("cgroup", None);
    let out = as_user(&box_, "exec \"$G\" run $ID").ok();
    let refused = out.stderr.matches("Read-only file system").count();
    assert!(refused >= 2, "{out:?}");
    assert!(!Path::new("/sys/fs/cgroup/x").is_dir());
    Ok(())
}

fn userns_root_without_setgroups_refuses_groups() -> Outcome {
    let box_ = bundle("exit 0").set("/process/user/additionalGids", json!([5]));
    let out = as_user(&box_, "exec \"$G\" run $ID");
    out.clone().status(1);
    assert!(
        out.stderr.contains("use process.user.additionalGids"),
        "{out:?}"
    );
    Ok(())
}

fn userns_root_with_limits_and_no_cgroup_is_refused() -> Outcome {
    let box_ = bundle("exit 0").set("/linux/resources", json!({"pids": {"limit": 5}}));
    let out = as_user(&box_, "exec \"$G\" run $ID");
    out.clone().status(1);
    out.says("/sys/fs/cgroup").says("--systemd-cgroup");
    assert!(!box_.dir().join("greenlang").join(box_.id()).is_dir());
    Ok(())
}

fn userns_root_has_no_use_for_a_device_list() -> Outcome {
    // Null is not on the list, and works: it is the host's, bound. No node can be made, listed or not.
    let box_ = bundle("echo x >/dev/null && echo null; mknod /zero c 1 5; true").set(
        "/linux/resources",
        json!({"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        ]}),
    );
    let out = as_user(&box_, "exec \"$G\" run $ID").ok();
    assert_eq!(out.stdout, "null\n", "{out:?}");
    out.says("Operation not permitted");
    Ok(())
}

fn userns_root_joins_a_pid_namespace() -> Outcome {
    let box_ = bundle("readlink /proc/self/ns/pid; echo $$");
    let path = box_.dir().join("pid");
    let box_ = box_.namespace("pid", Some(json!({"type": "pid", "path": path})));
    let script = "unshare --pid --fork --kill-child sleep 100 & \
        until P=$(cat /proc/$!/task/$!/children) && [ -n \"$P\" ]; do :; done; P=${P% }; \
        ln -s /proc/$P/ns/pid pid; readlink /proc/$P/ns/pid; \"$G\" run $ID; S=$?; kill $!; exit $S";
    let out = as_user(&box_, script).ok();
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{out:?}");
    assert_eq!(lines[0], lines[1], "{out:?}");
    assert_ne!(lines[2], "1", "{out:?}");
    Ok(())
}

fn userns_root_makes_a_time_namespace() -> Outcome {
    let box_ = bundle("cat /proc/uptime")
        .namespace("time", Some(json!({"type": "time"})))
        .set(
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 900_000_000}}),
        );
    let out = as_user(&box_, "exec \"$G\" run $ID").ok();
    let seconds: f64 = out.stdout.split(' ').next().unwrap().parse().unwrap();
    assert!((9e8..9.9e8).contains(&seconds), "{out:?}");
    Ok(())
}

fn userns_root_signals_all_and_lists_without_a_cgroup() -> Outcome {
    let box_ = bundle("sleep 1000 & sleep 1000 & wait; echo both ended");
    let script = "\"$G\" run $ID & \
        until [ \"$(\"$G\" ps $ID -eo pid,comm 2>/dev/null | grep -c ' sleep$')\" = 2 ]; do :; done; \
        \"$G\" ps $ID -eo pid,comm; \"$G\" kill --all $ID TERM; wait $!";
    let out = as_user(&box_, script).ok();
    assert_eq!(out.stdout.matches(" sleep\n").count(), 2, "{out:?}");
    assert_eq!(out.stdout.matches("both ended\n").count(), 1, "{out:?}");
    Ok(())
}

fn userns_root_without_cgroup_and_pid_namespace_says_so() -> Outcome {
    // A new procfs takes a new pid namespace.
    let box_ = bundle("exec sleep 1000")
        .namespace("pid", None)
        .without_mount("/proc")
        .mount("bind", "/proc", "/proc", &["rbind"]);
    let script = "\"$G\" create $ID >/dev/null; \"$G\" start $ID; \
        \"$G\" ps $ID; echo ps $?; \"$G\" kill --all $ID KILL; echo kill $?; \
        while \"$G\" kill $ID 0 2>/dev/null; do :; done; \"$G\" delete $ID";
    let out = as_user(&box_, script).ok().prints("ps 1\nkill 0");
    let said = "find the container's processes: it has no cgroup and shares its pid namespace";
    assert_eq!(out.stderr.matches(said).count(), 2, "{out:?}");
    Ok(())
}

fn user_runs_a_container_with_all_ids_by_default() -> Outcome {
    let box_ = plain_bundle("cat /proc/self/uid_map /proc/self/gid_map; id -G; exit 7");
    let out = as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID").status(7);
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    let map = ["0", "54321", "1", "1", "300000", "65536"];
    assert_eq!(words[..6], map, "{out:?}");
    assert_eq!(words[6..12], map, "{out:?}");
    Ok(())
}

/// The host ids of the running container's init.
const MAPS: &str = "P=$(\"$G\" state $ID | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
    echo $(cat /proc/$P/uid_map) , $(cat /proc/$P/gid_map)";

/// Creates, shows the maps as the user sees them, and deletes.
fn maps_of(box_: &Bundle) -> Output {
    let script = format!(
        "set -e; \"$G\" create $ID >/dev/null; {MAPS}; \"$G\" start $ID; \"$G\" delete --force $ID"
    );
    as_plain_user(box_, Subordinate::Yes, &script)
}

fn user_maps_ids_of_the_host_in_the_config() -> Outcome {
    let map = json!([
        {"containerID": 0, "hostID": 300_000, "size": 1000},
        {"containerID": 1000, "hostID": USER, "size": 1},
    ]);
    let box_ = plain_bundle("exec sleep 1000")
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    maps_of(&box_)
        .ok()
        .prints("0 300000 1000 1000 54321 1 , 0 300000 1000 1000 54321 1");
    Ok(())
}

fn user_without_mappings_gets_the_default_ones() -> Outcome {
    let box_ = plain_bundle("exec sleep 1000").namespace("user", Some(json!({"type": "user"})));
    maps_of(&box_)
        .ok()
        .prints("0 54321 1 1 300000 65536 , 0 54321 1 1 300000 65536");
    Ok(())
}

fn user_execs_kills_and_deletes() -> Outcome {
    let user = json!([{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 300_000, "size": 9}]);
    let shared = plain_bundle("exec sleep 1000");
    let own = plain_bundle("exec sleep 1000")
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", user.clone())
        .set("/linux/gidMappings", user);
    for box_ in [shared, own] {
        let script = "set -e; \"$G\" create $ID >/dev/null; \"$G\" start $ID; \
            \"$G\" exec $ID sh -c 'id -u; cat /proc/1/comm'; \
            \"$G\" exec --user 5:6 $ID sh -c 'echo $(id -u) $(id -g)'; \
            \"$G\" list | sed -n 's/.* //p'; \"$G\" ps -f json $ID | tr -d 0-9; \
            \"$G\" kill $ID KILL; while \"$G\" kill $ID 0 2>/dev/null; do :; done; \
            \"$G\" delete $ID; \"$G\" list -q; stat -c %a greenlang";
        as_plain_user(&box_, Subordinate::Yes, script)
            .ok()
            .prints("0\nsleep\n5 6\nOWNER\ngltest\n[]\n700");
    }
    Ok(())
}

fn user_hooks_run_as_root_of_the_namespace() -> Outcome {
    let box_ = plain_bundle("exec sleep 1000");
    let log = box_.dir().join("hooks");
    let hook = |name: &str| {
        let script = format!("echo {name} $(id -u) >>{}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let names = ["createRuntime", "poststart", "poststop"];
    let box_ = names.iter().fold(box_, |box_, name| {
        box_.set(&format!("/hooks/{name}"), hook(name))
    });
    let script = "set -e; \"$G\" create $ID >/dev/null; \"$G\" start $ID; \
        \"$G\" kill $ID KILL; while \"$G\" kill $ID 0 2>/dev/null; do :; done; \
        \"$G\" delete $ID; cat hooks";
    as_plain_user(&box_, Subordinate::Yes, script)
        .ok()
        .prints("createRuntime 0\npoststart 0\npoststop 0");
    Ok(())
}

fn user_is_refused_ids_of_others() -> Outcome {
    let map = json!([{"containerID": 0, "hostID": 299_999, "size": 2}]);
    let box_ = plain_bundle("exit 0")
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID")
        .status(1)
        .says(
            "use linux.uidMappings[0]: id 299999 is not the user's, who owns 54321, 300000-365535",
        );
    Ok(())
}

fn user_without_ranges_is_told_about_subuid() -> Outcome {
    let box_ = plain_bundle("exit 0");
    as_plain_user(&box_, Subordinate::No, "exec \"$G\" run $ID")
        .status(1)
        .says("map ids for user gltest: /etc/subuid has no range of that user")
        .says("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 gltest");
    assert!(!box_.dir().join("greenlang").is_dir());
    Ok(())
}

fn user_without_ranges_runs_the_config_of_spec() -> Outcome {
    let box_ = plain_bundle("exit 0");
    let script = "set -e; rm config.json; \"$G\" spec --rootless; \
        sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\", \"1000\"/' config.json; \
        \"$G\" create $ID >/dev/null; \"$G\" start $ID; \"$G\" exec $ID id -u; \
        cat /proc/$(\"$G\" ps -f json $ID | tr -d '[]')/uid_map; \"$G\" delete --force $ID";
    for ids in [Subordinate::No, Subordinate::Yes] {
        let out = as_plain_user(&box_, ids, script).ok();
        let words: Vec<&str> = out.stdout.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "54321", "1"], "{out:?}");
    }
    Ok(())
}

fn user_runs_no_newuidmap_from_path() -> Outcome {
    let box_ = plain_bundle("echo ran");
    for name in ["newuidmap", "newgidmap"] {
        let fake = box_.dir().join(name);
        fs::write(&fake, "#!/bin/sh\necho fake >>$DIR/fake\nexit 1\n").unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = "PATH=$DIR:$PATH; newuidmap; cat fake; exec \"$G\" run $ID";
    as_plain_user(&box_, Subordinate::Yes, script)
        .ok()
        .prints("fake\nran");
    let said = fs::read_to_string(box_.dir().join("fake")).unwrap();
    assert_eq!(said, "fake\n");
    Ok(())
}

/// CVE-2019-5736: whoever gets hold of the runtime's program cannot write to it.
fn user_gets_a_read_only_runtime() -> Outcome {
    let box_ = plain_bundle("exit 0");
    let said = box_.dir().join("said");
    // As long as it runs, nobody can write to it anyway.
    let hook = format!(
        "exec 9</proc/$PPID/exe; (while [ -e /proc/$PPID ]; do sleep 0.05; done; \
         echo x >>/proc/self/fd/9; echo $?) >{0}.new 2>&1 && mv {0}.new {0} &",
        said.display()
    );
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]);
    let box_ = box_.set("/hooks/createRuntime", hook);
    let script = "\"$G\" run $ID && until cat said 2>/dev/null; do sleep 0.05; done";
    let out = as_plain_user(&box_, Subordinate::Yes, script).ok();
    // A read-only mount refuses to open it, a sealed copy to be written to.
    assert_eq!(out.stdout.lines().last(), Some("1"), "{out:?}");
    let theirs = fs::read(box_.dir().join("runtime")).unwrap();
    assert!(
        fs::read(runtime()).unwrap() == theirs,
        "the runtime was changed"
    );
    Ok(())
}

fn user_runtime_directory_must_be_the_users_own() -> Outcome {
    let box_ = plain_bundle("exit 0");
    for (prepare, said) in [
        (
            "chmod 777 $DIR",
            "it is $XDG_RUNTIME_DIR and others may write to it",
        ),
        (
            "XDG_RUNTIME_DIR=/usr",
            "it is $XDG_RUNTIME_DIR and belongs to another user",
        ),
        (
            "XDG_RUNTIME_DIR=.",
            "$XDG_RUNTIME_DIR has to be an absolute path",
        ),
        ("unset XDG_RUNTIME_DIR", "/run/greenlang"),
    ] {
        let script = format!("{prepare}; \"$G\" run $ID; S=$?; chmod 755 $DIR; exit $S");
        as_plain_user(&box_, Subordinate::Yes, &script)
            .status(1)
            .says(said)
            .says("set XDG_RUNTIME_DIR");
    }
    Ok(())
}

/// A cgroup of [`USER`]'s with one below it for the caller, removed at the end.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Result<Self, Skip> {
        let top = Path::new("/sys/fs/cgroup");
        if !top.join("cgroup.controllers").is_file() {
            return Err(Skip("cgroup v2 is not mounted".to_owned()));
        }
        let dir = top.join(name);
        fs::create_dir(&dir).unwrap();
        for file in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
        ] {
            lchown(dir.join(file), Some(USER), Some(USER)).unwrap();
        }
        fs::create_dir(dir.join("caller")).unwrap();
        for file in ["", "cgroup.procs"] {
            lchown(dir.join("caller").join(file), Some(USER), Some(USER)).unwrap();
        }
        Ok(Self(dir))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a failed test left behind goes as far as it can.
            let killed = fs::write(self.0.join("cgroup.kill"), "1");
            let left = ["box/a/b", "box/a", "box", "caller", ""].map(|name| self.0.join(name));
            let gone = left.map(|dir| killed.is_ok() && fs::remove_dir(dir).is_ok());
            return assert!(gone.len() == 5);
        }
        for dir in [self.0.join("caller"), self.0.clone()] {
            eventually("an empty cgroup", || fs::remove_dir(&dir).ok());
        }
    }
}

fn user_has_limits_in_a_delegated_cgroup() -> Outcome {
    let box_ = plain_bundle("exec sleep 1000");
    let name = format!("gl-e2e-user-{}", box_.id());
    let delegated = Delegated::new(&name)?;
    let box_ = box_
        .set("/linux/resources", json!({"pids": {"limit": 7}}))
        .set("/linux/cgroupsPath", json!(format!("/{name}/box")));
    let script = "set -e; C=/sys/fs/cgroup/$(basename ${CALLER%/*})/box; \
        \"$G\" create $ID >/dev/null; cat $C/pids.max; \"$G\" start $ID; \
        \"$G\" exec $ID sh -c 'exec sleep 1000' & \
        until [ $(wc -l <$C/cgroup.procs) = 2 ]; do :; done; \
        \"$G\" update --pids-limit 9 $ID; cat $C/pids.max; \
        \"$G\" pause $ID; cat $C/cgroup.freeze; \"$G\" resume $ID; \
        \"$G\" ps -f json $ID | tr -d 0-9; \
        \"$G\" kill --all $ID KILL; while \"$G\" kill $ID 0 2>/dev/null; do :; done; \
        \"$G\" delete $ID; [ ! -e $C ] && echo gone";
    let mut command = plain_user(&box_, Subordinate::Yes, script);
    finish(command.env("CALLER", delegated.0.join("caller")))
        .ok()
        .prints("7\n9\n1\n[,]\ngone");
    Ok(())
}

/// Root of the container, another id on the host, makes cgroups in its own; they go with it.
fn user_deletes_cgroups_that_the_container_made() -> Outcome {
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 9}]);
    let box_ = plain_bundle("mkdir -p /sys/fs/cgroup/a/b && echo made; exec sleep 1000")
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .namespace("cgroup", Some(json!({"type": "cgroup"})))
        .without_mount("/sys/fs/cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw", "nosuid"]);
    let name = format!("gl-e2e-user-{}", box_.id());
    let delegated = Delegated::new(&name)?;
    let box_ = box_.set("/linux/cgroupsPath", json!(format!("/{name}/box")));
    let script = "set -e; C=/sys/fs/cgroup/$(basename ${CALLER%/*})/box; \
        for ended in no yes; do \
            \"$G\" create $ID >/dev/null; \"$G\" start $ID; \
            N=0; until [ -e $C/a/b ] || [ $((N += 1)) = 100 ]; do sleep 0.1; done; stat -c %u $C/a/b; \
            if [ $ended = yes ]; then \
                \"$G\" kill $ID KILL; while \"$G\" kill $ID 0 2>/dev/null; do :; done; \
            fi; \
            \"$G\" delete --force $ID; [ ! -e $C ] && echo gone; \
        done";
    let mut command = plain_user(&box_, Subordinate::Yes, script);
    finish(command.env("CALLER", delegated.0.join("caller")))
        .ok()
        .prints("300000\ngone\n300000\ngone");
    Ok(())
}

fn user_outside_the_delegated_cgroup_is_told() -> Outcome {
    let box_ = plain_bundle("exit 0");
    let name = format!("gl-e2e-user-{}", box_.id());
    let delegated = Delegated::new(&name)?;
    let box_ = box_
        .set("/linux/resources", json!({"pids": {"limit": 7}}))
        .set("/linux/cgroupsPath", json!(format!("/{name}/box")));
    as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID")
        .status(1)
        .says("join the cgroup (linux.cgroupsPath)")
        .says("--systemd-cgroup");
    assert!(!delegated.0.join("box").is_dir(), "the cgroup is left");
    Ok(())
}

/// A cgroup of root's that passes one controller on, removed at the end.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        eventually("an empty cgroup", || fs::remove_dir(&self.0).ok());
    }
}

fn user_without_a_delegated_controller_is_told() -> Outcome {
    let top = Path::new("/sys/fs/cgroup");
    if !top.join("cgroup.controllers").is_file() {
        return Err(Skip("cgroup v2 is not mounted".to_owned()));
    }
    // As systemd has it.
    fs::write(top.join("cgroup.subtree_control"), "+pids +memory").unwrap();
    let box_ = plain_bundle("echo up");
    let outer = format!("gl-e2e-user-{}", box_.id());
    let passing = Passing(top.join(&outer));
    fs::create_dir(&passing.0).unwrap();
    fs::write(passing.0.join("cgroup.subtree_control"), "+pids").unwrap();
    let delegated = Delegated::new(&format!("{outer}/own"))?;
    let run = |box_: &Bundle| {
        let mut command = plain_user(box_, Subordinate::Yes, "exec \"$G\" run $ID");
        finish(command.env("CALLER", delegated.0.join("caller")))
    };
    let box_ = box_.set("/linux/cgroupsPath", json!(format!("/{outer}/own/box")));
    let box_ = box_.set("/linux/resources", json!({"pids": {"limit": 7}}));
    run(&box_).ok().prints("up");
    let box_ = box_.set("/linux/resources", json!({"memory": {"limit": 67_108_864}}));
    run(&box_)
        .status(1)
        .prints("")
        .says(&format!(
            "set linux.resources.memory.limit: enable memory in /sys/fs/cgroup/{outer}/cgroup.subtree_control"
        ))
        .says("have the owner of that cgroup delegate the controller");
    assert!(!delegated.0.join("box").is_dir(), "the cgroup is left");
    Ok(())
}

/// Limits of a profile; all of them but the number of processes need a cgroup.
const LIMITS: &str = "[limits]\nmemory_limit_bytes = \"64MiB\"\nmax_threads = 20\nmax_processes = 12\n\
    cpu_time_limit_seconds = 9\ncpu_percent_limit = 50\n";

fn profiled(box_: Bundle, profile: &str) -> Bundle {
    box_.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

fn user_with_a_profile_and_no_cgroup_is_told_what_to_do() -> Outcome {
    let _profile = Setting::profile("bounded", LIMITS);
    let box_ = profiled(plain_bundle("exit 0"), "bounded");
    as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID")
        .status(1)
        .says("bounded.toml:7: limits.cpu_time_limit_seconds: the container can have no cgroup")
        .says("--systemd-cgroup")
        .says("on_missing = \\\"degrade\\\"");
    let left = fs::read_dir(box_.dir().join("greenlang")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().file_name() == box_.id());
    assert_eq!(left.count(), 0, "the state of the container is left");
    Ok(())
}

fn user_with_a_degrading_profile_has_the_limits_of_each_process() -> Outcome {
    let text = format!("on_missing = \"degrade\"\n{LIMITED_TASKS}");
    let _profile = Setting::profile("loose", &text);
    let script = "grep -E 'cpu time|processes|address space' /proc/self/limits | tr -s ' '; \
        dd if=/dev/zero of=/dev/null bs=100M count=1 2>&1 | grep -c memory; \
        i=0; while [ $i -lt 10 ]; do i=$((i + 1)); sleep 3 & done";
    let box_ = profiled(plain_bundle(script), "loose");
    let out = as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID");
    let lines: Vec<_> = out.stdout.lines().map(str::trim).collect();
    let want = [
        "Max cpu time 9 9 seconds",
        "Max processes 8 8 processes",
        "Max address space 67108864 67108864 bytes",
        "1",
    ];
    assert_eq!(lines, want, "{out:?}");
    out.says("can't fork");
    Ok(())
}

/// As [`LIMITS`], with fewer tasks than the processes that a script starts.
const LIMITED_TASKS: &str = "[limits]\nmemory_limit_bytes = \"64MiB\"\nmax_threads = 8\n\
    max_processes = 8\ncpu_time_limit_seconds = 9\n";

fn user_is_told_what_a_degrading_profile_gives_up() -> Outcome {
    let _profile = Setting::profile("loose", &format!("on_missing = \"degrade\"\n{LIMITS}"));
    let box_ = profiled(plain_bundle("exec sleep 1000"), "loose");
    let script =
        "set -e; \"$G\" create $ID >/dev/null; \"$G\" state $ID; \"$G\" delete --force $ID";
    let out = as_plain_user(&box_, Subordinate::Yes, script).ok();
    let state: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let lacks = "the container can have no cgroup";
    let lost = [
        format!(
            "limits.cpu_time_limit_seconds: {lacks}; in its place: RLIMIT_CPU 9, for each process alone"
        ),
        format!(
            "limits.memory_limit_bytes: {lacks}; in its place: RLIMIT_AS 67108864, for each process alone"
        ),
        format!(
            "limits.max_threads: {lacks}; in its place: RLIMIT_NPROC 20, for each user of the container"
        ),
        format!("limits.cpu_percent_limit: not in force: {lacks}"),
    ];
    let told = state["annotations"]["dev.greenlang.lost"].as_str();
    let told: Vec<_> = told.unwrap_or_default().split("; limits.").collect();
    let told = told.join("\nlimits.");
    assert_eq!(told, lost.join("\n"), "{out:?}");
    assert_eq!(
        out.stderr.matches("profile loose: limits.").count(),
        4,
        "{out:?}"
    );
    Ok(())
}

fn user_with_a_degrading_profile_and_too_many_processes_is_ended() -> Outcome {
    let text = format!("on_missing = \"degrade\"\n{LIMITS}");
    let _profile = Setting::profile("loose", &text);
    let box_ = profiled(
        plain_bundle("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 1000 & done; wait"),
        "loose",
    );
    let script = "set -e; \"$G\" create $ID >/dev/null; \"$G\" start $ID; \
        N=0; until \"$G\" state $ID | grep end-reason || [ $((N += 1)) = 200 ]; do sleep 0.1; done; \
        \"$G\" delete --force $ID";
    let out = as_plain_user(&box_, Subordinate::Yes, script).ok();
    let line = out.stdout.trim();
    assert!(
        line.starts_with("\"dev.greenlang.end-reason\": \"pids\""),
        "{out:?}"
    );
    Ok(())
}

fn user_with_a_profile_has_its_limits_in_a_delegated_cgroup() -> Outcome {
    let _profile = Setting::profile("bounded", LIMITS);
    let box_ = profiled(plain_bundle("exec sleep 1000"), "bounded");
    let name = format!("gl-e2e-user-{}", box_.id());
    let delegated = Delegated::new(&name)?;
    let box_ = box_.set("/linux/cgroupsPath", json!(format!("/{name}/box")));
    let script = "set -e; C=/sys/fs/cgroup/$(basename ${CALLER%/*})/box; \
        \"$G\" create $ID >/dev/null; cat $C/memory.max $C/memory.swap.max $C/pids.max $C/cpu.max; \
        \"$G\" state $ID | grep -c dev.greenlang.lost || true; \"$G\" delete --force $ID; [ ! -e $C ] && echo gone";
    let mut command = plain_user(&box_, Subordinate::Yes, script);
    finish(command.env("CALLER", delegated.0.join("caller")))
        .ok()
        .prints("67108864\n0\n20\n50000 100000\n0\ngone");
    Ok(())
}

fn user_runs_every_built_in_profile_that_degrades() -> Outcome {
    for name in [
        "default",
        "data_processing",
        "network_client",
        "blocked_dangerous",
        "lenient",
        "standard",
    ] {
        let text = format!("extends = [\"{name}\"]\non_missing = \"degrade\"\n");
        let _profile = Setting::profile("loose", &text);
        let box_ = profiled(plain_bundle("echo ran"), "loose");
        as_plain_user(&box_, Subordinate::Yes, "exec \"$G\" run $ID")
            .ok()
            .prints("ran");
    }
    Ok(())
}
