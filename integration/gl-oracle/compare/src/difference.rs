//! Where two worlds differ, path by path.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{OUTCOME, RAN};

/// What stands for a value that is not there.
pub(crate) const MISSING: &str = "nothing";

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Keys from the outside in, with `:` between them.
    pub(crate) path: String,
    /// The value in greenlang's world.
    pub(crate) greenlang: String,
    /// The value in the reference's.
    pub(crate) reference: String,
}

/// All differences, in the order of their paths.
///
/// Where one of the two refused, only that is a difference: there is no world to compare. Two refusals
/// are equal, whatever their words. What is left on the host afterwards is not compared: greenlang's is
/// judged by itself, and libcontainer's depends on how fast processes end.
pub(crate) fn between(greenlang: &Value, reference: &Value) -> Vec<Difference> {
    let (ours, theirs) = (leaves(greenlang), leaves(reference));
    let ran = |world: &Value| world[OUTCOME] == RAN;
    let mut paths: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    paths.sort();
    paths.dedup();
    let both = ran(greenlang) && ran(reference);
    let compared = paths.into_iter().filter(|path| match path.as_str() {
        OUTCOME => ran(greenlang) != ran(reference),
        path => both && !path.starts_with("left:"),
    });
    let value = |of: &BTreeMap<String, String>, path: &str| {
        of.get(path).cloned().unwrap_or(MISSING.to_owned())
    };
    compared
        .map(|path| Difference {
            path: path.clone(),
            greenlang: value(&ours, path),
            reference: value(&theirs, path),
        })
        .filter(|found| found.greenlang != found.reference)
        .collect()
}

/// Every scalar and every list by its path.
pub(crate) fn leaves(world: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect("", world, &mut found);
    found
}

fn collect(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(all) if !all.is_empty() => {
            for (key, one) in all {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}:{key}")
                };
                collect(&path, one, into);
            }
        }
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn worlds_that_are_equal_have_no_difference() {
        let world = json!({"outcome": "runs", "a": {"b": [1, 2]}});
        assert_eq!(between(&world, &world), []);
    }

    #[test]
    fn a_value_that_one_lacks_is_a_difference() {
        let ours = json!({"outcome": "runs", "a": {"b": 1}});
        let theirs = json!({"outcome": "runs", "a": {}});
        let found = between(&ours, &theirs);
        let paths: Vec<_> = found
            .iter()
            .map(|d| (d.path.as_str(), d.greenlang.as_str(), d.reference.as_str()))
            .collect();
        assert_eq!(paths, [("a", "nothing", "{}"), ("a:b", "1", "nothing")]);
    }

    #[test]
    fn a_refusal_is_the_only_difference_of_its_case() {
        let ours = json!({"outcome": "refused by create: no", "left": {"cgroups": []}});
        let theirs = json!({"outcome": "runs", "a": 1, "left": {"cgroups": ["x"]}});
        let found = between(&ours, &theirs);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "outcome");
    }

    #[test]
    fn two_refusals_in_other_words_are_equal() {
        let ours = json!({"outcome": "refused by create: no"});
        let theirs = json!({"outcome": "refused by start: never"});
        assert_eq!(between(&ours, &theirs), []);
    }
}
