//! Mount propagation: per mount, of the root, and whether events cross the container's border.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use gl_e2e::bundle::kernel::{mount_at, proc_file};
use gl_e2e::bundle::{self, Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, tests};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::json;

fn main() -> ExitCode {
    bundle::main(tests![
        volume_options_become_its_propagation,
        volume_recursive_options_reach_nested_mounts,
        root_propagation_becomes_that_of_the_root,
        volume_under_every_propagation_of_the_root,
        mount_on_the_host_reaches_a_slave_volume_only,
        mount_in_the_container_reaches_a_shared_volume_only,
        mount_in_the_container_stays_there,
        unknown_root_propagation_is_refused,
    ])
}

/// A tmpfs in the bundle directory that is shared, as volumes of an engine are.
fn shared_volume(box_: &Bundle) -> PathBuf {
    let volume = box_.outside("volume");
    rustix::mount::mount("tmpfs", &volume, "tmpfs", MountFlags::empty(), None).unwrap();
    rustix::mount::mount_change(&volume, MountPropagationFlags::SHARED).unwrap();
    volume
}

/// Kinds of optional fields of the mount, without their peer group's number.
fn propagation(text: &str, target: &str) -> Vec<String> {
    let mount = mount_at(text, target).unwrap();
    let kind = |field: &String| field.split(':').next().unwrap().to_owned();
    let mut kinds: Vec<_> = mount.propagation.iter().map(kind).collect();
    kinds.retain(|k| k != "propagate_from");
    kinds
}

const MATRIX: [(&str, &[&str]); 8] = [
    ("private", &[]),
    ("rprivate", &[]),
    ("slave", &["master"]),
    ("rslave", &["master"]),
    ("shared", &["shared"]),
    ("rshared", &["shared"]),
    ("unbindable", &["unbindable"]),
    ("runbindable", &["unbindable"]),
];

fn volume_options_become_its_propagation() -> Outcome {
    for (option, want) in MATRIX {
        let box_ = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        let volume = shared_volume(&box_);
        // As engines do: a shared volume needs a root that is shared too.
        let root = if want == ["shared"] {
            "shared"
        } else {
            "rslave"
        };
        let box_ = box_.set("/linux/rootfsPropagation", json!(root)).mount(
            "bind",
            volume.to_str().unwrap(),
            "/mnt",
            &["rbind", option],
        );
        let text = box_.run().ok().stdout;
        let mut seen = propagation(&text, "/mnt");
        if want == ["shared"] {
            seen.retain(|k| k != "master");
        }
        assert_eq!(seen, want, "{option} in\n{text}");
    }
    Ok(())
}

fn volume_recursive_options_reach_nested_mounts() -> Outcome {
    for (option, want) in [("rprivate", &[][..]), ("rslave", &["master"])] {
        let box_ = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
        let volume = shared_volume(&box_);
        let sub = volume.join("sub");
        fs::create_dir(&sub).unwrap();
        rustix::mount::mount("tmpfs", &sub, "tmpfs", MountFlags::empty(), None).unwrap();
        let box_ = box_.mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind", option]);
        let text = box_.run().ok().stdout;
        for target in ["/mnt", "/mnt/sub"] {
            assert_eq!(
                propagation(&text, target),
                want,
                "{option} at {target} in\n{text}"
            );
        }
    }
    Ok(())
}

fn root_propagation_becomes_that_of_the_root() -> Outcome {
    for option in ["private", "rprivate", "slave", "rslave"] {
        root_is(option, &[]);
    }
    // SPEC: rootfsPropagation is the propagation of the root that the process sees.
    known_elsewhere("sets it before the root is bound", || {
        root_is("shared", &["shared"]);
        root_is("rshared", &["shared"]);
        root_is("unbindable", &["unbindable"]);
    })
}

fn root_is(option: &str, want: &[&str]) {
    let box_ = Bundle::new()
        .args(&["cat", "/proc/self/mountinfo"])
        .set("/linux/rootfsPropagation", json!(option));
    let host = Host::before(&box_, &[]);
    let text = box_.run().ok().stdout;
    assert_eq!(propagation(&text, "/"), want, "{option} in\n{text}");
    host.unchanged(option);
}

const ROOTS: [&str; 9] = [
    "",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
];

/// What the volume shows inside, and which way a mount in it goes: to the container, to the host.
fn crossing(option: &str, root: &str) -> (Vec<String>, bool, bool) {
    let box_ = Bundle::sh("mount -t tmpfs inside /mnt/in && echo ready; exec sleep 1000");
    let volume = shared_volume(&box_);
    for name in ["out", "in"] {
        fs::create_dir(volume.join(name)).unwrap();
    }
    let mut options = vec!["rbind"];
    options.extend(Some(option).filter(|option| !option.is_empty()));
    let mut box_ = with_sys_admin(box_).mount("bind", volume.to_str().unwrap(), "/mnt", &options);
    if !root.is_empty() {
        box_ = box_.set("/linux/rootfsPropagation", json!(root));
    }
    let box_ = box_.ready();
    let shown = propagation(&proc_file(box_.pid(), "mountinfo"), "/mnt");
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let outward = mount_at(&own, volume.join("in").to_str().unwrap()).is_some();
    let out = volume.join("out");
    rustix::mount::mount("tmpfs", &out, "tmpfs", MountFlags::empty(), None).unwrap();
    let inward = mount_at(&proc_file(box_.pid(), "mountinfo"), "/mnt/out").is_some();
    rustix::mount::unmount(&out, UnmountFlags::empty()).unwrap();
    (shown, inward, outward)
}

fn volume_under_every_propagation_of_the_root() -> Outcome {
    known_elsewhere(
        "lets the root's change that of mounts",
        every_volume_under_every_root,
    )
}

fn every_volume_under_every_root() {
    let mut wrong = Vec::new();
    for root in ROOTS {
        for (option, shows) in MATRIX {
            let slave = shows.contains(&"master");
            let shared = shows.contains(&"shared");
            let seen = crossing(option, root);
            let (shown, inward, outward) = &seen;
            if shown != shows || (*inward, *outward) != (shared || slave, shared) {
                wrong.push(format!("{option} under {root:?}: {seen:?}"));
            }
        }
        // Without an option of its own: never to the host, from it unless the root is cut off; and
        // what is said of the whole tree is said of this mount.
        let (shows, inward): (&[&str], _) = match root {
            "" | "slave" | "rslave" | "shared" => (&["master"], true),
            "rshared" => (&["shared", "master"], true),
            "runbindable" => (&["unbindable"], false),
            _ => (&[], false),
        };
        let seen = crossing("", root);
        if seen.0 != shows || (seen.1, seen.2) != (inward, false) {
            wrong.push(format!("no option under {root:?}: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn with_sys_admin(box_: Bundle) -> Bundle {
    let sets = ["bounding", "effective", "permitted"];
    sets.into_iter().fold(box_, |box_, set| {
        box_.push(
            &format!("/process/capabilities/{set}"),
            json!("CAP_SYS_ADMIN"),
        )
    })
}

fn mount_on_the_host_reaches_a_slave_volume_only() -> Outcome {
    for (option, reaches) in [("rslave", true), ("rprivate", false)] {
        let box_ = Bundle::new();
        let volume = shared_volume(&box_);
        fs::create_dir(volume.join("later")).unwrap();
        let box_ = box_
            .mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind", option])
            .idle();
        let later = volume.join("later");
        rustix::mount::mount("tmpfs", &later, "tmpfs", MountFlags::empty(), None).unwrap();
        let text = proc_file(box_.pid(), "mountinfo");
        assert_eq!(
            mount_at(&text, "/mnt/later").is_some(),
            reaches,
            "{option}\n{text}"
        );
        rustix::mount::unmount(&later, UnmountFlags::empty()).unwrap();
        let text = proc_file(box_.pid(), "mountinfo");
        assert!(mount_at(&text, "/mnt/later").is_none(), "{option}\n{text}");
    }
    Ok(())
}

fn mount_in_the_container_reaches_a_shared_volume_only() -> Outcome {
    for (option, root, reaches) in [
        ("rshared", "shared", true),
        ("rslave", "rslave", false),
        ("rprivate", "rprivate", false),
    ] {
        let box_ = Bundle::sh(
            "mkdir /mnt/x && mount -t tmpfs inside /mnt/x && echo ready; exec sleep 1000",
        );
        let volume = shared_volume(&box_);
        let box_ = with_sys_admin(box_)
            .set("/linux/rootfsPropagation", json!(root))
            .mount("bind", volume.to_str().unwrap(), "/mnt", &["rbind", option])
            .ready();
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let target = volume.join("x");
        let seen = mount_at(&text, target.to_str().unwrap()).is_some();
        assert_eq!(seen, reaches, "{option}\n{text}");
        drop(box_);
    }
    Ok(())
}

fn mount_in_the_container_stays_there() -> Outcome {
    for root in ["rprivate", "rslave", "shared"] {
        let box_ = with_sys_admin(Bundle::sh("mount -t tmpfs inside /tmp && echo done"))
            .set("/linux/rootfsPropagation", json!(root));
        let host = Host::before(&box_, &[]);
        box_.run().ok().prints("done");
        host.unchanged(root);
    }
    Ok(())
}

fn unknown_root_propagation_is_refused() -> Outcome {
    let box_ = Bundle::new().set("/linux/rootfsPropagation", json!("sideways"));
    let host = Host::before(&box_, &[]);
    box_.create().failed().says("sideways");
    host.unchanged("unknown propagation");
    Ok(())
}
