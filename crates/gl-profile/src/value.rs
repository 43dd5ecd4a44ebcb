//! Values of keys: how they are written, what they mean, and where each was set.

mod host;
mod iptables;
mod kinds;
mod path;
mod seccomp;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::error::Place;
use crate::node::{Kind, Node};

pub use host::{Host, Net, Ports};
pub use iptables::{Chain, ConnectionState, IptablesRule, Protocol, Verdict};
pub use kinds::{ApparmorName, Bytes, Capability, Count, Name, SelinuxContext, Umask};
pub use path::{AbsolutePath, AuditTarget, BindMount};
pub(crate) use path::{Fragment, Missing, Variables, is_variable};
pub use seccomp::{SeccompAction, SyscallName};
pub(crate) use seccomp::{errno, errnos};
pub use words::{Isolation, Level, Mode, OnMissing, RunscPlatform};

/// What kind of source a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file that somebody wrote.
    File,
    /// A profile that is built in.
    BuiltIn,
    /// The presets of a level.
    Level,
    /// The environment words `GL_…`.
    Environment,
    /// The options of a command line.
    Option,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the source, as its reader gave it.
    pub file: Arc<str>,
    /// Line, from 1; 0 where there are no lines.
    pub line: u32,
    /// The key with its section, such as `limits.max_open_files`.
    pub key: Cow<'static, str>,
    /// What kind of source it is.
    pub kind: SourceKind,
}

impl Origin {
    /// The same place, for an error.
    pub(crate) fn place(&self) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
            key: self.key.clone().into_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place())
    }
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: Origin,
}

/// A list whose items each know where they were set. An empty list says "none", which is not the
/// same as no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T> {
    /// The items, in order.
    pub items: Vec<Setting<T>>,
    /// Where the list was set, for one without items.
    pub origin: Origin,
}

/// What a node should have been.
pub(crate) struct Mismatch {
    pub(crate) expected: String,
    /// The words that would do, for the nearest of them.
    pub(crate) words: &'static [&'static str],
    /// Where inside the node, if the node is a table.
    pub(crate) inside: Option<Inside>,
}

/// A place inside a value that is a table.
pub(crate) struct Inside {
    pub(crate) key: String,
    pub(crate) line: u32,
    pub(crate) found: String,
    pub(crate) text: Option<String>,
}

impl Mismatch {
    pub(crate) fn new(expected: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            words: &[],
            inside: None,
        }
    }
}

/// A value that a key can hold.
pub(crate) trait Value: Sized + PartialEq {
    /// Reads it.
    fn decode(node: &Node) -> Result<Self, Mismatch>;

    /// The one way to write it; `decode` reads it back.
    fn json(&self) -> Json;

    /// What `decode` takes, as JSON Schema.
    fn schema() -> Json;

    /// Puts variables in. Only paths have them.
    fn expand(&mut self, _variables: &Variables) -> Result<(), Missing> {
        Ok(())
    }
}

impl Value for bool {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match node.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(Mismatch::new("true or false")),
        }
    }

    fn json(&self) -> Json {
        Json::Bool(*self)
    }

    fn schema() -> Json {
        serde_json::json!({"type": "boolean"})
    }
}

impl Value for String {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        match &node.kind {
            Kind::Text(text) if !text.chars().any(char::is_control) => Ok(text.clone()),
            _ => Err(Mismatch::new("a text of one line")),
        }
    }

    fn json(&self) -> Json {
        Json::String(self.clone())
    }

    fn schema() -> Json {
        serde_json::json!({"type": "string"})
    }
}

/// A text that `parse` takes; anything else is a mismatch with what was expected.
pub(crate) fn text<T>(
    node: &Node,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Mismatch> {
    match &node.kind {
        Kind::Text(text) => parse(text),
        _ => None,
    }
    .ok_or_else(|| Mismatch::new(expected))
}
