//! Whether one config is at least as strict as another.

use std::collections::BTreeSet;
use std::path::Path;

use gl_spec::oci::{
    LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxResources, Process, Spec,
};

/// Panics where `after` gives a container more than `before`.
pub(crate) fn assert_not_looser(before: &Spec, after: &Spec) {
    if let (Some(before), Some(after)) = (before.process(), after.process()) {
        process(before, after);
    }
    let readonly = |spec: &Spec| {
        spec.root()
            .as_ref()
            .is_some_and(|r| r.readonly() == Some(true))
    };
    assert!(
        !readonly(before) || readonly(after),
        "root.readonly is gone"
    );
    let linux = |spec: &Spec| spec.linux().clone().unwrap_or_default();
    let (one, two) = (linux(before), linux(after));
    for (name, one, two) in [
        ("maskedPaths", one.masked_paths(), two.masked_paths()),
        ("readonlyPaths", one.readonly_paths(), two.readonly_paths()),
    ] {
        let set = |list: &Option<Vec<String>>| -> BTreeSet<String> {
            list.iter().flatten().cloned().collect()
        };
        assert!(
            set(one).is_subset(&set(two)),
            "{name}: {one:?} became {two:?}"
        );
    }
    let namespaces = |linux: &gl_spec::oci::Linux| linux.namespaces().clone().unwrap_or_default();
    for namespace in namespaces(&one) {
        // A profile without a network takes a new one for the one that the engine names.
        let is_kept = |other: &LinuxNamespace| {
            *other == namespace || (is_network(&namespace) && is_network(other) && is_new(other))
        };
        assert!(
            namespaces(&two).iter().any(is_kept),
            "{namespace:?} is gone of {:?}",
            namespaces(&two)
        );
    }
    assert_eq!(one.uid_mappings(), two.uid_mappings());
    assert_eq!(one.devices(), two.devices());
    let none = LinuxResources::default();
    resources(
        one.resources().as_ref().unwrap_or(&none),
        two.resources().as_ref().unwrap_or(&none),
    );
    mounts(before, after);
}

fn is_network(namespace: &LinuxNamespace) -> bool {
    namespace.typ() == LinuxNamespaceType::Network
}

fn is_new(namespace: &LinuxNamespace) -> bool {
    namespace.path().is_none()
}

fn process(before: &Process, after: &Process) {
    let on = |process: &Process| process.no_new_privileges() == Some(true);
    assert!(!on(before) || on(after), "noNewPrivileges is gone");
    let none = LinuxCapabilities::default();
    let all = |process: &Process| process.capabilities().clone().unwrap_or(none.clone());
    let (one, two) = (all(before), all(after));
    for (name, one, two) in [
        ("bounding", one.bounding(), two.bounding()),
        ("effective", one.effective(), two.effective()),
        ("permitted", one.permitted(), two.permitted()),
        ("inheritable", one.inheritable(), two.inheritable()),
        ("ambient", one.ambient(), two.ambient()),
    ] {
        let (one, two) = (
            one.clone().unwrap_or_default(),
            two.clone().unwrap_or_default(),
        );
        assert!(two.is_subset(&one), "{name}: {one:?} became {two:?}");
    }
    let empty = Vec::new();
    for one in before.rlimits().as_ref().unwrap_or(&empty) {
        let mut found = after.rlimits().iter().flatten();
        let found = found.find(|two| two.typ() == one.typ());
        let two = found.unwrap_or_else(|| panic!("{one:?} is gone"));
        assert!(
            two.hard() <= one.hard() && two.soft() <= one.soft(),
            "{one:?} became {two:?}"
        );
    }
    assert_eq!(before.user(), after.user());
    assert_eq!(before.args(), after.args());
    for (before, after) in [
        (before.selinux_label(), after.selinux_label()),
        (before.apparmor_profile(), after.apparmor_profile()),
    ] {
        assert!(before.is_none() || after.is_some(), "{before:?} is gone");
    }
}

/// A limit that is set, none for those that say "unlimited".
fn bound(limit: Option<i64>) -> i64 {
    limit.filter(|limit| *limit > 0).unwrap_or(i64::MAX)
}

fn resources(before: &LinuxResources, after: &LinuxResources) {
    let memory = |all: &LinuxResources| bound(all.memory().as_ref().and_then(|m| m.limit()));
    assert!(memory(after) <= memory(before), "memory.limit rose");
    let pids = |all: &LinuxResources| bound(all.pids().as_ref().map(|pids| pids.limit()));
    assert!(pids(after) <= pids(before), "pids.limit rose");
    assert_eq!(before.devices(), after.devices());
    let share = |all: &LinuxResources| {
        let cpu = all.cpu().clone().unwrap_or_default();
        let quota = cpu.quota().filter(|quota| *quota > 0)?;
        let period = cpu.period().filter(|period| *period > 0).unwrap_or(100_000);
        Some(i128::from(quota) * 1_000_000 / i128::from(period))
    };
    if let Some(limit) = share(before) {
        // Rounded to microseconds of a period.
        let now = share(after).unwrap_or(i128::MAX);
        assert!(
            now <= limit + 1_000,
            "the share of the processors rose from {limit} to {now}"
        );
    }
}

/// No mount of the config is lost, moved or given a right that it lacked.
fn mounts(before: &Spec, after: &Spec) {
    let none = Vec::new();
    let two = after.mounts().as_ref().unwrap_or(&none);
    let words = |mount: &gl_spec::oci::Mount| -> BTreeSet<String> {
        mount.options().iter().flatten().cloned().collect()
    };
    let mut rest = two.iter();
    for one in before.mounts().as_ref().unwrap_or(&none) {
        let kept = rest.find(|two| {
            let same = one.source() == two.source() && one.typ() == two.typ();
            // Podman's own becomes one that a quota holds for.
            let is_shm =
                one.destination() == Path::new("/dev/shm") && two.typ().as_deref() == Some("tmpfs");
            one.destination() == two.destination() && (same || is_shm)
        });
        let kept = kept.unwrap_or_else(|| panic!("{one:?} is gone of {two:?}"));
        for word in ["ro", "rro", "nosuid", "nodev", "noexec"] {
            let had = words(one).contains(word);
            assert!(!had || words(kept).contains(word), "{one:?} lost {word}");
        }
    }
}
