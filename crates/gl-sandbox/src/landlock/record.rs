//! Records of Landlock in the kernel's audit, read and put together: whose they are, and what they say.
//!
//! A domain tells of itself with its first denial, and of its end and of how many there were, if there was one.

use std::collections::HashMap;
use std::path::Path;

use gl_profile::Profile;

use crate::report::Denial;

/// Kinds of denials of a domain that are told apart, at most.
const KINDS: usize = 256;
/// Domains of all the host that are kept in mind, at most.
const DOMAINS: usize = 1024;

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    domains: HashMap<u64, Domain>,
}

#[derive(Debug, Default)]
struct Domain {
    /// Whose it is, once that is known.
    owner: Option<Owner>,
    seen: Vec<(Refusal, u64)>,
    /// Denials that were heard, of kinds that are not listed too.
    heard: u64,
    /// How many there were in all, once it is gone.
    total: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Us,
    Others,
}

/// What was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    /// `fs.write_file`, `net.connect_tcp`, `scope.signal`, ...; several with commas.
    blockers: String,
    path: Option<String>,
    /// What else tells it from others.
    rest: Vec<String>,
}

impl Heard {
    /// Takes the text of a record: `audit(TIME:SERIAL): domain=... ...`.
    pub(super) fn take(&mut self, text: &str, mark: &str) {
        let fields = fields(text);
        let find = |name: &str| {
            let found = fields.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.as_str())
        };
        let id = find("domain").and_then(|id| u64::from_str_radix(id, 16).ok());
        let Some(id) = id else {
            return;
        };
        if !self.domains.contains_key(&id) && self.domains.len() >= DOMAINS {
            return;
        }
        let domain = self.domains.entry(id).or_default();
        match (find("blockers"), find("status")) {
            (Some(blockers), _) => domain.refused(blockers, &fields),
            (None, Some("allocated")) => domain.began(find("comm") == Some(mark)),
            (None, Some("deallocated")) if domain.owner == Some(Owner::Us) => {
                domain.total = find("denials").and_then(|count| count.parse().ok());
            }
            (None, Some("deallocated")) => {
                self.domains.remove(&id);
            }
            _ => {}
        }
    }

    /// Whether a domain of ours is not gone yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.ours().any(|domain| domain.total.is_none())
    }

    /// Whether something was denied of which nobody knows to whom.
    pub(super) fn has_unknown(&self) -> bool {
        self.domains.values().any(|domain| domain.owner.is_none())
    }

    fn ours(&self) -> impl Iterator<Item = &Domain> {
        let all = self.domains.values();
        all.filter(|domain| domain.owner == Some(Owner::Us))
    }

    /// What was denied to us, and how many denials are not among that.
    pub(super) fn denials(&self, profiles: &[Profile]) -> (Vec<Denial>, u64) {
        let mut all: Vec<(&Refusal, u64)> = Vec::new();
        let mut unlisted = 0_u64;
        for domain in self.ours() {
            let mut listed = 0_u64;
            for (refusal, count) in &domain.seen {
                listed = listed.saturating_add(*count);
                match all.iter_mut().find(|(known, _)| *known == refusal) {
                    Some((_, known)) => *known = known.saturating_add(*count),
                    None => all.push((refusal, *count)),
                }
            }
            let total = domain.total.unwrap_or(0).max(domain.heard);
            unlisted = unlisted.saturating_add(total.saturating_sub(listed));
        }
        let told = all.into_iter();
        let told = told.map(|(refusal, count)| refusal.told(count, profiles));
        (told.collect(), unlisted)
    }
}

impl Domain {
    fn refused(&mut self, blockers: &str, fields: &[(&str, String)]) {
        if self.owner == Some(Owner::Others) {
            return;
        }
        self.heard = self.heard.saturating_add(1);
        let refusal = Refusal::of(blockers, fields);
        if let Some((_, count)) = self.seen.iter_mut().find(|(known, _)| *known == refusal) {
            *count = count.saturating_add(1);
        } else if self.seen.len() < KINDS {
            self.seen.push((refusal, 1));
        }
    }

    fn began(&mut self, ours: bool) {
        self.owner = Some(match ours {
            true => Owner::Us,
            false => {
                self.seen = Vec::new();
                Owner::Others
            }
        });
    }
}

impl Refusal {
    fn of(blockers: &str, fields: &[(&str, String)]) -> Self {
        let mut path = None;
        let mut rest = Vec::new();
        for (key, value) in fields {
            match *key {
                "path" | "name" => path = Some(value.clone()),
                // Where the file is on its disk, and what was read already.
                "dev" | "ino" | "domain" | "blockers" => {}
                key => rest.push(format!("{}={value}", name(key))),
            }
        }
        Self {
            blockers: blockers.to_owned(),
            path,
            rest,
        }
    }

    fn rights(&self) -> impl Iterator<Item = &str> {
        self.blockers.split(',')
    }

    fn told(&self, count: u64, profiles: &[Profile]) -> Denial {
        let mut arguments: Vec<String> = Vec::new();
        arguments.extend(self.path.iter().map(|path| format!("path={path}")));
        arguments.extend(self.rest.iter().cloned());
        Denial {
            layer: "landlock".to_owned(),
            what: self.blockers.clone(),
            arguments,
            answer: self.answer().to_owned(),
            // The kernel does not say who it was.
            process: String::new(),
            count,
            allow: self.allow(),
            denied_by: self.denied_by(profiles),
        }
    }

    fn answer(&self) -> &'static str {
        match self.rights().all(|right| right == "fs.refer") {
            true => "EXDEV",
            false if self.rights().all(is_access) => "EACCES",
            false => "EPERM",
        }
    }

    /// The line of a profile that would allow it, where there is one.
    fn allow(&self) -> Option<String> {
        const READS: [&str; 3] = ["fs.execute", "fs.read_file", "fs.read_dir"];
        // No profile has words for these.
        const NEVER: [&str; 4] = [
            "fs.ioctl_dev",
            "fs.make_char",
            "fs.make_block",
            "fs.change_topology",
        ];
        if self.rights().any(|right| right.starts_with("net.")) {
            return Some("network.allow_network = true".to_owned());
        }
        let path = self.path.as_deref().filter(|path| path.starts_with('/'))?;
        if !self.rights().all(is_access) || self.rights().any(|right| NEVER.contains(&right)) {
            return None;
        }
        let key = match self.rights().all(|right| READS.contains(&right)) {
            true => "read_only_paths",
            false => "read_write_paths",
        };
        Some(format!("filesystem.{key} = [{path:?}]"))
    }

    fn denied_by(&self, profiles: &[Profile]) -> Option<String> {
        let path = Path::new(self.path.as_deref()?);
        let blocked = profiles
            .iter()
            .flat_map(|one| &one.filesystem.blocked_paths);
        let mut blocked = blocked.filter(|line| path.starts_with(line.value.as_path()));
        let line = blocked.next()?;
        let (word, origin) = (line.value.as_str(), &line.origin);
        Some(format!("filesystem.blocked_paths {word:?} ({origin})"))
    }
}

/// Whether a right is one that rules can allow.
fn is_access(right: &str) -> bool {
    right.starts_with("net.") || (right.starts_with("fs.") && right != "fs.change_topology")
}

/// The kernel's names in words.
fn name(key: &str) -> &str {
    match key {
        "opid" => "pid",
        "ocomm" => "process",
        "daddr" => "address",
        "saddr" => "own address",
        "dest" => "port",
        "src" => "own port",
        other => other,
    }
}

/// The fields of a record. Values that could be misread are hexadecimal, others of a program's making in quotes.
fn fields(text: &str) -> Vec<(&str, String)> {
    let text = text.trim_end_matches('\0');
    let rest = text.split_once("): ").map_or(text, |(_, rest)| rest);
    let words = rest.split(' ').filter_map(|word| word.split_once('='));
    words.map(|(key, value)| (key, plain(key, value))).collect()
}

fn plain(key: &str, value: &str) -> String {
    if let Some(value) = value.strip_prefix('"') {
        return value.trim_end_matches('"').to_owned();
    }
    match key {
        "path" | "name" | "comm" | "ocomm" | "exe" => {
            decoded(value).unwrap_or_else(|| value.to_owned())
        }
        _ => value.to_owned(),
    }
}

/// What is written as hexadecimal digits.
fn decoded(value: &str) -> Option<String> {
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

#[cfg(test)]
mod tests;
