//! CVE-2019-16884, CVE-2019-19921: a false `/proc`, or a part of it, hides where labels are written.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::symlink;

use gl_e2e::bundle::kernel::mounts;
use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{Pair, harmless, raced, text};

pub(crate) const TESTS: &[Test] = tests![
    cve_2019_16884_proc_replaced_by_a_volume,
    cve_2019_16884_proc_replaced_before_it_is_mounted,
    cve_2019_19921_proc_attr_hidden,
    cve_2019_19921_proc_hidden_in_a_race,
    cve_2019_19921_proc_hidden_from_exec,
];

/// A mount that would hide a part of procfs from the runtime.
fn proc_hidden(kind: &str, target: &str) {
    let (source, options) = match kind {
        "bind" => ("fake", &["rbind"][..]),
        _ => ("tmpfs", &[][..]),
    };
    let mut box_ = Bundle::new().args(&["true"]);
    if target.starts_with("/proc") && target.trim_matches('/') == "proc" {
        box_ = box_.without_mount("/proc");
    }
    let fake = box_.outside("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    symlink("/proc/self", box_.outside("volume").join("link")).unwrap();
    symlink("/proc", box_.outside("volume").join("proc")).unwrap();
    box_.link("link", "/proc/self");
    box_.link("prc", "proc");
    let box_ = box_
        .mount("bind", "volume", "/vol", &["rbind"])
        .mount(kind, source, target, options);
    let out = harmless(&box_, &[&fake], target);
    assert!(out.code > 0, "{kind} at {target}: {out:?}");
}

fn cve_2019_16884_proc_replaced_by_a_volume() -> Outcome {
    proc_hidden("bind", "/proc");
    known_elsewhere("takes a tmpfs as /proc", || {
        for target in ["/proc", "/proc/", "/prc", "/vol/proc"] {
            proc_hidden("tmpfs", target);
            proc_hidden("bind", target);
        }
    })
}

fn cve_2019_16884_proc_replaced_before_it_is_mounted() -> Outcome {
    // A volume below the procfs that comes after it must not be what is looked at.
    known_elsewhere("mounts over it", || {
        for destination in ["/proc/self/attr", "/proc"] {
            let mut box_ = Bundle::new().args(&["true"]);
            let fake = box_.outside("fake");
            let mount = json!({"type": "bind", "source": "fake", "destination": destination,
                "options": ["rbind"]});
            let mounts = box_.config["mounts"].as_array_mut().unwrap();
            mounts.insert(0, mount);
            let out = harmless(&box_, &[&fake], destination);
            assert!(out.code > 0, "{destination}: {out:?}");
        }
    })
}

fn cve_2019_19921_proc_attr_hidden() -> Outcome {
    let targets = [
        "/proc/self/attr",
        "/proc/thread-self/attr",
        "/proc/1/attr",
        "/proc/sys/net",
    ];
    for target in targets {
        proc_hidden("bind", target);
    }
    known_elsewhere("takes a tmpfs inside /proc", || {
        // The last two are the same through a link of the image, and through one of a volume.
        for target in [
            "/proc/self/attr",
            "/proc/1/attr",
            "/proc/sys/net",
            "/link/attr",
            "/vol/link/attr",
        ] {
            proc_hidden("tmpfs", target);
        }
    })
}

/// What is mounted below `/proc` in this mountinfo, and is no mask and not read-only.
fn strangers(mountinfo: &str) -> Vec<String> {
    let inside = |target: &str| target.starts_with("/proc/");
    mounts(mountinfo)
        .into_iter()
        .filter(|mount| inside(&mount.target) && !mount.has("ro") && mount.kind != "devtmpfs")
        .map(|mount| format!("{} {} {:?}", mount.target, mount.kind, mount.options))
        .collect()
}

fn cve_2019_19921_proc_hidden_in_a_race() -> Outcome {
    known_elsewhere("resolves and mounts in two steps", || {
        let plain = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        let usual = strangers(&plain.run().ok().stdout);
        for to in ["/proc/self/attr", "/proc/sys", "/proc"] {
            let box_ = Bundle::new()
                .args(&["cat", "/proc/self/mountinfo"])
                .mount("bind", "volume", "/vol", &["rbind"])
                .mount("bind", "fake", "/vol/d", &["rbind"]);
            box_.outside("fake");
            let pair = Pair::directory(&box_.outside("volume"), "d", to);
            box_.write_config();
            raced(&box_, pair, 30, |_| {
                let out = box_.call(&["run", box_.id()]);
                assert_eq!(strangers(&out.stdout), usual, "{to}: {out:?}");
                let procs = mounts(&out.stdout);
                let procs = procs.iter().filter(|mount| mount.target == "/proc");
                assert!(procs.count() <= 1, "{to}: {out:?}");
                box_.delete_force();
            });
        }
    })
}

fn cve_2019_19921_proc_hidden_from_exec() -> Outcome {
    // The container itself hides it: whatever exec writes does not go to a file of its choice.
    let script = "mount -t tmpfs tmpfs /proc && mkdir -p /proc/self/attr /proc/thread-self/attr /proc/1 \
         && for f in exec current keycreate; do : > /proc/self/attr/$f; : > /proc/thread-self/attr/$f; \
         done; : > /proc/self/oom_score_adj; echo ready; exec sleep 1000";
    let box_ = super::ground::with_capability(Bundle::sh(script), "CAP_SYS_ADMIN")
        .set("/process/oomScoreAdj", json!(500))
        .ready();
    let look = "cat /proc/self/attr/* /proc/thread-self/attr/* /proc/self/oom_score_adj; echo end";
    let out = box_.exec(&[], &["sh", "-c", look]);
    if out.code == 0 {
        out.prints("end");
    }
    let pid = box_.pid();
    let seen = fs::read_dir(format!("/proc/{pid}/root/proc/self/attr")).unwrap();
    for entry in seen.flatten() {
        let written = fs::read_to_string(entry.path()).unwrap();
        assert_eq!(written, "", "{}", text(&entry.path()));
    }
    Ok(())
}
