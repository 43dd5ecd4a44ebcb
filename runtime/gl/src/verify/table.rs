//! What was found, as a table or as JSON.

use crate::status::Status;

use gl_profile::Profile;
use serde::Serialize;

use super::judge::{Control, Finding, Verdict};
use crate::cli::Form;
use crate::error::Error;
use crate::output::{self, Tone, tone};
use crate::probe::{self, AREAS, Seen};

/// The document.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    profile: &'a str,
    profile_hash: String,
    tier: &'a str,
    mode: &'a str,
    root: bool,
    summary: Summary,
    probes: &'a [Finding],
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Summary {
    /// And they work outside.
    denied: usize,
    /// And nobody has seen them work outside.
    unproved: usize,
    works: usize,
    contradicts: usize,
    not_promised: usize,
    not_provable: usize,
}

impl Summary {
    fn of(findings: &[Finding]) -> Self {
        let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
        Self {
            denied: count(Verdict::Denied),
            unproved: count(Verdict::Unproved),
            works: count(Verdict::Works),
            contradicts: count(Verdict::Contradicts),
            not_promised: count(Verdict::NotPromised),
            not_provable: count(Verdict::NotProvable),
        }
    }
}

/// Prints what was found.
pub(super) fn show(form: Form, profile: &Profile, findings: &[Finding]) -> Result<(), Error> {
    let summary = Summary::of(findings);
    if form == Form::Json {
        return output::json(&Document {
            version: 2,
            profile: profile.name.value.as_str(),
            profile_hash: profile.hash(),
            tier: profile.isolation.value.as_str(),
            mode: profile.mode.value.as_str(),
            root: rustix::process::geteuid().is_root(),
            summary,
            probes: findings,
        });
    }
    let mut text = String::new();
    for (area, _) in AREAS {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .filter(|finding| finding.area == *area)
            .map(row)
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!("{area}\n{}\n", output::columns(&rows)));
        }
    }
    let Summary {
        denied,
        unproved,
        works,
        contradicts,
        not_promised,
        not_provable,
    } = summary;
    text.push_str(&format!(
        "{} in tier {}: {denied} denied as they must be, {unproved} denied without proof (they fail outside as well), \
         {works} work as they must, {contradicts} contradict the profile, {not_promised} not promised, \
         {not_provable} not provable here\n",
        profile.name.value.as_str(),
        profile.isolation.value.as_str()
    ));
    output::text(&text)
}

fn row(finding: &Finding) -> Vec<String> {
    let verdict = match finding.verdict {
        Verdict::Denied | Verdict::Works => tone(Tone::Good, "ok"),
        Verdict::Unproved => tone(Tone::Partly, "unproved"),
        Verdict::Contradicts => tone(Tone::Bad, "FAIL"),
        Verdict::NotPromised => tone(Tone::Partly, "not promised"),
        Verdict::NotProvable => tone(Tone::Partly, "not provable"),
    };
    let mut row = vec![
        format!("  {verdict}"),
        finding.name.to_owned(),
        finding.what.to_owned(),
        seen(&finding.inside),
    ];
    row.push(match (finding.verdict, &finding.must) {
        (Verdict::NotPromised, super::expect::Must::NotPromised(why)) => why.clone(),
        (Verdict::Contradicts, super::expect::Must::Deny(why)) => format!("must be denied: {why}"),
        (Verdict::Contradicts, _) => "must work".to_owned(),
        (Verdict::Denied | Verdict::Unproved, _) => outside(&finding.control),
        _ => String::new(),
    });
    row
}

fn seen(seen: &Seen) -> String {
    let word = match seen {
        Seen::Worked(_) => "works",
        Seen::Denied(_) => "denied",
        Seen::Absent(_) => "absent",
        Seen::Killed(_) => "killed",
        Seen::Unable(_) => "not tried",
    };
    match seen.how() {
        "" => word.to_owned(),
        how => format!("{word}: {how}"),
    }
}

fn outside(control: &Control) -> String {
    match control {
        Control::Outside(Seen::Worked(_)) => "works outside".to_owned(),
        Control::Outside(other) => format!("outside {}, too", seen(other)),
        Control::OwnNamespace(_) => "works outside, in a user namespace".to_owned(),
        Control::NotTried => "not tried outside".to_owned(),
    }
}

/// A probe in a list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    area: &'static str,
    what: &'static str,
}

/// Prints all probes.
pub(super) fn list(form: Form) -> Result<Status, Error> {
    let all = probe::all().map(|probe| Listed {
        name: probe.name,
        area: probe.area,
        what: probe.what,
    });
    let all: Vec<Listed> = all.collect();
    if form == Form::Json {
        return output::json(&all).map(|()| Status::SUCCESS);
    }
    let rows = all
        .iter()
        .map(|one| [one.area, one.name, one.what].map(str::to_owned).to_vec());
    let rows: Vec<Vec<String>> = rows.collect();
    output::text(&output::columns(&rows)).map(|()| Status::SUCCESS)
}
