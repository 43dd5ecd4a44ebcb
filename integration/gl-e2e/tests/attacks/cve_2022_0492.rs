//! CVE-2022-0492: the release agent of cgroup v1, a program that the kernel starts as the host's root.

use gl_e2e::bundle::Bundle;
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::harmless;

pub(crate) const TESTS: &[Test] = tests![
    cve_2022_0492_release_agent_cannot_be_written,
    cve_2022_0492_release_agent_cannot_be_written_from_exec,
];

const SCRIPT: &str = "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do \
     for f in release_agent notify_on_release; do \
     [ -e $d/$f ] && echo /evil > $d/$f && echo wrote; done; done; \
     mkdir -p /tmp/c; mount -t cgroup -o memory x /tmp/c && echo mounted; \
     unshare -Ur sh -c 'mount -t cgroup -o memory x /tmp/c' && echo mounted; \
     unshare -UrC sh -c 'mount -t cgroup -o memory x /tmp/c && \
     echo /evil > /tmp/c/release_agent' && echo wrote; true";

fn cve_2022_0492_release_agent_cannot_be_written() -> Outcome {
    for namespace in [None, Some(json!({"type": "cgroup"}))] {
        let box_ = Bundle::sh(SCRIPT).namespace("cgroup", namespace);
        let out = harmless(&box_, &[], "release_agent");
        assert_eq!(out.stdout, "", "{out:?}");
    }
    Ok(())
}

fn cve_2022_0492_release_agent_cannot_be_written_from_exec() -> Outcome {
    for namespace in [None, Some(json!({"type": "cgroup"}))] {
        let box_ = Bundle::new().namespace("cgroup", namespace).idle();
        let out = box_.exec(&[], &["/bin/sh", "-c", SCRIPT]).ok();
        assert_eq!(out.stdout, "", "{out:?}");
    }
    Ok(())
}
