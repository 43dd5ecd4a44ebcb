//! CVE-2025-52565: `/dev/console` of the image, or the terminal's own name, leads elsewhere.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::kernel::{mount_at, proc_file};
use gl_e2e::bundle::listener::{Console, Listener};
use gl_e2e::bundle::{Bundle, Host, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{
    Pair, SETTING, create_with_terminal, raced, text, victim, with_capability,
    with_dev_of_the_image,
};

pub(crate) const TESTS: &[Test] = tests![
    cve_2025_52565_dev_console_is_a_link,
    cve_2025_52565_dev_console_swapped_in_a_race,
    cve_2025_52565_terminal_of_exec_is_opened_by_its_master,
];

fn with_console() -> Bundle {
    with_dev_of_the_image("exec sleep 1000").set("/process/terminal", json!(true))
}

/// The terminal is nowhere but at `/dev/console`, if the container was created.
#[track_caller]
fn only_at_the_console(box_: &Bundle, created: i32, what: &str) {
    if created == 0 {
        let text = proc_file(box_.pid(), "mountinfo");
        let hit = |path: &&str| mount_at(&text, path).is_some();
        let hits: Vec<_> = [SETTING, "/etc/passwd", "/tmp/new", "/proc/sys/kernel"]
            .into_iter()
            .filter(hit)
            .collect();
        assert!(hits.is_empty(), "{what}: terminal at {hits:?}");
    }
    box_.delete_force().ok();
}

fn cve_2025_52565_dev_console_is_a_link() -> Outcome {
    known_elsewhere("binds onto what the link leads to", || {
        let outside = text(&victim().join("file"));
        for target in [SETTING, &outside, "/etc/passwd", "/tmp/new"] {
            let box_ = with_console();
            box_.link("dev/console", target);
            let host = Host::before(&box_, &[&victim()]);
            let passwd = fs::read(box_.rootfs().join("etc/passwd")).unwrap();
            only_at_the_console(&box_, create_with_terminal(&box_).code, target);
            let after = fs::read(box_.rootfs().join("etc/passwd")).unwrap();
            assert_eq!(after, passwd, "{target}");
            host.unchanged_soon(target);
        }
    })
}

fn cve_2025_52565_dev_console_swapped_in_a_race() -> Outcome {
    known_elsewhere("binds onto what the link leads to", || {
        for to in [SETTING.to_owned(), text(&victim().join("console"))] {
            let box_ = with_console().set("/process/user", json!({"uid": 1234, "gid": 1234}));
            let file = |path: &std::path::Path| fs::write(path, "").unwrap();
            let pair = Pair::new(&box_.rootfs().join("dev"), "console", file, &to);
            raced(&box_, pair, 30, |_| {
                only_at_the_console(&box_, create_with_terminal(&box_).code, &to);
            });
        }
    })
}

fn cve_2025_52565_terminal_of_exec_is_opened_by_its_master() -> Outcome {
    // The container puts files of its own where the names of terminals are.
    let script = "mount -t tmpfs tmpfs /dev/pts && for n in 0 1 2 3 4 5 6 7; do \
         ln -s /tmp/prey /dev/pts/$n; done; echo precious > /tmp/prey; echo ready; exec sleep 1000";
    let box_ = with_capability(Bundle::sh(script), "CAP_SYS_ADMIN").ready();
    let listener = Listener::new(box_.dir(), "console.sock");
    let flags = ["--tty", "--detach", "--console-socket", listener.path()];
    let show = "echo on a terminal; stat -L -c '%F' /proc/self/fd/0; sleep 1000";
    let out = box_.exec(&flags, &["sh", "-c", show]);
    if out.code == 0 {
        let console = Console::from_message(listener.receive());
        console.wait_for("character special file");
    }
    // Neither written to nor given to anybody.
    let look = "stat -c '%u:%g %a' /tmp/prey; cat /tmp/prey";
    box_.exec(&[], &["sh", "-c", look])
        .ok()
        .prints("0:0 644\nprecious");
    Ok(())
}
