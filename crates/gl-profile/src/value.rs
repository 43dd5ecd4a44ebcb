//! The kinds of values that keys hold.

use std::sync::Arc;

use crate::node::{Kind, Node};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the source.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: Origin,
}

/// What a node should have been.
pub(crate) struct Mismatch {
    pub(crate) expected: String,
    /// The words that would do, for the nearest of them.
    pub(crate) words: &'static [&'static str],
}

impl Mismatch {
    pub(crate) fn new(expected: &str) -> Self {
        Self {
            expected: expected.to_owned(),
            words: &[],
        }
    }
}

/// A value that a key can hold.
pub(crate) trait Value: Sized {
    fn decode(node: &Node) -> Result<Self, Mismatch>;
}

impl Value for bool {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match node.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(Mismatch::new("true or false")),
        }
    }
}

impl Value for String {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match &node.kind {
            Kind::Text(text) if !text.chars().any(char::is_control) => Ok(text.clone()),
            _ => Err(Mismatch::new("a text of one line")),
        }
    }
}

/// A number with a unit behind it, such as `512MiB`: the number times what `unit` says.
fn scaled(node: &Node, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let value = match &node.kind {
        Kind::Integer(number) => u64::try_from(*number).ok()?,
        Kind::Text(text) => {
            let end = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, suffix) = text.split_at_checked(end)?;
            number
                .parse::<u64>()
                .ok()?
                .checked_mul(unit(suffix.trim_start())?)?
        }
        _ => return None,
    };
    (value > 0 && i64::try_from(value).is_ok()).then_some(value)
}

/// A size in bytes, at least 1, below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Value for Bytes {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        scaled(node, |unit| match unit {
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
}

/// A time in seconds, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

impl Value for Seconds {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        scaled(node, |unit| match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        })
        .map(Self)
        .ok_or_else(|| Mismatch::new("a time of at least 1 second, such as 300 or \"5m\""))
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
}

/// The name of a profile: a small letter, then at most 63 of `a-z0-9_-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Name {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        let fits = |text: &str| {
            text.len() <= 64
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
        };
        match &node.kind {
            Kind::Text(text) if fits(text) => Ok(Self(text.clone())),
            _ => Err(Mismatch::new(
                "a name of at most 64 of a-z, 0-9, _ and -, beginning with a letter",
            )),
        }
    }
}

/// Words that a key chooses from, with other spellings.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $($word:literal)|+,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Value for $name {
            fn decode(node: &Node) -> Result<Self, Mismatch> {
                const WORDS: &[&str] = &[$($($word,)+)+];
                let Kind::Text(text) = &node.kind else {
                    return Err(Mismatch { expected: one_of(WORDS), words: &[] });
                };
                match text.as_str() {
                    $($($word)|+ => Ok(Self::$variant),)+
                    _ => Err(Mismatch { expected: one_of(WORDS), words: WORDS }),
                }
            }
        }
    };
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

words! {
    /// How much of a sandbox is built.
    Isolation {
        /// The caller's namespaces.
        Basic = "basic",
        /// Own namespaces over a read-only view of the host.
        Namespace = "namespace" | "chroot",
        /// An OCI bundle or root filesystem.
        Container = "container",
        /// Handed to runsc.
        Gvisor = "gvisor",
    }
}

words! {
    /// What happens to an act that the profile does not allow.
    Mode {
        /// It is denied.
        Enforcing = "enforcing",
        /// It is logged and allowed.
        Permissive = "permissive" | "audit_only",
    }
}

words! {
    /// The level whose presets fill what a profile leaves open.
    Level {
        /// Little.
        Lenient = "lenient",
        /// The default.
        Standard = "standard" | "moderate",
        /// As standard, with every layer required.
        High = "high",
        /// Most.
        Maximum = "maximum" | "strict",
    }
}

words! {
    /// What happens where the host lacks a layer.
    OnMissing {
        /// The run is refused.
        Refuse = "refuse",
        /// The run goes on without it, and says so.
        Degrade = "degrade",
    }
}
