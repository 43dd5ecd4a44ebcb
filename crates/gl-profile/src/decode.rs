//! Reading keys out of a table, with the place of whatever is wrong.

use std::sync::Arc;

use crate::error::{Error, Place};
use crate::node::{Kind, Member, Node};
use crate::value::{Located, Origin, Value};
use crate::word::nearest;

/// The section being read.
pub(crate) struct Section<'a> {
    pub(crate) file: &'a Arc<str>,
    /// Its name; empty for the top of the file.
    pub(crate) name: &'static str,
}

impl Section<'_> {
    pub(crate) fn place(&self, line: u32, key: &str) -> Place {
        Place {
            file: Arc::clone(self.file),
            line,
            key: match self.name {
                "" => key.to_owned(),
                name => format!("{name}.{key}"),
            },
        }
    }

    pub(crate) fn unknown(&self, member: &Member, known: &[&str]) -> Error {
        Error::UnknownKey {
            place: self.place(member.line, &member.key),
            nearest: nearest(&member.key, known.iter().copied()),
        }
    }

    pub(crate) fn value<T: Value>(&self, key: &str, node: &Node) -> Result<Located<T>, Error> {
        match T::decode(node) {
            Ok(value) => Ok(Located {
                value,
                origin: Origin {
                    file: Arc::clone(self.file),
                    line: node.line,
                },
            }),
            Err(mismatch) => Err(Error::Value {
                place: self.place(node.line, key),
                expected: mismatch.expected,
                found: node.found(),
                nearest: match &node.kind {
                    Kind::Text(text) => nearest(text, mismatch.words.iter().copied()),
                    _ => None,
                },
            }),
        }
    }

    /// A list whose elements each know their line.
    pub(crate) fn list<T: Value>(&self, key: &str, node: &Node) -> Result<Vec<Located<T>>, Error> {
        let Kind::List(items) = &node.kind else {
            return Err(self.mismatch(key, node, "a list"));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(&format!("{key}[{index}]"), item))
            .collect()
    }

    pub(crate) fn members<'n>(&self, key: &str, node: &'n Node) -> Result<&'n [Member], Error> {
        match &node.kind {
            Kind::Table(members) => Ok(members),
            _ => Err(self.mismatch(key, node, "a table")),
        }
    }

    fn mismatch(&self, key: &str, node: &Node, expected: &str) -> Error {
        Error::Value {
            place: self.place(node.line, key),
            expected: expected.to_owned(),
            found: node.found(),
            nearest: None,
        }
    }
}
