//! The profile as canonical JSON, as a hash and as entries.

use gl_profile::{Entry, Format, Layer, Profile};

use crate::{Files, one};

#[test]
fn canonical_json_is_a_profile_that_resolves_to_the_same() {
    let body = r#"
description = "left out"
extends = ["network_client"]
setup_timeout = "1m"
[variables]
work = "/w"
[limits]
disk_quota_bytes = "1GiB"
cpu_percent_limit = 50
[network]
allowed_hosts = ["*.Example.org", "10.0.0.0/8", "::1"]
allowed_ports = ["80-80", "8000-8100"]
dns_servers = ["1.1.1.1"]
custom_iptables_rules = ["--append OUTPUT  -p tcp -m tcp --destination-port 1:2 -d 10.0.0.0/8 -j REJECT"]
[filesystem]
read_write_paths = ["${work}/a"]
bind_mounts = [{ source = "/s", target = "${work}" }]
[process]
umask = "0022"
capabilities = []
[seccomp]
deny = ["ptrace"]
"#;
    let profile = one(body).unwrap();
    let canonical = profile.canonical_json();
    let layer = Layer::parse("c.json", &canonical, Format::Json).unwrap();
    let again = Profile::resolve(layer, &()).unwrap();
    assert_eq!(again.canonical_json(), canonical);
    assert_eq!(again.hash(), profile.hash());
    let plain = |entries: Vec<Entry>| -> Vec<String> {
        let kept = entries.iter().filter(|entry| entry.key != "description");
        kept.map(|entry| format!("{} {}", entry.key, entry.value))
            .collect()
    };
    assert_eq!(plain(again.entries()), plain(profile.entries()));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&canonical).unwrap()["network"],
        serde_json::json!({
            "allow_loopback": true,
            "allow_network": true,
            "allowed_hosts": ["*.example.org", "10.0.0.0/8", "::1"],
            "allowed_ports": [80, "8000-8100"],
            "blocked_hosts": ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"],
            "custom_iptables_rules": ["-A OUTPUT -d 10.0.0.0/8 -p tcp --dport 1:2 -j REJECT"],
            "dns_servers": ["1.1.1.1"],
        })
    );
}

#[test]
fn canonical_json_without_a_network_lists_nothing_that_may_be_reached() {
    // Only the level says that there is no network.
    let profile = one("[network]\nallowed_ports = [443]\nallowed_hosts = [\"a.example\"]").unwrap();
    let canonical = profile.canonical_json();
    let layer = Layer::parse("c.json", &canonical, Format::Json).unwrap();
    let again = Profile::resolve(layer, &()).unwrap();
    assert_eq!(again.canonical_json(), canonical);
    assert_eq!(again.network.allowed_ports, None);
    assert_eq!(again.network.allowed_hosts, None);
}

#[test]
fn canonical_json_has_no_more_processes_than_tasks() {
    // A layer that lowers the tasks says nothing of the processes below it.
    let files = Files::new(&[
        ("p", "extends = [\"base\"]\n[limits]\nmax_threads = 9"),
        ("base", "[limits]\nmax_processes = 12"),
    ]);
    let profile = Profile::resolve("p", &files).unwrap();
    assert_eq!(profile.limits.max_processes.value.0, 12);
    let canonical = profile.canonical_json();
    let layer = Layer::parse("c.json", &canonical, Format::Json).unwrap();
    let again = Profile::resolve(layer, &()).unwrap();
    assert_eq!(again.canonical_json(), canonical);
    assert_eq!(again.limits.max_processes.value.0, 9);
}

#[test]
fn hash_is_the_sha256_of_the_canonical_json() {
    let profile = one("").unwrap();
    let canonical = profile.canonical_json();
    assert!(
        canonical.starts_with("{\"execution_timeout\":300,\"filesystem\":{\"blocked_paths\":["),
        "{canonical}"
    );
    assert_eq!(
        profile.hash(),
        "fb90894437a1433f6a57bf05f3911dbf517c16d16f38539bf14055eb0f2ac7a0",
        "{canonical}"
    );
    let other = one("[limits]\nmax_threads = 33").unwrap();
    assert_ne!(other.hash(), profile.hash());
}
