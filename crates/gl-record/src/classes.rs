//! Calls and their arguments, as a profile says them: whole, or the part that a group has.
//!
//! The measure is the profile `default`: what it denies is beyond what a recording asks for by itself.

use std::collections::HashMap;

use gl_profile::Profile;
use gl_profile::seccomp::{Group, GroupRule, Piece, group};
use gl_seccomp::Syscall;

use crate::error::Error;

/// What a call with these arguments is for a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Allowed by this word of `seccomp.allow`.
    Word(String),
    /// The profile `default` has it fail with this errno, on which programs do something else; this word of
    /// `seccomp.allow` does the same.
    Absent(String, u16),
    /// The profile `default` denies it.
    Beyond,
}

/// All groups that count, and what was looked up in them.
pub(crate) struct Classes {
    groups: Vec<&'static Group>,
    denied: Vec<&'static Group>,
    /// Which arguments of a call some rule asks for.
    asked: HashMap<Syscall, [bool; 6]>,
    known: HashMap<(Syscall, [u64; 6]), Class>,
}

impl Classes {
    /// Those of the profile `default`.
    pub(crate) fn new() -> Result<Self, Error> {
        let profile = Profile::resolve("default", &())?;
        let named = |names: &[gl_profile::Setting<gl_profile::Name>]| -> Vec<_> {
            names
                .iter()
                .filter_map(|name| group(name.value.as_str()))
                .collect()
        };
        Ok(Self {
            groups: named(&profile.seccomp.groups),
            denied: named(&profile.seccomp.deny_groups),
            asked: HashMap::new(),
            known: HashMap::new(),
        })
    }

    /// The groups that every profile denies.
    pub(crate) fn denied(&self) -> impl Iterator<Item = &'static str> {
        self.denied.iter().map(|group| &*group.name)
    }

    /// Whether some of a call is denied whatever allows it.
    pub(crate) fn denies_part_of(&self, call: Syscall) -> bool {
        rules(&self.denied, call).next().is_some()
    }

    /// What a call is.
    pub(crate) fn of(&mut self, call: Syscall, arguments: &[u64; 6]) -> Class {
        let asked = self.asked(call);
        let mut telling = [0; 6];
        for (index, value) in telling.iter_mut().enumerate() {
            if asked.get(index) == Some(&true) {
                *value = arguments.get(index).copied().unwrap_or(0);
            }
        }
        if let Some(class) = self.known.get(&(call, telling)) {
            return class.clone();
        }
        let class = self.look_up(call, arguments);
        // A program that never repeats itself must not fill our memory.
        if self.known.len() < 65_536 {
            self.known.insert((call, telling), class.clone());
        }
        class
    }

    fn asked(&mut self, call: Syscall) -> [bool; 6] {
        if let Some(asked) = self.asked.get(&call) {
            return *asked;
        }
        let mut asked = [false; 6];
        let all = rules(&self.groups, call).chain(rules(&self.denied, call));
        for condition in all.flat_map(|(_, rule)| rule.conditions.iter()) {
            if let Some(one) = asked.get_mut(usize::from(condition.argument)) {
                *one = true;
            }
        }
        self.asked.insert(call, asked);
        asked
    }

    fn look_up(&self, call: Syscall, arguments: &[u64; 6]) -> Class {
        let met = |(_, rule): &(&Group, &GroupRule)| holds(rule, arguments);
        if rules(&self.denied, call).any(|one| met(&one)) {
            return Class::Beyond;
        }
        let part = |group: &Group| format!("{}@{}", call.name(), group.name);
        let mut plain = false;
        let mut absent = None;
        for (group, rule) in rules(&self.groups, call).filter(met) {
            match rule.errno {
                Some(errno) => absent = absent.or_else(|| Some((part(group), errno))),
                None if rule.pieces.contains(&Piece::ALL) => plain = true,
                None => return Class::Word(part(group)),
            }
        }
        match (plain, absent) {
            (true, _) => Class::Word(call.name().to_owned()),
            (false, Some((word, errno))) => Class::Absent(word, errno),
            (false, None) => Class::Beyond,
        }
    }
}

/// The rules of some groups about a call.
fn rules<'a>(
    groups: &'a [&'static Group],
    call: Syscall,
) -> impl Iterator<Item = (&'static Group, &'static GroupRule)> + use<'a> {
    groups.iter().flat_map(move |group| {
        let rules = group
            .rules
            .iter()
            .filter(move |rule| rule.calls.contains(&call));
        rules.map(move |rule| (*group, rule))
    })
}

fn holds(rule: &GroupRule, arguments: &[u64; 6]) -> bool {
    rule.pieces.iter().any(|piece| {
        let mut pairs = piece.0.iter().zip(arguments);
        pairs.all(|(bits, argument)| argument & bits.mask == bits.value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_said_by_the_narrowest_words() {
        let mut classes = Classes::new().unwrap();
        let word = |text: &str| Class::Word(text.to_owned());
        for (name, arguments, want) in [
            (
                "openat",
                [0, 0, 0o2_000_000, 0, 0, 0],
                word("openat@files-read"),
            ),
            ("openat", [0, 0, 0o101, 0, 0, 0], word("openat")),
            ("clone", [0x3d_0f00, 0, 0, 0, 0, 0], word("clone@threads")),
            (
                "clone",
                [0x120_0011, 0, 0, 0, 0, 0],
                word("clone@processes"),
            ),
            ("clone", [0x1000_0011, 0, 0, 0, 0, 0], Class::Beyond),
            (
                "clone3",
                [0; 6],
                Class::Absent("clone3@threads".to_owned(), 38),
            ),
            (
                "socket",
                [2, 0x8_0001, 6, 0, 0, 0],
                word("socket@sockets-client"),
            ),
            ("socket", [17, 3, 0, 0, 0, 0], Class::Beyond),
            (
                "ioctl",
                [1, 0x5401, 0, 0, 0, 0],
                word("ioctl@terminal-read"),
            ),
            ("ioctl", [1, 0x1234, 0, 0, 0, 0], word("ioctl")),
            ("ioctl", [1, 0x5412, 0, 0, 0, 0], Class::Beyond),
            ("getpid", [0; 6], word("getpid")),
            ("mount", [0; 6], Class::Beyond),
            ("ptrace", [0; 6], Class::Beyond),
        ] {
            let call = Syscall::named(name).unwrap();
            for _ in 0..2 {
                assert_eq!(classes.of(call, &arguments), want, "{name} {arguments:x?}");
            }
        }
    }
}
