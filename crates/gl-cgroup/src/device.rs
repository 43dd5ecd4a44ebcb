//! The rules of `linux.resources.devices`, as both versions understand them.
//!
//! config-linux.md, "Allowed Device list".

use std::fmt;

use gl_spec::oci::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::Error;

/// Kinds of device nodes that the controller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block,
    Char,
}

/// A device node, or all of a kind or a major number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// All major numbers if none.
    pub(crate) major: Option<u32>,
    /// All minor numbers if none.
    pub(crate) minor: Option<u32>,
}

/// A set of accesses: bits of [`Access::READ`] and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Access(pub(crate) u8);

impl Access {
    pub(crate) const READ: u8 = 1;
    pub(crate) const WRITE: u8 = 2;
    pub(crate) const MKNOD: u8 = 4;
}

const ALL: Access = Access(Access::READ | Access::WRITE | Access::MKNOD);

/// What happens with a device that nothing else names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// It is refused: exceptions allow.
    Deny,
    /// It is allowed: exceptions deny.
    Allow,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// It is about everything, and what came before is forgotten.
    Whole(Otherwise),
    /// It is about some devices, or some accesses.
    Some {
        verdict: Otherwise,
        nodes: Vec<Node>,
        access: Access,
    },
}

/// Devices that every container has: `mknod` of all, use of the harmless ones and of terminals.
/// The same list as other runtimes', so that engines and images find what they count on.
pub(crate) const DEFAULTS: [(Node, Access); 11] = [
    (node(Kind::Char, None, None), Access(Access::MKNOD)),
    (node(Kind::Block, None, None), Access(Access::MKNOD)),
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

impl Parsed {
    /// Reads a rule. One without a type, numbers and with full or no access is about everything.
    /// One without a type but with anything else stands for block and character devices. A deny rule
    /// without access denies all access.
    ///
    /// # Errors
    ///
    /// Why there is no such device or access.
    pub(crate) fn of(rule: &LinuxDeviceCgroup) -> Result<Self, &'static str> {
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => &[Kind::Block, Kind::Char],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C | LinuxDeviceType::U => &[Kind::Char],
            LinuxDeviceType::P => return Err("a fifo is not a device"),
        };
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        let access = access(rule)?;
        let verdict = if rule.allow() {
            Otherwise::Allow
        } else {
            Otherwise::Deny
        };
        let whole = kinds.len() == 2 && major.is_none() && minor.is_none();
        if whole && (access == ALL || rule.access().as_deref().unwrap_or_default().is_empty()) {
            return Ok(Self::Whole(verdict));
        }
        let nodes = kinds.iter().map(|&kind| Node { kind, major, minor });
        Ok(Self::Some {
            verdict,
            nodes: nodes.collect(),
            access,
        })
    }
}

/// The error for a rule that cannot be used.
pub(crate) fn refused(at: usize, rule: &LinuxDeviceCgroup, reason: &'static str) -> Error {
    Error::Value {
        field: format!("linux.resources.devices[{at}]").into(),
        value: shown(rule),
        reason,
    }
}

impl Node {
    /// Whether every device of `other` is one of `self`.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether some device is one of both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
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
        for (bit, letter) in [
            (Access::READ, "r"),
            (Access::WRITE, "w"),
            (Access::MKNOD, "m"),
        ] {
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
            b'r' => Access::READ,
            b'w' => Access::WRITE,
            b'm' => Access::MKNOD,
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
