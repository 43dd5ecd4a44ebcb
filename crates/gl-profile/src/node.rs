//! A document as a tree of values that know their lines, TOML and JSON alike.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Place};
use crate::json;

/// The largest profile that is read: 256 KiB.
pub const MAX_PROFILE_BYTES: usize = 256 * 1024;

/// The language of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// JSON with the same keys.
    Json,
}

/// A value and the line that it begins in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Bool(bool),
    Integer(i64),
    /// A number that is no 64-bit integer, or something that a profile has no use for.
    Other(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
}

/// A key, its line, and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) line: u32,
    pub(crate) value: Node,
}

impl Node {
    /// The value in words for a message.
    pub(crate) fn found(&self) -> String {
        match &self.kind {
            Kind::Bool(value) => value.to_string(),
            Kind::Integer(value) => value.to_string(),
            Kind::Other(text) => text.clone(),
            Kind::Text(text) => quoted(text),
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
        }
    }
}

/// A text in quotes, escaped, and no longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    if text.chars().count() <= 80 {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(77).collect();
    format!("{head:?}...")
}

/// Reads a document.
pub(crate) fn read(file: &Arc<str>, text: &str, format: Format) -> Result<Node, Error> {
    if text.len() > MAX_PROFILE_BYTES {
        return Err(Error::TooLarge {
            file: Arc::clone(file),
            bytes: text.len(),
            limit: MAX_PROFILE_BYTES,
        });
    }
    let lines = Lines::new(text);
    let syntax = |offset: usize, problem: String| Error::Syntax {
        place: Place {
            file: Arc::clone(file),
            line: lines.at(offset),
            key: String::new(),
        },
        problem,
    };
    match format {
        Format::Toml => {
            let document = DeTable::parse(text).map_err(|error| {
                let offset = error.span().map_or(text.len(), |span| span.start);
                syntax(offset, error.message().to_owned())
            })?;
            Ok(Node {
                line: 1,
                kind: table(document.get_ref(), &lines),
            })
        }
        Format::Json => {
            json::read(text, &lines).map_err(|error| syntax(error.offset, error.problem))
        }
    }
}

fn table(table: &DeTable<'_>, lines: &Lines) -> Kind {
    let mut members: Vec<Member> = table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().clone().into_owned(),
            line: lines.at(key.span().start),
            value: Node {
                line: lines.at(value.span().start),
                kind: kind(value.get_ref(), lines),
            },
        })
        .collect();
    members.sort_by_key(|member| member.line);
    Kind::Table(members)
}

fn kind(value: &DeValue<'_>, lines: &Lines) -> Kind {
    match value {
        DeValue::String(text) => Kind::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Kind::Other(number.to_string()), Kind::Integer),
        DeValue::Float(number) => Kind::Other(number.to_string()),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(time) => Kind::Other(time.to_string()),
        DeValue::Array(items) => Kind::List(
            items
                .iter()
                .map(|item| Node {
                    line: lines.at(item.span().start),
                    kind: kind(item.get_ref(), lines),
                })
                .collect(),
        ),
        DeValue::Table(members) => table(members, lines),
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect(),
        )
    }

    /// The line of an offset, from 1.
    pub(crate) fn at(&self, offset: usize) -> u32 {
        let breaks = self.0.partition_point(|end| *end < offset);
        u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
    }
}
