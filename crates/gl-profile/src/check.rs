//! Keys that contradict each other once layers are merged.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::keys::FilesystemPolicy;
use crate::profile::Profile;
use crate::value::{AbsolutePath, List, Origin, Setting, SourceKind};

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

/// A path that a key shows, and where the key says so.
type Shown = Setting<AbsolutePath>;

fn is_preset(origin: &Origin) -> bool {
    origin.kind == SourceKind::Level
}

fn items(list: Option<&List<AbsolutePath>>) -> &[Shown] {
    list.map_or(&[], |list| &list.items)
}

fn paths(filesystem: &mut FilesystemPolicy) -> Result<(), Error> {
    let readable = items(filesystem.read_only_paths.as_ref());
    let writable = items(filesystem.read_write_paths.as_ref());
    for one in writable {
        let both = |other: &&Shown| other.value == one.value && !is_preset(&other.origin);
        if let Some(other) = readable.iter().find(both) {
            let problem = format!("{} is read-only and can be written", one.value.as_str());
            return Err(contradiction(&one.origin, &other.origin, problem));
        }
    }
    let mounts = filesystem.bind_mounts.iter().flat_map(|list| &list.items);
    let mounts = mounts.map(|mount| (&mount.value.target, &mount.origin));
    let lists = readable.iter().chain(writable);
    let lists = lists.map(|shown| (&shown.value, &shown.origin));
    let shown: Vec<_> = lists
        .chain(mounts)
        .filter(|(_, origin)| !is_preset(origin))
        .collect();
    let blocked = filesystem.blocked_paths.iter();
    for blocked in blocked.filter(|blocked| !is_preset(&blocked.origin)) {
        let below = |shown: &&(&AbsolutePath, &Origin)| is_below(shown.0, &blocked.value);
        if let Some((path, origin)) = shown.iter().find(below) {
            let (path, hidden) = (path.as_str(), blocked.value.as_str());
            let problem = format!("{path} is to be seen, and {hidden} is to be hidden");
            return Err(contradiction(origin, &blocked.origin, problem));
        }
    }
    let shown: BTreeSet<_> = shown.into_iter().map(|(path, _)| path.clone()).collect();
    let (create, path) = (&filesystem.create_temp_root, &filesystem.temp_root_path);
    if let (Some(create), Some(path)) = (create, path)
        && !create.value
        && together(&create.origin, &path.origin)
    {
        let problem = "a fresh root has a place, and there is none".to_owned();
        return Err(contradiction(&path.origin, &create.origin, problem));
    }
    give_way(filesystem, &shown);
    Ok(())
}

/// Whether a path is another one or inside of it.
fn is_below(path: &AbsolutePath, other: &AbsolutePath) -> bool {
    path.as_path().starts_with(other.as_path())
}

/// Takes presets away that say something else than a layer does. `shown` is what layers show.
fn give_way(filesystem: &mut FilesystemPolicy, shown: &BTreeSet<AbsolutePath>) {
    let stays = |item: &Shown| !is_preset(&item.origin) || !shown.contains(&item.value);
    filesystem.blocked_paths.retain(stays);
    let blocked = filesystem.blocked_paths.iter();
    let blocked: Vec<_> = blocked.filter(|item| !is_preset(&item.origin)).collect();
    if let Some(list) = &mut filesystem.read_only_paths {
        list.items.retain(|item| {
            let hidden = blocked
                .iter()
                .any(|other| is_below(&item.value, &other.value));
            stays(item) && !(hidden && is_preset(&item.origin))
        });
    }
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

/// More processes than tasks are refused where one source asks for both, and where only the presets
/// stand in the way of what a layer asks for; a layer that lowers the tasks is taken at its word.
fn limits(profile: &Profile) -> Result<(), Error> {
    let (processes, threads) = (&profile.limits.max_processes, &profile.limits.max_threads);
    let preset = is_preset(&threads.origin) && !is_preset(&processes.origin);
    if threads.value < processes.value && (preset || together(&threads.origin, &processes.origin)) {
        let problem = format!(
            "each of {} processes has a thread, and there are {} at most; set both",
            processes.value.0, threads.value.0
        );
        return Err(contradiction(&processes.origin, &threads.origin, problem));
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
