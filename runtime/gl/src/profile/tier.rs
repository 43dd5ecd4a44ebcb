//! What a profile becomes in each tier. Containers, with gVisor or without, are asked of the translation
//! itself; `namespace` is the same with a view of the host's files, and `basic` has neither mounts nor
//! namespaces.

use gl_profile::translate::{self, Controllers, Effect, Gvisor, Host, Survey};
use gl_profile::{Entry, Isolation, Profile, SourceKind};
use gl_spec::{Classify as _, Rootless};
use serde_json::Value as Json;

use super::explain::Line;
use crate::cli::Tier;

/// The lines of a profile in a tier, on this host with that cgroup.
pub(super) fn lines(profile: &Profile, tier: Tier, cgroup: Option<Controllers>) -> Vec<Line> {
    let host = gl_container::profile_host(cgroup);
    match tier {
        Tier::Basic => {
            let entries = profile.entries().into_iter();
            let lines = entries.filter_map(|entry| basic(&entry, &host));
            // Nothing is in force by a tier that is not there.
            lines.map(Line::possible).collect()
        }
        Tier::Namespace => of_view(profile, &host),
        Tier::Container => surveyed(profile, &host),
        Tier::Gvisor => {
            let mut profile = profile.clone();
            profile.isolation.value = Isolation::Gvisor;
            let gvisor = match host.gvisor {
                Gvisor::Missing => Gvisor::Missing,
                Gvisor::Available | Gvisor::Wanted => Gvisor::Wanted,
            };
            // What it becomes does not depend on whether it is there, but for the first line.
            let wanted = Host {
                gvisor: Gvisor::Wanted,
                ..host
            };
            let mut lines = surveyed(&profile, &wanted);
            let first = lines.iter_mut().find(|line| line.layer == "gvisor");
            if let (Some(line), Gvisor::Missing) = (first, gvisor) {
                line.refuse("runsc is not installed", "install runsc");
            }
            lines
        }
    }
}

fn surveyed(profile: &Profile, host: &Host) -> Vec<Line> {
    let spec = gl_spec::default_spec(Rootless::No);
    let Survey {
        steps,
        lacking,
        refused,
    } = translate::survey(profile, &spec, host);
    let mut lines: Vec<_> = steps.iter().map(Line::of_step).collect();
    lines.extend(lacking.iter().map(|step| {
        let mut line = Line::of_step(step);
        if let (false, Effect::Degraded(missing)) = (line.degrades(profile), &step.effect) {
            line.refuse(missing, "set on_missing = \"degrade\", or see gl doctor");
        }
        line
    }));
    lines.extend(refused.iter().map(|one| {
        let key = one.place.key.clone();
        let mut line = Line::new(&key, "none", super::shown_place(&one.place));
        line.refuse(&one.missing, &one.hint().unwrap_or_default());
        line
    }));
    lines
}

/// A container whose root is a view of the host's files.
fn of_view(profile: &Profile, host: &Host) -> Vec<Line> {
    let mut plain = profile.clone();
    // These make the view, and are not the container's.
    plain.filesystem.bind_mounts = None;
    plain.filesystem.temp_root_path = None;
    let mut lines = surveyed(&plain, host);
    let views = [
        "filesystem.read_only_paths",
        "filesystem.blocked_paths",
        "filesystem.bind_mounts",
        "filesystem.temp_root_path",
    ];
    lines.retain(|line| !(views.contains(&line.key.as_str()) && line.layer == "mounts"));
    for entry in profile.entries() {
        if !views.contains(&entry.key) {
            continue;
        }
        let text = super::plain(&entry.value);
        let mut line = Line::new(entry.key, "mounts", super::place(&entry.origin));
        line.setting = match entry.key {
            "filesystem.read_only_paths" => format!("{text}: the host's, bound read-only"),
            "filesystem.bind_mounts" => format!("{text}: bound from the host"),
            "filesystem.temp_root_path" => format!("{text}: an empty root is made for each run"),
            _ => format!("{text}: not the host's; a part that is shown reads as empty"),
        };
        lines.push(line);
    }
    if let Some(line) = lines.iter_mut().find(|line| line.key == "isolation") {
        line.setting =
            "a view of the host's files; user, mount, pid, ipc, uts and cgroup".to_owned();
        line.effect = "applied";
    }
    lines
}

/// One line without namespaces and mounts; none where there is nothing to say.
fn basic(entry: &Entry, host: &Host) -> Option<Line> {
    let cgroup = host.cgroup.unwrap_or_default();
    let value = super::plain(&entry.value);
    let mut line = Line::new(entry.key, "none", super::place(&entry.origin));
    let level = entry.origin.kind == SourceKind::Level;
    let off = entry.value == Json::Bool(false);
    match entry.key {
        "name" | "description" | "level" | "mode" | "on_missing" => return None,
        "isolation" => line.refuse(
            "gl run has no tier basic yet; what the lines below say is what the kernel can hold without namespaces",
            "choose --tier namespace",
        ),
        "limits.memory_limit_bytes" => {
            line.limit(cgroup.memory, "memory, no swap", "RLIMIT_AS, for each process alone", &value);
        }
        "limits.max_threads" => line.limit(cgroup.tasks, "pids.max", "", &value),
        "limits.cpu_percent_limit" => line.limit(cgroup.cpu, "percent of a CPU", "", &value),
        "limits.max_processes" => {
            line.limit(host.cgroup.is_some(), "counted by the supervisor", "", &value);
        }
        "limits.cpu_time_limit_seconds" => line.limit(
            host.cgroup.is_some(),
            "CPU time of the cgroup, watched; RLIMIT_CPU",
            "RLIMIT_CPU, for each process alone",
            &value,
        ),
        "limits.virtual_memory_limit_bytes" => line.becomes("rlimit", "RLIMIT_AS", &value),
        "limits.max_open_files" => line.becomes("rlimit", "RLIMIT_NOFILE", &value),
        "limits.max_file_size_bytes" => line.becomes("rlimit", "RLIMIT_FSIZE", &value),
        "execution_timeout" => line.becomes("supervisor", "SIGTERM, then SIGKILL", &value),
        "filesystem.read_write_paths" => line.landlock(host, 1, "writing below", &value),
        "filesystem.read_only_paths" => line.landlock(host, 1, "reading and running below", &value),
        "filesystem.blocked_paths" | "filesystem.mask_paths" => {
            line.landlock(host, 1, "denied, as all that no other line names:", &value);
        }
        "network.allow_network" if off => line.landlock(host, 4, "no TCP; sockets by the filter", ""),
        "network.allow_loopback" if off => line.landlock(host, 4, "no TCP", ""),
        "network.allow_network" | "network.allow_loopback" => {
            line.becomes("none", "the caller's network", "");
        }
        "network.blocked_hosts" if level => line.elsewhere("hosts are not filtered yet"),
        "process.capabilities" => line.becomes("capabilities", "at most", &value),
        "process.no_new_privileges" => line.becomes("process", "no_new_privs", &value),
        "process.umask" => line.becomes("process", "umask at least", &value),
        "filesystem.selinux_context" if host.selinux => line.becomes("selinux", "", &value),
        "filesystem.apparmor_profile" if host.apparmor => line.becomes("apparmor", "", &value),
        key if key.starts_with("seccomp.") => return None,
        key if key.starts_with("network.") || key.contains("network") || key.contains("connections") => {
            line.refuse("there is no network of its own", "choose --tier namespace");
        }
        _ => line.refuse("it takes mounts or a layer that the host lacks", "choose --tier namespace"),
    }
    Some(line)
}
