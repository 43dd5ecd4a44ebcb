//! Documents that the compiler can hold.

use crate::node;

/// A value and the line that it begins in.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) line: u32,
    pub(super) value: Value,
}

/// What built-in profiles have of values.
#[derive(Debug)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Text(&'static str),
    List(&'static [Document]),
    Table(&'static [Member]),
}

/// A key, its line, and what it holds.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: &'static str,
    pub(super) line: u32,
    pub(super) value: Document,
}

impl Document {
    /// The document as reading its file gives it.
    pub(super) fn node(&self) -> node::Node {
        let kind = match self.value {
            Value::Bool(value) => node::Kind::Bool(value),
            Value::Integer(value) => node::Kind::Integer(value),
            Value::Text(text) => node::Kind::Text(text.to_owned()),
            Value::List(items) => node::Kind::List(items.iter().map(Self::node).collect()),
            Value::Table(members) => {
                let member = |member: &Member| node::Member {
                    key: member.key.to_owned(),
                    line: member.line,
                    value: member.value.node(),
                };
                node::Kind::Table(members.iter().map(member).collect())
            }
        };
        node::Node {
            line: self.line,
            kind,
        }
    }
}
