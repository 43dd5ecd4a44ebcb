//! Keys that contradict each other once layers are merged.

use crate::error::Error;
use crate::keys::FilesystemPolicy;
use crate::profile::Profile;
use crate::value::{AbsolutePath, Origin, Setting, SourceKind};

/// Refuses keys that contradict each other, and lets a preset give way to what a layer says.
pub(crate) fn check(profile: &mut Profile) -> Result<(), Error> {
    paths(&mut profile.filesystem)?;
    network(profile)?;
    limits(profile)?;
    groups(profile)
}

fn contradiction(one: &Origin, other: &Origin, problem: String) -> Error {
    Error::Contradiction {
        place: one.place(),
        other: Box::new(other.place()),
        problem,
    }
}

/// Whether the same source set both, so that none can be meant to change the other.
fn together(one: &Origin, other: &Origin) -> bool {
    one.file == other.file && one.kind == other.kind
}

fn paths(filesystem: &mut FilesystemPolicy) -> Result<(), Error> {
    let items = |list: &Option<crate::value::List<AbsolutePath>>| -> Vec<Setting<AbsolutePath>> {
        list.as_ref()
            .map_or_else(Vec::new, |list| list.items.clone())
    };
    let readable = items(&filesystem.read_only_paths);
    let writable = items(&filesystem.read_write_paths);
    for one in &writable {
        if let Some(other) = readable.iter().find(|other| other.value == one.value) {
            if other.origin.kind == SourceKind::Level {
                continue;
            }
            let problem = format!("{} is read-only and can be written", one.value.as_str());
            return Err(contradiction(&one.origin, &other.origin, problem));
        }
    }
    if let Some(list) = &mut filesystem.read_only_paths {
        // What is left of them both is of a preset, which gives way.
        list.items
            .retain(|item| !writable.iter().any(|other| other.value == item.value));
    }
    let mounts = filesystem.bind_mounts.iter().flat_map(|list| &list.items);
    let mounts = mounts.map(|mount| Setting {
        value: mount.value.target.clone(),
        origin: mount.origin.clone(),
    });
    let shown: Vec<_> = readable.into_iter().chain(writable).chain(mounts).collect();
    for blocked in &filesystem.blocked_paths {
        if blocked.origin.kind == SourceKind::Level {
            continue;
        }
        let below = |shown: &&Setting<AbsolutePath>| {
            shown.value.as_path().starts_with(blocked.value.as_path())
                && shown.origin.kind != SourceKind::Level
        };
        if let Some(shown) = shown.iter().find(below) {
            let (path, hidden) = (shown.value.as_str(), blocked.value.as_str());
            let problem = format!("{path} is to be seen, and {hidden} is to be hidden");
            return Err(contradiction(&shown.origin, &blocked.origin, problem));
        }
    }
    filesystem.blocked_paths.retain(|blocked| {
        blocked.origin.kind != SourceKind::Level
            || !shown
                .iter()
                .any(|shown| shown.value == blocked.value && shown.origin.kind != SourceKind::Level)
    });
    let (create, path) = (&filesystem.create_temp_root, &filesystem.temp_root_path);
    if let (Some(create), Some(path)) = (create, path)
        && !create.value
        && together(&create.origin, &path.origin)
    {
        let problem = "a fresh root has a place, and there is none".to_owned();
        return Err(contradiction(&path.origin, &create.origin, problem));
    }
    Ok(())
}

fn network(profile: &Profile) -> Result<(), Error> {
    let network = &profile.network;
    if network.allow_network.value {
        return Ok(());
    }
    let off = &network.allow_network.origin;
    let hosts = network
        .allowed_hosts
        .as_ref()
        .filter(|list| !list.items.is_empty());
    let ports = network
        .allowed_ports
        .as_ref()
        .filter(|list| !list.items.is_empty());
    let origins = hosts.map(|list| &list.origin).into_iter();
    for allowed in origins.chain(ports.map(|list| &list.origin)) {
        if together(allowed, off) {
            let problem = "something may be reached, and there is no network".to_owned();
            return Err(contradiction(allowed, off, problem));
        }
    }
    Ok(())
}

fn limits(profile: &Profile) -> Result<(), Error> {
    let (processes, threads) = (&profile.limits.max_processes, &profile.limits.max_threads);
    if threads.value < processes.value && together(&threads.origin, &processes.origin) {
        let problem = format!(
            "{} threads are fewer than {} processes, each of which has one",
            threads.value.0, processes.value.0
        );
        return Err(contradiction(&threads.origin, &processes.origin, problem));
    }
    Ok(())
}

fn groups(profile: &Profile) -> Result<(), Error> {
    let seccomp = &profile.seccomp;
    for denied in &seccomp.deny_groups {
        let allowed = seccomp
            .groups
            .iter()
            .find(|group| group.value == denied.value);
        if let Some(allowed) = allowed
            && together(&allowed.origin, &denied.origin)
        {
            let problem = format!("{:?} is allowed and denied", denied.value.as_str());
            return Err(contradiction(&denied.origin, &allowed.origin, problem));
        }
    }
    Ok(())
}
