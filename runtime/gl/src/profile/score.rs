//! `gl profile score`: how much a profile leaves open, each point with its reason.

use crate::status::Status;
use std::collections::BTreeSet;

use gl_profile::seccomp::{self, Filter};
use gl_profile::{Isolation, Mode, OnMissing, Profile, SeccompAction};
use serde::Serialize;

use crate::cli;
use crate::error::Error;
use crate::output;

/// Something that is left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Point {
    points: u32,
    what: String,
    why: String,
}

#[derive(Serialize)]
struct Score {
    /// 0 to 100; more is more open.
    score: u32,
    /// Calls that are let through, wholly or for some arguments.
    calls: usize,
    points: Vec<Point>,
}

/// Groups whose calls are ways out, and what each of them weighs.
const WEIGHTS: &[(&str, u32, &str)] = &[
    ("mounts", 10, "changes what every path means"),
    (
        "namespaces",
        8,
        "a new user namespace opens most of the kernel's attack surface",
    ),
    ("kernel-code", 10, "puts code into the kernel"),
    ("debugging", 8, "reads and writes other processes"),
    ("profiling", 5, "measures the kernel and other processes"),
    ("io-uring", 6, "makes calls that no filter sees"),
    (
        "userfaults",
        5,
        "holds the kernel up in the middle of a copy",
    ),
    ("file-handles", 8, "opens files that no path leads to"),
    ("system-control", 8, "administers the machine"),
    ("keyring", 4, "keys are not kept apart by namespaces"),
    ("process-forging", 4, "rewrites what a process is"),
    (
        "terminal-injection",
        6,
        "types commands into the caller's terminal",
    ),
    ("sockets-kernel", 4, "speaks to the kernel's own protocols"),
    ("sockets-raw", 5, "sees and forges packets"),
    ("sockets-client", 2, "sends data out"),
    ("sockets-server", 1, "is reached from outside"),
    ("processes", 1, "starts programs"),
];

pub(super) fn perform(one: &cli::One) -> Result<Status, Error> {
    let profile = super::resolve(&one.name)?;
    let score = score(&profile)?;
    if one.format.json {
        output::json(&score)?;
        return Ok(Status::SUCCESS);
    }
    let mut rows: Vec<_> = score
        .points
        .iter()
        .map(|point| {
            vec![
                format!("{:>3}", point.points),
                point.what.clone(),
                point.why.clone(),
            ]
        })
        .collect();
    rows.push(vec![
        format!("{:>3}", score.score),
        "of 100".to_owned(),
        format!("{} calls are let through", score.calls),
    ]);
    output::text(&output::columns(&rows))?;
    Ok(Status::SUCCESS)
}

fn score(profile: &Profile) -> Result<Score, Error> {
    let passes = |action| matches!(action, SeccompAction::Allow | SeccompAction::Log);
    let calls: BTreeSet<&str> = match &Filter::of(profile, gl_seccomp::NATIVE)? {
        Some(filter) => {
            let rules = filter.rules().iter().filter(|rule| passes(rule.action));
            rules.map(|rule| rule.call).collect()
        }
        None => gl_seccomp::calls(gl_seccomp::NATIVE).collect(),
    };
    let mut points = Vec::new();
    let mut add = |weight: u32, what: &str, why: &str| {
        points.push(Point {
            points: weight,
            what: what.to_owned(),
            why: why.to_owned(),
        });
    };
    for (name, weight, why) in WEIGHTS {
        let Some(group) = seccomp::group(name) else {
            continue;
        };
        // A call with conditions is let through by harmless groups, too.
        let own = group.rules.iter().filter(|rule| rule.conditions.is_empty());
        let mut own = own.flat_map(|rule| &*rule.calls);
        if own.any(|call| calls.contains(call.name())) {
            add(*weight, &format!("calls of {name}"), why);
        }
    }
    match profile.isolation.value {
        Isolation::Basic => add(
            15,
            "isolation",
            "processes, network and files are the caller's",
        ),
        Isolation::Namespace => add(5, "isolation", "the root is a view of the host"),
        Isolation::Container | Isolation::Gvisor => {}
    }
    if profile.mode.value == Mode::Permissive {
        add(30, "mode", "nothing is denied, only logged");
    }
    if profile.on_missing.value == OnMissing::Degrade {
        add(5, "on_missing", "layers may be left out");
    }
    if profile.network.allow_network.value {
        add(10, "network", "the network is there");
    }
    if profile.process.capabilities.is_none() {
        add(5, "capabilities", "the engine decides on them");
    }
    if !profile
        .process
        .no_new_privileges
        .as_ref()
        .is_some_and(|line| line.value)
    {
        add(5, "no_new_privileges", "set-user-ID programs work");
    }
    if profile.filesystem.read_write_paths.is_none() {
        add(5, "files", "everything that the user owns can be written");
    }
    let sum: u32 = points.iter().map(|point| point.points).sum();
    Ok(Score {
        score: sum.min(100),
        calls: calls.len(),
        points,
    })
}
