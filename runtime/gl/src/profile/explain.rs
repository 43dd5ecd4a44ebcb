//! `gl profile explain`: each line of a profile, and the setting of the kernel that it becomes here.

use crate::status::Status;
use std::collections::BTreeSet;

use gl_profile::seccomp::Filter;
use gl_profile::translate::{Controllers, Effect, Host, Step};
use gl_profile::{OnMissing, Profile, SeccompAction};
use serde::Serialize;

use super::tier;
use crate::cli;
use crate::error::Error;
use crate::output;

/// One line, explained.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) layer: &'static str,
    pub(super) setting: String,
    pub(super) effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    origin: String,
    /// What to do about a refusal.
    #[serde(skip)]
    hint: Option<String>,
}

impl Line {
    /// One that is in force, by nothing yet.
    pub(super) fn new(key: &str, layer: &'static str, origin: String) -> Self {
        Self {
            key: key.to_owned(),
            layer,
            setting: String::new(),
            effect: "applied",
            why: None,
            origin,
            hint: None,
        }
    }

    pub(super) fn of_step(step: &Step) -> Self {
        let (effect, why) = match step.effect {
            Effect::Applied => ("applied", None),
            Effect::Already => ("already", None),
            Effect::Elsewhere(why) => ("not here", Some(why)),
            Effect::Degraded(why) => ("lost", Some(why)),
        };
        Self {
            setting: step.setting.clone(),
            effect,
            why: why.map(str::to_owned),
            ..Self::new(&step.key, step.layer, super::place(&step.origin))
        }
    }

    /// Whether the profile goes on without it.
    pub(super) fn degrades(&self, profile: &Profile) -> bool {
        profile.on_missing.value == OnMissing::Degrade
    }

    pub(super) fn refuse(&mut self, why: &str, hint: &str) {
        self.effect = "refused by name";
        self.why = Some(why.to_owned());
        self.hint = Some(hint.to_owned());
        self.setting.clear();
    }

    pub(super) fn possible(mut self) -> Self {
        if self.effect == "applied" {
            self.effect = "possible";
        }
        self
    }

    pub(super) fn elsewhere(&mut self, why: &str) {
        self.effect = "not here";
        self.why = Some(why.to_owned());
    }

    pub(super) fn becomes(&mut self, layer: &'static str, what: &str, value: &str) {
        self.layer = layer;
        self.setting = format!("{what} {value}").trim().to_owned();
    }

    /// A limit of a cgroup, or what is left of it without one.
    pub(super) fn limit(&mut self, has: bool, what: &str, instead: &str, value: &str) {
        match has {
            true => self.becomes("cgroup", what, value),
            false => {
                let text = if instead.is_empty() { "" } else { value };
                self.becomes("rlimit", instead, text);
                self.effect = "lost";
                self.why = Some("there is no cgroup with the controller".to_owned());
            }
        }
    }

    /// Rights that Landlock takes away from that version of its interface on.
    pub(super) fn landlock(&mut self, host: &Host, since: u32, what: &str, value: &str) {
        match host.landlock_abi.is_some_and(|abi| abi >= since) {
            true => self.becomes("landlock", what, value),
            false => self.refuse("the kernel's Landlock cannot do it", "boot a newer kernel"),
        }
    }

    fn is_refused(&self) -> bool {
        self.effect == "refused by name"
    }
}

pub(super) fn perform(options: &cli::Explain) -> Result<Status, Error> {
    let profile = super::resolve(&options.name)?;
    let lines = lines(&profile, options.tier, Some(Controllers::ALL))?;
    let refused = lines.iter().find(|line| line.is_refused()).map(refusal);
    print(lines, &options.format)?;
    match refused {
        None => Ok(Status::SUCCESS),
        Some(refused) => Err(refused),
    }
}

/// The error that a container would end with.
fn refusal(line: &Line) -> Error {
    Error::Line {
        place: format!("{}: {}", line.origin, line.key),
        why: line.why.clone().unwrap_or_default(),
        hint: line.hint.clone().unwrap_or_default(),
    }
}

fn print(lines: Vec<Line>, format: &cli::Json) -> Result<(), Error> {
    if format.json {
        return output::json(&lines);
    }
    let mut rows = vec![
        ["LINE", "LAYER", "SET AT", "BECOMES", "IN FORCE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(lines.into_iter().map(|line| {
        let effect = match line.why {
            Some(why) => format!("{}: {why}", line.effect),
            None => line.effect.to_owned(),
        };
        let layer = line.layer.to_owned();
        vec![line.key, layer, line.origin, line.setting, effect]
    }));
    output::text(&output::columns(&rows))
}

/// What the profile does in a tier on this host, with a cgroup of these controllers.
///
/// # Errors
///
/// A filter that cannot be worked out.
pub(super) fn lines(
    profile: &Profile,
    tier: cli::Tier,
    cgroup: Option<Controllers>,
) -> Result<Vec<Line>, Error> {
    let mut lines = tier::lines(profile, tier, cgroup);
    let Some(filter) = Filter::of(profile, gl_seccomp::NATIVE)? else {
        return Ok(lines);
    };
    let rules = filter.rules().iter();
    let allowed = rules.filter(|rule| rule.action == SeccompAction::Allow);
    let allowed = allowed.map(|rule| rule.call).collect::<BTreeSet<_>>().len();
    let origin = profile.seccomp.default.as_ref();
    let origin = origin.map(|line| super::place(&line.origin));
    let mut line = Line::new("seccomp", "seccomp", origin.unwrap_or_default());
    line.setting = format!("{allowed} calls allowed, wholly or for some arguments");
    if tier == cli::Tier::Gvisor {
        line.setting.push_str(", in gVisor's kernel");
    }
    lines.push(line);
    Ok(lines)
}

/// The lines that are not in force as they say, as `key: why`.
pub(super) fn lacking(lines: &[Line]) -> Vec<String> {
    let lost = lines
        .iter()
        .filter(|line| line.is_refused() || line.effect == "lost");
    lost.map(|line| {
        let why = line.why.as_deref().unwrap_or_default();
        let instead = match line.setting.as_str() {
            "" => String::new(),
            setting => format!("; in its place: {setting}"),
        };
        format!(
            "{}: {}: {}: {why}{instead}",
            line.origin, line.key, line.effect
        )
    })
    .collect()
}
