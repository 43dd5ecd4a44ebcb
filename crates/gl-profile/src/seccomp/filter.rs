//! Expansion: from groups and lists to rules for each call that say nothing different about the same
//! arguments.

use gl_seccomp::Syscall;
use gl_spec::oci::Arch;

use super::builtin;
use super::group::{Group, GroupRule, nearest_call};
use super::pieces::{Piece, difference, without_contained};
use crate::error::Error;
use crate::keys::SeccompPolicy;
use crate::node::quoted;
use crate::profile::Profile;
use crate::value::{Mode, Name, Origin, SeccompAction, Setting, SyscallName};
use crate::word::nearest;

/// `EPERM`.
pub(super) const EPERM: u16 = 1;

/// The most rules that one call may come to. The kernel takes 4096 instructions for all.
const MAX_PIECES: usize = 512;

/// Where a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A rule of a group.
    Group {
        /// Name of the group.
        group: &'static str,
        /// File of the group.
        file: &'static str,
        /// Line of the rule.
        line: u32,
        /// The reason of the rule, or else of the group.
        reason: &'static str,
        /// Where the profile asks for the group.
        asked: Origin,
    },
    /// A call that the profile names itself.
    Profile(Origin),
    /// What the profile says of all calls: `default = "allow"`.
    Default,
}

/// One rule of the filter. Two rules of one call with different verdicts have no arguments in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The call.
    pub call: &'static str,
    /// For which arguments.
    pub arguments: Piece,
    /// What happens.
    pub action: SeccompAction,
    /// Where it comes from.
    pub cause: Cause,
}

/// The seccomp part of a profile, worked out for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) native: Arch,
    pub(super) mode: Mode,
    pub(super) otherwise: SeccompAction,
    pub(super) rules: Vec<Rule>,
}

impl Filter {
    /// Works the filter out for machines of `native`. Without a default, what is not allowed fails
    /// with `EPERM`.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] with the place in the profile: a group or a call that does not exist, or
    /// conditions that come to more rules than a filter can hold.
    pub fn new(policy: &SeccompPolicy, mode: Mode, native: Arch) -> Result<Self, Error> {
        let default = policy.default.as_ref().map(|setting| setting.value);
        let default = default.unwrap_or(SeccompAction::Errno(EPERM));
        let refusal = match default {
            SeccompAction::Allow | SeccompAction::Log => SeccompAction::Errno(EPERM),
            refusal => refusal,
        };
        let mut words = Words::default();
        let deny = |errno: Option<u16>| Effect::Deny(errno.map_or(refusal, SeccompAction::Errno));
        let allow = |errno: Option<u16>| errno.map_or(Effect::Allow, Effect::Weak);
        words.calls(&policy.deny, deny)?;
        words.groups(&policy.deny_groups, deny)?;
        words.calls(&policy.allow, allow)?;
        words.groups(&policy.groups, allow)?;
        // Stable: of each call, what counts first stays first.
        words.0.sort_by_key(|word| word.call);
        let mut rules = Vec::with_capacity(512);
        for call in Syscall::all(native) {
            let begin = words.0.partition_point(|word| word.call < call);
            let said = words.0.get(begin..).unwrap_or_default();
            let said = said.split(|word| word.call != call).next();
            expand(call, said.unwrap_or_default(), default, &mut rules)?;
        }
        Ok(Self {
            native,
            mode,
            otherwise: match default {
                SeccompAction::Log => default,
                _ => refusal,
            },
            rules,
        })
    }

    /// Whether a profile says anything of calls: without a filter of its own it leaves them to the engine.
    pub fn is_for(profile: &Profile) -> bool {
        let policy = &profile.seccomp;
        let groups = policy.groups.is_empty() && policy.deny_groups.is_empty();
        let calls = policy.allow.is_empty() && policy.deny.is_empty();
        policy.default.is_some() || !(groups && calls)
    }

    /// The filter of a profile for machines of `native`, if it [is to have one](Self::is_for).
    ///
    /// # Errors
    ///
    /// As [`Filter::new`].
    pub fn of(profile: &Profile, native: Arch) -> Result<Option<Self>, Error> {
        match Self::is_for(profile) {
            true => Self::new(&profile.seccomp, profile.mode.value, native).map(Some),
            false => Ok(None),
        }
    }

    /// The rules, in the order of the calls' names. Two rules of one call with different actions have
    /// no arguments in common.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What happens with a call that no rule speaks of, where the mode is enforcing.
    pub fn otherwise(&self) -> SeccompAction {
        self.otherwise
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Deny(SeccompAction),
    Allow,
    Weak(u16),
}

/// One rule as it was written, for one call.
struct Word {
    call: Syscall,
    effect: Effect,
    pieces: &'static [Piece],
    cause: Cause,
    /// Where the profile brings it in, for an error.
    asked: Origin,
}

/// All that was said, in the order in which it counts.
#[derive(Default)]
struct Words(Vec<Word>);

impl Words {
    fn calls(
        &mut self,
        names: &[Setting<SyscallName>],
        effect: impl Fn(Option<u16>) -> Effect,
    ) -> Result<(), Error> {
        for name in names {
            let (call, part) = call(name)?;
            let Some(group) = part else {
                self.0.push(Word {
                    call,
                    effect: effect(None),
                    pieces: &[Piece::ALL],
                    cause: Cause::Profile(name.origin.clone()),
                    asked: name.origin.clone(),
                });
                continue;
            };
            let rules = group.rules.iter().filter(|rule| rule.calls.contains(&call));
            self.0.extend(rules.map(|rule| Word {
                call,
                effect: effect(rule.errno),
                pieces: &rule.pieces,
                cause: cause(group, rule, &name.origin),
                asked: name.origin.clone(),
            }));
        }
        Ok(())
    }

    fn groups(
        &mut self,
        names: &[Setting<Name>],
        effect: impl Fn(Option<u16>) -> Effect,
    ) -> Result<(), Error> {
        for name in names {
            let group = group(name)?;
            self.0.extend(group.rules.iter().flat_map(|rule| {
                let cause = cause(group, rule, &name.origin);
                let effect = effect(rule.errno);
                rule.calls.iter().map(move |&call| Word {
                    call,
                    effect,
                    pieces: &rule.pieces,
                    cause: cause.clone(),
                    asked: name.origin.clone(),
                })
            }));
        }
        Ok(())
    }
}

/// The call that a profile names, and the group whose part of it is meant.
pub(super) fn call(
    name: &Setting<SyscallName>,
) -> Result<(Syscall, Option<&'static Group>), Error> {
    let text = name.value.call();
    let call = Syscall::named(text).ok_or_else(|| Error::Value {
        place: name.origin.place(),
        expected: "the name of a system call".to_owned(),
        found: quoted(text),
        nearest: nearest_call(text),
    })?;
    let Some(part) = name.value.group() else {
        return Ok((call, None));
    };
    let group = find_group(part, &name.origin)?;
    match group.rules.iter().any(|rule| rule.calls.contains(&call)) {
        true => Ok((call, Some(group))),
        false => Err(Error::Value {
            place: name.origin.place(),
            expected: format!("a group of profiles/seccomp that has {text}"),
            found: quoted(part),
            nearest: None,
        }),
    }
}

/// The group that a profile names.
pub(super) fn group(name: &Setting<Name>) -> Result<&'static Group, Error> {
    find_group(name.value.as_str(), &name.origin)
}

fn find_group(text: &str, origin: &Origin) -> Result<&'static Group, Error> {
    builtin::group(text).ok_or_else(|| Error::Value {
        place: origin.place(),
        expected: "the name of a group of profiles/seccomp".to_owned(),
        found: quoted(text),
        nearest: nearest(text, builtin::group_names()),
    })
}

fn cause(group: &'static Group, rule: &'static GroupRule, asked: &Origin) -> Cause {
    Cause::Group {
        group: &group.name,
        file: &group.file,
        line: rule.line,
        reason: rule.reason.as_ref().unwrap_or(&group.reason),
        asked: asked.clone(),
    }
}

/// Adds the rules of one call.
fn expand(
    call: Syscall,
    said: &[Word],
    default: SeccompAction,
    rules: &mut Vec<Rule>,
) -> Result<(), Error> {
    let before = rules.len();
    let call = call.name();
    let add = |word: &Word, arguments: Piece, action: SeccompAction| Rule {
        call,
        arguments,
        action,
        cause: word.cause.clone(),
    };
    let mut denied: Vec<Piece> = Vec::new();
    for word in said {
        if let Effect::Deny(action) = word.effect {
            let left = difference(word.pieces, &denied);
            rules.extend(left.iter().map(|&piece| add(word, piece, action)));
            denied.extend(word.pieces);
            fits(left.len().max(denied.len()), word)?;
        }
    }
    let mut allowed: Vec<Rule> = Vec::new();
    for word in said {
        if word.effect == Effect::Allow {
            for within in word.pieces {
                let left = difference(&[*within], &denied);
                fits(left.len(), word)?;
                let wide = left.iter().map(|piece| piece.widened(within, &denied));
                allowed.extend(wide.map(|piece| add(word, piece, SeccompAction::Allow)));
            }
        }
    }
    if default == SeccompAction::Allow {
        let left = difference(&[Piece::ALL], &denied);
        allowed.extend(left.iter().map(|piece| Rule {
            call,
            arguments: piece.widened(&Piece::ALL, &denied),
            action: SeccompAction::Allow,
            cause: Cause::Default,
        }));
    }
    without_contained(&mut allowed, |rule| rule.arguments);
    let mut taken = denied;
    taken.extend(allowed.iter().map(|rule| rule.arguments));
    rules.extend(allowed);
    // A default that lets through is no refusal that a weak one could stand in for.
    let weak = said.iter().filter(|_| default != SeccompAction::Log);
    for word in weak {
        if let Effect::Weak(errno) = word.effect {
            let left = difference(word.pieces, &taken);
            rules.extend(
                left.iter()
                    .map(|&piece| add(word, piece, SeccompAction::Errno(errno))),
            );
            taken.extend(word.pieces);
            fits(left.len(), word)?;
        }
    }
    match said.last() {
        Some(word) => fits(rules.len().saturating_sub(before), word),
        None => Ok(()),
    }
}

/// Refuses what comes to more rules than a filter can hold.
fn fits(pieces: usize, word: &Word) -> Result<(), Error> {
    if pieces <= MAX_PIECES {
        return Ok(());
    }
    Err(Error::Value {
        place: word.asked.place(),
        expected: format!(
            "conditions on {} that come to at most {MAX_PIECES} rules",
            word.call.name()
        ),
        found: format!("{pieces} rules"),
        nearest: None,
    })
}
