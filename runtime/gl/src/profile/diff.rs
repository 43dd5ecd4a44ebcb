//! `gl profile diff A B`: what B allows that A does not, and where else they differ.

use crate::status::Status;
use std::collections::{BTreeMap, BTreeSet};

use gl_profile::seccomp::{Filter, Piece};
use gl_profile::{Profile, SeccompAction};
use serde::Serialize;
use serde_json::Value as Json;

use crate::cli;
use crate::error::Error;
use crate::output;

/// What B is beside A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Beside {
    /// It allows more.
    More,
    /// It allows less.
    Less,
    /// Which of the two cannot be told by the values.
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    key: String,
    from: Option<Vec<String>>,
    to: Option<Vec<String>>,
    beside: Beside,
}

pub(super) fn perform(options: &cli::Diff) -> Result<Status, Error> {
    let (from, to) = (super::resolve(&options.from)?, super::resolve(&options.to)?);
    let mut changes = settings(&from, &to);
    changes.extend(calls(&from, &to)?);
    let more = changes.iter().any(|change| change.beside != Beside::Less);
    if options.format.json {
        output::json(&changes)?;
    } else {
        let rows: Vec<_> = changes.iter().flat_map(rows).collect();
        output::text(&output::columns(&rows))?;
    }
    Ok(Status::from(u8::from(more)))
}

/// The width of the last column, so that a line with the longest key fits a terminal of 100.
const WIDTH: usize = 64;

/// The calls of both sides whose arguments differ.
const ARGUMENTS: &str = "seccomp.arguments";

/// A change as rows of a table: one, or more where it has a list.
fn rows(change: &Change) -> Vec<Vec<String>> {
    let mut sign = match change.beside {
        Beside::More => "+",
        Beside::Less => "-",
        Beside::Other => "?",
    };
    let mut key = change.key.as_str();
    let mut rows = Vec::new();
    for line in lines(change) {
        rows.push([sign, key, line.as_str()].map(str::to_owned).to_vec());
        (sign, key) = ("", "");
    }
    rows
}

fn lines(change: &Change) -> Vec<String> {
    let words = |values: &Option<Vec<String>>| match values {
        None => vec!["(not set)".to_owned()],
        Some(values) if values.is_empty() => vec!["(none)".to_owned()],
        Some(values) => values.clone(),
    };
    let (from, to) = (words(&change.from), words(&change.to));
    let listed = |head: &str, values: Vec<&String>| {
        let words: Vec<_> = std::iter::once(head)
            .chain(values.into_iter().map(String::as_str))
            .collect();
        output::wrap(&words, WIDTH)
    };
    if change.key == ARGUMENTS {
        let one = |head: &str, text: &str| {
            let words: Vec<_> = std::iter::once(head).chain(text.split(' ')).collect();
            output::wrap(&words, WIDTH)
        };
        let new = change
            .to
            .iter()
            .flatten()
            .filter(|text| !from.contains(text));
        let gone = change
            .from
            .iter()
            .flatten()
            .filter(|text| !to.contains(text));
        let new = new.flat_map(|text| one("new:", text));
        return new
            .chain(gone.flat_map(|text| one("gone:", text)))
            .collect();
    }
    if from.len() == 1 && to.len() == 1 {
        return output::wrap(&[from[0].as_str(), "->", to[0].as_str()], WIDTH);
    }
    let new: Vec<_> = to.iter().filter(|word| !from.contains(word)).collect();
    let gone: Vec<_> = from.iter().filter(|word| !to.contains(word)).collect();
    // What is not there does not go.
    let only_new = change.from.as_ref().is_some_and(Vec::is_empty);
    let only_gone = change.to.as_ref().is_some_and(Vec::is_empty);
    let (new, gone) = match (only_new, only_gone) {
        (true, false) => (new, Vec::new()),
        (false, true) => (Vec::new(), gone),
        _ => (new, gone),
    };
    let mut lines = Vec::new();
    if !new.is_empty() {
        lines.extend(listed("new:", new));
    }
    if !gone.is_empty() {
        lines.extend(listed("gone:", gone));
    }
    lines
}

/// How the values of a key are ordered by what they allow.
enum Order {
    /// A larger number allows more, and none allows most.
    Number,
    /// Each item allows something more; no list at all allows most.
    Allows,
    /// Each item takes something away.
    Denies,
    /// The words, the strictest first.
    Words(&'static [&'static str]),
}

fn order(key: &str) -> Option<Order> {
    match key {
        "isolation" => Some(Order::Words(&["gvisor", "container", "namespace", "basic"])),
        "mode" => Some(Order::Words(&["enforcing", "permissive"])),
        "on_missing" => Some(Order::Words(&["refuse", "degrade"])),
        "network.allow_network" | "network.allow_loopback" => {
            Some(Order::Words(&["false", "true"]))
        }
        "process.no_new_privileges" | "filesystem.readonly_root" => {
            Some(Order::Words(&["true", "false"]))
        }
        "setup_timeout" | "execution_timeout" => Some(Order::Number),
        "network.blocked_hosts" | "filesystem.blocked_paths" | "filesystem.mask_paths" => {
            Some(Order::Denies)
        }
        "network.allowed_hosts"
        | "network.allowed_ports"
        | "filesystem.read_write_paths"
        | "filesystem.bind_mounts"
        | "process.capabilities" => Some(Order::Allows),
        key if key.starts_with("limits.") => Some(Order::Number),
        _ => None,
    }
}

fn by_key(profile: &Profile) -> BTreeMap<&'static str, Vec<String>> {
    let mut keys: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for entry in profile.entries() {
        let values = keys.entry(entry.key).or_default();
        match entry.value {
            Json::Array(items) if items.is_empty() => {}
            value => values.push(super::plain(&value)),
        }
    }
    keys
}

fn settings(from: &Profile, to: &Profile) -> Vec<Change> {
    let (from, to) = (by_key(from), by_key(to));
    let keys: BTreeSet<_> = from.keys().chain(to.keys()).copied().collect();
    let said = |key: &&str| {
        !["name", "description", "level"].contains(key) && !key.starts_with("seccomp.")
    };
    keys.into_iter()
        .filter(said)
        .filter_map(|key| {
            let (from, to) = (from.get(key), to.get(key));
            (from != to).then(|| Change {
                key: key.to_owned(),
                beside: beside(key, from, to),
                from: from.cloned(),
                to: to.cloned(),
            })
        })
        .collect()
}

fn beside(key: &str, from: Option<&Vec<String>>, to: Option<&Vec<String>>) -> Beside {
    let set = |values: Option<&Vec<String>>| -> Option<BTreeSet<String>> {
        values.map(|values| values.iter().cloned().collect())
    };
    let number = |values: Option<&Vec<String>>| {
        values
            .and_then(|values| values.first()?.parse::<u64>().ok())
            .unwrap_or(u64::MAX)
    };
    let compare = |less: bool| if less { Beside::Less } else { Beside::More };
    match order(key) {
        Some(Order::Number) => compare(number(to) < number(from)),
        Some(Order::Words(words)) => {
            let at = |values: Option<&Vec<String>>| {
                let word = values.and_then(|values| values.first());
                word.and_then(|word| words.iter().position(|one| one == word))
                    .unwrap_or(words.len())
            };
            compare(at(to) < at(from))
        }
        Some(Order::Allows) => match (set(from), set(to)) {
            (Some(from), Some(to)) if to.is_subset(&from) => Beside::Less,
            // No list at all allows most.
            (None, Some(_)) => Beside::Less,
            _ => Beside::More,
        },
        Some(Order::Denies) => {
            let (from, to) = (set(from).unwrap_or_default(), set(to).unwrap_or_default());
            compare(to.is_superset(&from))
        }
        None => Beside::Other,
    }
}

/// For which arguments a call is let through: any of these.
type Allowed = BTreeMap<&'static str, Vec<Piece>>;

/// The calls that the filters let through, wholly or for some arguments.
fn allowed(profile: &Profile) -> Result<Allowed, Error> {
    // Without a filter every call is let through.
    let filter = Filter::of(profile, gl_seccomp::NATIVE)?;
    let Some(filter) = filter else {
        let all = gl_seccomp::calls(gl_seccomp::NATIVE);
        return Ok(all.map(|call| (call, vec![Piece::ALL])).collect());
    };
    let mut calls = Allowed::new();
    let rules = filter.rules().iter();
    for rule in rules.filter(|rule| rule.action == SeccompAction::Allow) {
        calls.entry(rule.call).or_default().push(rule.arguments);
    }
    Ok(calls)
}

/// Whether each piece of `some` is within one of `all`.
fn within(some: &[Piece], all: &[Piece]) -> bool {
    let contains = |one: &Piece, other: &Piece| {
        let mut pairs = one.0.iter().zip(other.0);
        pairs.all(|(one, other)| {
            one.mask & !other.mask == 0 && (one.value ^ other.value) & one.mask == 0
        })
    };
    some.iter()
        .all(|piece| all.iter().any(|other| contains(other, piece)))
}

/// The arguments that a rule asks for, in words.
fn condition(call: &str, piece: &Piece) -> String {
    let asked = piece.0.iter().enumerate();
    let asked = asked.filter(|(_, bits)| bits.mask != 0);
    let words: Vec<_> = asked
        .map(|(index, bits)| match bits.mask {
            u64::MAX | 0xffff_ffff => format!("arg{index} == {:#x}", bits.value),
            mask => format!("arg{index} & {mask:#x} == {:#x}", bits.value),
        })
        .collect();
    match words.is_empty() {
        true => format!("{call}: any arguments"),
        false => format!("{call}: {}", words.join(" and ")),
    }
}

fn calls(from: &Profile, to: &Profile) -> Result<Vec<Change>, Error> {
    let (from, to) = (allowed(from)?, allowed(to)?);
    let names = |one: &Allowed, other: &Allowed| -> Vec<String> {
        let only = one.keys().filter(|call| !other.contains_key(*call));
        only.map(|call| (*call).to_owned()).collect()
    };
    let mut changes = Vec::new();
    let mut add = |key: &str, from: Vec<String>, to: Vec<String>, beside| {
        if !(from.is_empty() && to.is_empty()) {
            changes.push(Change {
                key: key.to_owned(),
                from: Some(from),
                to: Some(to),
                beside,
            });
        }
    };
    add("seccomp.calls", Vec::new(), names(&to, &from), Beside::More);
    add("seccomp.calls", names(&from, &to), Vec::new(), Beside::Less);
    for wanted in [Beside::More, Beside::Less, Beside::Other] {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (call, new) in &to {
            let Some(old) = from.get(call) else {
                continue;
            };
            let found = match (within(new, old), within(old, new)) {
                (true, true) => continue,
                (true, false) => Beside::Less,
                (false, true) => Beside::More,
                (false, false) => Beside::Other,
            };
            if found == wanted {
                before.extend(old.iter().map(|piece| condition(call, piece)));
                after.extend(new.iter().map(|piece| condition(call, piece)));
            }
        }
        add(ARGUMENTS, before, after, wanted);
    }
    Ok(changes)
}
