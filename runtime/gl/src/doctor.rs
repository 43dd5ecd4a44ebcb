//! `gl doctor`: what this host can enforce.
//!
//! Every finding is seen, not assumed: a file of the kernel, a system call, a program's own answer.

mod probe;

use std::process::ExitCode;

use serde::Serialize;

use crate::cli;
use crate::error::Error;
use crate::output;

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
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partly => "partly",
            Self::Missing => "missing",
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
}

/// Looks, prints, and ends with 1 if something is missing that the default profile needs.
pub(crate) fn perform(options: &cli::Doctor) -> Result<ExitCode, Error> {
    let findings = probe::all();
    let lacks = findings
        .iter()
        .any(|finding| NEEDED.contains(&finding.name) && finding.state == State::Missing);
    if options.json {
        output::json(&Report { findings })?;
    } else {
        output::text(&table(&findings))?;
    }
    Ok(ExitCode::from(u8::from(lacks)))
}

/// What no profile can do without.
const NEEDED: &[&str] = &["cgroups", "namespaces", "filter"];

fn table(findings: &[Finding]) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            vec![
                finding.area.to_owned(),
                finding.name.to_owned(),
                finding.state.word().to_owned(),
                finding.seen.clone(),
            ]
        })
        .collect();
    let mut out = output::columns(&rows);
    let fixes: Vec<_> = findings
        .iter()
        .filter_map(|finding| Some((finding, finding.fix.as_ref()?)))
        .collect();
    if !fixes.is_empty() {
        out.push_str("\nTo fix:\n");
    }
    for (finding, fix) in fixes {
        out.push_str(&format!("  {} {}: {fix}\n", finding.area, finding.name));
    }
    out
}
