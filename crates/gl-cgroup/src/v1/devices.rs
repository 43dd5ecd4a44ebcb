//! `linux.resources.devices` for the devices controller of v1.
//!
//! The kernel keeps one default (allow or deny) and exceptions to it, each a device with wildcards and
//! a set of accesses. The rules of the config, applied in their order, become such a [`Policy`];
//! what v1 cannot express is refused. From what a cgroup has to what it shall have, only the
//! difference is written.
//!
//! kernel Documentation/admin-guide/cgroup-v1/devices.rst.

use std::collections::BTreeMap;

use gl_spec::oci::LinuxDeviceCgroup;

use crate::device::{Access, DEFAULTS, Kind, Node, Otherwise, Parsed, refused};
use crate::error::Error;

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
            policy
                .apply(rule)
                .map_err(|reason| refused(at, rule, reason))?;
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
        let (verdict, nodes, access) = match Parsed::of(rule)? {
            Parsed::Whole(otherwise) => {
                self.otherwise = otherwise;
                self.exceptions.clear();
                return Ok(());
            }
            Parsed::Some {
                verdict,
                nodes,
                access,
            } => (verdict, nodes, access),
        };
        for node in nodes {
            if verdict == self.otherwise {
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
            b'r' => Access::READ,
            b'w' => Access::WRITE,
            b'm' => Access::MKNOD,
            _ => return None,
        };
    }
    Some((node, access))
}

#[cfg(test)]
mod tests;
