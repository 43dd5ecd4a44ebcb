//! `gl doctor`: what this host can enforce.
//!
//! Every finding is seen, not assumed: a file of the kernel, a system call, a program's own answer.

mod engines;
mod losses;
mod probe;
mod user;

use crate::status::Status;

use serde::Serialize;

use crate::cli;
use crate::error::Error;
use crate::output::{self, Tone, tone};

pub(crate) use probe::cgroups;
pub(crate) use user::try_namespaces;

use losses::Loss;

/// How far something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is.
    Ok,
    /// A part of it is not.
    Partly,
    /// It is not.
    Missing,
}

impl State {
    fn word(self) -> String {
        match self {
            Self::Ok => tone(Tone::Good, "ok"),
            Self::Partly => tone(Tone::Partly, "partly"),
            Self::Missing => tone(Tone::Bad, "missing"),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it belongs to.
    pub(crate) area: &'static str,
    /// What it is.
    pub(crate) name: &'static str,
    /// How far it is there.
    pub(crate) state: State,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do about it, if there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

#[derive(Serialize)]
struct Report {
    findings: Vec<Finding>,
    profiles: Vec<Loss>,
}

/// Looks, prints, and ends with 1 if something is missing that the default profile needs.
pub(crate) fn perform(options: &cli::Doctor) -> Result<Status, Error> {
    let (findings, limits) = probe::all();
    let missing = |name: &str| {
        let mut findings = findings.iter();
        findings.any(|finding| finding.name == name && finding.state == State::Missing)
    };
    let host = gl_container::profile_host(limits);
    let filters = match missing("filter") {
        true => State::Missing,
        false => State::Ok,
    };
    let profiles = losses::all(&host, filters);
    let lacks = NEEDED.iter().any(|name| missing(name))
        || profiles
            .iter()
            .any(|profile| profile.name == "default" && profile.state != State::Ok);
    let report = Report { findings, profiles };
    if options.json {
        output::json(&report)?;
    } else {
        output::text(&table(&report))?;
    }
    Ok(Status::from(u8::from(lacks)))
}

/// What no profile can do without.
const NEEDED: &[&str] = &["release", "cgroups", "namespaces", "filter"];

fn table(report: &Report) -> String {
    let findings = report.findings.iter();
    let rows: Vec<Vec<String>> = findings
        .clone()
        .map(|finding| {
            vec![
                finding.area.to_owned(),
                finding.name.to_owned(),
                finding.state.word(),
                finding.seen.clone(),
            ]
        })
        .collect();
    let mut out = output::columns(&rows);
    out.push_str("\nProfiles here:\n");
    out.push_str(&output::columns(&profile_rows(&report.profiles)));
    let fixes: Vec<_> = findings
        .filter_map(|finding| Some((finding, finding.fix.as_ref()?)))
        .collect();
    // Many profiles lack the same.
    let mut refused: Vec<(&str, Vec<&str>)> = Vec::new();
    for profile in &report.profiles {
        let Some(fix) = profile.fix.as_deref() else {
            continue;
        };
        match refused.iter_mut().find(|(other, _)| *other == fix) {
            Some((_, names)) => names.push(&profile.name),
            None => refused.push((fix, vec![&profile.name])),
        }
    }
    let refused = refused
        .into_iter()
        .map(|(fix, names)| format!("  profiles {}: {fix}\n", names.join(", ")));
    let fixes = fixes
        .into_iter()
        .map(|(finding, fix)| format!("  {} {}: {fix}\n", finding.area, finding.name));
    let fixes: String = fixes.chain(refused).collect();
    if !fixes.is_empty() {
        out.push_str("\nTo fix:\n");
        out.push_str(&fixes);
    }
    out
}

fn profile_rows(profiles: &[Loss]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for profile in profiles {
        let mut head = [profile.name.clone(), profile.state.word()];
        for line in profile.words() {
            let [name, state] = std::mem::take(&mut head);
            rows.push(vec![name, state, line]);
        }
    }
    rows
}
