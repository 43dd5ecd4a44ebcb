//! CVE-2022-24769, CVE-2022-27650, CVE-2022-29162, CVE-2025-27612: capabilities that a program of the
//! image would inherit.

use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::config::{CAPABILITIES, CAPABILITY_MASK, PATH};
use gl_e2e::bundle::kernel::{fields, proc_file};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

pub(crate) const TESTS: &[Test] = tests![
    cve_2022_24769_inheritable_capabilities_are_empty,
    cve_2022_29162_exec_gives_no_inheritable_capabilities,
    cve_2022_27650_plain_user_inherits_no_capabilities,
    cve_2025_27612_added_capability_is_not_ambient,
];

const STATUS: [&str; 2] = ["cat", "/proc/self/status"];
const NONE: &str = "0000000000000000";

#[track_caller]
fn inherits_nothing(status: &str, what: &str) {
    let seen = fields(status);
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(seen[set], NONE, "{what} {set}: {seen:?}");
    }
}

fn cve_2022_24769_inheritable_capabilities_are_empty() -> Outcome {
    let box_ = Bundle::new().idle();
    let status = proc_file(box_.pid(), "status");
    inherits_nothing(&status, "init");
    assert_eq!(fields(&status)["CapBnd"], CAPABILITY_MASK, "{status}");
    Ok(())
}

fn cve_2022_29162_exec_gives_no_inheritable_capabilities() -> Outcome {
    let box_ = Bundle::new().idle();
    let document = json!({
        "user": {"uid": 0, "gid": 0}, "args": STATUS, "cwd": "/", "env": [PATH],
        "capabilities": {
            "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
        },
    });
    for (out, what) in [
        (box_.exec(&[], &STATUS), "exec"),
        (box_.exec_process(&document), "exec --process"),
    ] {
        let status = out.ok().stdout;
        inherits_nothing(&status, what);
        assert_eq!(fields(&status)["CapBnd"], CAPABILITY_MASK, "{status}");
    }
    Ok(())
}

fn cve_2022_27650_plain_user_inherits_no_capabilities() -> Outcome {
    let box_ = Bundle::new()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .idle();
    inherits_nothing(&proc_file(box_.pid(), "status"), "init");
    let status = box_.exec(&["-u", "1000"], &STATUS).ok().stdout;
    inherits_nothing(&status, "exec");
    assert_eq!(fields(&status)["CapEff"], NONE, "{status}");
    Ok(())
}

fn cve_2025_27612_added_capability_is_not_ambient() -> Outcome {
    let box_ = Bundle::new().idle();
    for flags in [
        &["--cap", "CAP_SYS_ADMIN"][..],
        &["--cap", "CAP_SYS_ADMIN", "-u", "1000"],
    ] {
        let status = box_.exec(flags, &STATUS).ok().stdout;
        inherits_nothing(&status, &flags.join(" "));
        // CAP_SYS_ADMIN is bit 21.
        assert_eq!(fields(&status)["CapBnd"], "00000000a82425fb", "{status}");
    }
    Ok(())
}
