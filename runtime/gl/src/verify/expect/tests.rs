use gl_profile::{Options, Profile};
use gl_sandbox::{Applied, Layer};

use super::{Facts, Must};
use crate::probe;

fn profile(name: &'static str, options: &[(&'static str, &str)]) -> Profile {
    let mut all = Options::default();
    for (option, value) in options {
        all.push(option, (*value).to_owned());
    }
    all.resolve(None, name, &()).unwrap().0
}

fn facts(profile: &Profile) -> Facts<'_> {
    let mut facts = Facts::new(profile).unwrap();
    facts.is_root = true;
    facts.bait = "/var/tmp/bait".into();
    facts.home = "/home/somebody".into();
    facts.host_name = "host".to_owned();
    facts
}

/// `deny`, `work` or `open`, and why.
fn must(facts: &Facts<'_>, name: &str) -> (&'static str, String) {
    let probe = probe::all().find(|probe| probe.name == name).unwrap();
    match facts.must(probe.walls, probe.otherwise) {
        Must::Deny(why) => ("deny", why),
        Must::Work(why) => ("work", why),
        Must::NotPromised(why) => ("open", why),
    }
}

#[track_caller]
fn assert_musts(facts: &Facts<'_>, rows: &[(&str, &str)]) {
    for (name, want) in rows {
        let (word, why) = must(facts, name);
        assert_eq!(word, *want, "{name}: {why}");
    }
}

#[test]
fn every_probe_has_a_name_of_its_own() {
    let mut names: Vec<_> = probe::all().map(|probe| probe.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn compute_only_denies_processes_and_sockets_and_lets_threads_be() {
    let profile = profile("compute_only", &[]);
    assert_musts(
        &facts(&profile),
        &[
            ("process", "deny"),
            ("some_threads", "work"),
            ("socket_pair", "deny"),
            ("own_loopback", "deny"),
            ("temporary_file", "work"),
            ("temporary_link", "deny"),
            ("mount", "deny"),
            ("call_32", "deny"),
            ("read_secret", "deny"),
            ("file_size", "open"),
        ],
    );
}

#[test]
fn network_that_is_allowed_has_to_work() {
    let closed = profile("default", &[]);
    let open = profile("default", &[("--net", "on")]);
    assert_musts(
        &facts(&closed),
        &[("host_loopback", "deny"), ("own_loopback", "work")],
    );
    assert_musts(
        &facts(&open),
        &[
            ("host_loopback", "work"),
            ("interfaces", "open"),
            ("packets", "deny"),
            ("metadata", "deny"),
        ],
    );
}

#[test]
fn paths_that_are_shown_are_expected_and_only_as_they_are() {
    let shown = profile("default", &[("--ro", "/var/tmp"), ("--rw", "/var/log")]);
    assert_musts(
        &facts(&shown),
        &[
            ("read_secret", "work"),
            ("write_shared", "deny"),
            ("list_logs", "open"),
            ("make_in_var", "deny"),
            ("list_home", "deny"),
        ],
    );
    let hidden = profile(
        "default",
        &[("--ro", "/var/tmp"), ("--hide", "/var/tmp/bait")],
    );
    assert_musts(&facts(&hidden), &[("read_secret", "deny")]);
}

#[test]
fn what_a_tier_does_not_promise_is_open() {
    let basic = profile("default", &[("--tier", "basic")]);
    assert_musts(
        &facts(&basic),
        &[
            ("see_host_name", "open"),
            ("cpus_of_process", "open"),
            ("shared_memory_file", "open"),
            ("attach_segment", "deny"),
            ("read_secret", "deny"),
        ],
    );
    let gvisor = profile("default", &[("--tier", "gvisor")]);
    assert_musts(
        &facts(&gvisor),
        &[("fuse_device", "open"), ("disk", "deny"), ("mount", "deny")],
    );
}

fn layer(requested: &str, applied: Applied, how: &str) -> Layer {
    Layer {
        layer: "landlock".to_owned(),
        requested: requested.to_owned(),
        origin: String::new(),
        applied,
        how: how.to_owned(),
    }
}

#[test]
fn what_a_report_gives_up_is_no_promise() {
    let basic = profile("default", &[("--tier", "basic")]);
    let mut facts = facts(&basic);
    let shown = || layer("filesystem.read_only_paths", Applied::Yes, "");
    let open = |why: &str| ("open", why.to_owned());
    // An old Landlock, which holds some of it; the tier was set by an option.
    facts.told(vec![
        layer("filesystem.read_only_paths", Applied::No, "no truncate"),
        shown(),
        layer("--tier", Applied::Yes, "tracing"),
        layer("--tier", Applied::No, "no signals"),
    ]);
    assert_eq!(must(&facts, "signal_process"), open("no signals"));
    assert_musts(&facts, &[("see_process", "deny"), ("read_secret", "deny")]);
    // None at all.
    facts.told(vec![layer("level", Applied::No, "no Landlock")]);
    for name in ["signal_process", "see_process", "read_secret", "disk"] {
        assert_eq!(must(&facts, name), open("no Landlock"), "{name}");
    }
    assert_musts(&facts, &[("mount", "deny"), ("attach_segment", "deny")]);
    let limited = profile("default", &[("--memory", "64MiB")]);
    let mut facts = self::facts(&limited);
    facts.told(vec![layer("--memory", Applied::No, "no cgroup")]);
    assert_eq!(must(&facts, "memory"), open("no cgroup"));
}

#[test]
fn permissive_mode_promises_what_is_no_filter() {
    let profile = profile("compute_only", &[("--mode", "permissive")]);
    assert_musts(
        &facts(&profile),
        &[
            ("process", "work"),
            ("mount", "deny"),
            ("perf_counter", "open"),
            ("read_secret", "deny"),
            ("call_32", "open"),
        ],
    );
}
