//! A policy to classic BPF.
//!
//! Code is made from its end to its start: every jump in BPF goes forward, so its target is always
//! there already, and whether it is within the 255 instructions of a conditional jump is known when
//! the jump is made. One that is not goes through a `ja`, or gets a `ret` of its own nearby.
//!
//! Per architecture: one search over the runs of numbers, whose leaves return at once or test
//! arguments. The kernel compiles a new filter to machine code and runs it once for every call number
//! to fill its cache, so the length of the program and the depth of its search are what attaching
//! costs. Hence little is there twice: calls with equal rules share their tests, x32 shares the search
//! of x86-64, and a lone number between two runs with one answer takes one instruction.

use crate::abi::{Abi, Width};
use crate::error::Error;
use crate::policy::{Call, Condition, Policy, Rule, Space, Span, Test, Verdict};
use crate::program::{Insn, Program, op};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Farthest target that a conditional jump is given; two less than it could reach, as up to two
/// `ja` may still come between.
const NEAR: usize = 253;

/// Lone numbers that a leaf of a search tests one after the other: more make it shorter and deeper.
const LONE: usize = 2;

/// So many high halves always have a search each.
const FEW: usize = 8;

/// Makes the program of a policy.
///
/// # Errors
///
/// [`Error::TooLong`] if the kernel would not take it.
pub fn assemble(policy: &Policy) -> Result<Program, Error> {
    let mut code = Code::default();
    let mut next = code.ret(policy.foreign);
    for space in policy.spaces.iter().rev() {
        let tree = code.space(space);
        let start = code.load(NUMBER, tree);
        next = code.branch(op::JEQ, space.audit, start, next);
    }
    code.load(ARCH, next);
    code.backward.reverse();
    Program::new(code.backward, policy.flags)
}

/// A place in the code, counted from its end: the instruction `backward[label - 1]`.
type Label = usize;

/// Where a search ends.
#[derive(Clone, Copy, PartialEq)]
enum Goal<'a> {
    Return(Verdict),
    /// The tests of a call.
    Ask(&'a Call),
    At(Label),
}

/// A run of values with the same goal, up to the next run's first.
#[derive(Clone, Copy)]
struct Run<'a> {
    first: u32,
    goal: Goal<'a>,
}

/// Instructions in reverse order.
#[derive(Default)]
struct Code<'a> {
    backward: Vec<Insn>,
    /// The latest `ret` of each verdict.
    rets: Vec<(Verdict, Label)>,
    /// The latest tests of each call that has some.
    calls: Vec<(&'a Call, Label)>,
}

impl<'a> Code<'a> {
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

    /// The search for the answer to a call, its number being loaded.
    fn space(&mut self, space: &'a Space) -> Label {
        let runs: Vec<Run<'a>> = space.spans().iter().map(run).collect();
        let end = runs.partition_point(|run| run.first < Abi::X32_BIT);
        let (low, high) = runs.split_at(end);
        if space.audit != Abi::X32.audit() || high.len() < 2 {
            return self.search(&runs);
        }
        let start = self.search(low);
        let low_again = self.push_clear_x32_bit(start);
        let high = self.search(&x32(low, high, Goal::At(low_again)));
        self.branch(op::JGE, Abi::X32_BIT, high, start)
    }

    /// Goes on at `next` with the number that x86-64 has for a call of x32.
    fn push_clear_x32_bit(&mut self, next: Label) -> Label {
        self.reach(next);
        self.push(op::AND, !Abi::X32_BIT, 0, 0)
    }

    /// The search over `runs`, the value being loaded.
    fn search(&mut self, runs: &[Run<'a>]) -> Label {
        let mut leaves = Vec::with_capacity(runs.len());
        let mut rest = runs;
        while !rest.is_empty() {
            let (leaf, after) = rest.split_at(leaf(rest));
            leaves.push(leaf);
            rest = after;
        }
        self.tree(&leaves)
    }

    fn tree(&mut self, leaves: &[&[Run<'a>]]) -> Label {
        let (low, high) = leaves.split_at(leaves.len() / 2);
        let ([_, ..], [pivot, ..]) = (low, high) else {
            // One leaf: there is nothing to search.
            return high
                .first()
                .map_or(self.backward.len(), |leaf| self.leaf(leaf));
        };
        // Subtrees first, single verdicts after: these are then still within reach.
        let high_tree = (!is_flat(high)).then(|| self.tree(high));
        let low_tree = (!is_flat(low)).then(|| self.tree(low));
        let high_label = high_tree.unwrap_or_else(|| self.goal(pivot[0].goal));
        let low_label = low_tree.unwrap_or_else(|| self.goal(low[0][0].goal));
        self.branch(op::JGE, pivot[0].first, high_label, low_label)
    }

    /// What most of its values have, and what the lone ones between them have.
    fn leaf(&mut self, leaf: &[Run<'a>]) -> Label {
        let lone = leaf.iter().skip(1).step_by(2).rev();
        let most = self.goal(leaf[0].goal);
        lone.fold(most, |next, run| {
            let goal = self.goal(run.goal);
            self.branch(op::JEQ, run.first, goal, next)
        })
    }

    fn goal(&mut self, goal: Goal<'a>) -> Label {
        match goal {
            Goal::Return(verdict) => self.ret(verdict),
            Goal::Ask(call) => self.call(call),
            Goal::At(label) => label,
        }
    }

    /// The answer to a call that depends on its arguments.
    fn call(&mut self, call: &'a Call) -> Label {
        let known = self.calls.iter().position(|(one, _)| *one == call);
        if let Some(label) = known.map(|at| self.calls[at].1)
            && self.distance(label) <= NEAR
        {
            return label;
        }
        let mut next = Goal::Return(call.otherwise);
        let mut rules = call.rules.as_slice();
        while let Some(last) = rules.last() {
            let alike = rules
                .iter()
                .rev()
                .take_while(|rule| compare_one_value(rule, last));
            let (before, group) = rules.split_at(rules.len() - alike.count().max(1));
            let start = match is_searched(group).then(|| pieces(group)) {
                Some(pieces) => self.values(group, &pieces, next),
                None => self.each(group, next),
            };
            next = Goal::At(start);
            rules = before;
        }
        let start = self.goal(next);
        match known {
            Some(at) => self.calls[at].1 = start,
            None => self.calls.push((call, start)),
        }
        start
    }

    /// Rules one after the other.
    fn each(&mut self, group: &[Rule], otherwise: Goal<'a>) -> Label {
        let no = self.goal(otherwise);
        group.iter().rev().fold(no, |no, rule| self.rule(rule, no))
    }

    /// Rules that ask for the value of one argument: a search for it, as for the number of a call.
    fn values(
        &mut self,
        group: &[Rule],
        pieces: &[(u64, Option<Verdict>)],
        otherwise: Goal<'a>,
    ) -> Label {
        let Condition {
            argument, width, ..
        } = group[0].conditions[0];
        let offset = ARGUMENTS + 8 * u32::from(argument);
        let goal = |verdict: Option<Verdict>| verdict.map_or(otherwise, Goal::Return);
        let mut high_runs: Vec<Run<'a>> = Vec::with_capacity(pieces.len());
        let mut rest = pieces;
        let mut before = goal(pieces[0].1);
        while let Some(&(value, _)) = rest.first() {
            let high = halves(value).high;
            let here = rest.partition_point(|(value, _)| halves(*value).high == high);
            let (block, after) = rest.split_at(here);
            let mut runs: Vec<Run<'a>> = Vec::with_capacity(block.len() + 1);
            if halves(value).low != 0 {
                runs.push(Run {
                    first: 0,
                    goal: before,
                });
            }
            runs.extend(block.iter().map(|&(value, verdict)| Run {
                first: halves(value).low,
                goal: goal(verdict),
            }));
            let last = runs[runs.len() - 1].goal;
            let whole = runs.len() == 1;
            let here = if whole {
                last
            } else {
                let search = self.search(&runs);
                Goal::At(self.load(offset, search))
            };
            high_runs.push(Run {
                first: high,
                goal: here,
            });
            let next = after.first().map(|(value, _)| halves(*value).high);
            if let Some(above) = high.checked_add(1)
                && !whole
                && next != Some(above)
            {
                high_runs.push(Run {
                    first: above,
                    goal: last,
                });
            }
            before = last;
            rest = after;
        }
        // One answer for all values, or no high half that counts.
        if high_runs.len() == 1 || width == Width::Half {
            return self.goal(high_runs[0].goal);
        }
        let search = self.search(&high_runs);
        self.load(offset + 4, search)
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

/// One 32-bit half of an argument and what to compare it with.
#[derive(Clone, Copy)]
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

/// Whether each of the rules compares one value, and that of the same argument.
fn compare_one_value(one: &Rule, other: &Rule) -> bool {
    let ([one], [other]) = (&one.conditions[..], &other.conditions[..]) else {
        return false;
    };
    let is_plain = |condition: &Condition| condition.test != Test::MaskedEqual;
    is_plain(one) && is_plain(other) && (one.argument, one.width) == (other.argument, other.width)
}

/// Whether a search is the shortest for these rules: they compare one value, and not each another high half,
/// which would have a search of its own.
fn is_searched(group: &[Rule]) -> bool {
    if !compare_one_value(&group[0], &group[0]) {
        return false;
    }
    let high = |rule: &Rule| halves(rule.conditions[0].value).high;
    let mut all: Vec<u32> = group.iter().map(high).collect();
    all.sort_unstable();
    all.dedup();
    all.len() <= FEW || 3 * all.len() <= group.len()
}

/// What rules that compare one value say to each: runs from the given value on, the first from 0.
fn pieces(group: &[Rule]) -> Vec<(u64, Option<Verdict>)> {
    let mut edges = Vec::with_capacity(2 * group.len() + 1);
    edges.push(0);
    for condition in group.iter().map(|rule| &rule.conditions[0]) {
        let (from, above) = (condition.value, condition.value.checked_add(1));
        match condition.test {
            Test::Less | Test::GreaterOrEqual => edges.push(from),
            Test::LessOrEqual | Test::Greater => edges.extend(above),
            Test::Equal | Test::NotEqual | Test::MaskedEqual => {
                edges.push(from);
                edges.extend(above);
            }
        }
    }
    let width = group[0].conditions[0].width;
    edges.retain(|edge| width == Width::Full || *edge <= u64::from(u32::MAX));
    edges.sort_unstable();
    edges.dedup();
    let mut pieces: Vec<(u64, Option<Verdict>)> = Vec::with_capacity(edges.len());
    for edge in edges {
        let rule = group.iter().find(|rule| rule.conditions[0].holds_for(edge));
        let verdict = rule.map(|rule| rule.verdict);
        if pieces.last().is_none_or(|last| last.1 != verdict) {
            pieces.push((edge, verdict));
        }
    }
    pieces
}

fn run(span: &Span) -> Run<'_> {
    let goal = if span.call.rules.is_empty() {
        Goal::Return(span.call.otherwise)
    } else {
        Goal::Ask(&span.call)
    };
    Run {
        first: span.first,
        goal,
    }
}

/// The runs of x32, `again` being the goal where a call gets the answer of x86-64's with the same number.
fn x32<'a>(low: &[Run<'a>], high: &[Run<'a>], again: Goal<'a>) -> Vec<Run<'a>> {
    // From here on a number is above all of x86-64's also without the bit of x32.
    const ABOVE: u32 = 1 << 31;
    let known = low.iter().map(|run| run.first | Abi::X32_BIT);
    let own = high.iter().map(|run| run.first);
    let mut edges: Vec<u32> = known.chain(own).chain([ABOVE]).collect();
    edges.sort_unstable();
    edges.dedup();
    let at = |runs: &[Run<'a>], number: u32| {
        let end = runs.partition_point(|run| run.first <= number);
        end.checked_sub(1).map(|last| runs[last].goal)
    };
    let mut runs: Vec<Run<'a>> = Vec::with_capacity(edges.len());
    for edge in edges {
        let same = at(low, edge & !Abi::X32_BIT);
        // The run that holds the first number of x32 may begin below it.
        let Some(own) = at(high, edge).or(at(low, edge)) else {
            continue;
        };
        let before = runs.last().map(|run| run.goal);
        let goal = if before != Some(own) && same == Some(own) {
            again
        } else {
            own
        };
        if before != Some(goal) {
            runs.push(Run { first: edge, goal });
        }
    }
    runs
}

/// How many of the runs the first leaf has: a run, and then, up to [`LONE`] times, a lone value behind which that
/// run goes on.
fn leaf(runs: &[Run<'_>]) -> usize {
    let goes_on = |lone: usize| {
        let at = 2 * lone;
        match (&runs[at..], runs[0].goal) {
            ([_, lone, next, ..], goal) => next.first - lone.first == 1 && next.goal == goal,
            _ => false,
        }
    };
    let lone = (0..LONE).take_while(|lone| goes_on(*lone)).count();
    1 + 2 * lone
}

/// Whether the leaves are one goal without tests of its own.
fn is_flat(leaves: &[&[Run<'_>]]) -> bool {
    matches!(leaves, [[only]] if !matches!(only.goal, Goal::Ask(_)))
}
