//! CVE-2024-21626: a descriptor of a directory of the host that the runtime forgot to close.

use gl_e2e::bundle::kernel::descriptors;
use gl_e2e::bundle::{Bundle, Host, known_elsewhere, rounds};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{Pair, SECRET, harmless, probe, raced, victim};

pub(crate) const TESTS: &[Test] = tests![
    cve_2024_21626_cwd_in_a_leaked_descriptor,
    cve_2024_21626_args_in_a_leaked_descriptor,
    cve_2024_21626_exec_in_a_leaked_descriptor,
    cve_2024_21626_cwd_swapped_for_a_leaked_descriptor,
    cve_2024_21626_program_has_three_descriptors,
    cve_2024_21626_created_container_holds_no_directory,
];

/// 3 to 1023 with `$GL_ROUNDS` large enough.
fn numbers() -> std::ops::Range<usize> {
    3..3 + rounds(24).min(1021)
}

fn cve_2024_21626_cwd_in_a_leaked_descriptor() -> Outcome {
    for n in numbers() {
        for prefix in ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"] {
            if prefix != "/proc/self/fd" && n > 10 {
                continue;
            }
            let cwd = format!("{prefix}/{n}");
            let box_ = Bundle::sh(&probe()).set("/process/cwd", json!(cwd));
            let out = harmless(&box_, &[], &cwd);
            // R5: a working directory outside the root is refused.
            assert!(!out.stdout.contains("(unreachable)"), "{n}: {out:?}");
            assert!(!out.stdout.contains("gl-e2e"), "{n}: {out:?}");
        }
    }
    Ok(())
}

fn cve_2024_21626_args_in_a_leaked_descriptor() -> Outcome {
    for n in numbers() {
        let escape = format!("/proc/self/fd/{n}/../../../../../../../../bin/sh");
        let box_ = Bundle::new().args(&[&escape, "-c", &probe()]);
        let out = harmless(&box_, &[], &escape);
        assert!(out.code > 0, "{out:?}");
    }
    Ok(())
}

fn cve_2024_21626_exec_in_a_leaked_descriptor() -> Outcome {
    let box_ = Bundle::new();
    box_.link("tmp/link", "/proc/self/fd/7");
    let box_ = box_.idle();
    let host = Host::before(&box_, &[&victim()]);
    for n in numbers() {
        for cwd in [format!("/proc/self/fd/{n}"), "/tmp/link".to_owned()] {
            let out = box_.exec(&["--cwd", &cwd], &["sh", "-c", &probe()]);
            assert!(!out.stdout.contains(SECRET), "{cwd}: {out:?}");
            assert!(!out.stdout.contains("(unreachable)"), "{cwd}: {out:?}");
        }
        let escape = format!("/proc/self/fd/{n}/../../../../../../bin/sh");
        box_.exec(&[], &[&escape, "-c", &probe()]).failed();
    }
    host.unchanged_soon("exec in leaked descriptors");
    Ok(())
}

fn cve_2024_21626_cwd_swapped_for_a_leaked_descriptor() -> Outcome {
    let box_ = Bundle::sh(&probe()).set("/process/cwd", json!("/tmp/d"));
    let running = Bundle::new();
    let pair = |box_: &Bundle, target| Pair::directory(&box_.rootfs().join("tmp"), "d", target);
    let created = pair(&box_, "/proc/self/fd/5");
    let entered = pair(&running, "/proc/self/fd/8");
    let running = running.idle();
    box_.write_config();
    let check = |out: gl_e2e::bundle::Output| {
        assert!(!out.stdout.contains(SECRET), "{out:?}");
        assert!(!out.stdout.contains("(unreachable)"), "{out:?}");
        assert!(!out.stdout.contains("gl-e2e"), "{out:?}");
    };
    raced(&box_, created, 40, |_| {
        check(box_.call(&["run", box_.id()]));
        box_.delete_force();
    });
    raced(&running, entered, 40, |_| {
        check(running.exec(&["--cwd", "/tmp/d"], &["sh", "-c", &probe()]));
    });
    Ok(())
}

fn cve_2024_21626_program_has_three_descriptors() -> Outcome {
    let box_ = Bundle::new().args(&["ls", "/proc/self/fd"]);
    // The fourth is the directory that `ls` reads.
    box_.run().ok().prints("0\n1\n2\n3");
    let box_ = box_.idle();
    let open: Vec<_> = descriptors(box_.pid()).into_keys().collect();
    assert_eq!(open, [0, 1, 2]);
    let list = ["ls", "/proc/self/fd"];
    box_.exec(&[], &list).ok().prints("0\n1\n2\n3");
    Ok(())
}

fn cve_2024_21626_created_container_holds_no_directory() -> Outcome {
    known_elsewhere("waits with one open", || {
        let box_ = Bundle::new();
        box_.create().ok();
        let open = descriptors(box_.pid());
        let dir = format!("/proc/{}/fd", box_.pid());
        let is_directory =
            |n: &u32| std::fs::metadata(format!("{dir}/{n}")).is_ok_and(|m| m.is_dir());
        let directories: Vec<_> = open.keys().filter(|n| is_directory(n)).collect();
        assert!(directories.is_empty(), "{directories:?} of {open:?}");
    })
}
