//! In what order the rules of one call are asked.
//!
//! It only matters where rules overlap and differ in verdict. The order is libseccomp's: it keeps
//! the rules as a tree of 32-bit comparisons, in which a level is sorted by argument (higher first),
//! high half before low, equality before `<` before `>`, then the narrower range, and comparisons that
//! begin alike share a branch. Here it is a list whose neighbours share beginnings.
//!
//! SPEC: the spec has no order. We leave libseccomp's where it is an accident of its tree: of two
//! inequalities or ranges of one 64-bit argument with the same high half and different verdicts it
//! answers with the one added first wherever the high half alone decides.

use std::ops::Range;

use crate::abi::Width;
use crate::policy::{Condition, Rule, Test};

/// Where a new rule belongs among the rules of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Before the rule at this index, or at the end.
    At(usize),
    /// Nowhere: an earlier rule answers all that it would.
    Covered,
    /// The rule at this index has the same conditions and another verdict.
    Contradicts(usize),
}

/// Finds the turn of `rule`.
///
/// A rule that begins with all conditions of an earlier one could never be reached.
pub(crate) fn turn(rules: &[Rule], rule: &Rule) -> Turn {
    let mut alike: Range<usize> = 0..rules.len();
    for (depth, node) in nodes(rule).enumerate() {
        let at = |index: usize| nodes(&rules[index]).nth(depth);
        if alike.clone().any(|index| at(index).is_none()) {
            return Turn::Covered;
        }
        let group = run(&alike, |index| {
            at(index).is_some_and(|o| o.shares_with(node))
        });
        if group.is_empty() {
            let later = |index: &usize| at(*index).is_some_and(|other| other.yields_to(node));
            return Turn::At(alike.clone().find(later).unwrap_or(alike.end));
        }
        // The two branches of a comparison exclude each other, so only one of them is of interest.
        alike = run(&group, |index| {
            at(index).is_some_and(|o| o.branch == node.branch)
        });
        if alike.is_empty() {
            return Turn::At(group.end);
        }
    }
    // Everything in `alike` begins with all of the rule's conditions.
    let depth = nodes(rule).count();
    let twin = |index: &usize| nodes(&rules[*index]).count() == depth;
    match alike.clone().find(twin) {
        Some(index) if rules[index].verdict != rule.verdict => Turn::Contradicts(index),
        Some(_) => Turn::Covered,
        None => Turn::At(alike.end),
    }
}

/// The first run of indexes in `range` that `belongs`; empty if there is none.
fn run(range: &Range<usize>, belongs: impl Fn(usize) -> bool) -> Range<usize> {
    let start = range
        .clone()
        .find(|&index| belongs(index))
        .unwrap_or(range.end);
    let end = (start..range.end).find(|&index| !belongs(index));
    start..end.unwrap_or(range.end)
}

/// One 32-bit comparison, as far as the order is concerned.
#[derive(Debug, Clone, Copy)]
struct Node {
    argument: u8,
    high: bool,
    class: Class,
    op: Op,
    /// Whether the rule holds where the comparison does; `None` if that takes the low half as well.
    branch: Option<bool>,
    mask: u32,
    value: u32,
}

/// What is compared, of which each test is one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    Masked,
    Above,
    AtLeast,
}

/// Lower comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Equality,
    Below,
    Above,
}

impl Node {
    /// Whether the two are the same comparison.
    fn shares_with(self, other: Self) -> bool {
        let what = |node: Self| (node.argument, node.high, node.op, node.mask, node.value);
        what(self) == what(other)
    }

    /// Whether a new comparison `other` goes before this one.
    fn yields_to(self, other: Self) -> bool {
        let rank = |node: Self| (node.argument, node.high);
        if rank(self) != rank(other) {
            return rank(self) < rank(other);
        }
        if self.class != other.class {
            return self.class > other.class;
        }
        match self.class {
            Class::Below => self.value > other.value,
            Class::Equality | Class::Above => self.value < other.value,
        }
    }
}

fn nodes(rule: &Rule) -> impl Iterator<Item = Node> {
    rule.conditions.iter().flat_map(|condition| {
        let high = (condition.width == Width::Full).then(|| high_node(condition));
        high.into_iter().chain([node(condition, 0)])
    })
}

/// The comparison of the high half: either branch may end in the low half, and every range test
/// first asks whether it is above.
fn high_node(condition: &Condition) -> Node {
    let node = node(condition, 32);
    let op = match node.op {
        Op::Equal | Op::Masked => node.op,
        Op::Above | Op::AtLeast => Op::Above,
    };
    Node {
        op,
        branch: None,
        ..node
    }
}

fn node(condition: &Condition, shift: u32) -> Node {
    let half = |value: u64| {
        let [b0, b1, b2, b3, ..] = (value >> shift).to_le_bytes();
        u32::from_le_bytes([b0, b1, b2, b3])
    };
    let (class, op, branch) = match condition.test {
        Test::Equal => (Class::Equality, Op::Equal, true),
        Test::MaskedEqual => (Class::Equality, Op::Masked, true),
        Test::NotEqual => (Class::Equality, Op::Equal, false),
        Test::Greater => (Class::Above, Op::Above, true),
        Test::LessOrEqual => (Class::Below, Op::Above, false),
        Test::GreaterOrEqual => (Class::Above, Op::AtLeast, true),
        Test::Less => (Class::Below, Op::AtLeast, false),
    };
    Node {
        argument: condition.argument,
        high: shift != 0,
        class,
        op,
        branch: Some(branch),
        mask: half(condition.mask),
        value: half(condition.value),
    }
}
