//! The union of profiles: what any of them allows, all of them together allow.
//!
//! Merging loosens each of them, so it says what each brings. What is no list to be joined and no limit to be
//! raised has to be the same in all; what `gl record` does not write has no union here.

use std::collections::BTreeMap;

use gl_profile::{Level, Mode, OnMissing, Origin, Profile, Setting, SourceKind};

use crate::draft::{Draft, Limits, Line, Number, Tier};
use crate::error::Error;
use crate::run::check_name;

/// The keys that have a union. Those of a level's presets are no matter.
const KEYS: [&str; 22] = [
    "name",
    "description",
    "isolation",
    "mode",
    "level",
    "on_missing",
    "execution_timeout",
    "limits.memory_limit_bytes",
    "limits.cpu_time_limit_seconds",
    "limits.max_open_files",
    "limits.max_processes",
    "limits.max_threads",
    "network.allow_network",
    "network.allow_loopback",
    "filesystem.create_temp_root",
    "filesystem.read_only_paths",
    "filesystem.read_write_paths",
    "process.no_new_privileges",
    "seccomp.default",
    "seccomp.groups",
    "seccomp.deny_groups",
    "seccomp.allow",
];

/// A union, and what each profile brings to it.
#[derive(Debug)]
pub struct Merged {
    /// The profile.
    pub draft: Draft,
    /// Of each profile, in order: its name, and what it alone allows.
    pub brought: Vec<(String, Vec<String>)>,
}

/// Makes one profile of several. `tier` is for those of different tiers.
///
/// # Errors
///
/// [`Error::Merge`] with the key that has no union, [`Error::Name`].
pub fn merge(profiles: &[Profile], name: &str, tier: Option<Tier>) -> Result<Merged, Error> {
    check_name(name)?;
    for profile in profiles {
        check_keys(profile)?;
    }
    let first = profiles.first().ok_or_else(|| Error::Merge {
        profile: name.to_owned(),
        key: "profiles".to_owned(),
        problem: "there are none".into(),
    })?;
    for profile in profiles {
        check_same(first, profile)?;
    }
    let tier = match tier {
        Some(tier) => tier,
        None => common_tier(first, profiles)?,
    };
    let union = Union { profiles };
    let draft = union.draft(name, tier);
    draft.check()?;
    Ok(Merged {
        brought: union.brought(),
        draft,
    })
}

fn refused(profile: &Profile, origin: &Origin, problem: impl Into<String>) -> Error {
    Error::Merge {
        profile: profile.name.value.as_str().to_owned(),
        key: origin.to_string(),
        problem: problem.into().into(),
    }
}

fn check_keys(profile: &Profile) -> Result<(), Error> {
    let own = profile.entries().into_iter();
    for entry in own.filter(|entry| entry.origin.kind != SourceKind::Level) {
        let none = entry.key == "process.capabilities"
            && entry.value.as_array().is_some_and(Vec::is_empty);
        if !none && !KEYS.contains(&entry.key) {
            return Err(refused(
                profile,
                &entry.origin,
                "gl record does not write this key",
            ));
        }
    }
    if profile.mode.value != Mode::Enforcing {
        let problem = "only enforcing profiles have a union";
        return Err(refused(profile, &profile.mode.origin, problem));
    }
    if profile.level.value != Level::Standard {
        let problem = "its presets are those of another level than standard";
        return Err(refused(profile, &profile.level.origin, problem));
    }
    let privileges = profile.process.no_new_privileges.as_ref();
    if let Some(line) = privileges.filter(|line| !line.value) {
        return Err(refused(
            profile,
            &line.origin,
            "it lets programs gain privileges",
        ));
    }
    match &profile.seccomp.default {
        Some(default) if default.value.to_string() == "errno EPERM" => Ok(()),
        Some(default) => Err(refused(
            profile,
            &default.origin,
            "only filters that answer errno EPERM have a union",
        )),
        None => Err(refused(
            profile,
            &profile.name.origin,
            "seccomp.default is not there",
        )),
    }
}

fn check_same(first: &Profile, other: &Profile) -> Result<(), Error> {
    let denied = |profile: &Profile| {
        let mut names: Vec<_> = profile
            .seccomp
            .deny_groups
            .iter()
            .map(|name| name.value.as_str().to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    if denied(first) == denied(other) {
        return Ok(());
    }
    let groups = other.seccomp.deny_groups.first();
    let origin = groups.map_or(&other.name.origin, |name| &name.origin);
    let problem = format!(
        "it denies other groups than {}: seccomp.deny_groups",
        first.name.value.as_str()
    );
    Err(refused(other, origin, problem))
}

fn common_tier(first: &Profile, profiles: &[Profile]) -> Result<Tier, Error> {
    for profile in profiles {
        let isolation = &profile.isolation;
        if Tier::of(isolation.value).is_none() {
            let problem = format!(
                "gl record makes no profiles for {}",
                isolation.value.as_str()
            );
            return Err(refused(profile, &isolation.origin, problem));
        }
        if isolation.value != first.isolation.value {
            let problem = format!(
                "{} is for another tier, {}; say which is meant: --tier",
                first.name.value.as_str(),
                first.isolation.value.as_str()
            );
            return Err(refused(profile, &isolation.origin, problem));
        }
    }
    let tier = Tier::of(first.isolation.value);
    tier.ok_or_else(|| refused(first, &first.isolation.origin, "no tier of gl record"))
}

/// What a profile lists.
type Listing = fn(&Profile) -> Vec<String>;

struct Union<'a> {
    profiles: &'a [Profile],
}

impl Union<'_> {
    fn draft(&self, name: &str, tier: Tier) -> Draft {
        let degrades = |profile: &&Profile| profile.on_missing.value == OnMissing::Degrade;
        let all = self.profiles.len();
        let written = self.joined(written);
        let is_written = |path: &str| {
            let path = std::path::Path::new(path);
            written.iter().any(|line| path.starts_with(&line.value))
        };
        let read = self.joined(read).into_iter();
        Draft {
            name: name.to_owned(),
            description: format!("Allows what any of {all} profiles allows"),
            head: vec![format!(
                "Merged by gl profile merge from {}. What is not from all of them says from which.",
                self.names().join(", ")
            )],
            tier,
            degrade: self
                .profiles
                .iter()
                .all(|profile| degrades(&profile))
                .then(|| "as all of them do".to_owned()),
            limits: self.limits(),
            network: self.any(|profile| profile.network.allow_network.value),
            loopback: self.any(|profile| profile.network.allow_loopback.value),
            peers: Vec::new(),
            temp: self.any(|profile| {
                let temp = profile.filesystem.create_temp_root.as_ref();
                temp.is_some_and(|line| line.value)
            }),
            read: read.filter(|line| !is_written(&line.value)).collect(),
            written,
            unlisted: Vec::new(),
            groups: self.joined(groups),
            deny_groups: self.denied(),
            allow: self.calls(),
            left_out: Vec::new(),
        }
    }

    fn any(&self, has: impl Fn(&Profile) -> bool) -> bool {
        self.profiles.iter().any(has)
    }

    fn names(&self) -> Vec<&str> {
        let names = self
            .profiles
            .iter()
            .map(|profile| profile.name.value.as_str());
        names.collect()
    }

    fn limits(&self) -> Limits {
        let most = |value: &dyn Fn(&Profile) -> u64| {
            let values = self.profiles.iter().map(value);
            Number {
                value: values.max().unwrap_or(1),
                note: String::new(),
            }
        };
        Limits {
            timeout: most(&|profile| profile.execution_timeout.value.as_secs()),
            memory: most(&|profile| profile.limits.memory_limit_bytes.value.0),
            cpu: most(&|profile| profile.limits.cpu_time_limit_seconds.value.as_secs()),
            files: most(&|profile| profile.limits.max_open_files.value.0.into()),
            processes: most(&|profile| profile.limits.max_processes.value.0.into()),
            threads: most(&|profile| profile.limits.max_threads.value.0.into()),
        }
    }

    fn denied(&self) -> Vec<String> {
        let first = self.profiles.iter().take(1);
        let groups = first.flat_map(|profile| &profile.seccomp.deny_groups);
        let mut names: Vec<_> = groups.map(|name| name.value.as_str().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What any of them lists, in order, with who does unless all do.
    fn joined(&self, list: Listing) -> Vec<Line> {
        let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for profile in self.profiles {
            for item in list(profile) {
                let by = all.entry(item).or_default();
                by.push(profile.name.value.as_str());
            }
        }
        let lines = all.into_iter().map(|(item, mut by)| {
            by.dedup();
            let note = match by.len() == self.profiles.len() {
                true => String::new(),
                false => by.join(", "),
            };
            Line::new(item, note)
        });
        lines.collect()
    }

    /// The calls; a whole one takes its parts along.
    fn calls(&self) -> Vec<Line> {
        let all = self.joined(calls);
        let whole: Vec<String> = all.iter().map(|line| line.value.clone()).collect();
        let stays = |line: &Line| {
            let call = line.value.split_once('@').map(|(call, _)| call);
            call.is_none_or(|call| !whole.iter().any(|one| one == call))
        };
        all.into_iter().filter(stays).collect()
    }

    /// What each of them alone allows.
    fn brought(&self) -> Vec<(String, Vec<String>)> {
        let lists: [(&str, Listing); 4] = [
            ("call", calls),
            ("group", groups),
            ("reads", read),
            ("writes", written),
        ];
        let brought = self.profiles.iter().enumerate().map(|(index, profile)| {
            let others = self.profiles.iter().enumerate();
            let others: Vec<_> = others.filter(|(other, _)| *other != index).collect();
            let mut own = Vec::new();
            for (what, list) in lists {
                let theirs: Vec<_> = others.iter().flat_map(|(_, other)| list(other)).collect();
                let alone = list(profile)
                    .into_iter()
                    .filter(|one| !theirs.contains(one));
                own.extend(alone.map(|one| format!("{what} {one}")));
            }
            let others: Vec<_> = others.iter().map(|(_, other)| facts(other)).collect();
            let more = |(key, value): &(&str, u64)| {
                let theirs = others.iter().flatten().filter(|(other, _)| other == key);
                theirs.max().is_none_or(|(_, most)| most < value)
            };
            let said = facts(profile).into_iter().filter(more);
            own.extend(said.map(|(key, value)| match SWITCHES.contains(&key) {
                true => key.to_owned(),
                false => format!("{key} = {value}"),
            }));
            (profile.name.value.as_str().to_owned(), own)
        });
        brought.collect()
    }
}

/// Facts that are no numbers.
const SWITCHES: [&str; 3] = ["allow_network", "allow_loopback", "create_temp_root"];

/// Numbers and switches, of which more allows more.
fn facts(profile: &Profile) -> Vec<(&'static str, u64)> {
    let limits = &profile.limits;
    let temp = profile.filesystem.create_temp_root.as_ref();
    let mut facts = vec![
        (
            "execution_timeout",
            profile.execution_timeout.value.as_secs(),
        ),
        ("memory_limit_bytes", limits.memory_limit_bytes.value.0),
        (
            "cpu_time_limit_seconds",
            limits.cpu_time_limit_seconds.value.as_secs(),
        ),
        ("max_open_files", limits.max_open_files.value.0.into()),
        ("max_processes", limits.max_processes.value.0.into()),
        ("max_threads", limits.max_threads.value.0.into()),
        ("allow_network", profile.network.allow_network.value.into()),
        (
            "allow_loopback",
            profile.network.allow_loopback.value.into(),
        ),
        (
            "create_temp_root",
            temp.is_some_and(|line| line.value).into(),
        ),
    ];
    facts.retain(|(_, value)| *value > 0);
    facts
}

fn texts<T>(items: &[Setting<T>], text: impl Fn(&T) -> &str) -> Vec<String> {
    let items = items.iter().map(|item| text(&item.value).to_owned());
    items.collect()
}

fn calls(profile: &Profile) -> Vec<String> {
    texts(&profile.seccomp.allow, |call| call.as_str())
}

fn groups(profile: &Profile) -> Vec<String> {
    texts(&profile.seccomp.groups, |name| name.as_str())
}

fn read(profile: &Profile) -> Vec<String> {
    let list = profile.filesystem.read_only_paths.as_ref();
    list.map_or_else(Vec::new, |list| texts(&list.items, |path| path.as_str()))
}

fn written(profile: &Profile) -> Vec<String> {
    let list = profile.filesystem.read_write_paths.as_ref();
    list.map_or_else(Vec::new, |list| texts(&list.items, |path| path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::tests::empty;

    fn profile(name: &str, change: impl FnOnce(&mut Draft)) -> Profile {
        let mut draft = empty(name);
        change(&mut draft);
        draft.check().unwrap()
    }

    #[test]
    fn union_allows_what_any_allows_and_says_who() {
        let one = profile("one", |draft| {
            draft.allow = vec![Line::new("read", ""), Line::new("openat@files-read", "")];
            draft.read = vec![Line::new("/srv/a", "")];
            draft.limits.files.value = 96;
        });
        let two = profile("two", |draft| {
            draft.allow = vec![Line::new("openat", ""), Line::new("read", "")];
            draft.written = vec![Line::new("/srv/a", "")];
            draft.loopback = true;
            draft.limits.memory.value = 128 << 20;
        });
        let merged = merge(&[one, two], "both", None).unwrap();
        let profile = merged.draft.check().unwrap();
        assert_eq!(calls(&profile), ["openat", "read"]);
        assert_eq!(
            (read(&profile), written(&profile)),
            (vec![], vec!["/srv/a".to_owned()])
        );
        assert_eq!(profile.limits.max_open_files.value.0, 96);
        assert_eq!(profile.limits.memory_limit_bytes.value.0, 128 << 20);
        assert!(profile.network.allow_loopback.value && !profile.network.allow_network.value);
        let brought = [
            (
                "one".to_owned(),
                [
                    "call openat@files-read",
                    "reads /srv/a",
                    "max_open_files = 96",
                ]
                .map(str::to_owned)
                .into(),
            ),
            (
                "two".to_owned(),
                [
                    "call openat",
                    "writes /srv/a",
                    "memory_limit_bytes = 134217728",
                    "allow_loopback",
                ]
                .map(str::to_owned)
                .into(),
            ),
        ];
        assert_eq!(merged.brought, brought);
        let text = merged.draft.text();
        assert!(
            text.contains("\"openat\", # two\n    \"read\",\n"),
            "{text}"
        );
    }

    #[test]
    fn what_has_no_union_is_refused_by_its_key() {
        let one = || profile("one", |_| {});
        let parse = |text: &str| {
            let text = format!(
                "version = 1\nname = \"two\"\n{text}\n[seccomp]\ndefault = \"errno EPERM\"\n\
                 deny_groups = [\"terminal-injection\"]\n"
            );
            let layer = gl_profile::Layer::parse("two.toml", &text, gl_profile::Format::Toml);
            Profile::resolve(layer.unwrap(), &()).unwrap()
        };
        for (other, want) in [
            (
                parse("[network]\nallow_network = true\nallowed_ports = [80]"),
                "merge two: two.toml:5: network.allowed_ports: gl record does not write this key",
            ),
            (
                parse("mode = \"permissive\""),
                "merge two: two.toml:3: mode: only enforcing profiles have a union",
            ),
            (
                parse("isolation = \"basic\""),
                "merge two: two.toml:3: isolation: one is for another tier, namespace; say which is meant: \
                 --tier",
            ),
            (
                parse("level = \"high\""),
                "merge two: two.toml:3: level: its presets are those of another level than standard",
            ),
        ] {
            let err = merge(&[one(), other], "both", None).unwrap_err();
            assert_eq!(err.to_string(), want);
        }
        let other = profile("two", |draft| draft.deny_groups.push("mounts".to_owned()));
        let err = merge(&[one(), other], "both", None)
            .unwrap_err()
            .to_string();
        assert!(
            err.ends_with("it denies other groups than one: seccomp.deny_groups"),
            "{err}"
        );
    }
}
