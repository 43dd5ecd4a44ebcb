//! Annotations that change the unit: `org.systemd.property.NAME` and `run.oci.systemd.subgroup`.
//!
//! Values are text as `gdbus` has it: `'text'`, `true`, `uint64 5`, `['a', 'b']`. Only properties of a
//! list are taken: others could start programs, or give the unit rights over the host. Pure.

use std::borrow::Cow;

use super::error::Error;
use super::property::{Property, Value};
use crate::paths::GroupPath;

const PREFIX: &str = "org.systemd.property.";
const SUBGROUP: &str = "run.oci.systemd.subgroup";
const DELEGATE: &str = "run.oci.delegate-cgroup";

/// What the annotations of a config ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) properties: Vec<Property>,
    /// The cgroup below the unit's that processes are in.
    pub(crate) leaf: Option<GroupPath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    /// A signal.
    Int,
    /// Microseconds.
    Time,
    Text,
    Texts,
}

/// The properties that a config may set, with their types.
const ALLOWED: [(&str, Type); 11] = [
    ("After", Type::Texts),
    ("Before", Type::Texts),
    ("CollectMode", Type::Text),
    ("Description", Type::Text),
    ("KillSignal", Type::Int),
    ("ManagedOOMMemoryPressure", Type::Text),
    ("ManagedOOMSwap", Type::Text),
    ("OOMPolicy", Type::Text),
    ("RuntimeMaxUSec", Type::Time),
    ("SendSIGHUP", Type::Bool),
    ("TimeoutStopUSec", Type::Time),
];

/// Reads all annotations; those of others are left alone.
pub(crate) fn read<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Asked, Error> {
    let mut asked = Asked::default();
    for (key, value) in annotations {
        let refused = |reason| Error::Annotation {
            key: key.to_owned(),
            reason,
        };
        if let Some(name) = key.strip_prefix(PREFIX) {
            asked
                .properties
                .push(property(name, value).map_err(refused)?);
        } else if key == SUBGROUP && !value.is_empty() {
            asked.leaf = Some(leaf(value).map_err(refused)?);
        } else if key == DELEGATE && !value.is_empty() {
            let reason = "greenlang gives the whole cgroup of the container to it, or nothing";
            return Err(refused(reason.into()));
        }
    }
    // The order of a config's annotations means nothing.
    asked.properties.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = asked
        .properties
        .windows(2)
        .find(|two| two[0].name == two[1].name);
    match twice {
        Some(two) => Err(Error::Annotation {
            key: format!("{PREFIX}{}", two[0].name),
            reason: "it stands twice, in seconds and in microseconds".into(),
        }),
        None => Ok(asked),
    }
}

fn leaf(value: &str) -> Result<GroupPath, Cow<'static, str>> {
    let path = GroupPath::clean(value);
    let is_name = path.as_str() == value && !value.contains('/') && value.len() <= 255;
    let is_taken = value.starts_with("cgroup.") || value.bytes().any(|b| b.is_ascii_control());
    match is_name && !is_taken {
        true => Ok(path),
        false => Err("it is the name of one cgroup".into()),
    }
}

fn property(name: &str, text: &str) -> Result<Property, Cow<'static, str>> {
    // Seconds where the property has microseconds, as in unit files.
    let in_seconds = name
        .strip_suffix("Sec")
        .filter(|stem| !stem.ends_with('U'))
        .map(|stem| format!("{stem}USec"));
    let full = in_seconds.as_deref().unwrap_or(name);
    let Some((_, kind)) = ALLOWED.iter().find(|(allowed, _)| *allowed == full) else {
        let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
        let reason = format!("a config may set only {}", names.join(", "));
        return Err(reason.into());
    };
    let wrong = |want: &str| Cow::from(format!("{text:?} is not {want}"));
    let text = text.trim();
    let value = match kind {
        Type::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(wrong("true or false")),
        },
        Type::Int => {
            let number = number(text).and_then(|number| i32::try_from(number).ok());
            Value::Int(number.ok_or_else(|| wrong("the number of a signal"))?)
        }
        Type::Time => {
            let unit = if in_seconds.is_some() { 1_000_000 } else { 1 };
            let number = number(text).and_then(|number| number.checked_mul(unit));
            Value::U64(number.ok_or_else(|| wrong("a time, such as uint64 5"))?)
        }
        Type::Text => Value::Text(
            quoted(text)
                .ok_or_else(|| wrong("a text in quotes"))?
                .to_owned(),
        ),
        Type::Texts => Value::Texts(list(text).ok_or_else(|| wrong("a list, such as ['a', 'b']"))?),
    };
    Ok(Property::new(full, value))
}

/// A number, with or without its type in front.
fn number(text: &str) -> Option<u64> {
    let (kind, number) = text.split_once(' ').unwrap_or(("uint64", text));
    let kinds = [
        "byte", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    ];
    if !kinds.contains(&kind) {
        return None;
    }
    number.trim().parse().ok()
}

/// What is in quotes of one kind. There are no escapes: nothing that may be set needs them.
fn quoted(text: &str) -> Option<&str> {
    let inner = ['\'', '"'].into_iter().find_map(|mark| {
        let inner = text.strip_prefix(mark)?.strip_suffix(mark)?;
        (!inner.contains(mark)).then_some(inner)
    })?;
    let plain = !inner.contains('\\') && !inner.chars().any(char::is_control);
    plain.then_some(inner)
}

fn list(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix("@as").unwrap_or(text).trim();
    let inner = inner.strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner
        .split(',')
        .map(|one| quoted(one.trim()).map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<Property, String> {
        let asked = read([(key, value)].into_iter()).map_err(|err| err.to_string())?;
        Ok(asked.properties.into_iter().next().unwrap())
    }

    #[test]
    fn properties_are_read_with_their_types() {
        let texts = |list: &[&str]| Value::Texts(list.iter().map(|s| (*s).to_owned()).collect());
        for (name, text, full, value) in [
            (
                "CollectMode",
                "'inactive'",
                "CollectMode",
                Value::Text("inactive".into()),
            ),
            (
                "Description",
                "\"it's\"",
                "Description",
                Value::Text("it's".into()),
            ),
            ("SendSIGHUP", "true", "SendSIGHUP", Value::Bool(true)),
            ("KillSignal", "int32 9", "KillSignal", Value::Int(9)),
            ("KillSignal", "9", "KillSignal", Value::Int(9)),
            (
                "TimeoutStopUSec",
                "uint64 5",
                "TimeoutStopUSec",
                Value::U64(5),
            ),
            (
                "TimeoutStopSec",
                "5",
                "TimeoutStopUSec",
                Value::U64(5_000_000),
            ),
            (
                "After",
                "['a.service', 'b.service']",
                "After",
                texts(&["a.service", "b.service"]),
            ),
            ("Before", "@as []", "Before", texts(&[])),
        ] {
            let got = one(&format!("{PREFIX}{name}"), text);
            assert_eq!(got, Ok(Property::new(full, value)), "{name} {text}");
        }
    }

    #[test]
    fn wrong_values_are_refused_by_the_annotation() {
        for (name, text, reason) in [
            ("KillSignal", "'9'", "\"'9'\" is not the number of a signal"),
            ("SendSIGHUP", "1", "\"1\" is not true or false"),
            (
                "CollectMode",
                "inactive",
                "\"inactive\" is not a text in quotes",
            ),
            ("CollectMode", "'a'b'", "\"'a'b'\" is not a text in quotes"),
            (
                "RuntimeMaxSec",
                "-1",
                "\"-1\" is not a time, such as uint64 5",
            ),
            (
                "RuntimeMaxSec",
                "18446744073709551615",
                "\"18446744073709551615\" is not a time, such as uint64 5",
            ),
            ("After", "'a'", "\"'a'\" is not a list, such as ['a', 'b']"),
        ] {
            let want = format!("set annotation {PREFIX}{name}: {reason}");
            assert_eq!(one(&format!("{PREFIX}{name}"), text), Err(want));
        }
    }

    #[test]
    fn a_property_that_is_not_on_the_list_is_refused() {
        for name in [
            "ExecStart",
            "Delegate",
            "DeviceAllow",
            "MemoryMax",
            "Slice",
            "",
        ] {
            let err = one(&format!("{PREFIX}{name}"), "'x'").unwrap_err();
            let want =
                format!("set annotation {PREFIX}{name}: a config may set only After, Before,");
            assert!(err.starts_with(&want), "{err}");
        }
    }

    #[test]
    fn a_property_that_stands_twice_is_refused() {
        let both = [
            ("org.systemd.property.TimeoutStopSec", "1"),
            ("org.systemd.property.TimeoutStopUSec", "1"),
        ];
        let err = read(both.into_iter()).unwrap_err();
        assert_eq!(
            err.to_string(),
            "set annotation org.systemd.property.TimeoutStopUSec: it stands twice, in seconds and in microseconds"
        );
    }

    #[test]
    fn subgroup_is_one_name() {
        let read = |value| read([(SUBGROUP, value)].into_iter()).map(|asked| asked.leaf);
        assert_eq!(read("box").unwrap(), Some(GroupPath::clean("box")));
        assert_eq!(read("").unwrap(), None);
        for value in ["a/b", "..", ".", "/a", "cgroup.procs", "a\nb"] {
            let err = read(value).unwrap_err();
            assert_eq!(
                err.to_string(),
                "set annotation run.oci.systemd.subgroup: it is the name of one cgroup",
                "{value:?}"
            );
        }
    }

    #[test]
    fn delegating_a_part_is_refused_by_name() {
        let err = read([(DELEGATE, "x")].into_iter()).unwrap_err();
        assert_eq!(
            err.to_string(),
            "set annotation run.oci.delegate-cgroup: greenlang gives the whole cgroup of the container to it, or nothing"
        );
    }

    #[test]
    fn other_annotations_are_left_alone() {
        let asked = read([("a.b", "c"), ("run.oci.keep_original_groups", "1")].into_iter());
        assert_eq!(asked.unwrap(), Asked::default());
    }
}
