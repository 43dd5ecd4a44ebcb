//! The differences that are known: `differences.toml`. Each says where, what both show, why, and the
//! sentence of the specification that decides.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Failure;
use crate::difference::Difference;

/// One entry: a pattern for differences, and why they are right. In patterns `*` stands for any text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// A file of the host without which the difference is not there.
    pub(crate) needs: Option<PathBuf>,
    /// Names of cases.
    pub(crate) cases: Vec<String>,
    /// Paths in the world.
    pub(crate) paths: Vec<String>,
    /// What greenlang shows.
    pub(crate) greenlang: String,
    /// What libcontainer shows.
    pub(crate) reference: String,
    /// Why it is so.
    reason: String,
    /// The chapter of the runtime-spec and its sentence, or that it has none on this.
    spec: String,
    /// How many differences it has explained.
    #[serde(skip)]
    used: Cell<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    difference: Vec<Known>,
}

/// Reads the list.
///
/// # Errors
///
/// With what is wrong in the file.
pub(crate) fn read(file: &Path) -> Result<Vec<Known>, Failure> {
    let text = fs::read_to_string(file).map_err(|e| format!("read {}: {e}", file.display()))?;
    let listed: Listed = toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let empty = |entry: &&Known| entry.reason.is_empty() || entry.spec.is_empty();
    if let Some(entry) = listed.difference.iter().find(empty) {
        return Err(format!("{}: no reason for {:?}", file.display(), entry.paths).into());
    }
    Ok(listed.difference)
}

impl Known {
    /// Whether it stands in the list for nothing on this machine.
    pub(crate) fn is_unused(&self) -> bool {
        let applies = self
            .needs
            .as_ref()
            .is_none_or(|path| fs::metadata(path).is_ok());
        applies && self.used.get() == 0
    }

    /// Whether this entry explains a difference of a case; counts it then.
    pub(crate) fn explains(&self, case: &str, found: &Difference) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|p| matches(p, text));
        let explained = any(&self.cases, case)
            && any(&self.paths, &found.path)
            && matches(&self.greenlang, &found.greenlang)
            && matches(&self.reference, &found.reference);
        if explained {
            self.used.set(self.used.get() + 1);
        }
        explained
    }
}

/// Whether a pattern, where `*` stands for any text, is the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    // The shortest text for each star but the last, which is tried from every place.
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_matched_whole() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "any:thing", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*c*", "acx", true),
            ("*b*", "aaa", false),
            ("mounts:/proc/*:options", "mounts:/proc/a:b:options", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
