//! A policy to classic BPF.
//!
//! Code is made from its end to its start: every jump in BPF goes forward, so its target is always
//! there already, and whether it is within the 255 instructions of a conditional jump is known when
//! the jump is made. One that is not goes through a `ja`, or gets a `ret` of its own nearby.
//!
//! Per architecture: one binary search over the runs of numbers, whose leaves return at once or
//! test arguments. The kernel runs a new filter once for every call number to fill its cache, so
//! the depth of this tree is what attaching costs.

use crate::abi::Width;
use crate::error::Error;
use crate::policy::{Call, Condition, Policy, Rule, Span, Test, Verdict};
use crate::program::{Insn, Program, op};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Farthest target that a conditional jump is given; two less than it could reach, as up to two
/// `ja` may still come between.
const NEAR: usize = 253;

/// Makes the program of a policy.
///
/// # Errors
///
/// [`Error::TooLong`] if the kernel would not take it.
pub fn assemble(policy: &Policy) -> Result<Program, Error> {
    let mut code = Code::default();
    let mut next = code.ret(policy.foreign);
    for space in policy.spaces.iter().rev() {
        let tree = code.search(space.spans());
        let start = code.load(NUMBER, tree);
        next = code.branch(op::JEQ, space.audit, start, next);
    }
    code.load(ARCH, next);
    code.backward.reverse();
    Program::new(code.backward, policy.flags)
}

/// A place in the code, counted from its end: the instruction `backward[label - 1]`.
type Label = usize;

/// Instructions in reverse order.
#[derive(Default)]
struct Code {
    backward: Vec<Insn>,
    /// The latest `ret` of each verdict.
    rets: Vec<(Verdict, Label)>,
}

impl Code {
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.backward.push(Insn { code, jt, jf, k });
        self.backward.len()
    }

    /// Instructions between one pushed now and `target`.
    fn distance(&self, target: Label) -> usize {
        self.backward.len() - target
    }

    /// Makes `next` the instruction after whatever is pushed now.
    fn reach(&mut self, next: Label) {
        let distance = self.distance(next);
        if distance > 0 {
            let skip = u32::try_from(distance).expect("a program has far fewer instructions");
            self.push(op::JA, skip, 0, 0);
        }
    }

    /// A `ret` that a branch made now can reach.
    fn ret(&mut self, verdict: Verdict) -> Label {
        let known = self.rets.iter().position(|ret| ret.0 == verdict);
        if let Some(label) = known.map(|at| self.rets[at].1)
            && self.distance(label) <= NEAR
        {
            return label;
        }
        let label = self.push(op::RET, verdict.bits(), 0, 0);
        match known {
            Some(at) => self.rets[at].1 = label,
            None => self.rets.push((verdict, label)),
        }
        label
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.reach(next);
        self.push(op::LD_ABS, offset, 0, 0)
    }

    /// A conditional jump; targets that are too far get a `ja`.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let no = self.near(no);
        let yes = self.near(yes);
        let skip = |target| {
            u8::try_from(self.distance(target)).expect("near() keeps targets within reach")
        };
        let (jt, jf) = (skip(yes), skip(no));
        self.push(code, k, jt, jf)
    }

    fn near(&mut self, target: Label) -> Label {
        if self.distance(target) > NEAR {
            self.reach(target);
            return self.backward.len();
        }
        target
    }

    /// The binary search over `spans`, the number being loaded.
    fn search(&mut self, spans: &[Span]) -> Label {
        let (low, high) = spans.split_at(spans.len() / 2);
        let ([_, ..], [pivot, ..]) = (low, high) else {
            // One span: there is nothing to search.
            return high
                .first()
                .map_or(self.backward.len(), |span| self.call(&span.call));
        };
        // Subtrees first, single verdicts after: these are then still within reach.
        let high_tree = (!is_flat(high)).then(|| self.search(high));
        let low_tree = (!is_flat(low)).then(|| self.search(low));
        let high_label = high_tree.unwrap_or_else(|| self.ret(pivot.call.otherwise));
        let low_label = low_tree.unwrap_or_else(|| self.ret(low[0].call.otherwise));
        self.branch(op::JGE, pivot.first, high_label, low_label)
    }

    /// The answer to one call.
    fn call(&mut self, call: &Call) -> Label {
        let mut next = self.ret(call.otherwise);
        let mut rules = call.rules.as_slice();
        while let Some(last) = rules.last() {
            let alike = rules
                .iter()
                .rev()
                .take_while(|rule| share_value_test(rule, last));
            let (before, group) = rules.split_at(rules.len() - alike.count().max(1));
            next = match group {
                [rule] => self.rule(rule, next),
                group => self.any_of(group, next),
            };
            rules = before;
        }
        next
    }

    /// Rules that ask whether one argument is one of several values: loads it once for all.
    fn any_of(&mut self, group: &[Rule], no: Label) -> Label {
        let yes = self.ret(group[0].verdict);
        let first = group[0].conditions[0];
        let mut next = no;
        for rule in group.iter().rev() {
            next = self.branch(op::JEQ, halves(rule.conditions[0].value).low, yes, next);
        }
        let offset = ARGUMENTS + 8 * u32::from(first.argument);
        next = self.load(offset, next);
        if first.width == Width::Half {
            return next;
        }
        next = self.branch(op::JEQ, halves(first.value).high, next, no);
        self.load(offset + 4, next)
    }

    fn rule(&mut self, rule: &Rule, no: Label) -> Label {
        let mut yes = self.ret(rule.verdict);
        for condition in rule.conditions.iter().rev() {
            yes = self.condition(condition, yes, no);
        }
        yes
    }

    fn condition(&mut self, condition: &Condition, yes: Label, no: Label) -> Label {
        // Every test is one of three, perhaps turned around.
        let (test, yes, no) = match condition.test {
            Test::Equal | Test::MaskedEqual => (op::JEQ, yes, no),
            Test::NotEqual => (op::JEQ, no, yes),
            Test::Greater => (op::JGT, yes, no),
            Test::LessOrEqual => (op::JGT, no, yes),
            Test::GreaterOrEqual => (op::JGE, yes, no),
            Test::Less => (op::JGE, no, yes),
        };
        let offset = ARGUMENTS + 8 * u32::from(condition.argument);
        let mask = halves(condition.mask);
        let value = halves(condition.value);
        // Both kernels here are little endian: the low half comes first.
        let low = Half {
            offset,
            mask: mask.low,
            value: value.low,
        };
        if condition.width == Width::Half || mask.high == 0 {
            return self.half(test, low, yes, no);
        }
        let high = Half {
            offset: offset + 4,
            mask: mask.high,
            value: value.high,
        };
        if mask.low == 0 {
            return self.half(test, high, yes, no);
        }
        let low = self.half(test, low, yes, no);
        if test == op::JEQ {
            return self.half(test, high, low, no);
        }
        // Above: yes. Equal: the low half decides. Below: no.
        let equal = self.branch(op::JEQ, high.value, low, no);
        let above = self.branch(op::JGT, high.value, yes, equal);
        self.load(high.offset, above)
    }

    fn half(&mut self, test: u16, half: Half, yes: Label, no: Label) -> Label {
        let mut next = self.branch(test, half.value, yes, no);
        if half.mask != u32::MAX {
            next = self.push(op::AND, half.mask, 0, 0);
        }
        self.load(half.offset, next)
    }
}

#[derive(Clone, Copy)]
/// One 32-bit half of an argument and what to compare it with.
struct Half {
    offset: u32,
    mask: u32,
    value: u32,
}

struct Halves {
    high: u32,
    low: u32,
}

fn halves(value: u64) -> Halves {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
    Halves {
        high: u32::from_le_bytes([b4, b5, b6, b7]),
        low: u32::from_le_bytes([b0, b1, b2, b3]),
    }
}

/// Whether the rules differ only in the low half of the one value that they ask for.
fn share_value_test(one: &Rule, other: &Rule) -> bool {
    let ([one_asks], [other_asks]) = (&one.conditions[..], &other.conditions[..]) else {
        return false;
    };
    let what = |condition: &Condition| {
        let high = halves(condition.value).high;
        (condition.argument, condition.width, condition.test, high)
    };
    one.verdict == other.verdict
        && one_asks.test == Test::Equal
        && what(one_asks) == what(other_asks)
}

/// Whether the spans are one verdict and nothing more.
fn is_flat(spans: &[Span]) -> bool {
    matches!(spans, [only] if only.call.rules.is_empty())
}
