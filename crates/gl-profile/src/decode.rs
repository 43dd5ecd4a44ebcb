//! Reading keys out of a table, with the place of whatever is wrong.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Error, Place};
use crate::node::{Kind, Member, Node};
use crate::value::{List, Origin, Setting, SourceKind, Value};
use crate::word::nearest;

/// Items of a list, at most: what is compared with each other stays quick.
pub(crate) const MAX_ITEMS: usize = 1024;

/// The source being read.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) kind: SourceKind,
}

impl Reader<'_> {
    pub(crate) fn origin(&self, line: u32, key: Cow<'static, str>) -> Origin {
        Origin {
            file: Arc::clone(self.file),
            line,
            key,
            kind: self.kind,
        }
    }

    pub(crate) fn place(&self, line: u32, key: impl Into<String>) -> Place {
        Place {
            file: Arc::clone(self.file),
            line,
            key: key.into(),
        }
    }

    /// The error for a key that is not one of `known`. `section` is empty or ends in a dot.
    pub(crate) fn unknown(&self, section: &str, member: &Member, known: &[&str]) -> Error {
        Error::UnknownKey {
            place: self.place(member.line, format!("{section}{}", member.key)),
            nearest: nearest(&member.key, known.iter().copied()),
        }
    }

    pub(crate) fn value<T: Value>(
        &self,
        key: impl Into<Cow<'static, str>>,
        node: &Node,
    ) -> Result<Setting<T>, Error> {
        let key = key.into();
        match self.decode(node, || key.clone().into_owned()) {
            Ok(value) => Ok(Setting {
                value,
                origin: self.origin(node.line, key),
            }),
            Err(error) => Err(error),
        }
    }

    /// A list whose items each know their line.
    pub(crate) fn list<T: Value>(&self, key: &'static str, node: &Node) -> Result<List<T>, Error> {
        let Kind::List(nodes) = &node.kind else {
            return Err(self.mismatch(key, node, "a list"));
        };
        if nodes.len() > MAX_ITEMS {
            return Err(Error::Value {
                place: self.place(node.line, key),
                expected: format!("a list of at most {MAX_ITEMS} items"),
                found: format!("{} of them", nodes.len()),
                nearest: None,
            });
        }
        let items = nodes.iter().enumerate().map(|(index, node)| {
            Ok(Setting {
                value: self.decode(node, || format!("{key}[{index}]"))?,
                origin: self.origin(node.line, Cow::Borrowed(key)),
            })
        });
        Ok(List {
            items: items.collect::<Result<_, Error>>()?,
            origin: self.origin(node.line, Cow::Borrowed(key)),
        })
    }

    pub(crate) fn members<'n>(&self, key: &str, node: &'n Node) -> Result<&'n [Member], Error> {
        match &node.kind {
            Kind::Table(members) => Ok(members),
            _ => Err(self.mismatch(key, node, "a table")),
        }
    }

    fn decode<T: Value>(&self, node: &Node, key: impl FnOnce() -> String) -> Result<T, Error> {
        T::decode(node).map_err(|wrong| {
            let (place, found, text) = match wrong.inside {
                Some(inside) => (
                    self.place(inside.line, format!("{}.{}", key(), inside.key)),
                    inside.found,
                    inside.text,
                ),
                None => (
                    self.place(node.line, key()),
                    node.found(),
                    match &node.kind {
                        Kind::Text(text) => Some(text.clone()),
                        _ => None,
                    },
                ),
            };
            Error::Value {
                place,
                expected: wrong.expected,
                found,
                nearest: text.and_then(|text| nearest(&text, wrong.words.iter().copied())),
            }
        })
    }

    pub(crate) fn mismatch(&self, key: &str, node: &Node, expected: &str) -> Error {
        Error::Value {
            place: self.place(node.line, key),
            expected: expected.to_owned(),
            found: node.found(),
            nearest: None,
        }
    }
}
