//! A hostile bundle, and files beside it, as a review of the runtime tried them: other spellings of
//! what is refused, links where it writes, hooks that kill it, trees made to exhaust it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::symlink;

use gl_e2e::bundle::{Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use rustix::fs::{CWD, Mode, mkdirat, mkfifoat, openat};
use serde_json::json;

use super::ground::{SECRET, harmless, text, victim};

pub(crate) const TESTS: &[Test] = tests![
    proc_in_another_spelling_is_not_covered,
    root_in_another_spelling_is_not_covered,
    pid_file_takes_the_place_of_a_link,
    pid_file_takes_the_place_of_a_fifo,
    log_appends_through_no_link_of_another_user,
    hook_that_kills_the_runtime_leaves_what_delete_removes,
    tree_that_is_copied_up_is_bounded,
    passwd_that_is_a_fifo_does_not_hold_exec,
    id_maps_that_overlap_are_refused,
    cgroup_path_that_climbs_is_that_of_the_container,
    cgroup_path_of_the_root_is_refused,
];

fn proc_in_another_spelling_is_not_covered() -> Outcome {
    known_elsewhere("takes a tmpfs as /proc", || {
        for destination in [
            "//proc",
            "/proc/",
            "/proc/.",
            "/proc/../proc",
            "/../proc",
            "/tmp/../proc",
            "/proc/self/..",
            "/proc//self/../self/attr",
            "proc",
            "./proc",
        ] {
            for (kind, source, options) in
                [("tmpfs", "tmpfs", &[][..]), ("bind", "fake", &["rbind"])]
            {
                let box_ = Bundle::new().args(&["true"]);
                let fake = box_.outside("fake");
                let box_ = box_.mount(kind, source, destination, options);
                let out = harmless(&box_, &[&fake], destination).failed();
                out.says("would cover part of /proc");
            }
        }
    })
}

fn root_in_another_spelling_is_not_covered() -> Outcome {
    known_elsewhere("mounts over it", || {
        for destination in ["/", "//", "/.", "/..", ".", "/tmp/..", "/self"] {
            let box_ = Bundle::new().args(&["true"]);
            box_.link("self", "/");
            let box_ = box_.mount("tmpfs", "tmpfs", destination, &[]);
            harmless(&box_, &[], destination).failed().says("mounts[7]");
        }
    })
}

fn pid_file_takes_the_place_of_a_link() -> Outcome {
    let box_ = Bundle::new();
    let host = Host::before_all(vec![victim()]);
    let file = box_.dir().join("pid");
    symlink(victim().join("file"), &file).unwrap();
    box_.create_with(&["--pid-file", &text(&file)]).ok();
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), box_.pid().to_string());
    box_.delete_force().ok();
    host.unchanged_soon("pid file");
    Ok(())
}

fn pid_file_takes_the_place_of_a_fifo() -> Outcome {
    let box_ = Bundle::new();
    let file = box_.dir().join("pid");
    mkfifoat(CWD, &file, Mode::from_raw_mode(0o600)).unwrap();
    box_.create_with(&["--pid-file", &text(&file)]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), box_.pid().to_string());
    Ok(())
}

fn log_appends_through_no_link_of_another_user() -> Outcome {
    // A log is the caller's to name: what was there stays.
    let box_ = Bundle::new().with_global("--log=log");
    let log = box_.dir().join("log");
    fs::write(&log, "before\n").unwrap();
    box_.call(&["state", "nobody"]).failed();
    let after = fs::read_to_string(&log).unwrap();
    assert!(after.starts_with("before\n"), "{after}");
    assert!(after.contains("does not exist"), "{after}");
    Ok(())
}

fn hook_that_kills_the_runtime_leaves_what_delete_removes() -> Outcome {
    known_elsewhere("forgets what it did not store", || {
        for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]});
            let box_ = Bundle::new().push(&format!("/hooks/{kind}"), hook);
            let host = Host::before(&box_, &[]);
            // Killed in one of them.
            let codes = [
                box_.create().code,
                box_.start().code,
                box_.delete_force().code,
            ];
            assert!(codes.contains(&-9), "{kind}: {codes:?}");
            box_.delete_force().ok();
            host.unchanged_soon(kind);
            box_.call(&["state", box_.id()])
                .failed()
                .says("does not exist");
        }
    })
}

/// Makes a directory in a directory in a directory, deeper than any path is long.
fn deep(top: &std::path::Path, depth: usize) {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let open = |dir: &std::os::fd::OwnedFd, name| openat(dir, name, flags, Mode::empty()).unwrap();
    let mut here = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&here, "deeper", Mode::from_raw_mode(0o755)).unwrap();
        here = open(&here, "deeper");
    }
}

fn tree_that_is_copied_up_is_bounded() -> Outcome {
    known_elsewhere("copies without an end", || {
        let with_copy = || {
            Bundle::new().args(&["ls", "/up"]).mount(
                "tmpfs",
                "tmpfs",
                "/up",
                &["tmpcopyup", "size=1m"],
            )
        };
        let box_ = with_copy();
        deep(&box_.dir_in("up"), 2000);
        harmless(&box_, &[], "a deep tree")
            .failed()
            .says("into the tmpfs (mounts[7])");
        let box_ = with_copy();
        let file = fs::File::create(box_.dir_in("up").join("sparse")).unwrap();
        file.set_len(1 << 42).unwrap();
        harmless(&box_, &[], "a sparse file")
            .failed()
            .says("into the tmpfs (mounts[7])");
        // What is odd and small is copied as it is: nothing is opened that would wait.
        let box_ = with_copy();
        let up = box_.dir_in("up");
        mkfifoat(CWD, up.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        super::ground::null_device(&up.join("null"));
        symlink("loop", up.join("loop")).unwrap();
        symlink(victim().join("file"), up.join("out")).unwrap();
        harmless(&box_, &[], "odd files")
            .ok()
            .prints("fifo\nloop\nnull\nout");
    })
}

fn passwd_that_is_a_fifo_does_not_hold_exec() -> Outcome {
    known_elsewhere("waits for a writer", || {
        let box_ = Bundle::new().idle();
        let passwd = box_.rootfs().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        mkfifoat(CWD, &passwd, Mode::from_raw_mode(0o644)).unwrap();
        let home = ["sh", "-c", "echo $HOME"];
        box_.exec(&["-u", "5"], &home).ok().prints("/");
        fs::remove_file(&passwd).unwrap();
        symlink(victim().join("file"), &passwd).unwrap();
        let out = box_.exec(&["-u", "5"], &home).ok();
        assert!(!out.stdout.contains(SECRET), "{out:?}");
    })
}

fn id_maps_that_overlap_are_refused() -> Outcome {
    let map = |ranges: &[(u32, u32, u32)]| -> serde_json::Value {
        let one = |(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
        ranges.iter().map(one).collect()
    };
    for ranges in [
        [(0, 100_000, 10), (9, 200_000, 10)],
        [(0, 100_000, 10), (10, 100_009, 10)],
        [(5, 100_000, 1), (0, 200_000, 10)],
        [(0, 100_000, 10), (0, 100_000, 10)],
    ] {
        for (bad, good) in [
            ("uidMappings", "gidMappings"),
            ("gidMappings", "uidMappings"),
        ] {
            let box_ = Bundle::new()
                .args(&["true"])
                .namespace("user", Some(json!({"type": "user"})))
                .set(&format!("/linux/{bad}"), map(&ranges))
                .set(&format!("/linux/{good}"), map(&[(0, 100_000, 100)]));
            harmless(&box_, &[], bad).failed();
        }
    }
    Ok(())
}

fn cgroup_path_that_climbs_is_that_of_the_container() -> Outcome {
    let name = Bundle::new().id().to_owned();
    for path in [
        format!("/../../{name}"),
        format!("/x/../../../{name}"),
        format!("/./{name}/."),
        format!("//{name}//"),
    ] {
        let box_ = Bundle::new().set("/linux/cgroupsPath", json!(path));
        let before = Host::before(&box_, &[]);
        let box_ = box_.args(&["cat", "/proc/self/cgroup"]);
        let out = box_.run().ok();
        // The unified hierarchy beside those of v1 is not used.
        for line in out.stdout.lines().filter(|line| *line != "0::/") {
            assert!(line.ends_with(&format!(":/{name}")), "{path}: {out:?}");
        }
        before.unchanged_soon(&path);
    }
    Ok(())
}

fn cgroup_path_of_the_root_is_refused() -> Outcome {
    known_elsewhere("takes the root", || {
        for path in ["/", "//", "/.", "/..", "/a/..", "/../.."] {
            let box_ = Bundle::new()
                .args(&["true"])
                .set("/linux/cgroupsPath", json!(path));
            harmless(&box_, &[], path).failed().says("cgroupsPath");
        }
    })
}
