//! CVE-2026-30892: `exec -u` that is read as another user than was written.

use gl_e2e::bundle::kernel::fields;
use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

pub(crate) const TESTS: &[Test] = tests![
    cve_2026_30892_user_of_exec_is_exactly_as_written,
    cve_2026_30892_user_of_exec_that_is_no_number_is_refused,
    cve_2026_30892_user_of_a_process_document_does_not_wrap,
];

const STATUS: [&str; 2] = ["cat", "/proc/self/status"];

fn cve_2026_30892_user_of_exec_is_exactly_as_written() -> Outcome {
    known_elsewhere("takes ids below 2^31 only", exactly_as_written)
}

fn exactly_as_written() {
    let box_ = Bundle::new()
        .set("/process/user", json!({"uid": 3, "gid": 4}))
        .idle();
    for (user, uid, gid) in [
        ("1", "1", None),
        ("1:2", "1", Some("2")),
        ("0:5", "0", Some("5")),
        ("2147483648:2147483649", "2147483648", Some("2147483649")),
        ("4294967294", "4294967294", None),
    ] {
        let seen = fields(&box_.exec(&["-u", user], &STATUS).ok().stdout);
        assert_eq!(seen["Uid"], [uid; 4].join(" "), "{user}: {seen:?}");
        if let Some(gid) = gid {
            assert_eq!(seen["Gid"], [gid; 4].join(" "), "{user}: {seen:?}");
        }
    }
}

fn cve_2026_30892_user_of_exec_that_is_no_number_is_refused() -> Outcome {
    known_elsewhere("takes some of them for another user", || {
        let box_ = Bundle::new().idle();
        for user in [
            "",
            "1x",
            "x1",
            "-1",
            "+0",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "1:",
            ":1",
            "1:-1",
            "1:+2",
            "1:2:3",
            "1:4294967295",
            "4294967295",
            "4294967296",
            "4294967297",
            "18446744073709551616",
            "١",
            "1\n",
            "1,2",
            "root",
        ] {
            let flag = format!("--user={user}");
            let out = box_.exec(&[&flag], &STATUS).failed();
            assert_eq!(out.stdout, "", "{user:?}: {out:?}");
        }
    })
}

fn cve_2026_30892_user_of_a_process_document_does_not_wrap() -> Outcome {
    let box_ = Bundle::new().idle();
    for id in [json!(4_294_967_296_u64), json!(-1), json!("0"), json!(0.5)] {
        for key in ["uid", "gid"] {
            let mut user = json!({"uid": 1, "gid": 1});
            user[key] = id.clone();
            let document = json!({"user": user, "args": STATUS, "cwd": "/"});
            let out = box_.exec_process(&document).failed();
            assert_eq!(out.stdout, "", "{key} {id}: {out:?}");
        }
    }
    Ok(())
}
