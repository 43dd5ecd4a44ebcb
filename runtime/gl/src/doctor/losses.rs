//! What each profile would lose on this host: the translation itself is asked.

use gl_container::HostProfiles;
use gl_profile::seccomp::Filter;
use gl_profile::translate::{self, Effect, Host};
use gl_profile::{OnMissing, Profile};
use gl_spec::{Classify as _, Extras, Rootless};
use serde::Serialize;

use super::State;
use crate::profile;

/// A line that would not be in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Lost {
    key: String,
    why: String,
    origin: String,
}

/// One profile on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Loss {
    pub(super) name: String,
    /// Nothing is lost, some lines are, or no container would be made.
    pub(super) state: State,
    /// What would be left out.
    pub(super) lost: Vec<Lost>,
    /// Why no container would be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Loss {
    /// The lines of its cell in the table.
    pub(super) fn words(&self) -> Vec<String> {
        if let Some(refused) = &self.refused {
            return vec![format!("refused: {refused}")];
        }
        if self.lost.is_empty() {
            return vec!["loses nothing".to_owned()];
        }
        let lost = self.lost.iter();
        lost.map(|one| format!("loses {}: {}", one.key, one.why))
            .collect()
    }
}

/// All profiles that a container can name.
pub(super) fn all(host: &Host, filters: State) -> Vec<Loss> {
    match profile::names() {
        Ok(names) => {
            let names = names.into_iter();
            names.map(|name| one(name, host, filters)).collect()
        }
        Err(err) => vec![Loss {
            name: HostProfiles::DIR.to_owned(),
            state: State::Missing,
            lost: Vec::new(),
            refused: Some(gl_spec::chain(&err)),
            fix: err.hint().map(|hint| hint.into_owned()),
        }],
    }
}

fn one(name: String, host: &Host, filters: State) -> Loss {
    let mut loss = Loss {
        name,
        state: State::Ok,
        lost: Vec::new(),
        refused: None,
        fix: None,
    };
    let resolved = Profile::resolve(loss.name.as_str(), &HostProfiles);
    let judged = resolved
        .map_err(|err| {
            (
                gl_spec::chain(&err),
                err.hint().map(|hint| hint.into_owned()),
            )
        })
        .and_then(|profile| lost(&profile, host, filters));
    match judged {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => {
            loss.state = State::Partly;
            loss.lost = lost;
        }
        Err((refused, fix)) => {
            loss.state = State::Missing;
            loss.refused = Some(refused);
            loss.fix = fix;
        }
    }
    loss
}

type Refused = (String, Option<String>);

fn lost(profile: &Profile, host: &Host, filters: State) -> Result<Vec<Lost>, Refused> {
    let mut spec = gl_spec::default_spec(Rootless::No);
    let mut extras = Extras::default();
    let steps = translate::tighten(profile, &mut spec, &mut extras, host, "ID").map_err(|err| {
        (
            gl_spec::chain(&err),
            err.hint().map(|hint| hint.into_owned()),
        )
    })?;
    let filter = Filter::of(profile, gl_seccomp::NATIVE).map_err(|err| {
        (
            gl_spec::chain(&err),
            err.hint().map(|hint| hint.into_owned()),
        )
    })?;
    if filter.is_some() && filters == State::Missing {
        let why = "enforce the filter of system calls: the kernel has none".to_owned();
        let fix = "run a kernel that is built with CONFIG_SECCOMP_FILTER".to_owned();
        return Err((why, Some(fix)));
    }
    let lost = steps.into_iter().filter_map(|step| match step.effect {
        Effect::Degraded(why) => Some(Lost {
            key: step.key,
            why: why.to_owned(),
            origin: profile::place(&step.origin),
        }),
        Effect::Applied | Effect::Already | Effect::Elsewhere(_) => None,
    });
    let lost: Vec<_> = lost.collect();
    debug_assert!(lost.is_empty() || profile.on_missing.value == OnMissing::Degrade);
    Ok(lost)
}
