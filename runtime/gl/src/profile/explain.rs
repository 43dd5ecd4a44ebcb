//! `gl profile explain`: each line of a profile, and the setting of the kernel that it becomes here.

use std::collections::BTreeSet;
use std::process::ExitCode;

use gl_profile::seccomp::Filter;
use gl_profile::translate::{self, Effect, Step};
use gl_profile::{Profile, SeccompAction};
use gl_spec::{Extras, Rootless};
use serde::Serialize;

use crate::cli;
use crate::error::Error;
use crate::output;

/// One line, explained.
#[derive(Serialize)]
pub(super) struct Line {
    key: String,
    layer: &'static str,
    setting: String,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    origin: String,
}

pub(super) fn perform(options: &cli::Explain) -> Result<ExitCode, Error> {
    let cli::Tier::Container = options.tier;
    let profile = super::resolve(&options.name)?;
    let lines = lines(&profile)?;
    if options.format.json {
        output::json(&lines)?;
        return Ok(ExitCode::SUCCESS);
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
        vec![
            line.key,
            line.layer.to_owned(),
            line.origin,
            line.setting,
            effect,
        ]
    }));
    output::text(&output::columns(&rows))?;
    Ok(ExitCode::SUCCESS)
}

/// What the profile does to the default container on this host.
///
/// # Errors
///
/// What cannot be enforced here.
pub(super) fn lines(profile: &Profile) -> Result<Vec<Line>, Error> {
    let mut spec = gl_spec::default_spec(Rootless::No);
    let mut extras = Extras::default();
    let host = gl_container::profile_host(Some(translate::Controllers::ALL));
    let steps = translate::tighten(profile, &mut spec, &mut extras, &host, "ID")?;
    let mut lines: Vec<_> = steps.iter().map(line).collect();
    let Some(filter) = Filter::of(profile, gl_seccomp::NATIVE)? else {
        return Ok(lines);
    };
    let calls = |wanted: fn(SeccompAction) -> bool| {
        let rules = filter.rules().iter().filter(|rule| wanted(rule.action));
        rules.map(|rule| rule.call).collect::<BTreeSet<_>>().len()
    };
    let allowed = calls(|action| action == SeccompAction::Allow);
    let origin = profile
        .seccomp
        .default
        .as_ref()
        .map(|line| super::place(&line.origin));
    lines.push(Line {
        key: "seccomp".to_owned(),
        layer: "seccomp",
        setting: format!("{allowed} calls allowed, wholly or for some arguments"),
        effect: "applied",
        why: None,
        origin: origin.unwrap_or_default(),
    });
    Ok(lines)
}

fn line(step: &Step) -> Line {
    let (effect, why) = match step.effect {
        Effect::Applied => ("applied", None),
        Effect::Already => ("already", None),
        Effect::Elsewhere(why) => ("not here", Some(why)),
        Effect::Degraded(why) => ("lost", Some(why)),
    };
    Line {
        key: step.key.clone(),
        layer: step.layer,
        setting: step.setting.clone(),
        effect,
        why,
        origin: super::place(&step.origin),
    }
}
