//! The stricter answer of two to one call, in as few rules as can be seen at once.
//!
//! The first match of the pair is the pair of first matches, as long as the pairs come in order. That
//! alone would be the product of both lists, most of which can never hold or changes nothing: filters
//! of profiles and of engines both list what they allow, so that most pairs contradict each other.

use crate::policy::{Call, Condition, Rule, Test, Verdict};

/// Above this many rules only what is cheap to find is left out.
const MANY: usize = 256;

/// The stricter answer of two.
pub(crate) fn calls(one: &Call, other: &Call) -> Call {
    let otherwise = one.otherwise.stricter(other.otherwise);
    if one.rules.is_empty() || other.rules.is_empty() {
        return limited(one, other, otherwise);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (mine, verdict) in branches(one) {
        for (theirs, their_verdict) in branches(other) {
            let Some(conditions) = joined(mine, theirs) else {
                continue;
            };
            // Only the last pair, of the two ends, has no condition.
            if conditions.is_empty() {
                break;
            }
            add(&mut rules, conditions, verdict.stricter(their_verdict));
        }
    }
    let mut call = Call { rules, otherwise };
    if call.rules.len() <= MANY {
        leave_out_idle(&mut call.rules, otherwise);
    }
    leave_out_end(&mut call);
    call
}

/// Two of which one does not look at arguments.
fn limited(one: &Call, other: &Call, otherwise: Verdict) -> Call {
    let each = |rule: &Rule| match other.rules.is_empty() {
        true => rule.verdict.stricter(other.otherwise),
        false => one.otherwise.stricter(rule.verdict),
    };
    let all = || one.rules.iter().chain(&other.rules);
    if all().all(|rule| each(rule) == otherwise) {
        return Call::always(otherwise);
    }
    let rules = all().map(|rule| Rule {
        conditions: rule.conditions.clone(),
        verdict: each(rule),
    });
    let mut call = Call {
        rules: rules.collect(),
        otherwise,
    };
    tidy(&mut call);
    call
}

/// Leaves out rules without which each call gets the same answer, where there may be some.
pub(crate) fn tidy(call: &mut Call) {
    let otherwise = call.otherwise;
    leave_out_end(call);
    if call.rules.len() <= MANY && call.rules.iter().any(|rule| rule.verdict == otherwise) {
        leave_out_idle(&mut call.rules, otherwise);
    }
}

fn leave_out_end(call: &mut Call) {
    let otherwise = call.otherwise;
    let is_idle = |rule: &Rule| rule.verdict == otherwise;
    while call.rules.last().is_some_and(is_idle) {
        call.rules.pop();
    }
}

fn branches(call: &Call) -> impl Iterator<Item = (&[Condition], Verdict)> {
    let rules = call.rules.iter().map(|r| (&r.conditions[..], r.verdict));
    rules.chain([(&[][..], call.otherwise)])
}

/// Adds a rule at the end, unless one before it takes all that it would.
fn add(rules: &mut Vec<Rule>, conditions: Vec<Condition>, verdict: Verdict) {
    if rules
        .iter()
        .any(|rule| contains(&rule.conditions, &conditions))
    {
        return;
    }
    // Among neighbours with one verdict the order does not count, so the larger takes the smaller.
    let alike = rules
        .iter()
        .rev()
        .take_while(|rule| rule.verdict == verdict);
    let begin = rules.len() - alike.count();
    let mut index = 0;
    rules.retain(|rule| {
        index += 1;
        index <= begin || !contains(&conditions, &rule.conditions)
    });
    rules.push(Rule {
        conditions,
        verdict,
    });
}

/// Leaves rules out without which each call gets the same answer from a later one or from none.
fn leave_out_idle(rules: &mut Vec<Rule>, otherwise: Verdict) {
    let mut index = rules.len();
    while index > 0 {
        index -= 1;
        if is_idle(rules, index, otherwise) {
            rules.remove(index);
        }
    }
}

/// Whether what reaches the rule would be answered alike without it.
fn is_idle(rules: &[Rule], index: usize, otherwise: Verdict) -> bool {
    let (before, rule, after) = (&rules[..index], &rules[index], &rules[index + 1..]);
    for later in after {
        let Some(both) = joined(&rule.conditions, &later.conditions) else {
            continue;
        };
        if later.verdict == rule.verdict {
            if contains(&later.conditions, &rule.conditions) {
                return true;
            }
            continue;
        }
        // A later rule with another answer is harmless where an earlier one takes what they share.
        if !before.iter().any(|rule| contains(&rule.conditions, &both)) {
            return false;
        }
    }
    rule.verdict == otherwise
}

/// What both ask for, sorted by argument; `None` if that can never hold.
fn joined(one: &[Condition], other: &[Condition]) -> Option<Vec<Condition>> {
    // Most pairs contradict each other, and are known to before anything is copied.
    if one
        .iter()
        .any(|mine| other.iter().any(|theirs| clash(mine, theirs)))
    {
        return None;
    }
    let mut all = one.to_vec();
    for condition in other {
        add_condition(&mut all, condition)?;
    }
    let exact: Vec<Condition> = all
        .iter()
        .copied()
        .filter(|c| c.test == Test::Equal)
        .collect();
    for equal in exact {
        let asks_more = |c: &Condition| c.test != Test::Equal && is_alike(c, &equal);
        if all.iter().any(|c| asks_more(c) && !holds(c, equal.value)) {
            return None;
        }
        all.retain(|c| !asks_more(c));
    }
    all.sort_by_key(|condition| condition.argument);
    Some(all)
}

/// Whether no argument has both, as far as two that ask for bits can be told.
fn clash(one: &Condition, other: &Condition) -> bool {
    let alike = is_equality(one) && is_equality(other) && is_alike(one, other);
    alike && (one.value ^ other.value) & one.mask & other.mask != 0
}

/// Adds a condition to those that must hold, joined with one on the same bits.
fn add_condition(all: &mut Vec<Condition>, new: &Condition) -> Option<()> {
    if all.contains(new) {
        return Some(());
    }
    let twin = |c: &&mut Condition| is_equality(c) && is_equality(new) && is_alike(c, new);
    let Some(old) = all.iter_mut().find(twin) else {
        all.push(*new);
        return Some(());
    };
    if clash(old, new) {
        return None;
    }
    let exact = [old.test, new.test].contains(&Test::Equal);
    old.mask |= new.mask;
    old.value |= new.value;
    old.test = if exact {
        Test::Equal
    } else {
        Test::MaskedEqual
    };
    Some(())
}

fn is_equality(condition: &Condition) -> bool {
    matches!(condition.test, Test::Equal | Test::MaskedEqual)
}

fn is_alike(one: &Condition, other: &Condition) -> bool {
    one.argument == other.argument && one.width == other.width
}

fn holds(condition: &Condition, argument: u64) -> bool {
    match condition.test {
        Test::Equal | Test::MaskedEqual => argument & condition.mask == condition.value,
        Test::NotEqual => argument != condition.value,
        Test::Less => argument < condition.value,
        Test::LessOrEqual => argument <= condition.value,
        Test::Greater => argument > condition.value,
        Test::GreaterOrEqual => argument >= condition.value,
    }
}

/// Whether `large` holds wherever `small` does, as far as can be seen condition by condition.
fn contains(large: &[Condition], small: &[Condition]) -> bool {
    large.iter().all(|wanted| {
        small.iter().any(|given| {
            given == wanted
                || is_alike(given, wanted)
                    && match given.test {
                        Test::Equal => holds(wanted, given.value),
                        Test::MaskedEqual => {
                            is_equality(wanted)
                                && wanted.mask & !given.mask == 0
                                && (wanted.value ^ given.value) & wanted.mask == 0
                        }
                        _ => false,
                    }
        })
    })
}
