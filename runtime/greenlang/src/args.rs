//! The command line: first as typed, then what it means.
//!
//! [`split`] sorts arguments into options and operands by a verb's table and knows nothing of their
//! meaning; each verb reads its own values from that. Options are spelled as Go programs do: one or
//! two dashes, `--x=y` or `--x y`.

mod bool_text;
mod duration;
mod error;
mod global;
mod size;
mod user;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use gl_spec::ContainerId;

pub(crate) use duration::parse_duration;
pub(crate) use error::Error;
pub(crate) use gl_spec::Signal;
pub(crate) use global::{CgroupManager, FLAGS, Global, Rootless};
pub(crate) use size::parse_size;
pub(crate) use user::User;

/// An option of the program or of a verb.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Its names without dashes: the one for messages first.
    pub(crate) names: &'static [&'static str],
    /// What follows it.
    pub(crate) takes: Takes,
    /// What it does, for `--help`.
    pub(crate) help: &'static str,
}

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// A value, called so in `--help`.
    Value(&'static str),
}

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Only before the first operand: what follows belongs to somebody else.
    OptionsFirst,
    /// Anywhere before `--`.
    Mixed,
}

/// Declares an option that takes nothing.
pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag {
        names,
        takes: Takes::Nothing,
        help,
    }
}

/// Declares an option that takes a value.
pub(crate) const fn value(
    names: &'static [&'static str],
    placeholder: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        names,
        takes: Takes::Value(placeholder),
        help,
    }
}

/// Arguments, sorted but not understood.
#[derive(Debug)]
pub(crate) struct Given {
    flags: &'static [Flag],
    options: Vec<(&'static str, OsString)>,
    operands: std::vec::IntoIter<OsString>,
    wants_help: bool,
}

/// Sorts `args` by the table `flags`.
///
/// # Errors
///
/// An option that the table does not have, or that lacks its value.
pub(crate) fn split(
    args: impl IntoIterator<Item = OsString>,
    flags: &'static [Flag],
    order: Order,
) -> Result<Given, Error> {
    let mut args = args.into_iter();
    let mut options = Vec::new();
    let mut operands = Vec::new();
    let mut wants_help = false;
    while let Some(arg) = args.next() {
        let Some((name, attached)) = option(&arg) else {
            let is_end = arg == "--";
            if !is_end {
                operands.push(arg);
            }
            if is_end || order == Order::OptionsFirst {
                operands.extend(args);
                break;
            }
            continue;
        };
        if matches!(name, "help" | "h") {
            wants_help = true;
            continue;
        }
        let Some(flag) = flags.iter().find(|flag| flag.names.contains(&name)) else {
            return Err(Error::UnknownFlag {
                flag: arg.to_string_lossy().into_owned(),
            });
        };
        let given = match (flag.takes, attached) {
            (_, Some(value)) => value.to_owned(),
            (Takes::Nothing, None) => OsString::from("true"),
            (Takes::Value(_), None) => args.next().ok_or(Error::NeedsValue {
                flag: flag.names[0],
            })?,
        };
        options.push((flag.names[0], given));
    }
    Ok(Given {
        flags,
        options,
        operands: operands.into_iter(),
        wants_help,
    })
}

/// Takes an option apart: its name and what stands behind `=`. `None` for an operand, for `-` and
/// for `--`.
fn option(arg: &OsStr) -> Option<(&str, Option<&OsStr>)> {
    use std::os::unix::ffi::OsStrExt as _;

    let rest = arg.as_bytes().strip_prefix(b"-")?;
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    if rest.is_empty() {
        return None;
    }
    let (name, value) = match rest.iter().position(|b| *b == b'=') {
        Some(at) => (&rest[..at], Some(OsStr::from_bytes(&rest[at + 1..]))),
        None => (rest, None),
    };
    // A name that is not UTF-8 is in no table: any such word leads to that answer.
    Some((std::str::from_utf8(name).unwrap_or("?"), value))
}

impl Given {
    /// Whether `--help` was among the options.
    pub(crate) fn wants_help(&self) -> bool {
        self.wants_help
    }

    /// The value that was given last for an option.
    fn last(&self, name: &'static str) -> Option<&OsString> {
        debug_assert!(
            self.flags.iter().any(|flag| flag.names[0] == name),
            "{name} is not in the table"
        );
        self.options
            .iter()
            .rev()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value)
    }

    /// Whether a switch is on.
    ///
    /// # Errors
    ///
    /// `--name=value` with something that is not a truth value.
    pub(crate) fn switch(&self, name: &'static str) -> Result<bool, Error> {
        Ok(self.switch_if_given(name)?.unwrap_or(false))
    }

    /// Whether a switch is on or off, if it was given at all.
    ///
    /// # Errors
    ///
    /// `--name=value` with something that is not a truth value.
    pub(crate) fn switch_if_given(&self, name: &'static str) -> Result<Option<bool>, Error> {
        self.last(name)
            .map(|value| bool_text::parse(value).ok_or_else(|| bad(name, value, "true or false")))
            .transpose()
    }

    /// A path; an empty one counts as not given, as for the engines' own programs.
    pub(crate) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.last(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// A text; an empty one is given.
    ///
    /// # Errors
    ///
    /// One that is not UTF-8.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        self.last(name).map(|value| utf8(name, value)).transpose()
    }

    /// A value that `parse` understands; `expected` says what it has to be.
    ///
    /// # Errors
    ///
    /// One that `parse` does not understand.
    pub(crate) fn parsed<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.last(name) else {
            return Ok(None);
        };
        value
            .to_str()
            .and_then(parse)
            .map(Some)
            .ok_or_else(|| bad(name, value, expected))
    }

    /// A number: digits, and a minus where `T` has one.
    ///
    /// # Errors
    ///
    /// One that is not a number or does not fit.
    pub(crate) fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Error> {
        self.parsed(name, "a number in range", parse_number)
    }

    /// Every value of an option that may stand several times, in order.
    ///
    /// # Errors
    ///
    /// One that is not UTF-8.
    pub(crate) fn all(&self, name: &'static str) -> Result<Vec<String>, Error> {
        self.options
            .iter()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| utf8(name, value))
            .collect()
    }

    /// Every id of an option that may stand several times, in order.
    ///
    /// # Errors
    ///
    /// One that is not a number from 0 to 4294967294.
    pub(crate) fn ids(&self, name: &'static str) -> Result<Vec<u32>, Error> {
        let expected = "a number from 0 to 4294967294";
        self.options
            .iter()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| {
                value
                    .to_str()
                    .and_then(user::id)
                    .ok_or_else(|| bad(name, value, expected))
            })
            .collect()
    }

    /// Takes the next operand, a container id.
    ///
    /// # Errors
    ///
    /// None is left, or it is not an id.
    pub(crate) fn container_id(&mut self) -> Result<ContainerId, Error> {
        let id = self.operands.next().ok_or(Error::MissingOperand {
            operand: "container id",
        })?;
        ContainerId::new(id.to_string_lossy()).map_err(|source| Error::Id { source })
    }

    /// Takes the next operand, if there is one.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub(crate) fn operand(&mut self, what: &'static str) -> Result<Option<String>, Error> {
        self.operands.next().map(|arg| utf8(what, &arg)).transpose()
    }

    /// Takes all operands that are left.
    ///
    /// # Errors
    ///
    /// One is not UTF-8.
    pub(crate) fn operands(self, what: &'static str) -> Result<Vec<String>, Error> {
        self.operands.map(|arg| utf8(what, &arg)).collect()
    }

    /// Takes all operands that are left as they are.
    pub(crate) fn raw_operands(self) -> Vec<OsString> {
        self.operands.collect()
    }

    /// Requires that no operand is left.
    ///
    /// # Errors
    ///
    /// One is left.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        match self.operands.next() {
            None => Ok(()),
            Some(extra) => Err(Error::ExtraOperand {
                operand: extra.to_string_lossy().into_owned(),
            }),
        }
    }
}

/// Reads digits, and a minus where `T` has one: no plus, no space.
fn parse_number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn utf8(what: &'static str, value: &OsStr) -> Result<String, Error> {
    value
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::NotUtf8 {
            what,
            seen: value.to_string_lossy().into_owned(),
        })
}

fn bad(flag: &'static str, value: &OsStr, expected: &'static str) -> Error {
    Error::BadValue {
        flag,
        seen: value.to_string_lossy().into_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests;
