//! The built-in profiles: each resolves, and is what its name says.

#![expect(clippy::disallowed_methods, reason = "the groups are files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gl_profile::{Format, Layer, Profile, SeccompAction, builtin, schema};

fn groups(profile: &Profile) -> Vec<&str> {
    let groups = profile.seccomp.groups.iter();
    groups.map(|group| group.value.as_str()).collect()
}

fn denied(profile: &Profile) -> Vec<&str> {
    let groups = profile.seccomp.deny_groups.iter();
    groups.map(|group| group.value.as_str()).collect()
}

#[test]
fn every_profile_resolves_under_its_name_and_says_what_it_is_for() {
    let names: Vec<_> = builtin::names().collect();
    assert_eq!(
        names,
        [
            "default",
            "compute_only",
            "data_processing",
            "network_client",
            "blocked_dangerous",
            "lenient",
            "standard",
            "high",
            "maximum"
        ]
    );
    for name in names {
        let profile = Profile::resolve(name, &()).unwrap();
        assert_eq!(profile.name.value.as_str(), name);
        let description = profile.description.unwrap().value;
        assert!(description.len() > 20, "{name}: {description:?}");
        assert!(
            builtin::text(name).unwrap().contains(&description),
            "{name}"
        );
    }
    assert_eq!(builtin::text("strict"), builtin::text("maximum"));
    assert_eq!(builtin::text("nope"), None);
}

#[test]
fn every_file_of_a_profile_is_built_in() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles");
    let mut found = BTreeSet::new();
    for dir in [dir.clone(), dir.join("levels")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                found.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let names: BTreeSet<_> = builtin::names().map(str::to_owned).collect();
    assert_eq!(found, names);
}

#[test]
fn every_group_that_a_profile_names_exists() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/seccomp");
    for name in builtin::names() {
        let profile = Profile::resolve(name, &()).unwrap();
        for group in groups(&profile).into_iter().chain(denied(&profile)) {
            let text = fs::read_to_string(dir.join(format!("{group}.toml")));
            assert!(text.is_ok(), "{name}: {group}: {text:?}");
        }
    }
}

#[test]
fn profiles_add_groups_to_one_another() {
    let compute = [
        "process-self",
        "memory",
        "threads",
        "time",
        "descriptors",
        "terminal-read",
        "files-read",
        "files-write",
    ];
    let data = [
        "processes",
        "scheduling",
        "files-attributes",
        "files-watch",
        "self-sandboxing",
        "ipc-sysv",
        "sockets-pair",
        "device-control",
    ];
    let default = [
        "sockets-client",
        "sockets-server",
        "sockets-unix",
        "identity",
        "aio",
    ];
    for (name, want, deny) in [
        ("compute_only", [&compute[..]].concat(), &[][..]),
        (
            "data_processing",
            [&compute[..], &data].concat(),
            &["terminal-injection"],
        ),
        (
            "network_client",
            [&compute[..], &data, &["sockets-client"]].concat(),
            &["terminal-injection"],
        ),
        (
            "default",
            [&compute[..], &data, &default].concat(),
            &["terminal-injection"],
        ),
    ] {
        let profile = Profile::resolve(name, &()).unwrap();
        assert_eq!(groups(&profile), want, "{name}");
        assert_eq!(denied(&profile), deny, "{name}");
        let action = profile.seccomp.default.as_ref().unwrap().value;
        assert_eq!(action, SeccompAction::Errno(1), "{name}");
        assert!(profile.process.no_new_privileges.unwrap().value, "{name}");
        assert_eq!(
            profile.network.allow_network.value,
            name == "network_client",
            "{name}"
        );
    }
    let profile = Profile::resolve("blocked_dangerous", &()).unwrap();
    assert_eq!(
        profile.seccomp.default.as_ref().unwrap().value,
        SeccompAction::Allow
    );
    assert_eq!(groups(&profile), Vec::<&str>::new());
    // Raw sockets take a capability, and `ping` uses them.
    let all = builtin::DANGEROUS_GROUPS.iter().copied();
    let want: Vec<_> = all.filter(|group| *group != "sockets-raw").collect();
    assert_eq!(denied(&profile), want);
}

#[test]
fn profiles_for_computing_keep_no_capability() {
    for name in ["compute_only", "data_processing", "network_client"] {
        let profile = Profile::resolve(name, &()).unwrap();
        assert_eq!(profile.process.capabilities.unwrap().items, [], "{name}");
    }
    let profile = Profile::resolve("default", &()).unwrap();
    assert_eq!(profile.process.capabilities, None);
}

#[test]
fn readme_names_every_key_and_its_example_resolves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let example = readme.split("```").nth(1).unwrap();
    let example = example.strip_prefix("toml\n").unwrap();
    let layer = Layer::parse("README.md", example, Format::Toml).unwrap();
    let profile = Profile::resolve(layer, &()).unwrap();
    let writable = profile.filesystem.read_write_paths.unwrap();
    assert_eq!(writable.items[0].value.as_str(), "/srv/pictures/out");

    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let mut missing = Vec::new();
    for (key, property) in schema["properties"].as_object().unwrap() {
        let inner = property.get("properties");
        let inner = inner.and_then(|inner| inner.as_object()).into_iter();
        for key in inner.flatten().map(|(key, _)| key).chain([key]) {
            let named = [
                format!("`{key}`"),
                format!("**{key}**"),
                format!("\n{key} = "),
            ];
            let section = format!("[{key}]");
            if !named
                .iter()
                .chain([&section])
                .any(|name| readme.contains(name))
            {
                missing.push(key.clone());
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
