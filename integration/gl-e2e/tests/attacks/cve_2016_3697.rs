//! CVE-2016-3697: a name in the image's passwd that is a number.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;

use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::kernel::{fields, proc_file};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{Pair, SECRET, raced, text, victim};

pub(crate) const TESTS: &[Test] = tests![
    cve_2016_3697_numeric_name_in_passwd,
    cve_2016_3697_passwd_swapped_in_a_race,
];

const PASSWD: &str = "1000:x:0:0::/precious:/bin/sh\nroot:x:0:0::/:/bin/sh\n";

fn cve_2016_3697_numeric_name_in_passwd() -> Outcome {
    let box_ = Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    box_.file("etc/passwd", PASSWD);
    box_.file("etc/group", "1000:x:0:\n");
    let box_ = box_.idle();
    let seen = fields(&proc_file(box_.pid(), "status"));
    assert_eq!(seen["Uid"], "1000 1000 1000 1000", "create: {seen:?}");
    let ids = ["sh", "-c", "grep -E '^(Uid|Gid)' /proc/self/status"];
    for user in ["1000:1000", "1000"] {
        let seen = fields(&box_.exec(&["-u", user], &ids).ok().stdout);
        assert_eq!(seen["Uid"], "1000 1000 1000 1000", "{user}: {seen:?}");
    }
    Ok(())
}

fn cve_2016_3697_passwd_swapped_in_a_race() -> Outcome {
    let box_ = Bundle::new();
    let etc = box_.rootfs().join("etc");
    fs::remove_file(etc.join("passwd")).unwrap();
    let pair = Pair::new(
        &etc,
        "passwd",
        |path| fs::write(path, PASSWD).unwrap(),
        &text(&victim().join("file")),
    );
    let box_ = box_.idle();
    let script = "echo $HOME; grep Uid /proc/self/status";
    raced(&box_, pair, 60, |round| {
        let user = ["1000", "1000:7"][round % 2];
        // Where the name is the link's, the home is not known.
        let seen = box_.exec(&["-u", user], &["sh", "-c", script]).ok().stdout;
        assert!(seen.contains("1000\t1000\t1000\t1000"), "{user}: {seen}");
        assert!(!seen.contains(SECRET), "{user}: {seen}");
    });
    Ok(())
}
