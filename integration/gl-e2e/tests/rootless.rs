//! The runtime as root of a user namespace only, as an engine without root calls it: one id is
//! mapped, `setgroups(2)` is denied, and no cgroup can be made.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use gl_e2e::bundle::{self, Bundle, Output, finish, runtime};
use gl_e2e::{Outcome, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        userns_root_runs_a_container,
        userns_root_keeps_state_in_the_users_directory,
        userns_root_execs_kills_and_deletes,
        userns_root_cannot_write_to_sys_or_cgroups,
        userns_root_without_setgroups_refuses_groups,
        userns_root_with_limits_and_no_cgroup_is_refused,
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
    assert!(out.stderr.contains("/sys/fs/cgroup"), "{out:?}");
    assert!(!box_.dir().join("greenlang").join(box_.id()).is_dir());
    Ok(())
}
