//! CVE-2024-3154: an annotation sets any property of the systemd unit.

use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::{harmless, victim};

pub(crate) const TESTS: &[Test] = tests![
    cve_2024_3154_property_that_runs_a_program_is_refused,
    cve_2024_3154_property_means_nothing_without_systemd,
];

/// What would run a program of the host, or end the unit's confinement.
fn properties() -> [(String, String); 6] {
    let overwrite = format!(
        "[('/bin/sh', ['sh','-c','rm {}/*'], false)]",
        victim().display()
    );
    [
        ("ExecStart", overwrite.as_str()),
        ("ExecStopPost", overwrite.as_str()),
        ("MemoryMax\nExecStart", "1"),
        ("TimeoutStopUSec\0", "1"),
        ("Delegate", "true"),
        ("../ExecStart", "1"),
    ]
    .map(|(name, value)| (format!("org.systemd.property.{name}"), value.to_owned()))
}

fn cve_2024_3154_property_that_runs_a_program_is_refused() -> Outcome {
    known_elsewhere("passes them on", || {
        for (name, value) in properties() {
            let box_ = Bundle::new()
                .args(&["true"])
                .with_global("--systemd-cgroup")
                .set("/linux/cgroupsPath", json!("system.slice:gl:attack"))
                .set("/annotations", json!({ name.as_str(): value }));
            // Where systemd is not, or the cgroups are those of v1, the driver itself is refused; that
            // systemd's refusal names the annotation is shown by `systemd`.
            let out = harmless(&box_, &[], &name).failed();
            assert_eq!(out.stdout, "", "{name}: {out:?}");
        }
    })
}

fn cve_2024_3154_property_means_nothing_without_systemd() -> Outcome {
    for (name, value) in properties() {
        let box_ = Bundle::new()
            .args(&["true"])
            .set("/annotations", json!({ name.as_str(): value }));
        harmless(&box_, &[], &name);
    }
    Ok(())
}
