//! What a filter decides, before it is instructions: for each architecture a total map from call
//! numbers to verdicts and argument rules.
//!
//! This is the form to compare, merge and explain filters in; [`Policy::tightened_by`] takes the
//! stricter answer of two. From the OCI section it is made in `oci`, to BPF in `assemble`.

use std::borrow::Cow;

use crate::abi::{Abi, Width};
use crate::merge;
use crate::program::Flags;

/// What the kernel does with a call: the value that a filter returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict(u32);

impl Verdict {
    /// `SECCOMP_RET_KILL_PROCESS`.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// `SECCOMP_RET_KILL_THREAD`.
    pub const KILL_THREAD: Self = Self(0);
    /// `SECCOMP_RET_TRAP`.
    pub const TRAP: Self = Self(0x0003_0000);
    /// `SECCOMP_RET_USER_NOTIF`.
    pub const NOTIFY: Self = Self(0x7fc0_0000);
    /// `SECCOMP_RET_LOG`.
    pub const LOG: Self = Self(0x7ffc_0000);
    /// `SECCOMP_RET_ALLOW`.
    pub const ALLOW: Self = Self(0x7fff_0000);

    const ACTION: u32 = 0xffff_0000;

    /// `SECCOMP_RET_ERRNO`: the call fails with `errno`, which the kernel caps at 4095.
    pub const fn errno(errno: u16) -> Self {
        Self(0x0005_0000 | errno as u32)
    }

    /// `SECCOMP_RET_TRACE`: a tracer sees the event with `message`, without one the call fails.
    pub const fn trace(message: u16) -> Self {
        Self(0x7ff0_0000 | message as u32)
    }

    /// The value that the filter returns.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The value without its data: `SECCOMP_RET_*`.
    pub const fn action(self) -> u32 {
        self.0 & Self::ACTION
    }

    /// The errno that a call fails with, if it does.
    pub const fn as_errno(self) -> Option<u16> {
        match self.action() {
            0x0005_0000 => Some((self.0 & 0xffff) as u16),
            _ => None,
        }
    }

    /// Whether an agent that observes denials is told: a call that fails, or would have been denied. Not
    /// `ENOSYS`, by which a program learns that a call is not there and does without it.
    fn is_observed(self) -> bool {
        self.as_errno().is_some_and(|errno| errno != ENOSYS) || self == Self::LOG
    }

    /// The stricter of the two, in the order that the kernel uses between filters; on a tie (two
    /// errnos) the first.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.action().cast_signed() < self.action().cast_signed() {
            other
        } else {
            self
        }
    }
}

const ENOSYS: u16 = 38;

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// `argument == value`.
    Equal,
    /// `argument & mask == value`.
    MaskedEqual,
    /// `argument != value`.
    NotEqual,
    /// `argument < value`, unsigned like all of them.
    Less,
    /// `argument <= value`.
    LessOrEqual,
    /// `argument > value`.
    Greater,
    /// `argument >= value`.
    GreaterOrEqual,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How much of it counts; above that, `mask` and `value` are zero.
    pub width: Width,
    /// The comparison.
    pub test: Test,
    /// Bits that count; all of the width but for [`Test::MaskedEqual`].
    pub mask: u64,
    /// What to compare with.
    pub value: u64,
}

impl Condition {
    fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments.get(usize::from(self.argument));
        self.holds_for(argument.copied().unwrap_or(0))
    }

    /// Whether it holds if its argument is this one.
    pub(crate) fn holds_for(&self, argument: u64) -> bool {
        let argument = match self.width {
            Width::Half => argument & 0xffff_ffff,
            Width::Full => argument,
        };
        match self.test {
            Test::Equal => argument == self.value,
            Test::MaskedEqual => argument & self.mask == self.value,
            Test::NotEqual => argument != self.value,
            Test::Less => argument < self.value,
            Test::LessOrEqual => argument <= self.value,
            Test::Greater => argument > self.value,
            Test::GreaterOrEqual => argument >= self.value,
        }
    }
}

/// A verdict for the calls that meet all conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What must hold, by ascending argument; never empty.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub verdict: Verdict,
}

/// What happens with a call: the first rule that holds decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Rules, first match first.
    pub rules: Vec<Rule>,
    /// What happens if none holds.
    pub otherwise: Verdict,
}

impl Call {
    /// A call that gets the same verdict whatever its arguments.
    pub const fn always(verdict: Verdict) -> Self {
        Self {
            rules: Vec::new(),
            otherwise: verdict,
        }
    }
}

impl Call {
    fn verdict(&self, arguments: &[u64; 6]) -> Verdict {
        let holds = |rule: &&Rule| rule.conditions.iter().all(|one| one.holds(arguments));
        let rule = self.rules.iter().find(holds);
        rule.map_or(self.otherwise, |rule| rule.verdict)
    }

    fn observed(mut self) -> Self {
        let notify = |verdict: &mut Verdict| {
            if verdict.is_observed() {
                *verdict = Verdict::NOTIFY;
            }
        };
        notify(&mut self.otherwise);
        self.rules
            .iter_mut()
            .for_each(|rule| notify(&mut rule.verdict));
        self
    }
}

/// A run of call numbers with the same answer, up to the next span's first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first number of the run.
    pub first: u32,
    /// The answer.
    pub call: Call,
}

/// The answers for one `AUDIT_ARCH_*`. x86-64 and x32 share one, told apart by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// Ascending; the first begins at 0, so that every number has an answer.
    spans: Vec<Span>,
}

impl Space {
    /// A space without spans; the first [`Space::push`] must be for number 0.
    pub(crate) fn new(audit: u32) -> Self {
        Self {
            audit,
            spans: Vec::with_capacity(160),
        }
    }

    /// A space with one answer for every number.
    fn uniform(audit: u32, verdict: Verdict) -> Self {
        Self {
            audit,
            spans: vec![Span {
                first: 0,
                call: Call::always(verdict),
            }],
        }
    }

    /// Answers `call` from number `first` on; merges with the run before if the answer is the same.
    pub(crate) fn push(&mut self, first: u32, call: Call) {
        let last = self.spans.last();
        debug_assert!(last.map_or(first == 0, |span| span.first < first));
        if last.is_none_or(|span| span.call != call) {
            self.spans.push(Span { first, call });
        }
    }

    /// The runs, ascending; the first begins at 0.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    fn tightened_by(&self, other: &Self) -> Self {
        let mut merged = Self::new(self.audit);
        let (mut mine, mut theirs) = (self.spans.as_slice(), other.spans.as_slice());
        while let (Some(a), Some(b)) = (mine.first(), theirs.first()) {
            merged.push(a.first.max(b.first), merge::calls(&a.call, &b.call));
            // Whichever run ends first is left behind; at the very end both are.
            let (next_a, next_b) = (mine.get(1), theirs.get(1));
            let end = [next_a, next_b]
                .into_iter()
                .flatten()
                .map(|s| s.first)
                .min();
            let Some(end) = end else { break };
            if next_a.is_some_and(|span| span.first == end) {
                mine = &mine[1..];
            }
            if next_b.is_some_and(|span| span.first == end) {
                theirs = &theirs[1..];
            }
        }
        merged
    }
}

/// A whole filter, architecture by architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The architectures with answers of their own.
    pub(crate) spaces: Vec<Space>,
    /// What happens to calls of any other architecture.
    pub(crate) foreign: Verdict,
    /// Flags for `seccomp(2)`.
    pub(crate) flags: Flags,
}

impl Policy {
    /// The architectures that have answers of their own.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// What happens to calls of any other architecture.
    pub fn foreign(&self) -> Verdict {
        self.foreign
    }

    /// The filter that gives the stricter verdict of the two for every call and its arguments, as
    /// the kernel would if both were attached, at the price of one.
    ///
    /// Where both return an errno, this one's is kept. `SPEC_ALLOW` stays only if both ask for it,
    /// as it gives up a protection.
    #[must_use]
    pub fn tightened_by(&self, other: &Self) -> Self {
        let audits = self.spaces.iter().chain(&other.spaces).map(|s| s.audit);
        let mut spaces: Vec<Space> = Vec::with_capacity(self.spaces.len());
        for audit in audits {
            if spaces.iter().all(|space| space.audit != audit) {
                spaces.push(self.space(audit).tightened_by(&other.space(audit)));
            }
        }
        Self {
            spaces,
            foreign: self.foreign.stricter(other.foreign),
            flags: self.flags.tightened_by(other.flags),
        }
    }

    /// What happens to a call of the architecture `audit` (`AUDIT_ARCH_*`).
    pub fn verdict(&self, audit: u32, number: u32, arguments: &[u64; 6]) -> Verdict {
        let Some(space) = self.spaces.iter().find(|space| space.audit == audit) else {
            return self.foreign;
        };
        let end = space.spans.partition_point(|span| span.first <= number);
        let span = end.checked_sub(1).and_then(|last| space.spans.get(last));
        span.map_or(self.foreign, |span| span.call.verdict(arguments))
    }

    /// The same filter for an agent that observes denials: where this one makes a call fail, or only logs
    /// it, the agent is asked, who then answers with [`Policy::verdict`]. What is allowed costs what it did.
    ///
    /// # Kernel
    ///
    /// `SECCOMP_RET_USER_NOTIF`, since 5.0.
    #[must_use]
    pub fn observed(mut self) -> Self {
        for space in &mut self.spaces {
            let spans = std::mem::take(&mut space.spans);
            for Span { first, call } in spans {
                space.push(first, call.observed());
            }
        }
        if self.foreign.is_observed() {
            self.foreign = Verdict::NOTIFY;
        }
        self.flags = self.flags.with(Flags::NEW_LISTENER).settled();
        self
    }

    /// The same filter, whose calls only a deadly signal interrupts once the agent has seen them: no program
    /// meets an `EINTR` that it would not have met. Without an agent nothing changes.
    ///
    /// # Kernel
    ///
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, since 5.19; left out where the kernel does not know it.
    #[must_use]
    pub fn undisturbed(mut self) -> Self {
        let wanted = self.flags.with(Flags::WAIT_KILLABLE_RECV);
        if gl_sys::seccomp_flags_known(wanted.bits()) {
            self.flags = wanted.settled();
        }
        self
    }

    fn space(&self, audit: u32) -> Cow<'_, Space> {
        let own = self.spaces.iter().find(|space| space.audit == audit);
        own.map_or_else(
            || Cow::Owned(Space::uniform(audit, self.foreign)),
            Cow::Borrowed,
        )
    }

    /// Whether any x32 call gets another answer than a foreign one does.
    pub(crate) fn answers_x32(&self) -> bool {
        let mut spaces = self.spaces.iter();
        spaces
            .find(|space| space.audit == Abi::X32.audit())
            .is_some_and(|space| {
                let mine = |span: &&Span| (Abi::X32_BIT..u32::MAX).contains(&span.first);
                let first = space.spans.iter().find(mine);
                // The run that holds the first number of x32 may begin below it.
                let begins = first.is_some_and(|span| span.first == Abi::X32_BIT);
                let all = space.spans.iter().filter(mine);
                let foreign = Call::always(self.foreign);
                !begins || all.into_iter().any(|span| span.call != foreign)
            })
    }
}
