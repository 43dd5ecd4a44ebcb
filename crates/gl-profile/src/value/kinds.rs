//! Sizes, times, numbers and names.

use std::time::Duration;

use gl_spec::CAPABILITIES;
use serde_json::{Value as Json, json};

use super::{Mismatch, Value, text};
use crate::node::{Kind, Node};

/// A number with a unit behind it, such as `512MiB`: the number times what `unit` says.
fn scaled(node: &Node, max: u64, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let value = match &node.kind {
        Kind::Integer(number) => u64::try_from(*number).ok()?,
        Kind::Text(text) => {
            let end = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, suffix) = text.split_at_checked(end)?;
            number
                .parse::<u64>()
                .ok()?
                .checked_mul(unit(suffix.trim_start_matches(' '))?)?
        }
        _ => return None,
    };
    (1..=max).contains(&value).then_some(value)
}

/// A size in bytes, at least 1, below 2^63; for `network_bandwidth_limit`, bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Value for Bytes {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        scaled(node, i64::MAX.unsigned_abs(), |unit| match unit {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            "TiB" => Some(1 << 40),
            _ => None,
        })
        .map(Self)
        .ok_or_else(|| Mismatch::new("a size of at least 1 byte, such as 1048576 or \"512MiB\""))
    }

    fn json(&self) -> Json {
        Json::from(self.0)
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": i64::MAX},
            {"type": "string", "pattern": "^0*[1-9][0-9]* *(B|KiB|MiB|GiB|TiB)$"},
        ]})
    }
}

/// Whole seconds, at least 1, below 2^32.
impl Value for Duration {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        scaled(node, u32::MAX.into(), |unit| match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        })
        .map(Self::from_secs)
        .ok_or_else(|| Mismatch::new("a time of at least 1 second, such as 300 or \"5m\""))
    }

    fn json(&self) -> Json {
        Json::from(self.as_secs())
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            {"type": "string", "pattern": "^0*[1-9][0-9]* *(s|m|h)$"},
        ]})
    }
}

/// A number of things, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

impl Value for Count {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match node.kind {
            Kind::Integer(number) => u32::try_from(number).ok().filter(|number| *number > 0),
            _ => None,
        }
        .map(Self)
        .ok_or_else(|| Mismatch::new("a whole number from 1 to 4294967295"))
    }

    fn json(&self) -> Json {
        Json::from(self.0)
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
    }
}

/// The name of a profile or of a seccomp group: a small letter, then at most 63 of `a-z0-9_-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name, if the text is one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
        fits.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Name {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "a name of at most 64 of a-z, 0-9, _ and -, beginning with a letter",
            Self::new,
        )
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"})
    }
}

/// One word of at most 255 printable ASCII characters.
fn is_word(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
}

/// The name of an AppArmor profile that confines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApparmorName(String);

impl ApparmorName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for ApparmorName {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "the name of an AppArmor profile other than unconfined: at most 255 printable ASCII characters",
            |text| (is_word(text) && text != "unconfined").then(|| Self(text.to_owned())),
        )
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[!-~]{1,255}$"})
    }
}

/// A context of SELinux: user, role and type, and a range behind them where the policy has ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelinuxContext(String);

impl SelinuxContext {
    /// The context as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for SelinuxContext {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "an SELinux context of at most 255 characters, such as system_u:system_r:container_t:s0",
            |text| {
                let mut parts = text.split(':');
                let three = parts
                    .by_ref()
                    .take(3)
                    .filter(|part| !part.is_empty())
                    .count()
                    == 3;
                (three && is_word(text) && parts.all(|part| !part.is_empty()))
                    .then(|| Self(text.to_owned()))
            },
        )
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[!-9;-~]+:[!-9;-~]+:[!-9;-~]+(:[!-9;-~]+)*$", "maxLength": 255})
    }
}

/// A capability of the kernel, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(&'static str);

impl Capability {
    /// The name, such as `CAP_NET_BIND_SERVICE`: one of [`gl_spec::CAPABILITIES`].
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl Value for Capability {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(node, "", |text| {
            CAPABILITIES
                .iter()
                .find(|name| **name == text)
                .map(|name| Self(name))
        })
        .map_err(|_wrong| Mismatch {
            words: CAPABILITIES,
            ..Mismatch::new("the name of a capability, such as CAP_NET_BIND_SERVICE")
        })
    }

    fn json(&self) -> Json {
        Json::from(self.0)
    }

    fn schema() -> Json {
        json!({"enum": CAPABILITIES})
    }
}

/// The bits that new files do not get, from 0 to 0o777.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Value for Umask {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "three octal digits or a zero and three, such as \"022\"",
            |text| {
                let digits = match text.len() {
                    3 => text,
                    4 => text.strip_prefix('0')?,
                    _ => return None,
                };
                let octal = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
                octal
                    .then(|| u32::from_str_radix(digits, 8).ok())
                    .flatten()
                    .map(Self)
            },
        )
    }

    fn json(&self) -> Json {
        Json::from(format!("{:03o}", self.0))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^0?[0-7]{3}$"})
    }
}
