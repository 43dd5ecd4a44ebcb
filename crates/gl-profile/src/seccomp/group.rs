//! Files of system calls: what a group of a seccomp filter allows or denies, and why.

use std::borrow::Cow;
use std::sync::Arc;

use gl_seccomp::Syscall;

use crate::decode::Reader;
use crate::error::Error;
use crate::node::{Format, Kind, Member, Node, read};
use crate::seccomp::constants;
use crate::seccomp::pieces::{Bits, Piece, above, below, difference, intersection};
use crate::value::{SourceKind, errno, errnos};
use crate::word::nearest;

/// One file: rules that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name that profiles call it by.
    pub name: Cow<'static, str>,
    /// The file.
    pub file: Cow<'static, str>,
    /// Why a program needs it, or why it is refused.
    pub reason: Cow<'static, str>,
    /// The rules.
    pub rules: Cow<'static, [GroupRule]>,
}

/// Calls with the conditions under which the rule speaks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    /// The line of its first key.
    pub line: u32,
    /// The calls.
    pub calls: Cow<'static, [Syscall]>,
    /// What must hold of the arguments; nothing: any.
    pub conditions: Cow<'static, [Condition]>,
    /// The arguments for which that holds: all that are in one of these.
    pub pieces: Cow<'static, [Piece]>,
    /// What the call fails with instead of being allowed.
    pub errno: Option<u16>,
    /// Why, where that may surprise.
    pub reason: Option<Cow<'static, str>>,
}

/// A test of one argument. Arguments have 64 bits and no sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub test: Test,
    /// With what.
    pub value: u64,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// Below.
    Less,
    /// Below, or the same.
    LessOrEqual,
    /// Above.
    Greater,
    /// Above, or the same.
    GreaterOrEqual,
    /// The same in the bits of this mask.
    MaskedEqual(u64),
    /// Not the same in the bits of this mask.
    MaskedNotEqual(u64),
}

const OPS: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge", "masked_eq", "masked_ne"];

impl Condition {
    fn pieces(self) -> Vec<Piece> {
        let equal = |mask: u64| Bits {
            mask,
            value: self.value & mask,
        };
        let without = |bits: Bits| difference(&[Piece::ALL], &[Piece::of(self.argument, bits)]);
        let ranges = match self.test {
            Test::Equal => vec![equal(u64::MAX)],
            Test::MaskedEqual(mask) => vec![equal(mask)],
            Test::NotEqual => return without(equal(u64::MAX)),
            Test::MaskedNotEqual(mask) => return without(equal(mask)),
            Test::Less => below(self.value),
            Test::LessOrEqual => [below(self.value), vec![equal(u64::MAX)]].concat(),
            Test::Greater => above(self.value),
            Test::GreaterOrEqual => [above(self.value), vec![equal(u64::MAX)]].concat(),
        };
        let ranges = ranges.into_iter();
        ranges.map(|bits| Piece::of(self.argument, bits)).collect()
    }
}

/// The arguments for which all of the conditions hold; nothing if they contradict each other.
fn pieces(conditions: &[Condition]) -> Vec<Piece> {
    let each = conditions.iter().map(|condition| condition.pieces());
    each.fold(vec![Piece::ALL], |all, next| intersection(&all, &next))
}

const KEYS: &[&str] = &["name", "reason", "rules"];
const RULE_KEYS: &[&str] = &["calls", "when", "errno", "reason"];
const CONDITION_KEYS: &[&str] = &["arg", "op", "value", "mask"];

/// Reads one group. `file` names it in messages.
///
/// # Errors
///
/// [`Error`] with the place: broken syntax, an unknown key, an unknown call or name of a value, a
/// condition that no argument meets.
pub fn parse_group(file: &str, text: &str) -> Result<Group, Error> {
    let file: Arc<str> = Arc::from(file);
    let root = read(&file, text, Format::Toml)?;
    let reader = GroupReader(Reader {
        file: &file,
        kind: SourceKind::BuiltIn,
    });
    let members = reader.table("", &root, KEYS)?;
    let name = reader.text("name", reader.required("", 0, members, "name")?)?;
    let reason = reader.text("reason", reader.required("", 0, members, "reason")?)?;
    let rules = reader.required("", 0, members, "rules")?;
    let rules = reader.list("rules", rules)?;
    let rules = rules
        .map(|(key, node)| reader.rule(&key, node))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Group {
        name: name.into(),
        reason: reason.into(),
        rules: rules.into(),
        file: file.to_string().into(),
    })
}

/// The file being read.
struct GroupReader<'a>(Reader<'a>);

impl GroupReader<'_> {
    fn rule(&self, key: &str, node: &Node) -> Result<GroupRule, Error> {
        let members = self.table(key, node, RULE_KEYS)?;
        let line = members.first().map_or(node.line, |first| first.line);
        let at = |name: &str| format!("{key}.{name}");
        let calls = self.required(key, line, members, "calls")?;
        let calls_key = at("calls");
        let calls = self
            .list(&calls_key, calls)?
            .map(|(key, node)| self.call(&key, node))
            .collect::<Result<Vec<_>, _>>()?;
        let mut rule = GroupRule {
            line,
            calls: calls.into(),
            conditions: Cow::Borrowed(&[]),
            pieces: Cow::Borrowed(&[Piece::ALL]),
            errno: None,
            reason: None,
        };
        for member in members {
            let (key, node) = (at(&member.key), &member.value);
            match member.key.as_str() {
                "when" => {
                    let conditions = self.conditions(&key, node)?;
                    rule.pieces = pieces(&conditions).into();
                    rule.conditions = conditions.into();
                }
                "errno" => rule.errno = Some(self.errno(&key, node)?),
                "reason" => rule.reason = Some(self.text(&key, node)?.into()),
                _ => {}
            }
        }
        Ok(rule)
    }

    fn call(&self, key: &str, node: &Node) -> Result<Syscall, Error> {
        let name = self.text(key, node)?;
        Syscall::named(&name).ok_or_else(|| Error::Value {
            place: self.0.place(node.line, key),
            expected: "the name of a system call".to_owned(),
            found: node.found(),
            nearest: nearest_call(&name),
        })
    }

    fn conditions(&self, key: &str, node: &Node) -> Result<Vec<Condition>, Error> {
        let list = self.list(key, node)?;
        let all = list
            .map(|(key, node)| self.condition(&key, node))
            .collect::<Result<Vec<_>, _>>()?;
        if pieces(&all).is_empty() {
            return Err(self.wrong(key, node, "conditions that can hold together"));
        }
        Ok(all)
    }

    fn condition(&self, key: &str, node: &Node) -> Result<Condition, Error> {
        let members = self.table(key, node, CONDITION_KEYS)?;
        let at = |name: &str| format!("{key}.{name}");
        let line = node.line;
        let argument = self.required(key, line, members, "arg")?;
        let argument = match argument.kind {
            Kind::Integer(number @ 0..=5) => u8::try_from(number).ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(&at("arg"), argument, "an argument from 0 to 5"))?;
        let op_node = self.required(key, line, members, "op")?;
        let op = self.text(&at("op"), op_node)?;
        let value_node = self.required(key, line, members, "value")?;
        let value = self.number(&at("value"), value_node)?;
        let mask = members.iter().find(|member| member.key == "mask");
        let masked = op.starts_with("masked_");
        if let (Some(member), false) = (mask, masked) {
            return Err(self.0.unknown(&at(""), member, &[]));
        }
        let mask = match mask {
            Some(member) => self.number(&at("mask"), &member.value)?,
            None if masked => {
                self.required(key, line, members, "mask")?;
                0
            }
            None => 0,
        };
        if masked && (mask == 0 || value & !mask != 0) {
            let expected = "a value of bits that are all in the mask, and a mask that is not 0";
            return Err(self.wrong(&at("value"), value_node, expected));
        }
        let test = match op.as_str() {
            "eq" => Test::Equal,
            "ne" => Test::NotEqual,
            "lt" => Test::Less,
            "le" => Test::LessOrEqual,
            "gt" => Test::Greater,
            "ge" => Test::GreaterOrEqual,
            "masked_eq" => Test::MaskedEqual(mask),
            "masked_ne" => Test::MaskedNotEqual(mask),
            _ => {
                return Err(Error::Value {
                    place: self.0.place(op_node.line, at("op")),
                    expected: format!("one of {}", OPS.join(", ")),
                    found: op_node.found(),
                    nearest: nearest(&op, OPS.iter().copied()),
                });
            }
        };
        Ok(Condition {
            argument,
            test,
            value,
        })
    }

    /// A number, or names of numbers joined by `|`.
    fn number(&self, key: &str, node: &Node) -> Result<u64, Error> {
        let expected = "a number that is not negative, or the kernel's names for bits, joined by |";
        match &node.kind {
            Kind::Integer(number) => {
                let number = u64::try_from(*number).ok();
                number.ok_or_else(|| self.wrong(key, node, expected))
            }
            Kind::Text(text) => text.split('|').try_fold(0, |all, name| {
                let value = constants::value(name).ok_or_else(|| Error::Value {
                    place: self.0.place(node.line, key),
                    expected: expected.to_owned(),
                    found: node.found(),
                    nearest: nearest(name, constants::values()),
                })?;
                Ok(all | value)
            }),
            _ => Err(self.wrong(key, node, expected)),
        }
    }

    fn errno(&self, key: &str, node: &Node) -> Result<u16, Error> {
        let name = self.text(key, node)?;
        errno(&name).ok_or_else(|| Error::Value {
            place: self.0.place(node.line, key),
            expected: "the name of an error, such as EPERM".to_owned(),
            found: node.found(),
            nearest: nearest(&name, errnos()),
        })
    }

    fn text(&self, key: &str, node: &Node) -> Result<String, Error> {
        self.0
            .value::<String>(key.to_owned(), node)
            .map(|text| text.value)
    }

    /// The members of a table that has no other keys than `known`.
    fn table<'n>(&self, key: &str, node: &'n Node, known: &[&str]) -> Result<&'n [Member], Error> {
        let members = self.0.members(key, node)?;
        match members.iter().find(|m| !known.contains(&m.key.as_str())) {
            None => Ok(members),
            Some(member) => {
                let section = match key {
                    "" => String::new(),
                    key => format!("{key}."),
                };
                Err(self.0.unknown(&section, member, known))
            }
        }
    }

    /// The elements of a list that has some, with their keys.
    fn list<'n>(
        &self,
        key: &str,
        node: &'n Node,
    ) -> Result<impl Iterator<Item = (String, &'n Node)>, Error> {
        let Kind::List(items) = &node.kind else {
            return Err(self.wrong(key, node, "a list"));
        };
        if items.is_empty() {
            return Err(self.wrong(key, node, "a list that is not empty"));
        }
        let items = items.iter().enumerate();
        Ok(items.map(move |(index, item)| (format!("{key}[{index}]"), item)))
    }

    fn required<'n>(
        &self,
        table: &str,
        line: u32,
        members: &'n [Member],
        key: &str,
    ) -> Result<&'n Node, Error> {
        let found = members.iter().find(|member| member.key == key);
        found.map(|member| &member.value).ok_or_else(|| {
            let key = match table {
                "" => key.to_owned(),
                table => format!("{table}.{key}"),
            };
            Error::MissingKey {
                place: self.0.place(line, &key),
                expected: "it beside the others",
            }
        })
    }

    fn wrong(&self, key: &str, node: &Node, expected: &str) -> Error {
        Error::Value {
            place: self.0.place(node.line, key),
            expected: expected.to_owned(),
            found: node.found(),
            nearest: None,
        }
    }
}

/// The call that may have been meant.
pub(crate) fn nearest_call(name: &str) -> Option<String> {
    nearest(name, gl_seccomp::calls(gl_seccomp::NATIVE))
}
