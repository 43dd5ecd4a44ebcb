//! The seccomp part of a profile as the answers of a filter, worked out for every container that has one:
//! nothing is read, sorted or compared that need not be.
//!
//! What counts first is said first, and each call is closed by the first that speaks of it whatever its
//! arguments.

use gl_seccomp::{Builder, Call, Condition, Policy, Rule, Syscall, Test, Verdict, Width};
use gl_spec::oci::Arch;

use super::filter::{EPERM, call, group};
use super::group::GroupRule;
use super::pieces::Piece;
use crate::error::Error;
use crate::keys::SeccompPolicy;
use crate::value::{Mode, Name, SeccompAction, Setting, SyscallName};

/// What is said of each call, and of those that nobody speaks of.
#[derive(Debug)]
pub struct Answers {
    /// By [`Syscall::index`].
    calls: Vec<Answer>,
    otherwise: Verdict,
    foreign: Verdict,
}

/// What has been said of one call so far, first match first.
#[derive(Debug, Clone, Default)]
struct Answer {
    rules: Vec<Rule>,
    /// What the first said that speaks of all arguments.
    closed: Option<Verdict>,
}

impl Answers {
    /// Works out the answers of a policy. Without a default, what is not allowed fails with `EPERM`.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] with the place in the profile: a group or a call that does not exist.
    pub fn new(policy: &SeccompPolicy, mode: Mode) -> Result<Self, Error> {
        let default = policy.default.as_ref().map(|setting| setting.value);
        let default = default.unwrap_or(SeccompAction::Errno(EPERM));
        let refusal = match default {
            SeccompAction::Allow | SeccompAction::Log => SeccompAction::Errno(EPERM),
            refusal => refusal,
        };
        let refused = |action| match mode {
            Mode::Enforcing => verdict(action),
            Mode::Permissive => Verdict::LOG,
        };
        let errno = |number| refused(SeccompAction::Errno(number));
        let mut answers = Self {
            calls: vec![Answer::default(); Syscall::COUNT],
            otherwise: match default {
                SeccompAction::Log => Verdict::LOG,
                _ => refused(refusal),
            },
            foreign: match mode {
                Mode::Enforcing => Verdict::KILL_PROCESS,
                Mode::Permissive => Verdict::LOG,
            },
        };
        let denied = |number: Option<u16>| Some(number.map_or(refused(refusal), errno));
        let allowed = |number: Option<u16>| number.is_none().then_some(Verdict::ALLOW);
        answers.calls(&policy.deny, denied)?;
        answers.groups(&policy.deny_groups, denied)?;
        answers.calls(&policy.allow, allowed)?;
        answers.groups(&policy.groups, allowed)?;
        match default {
            SeccompAction::Allow => answers.close(Verdict::ALLOW),
            // A default that lets through is no refusal that a weak one could stand in for.
            SeccompAction::Log => {}
            _ => {
                let weak = |number: Option<u16>| number.map(errno);
                answers.calls(&policy.allow, weak)?;
                answers.groups(&policy.groups, weak)?;
            }
        }
        Ok(answers)
    }

    /// The answers as a policy for machines of `native`, for gl-seccomp to merge and assemble.
    ///
    /// # Errors
    ///
    /// As [`Builder::new`]: no filter can be made for this architecture.
    pub fn policy(mut self, native: Arch) -> Result<Policy, gl_seccomp::Error> {
        let mut builder = Builder::new(native, self.otherwise, self.foreign)?;
        for call in Syscall::all(native) {
            let Some(answer) = self.calls.get_mut(call.index()).map(std::mem::take) else {
                continue;
            };
            let otherwise = answer.closed.unwrap_or(self.otherwise);
            let rules = answer.rules;
            builder.answer(call, Call { rules, otherwise });
        }
        Ok(builder.finish())
    }

    /// Says of single calls, or of the parts of them that a group has, that for which there is a verdict.
    fn calls(
        &mut self,
        names: &[Setting<SyscallName>],
        verdict: impl Fn(Option<u16>) -> Option<Verdict>,
    ) -> Result<(), Error> {
        for name in names {
            let (call, part) = call(name)?;
            let Some(group) = part else {
                self.say(call, &[Piece::ALL], verdict(None));
                continue;
            };
            for rule in group.rules.iter().filter(|rule| rule.calls.contains(&call)) {
                self.say(call, &rule.pieces, verdict(rule.errno));
            }
        }
        Ok(())
    }

    /// Says what the rules of groups say for which there is a verdict.
    fn groups(
        &mut self,
        names: &[Setting<Name>],
        verdict: impl Fn(Option<u16>) -> Option<Verdict>,
    ) -> Result<(), Error> {
        for name in names {
            for rule in &*group(name)?.rules {
                self.rule(rule, verdict(rule.errno));
            }
        }
        Ok(())
    }

    fn rule(&mut self, rule: &GroupRule, verdict: Option<Verdict>) {
        for &call in &*rule.calls {
            self.say(call, &rule.pieces, verdict);
        }
    }

    /// Answers what is in one of the pieces and has no answer yet, if there is a verdict.
    fn say(&mut self, call: Syscall, pieces: &[Piece], verdict: Option<Verdict>) {
        let Some(verdict) = verdict else { return };
        let answer = self.calls.get_mut(call.index());
        let Some(answer) = answer.filter(|answer| answer.closed.is_none()) else {
            return;
        };
        for piece in pieces {
            let conditions = conditions(piece);
            if conditions.is_empty() {
                answer.closed = Some(verdict);
                return;
            }
            answer.rules.push(Rule {
                conditions,
                verdict,
            });
        }
    }

    fn close(&mut self, verdict: Verdict) {
        for answer in &mut self.calls {
            answer.closed.get_or_insert(verdict);
        }
    }
}

/// What must hold of the arguments of a piece.
fn conditions(piece: &Piece) -> Vec<Condition> {
    let arguments = (0..).zip(piece.0).filter(|(_, bits)| bits.mask != 0);
    let conditions = arguments.map(|(argument, bits)| Condition {
        argument,
        width: Width::Full,
        test: match bits.mask {
            u64::MAX => Test::Equal,
            _ => Test::MaskedEqual,
        },
        mask: bits.mask,
        value: bits.value,
    });
    conditions.collect()
}

fn verdict(action: SeccompAction) -> Verdict {
    match action {
        SeccompAction::Allow => Verdict::ALLOW,
        SeccompAction::Log => Verdict::LOG,
        SeccompAction::Errno(errno) => Verdict::errno(errno),
        SeccompAction::KillThread => Verdict::KILL_THREAD,
        SeccompAction::KillProcess => Verdict::KILL_PROCESS,
    }
}
