//! A profile with `isolation = "gvisor"`: what the host's kernel would enforce is replaced or refused.

use gl_spec::Extras;

use super::{HOST, profile, spec};
use crate::translate::{self, Effect, Gvisor, Host, Processes, Refused, Step, tighten};

const ISOLATION: &str = "isolation = \"gvisor\"\n";

fn translated(text: &str, host: &Host) -> Result<(Extras, Vec<Step>), Refused> {
    let profile = profile(&format!("{ISOLATION}{text}"));
    let mut extras = Extras::default();
    let steps = tighten(&profile, &mut spec(), &mut extras, host, "id")?;
    Ok((extras, steps))
}

#[test]
fn nothing_of_the_hosts_kernel_is_left() {
    let (extras, steps) = translated("[network]\nallow_network = false\n", &HOST).unwrap();
    assert!(extras.gvisor);
    assert!(!extras.degrades);
    assert_eq!((extras.landlock.len(), extras.apparmor.len()), (0, 0));
    let layers: Vec<_> = steps.iter().map(|step| step.layer).collect();
    assert!(layers.contains(&"gvisor"), "{layers:?}");
    assert!(!layers.contains(&"landlock"), "{layers:?}");
}

#[test]
fn tasks_are_bounded_inside_and_nobody_is_above_that() {
    let (extras, _) = translated("[limits]\nmax_threads = 20\n", &HOST).unwrap();
    let nproc = extras.process.rlimits.iter().find(|one| one.resource == 6);
    assert_eq!(nproc.unwrap().max, 20);
    let kept = extras.process.capabilities.unwrap();
    assert_eq!(kept & (1 << 21 | 1 << 24), 0, "{kept:x}");
}

#[test]
fn config_for_another_runtime_keeps_the_capabilities_that_are_left() {
    let (extras, _) = translated("[process]\ncapabilities = [\"CAP_KILL\"]\n", &HOST).unwrap();
    let mut spec = spec();
    translate::show(&mut spec, &extras);
    let sets = spec.process().as_ref().unwrap().capabilities();
    let bounding = sets.as_ref().unwrap().bounding().clone().unwrap();
    let kept: Vec<_> = bounding.iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["KILL"]);
}

#[test]
fn what_gvisor_cannot_hold_is_refused_by_name() {
    for (text, key) in [
        (
            "[filesystem]\nread_write_paths = [\"/out\"]\n",
            "filesystem.read_write_paths",
        ),
        (
            "[filesystem]\nblocked_paths = [\"/proc/uptime\"]\n",
            "filesystem.blocked_paths",
        ),
        (
            "[filesystem]\napparmor_profile = \"x\"\n",
            "filesystem.apparmor_profile",
        ),
        (
            "[filesystem]\nselinux_context = \"a:b:c:s0\"\n",
            "filesystem.selinux_context",
        ),
        (
            "[limits]\ndisk_quota_bytes = \"1MiB\"\n",
            "limits.disk_quota_bytes",
        ),
    ] {
        let refused = translated(text, &HOST).unwrap_err();
        assert_eq!(refused.place.key, key);
        let (extras, steps) =
            translated(&format!("on_missing = \"degrade\"\n{text}"), &HOST).unwrap();
        assert!(extras.degrades, "{key}");
        let lost = steps
            .iter()
            .filter(|step| matches!(step.effect, Effect::Degraded(_)));
        let lost: Vec<_> = lost.map(|step| step.key.as_str()).collect();
        assert_eq!(lost, [key]);
    }
}

#[test]
fn without_runsc_it_is_refused_and_never_weaker() {
    let host = Host {
        gvisor: Gvisor::Missing,
        ..HOST
    };
    let refused = translated("", &host).unwrap_err();
    assert_eq!(refused.place.key, "isolation");
    // Not by what the profile degrades either.
    let refused = translated("on_missing = \"degrade\"\n", &host).unwrap_err();
    assert_eq!(refused.place.key, "isolation");
}

#[test]
fn another_profile_of_the_container_gets_it_as_well() {
    let host = Host {
        gvisor: Gvisor::Wanted,
        ..HOST
    };
    let mut extras = Extras::default();
    tighten(&profile(""), &mut spec(), &mut extras, &host, "id").unwrap();
    assert!(extras.gvisor);
}

#[test]
fn processes_of_the_host_are_none_of_its_own() {
    let host = Host {
        processes: Processes::Hosts,
        apparmor: false,
        landlock_abi: None,
        ..HOST
    };
    assert!(translated("", &host).is_ok());
}
