//! Mount options by their table: every recursive one on a tree of two mounts, and every one that
//! `features` lists.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::ExitCode;

use gl_e2e::bundle::kernel::mount_at;
use gl_e2e::bundle::{self, Bundle, known_elsewhere};
use gl_e2e::{Outcome, tests};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        recursive_options_reach_every_mount,
        recursive_option_leaves_the_top_to_a_plain_one,
        options_that_features_lists_are_taken,
    ])
}

/// A volume that is a mount with another one in `sub`, both with these flags.
fn tree(box_: &Bundle, flags: MountFlags) -> String {
    let volume = box_.outside("volume");
    let sub = volume.join("sub");
    for dir in [&volume, &sub] {
        fs::create_dir_all(dir).unwrap();
        mount("tmpfs", dir, "tmpfs", MountFlags::empty(), None).unwrap();
    }
    for dir in [&sub, &volume] {
        mount_bind(dir, dir).unwrap();
        mount_remount(dir, MountFlags::BIND | flags, c"").unwrap();
    }
    // The first bind of the volume has covered what was below it.
    let sub = volume.join("sub");
    mount("tmpfs", &sub, "tmpfs", flags, None).unwrap();
    mount_remount(&sub, MountFlags::BIND | flags, c"").unwrap();
    volume.to_str().unwrap().to_owned()
}

/// All that a mount can deny. An atime mode other than `relatime` is one of it.
fn everything() -> MountFlags {
    MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::NOATIME
        | MountFlags::NODIRATIME
        | MountFlags::from_bits_retain(0x100) // MS_NOSYMFOLLOW
}

/// Option, what the mounts have before, what they must show and what they must not.
type Row = (&'static str, MountFlags, &'static str, &'static str);

fn rows() -> Vec<Row> {
    let none = MountFlags::empty();
    let all = everything();
    vec![
        ("rro", none, "ro", "rw"),
        ("rrw", all, "rw", "ro"),
        ("rnosuid", none, "nosuid", ""),
        ("rsuid", all, "", "nosuid"),
        ("rnodev", none, "nodev", ""),
        ("rdev", all, "", "nodev"),
        ("rnoexec", none, "noexec", ""),
        ("rexec", all, "", "noexec"),
        ("rnodiratime", none, "nodiratime", ""),
        ("rdiratime", all, "", "nodiratime"),
        ("rnosymfollow", none, "nosymfollow", ""),
        ("rsymfollow", all, "", "nosymfollow"),
        ("rnoatime", none, "noatime", "relatime"),
        ("ratime", all, "", "noatime"),
        ("rrelatime", all, "relatime", "noatime"),
        // The kernel has no mode for it: what is neither noatime nor strictatime is relatime.
        ("rnorelatime", none, "relatime", "noatime"),
        ("rstrictatime", none, "", "relatime"),
        ("rnostrictatime", none, "relatime", ""),
    ]
}

fn recursive_options_reach_every_mount() -> Outcome {
    known_elsewhere("knows some of them only", every_recursive_option)
}

fn every_recursive_option() {
    let mut wrong = Vec::new();
    for (option, before, has, lacks) in rows() {
        let box_ = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        let volume = tree(&box_, before);
        let text = box_
            .mount("bind", &volume, "/mnt", &["rbind", option])
            .run()
            .ok()
            .stdout;
        for target in ["/mnt", "/mnt/sub"] {
            let mount = mount_at(&text, target).unwrap();
            if (!has.is_empty() && !mount.has(has)) || (!lacks.is_empty() && mount.has(lacks)) {
                wrong.push(format!("{option} at {target}: {:?}", mount.options));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn recursive_option_leaves_the_top_to_a_plain_one() -> Outcome {
    known_elsewhere("knows some of them only", plain_after_recursive)
}

fn plain_after_recursive() {
    for (options, top, below) in [
        (["rbind", "rro", "rw"], "rw", "ro"),
        (["rbind", "ro", "rrw"], "ro", "rw"),
        (["rbind", "rnoexec", "exec"], "", "noexec"),
    ] {
        let box_ = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        let volume = tree(&box_, MountFlags::empty());
        let text = box_
            .mount("bind", &volume, "/mnt", &options)
            .run()
            .ok()
            .stdout;
        for (target, want) in [("/mnt", top), ("/mnt/sub", below)] {
            let mount = mount_at(&text, target).unwrap();
            let right = match want {
                "" => !mount.has("noexec"),
                want => mount.has(want),
            };
            assert!(right, "{options:?} at {target}: {:?}", mount.options);
        }
    }
}

fn options_that_features_lists_are_taken() -> Outcome {
    known_elsewhere(
        "lists some that it does not take alone",
        every_listed_option,
    )
}

fn every_listed_option() {
    let features = Bundle::new().call(&["features"]).ok().json();
    let options = features["mountOptions"].as_array().unwrap();
    assert!(options.len() > 50, "{options:?}");
    let mut wrong = Vec::new();
    for option in options {
        let option = option.as_str().unwrap();
        let mut box_ = Bundle::new().args(&["true"]);
        box_.outside("volume");
        box_ = match option {
            // Of new filesystems; `iversion` is one of few.
            "tmpcopyup" => box_.mount("tmpfs", "tmpfs", "/mnt", &[option]),
            "remount" => box_.mount("tmpfs", "tmpfs", "/mnt", &[]).mount(
                "none",
                "none",
                "/mnt",
                &["remount", "ro"],
            ),
            "idmap" | "ridmap" => {
                let map = bundle::config::id_map(100_000, 65536);
                box_.push(
                    "/mounts",
                    json!({"type": "bind", "source": "volume", "destination": "/mnt",
                        "options": ["rbind", option], "uidMappings": map, "gidMappings": map}),
                )
            }
            "bind" | "rbind" => box_.mount("none", "volume", "/mnt", &[option]),
            _ => box_.mount("bind", "volume", "/mnt", &["rbind", option]),
        };
        let out = box_.run();
        if out.code != 0 {
            wrong.push(format!("{option}: {}", out.stderr.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
