//! `linux.resources.devices` for the devices controller of v1.
//!
//! The kernel keeps one default (allow or deny) and exceptions to it, each a device with wildcards and
//! a set of accesses. The rules of the config, applied in their order, become such a [`Policy`];
//! what v1 cannot express is refused. From what a cgroup has to what it shall have, only the
//! difference is written.
//!
//! kernel Documentation/admin-guide/cgroup-v1/devices.rst.

use std::collections::BTreeMap;
use std::fmt;

use gl_spec::oci::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::Error;

/// Kinds of device nodes that the controller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block,
    Char,
}

/// A device node, or all of a kind or a major number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    kind: Kind,
    /// All major numbers if none.
    major: Option<u32>,
    /// All minor numbers if none.
    minor: Option<u32>,
}

/// A set of accesses: bits of [`READ`], [`WRITE`] and [`MKNOD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Access(u8);

const READ: u8 = 1;
const WRITE: u8 = 2;
const MKNOD: u8 = 4;
const ALL: Access = Access(READ | WRITE | MKNOD);

/// What happens with a device that no exception names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// It is refused: exceptions allow.
    Deny,
    /// It is allowed: exceptions deny.
    Allow,
}

/// The whole state of a devices cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) otherwise: Otherwise,
    exceptions: BTreeMap<Node, Access>,
}

/// One line for `devices.allow` or `devices.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: &'static str,
    pub(crate) text: String,
}

/// Devices that every container has: `mknod` of all, use of the harmless ones and of terminals.
/// The same list as other runtimes', so that engines and images find what they count on.
const DEFAULTS: [(Node, Access); 11] = [
    (node(Kind::Char, None, None), Access(MKNOD)),
    (node(Kind::Block, None, None), Access(MKNOD)),
    // null, zero, full, random, urandom
    (node(Kind::Char, Some(1), Some(3)), ALL),
    (node(Kind::Char, Some(1), Some(5)), ALL),
    (node(Kind::Char, Some(1), Some(7)), ALL),
    (node(Kind::Char, Some(1), Some(8)), ALL),
    (node(Kind::Char, Some(1), Some(9)), ALL),
    // tty, ptmx, pts/*
    (node(Kind::Char, Some(5), Some(0)), ALL),
    (node(Kind::Char, Some(5), Some(2)), ALL),
    (node(Kind::Char, Some(136), None), ALL),
    // net/tun: without CAP_NET_ADMIN it gives no interface
    (node(Kind::Char, Some(10), Some(200)), ALL),
];

const fn node(kind: Kind, major: Option<u32>, minor: Option<u32>) -> Node {
    Node { kind, major, minor }
}

impl Policy {
    /// Applies the rules of the config in their order to "nothing is allowed", then adds the
    /// devices that every container has.
    ///
    /// # Spec
    ///
    /// config-linux.md, "Allowed Device list". A rule without a type, numbers and with full or no
    /// access sets the default and forgets what came before. One without a type but with anything
    /// else stands for block and character devices. A deny rule without access denies all access.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] for a type or number that no device has, and for a rule that takes a part
    /// out of a wildcard given before: v1 would ignore it.
    pub(crate) fn from_rules(rules: &[LinuxDeviceCgroup]) -> Result<Self, Error> {
        let mut policy = Self {
            otherwise: Otherwise::Deny,
            exceptions: BTreeMap::new(),
        };
        for (at, rule) in rules.iter().enumerate() {
            policy.apply(rule).map_err(|reason| Error::Value {
                field: format!("linux.resources.devices[{at}]").into(),
                value: shown(rule),
                reason,
            })?;
        }
        for (node, access) in DEFAULTS {
            match policy.otherwise {
                Otherwise::Deny => policy.add(node, access),
                Otherwise::Allow => policy.remove(node, access),
            }
        }
        Ok(policy)
    }

    fn apply(&mut self, rule: &LinuxDeviceCgroup) -> Result<(), &'static str> {
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => &[Kind::Block, Kind::Char],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C | LinuxDeviceType::U => &[Kind::Char],
            LinuxDeviceType::P => return Err("a fifo is not a device"),
        };
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        let access = access(rule)?;
        let whole = kinds.len() == 2 && major.is_none() && minor.is_none();
        if whole && (access == ALL || rule.access().as_deref().unwrap_or_default().is_empty()) {
            self.otherwise = if rule.allow() {
                Otherwise::Allow
            } else {
                Otherwise::Deny
            };
            self.exceptions.clear();
            return Ok(());
        }
        for &kind in kinds {
            let node = Node { kind, major, minor };
            if rule.allow() == (self.otherwise == Otherwise::Allow) {
                self.take(node, access)?;
            } else {
                self.add(node, access);
            }
        }
        Ok(())
    }

    fn add(&mut self, node: Node, access: Access) {
        if access != Access::default() {
            self.exceptions.entry(node).or_default().0 |= access.0;
        }
    }

    /// Takes `access` off every exception that `node` covers.
    fn remove(&mut self, node: Node, access: Access) {
        for (other, has) in &mut self.exceptions {
            if node.covers(*other) {
                has.0 &= !access.0;
            }
        }
        self.exceptions.retain(|_, has| *has != Access::default());
    }

    /// As [`Policy::remove`], refused where an exception would go on giving some of it.
    fn take(&mut self, node: Node, access: Access) -> Result<(), &'static str> {
        if self.is_hole(node, access) {
            return Err("v1 cannot take a part out of an earlier, wider rule");
        }
        self.remove(node, access);
        Ok(())
    }

    /// Whether an exception that stays would still give what is being taken off `node`.
    fn is_hole(&self, node: Node, access: Access) -> bool {
        self.exceptions.iter().any(|(other, has)| {
            other.overlaps(node) && !node.covers(*other) && has.0 & access.0 != 0
        })
    }

    /// What makes a cgroup have this policy in which nothing runs and whose state does not matter.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let (whole, exceptions) = match self.otherwise {
            Otherwise::Deny => (DENY, ALLOW),
            Otherwise::Allow => (ALLOW, DENY),
        };
        let mut lines = vec![Line {
            file: whole,
            text: "a".to_owned(),
        }];
        lines.extend(
            self.exceptions
                .iter()
                .map(|(node, access)| Line::of(exceptions, *node, *access)),
        );
        lines
    }

    /// What turns a running cgroup that has `current` into this, or nothing if that would open
    /// more than both on the way: then it has to stand still for [`Policy::lines`].
    ///
    /// From one allow-list to another first goes what is no longer allowed. `deny a` is not
    /// written for that: the kernel refuses it while there are cgroups below, and devices in use
    /// would fail for a moment.
    pub(crate) fn difference(&self, current: &Self) -> Option<Vec<Line>> {
        match (current.otherwise, self.otherwise) {
            (Otherwise::Allow, Otherwise::Deny) => Some(self.lines()),
            (_, Otherwise::Allow) if self.exceptions.is_empty() => Some(self.lines()),
            (_, Otherwise::Allow) => None,
            (Otherwise::Deny, Otherwise::Deny) => {
                let mut lines = missing(DENY, &current.exceptions, &self.exceptions);
                lines.extend(missing(ALLOW, &self.exceptions, &current.exceptions));
                Some(lines)
            }
        }
    }

    /// Parses `devices.list`. A default of "allow" hides its exceptions there.
    ///
    /// # Errors
    ///
    /// The line that is not understood.
    pub(crate) fn parse(list: &str) -> Result<Self, &str> {
        let mut policy = Self {
            otherwise: Otherwise::Deny,
            exceptions: BTreeMap::new(),
        };
        for line in list.lines() {
            if line.starts_with("a ") {
                policy.otherwise = Otherwise::Allow;
                continue;
            }
            let (node, access) = parse_line(line).ok_or(line)?;
            policy.add(node, access);
        }
        Ok(policy)
    }
}

const ALLOW: &str = "devices.allow";
const DENY: &str = "devices.deny";

/// Lines for what `of` has and `without` lacks.
fn missing(
    file: &'static str,
    of: &BTreeMap<Node, Access>,
    without: &BTreeMap<Node, Access>,
) -> Vec<Line> {
    of.iter()
        .filter_map(|(node, access)| {
            let other = without.get(node).copied().unwrap_or_default();
            let rest = Access(access.0 & !other.0);
            (rest != Access::default()).then(|| Line::of(file, *node, rest))
        })
        .collect()
}

impl Line {
    fn of(file: &'static str, node: Node, access: Access) -> Self {
        Self {
            file,
            text: format!("{node} {access}"),
        }
    }
}

impl Node {
    /// Whether every device of `other` is one of `self`.
    fn covers(self, other: Self) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether some device is one of both.
    fn overlaps(self, other: Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Block => "b ",
            Kind::Char => "c ",
        })?;
        match self.major {
            Some(major) => write!(f, "{major}:")?,
            None => f.write_str("*:")?,
        }
        match self.minor {
            Some(minor) => write!(f, "{minor}"),
            None => f.write_str("*"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// A number of the config: none and -1 stand for all.
fn number(number: Option<i64>) -> Result<Option<u32>, &'static str> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err("device numbers are 0 to 4294967295, or -1 for all"),
        },
    }
}

fn access(rule: &LinuxDeviceCgroup) -> Result<Access, &'static str> {
    let letters = rule.access().as_deref().unwrap_or_default();
    if letters.is_empty() && !rule.allow() {
        return Ok(ALL);
    }
    letters.bytes().try_fold(Access::default(), |sum, letter| {
        let bit = match letter {
            b'r' => READ,
            b'w' => WRITE,
            b'm' => MKNOD,
            _ => return Err("access is made of r, w and m"),
        };
        Ok(Access(sum.0 | bit))
    })
}

/// The rule as people write it, for messages.
fn shown(rule: &LinuxDeviceCgroup) -> String {
    let verb = if rule.allow() { "allow" } else { "deny" };
    let kind = rule.typ().unwrap_or_default();
    let number = |n: Option<i64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    format!(
        "{verb} {} {}:{} {}",
        kind.as_str(),
        number(rule.major()),
        number(rule.minor()),
        rule.access().as_deref().unwrap_or_default()
    )
}

fn parse_line(line: &str) -> Option<(Node, Access)> {
    let mut words = line.split_ascii_whitespace();
    let kind = match words.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let node = Node {
        kind,
        major: number(major)?,
        minor: number(minor)?,
    };
    let mut access = Access::default();
    for letter in words.next()?.bytes() {
        access.0 |= match letter {
            b'r' => READ,
            b'w' => WRITE,
            b'm' => MKNOD,
            _ => return None,
        };
    }
    Some((node, access))
}

#[cfg(test)]
mod tests;
