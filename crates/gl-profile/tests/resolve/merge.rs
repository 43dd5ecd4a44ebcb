//! Which layer a value comes from.

use std::time::Duration;

use gl_profile::{
    Bytes, Count, Isolation, Level, Mode, OnMissing, Profile, SourceKind, environment,
};

use crate::{Files, at, items, one};

#[test]
fn profile_that_says_nothing_has_the_presets_of_standard() {
    let profile = one("").unwrap();
    assert_eq!(profile.level.value, Level::Standard);
    assert_eq!(profile.isolation.value, Isolation::Namespace);
    assert_eq!(profile.mode.value, Mode::Enforcing);
    assert_eq!(profile.on_missing.value, OnMissing::Refuse);
    assert_eq!(profile.limits.memory_limit_bytes.value, Bytes(512 << 20));
    assert!(!profile.network.allow_network.value);
    assert!(profile.network.allow_loopback.value);
    assert_eq!(
        profile.limits.memory_limit_bytes.origin.kind,
        SourceKind::Level
    );
    assert_eq!(profile.seccomp.default, None);
    let sources: Vec<_> = profile.sources.iter().map(AsRef::as_ref).collect();
    assert_eq!(sources, ["level standard", "p.toml"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn levels_preset_the_table_of_the_vocabulary() {
    for (level, isolation, mode, on_missing, network, numbers, hidden) in [
        (
            "lenient",
            Isolation::Basic,
            Mode::Permissive,
            OnMissing::Degrade,
            (true, true),
            [2048, 4096, 64, 128, 3600, 3600],
            3,
        ),
        (
            "standard",
            Isolation::Namespace,
            Mode::Enforcing,
            OnMissing::Refuse,
            (false, true),
            [512, 1024, 16, 32, 300, 300],
            3,
        ),
        (
            "moderate",
            Isolation::Namespace,
            Mode::Enforcing,
            OnMissing::Refuse,
            (false, true),
            [512, 1024, 16, 32, 300, 300],
            3,
        ),
        (
            "high",
            Isolation::Namespace,
            Mode::Enforcing,
            OnMissing::Refuse,
            (false, true),
            [512, 1024, 16, 32, 300, 300],
            3,
        ),
        (
            "maximum",
            Isolation::Container,
            Mode::Enforcing,
            OnMissing::Refuse,
            (false, false),
            [256, 512, 8, 16, 60, 60],
            7,
        ),
        (
            "strict",
            Isolation::Container,
            Mode::Enforcing,
            OnMissing::Refuse,
            (false, false),
            [256, 512, 8, 16, 60, 60],
            7,
        ),
    ] {
        // As the level of a profile, and as a profile.
        for profile in [
            one(&format!("level = \"{level}\"")).unwrap(),
            Profile::resolve(level, &()).unwrap(),
        ] {
            assert_eq!(profile.isolation.value, isolation, "{level}");
            assert_eq!(profile.mode.value, mode, "{level}");
            assert_eq!(profile.on_missing.value, on_missing, "{level}");
            let switches = (
                profile.network.allow_network.value,
                profile.network.allow_loopback.value,
            );
            assert_eq!(switches, network, "{level}");
            let limits = &profile.limits;
            let got = [
                limits.memory_limit_bytes.value.0 >> 20,
                limits.max_open_files.value.0.into(),
                limits.max_processes.value.0.into(),
                limits.max_threads.value.0.into(),
                limits.cpu_time_limit_seconds.value.as_secs(),
                profile.execution_timeout.value.as_secs(),
            ];
            assert_eq!(got, numbers, "{level}");
            assert_eq!(profile.filesystem.blocked_paths.len(), hidden, "{level}");
            assert_eq!(profile.network.blocked_hosts.len(), 5, "{level}");
        }
    }
}

#[test]
fn level_fills_what_is_open_and_a_value_wins() {
    let profile = one("level = \"strict\"\n[limits]\nmax_open_files = 7").unwrap();
    assert_eq!(
        at(&profile.limits.max_open_files),
        (Count(7), "p.toml:5".to_owned())
    );
    assert_eq!(
        profile.limits.max_open_files.origin.key,
        "limits.max_open_files"
    );
    assert_eq!(profile.limits.max_threads.value, Count(16));
    assert_eq!(at(&profile.level), (Level::Maximum, "p.toml:3".to_owned()));
}

#[test]
fn later_profile_wins_and_each_counts_once() {
    let files = Files::new(&[
        (
            "base",
            "setup_timeout = 1\nexecution_timeout = 1\n[limits]\nmax_threads = 100",
        ),
        (
            "left",
            "extends = [\"base\"]\nexecution_timeout = 2\n[limits]\nmax_threads = 200",
        ),
        ("right", "extends = [\"base\"]\nexecution_timeout = 3"),
        ("p", "extends = [\"left\", \"right\"]\n"),
    ]);
    let profile = Profile::resolve("p", &files).unwrap();
    let second = Duration::from_secs;
    assert_eq!(
        at(profile.setup_timeout.as_ref().unwrap()),
        (second(1), "base.toml:3".to_owned())
    );
    assert_eq!(
        at(&profile.execution_timeout),
        (second(3), "right.toml:4".to_owned())
    );
    // `right` extends `base` too, which does not set back what `left` says.
    assert_eq!(
        at(&profile.limits.max_threads),
        (Count(200), "left.toml:6".to_owned())
    );
    let sources: Vec<_> = profile.sources.iter().map(AsRef::as_ref).collect();
    assert_eq!(
        sources,
        [
            "level standard",
            "base.toml",
            "left.toml",
            "right.toml",
            "p.toml"
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn lists_add_up_or_are_replaced() {
    let base = r#"
[network]
allow_network = true
allowed_hosts = ["a.example", "b.example"]
allowed_ports = [80, "8000-8100"]
blocked_hosts = ["x.example"]
dns_servers = ["10.0.0.1"]
custom_iptables_rules = ["-A OUTPUT -j DROP"]
[filesystem]
read_only_paths = ["/a"]
read_write_paths = ["/b"]
blocked_paths = ["/c"]
mask_paths = ["/d"]
bind_mounts = [{ source = "/e", target = "/f" }]
[process]
capabilities = ["CAP_KILL"]
[seccomp]
groups = ["memory"]
deny_groups = ["mounts"]
allow = ["read"]
deny = ["write"]
"#;
    let own = r#"
extends = ["base"]
[network]
allowed_hosts = ["c.example"]
allowed_ports = []
blocked_hosts = ["x.example", "y.example"]
dns_servers = ["::1"]
custom_iptables_rules = ["-A INPUT -j DROP"]
[filesystem]
read_only_paths = ["/a2"]
read_write_paths = ["/b2"]
blocked_paths = ["/c2"]
mask_paths = ["/d2"]
bind_mounts = []
[process]
capabilities = []
[seccomp]
groups = ["time"]
deny_groups = ["keyring"]
allow = ["close"]
deny = ["ptrace"]
"#;
    let profile = Profile::resolve("p", &Files::new(&[("base", base), ("p", own)])).unwrap();
    for (key, want) in [
        ("network.allowed_hosts", vec!["\"c.example\" p.toml"]),
        ("network.allowed_ports", vec!["[] p.toml"]),
        ("network.dns_servers", vec!["\"::1\" p.toml"]),
        (
            "network.custom_iptables_rules",
            vec![
                "\"-A OUTPUT -j DROP\" base.toml",
                "\"-A INPUT -j DROP\" p.toml",
            ],
        ),
        ("filesystem.read_only_paths", vec!["\"/a2\" p.toml"]),
        ("filesystem.read_write_paths", vec!["\"/b2\" p.toml"]),
        (
            "filesystem.mask_paths",
            vec!["\"/d\" base.toml", "\"/d2\" p.toml"],
        ),
        ("filesystem.bind_mounts", vec!["[] p.toml"]),
        ("process.capabilities", vec!["[] p.toml"]),
        (
            "seccomp.groups",
            vec!["\"memory\" base.toml", "\"time\" p.toml"],
        ),
        (
            "seccomp.deny_groups",
            vec!["\"mounts\" base.toml", "\"keyring\" p.toml"],
        ),
        (
            "seccomp.allow",
            vec!["\"read\" base.toml", "\"close\" p.toml"],
        ),
        (
            "seccomp.deny",
            vec!["\"write\" base.toml", "\"ptrace\" p.toml"],
        ),
    ] {
        assert_eq!(items(&profile, key), want, "{key}");
    }
    let last = |key: &str, count: usize| items(&profile, key).split_off(count);
    assert_eq!(
        last("filesystem.blocked_paths", 3),
        ["\"/c\" base.toml", "\"/c2\" p.toml"]
    );
    assert_eq!(
        last("network.blocked_hosts", 5),
        ["\"x.example\" base.toml", "\"y.example\" p.toml"]
    );
}

#[test]
fn variables_are_put_into_paths() {
    let base = "[variables]\nwork = \"/srv/work\"\nuser = \"nobody\"\n[filesystem]\nread_write_paths = [\"${work}\", \"${work}/a\", \"/home/${user}/x\"]\nbind_mounts = [{ source = \"${work}/in\", target = \"/in\", read_only = false }]\ntemp_root_path = \"/tmp/${user}-${user}\"";
    let own = "extends = [\"base\"]\n[variables]\nwork = \"/data\"";
    let profile = Profile::resolve("p", &Files::new(&[("base", base), ("p", own)])).unwrap();
    assert_eq!(
        items(&profile, "filesystem.read_write_paths"),
        [
            "\"/data\" base.toml",
            "\"/data/a\" base.toml",
            "\"/home/nobody/x\" base.toml"
        ]
    );
    assert_eq!(
        items(&profile, "filesystem.bind_mounts"),
        ["{\"read_only\":false,\"source\":\"/data/in\",\"target\":\"/in\"} base.toml"]
    );
    assert_eq!(
        items(&profile, "filesystem.temp_root_path"),
        ["\"/tmp/nobody-nobody\" base.toml"]
    );
}

#[test]
fn preset_gives_way_to_what_a_layer_shows() {
    let profile =
        one("[filesystem]\nread_only_paths = [\"/home\"]\nread_write_paths = [\"/root/x\"]")
            .unwrap();
    assert_eq!(
        items(&profile, "filesystem.blocked_paths"),
        ["\"/root\" level standard", "\"/boot\" level standard"]
    );
    let profile = one("[filesystem]\nblocked_paths = [\"/usr\", \"/lib\"]").unwrap();
    assert_eq!(
        items(&profile, "filesystem.read_only_paths"),
        [
            "\"/bin\" level standard",
            "\"/sbin\" level standard",
            "\"/lib64\" level standard"
        ]
    );
    let profile = one("[filesystem]\nread_write_paths = [\"/usr\"]").unwrap();
    assert_eq!(
        items(&profile, "filesystem.read_only_paths")[0],
        "\"/bin\" level standard"
    );
}

#[test]
fn environment_is_over_presets_and_under_profiles() {
    let words = environment([
        ("PATH", "/bin"),
        ("GL_SECURITY_LEVEL", "lenient"),
        ("GL_FORCE_OS_SANDBOX", "1"),
        ("GL_ISOLATION_TYPE", "chroot"),
        ("GL_MEMORY_LIMIT_MB", "64"),
        ("GL_CPU_LIMIT_SECONDS", "7"),
        ("GL_EXECUTION_TIMEOUT", "2m"),
    ])
    .unwrap();
    let files = Files::new(&[("p", "execution_timeout = 9"), ("q", "level = \"high\"")]);
    let profile = Profile::resolve_over(Some(words.clone()), "p", &files).unwrap();
    assert_eq!(
        at(&profile.level),
        (Level::Lenient, "environment:0".to_owned())
    );
    assert_eq!(profile.limits.max_threads.value, Count(128));
    assert_eq!(profile.on_missing.value, OnMissing::Refuse);
    assert_eq!(
        profile.on_missing.origin.to_string(),
        "environment: GL_FORCE_OS_SANDBOX"
    );
    assert_eq!(profile.on_missing.origin.kind, SourceKind::Environment);
    assert_eq!(profile.isolation.value, Isolation::Namespace);
    assert_eq!(profile.limits.memory_limit_bytes.value, Bytes(64 << 20));
    assert_eq!(
        profile.limits.cpu_time_limit_seconds.value,
        Duration::from_secs(7)
    );
    assert_eq!(
        at(&profile.execution_timeout),
        (Duration::from_secs(9), "p.toml:3".to_owned())
    );
    let profile = Profile::resolve_over(Some(words), "q", &files).unwrap();
    assert_eq!(at(&profile.level), (Level::High, "q.toml:3".to_owned()));
    assert_eq!(profile.execution_timeout.value, Duration::from_secs(120));
    let words = environment([("GL_FORCE_OS_SANDBOX", "0")]).unwrap();
    let profile = Profile::resolve_over(Some(words), "p", &files).unwrap();
    assert_eq!(profile.on_missing.origin.kind, SourceKind::Level);
}

#[test]
fn level_that_is_extended_sets_what_one_that_is_named_only_fills() {
    let named = one("extends = [\"network_client\"]\nlevel = \"strict\"").unwrap();
    assert_eq!(
        at(&named.network.allow_network),
        (true, "built-in network_client:7".to_owned())
    );
    let extended = one("extends = [\"network_client\", \"strict\"]").unwrap();
    assert_eq!(
        at(&extended.network.allow_network),
        (false, "built-in maximum:19".to_owned())
    );
    assert_eq!(extended.level.value, Level::Maximum);
    for profile in [named, extended] {
        assert_eq!(profile.limits.max_threads.value, Count(16));
    }
}

#[test]
fn fewer_tasks_than_the_processes_of_another_layer_are_taken() {
    let profile = one("[limits]\nmax_threads = 8").unwrap();
    assert_eq!(profile.limits.max_processes.value, Count(16));
    let base = "[limits]\nmax_processes = 16\nmax_threads = 64";
    let own = "extends = [\"base\"]\n[limits]\nmax_threads = 8";
    let files = Files::new(&[("base", base), ("p", own)]);
    let profile = Profile::resolve("p", &files).unwrap();
    assert_eq!(profile.limits.max_processes.value, Count(16));
    assert_eq!(profile.limits.max_threads.value, Count(8));
}
