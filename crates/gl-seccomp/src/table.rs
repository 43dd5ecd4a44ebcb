//! What a profile says about the calls of one ABI, gathered rule by rule.

use gl_spec::oci::{LinuxSeccompArg, LinuxSeccompOperator};

use crate::abi::{Abi, Width, multiplexed_x86};
use crate::names::Row;
use crate::order::{Turn, turn};
use crate::policy::{Call, Condition, Rule, Space, Test, Verdict};

/// `ENOSYS`.
const ENOSYS: u16 = 38;

/// One more than the highest number of the common calls of any ABI, with room to grow.
const COMMON: u32 = 560;
/// `__ARM_NR_BASE`: ARM's private calls.
const PRIVATE: u32 = 0x000f_0000;
/// How many of them there can be here.
const PRIVATES: u32 = 16;

/// Two rules with the same conditions and different verdicts.
#[derive(Debug)]
pub(crate) struct Contradiction;

/// What has been said about one call so far.
#[derive(Debug)]
enum Slot {
    /// Nothing.
    Unset,
    /// Arguments do not matter. Nothing that comes later changes it.
    Always(Verdict),
    /// They do: first match first.
    Rules(Vec<Rule>),
    /// All that there is to say, from somebody who knows.
    Whole(Call),
}

/// What to do with two rules that contradict each other.
#[derive(Clone, Copy)]
enum Clash {
    /// Tell the caller.
    Refuse,
    /// Keep the stricter.
    Stricter,
}

/// The calls of one ABI, by number without marker.
#[derive(Debug)]
pub(crate) struct Table {
    abi: Abi,
    /// The common calls, then for ARM the private ones.
    slots: Vec<Slot>,
    /// The highest number that the profile names, fixed blocks aside.
    newest: Option<u32>,
}

impl Table {
    /// A table in which nothing has been said.
    pub(crate) fn new(abi: Abi) -> Self {
        let privates = if abi == Abi::Arm { PRIVATES } else { 0 };
        let mut slots = Vec::new();
        slots.resize_with((COMMON + privates) as usize, || Slot::Unset);
        Self {
            abi,
            slots,
            newest: None,
        }
    }

    /// Whose calls these are.
    pub(crate) fn abi(&self) -> Abi {
        self.abi
    }

    /// Notes that the profile names a call, whatever it says about it.
    pub(crate) fn note(&mut self, row: &Row) {
        if let Some(number) = row.number(self.abi)
            && !is_fixed(self.abi, number)
        {
            self.newest = self.newest.max(Some(number));
        }
    }

    /// Sets the whole answer to a call, if the ABI has it.
    pub(crate) fn answer(&mut self, row: &Row, answer: Call) {
        if let Some(number) = row.number(self.abi) {
            self.slots[slot_index(self.abi, number)] = Slot::Whole(answer);
        }
    }

    /// Adds one rule: `verdict` for the call if all of `args` hold.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] if a rule with the same conditions says something else.
    pub(crate) fn add(
        &mut self,
        row: &Row,
        args: &[LinuxSeccompArg],
        verdict: Verdict,
    ) -> Result<(), Contradiction> {
        let width = self.abi.width();
        if self.abi == Abi::X86
            && let Some(multiplexed) = multiplexed_x86(row.name())
        {
            let selector = Condition {
                argument: 0,
                width,
                test: Test::Equal,
                mask: bits(width),
                value: multiplexed.selector,
            };
            let others = conditions(args, width).filter(|other| other.argument != 0);
            let all = [selector].into_iter().chain(others).collect();
            // Rules that differ only in argument 0 meet here. The profile does not contradict itself.
            self.place(multiplexed.through, all, verdict, Clash::Stricter)?;
        }
        match row.number(self.abi) {
            Some(number) => {
                let all = conditions(args, width).collect();
                self.place(number, all, verdict, Clash::Refuse)
            }
            None => Ok(()),
        }
    }

    fn place(
        &mut self,
        number: u32,
        mut conditions: Vec<Condition>,
        verdict: Verdict,
        clash: Clash,
    ) -> Result<(), Contradiction> {
        let slot = &mut self.slots[slot_index(self.abi, number)];
        if conditions.is_empty() && !matches!(slot, Slot::Always(_) | Slot::Whole(_)) {
            *slot = Slot::Always(verdict);
            return Ok(());
        }
        conditions.sort_unstable_by_key(|condition| condition.argument);
        let rule = Rule {
            conditions,
            verdict,
        };
        match slot {
            Slot::Always(_) | Slot::Whole(_) => Ok(()),
            Slot::Unset => {
                *slot = Slot::Rules(vec![rule]);
                Ok(())
            }
            Slot::Rules(rules) => match (turn(rules, &rule), clash) {
                (Turn::Covered, _) => Ok(()),
                (Turn::At(index), _) => {
                    rules.insert(index, rule);
                    Ok(())
                }
                (Turn::Contradicts(_), Clash::Refuse) => Err(Contradiction),
                (Turn::Contradicts(index), Clash::Stricter) => {
                    rules[index].verdict = rules[index].verdict.stricter(verdict);
                    Ok(())
                }
            },
        }
    }

    /// Writes the answers for all numbers of the ABI to `space`.
    pub(crate) fn fill(self, space: &mut Space, default: Verdict) {
        let base = match self.abi {
            Abi::X32 => Abi::X32_BIT,
            _ => 0,
        };
        let newest = self.newest.filter(|_| refuses(default));
        let unsaid = |number: u32| match newest {
            Some(newest) if number > newest && !is_fixed(self.abi, number) => {
                Verdict::errno(ENOSYS)
            }
            _ => default,
        };
        let mut slots = self.slots.into_iter();
        for (number, slot) in (base..base + COMMON).zip(slots.by_ref()) {
            space.push(number, slot.call(unsaid(number), default));
        }
        space.push(base + COMMON, Call::always(unsaid(base + COMMON)));
        for (number, slot) in (PRIVATE..).zip(slots) {
            space.push(number, slot.call(default, default));
        }
        if self.abi == Abi::Arm {
            space.push(PRIVATE + PRIVATES, Call::always(default));
        }
    }
}

impl Slot {
    /// The answer, `unsaid` if the profile has none; `default` if it has rules and none holds.
    fn call(self, unsaid: Verdict, default: Verdict) -> Call {
        match self {
            Self::Unset => Call::always(unsaid),
            Self::Always(verdict) => Call::always(verdict),
            Self::Rules(rules) => Call {
                rules,
                otherwise: default,
            },
            Self::Whole(answer) => answer,
        }
    }
}

/// Numbers that are high but not new, so that they say nothing about the age of a profile: x32's
/// block, which is complete, and ARM's private calls.
fn is_fixed(abi: Abi, number: u32) -> bool {
    match abi {
        Abi::X32 => (512..548).contains(&(number & !Abi::X32_BIT)),
        Abi::Arm => number >= PRIVATE,
        Abi::X86_64 | Abi::X86 | Abi::Aarch64 => false,
    }
}

/// Whether calls that the profile does not name are refused.
///
/// TRACE counts as letting them through, as in runc: a tracer answers for itself.
fn refuses(default: Verdict) -> bool {
    let lets_through = [Verdict::ALLOW, Verdict::LOG, Verdict::trace(0)];
    lets_through.iter().all(|v| v.action() != default.action())
}

fn slot_index(abi: Abi, number: u32) -> usize {
    let index = match number.checked_sub(PRIVATE) {
        Some(private) if abi == Abi::Arm => COMMON + private,
        _ => number & !Abi::X32_BIT,
    };
    index as usize
}

/// The conditions of an OCI rule, those that always hold left out.
fn conditions(args: &[LinuxSeccompArg], width: Width) -> impl Iterator<Item = Condition> {
    let bits = bits(width);
    args.iter().filter_map(move |arg| {
        let argument = u8::try_from(arg.index()).ok()?;
        let (test, mask, value) = match arg.op() {
            // The first value is the mask. Bits of the second outside it cannot matter.
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                let mask = arg.value() & bits;
                (Test::MaskedEqual, mask, arg.value_two().unwrap_or(0) & mask)
            }
            LinuxSeccompOperator::ScmpCmpEq => (Test::Equal, bits, arg.value()),
            LinuxSeccompOperator::ScmpCmpNe => (Test::NotEqual, bits, arg.value()),
            LinuxSeccompOperator::ScmpCmpLt => (Test::Less, bits, arg.value()),
            LinuxSeccompOperator::ScmpCmpLe => (Test::LessOrEqual, bits, arg.value()),
            LinuxSeccompOperator::ScmpCmpGt => (Test::Greater, bits, arg.value()),
            LinuxSeccompOperator::ScmpCmpGe => (Test::GreaterOrEqual, bits, arg.value()),
        };
        let condition = Condition {
            argument,
            width,
            test,
            mask,
            value: value & bits,
        };
        (mask != 0).then_some(condition)
    })
}

fn bits(width: Width) -> u64 {
    match width {
        Width::Half => u64::from(u32::MAX),
        Width::Full => u64::MAX,
    }
}
