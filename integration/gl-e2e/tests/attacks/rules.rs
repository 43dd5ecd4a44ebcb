//! Ground rules that no single attack shows: how init waits, and what its program begins with.
//!
//! The others are shown by the attacks: R1 names in the root (`links`, `cve_2019_18837`), R2 procfs
//! (`cve_2019_16884`, `cve_2025_52881`), R3 devices (`cve_2025_31133`, `cve_2025_52565`), R4
//! descriptors (`descriptors`), R5 the working directory (`cve_2024_21626`), R8 capabilities
//! (`cve_2022_24769`), R9 names (`names`), R10 labels (`cve_2025_52881`; `apparmor` and `selinux`
//! where the kernel has them).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use gl_e2e::bundle::kernel::{descriptors, fields, proc_file};
use gl_e2e::bundle::{Bundle, config, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use rustix::fs::StatVfsMountFlags;
use serde_json::json;

pub(crate) const TESTS: &[Test] = tests![
    rule_6_program_of_a_waiting_init_cannot_be_opened_for_writing,
    rule_7_waiting_init_is_not_dumpable,
    rule_4_waiting_init_holds_nothing_of_the_host,
    rule_8_program_begins_with_the_capabilities_of_the_config_alone,
];

/// What makes a container, in the host's user namespace and in its own.
const MAKE: [fn() -> Bundle; 2] = [Bundle::new, in_a_user_namespace];

fn in_a_user_namespace() -> Bundle {
    let map = config::id_map(0, 65536);
    Bundle::new()
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn rule_6_program_of_a_waiting_init_cannot_be_opened_for_writing() -> Outcome {
    let box_ = Bundle::new();
    box_.create().ok();
    let exe = format!("/proc/{}/exe", box_.pid());
    // As the host's root, whom no permission stops: busy while it runs, and for ever
    // read-only where it is mounted.
    let err = fs::OpenOptions::new().write(true).open(exe).unwrap_err();
    let got = err.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    let want = [
        rustix::io::Errno::ROFS,
        rustix::io::Errno::PERM,
        rustix::io::Errno::TXTBSY,
    ];
    assert!(got.is_some_and(|got| want.contains(&got)), "{err}");
    known_elsewhere("only busy, until it ends", || {
        let box_ = Bundle::new();
        box_.create().ok();
        let exe = format!("/proc/{}/exe", box_.pid());
        let mount = rustix::fs::fstatvfs(fs::File::open(exe).unwrap()).unwrap();
        assert!(
            mount.f_flag.contains(StatVfsMountFlags::RDONLY),
            "{:?}",
            mount.f_flag
        );
    })
}

fn rule_7_waiting_init_is_not_dumpable() -> Outcome {
    for make in MAKE {
        let box_ = make().set("/process/user", json!({"uid": 1000, "gid": 1000}));
        box_.create().ok();
        // The files of a process that is not dumpable are root's, whoever it runs as.
        let file = fs::metadata(format!("/proc/{}/environ", box_.pid())).unwrap();
        assert_eq!((file.uid(), file.gid()), (0, 0));
    }
    Ok(())
}

fn rule_4_waiting_init_holds_nothing_of_the_host() -> Outcome {
    known_elsewhere("keeps its own open", || {
        for make in MAKE {
            let box_ = make();
            box_.create().ok();
            let open = descriptors(box_.pid());
            let kinds = [
                "pipe:",
                "socket:",
                "/dev/null",
                "/null",
                "/memfd:",
                "anon_inode:",
            ];
            let known = |path: &str| kinds.iter().any(|kind| path.starts_with(kind));
            let other: Vec<_> = open
                .iter()
                .filter(|(_, path)| !known(&path.to_string_lossy()))
                .collect();
            assert!(other.is_empty(), "{open:?}");
        }
    })
}

fn rule_8_program_begins_with_the_capabilities_of_the_config_alone() -> Outcome {
    let box_ = Bundle::new().unset("/process/capabilities").idle();
    for (status, what) in [
        (proc_file(box_.pid(), "status"), "init"),
        (
            box_.exec(&[], &["cat", "/proc/self/status"]).ok().stdout,
            "exec",
        ),
    ] {
        let seen = fields(&status);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(seen[set], "0000000000000000", "{what} {set}: {seen:?}");
        }
    }
    Ok(())
}
