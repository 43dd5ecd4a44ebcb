//! Profiles on containers: how one is chosen, and what it does to the container that runs.
//!
//! What is looked at is the kernel's: limits in the cgroup, a process's own status, what a call from
//! inside answers. The host's settings are in an `/etc` that only these tests see.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use gl_e2e::bundle::kernel::{eventually, fields, proc_file};
use gl_e2e::bundle::settings::{Setting, settings};
use gl_e2e::bundle::{self, Bundle, finish};
use gl_e2e::{Outcome, gl, tests};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        profile_that_does_not_exist_fails_the_create,
        profile_name_is_never_a_path,
        annotation_that_nobody_knows_is_refused,
        profile_of_the_annotation_sets_limits,
        profile_of_the_runtime_option_sets_limits,
        profile_of_the_annotation_wins_over_the_option,
        profile_of_the_host_is_for_those_that_name_none,
        floor_of_the_host_holds_for_every_profile,
        settings_that_others_may_write_are_refused,
        profile_behind_a_link_is_refused,
        settings_with_an_unknown_key_are_refused,
        limits_of_the_engine_stay_where_they_are_smaller,
        update_cannot_go_above_the_profile,
        update_may_repeat_what_create_asked_for,
        capabilities_are_kept_at_most,
        exec_is_bound_by_the_profile,
        no_new_privileges_is_set,
        timeout_ends_the_container,
        timeout_ends_a_container_that_ignores_sigterm,
        watching_process_that_is_told_to_end_ends_the_container,
        container_whose_limits_cannot_be_seen_is_ended,
        cpu_time_of_all_processes_together_ends_the_container,
        too_many_processes_end_the_container,
        writing_is_denied_outside_the_listed_paths,
        writable_path_over_a_link_is_refused,
        paths_are_hidden,
        limits_of_each_process_a_umask_and_a_read_only_root_are_seen_inside,
        disk_quota_is_held,
        disk_quota_with_a_writable_volume_is_refused,
        disk_quota_is_not_gone_around_by_words,
        volume_below_a_fresh_tmp_is_seen,
        limits_cannot_be_written_from_inside,
        watching_process_cannot_be_ended_from_inside,
        settings_in_a_directory_of_others_are_refused,
        settings_behind_a_link_that_leads_nowhere_are_refused,
        network_off_leaves_loopback,
        network_off_holds_against_the_namespace_of_the_engine,
        network_off_holds_against_hooks,
        network_off_holds_against_what_comes_before_start,
        loopback_off_leaves_nothing,
        line_that_cannot_be_enforced_is_refused_by_name,
        limit_over_the_hosts_is_refused_by_its_line,
        syntax_error_is_told_with_its_line,
        filter_of_the_profile_is_in_force_with_that_of_the_engine,
        permissive_profile_lets_calls_pass,
        filter_follows_the_profile_when_its_file_changes,
    ])
}

fn annotated(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"dev.greenlang.profile": profile}))
}

/// The soft and the hard limit of open files, out of a process's `limits`.
#[track_caller]
fn open_files(limits: &str) -> String {
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    words.join(" ")
}

/// The limit of open files that a container prints with [`LIMITS`].
#[track_caller]
fn files_limit(box_: &Bundle) -> String {
    open_files(&box_.run().ok().stdout)
}

/// The same with `--profile`.
#[track_caller]
fn files_limit_by_option(box_: &Bundle, profile: &str) -> String {
    box_.write_config();
    let mut command = box_.command(&["--profile", profile, "run", "--bundle"]);
    open_files(&finish(command.arg(box_.dir()).arg(box_.id())).ok().stdout)
}

const LIMITS: &str = "cat /proc/self/limits";

fn profile_that_does_not_exist_fails_the_create() -> Outcome {
    let box_ = annotated(Bundle::new(), "compute_olny");
    let out = box_.create().failed();
    out.says("there is none; did you mean").says("compute_only");
    let left = fs::read_dir(box_.state_root()).unwrap().count();
    assert_eq!(left, 0, "entries of the state root");
    Ok(())
}

fn profile_name_is_never_a_path() -> Outcome {
    let _profile = Setting::profile("outside", "");
    for name in [
        "../profiles/outside",
        "/etc/greenlang/profiles/outside.toml",
        "outside\n",
        "out\nside",
        "",
    ] {
        let box_ = annotated(Bundle::new(), name);
        box_.create().failed().says("there is none");
    }
    Ok(())
}

fn annotation_that_nobody_knows_is_refused() -> Outcome {
    let box_ = Bundle::new().set("/annotations", json!({"dev.greenlang.profil": "default"}));
    let out = box_.create().failed();
    out.says("dev.greenlang.profil")
        .says("no such annotation is known");
    Ok(())
}

fn profile_of_the_annotation_sets_limits() -> Outcome {
    let _profile = Setting::profile(
        "small",
        "[limits]\nmax_open_files = 77\nmax_threads = 55\nmax_processes = 50\nmemory_limit_bytes = \"48MiB\"\n",
    );
    let box_ = annotated(Bundle::new().unset("/linux/resources"), "small").idle();
    let limits = proc_file(box_.pid(), "limits");
    assert_eq!(open_files(&limits), "77 77");
    let value = |controller, v1, v2| {
        let file = if Path::new("/sys/fs/cgroup/cgroup.controllers").is_file() {
            v2
        } else {
            v1
        };
        bundle::kernel::cgroup_value(controller, box_.id(), file)
    };
    assert_eq!(value("pids", "pids.max", "pids.max"), "55");
    assert_eq!(
        value("memory", "memory.limit_in_bytes", "memory.max"),
        (48 << 20).to_string()
    );
    Ok(())
}

fn profile_of_the_runtime_option_sets_limits() -> Outcome {
    let _profile = Setting::profile("byoption", "[limits]\nmax_open_files = 78\n");
    let box_ = Bundle::sh(LIMITS).unset("/process/rlimits");
    assert_eq!(files_limit_by_option(&box_, "byoption"), "78 78");
    Ok(())
}

fn profile_of_the_annotation_wins_over_the_option() -> Outcome {
    let _one = Setting::profile("one", "[limits]\nmax_open_files = 71\n");
    let _two = Setting::profile("two", "[limits]\nmax_open_files = 72\n");
    let box_ = annotated(Bundle::sh(LIMITS).unset("/process/rlimits"), "two");
    assert_eq!(files_limit_by_option(&box_, "one"), "72 72");
    Ok(())
}

fn profile_of_the_host_is_for_those_that_name_none() -> Outcome {
    let _host = Setting::profile("hostwide", "[limits]\nmax_open_files = 73\n");
    let _other = Setting::profile("other", "[limits]\nmax_open_files = 74\n");
    let _settings = Setting::new("config.toml", "version = 1\nprofile = \"hostwide\"\n");
    let plain = Bundle::sh(LIMITS).unset("/process/rlimits");
    assert_eq!(files_limit(&plain), "73 73");
    assert_eq!(
        files_limit(&annotated(
            Bundle::sh(LIMITS).unset("/process/rlimits"),
            "other"
        )),
        "74 74"
    );
    Ok(())
}

fn floor_of_the_host_holds_for_every_profile() -> Outcome {
    let _floor = Setting::profile("floor", "[limits]\nmax_open_files = 75\n");
    let _wide = Setting::profile("wide", "[limits]\nmax_open_files = 1000\n");
    let _settings = Setting::new("config.toml", "version = 1\nminimum_profile = \"floor\"\n");
    let plain = Bundle::sh(LIMITS).unset("/process/rlimits");
    assert_eq!(files_limit(&plain), "75 75", "without a profile");
    let wide = annotated(Bundle::sh(LIMITS).unset("/process/rlimits"), "wide");
    assert_eq!(files_limit(&wide), "75 75", "with a wider profile");
    Ok(())
}

fn settings_that_others_may_write_are_refused() -> Outcome {
    let settings = Setting::new("config.toml", "version = 1\n");
    fs::set_permissions(settings.path(), fs::Permissions::from_mode(0o666)).unwrap();
    Bundle::new()
        .create()
        .failed()
        .says("/etc/greenlang/config.toml");
    let profile = Setting::profile("writable", "");
    fs::set_permissions(settings.path(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(profile.path(), fs::Permissions::from_mode(0o646)).unwrap();
    annotated(Bundle::new(), "writable")
        .create()
        .failed()
        .says("others may write to it");
    Ok(())
}

fn profile_behind_a_link_is_refused() -> Outcome {
    let profile = Setting::profile("aside", "");
    let link = profile.path().with_file_name("linked.toml");
    std::os::unix::fs::symlink("aside.toml", &link).unwrap();
    let out = annotated(Bundle::new(), "linked").create();
    fs::remove_file(&link).unwrap();
    out.failed().says("linked.toml: it is a symbolic link");
    Ok(())
}

fn settings_with_an_unknown_key_are_refused() -> Outcome {
    let _settings = Setting::new("config.toml", "version = 1\nminimum_profil = \"default\"\n");
    let said = "/etc/greenlang/config.toml:2: minimum_profil: unknown key";
    Bundle::new().create().failed().says(said);
    Ok(())
}

fn limits_of_the_engine_stay_where_they_are_smaller() -> Outcome {
    let _profile = Setting::profile(
        "large",
        "[limits]\nmax_open_files = 1000\nmax_threads = 900\nmemory_limit_bytes = \"1GiB\"\n",
    );
    let box_ = annotated(Bundle::new(), "large")
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]),
        )
        .set("/linux/resources/pids", json!({"limit": 44}))
        .idle();
    let limits = proc_file(box_.pid(), "limits");
    assert_eq!(open_files(&limits), "50 60");
    assert_eq!(
        bundle::kernel::cgroup_value("pids", box_.id(), "pids.max"),
        "44"
    );
    Ok(())
}

fn update_cannot_go_above_the_profile() -> Outcome {
    let _profile = Setting::profile(
        "bounded",
        "[limits]\nmax_threads = 55\nmax_processes = 50\ncpu_percent_limit = 50\n",
    );
    let box_ = annotated(Bundle::new(), "bounded").idle();
    box_.call(&["update", "--pids-limit", "40", box_.id()]).ok();
    assert_eq!(
        bundle::kernel::cgroup_value("pids", box_.id(), "pids.max"),
        "40"
    );
    for limit in ["56", "-1", "0"] {
        let out = box_
            .call(&["update", "--pids-limit", limit, box_.id()])
            .failed();
        out.says("update pids.limit: profile bounded allows at most 55");
    }
    assert_eq!(
        bundle::kernel::cgroup_value("pids", box_.id(), "pids.max"),
        "40"
    );
    for (document, said) in [
        (json!({"memory": {"swap": -1}}), "update memory.swap"),
        (
            json!({"memory": {"limit": 2_000_000_000_i64, "swap": 2_000_000_000_i64}}),
            "update memory.limit",
        ),
        (json!({"cpu": {"quota": 60_000}}), "update cpu.quota"),
        (json!({"cpu": {"period": 10_000}}), "update cpu.quota"),
        (json!({"cpu": {"quota": -1}}), "update cpu.quota"),
        (json!({"unified": {"pids.max": "max"}}), "update unified"),
    ] {
        let file = box_.dir().join("resources.json");
        fs::write(&file, document.to_string()).unwrap();
        let out = box_.call(&["update", "--resources", file.to_str().unwrap(), box_.id()]);
        out.failed().says(said);
    }
    Ok(())
}

/// Podman 5 sends every limit that it has asked for with each update.
fn update_may_repeat_what_create_asked_for() -> Outcome {
    let _profile = Setting::profile(
        "repeated",
        "[limits]\nmax_threads = 55\nmax_processes = 50\nmemory_limit_bytes = \"64MiB\"\n",
    );
    let asked = json!({"limit": 128 << 20, "swap": 256 << 20});
    let box_ = annotated(Bundle::new(), "repeated")
        .set("/linux/resources/memory", asked.clone())
        .idle();
    let file = box_.dir().join("resources.json");
    let update = |document: serde_json::Value| {
        fs::write(&file, document.to_string()).unwrap();
        box_.call(&["update", "--resources", file.to_str().unwrap(), box_.id()])
    };
    let value = |controller, v1, v2| {
        let file = if gl_e2e::kernel::is_v2() { v2 } else { v1 };
        bundle::kernel::cgroup_value(controller, box_.id(), file)
    };
    let memory = || value("memory", "memory.limit_in_bytes", "memory.max");
    update(json!({"memory": asked, "pids": {"limit": 40}})).ok();
    assert_eq!(value("pids", "pids.max", "pids.max"), "40");
    assert_eq!(memory(), (64 << 20).to_string());
    let other = json!({"limit": 96 << 20, "swap": 256 << 20});
    let out = update(json!({"memory": other})).failed();
    out.says("update memory.limit: profile repeated allows at most");
    assert_eq!(memory(), (64 << 20).to_string());
    Ok(())
}

fn capabilities_are_kept_at_most() -> Outcome {
    let _profile = Setting::profile(
        "chown",
        "[process]\ncapabilities = [\"CAP_CHOWN\", \"CAP_SYS_BOOT\"]\n",
    );
    let box_ = annotated(Bundle::new(), "chown").idle();
    let status = fields(&proc_file(box_.pid(), "status"));
    // CAP_SYS_BOOT is none of those that the config asks for.
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(status[set], "0000000000000001", "{set}");
    }
    Ok(())
}

fn exec_is_bound_by_the_profile() -> Outcome {
    let _profile = Setting::profile(
        "forexec",
        "[limits]\nmax_open_files = 76\n[process]\ncapabilities = []\nno_new_privileges = true\n[filesystem]\nread_write_paths = [\"/data\"]\n",
    );
    let box_ = annotated(Bundle::new().unset("/process/rlimits"), "forexec");
    box_.dir_in("data");
    let box_ = box_.idle();
    let script = "grep -E 'CapBnd|NoNewPrivs' /proc/self/status; ulimit -n; echo x >/etc/x; echo x >/data/x && echo data";
    let document = json!({
        "args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "noNewPrivileges": false, "capabilities": {"bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 500}],
    });
    let out = box_.exec_process(&document).ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "CapBnd:",
            "0000000000000000",
            "NoNewPrivs:",
            "1",
            "76",
            "data"
        ],
        "{out:?}"
    );
    out.says("Permission denied");
    Ok(())
}

fn no_new_privileges_is_set() -> Outcome {
    let _profile = Setting::profile("nnp", "[process]\nno_new_privileges = true\n");
    let box_ = annotated(Bundle::sh("grep NoNewPrivs /proc/self/status"), "nnp")
        .set("/process/noNewPrivileges", json!(false));
    box_.run().ok().prints("NoNewPrivs:\t1");
    Ok(())
}

/// Waits for the container's end and returns the reason in its state.
fn end_reason(box_: &Bundle) -> String {
    eventually("the container is stopped", || {
        let state = box_.state();
        (state["status"] == "stopped")
            .then(|| state["annotations"]["dev.greenlang.end-reason"].clone())
    })
    .as_str()
    .unwrap_or("none")
    .to_owned()
}

fn timeout_ends_the_container() -> Outcome {
    let _profile = Setting::profile("brief", "execution_timeout = 1\n");
    let box_ = annotated(Bundle::new(), "brief");
    box_.create().ok();
    let begin = Instant::now();
    box_.start().ok();
    assert_eq!(end_reason(&box_), "timeout");
    let took = begin.elapsed().as_millis();
    assert!((900..9000).contains(&took), "{took} ms");
    box_.delete().ok();
    Ok(())
}

fn timeout_ends_a_container_that_ignores_sigterm() -> Outcome {
    let _profile = Setting::profile("stubborn", "execution_timeout = 1\n");
    let script = "trap '' TERM; sleep 1000 & while :; do sleep 1; done";
    let box_ = annotated(Bundle::sh(script), "stubborn");
    // In the foreground: the status is the signal's.
    box_.run().status(137);
    Ok(())
}

fn watching_process_that_is_told_to_end_ends_the_container() -> Outcome {
    let _profile = Setting::profile("watched", "execution_timeout = 300\n");
    let box_ = annotated(Bundle::new(), "watched").idle();
    // The one that has this container's state open, and no other.
    let state = box_.state_root().join(box_.id());
    let watches = |pid: &i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut links = fds.into_iter().flatten().flatten();
        links.any(|fd| fs::read_link(fd.path()).is_ok_and(|path| path == state))
    };
    let watching = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(watches).collect::<Vec<i32>>()
    };
    // Not before it looks for the first time.
    let found = eventually("a process that watches", || {
        Some(watching()).filter(|found| !found.is_empty())
    });
    assert_eq!(found.len(), 1, "processes with {} open", state.display());
    assert_eq!(proc_file(found[0], "comm"), "greenlang-watch\n");
    let pid = rustix::process::Pid::from_raw(found[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(end_reason(&box_), "unwatched");
    Ok(())
}

fn container_whose_limits_cannot_be_seen_is_ended() -> Outcome {
    let _profile = Setting::profile("unseen", "execution_timeout = 300\n");
    let sleep = ["/bin/sh", "-c", "exec sleep 1000"];
    for _ in 0..10 {
        let box_ = annotated(Bundle::new(), "unseen").args(&sleep);
        box_.create().ok();
        let record = box_.state_root().join(box_.id()).join("state.json");
        let text = fs::read_to_string(&record).unwrap();
        let init = box_.state()["pid"].clone();
        let begun = Instant::now();
        box_.start().ok();
        fs::write(&record, "nothing that can be read").unwrap();
        // The first look comes after a tenth of a second.
        let in_time = begun.elapsed() < Duration::from_millis(90);
        if in_time {
            eventually("init has ended", || {
                let stat = fs::read_to_string(format!("/proc/{init}/stat")).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
        }
        fs::write(&record, text).unwrap();
        box_.delete_force().ok();
        if in_time {
            return Ok(());
        }
    }
    unreachable!("ten starts in a row took longer than the first pause");
}

fn cpu_time_of_all_processes_together_ends_the_container() -> Outcome {
    // Each of them stays below the limit that the kernel would hold it to.
    let _profile = Setting::profile("idle", "[limits]\ncpu_time_limit_seconds = 1\n");
    let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done";
    let script = format!("while :; do sh -c '{burn}'; done");
    let box_ = annotated(Bundle::sh(&script), "idle");
    box_.create().ok();
    box_.start().ok();
    assert_eq!(end_reason(&box_), "cpu_time");
    Ok(())
}

fn too_many_processes_end_the_container() -> Outcome {
    let _profile = Setting::profile("few", "[limits]\nmax_processes = 3\nmax_threads = 30\n");
    let within = annotated(Bundle::sh("sleep 1 & sleep 1 & wait; echo done"), "few");
    within.run().ok().prints("done");
    let script = "for i in 1 2 3 4 5; do sleep 1000 & done; wait";
    let box_ = annotated(Bundle::sh(script), "few");
    box_.create().ok();
    box_.start().ok();
    assert_eq!(end_reason(&box_), "pids");
    Ok(())
}

fn writing_is_denied_outside_the_listed_paths() -> Outcome {
    let _profile = Setting::profile(
        "write",
        "[filesystem]\nread_write_paths = [\"/data\", \"/not-there\"]\n",
    );
    let script = "for d in /data /etc /tmp /; do echo x >$d/file && echo $d; done; \
                  mkdir /etc/dir; rm /bin/busybox; echo x >/dev/null && echo null; true";
    let box_ = annotated(Bundle::sh(script), "write");
    box_.dir_in("data");
    box_.dir_in("tmp");
    let out = box_.run().ok();
    assert_eq!(out.stdout, "/data\nnull\n", "{out:?}");
    assert_eq!(
        out.stderr.matches("Permission denied").count(),
        5,
        "{out:?}"
    );
    Ok(())
}

fn writable_path_over_a_link_is_refused() -> Outcome {
    let _profile = Setting::profile("link", "[filesystem]\nread_write_paths = [\"/data\"]\n");
    let box_ = annotated(Bundle::new(), "link");
    box_.link("data", "etc");
    box_.create()
        .failed()
        .says("allow the path by Landlock")
        .says("/data");
    Ok(())
}

fn paths_are_hidden() -> Outcome {
    let _profile = Setting::profile(
        "hide",
        "[filesystem]\nblocked_paths = [\"/secret\"]\nmask_paths = [\"/etc/key\"]\n",
    );
    let box_ = annotated(Bundle::sh("ls /secret; cat /etc/key; echo end"), "hide");
    box_.dir_in("secret");
    box_.file("secret/token", "x");
    box_.file("etc/key", "y");
    box_.run().ok().prints("end");
    Ok(())
}

fn limits_of_each_process_a_umask_and_a_read_only_root_are_seen_inside() -> Outcome {
    let _profile = Setting::profile(
        "each",
        "[limits]\nvirtual_memory_limit_bytes = \"512MiB\"\nmax_file_size_bytes = \"64KiB\"\n\
         [filesystem]\nreadonly_root = true\ncreate_temp_root = true\n[process]\numask = \"077\"\n",
    );
    let script = "ulimit -Hv; umask; dd if=/dev/zero of=/tmp/big bs=1k count=200 2>/dev/null; \
                  wc -c </tmp/big; echo x 2>&1 >/etc/a | grep -o 'Read-only.*'";
    let box_ = annotated(Bundle::sh(script), "each").unset("/process/rlimits");
    box_.dir_in("tmp");
    let out = box_.run();
    let lines: Vec<_> = out.stdout.lines().map(str::trim).collect();
    let want = ["524288", "0077", "65536", "Read-only file system"];
    assert_eq!(lines, want, "{out:?}");
    Ok(())
}

const QUOTA: &str = "[limits]\ndisk_quota_bytes = \"2MiB\"\n[filesystem]\ncreate_temp_root = true\nreadonly_root = true\n";

fn disk_quota_is_held() -> Outcome {
    let _profile = Setting::profile("quota", QUOTA);
    let script = "dd if=/dev/zero of=/tmp/a bs=1024 count=4096 2>/dev/null || echo full; \
                  dd if=/dev/zero of=/dev/shm/a bs=1024 count=4096 2>/dev/null || echo full; \
                  echo x >/file || echo root; du -sk /tmp /dev/shm | { s=0; while read k d; do s=$((s + k)); done; echo $s; }";
    let box_ = annotated(Bundle::sh(script), "quota");
    box_.dir_in("tmp");
    let out = box_.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words[..3], ["full", "full", "root"], "{out:?}");
    let written: u32 = words[3].parse().unwrap();
    assert!((500..=2048).contains(&written), "{written} KiB");
    Ok(())
}

fn disk_quota_with_a_writable_volume_is_refused() -> Outcome {
    let _profile = Setting::profile("volume", QUOTA);
    let box_ = annotated(Bundle::new(), "volume");
    let outside = box_.outside("volume");
    let box_ = box_.mount(
        "bind",
        outside.to_str().unwrap(),
        "/volume",
        &["bind", "rw"],
    );
    let out = box_.create().failed();
    out.says("limits.disk_quota_bytes")
        .says("the volume at /volume can be written");
    Ok(())
}

fn disk_quota_is_not_gone_around_by_words() -> Outcome {
    let _profile = Setting::profile("words", QUOTA);
    for (kind, options) in [
        ("tmpfs", &["rbind"][..]),
        ("proc", &["bind"]),
        ("bind", &["bind", "ro", "rw"]),
        ("bind", &["rbind", "ro", "rrw"]),
        ("tmpfs", &["remount", "rw"]),
    ] {
        let box_ = annotated(Bundle::new(), "words");
        let outside = box_.outside("volume");
        let box_ = box_.mount(kind, outside.to_str().unwrap(), "/volume", options);
        let out = box_.create().failed();
        out.says("the volume at /volume can be written");
    }
    Ok(())
}

fn volume_below_a_fresh_tmp_is_seen() -> Outcome {
    let text = "[filesystem]\ncreate_temp_root = true\n";
    let _profile = Setting::profile("below", text);
    let box_ = annotated(
        Bundle::sh("echo x >/tmp/own; cat /tmp/volume/file"),
        "below",
    );
    let outside = box_.outside("volume");
    fs::write(outside.join("file"), "seen").unwrap();
    let box_ = box_.mount("bind", outside.to_str().unwrap(), "/tmp/volume", &["bind"]);
    box_.run().ok().prints("seen");
    Ok(())
}

fn limits_cannot_be_written_from_inside() -> Outcome {
    let _profile = Setting::profile("own", "[limits]\nmax_threads = 55\nmax_processes = 50\n");
    let script = "cd /sys/fs/cgroup; [ -e pids.max ] || cd pids; echo max >pids.max; mkdir sub; echo ready; exec sleep 1000";
    let box_ = annotated(Bundle::sh(script), "own")
        .without_mount("/sys/fs/cgroup")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "rw"])
        .namespace("cgroup", Some(json!({"type": "cgroup"})))
        .ready();
    let limit = bundle::kernel::cgroup_value("pids", box_.id(), "pids.max");
    assert_eq!(limit, "55");
    let sub = bundle::kernel::cgroup("pids", box_.id()).join("sub");
    let none = fs::metadata(&sub).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound, "{none}");
    Ok(())
}

fn watching_process_cannot_be_ended_from_inside() -> Outcome {
    let _profile = Setting::profile("watched", "execution_timeout = 2\n");
    let script = "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in greenlang-watch) kill -9 ${p#/proc/};; esac; done; \
                  exec sleep 1000";
    let own = format!("/proc/{}/ns/pid", std::process::id());
    for namespace in [None, Some(json!({"type": "pid", "path": own}))] {
        let box_ = annotated(Bundle::sh(script), "watched").namespace("pid", namespace);
        let out = box_.create();
        if out.code != 0 {
            out.says("could end the one that watches it");
            continue;
        }
        box_.start().ok();
        assert_eq!(end_reason(&box_), "timeout");
        box_.delete_force().ok();
    }
    Ok(())
}

fn settings_in_a_directory_of_others_are_refused() -> Outcome {
    let _settings = Setting::new("config.toml", "version = 1\n");
    let dir = settings();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let out = Bundle::new().create();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    out.failed().says("/etc/greenlang/config.toml");
    Ok(())
}

fn settings_behind_a_link_that_leads_nowhere_are_refused() -> Outcome {
    let path = settings().join("config.toml");
    std::os::unix::fs::symlink("not-there.toml", &path).unwrap();
    let out = Bundle::new().create();
    fs::remove_file(&path).unwrap();
    out.failed().says("read /etc/greenlang/config.toml");
    Ok(())
}

fn network_off_leaves_loopback() -> Outcome {
    let _profile = Setting::profile(
        "offline",
        "[network]\nallow_network = false\nallow_loopback = true\n",
    );
    let box_ = annotated(
        Bundle::sh("tail -n +3 /proc/net/dev | cut -d: -f1; grep -c 127 /proc/net/fib_trie"),
        "offline",
    )
    .unset("/process/capabilities");
    let out = box_.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"lo"), "{out:?}");
    assert!(words.len() == 2 && words[1] != "0", "{out:?}");
    Ok(())
}

fn network_off_holds_against_the_namespace_of_the_engine() -> Outcome {
    let _profile = Setting::profile("offline2", "[network]\nallow_network = false\n");
    let process = i32::try_from(std::process::id()).unwrap();
    let own = format!("/proc/{process}/ns/net");
    let box_ = annotated(Bundle::new(), "offline2")
        .namespace("network", Some(json!({"type": "network", "path": own})))
        .idle();
    let inside = bundle::kernel::namespace(box_.pid(), "net");
    assert_ne!(inside, bundle::kernel::namespace(process, "net"));
    Ok(())
}

fn network_off_holds_against_hooks() -> Outcome {
    let _profile = Setting::profile("offline3", "[network]\nallow_network = false\n");
    // As Docker's network does it: an interface is moved in while the container is made.
    let script = "pid=$(sed -E 's/.*\"pid\": ?([0-9]+).*/\\1/'); exec nsenter --net=/proc/$pid/ns/net ip link add gl-e2e-x type veth peer name gl-e2e-y";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]);
    let list = "tail -n +3 /proc/net/dev | cut -d: -f1";
    let with = |profile: Option<&str>| {
        let box_ = Bundle::sh(list).set("/hooks", json!({"createRuntime": hook}));
        let box_ = match profile {
            Some(profile) => annotated(box_, profile),
            None => box_,
        };
        let out = box_.run().ok().stdout;
        let mut names: Vec<_> = out.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(
        with(None),
        ["gl-e2e-x", "gl-e2e-y", "lo"],
        "without a profile"
    );
    assert_eq!(with(Some("offline3")), ["lo"], "with the profile");
    Ok(())
}

fn network_off_holds_against_what_comes_before_start() -> Outcome {
    // As engines do it that set a network up by the process id that `create` has told them.
    let list = "tail -n +3 /proc/net/dev | cut -d: -f1; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -E 'NoNewPrivs|CapEff' /proc/self/status";
    let with = |profile: Option<&str>, nnp: bool| {
        let box_ = Bundle::sh(list)
            .set("/process/noNewPrivileges", json!(nnp))
            .set(
                "/linux/sysctl",
                json!({"net.ipv4.ip_unprivileged_port_start": "77"}),
            )
            .unset("/process/capabilities");
        let box_ = match profile {
            Some(profile) => annotated(box_, profile),
            None => box_,
        };
        box_.create().ok();
        let net = format!("--net=/proc/{}/ns/net", box_.pid());
        let mut add = Command::new("nsenter");
        add.args([&net, "ip", "link", "add", "gl-e2e-z", "type", "veth"]);
        drop(finish(&mut add).ok());
        if profile.is_some() {
            let out = box_.exec(&[], &["/bin/sh", "-c", "cat /proc/net/dev"]);
            out.failed().says("exec in");
        }
        box_.start().ok();
        let out = box_.rest_of_output();
        let words: Vec<_> = out.split_whitespace().map(str::to_owned).collect();
        box_.delete_force().ok();
        words
    };
    for (nnp, bit) in [(false, "0"), (true, "1")] {
        let text =
            format!("[network]\nallow_network = false\n[process]\nno_new_privileges = {nnp}\n");
        let _profile = Setting::profile("offline4", &text);
        let rest = format!("77 CapEff: 0000000000000000 NoNewPrivs: {bit}");
        let rest: Vec<_> = rest.split(' ').collect();
        let (seen, without) = (with(Some("offline4"), nnp), with(None, nnp));
        assert_eq!(seen, [&["lo"], &rest[..]].concat(), "with the profile");
        let has = without.iter().any(|word| word == "gl-e2e-z");
        assert!(has, "without a profile: {without:?}");
    }
    Ok(())
}

fn loopback_off_leaves_nothing() -> Outcome {
    let _profile = Setting::profile(
        "dark",
        "[network]\nallow_network = false\nallow_loopback = false\n",
    );
    let script = "cat /proc/net/fib_trie; echo end";
    let box_ = annotated(Bundle::sh(script), "dark");
    box_.run().ok().prints("end");
    {
        // As the one of all containers, which the config does not name.
        let _settings = Setting::new("config.toml", "version = 1\nprofile = \"dark\"\n");
        Bundle::sh(script).run().ok().prints("end");
    }
    // As the one that holds beside a profile that allows it, where the namespace is made before this is read.
    let _settings = Setting::new("config.toml", "version = 1\nminimum_profile = \"dark\"\n");
    let output = gl::sh(&[], script)?;
    assert_eq!(output.ok(), "end", "{output}");
    Ok(())
}

fn line_that_cannot_be_enforced_is_refused_by_name() -> Outcome {
    for (name, text, said) in [
        (
            "hosts",
            "[network]\nallow_network = true\nallowed_hosts = [\"example.org\"]\n",
            "network.allowed_hosts: rules for the network are not enforceable yet",
        ),
        (
            "rate",
            "[limits]\nmax_connections = 5\n",
            "limits.max_connections: limits of the network are not enforceable yet",
        ),
        (
            "binds",
            "[filesystem]\nbind_mounts = [{ source = \"/srv\", target = \"/srv\" }]\n",
            "filesystem.bind_mounts: a profile only tightens what the engine asked for, and this would show the container more of the host",
        ),
        (
            "root",
            "[filesystem]\ntemp_root_path = \"/tmp\"\n",
            "filesystem.temp_root_path",
        ),
    ] {
        let _profile = Setting::profile("refused", text);
        let out = annotated(Bundle::new(), "refused").create().failed();
        assert!(out.stderr.contains(said), "{name}: {out:?}");
    }
    Ok(())
}

fn limit_over_the_hosts_is_refused_by_its_line() -> Outcome {
    for (line, key) in [
        (
            "memory_limit_bytes = \"900TiB\"",
            "limits.memory_limit_bytes",
        ),
        ("max_open_files = 4000000000", "limits.max_open_files"),
        ("max_threads = 4000000000", "limits.max_threads"),
        ("cpu_percent_limit = 4000000000", "limits.cpu_percent_limit"),
    ] {
        let _profile = Setting::profile("beyond", &format!("[limits]\n{line}\n"));
        let box_ = annotated(Bundle::new(), "beyond");
        box_.create()
            .failed()
            .says(key)
            .says("than the ")
            .says("this host has");
        assert!(
            fs::read_dir(box_.state_root()).unwrap().next().is_none(),
            "{line}"
        );
    }
    // A level's presets are for every host.
    let box_ = annotated(Bundle::sh("true"), "lenient");
    box_.run().ok();
    Ok(())
}

fn syntax_error_is_told_with_its_line() -> Outcome {
    let _profile = Setting::profile("broken", "[limits]\nmax_open_files = \"many\"\n");
    let out = annotated(Bundle::new(), "broken").create().failed();
    out.says("broken.toml:4: limits.max_open_files: expected a whole number");
    Ok(())
}

fn filter_of_the_profile_is_in_force_with_that_of_the_engine() -> Outcome {
    let engine = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["sysinfo"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]});
    // `nc` wants a socket, which compute_only denies; `free` asks sysinfo, which the engine denies.
    let script = "nc -l -p 4000 2>&1; free 2>&1 | head -1; grep Seccomp_filters /proc/self/status";
    let run = |profile: Option<&str>| {
        let box_ = Bundle::sh(script).set("/linux/seccomp", engine.clone());
        let box_ = match profile {
            Some(profile) => annotated(box_, profile),
            None => box_.args(&[
                "/bin/sh",
                "-c",
                "free 2>&1 | head -1; grep Seccomp_filters /proc/self/status",
            ]),
        };
        box_.run().ok().stdout
    };
    let without = run(None);
    assert!(without.contains("Seccomp_filters:\t1"), "{without}");
    // A script needs processes, which compute_only has not.
    let with = run(Some("data_processing"));
    assert!(with.contains("nc: socket"), "{with}");
    assert!(with.contains("Operation not permitted"), "{with}");
    assert!(
        with.contains("Seccomp_filters:\t1"),
        "one filter for both: {with}"
    );
    assert_eq!(
        with.lines().find(|line| line.contains("total")),
        without.lines().find(|line| line.contains("total")),
        "what sysinfo answers: {with}"
    );
    Ok(())
}

fn permissive_profile_lets_calls_pass() -> Outcome {
    let _profile = Setting::profile(
        "logs",
        "extends = [\"data_processing\"]\nmode = \"permissive\"\n",
    );
    let script = "nc -w 1 127.0.0.1 4001 2>&1; true";
    let denied = annotated(Bundle::sh(script), "data_processing")
        .run()
        .ok()
        .stdout;
    assert!(denied.contains("Operation not permitted"), "{denied}");
    let logged = annotated(Bundle::sh(script), "logs").run().ok().stdout;
    assert!(logged.contains("Connection refused"), "{logged}");
    Ok(())
}

fn filter_follows_the_profile_when_its_file_changes() -> Outcome {
    let script = "nc -w 1 127.0.0.1 4001 2>&1; true";
    for (text, said) in [
        (
            "extends = [\"data_processing\"]\n",
            "Operation not permitted",
        ),
        (
            "extends = [\"data_processing\"]\n[seccomp]\ngroups = [\"sockets-client\"]\n",
            "Connection refused",
        ),
        (
            "extends = [\"data_processing\"]\n",
            "Operation not permitted",
        ),
    ] {
        // The same state root each time: nothing of the other text may be left there.
        let _profile = Setting::profile("changing", text);
        let box_ = annotated(Bundle::sh(script), "changing");
        box_.write_config();
        let root = settings().join("state");
        let mut command = Command::new(bundle::runtime());
        command
            .arg("--root")
            .arg(&root)
            .args(["run", "--bundle"])
            .arg(box_.dir())
            .arg(box_.id());
        let out = finish(&mut command).ok().stdout;
        assert!(out.contains(said), "{text}: {out}");
        let kept = fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        assert_eq!(kept.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
    fs::remove_dir_all(settings().join("state")).unwrap();
    Ok(())
}
