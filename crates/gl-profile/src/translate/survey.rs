//! All that a translation would say of a profile, instead of its first refusal.

use gl_spec::Extras;
use gl_spec::oci::Spec;

use super::{Effect, Host, Refused, Step, tighten};
use crate::profile::Profile;
use crate::value::{OnMissing, Origin, SourceKind};

/// What would become of each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Lines that are in force, or have no meaning for a container.
    pub steps: Vec<Step>,
    /// Lines that are not in force as they say, as the host lacks something; in a profile that degrades no
    /// container is refused for them.
    pub lacking: Vec<Step>,
    /// Lines that no container of the kind can have, whatever the profile says of missing layers.
    pub refused: Vec<Refused>,
}

/// Translates a profile for a container like `spec`, which is left alone, past what is refused.
#[must_use]
pub fn survey(profile: &Profile, spec: &Spec, host: &Host) -> Survey {
    let mut profile = profile.clone();
    profile.on_missing.value = OnMissing::Degrade;
    let mut refused = Vec::new();
    loop {
        let (mut spec, mut extras) = (spec.clone(), Extras::default());
        match tighten(&profile, &mut spec, &mut extras, host, "ID") {
            Ok(steps) => {
                let lost = |step: &Step| matches!(step.effect, Effect::Degraded(_));
                let (lacking, steps) = steps.into_iter().partition(lost);
                return Survey {
                    steps,
                    lacking,
                    refused,
                };
            }
            Err(err) => {
                let known = forget(&mut profile, &err.place.key);
                refused.push(err);
                if !known {
                    // Nothing is known of what comes after it.
                    return Survey {
                        steps: Vec::new(),
                        lacking: Vec::new(),
                        refused,
                    };
                }
            }
        }
    }
}

/// Takes a key out of a profile; whether that was possible.
fn forget(profile: &mut Profile, key: &str) -> bool {
    let key = key.split('[').next().unwrap_or(key);
    let limits = &mut profile.limits;
    let (network, filesystem) = (&mut profile.network, &mut profile.filesystem);
    match key {
        "setup_timeout" => profile.setup_timeout.take().is_some(),
        "limits.memory_limit_bytes" => left_to_level(&mut limits.memory_limit_bytes.origin),
        "limits.max_processes" => left_to_level(&mut limits.max_processes.origin),
        "limits.max_threads" => left_to_level(&mut limits.max_threads.origin),
        "limits.max_open_files" => left_to_level(&mut limits.max_open_files.origin),
        "limits.cpu_percent_limit" => limits.cpu_percent_limit.take().is_some(),
        "limits.disk_quota_bytes" => limits.disk_quota_bytes.take().is_some(),
        "limits.network_bandwidth_limit" => limits.network_bandwidth_limit.take().is_some(),
        "limits.max_connections" => limits.max_connections.take().is_some(),
        "network.allowed_hosts" => network.allowed_hosts.take().is_some(),
        "network.allowed_ports" => network.allowed_ports.take().is_some(),
        "network.dns_servers" => network.dns_servers.take().is_some(),
        "network.blocked_hosts" => emptied(&mut network.blocked_hosts),
        "network.custom_iptables_rules" => emptied(&mut network.custom_iptables_rules),
        "filesystem.bind_mounts" => filesystem.bind_mounts.take().is_some(),
        "filesystem.temp_root_path" => filesystem.temp_root_path.take().is_some(),
        "filesystem.read_write_paths" => filesystem.read_write_paths.take().is_some(),
        "filesystem.selinux_context" => filesystem.selinux_context.take().is_some(),
        "filesystem.apparmor_profile" => filesystem.apparmor_profile.take().is_some(),
        "filesystem.blocked_paths" => emptied(&mut filesystem.blocked_paths),
        "filesystem.mask_paths" => emptied(&mut filesystem.mask_paths),
        _ => false,
    }
}

/// As if nobody had asked for so much.
fn left_to_level(origin: &mut Origin) -> bool {
    let had = origin.kind != SourceKind::Level;
    origin.kind = SourceKind::Level;
    had
}

fn emptied<T>(list: &mut Vec<T>) -> bool {
    let had = !list.is_empty();
    list.clear();
    had
}
