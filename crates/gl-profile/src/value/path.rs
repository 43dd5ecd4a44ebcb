//! Absolute paths, with variables in a file and without them in a resolved profile.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{Inside, Mismatch, Setting, Value, text};
use crate::node::{Kind, Node};

/// What variables stand for.
pub(crate) type Variables = BTreeMap<String, Setting<Fragment>>;

/// Why a path cannot have its variables.
pub(crate) enum Missing {
    /// No variable has the name.
    Unknown(String),
    /// The path that comes out is none.
    Unclean(String),
}

/// The longest path that the kernel takes, its end included.
const PATH_MAX: usize = 4096;

const CLEAN: &str = "an absolute path without \"..\", \".\", \"//\" or a slash at its end";

/// An absolute path: no `.` and `..`, no empty component, no slash at the end, no control character.
///
/// In a [`Layer`](crate::Layer) it may still have variables, `${name}`; in a
/// [`Profile`](crate::Profile) it has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// Takes a path that begins with `/` and has no empty part, no `.` and no `..`.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        is_clean(path).then(|| Self(path.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    path.len() < PATH_MAX
        && !path.chars().any(char::is_control)
        && (rest.is_empty() || rest.split('/').all(|part| !["", ".", ".."].contains(&part)))
}

/// Where the host wants runs noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file.
    File(AbsolutePath),
    /// The journal of systemd.
    Journald,
}

impl AuditTarget {
    /// As it is written: the path, or `journald`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::File(path) => path.as_str(),
            Self::Journald => "journald",
        }
    }
}

impl Value for AuditTarget {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "an absolute path without . and .., or journald",
            |text| match text {
                "journald" => Some(Self::Journald),
                path => AbsolutePath::new(path).map(Self::File),
            },
        )
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string"})
    }
}

/// The text with `of` in the place of each `${name}`; nothing if a name is none or does not end.
fn replaced<E>(
    template: &str,
    mut of: impl FnMut(&str) -> Result<String, E>,
) -> Result<Option<String>, E> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((head, tail)) = rest.split_once("${") {
        let Some((name, tail)) = tail.split_once('}') else {
            return Ok(None);
        };
        if !is_variable(name) {
            return Ok(None);
        }
        out.push_str(head);
        out.push_str(&of(name)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// Whether a text is a clean path when each variable is one component, or with its slash where it
/// begins the text: what they stand for is judged when it is known.
fn is_template(text: &str) -> bool {
    let sample = replaced(text, |_| Ok::<_, Infallible>("x".to_owned()));
    let Ok(sample) = sample;
    sample.is_some_and(|sample| {
        is_clean(&sample) || (text.starts_with("${") && is_clean(&format!("/{sample}")))
    })
}

/// Whether a text can name a variable.
pub(crate) fn is_variable(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl Value for AbsolutePath {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(node, CLEAN, |text| {
            is_template(text).then(|| Self(text.to_owned()))
        })
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(/|\\$\\{[a-z])[^\\u0000-\\u001f\\u007f]*$", "maxLength": PATH_MAX.saturating_sub(1)})
    }

    fn expand(&mut self, variables: &Variables) -> Result<(), Missing> {
        if !self.0.contains("${") {
            return Ok(());
        }
        let path = replaced(&self.0, |name| match variables.get(name) {
            Some(value) => Ok(value.value.0.clone()),
            None => Err(Missing::Unknown(name.to_owned())),
        })?
        .unwrap_or_default();
        if !is_clean(&path) {
            return Err(Missing::Unclean(path));
        }
        self.0 = path;
        Ok(())
    }
}

/// What a variable stands for: a part of a path without `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment(String);

impl Value for Fragment {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        text(
            node,
            "a part of a path, without \"..\" and without variables",
            |text| {
                let fits = (1..PATH_MAX).contains(&text.len())
                    && !text.chars().any(char::is_control)
                    && !text.contains("${")
                    && !text.split('/').any(|part| part == "..");
                fits.then(|| Self(text.to_owned()))
            },
        )
    }

    fn json(&self) -> Json {
        Json::from(self.0.as_str())
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": PATH_MAX.saturating_sub(1)})
    }
}

/// A host directory or file that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// The path on the host.
    pub source: AbsolutePath,
    /// The path inside.
    pub target: AbsolutePath,
    /// Whether it cannot be written inside; it cannot unless the file says so.
    pub read_only: bool,
}

impl Value for BindMount {
    fn decode(node: &Node) -> Result<Self, Mismatch> {
        const KEYS: &[&str] = &["source", "target", "read_only"];
        const EXPECTED: &str = "a table with source, target and read_only";
        let Kind::Table(members) = &node.kind else {
            return Err(Mismatch::new(EXPECTED));
        };
        let (mut source, mut target, mut read_only) = (None, None, true);
        for member in members {
            let inside = |wrong: Mismatch| Mismatch {
                inside: Some(Inside {
                    key: member.key.clone(),
                    line: member.value.line,
                    found: member.value.found(),
                    text: None,
                }),
                ..wrong
            };
            match member.key.as_str() {
                "source" => source = Some(AbsolutePath::decode(&member.value).map_err(inside)?),
                "target" => target = Some(AbsolutePath::decode(&member.value).map_err(inside)?),
                "read_only" => read_only = bool::decode(&member.value).map_err(inside)?,
                key => {
                    return Err(Mismatch {
                        words: KEYS,
                        inside: Some(Inside {
                            key: key.to_owned(),
                            line: member.line,
                            found: format!("the key {key:?}"),
                            text: Some(key.to_owned()),
                        }),
                        ..Mismatch::new("one of the keys source, target, read_only")
                    });
                }
            }
        }
        match (source, target) {
            (Some(source), Some(target)) => Ok(Self {
                source,
                target,
                read_only,
            }),
            (None, _) => Err(Mismatch::new(format!("{EXPECTED}: source is missing"))),
            (_, None) => Err(Mismatch::new(format!("{EXPECTED}: target is missing"))),
        }
    }

    fn json(&self) -> Json {
        json!({
            "read_only": self.read_only,
            "source": self.source.as_str(),
            "target": self.target.as_str(),
        })
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "properties": {
                "source": AbsolutePath::schema(),
                "target": AbsolutePath::schema(),
                "read_only": bool::schema(),
            },
            "required": ["source", "target"],
            "additionalProperties": false,
        })
    }

    fn expand(&mut self, variables: &Variables) -> Result<(), Missing> {
        self.source.expand(variables)?;
        self.target.expand(variables)
    }
}
