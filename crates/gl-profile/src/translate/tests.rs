//! Whatever the config and the profile: the container never gets more than the config alone gives it.

use std::collections::BTreeSet;

use gl_spec::oci::{LinuxMemory, LinuxPids, Spec};
use gl_spec::{Capacity, Extras, Isolated, Rootless};

use super::{Controllers, Disk, Effect, Gvisor, Host, Processes, Users, tighten};
use crate::node::Format;
use crate::{Layer, Profile};

mod gvisor;

const HOST: Host = Host {
    landlock_abi: Some(7),
    apparmor: true,
    selinux: false,
    cgroup: Some(Controllers::ALL),
    processes: Processes::Own,
    gvisor: Gvisor::Available,
    users: Users::Shared,
    capacity: Capacity::UNKNOWN,
    disk: Disk::Available,
};

fn profile(text: &str) -> Profile {
    let text = format!("version = 1\nname = \"t\"\n{text}");
    Profile::resolve(Layer::parse("t.toml", &text, Format::Toml).unwrap(), &()).unwrap()
}

fn spec() -> Spec {
    gl_spec::default_spec(Rootless::No)
}

#[test]
fn limit_over_the_hosts_is_refused_and_a_levels_is_not() {
    let host = Host {
        capacity: Capacity {
            memory: 100 << 20,
            processors: 2,
            tasks: 500,
            files: 2000,
        },
        ..HOST
    };
    let tried = |text: &str| {
        let (mut spec, mut extras) = (spec(), Extras::default());
        tighten(&profile(text), &mut spec, &mut extras, &host, "id").map(drop)
    };
    // 512 MiB are a preset.
    assert_eq!(tried(""), Ok(()));
    for (line, fits) in [
        ("memory_limit_bytes = \"100MiB\"", true),
        ("memory_limit_bytes = 104857601", false),
        ("cpu_percent_limit = 200", true),
        ("cpu_percent_limit = 201", false),
        ("max_open_files = 2000", true),
        ("max_open_files = 2001", false),
        ("max_threads = 500", true),
        ("max_threads = 501", false),
        ("max_threads = 500\nmax_processes = 500", true),
    ] {
        let key = line.split(' ').next().unwrap();
        match tried(&format!("on_missing = \"degrade\"\n[limits]\n{line}\n")) {
            Ok(()) => assert!(fits, "{line}"),
            Err(err) => {
                assert!(!fits, "{line}: {err}");
                assert_eq!(err.place.key, format!("limits.{key}"), "{err}");
                assert_eq!(err.place.line, 5, "{err}");
            }
        }
    }
}

fn tightened(profile: &Profile, mut spec: Spec) -> (Spec, Extras) {
    let mut extras = Extras::default();
    tighten(profile, &mut spec, &mut extras, &HOST, "id").unwrap();
    (spec, extras)
}

/// A stream of numbers that is the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| make(self))
    }
}

fn any_spec(numbers: &mut Numbers) -> Spec {
    let mut spec = spec();
    let linux = spec.linux_mut().as_mut().unwrap();
    let resources = linux.resources_mut().get_or_insert_default();
    let mut memory = LinuxMemory::default();
    memory.set_limit(numbers.maybe(|n| i64::try_from(n.below(1 << 31)).unwrap() - 1));
    memory.set_swap(numbers.maybe(|n| i64::try_from(n.below(1 << 32)).unwrap() - 1));
    resources.set_memory(Some(memory));
    resources.set_pids(numbers.maybe(|n| {
        let mut pids = LinuxPids::default();
        pids.set_limit(i64::try_from(n.below(200)).unwrap() - 1);
        pids
    }));
    if numbers.below(2) == 0 {
        let cpu = resources.cpu_mut().get_or_insert_default();
        cpu.set_quota(numbers.maybe(|n| i64::try_from(n.below(300_000)).unwrap() - 1));
        cpu.set_period(numbers.maybe(|n| 1000 + n.below(200_000)));
    }
    linux.set_masked_paths(numbers.maybe(|_| vec!["/proc/kcore".to_owned(), "/a".to_owned()]));
    let root = spec.root_mut().as_mut().unwrap();
    root.set_readonly(Some(numbers.below(2) == 0));
    spec
}

fn any_profile(numbers: &mut Numbers) -> Profile {
    let tasks = 1 + numbers.below(100);
    let mut text = format!(
        "[limits]\nmemory_limit_bytes = {}\nmax_threads = {tasks}\nmax_processes = {}\nmax_open_files = {}\n",
        1 + numbers.below(1 << 31),
        1 + numbers.below(tasks),
        1 + numbers.below(5000),
    );
    if numbers.below(2) == 0 {
        text += &format!("cpu_percent_limit = {}\n", 1 + numbers.below(300));
    }
    text += "[filesystem]\n";
    if numbers.below(2) == 0 {
        text += "blocked_paths = [\"/a\", \"/b\"]\n";
    }
    if numbers.below(2) == 0 {
        text += "readonly_root = false\n";
    }
    if numbers.below(2) == 0 {
        text += "[process]\ncapabilities = [\"CAP_CHOWN\"]\n";
    }
    if numbers.below(2) == 0 {
        text += "[network]\nallow_network = true\n";
    }
    profile(&text)
}

/// A limit as a number of which less is stricter.
fn bound(limit: Option<i64>) -> i64 {
    limit.filter(|limit| *limit > 0).unwrap_or(i64::MAX)
}

struct Limits {
    memory: i64,
    swap: i64,
    tasks: i64,
    /// Millionths of a CPU.
    cpu: i64,
    readonly: bool,
    masked: BTreeSet<String>,
}

fn limits(spec: &Spec) -> Limits {
    let linux = spec.linux().as_ref().unwrap();
    let resources = linux.resources().as_ref().unwrap();
    let memory = resources.memory().as_ref();
    let cpu = resources.cpu().as_ref();
    let quota = bound(cpu.and_then(|cpu| cpu.quota()));
    let period = cpu
        .and_then(|cpu| cpu.period())
        .filter(|period| *period > 0);
    let period = i64::try_from(period.unwrap_or(100_000)).unwrap();
    Limits {
        memory: bound(memory.and_then(|memory| memory.limit())),
        swap: bound(memory.and_then(|memory| memory.swap())),
        tasks: bound(resources.pids().as_ref().map(LinuxPids::limit)),
        cpu: quota
            .checked_mul(1_000_000)
            .map_or(i64::MAX, |quota| quota / period),
        readonly: spec.root().as_ref().unwrap().readonly().unwrap_or(false),
        masked: linux.masked_paths().iter().flatten().cloned().collect(),
    }
}

#[test]
fn no_config_is_loosened_by_any_profile() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..1000 {
        let (before, profile) = (any_spec(&mut numbers), any_profile(&mut numbers));
        let (after, extras) = tightened(&profile, before.clone());
        let (was, is) = (limits(&before), limits(&after));
        assert!(
            is.memory <= was.memory,
            "memory, round {round}: {} > {}",
            is.memory,
            was.memory
        );
        // What the kernel had allowed in all, if the swap was not limited.
        assert!(
            is.swap <= was.swap,
            "swap, round {round}: {} > {}",
            is.swap,
            was.swap
        );
        assert!(
            is.tasks <= was.tasks,
            "tasks, round {round}: {} > {}",
            is.tasks,
            was.tasks
        );
        assert!(
            is.cpu <= was.cpu,
            "CPU, round {round}: {} > {}",
            is.cpu,
            was.cpu
        );
        assert!(
            is.readonly || !was.readonly,
            "read-only root, round {round}"
        );
        assert!(is.masked.is_superset(&was.masked), "masks, round {round}");
        let share = profile
            .limits
            .cpu_percent_limit
            .as_ref()
            .map(|line| i64::from(line.value.0));
        assert!(
            share.is_none_or(|share| is.cpu <= share * 10_000),
            "CPU, round {round}: {}",
            is.cpu
        );
        let most = i64::try_from(profile.limits.memory_limit_bytes.value.0).unwrap();
        assert!(
            is.memory <= most && extras.resources.memory == Some(most),
            "round {round}"
        );
        assert_eq!(before.process(), after.process(), "round {round}");
    }
}

#[test]
fn second_profile_never_loosens_the_first() {
    let mut numbers = Numbers(7);
    for round in 0..500 {
        let (first, second) = (any_profile(&mut numbers), any_profile(&mut numbers));
        let (mut spec, mut extras) = tightened(&first, any_spec(&mut numbers));
        let (was, bounds) = (limits(&spec), extras.clone());
        tighten(&second, &mut spec, &mut extras, &HOST, "id").unwrap();
        let is = limits(&spec);
        assert!(
            is.memory <= was.memory && is.tasks <= was.tasks && is.cpu <= was.cpu,
            "round {round}"
        );
        assert!(is.masked.is_superset(&was.masked), "round {round}");
        assert!(
            extras.resources.memory <= bounds.resources.memory,
            "round {round}"
        );
        assert!(
            extras.execution_timeout_ms <= bounds.execution_timeout_ms,
            "round {round}"
        );
        let kept = |extras: &Extras| extras.process.capabilities.unwrap_or(u64::MAX);
        assert_eq!(
            kept(&extras) & !kept(&bounds),
            0,
            "capabilities, round {round}"
        );
        assert!(
            extras.landlock.starts_with(&bounds.landlock),
            "round {round}"
        );
        assert!(
            extras.process.rlimits.starts_with(&bounds.process.rlimits),
            "round {round}"
        );
        assert!(
            bounds.network.is_none() || extras.network.is_some(),
            "network, round {round}"
        );
    }
}

#[test]
fn no_loopback_stays_though_the_second_profile_has_it() {
    let dark = profile("[network]\nallow_network = false\nallow_loopback = false\n");
    let lit = profile("[network]\nallow_network = false\nallow_loopback = true\n");
    for order in [[&dark, &lit], [&lit, &dark]] {
        let (mut spec, mut extras) = tightened(order[0], spec());
        tighten(order[1], &mut spec, &mut extras, &HOST, "id").unwrap();
        assert_eq!(extras.network, Some(Isolated::Nothing));
    }
}

#[test]
fn landlock_asks_only_for_what_the_kernel_knows() {
    let profile = profile("[filesystem]\nread_write_paths = [\"/data\"]\n");
    for (abi, want) in [
        (1, 0b1_1111_1111_0010),
        (2, 0b11_1111_1111_0010),
        (3, 0b111_1111_1111_0010),
    ] {
        let host = Host {
            landlock_abi: Some(abi),
            ..HOST
        };
        let mut extras = Extras::default();
        tighten(&profile, &mut spec(), &mut extras, &host, "id").unwrap();
        assert_eq!(extras.landlock[0].filesystem, want, "ABI {abi}");
    }
}

#[test]
fn missing_layer_is_refused_or_said() {
    let text = "[filesystem]\nread_write_paths = [\"/data\"]\n";
    let host = Host {
        landlock_abi: None,
        ..HOST
    };
    let mut extras = Extras::default();
    let strict = profile(text);
    let err = tighten(&strict, &mut spec(), &mut extras, &host, "id").unwrap_err();
    assert_eq!(
        err.to_string(),
        "enforce t.toml:4: filesystem.read_write_paths: the kernel has no Landlock"
    );
    let loose = profile(&format!("on_missing = \"degrade\"\n{text}"));
    let steps = tighten(&loose, &mut spec(), &mut extras, &host, "id").unwrap();
    let lost: Vec<_> = steps
        .iter()
        .filter(|step| matches!(step.effect, Effect::Degraded(_)))
        .map(|step| (step.key.as_str(), step.layer))
        .collect();
    assert_eq!(lost, [("filesystem.read_write_paths", "landlock")]);
}

#[test]
fn every_built_in_profile_becomes_a_container() {
    for name in crate::builtin::names() {
        let profile = Profile::resolve(name, &()).unwrap();
        let mut extras = Extras::default();
        let steps = tighten(&profile, &mut spec(), &mut extras, &HOST, "id");
        assert!(steps.is_ok_and(|steps| !steps.is_empty()), "{name}");
        assert_eq!(extras.profiles[0].name, name);
    }
}

#[test]
fn tasks_of_an_own_user_namespace_are_limited_by_user_as_well() {
    let profile = profile("[limits]\nmax_threads = 40\nmax_processes = 40\n");
    let limit = |spec: Spec| {
        let (_, extras) = tightened(&profile, spec);
        let limits = extras.process.rlimits.iter();
        limits
            .filter(|bound| bound.resource == 6)
            .map(|bound| bound.max)
            .collect::<Vec<_>>()
    };
    assert_eq!(limit(spec()), [0; 0], "the users are the host's");
    assert_eq!(
        limit(gl_spec::default_spec(Rootless::Yes {
            uid: 1000,
            gid: 1000
        })),
        [80],
        "wider than the cgroup, which counts what it refuses"
    );
}

#[test]
fn files_of_the_cgroup_cannot_say_something_else() {
    let mut spec = spec();
    let linux = spec.linux_mut().as_mut().unwrap();
    let files = [("pids.max".to_owned(), "max".to_owned())].into();
    linux
        .resources_mut()
        .get_or_insert_default()
        .set_unified(Some(files));
    let err = tighten(&profile(""), &mut spec, &mut Extras::default(), &HOST, "id").unwrap_err();
    let said = err.to_string();
    assert!(
        said.ends_with("the config sets pids.max in linux.resources.unified"),
        "{said}"
    );
}

#[test]
fn cgroups_are_shown_read_only_where_root_is_the_hosts() {
    for (namespaces, mappings, want) in [
        ("", "", true),
        (
            r#",{"type":"user"}"#,
            r#"{"containerID":0,"hostID":7,"size":9}"#,
            false,
        ),
        (
            r#",{"type":"user"}"#,
            r#"{"containerID":0,"hostID":0,"size":9}"#,
            true,
        ),
    ] {
        let text = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},
                "mounts":[{{"destination":"/c","type":"cgroup","source":"c","options":["rro","rw"]}}],
                "linux":{{"namespaces":[{{"type":"pid"}}{namespaces}],"uidMappings":[{mappings}]}}}}"#
        );
        let spec = gl_spec::load(text.as_bytes()).unwrap().spec;
        let (spec, _) = tightened(&profile(""), spec);
        let mount = &spec.mounts().as_deref().unwrap()[0];
        assert_eq!(!super::mounts::is_writable(mount), want, "{text}");
    }
}

#[test]
fn process_that_watches_must_be_out_of_reach() {
    let host = Host {
        processes: Processes::Hosts,
        apparmor: false,
        landlock_abi: Some(5),
        ..HOST
    };
    let try_on = |host: &Host, text: &str| {
        let mut extras = Extras::default();
        let done = tighten(&profile(text), &mut spec(), &mut extras, host, "id");
        done.map(|_| extras).map_err(|err| err.to_string())
    };
    let said = try_on(&host, "").unwrap_err();
    let want = "the container sees the host's processes, and could end the one that watches it";
    assert!(said.ends_with(want), "{said}");
    assert!(try_on(&host, "on_missing = \"degrade\"\n").is_ok());
    let scopes = Host {
        landlock_abi: Some(6),
        ..host
    };
    let scoped: Vec<_> = try_on(&scopes, "").unwrap().landlock;
    assert!(scoped.iter().any(|one| one.scoped & 2 != 0), "{scoped:?}");
    let said = try_on(&scopes, "mode = \"permissive\"\n").unwrap_err();
    assert!(said.ends_with(want), "{said}");
}

#[test]
fn floor_that_was_also_chosen_counts_once() {
    let mut extras = Extras::default();
    for _ in 0..2 {
        tighten(&profile(""), &mut spec(), &mut extras, &HOST, "id").unwrap();
    }
    assert_eq!(extras.process.apparmor, [":greenlang-sandbox-id:t"]);
    assert_eq!(extras.apparmor.len(), 1);
}

#[test]
fn quota_of_the_cpu_leaves_no_real_time() {
    let (_, extras) = tightened(&profile("[limits]\ncpu_percent_limit = 50\n"), spec());
    assert_eq!(extras.process.capabilities.unwrap() & 1 << 23, 0);
    let limits = &extras.process.rlimits;
    assert!(
        limits.iter().any(|one| (one.resource, one.max) == (14, 0)),
        "{limits:?}"
    );
}

#[test]
fn quota_takes_what_podman_binds_for_its_own() {
    let mut spec = spec();
    let bind = |destination: &str| {
        let mut mount = gl_spec::oci::Mount::default();
        mount
            .set_destination(destination.into())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some("/host".into()))
            .set_options(Some(["bind", "rw", "noexec"].map(str::to_owned).to_vec()));
        mount
    };
    let mounts = spec.mounts_mut().get_or_insert_default();
    mounts.retain(|mount| mount.destination() != std::path::Path::new("/dev/shm"));
    mounts.extend(["/dev/shm", "/run/.containerenv"].map(bind));
    let profile = profile("[limits]\ndisk_quota_bytes = \"2MiB\"\n");
    let (spec, _) = tightened(&profile, spec);
    let seen: Vec<_> = spec.mounts().iter().flatten().rev().take(2).collect();
    let options = |at: usize| seen[at].options().clone().unwrap_or_default().join(",");
    let engines = super::mounts::is_writable(seen[0]);
    assert!(!engines, "the engine's file: {}", options(0));
    assert_eq!(seen[1].typ().as_deref(), Some("tmpfs"), "{seen:?}");
    // Half of it: /dev is the other tmpfs.
    assert_eq!(options(1), "nosuid,nodev,mode=1777,noexec,size=1048576");
}

/// The bounds of resource limits, by their numbers.
fn rlimits(extras: &Extras) -> Vec<(u32, u64)> {
    let all = extras.process.rlimits.iter();
    all.map(|bound| (bound.resource, bound.max)).collect()
}

const LIMITED: &str = "[limits]\nmemory_limit_bytes = 4096\nmax_threads = 40\nmax_processes = 30\ncpu_percent_limit = 50\ncpu_time_limit_seconds = 9\n";

#[test]
fn without_a_cgroup_each_limit_of_it_is_refused_by_name() {
    let host = Host {
        cgroup: None,
        ..HOST
    };
    let text = format!("on_missing = \"refuse\"\n{LIMITED}");
    let err = tighten(
        &profile(&text),
        &mut spec(),
        &mut Extras::default(),
        &host,
        "id",
    )
    .unwrap_err();
    assert_eq!(
        err.to_string(),
        "enforce t.toml:9: limits.cpu_time_limit_seconds: the container can have no cgroup"
    );
    assert!(err.remedy.contains("--systemd-cgroup"), "{}", err.remedy);
    for (controllers, key) in [
        (
            Controllers {
                memory: false,
                ..Controllers::ALL
            },
            "limits.memory_limit_bytes",
        ),
        (
            Controllers {
                tasks: false,
                ..Controllers::ALL
            },
            "limits.max_threads",
        ),
        (
            Controllers {
                cpu: false,
                ..Controllers::ALL
            },
            "limits.cpu_percent_limit",
        ),
    ] {
        let host = Host {
            cgroup: Some(controllers),
            ..HOST
        };
        let mut extras = Extras::default();
        let err = tighten(&profile(&text), &mut spec(), &mut extras, &host, "id").unwrap_err();
        assert_eq!(err.place.key, key);
        let said = err.to_string();
        let want = "the container's cgroup does not have the controller for it";
        assert!(said.ends_with(want), "{said}");
    }
}

#[test]
fn without_a_cgroup_a_degrading_profile_falls_back_and_says_so() {
    let profile = profile(&format!("on_missing = \"degrade\"\n{LIMITED}"));
    for (users, tasks, bounds) in [
        (
            Users::Own,
            "RLIMIT_NPROC 40, for each user of the container",
            &[(0, 9), (9, 4096), (6, 40)][..],
        ),
        (Users::Shared, "", &[(0, 9), (9, 4096)]),
    ] {
        let host = Host {
            cgroup: None,
            users,
            ..HOST
        };
        let mut spec = spec();
        let before = spec.clone();
        let mut extras = Extras::default();
        tighten(&profile, &mut spec, &mut extras, &host, "id").unwrap();
        let lost = extras.lost.iter();
        let lost: Vec<_> = lost
            .map(|one| (one.key.as_str(), one.instead.as_str()))
            .collect();
        assert_eq!(
            lost,
            [
                (
                    "limits.cpu_time_limit_seconds",
                    "RLIMIT_CPU 9, for each process alone"
                ),
                (
                    "limits.memory_limit_bytes",
                    "RLIMIT_AS 4096, for each process alone"
                ),
                ("limits.max_threads", tasks),
                ("limits.cpu_percent_limit", ""),
            ],
            "{users:?}"
        );
        let set = rlimits(&extras);
        assert!(
            bounds.iter().all(|bound| set.contains(bound)),
            "{users:?}: {set:?}"
        );
        assert_eq!(
            set.iter().filter(|(kind, _)| *kind == 6).count(),
            bounds.len() - 2
        );
        assert_eq!(
            extras.max_processes,
            Some(30),
            "counted in the pid namespace"
        );
        assert_eq!(extras.cpu_time_ms, None, "{users:?}");
        let asked = |spec: &Spec| spec.linux().as_ref().unwrap().resources().clone();
        assert_eq!(asked(&spec), asked(&before), "limits of a cgroup");
    }
}

#[test]
fn processes_that_nothing_finds_are_not_counted() {
    let host = Host {
        cgroup: None,
        processes: Processes::Shared,
        ..HOST
    };
    let strict = profile("on_missing = \"refuse\"\n");
    let err = tighten(&strict, &mut spec(), &mut Extras::default(), &host, "id").unwrap_err();
    assert_eq!(err.place.key, "execution_timeout");
    let mut extras = Extras::default();
    let loose = profile("on_missing = \"degrade\"\n");
    tighten(&loose, &mut spec(), &mut extras, &host, "id").unwrap();
    assert_eq!(extras.max_processes, None);
    assert!(
        extras
            .lost
            .iter()
            .any(|one| one.key == "limits.max_processes")
    );
}
