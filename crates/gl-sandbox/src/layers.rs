//! Every layer of a sandbox as lines of the report: what it sets up by itself, read from the config that
//! it hands on, and what the profile asks for.

use std::path::Path;

use gl_container::{Container, Decision};
use gl_profile::translate::{Effect, Step};
use rustix::io::Errno;
use serde_json::Value as Json;

use crate::error::Error;
use crate::report::{Applied, Layer};

/// Where the lines come from that no profile has.
const SELF: &str = "gl run";

/// What the sandbox sets up by itself.
pub(crate) fn own(config: &Path) -> Result<Vec<Layer>, Error> {
    let bytes = std::fs::read(config).map_err(Error::io("read", config))?;
    let config: Json = serde_json::from_slice(&bytes)
        .map_err(|_source| Error::file("read", config)(Errno::INVAL))?;
    Ok(of_config(&config))
}

fn of_config(config: &Json) -> Vec<Layer> {
    let line = |layer: &str, requested: &str, how: String| Layer {
        layer: layer.to_owned(),
        requested: requested.to_owned(),
        origin: SELF.to_owned(),
        applied: Applied::Yes,
        how,
    };
    let (process, linux) = (&config["process"], &config["linux"]);
    let mut all = vec![line(
        "namespaces",
        "namespaces",
        words(&linux["namespaces"], "type"),
    )];
    for (key, requested) in [("uidMappings", "user ids"), ("gidMappings", "group ids")] {
        for map in list(&linux[key]) {
            let how = format!(
                "{} inside is {} outside, {} of them",
                map["containerID"], map["hostID"], map["size"]
            );
            all.push(line("user namespace", requested, how));
        }
    }
    for mount in list(&config["mounts"]) {
        let source = match mount["type"].as_str() {
            Some("bind") => format!("{} of the host", text(&mount["source"])),
            _ => text(&mount["type"]).to_owned(),
        };
        let options: Vec<&str> = list(&mount["options"]).iter().map(text).collect();
        let how = format!("{source}: {}", options.join(","));
        all.push(line("mounts", text(&mount["destination"]), how));
    }
    let root = match config["root"]["readonly"] == true {
        true => "read-only",
        false => "writable",
    };
    all.push(line("mounts", "/", root.to_owned()));
    for (key, requested) in [
        ("maskedPaths", "hidden paths"),
        ("readonlyPaths", "read-only paths"),
    ] {
        let paths: Vec<&str> = list(&linux[key]).iter().map(text).collect();
        all.push(line("mounts", requested, paths.join(" ")));
    }
    let kept = list(&process["capabilities"]["bounding"]).len();
    let how = format!("{kept} in the bounding set, none gained");
    all.push(line("capabilities", "capabilities", how));
    if process["noNewPrivileges"] == true {
        all.push(line(
            "process",
            "no_new_privileges",
            "no_new_privs".to_owned(),
        ));
    }
    for limit in list(&process["rlimits"]) {
        let how = format!("at most {}", limit["hard"]);
        all.push(line("rlimit", text(&limit["type"]), how));
    }
    // Names alone: a value may be a secret.
    let names = list(&process["env"]).iter().map(text);
    let names: Vec<&str> = names.filter_map(|one| one.split('=').next()).collect();
    all.push(line("environment", "environment", names.join(" ")));
    all
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(of: &Json, key: &str) -> String {
    let words: Vec<&str> = list(of).iter().map(|one| text(&one[key])).collect();
    words.join(" ")
}

/// What the profile asks for.
pub(crate) fn of_profile(decision: &Decision) -> Vec<Layer> {
    let mut all: Vec<Layer> = decision.steps.iter().map(line).collect();
    for profile in &decision.profiles {
        let policy = &profile.seccomp;
        let lines = policy
            .groups
            .iter()
            .map(|one| ("seccomp.groups", one.value.as_str(), &one.origin));
        let lines = lines.chain(
            (policy.deny_groups.iter())
                .map(|one| ("seccomp.deny_groups", one.value.as_str(), &one.origin)),
        );
        let lines = lines.chain(
            (policy.allow.iter()).map(|one| ("seccomp.allow", one.value.as_str(), &one.origin)),
        );
        let lines = lines.chain(
            (policy.deny.iter()).map(|one| ("seccomp.deny", one.value.as_str(), &one.origin)),
        );
        all.extend(lines.map(|(key, word, origin)| Layer {
            layer: "seccomp".to_owned(),
            requested: key.to_owned(),
            origin: origin.to_string(),
            applied: Applied::Yes,
            how: format!("{word}, in the filter"),
        }));
    }
    all
}

/// What runsc is asked for, of a container that has a kernel of its own.
pub(crate) fn of_runsc(container: &Container) -> Vec<Layer> {
    // Where they cannot be read there is nothing to be said; the profile's own lines are there.
    let layers = container.layers().ok().flatten().unwrap_or_default();
    let lines = layers.into_iter().map(|one| Layer {
        layer: one.layer,
        requested: one.requested,
        origin: "gVisor".to_owned(),
        applied: match one.applied {
            true => Applied::Yes,
            false => Applied::No,
        },
        how: one.how,
    });
    lines.collect()
}

fn line(step: &Step) -> Layer {
    let (applied, how) = match step.effect {
        Effect::Applied | Effect::Already => (Applied::Yes, step.setting.clone()),
        Effect::Elsewhere(why) => (Applied::Elsewhere, why.to_owned()),
        Effect::Degraded(why) => (Applied::No, why.to_owned()),
    };
    Layer {
        layer: step.layer.to_owned(),
        requested: step.key.clone(),
        origin: step.origin.to_string(),
        applied,
        how,
    }
}

#[cfg(test)]
mod tests {
    use super::of_config;
    use serde_json::json;

    #[test]
    fn environment_is_told_by_names_alone() {
        let layers = of_config(&json!({
            "process": { "env": ["PATH=/bin", "TOKEN=secret"], "noNewPrivileges": true },
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        }));
        let how = |requested: &str| {
            let found = layers.iter().find(|layer| layer.requested == requested);
            found.unwrap().how.as_str()
        };
        assert_eq!(how("environment"), "PATH TOKEN");
        assert_eq!(how("namespaces"), "pid mount");
        assert_eq!(how("no_new_privileges"), "no_new_privs");
    }
}
