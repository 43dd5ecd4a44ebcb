//! Every layer of a sandbox as lines of the report: what it sets up by itself, read from the config that
//! it hands on, and what the profile asks for.

mod told;

use std::path::Path;

use gl_container::{Container, Decision};
use gl_profile::translate::{Effect, Step};
use gl_profile::{Origin, Profile};
use rustix::io::Errno;
use serde_json::Value as Json;

use crate::error::Error;
use crate::report::{Applied, Layer};

pub(crate) use told::Told;

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
pub(crate) fn of_profile(decision: &Decision, told: &Told) -> Vec<Layer> {
    let steps = decision.steps.iter();
    let mut all: Vec<Layer> = steps.flat_map(|step| told.lines(step)).collect();
    all.extend(told.bound());
    all.extend(decision.profiles.iter().flat_map(filter));
    all
}

/// The same of a program in the tier `basic`, whose plan says it as it is.
pub(crate) fn of_basic(decision: &Decision) -> Vec<Layer> {
    let steps = decision.steps.iter().map(line);
    steps
        .chain(decision.profiles.iter().flat_map(filter))
        .collect()
}

fn filter(profile: &Profile) -> Vec<Layer> {
    let policy = &profile.seccomp;
    let one = |key: &str, word: &str, origin: &Origin| Layer {
        layer: "seccomp".to_owned(),
        requested: key.to_owned(),
        origin: origin.to_string(),
        applied: Applied::Yes,
        how: format!("{word}, in the filter"),
    };
    let mut all = Vec::new();
    for (key, list) in [
        ("seccomp.groups", &policy.groups),
        ("seccomp.deny_groups", &policy.deny_groups),
    ] {
        all.extend(
            list.iter()
                .map(|word| one(key, word.value.as_str(), &word.origin)),
        );
    }
    for (key, list) in [
        ("seccomp.allow", &policy.allow),
        ("seccomp.deny", &policy.deny),
    ] {
        all.extend(
            list.iter()
                .map(|word| one(key, word.value.as_str(), &word.origin)),
        );
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
