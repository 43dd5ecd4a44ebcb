//! Sets of calls by their arguments, as unions of pieces.
//!
//! A piece says of each argument which bits count and what they are, which is what
//! `SCMP_CMP_MASKED_EQ` can say. Pieces are closed under intersection, and what is left of one
//! after taking another away is a union of pieces again: so every set that conditions can describe,
//! and every difference of two, has an exact form that a filter can ask for.

/// Bits of one argument that must have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// The bits that count; none: the argument may be anything.
    pub mask: u64,
    /// What they must be; zero outside the mask.
    pub value: u64,
}

impl Bits {
    /// Whatever the argument is.
    pub const ANY: Self = Self { mask: 0, value: 0 };

    fn and(self, other: Self) -> Option<Self> {
        let clash = (self.value ^ other.value) & self.mask & other.mask;
        (clash == 0).then_some(Self {
            mask: self.mask | other.mask,
            value: self.value | other.value,
        })
    }

    fn contains(self, other: Self) -> bool {
        self.mask & !other.mask == 0 && (self.value ^ other.value) & self.mask == 0
    }
}

/// The calls whose six arguments all have the bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece(pub [Bits; 6]);

impl Piece {
    /// All arguments.
    pub const ALL: Self = Self([Bits::ANY; 6]);

    /// The same with `bits` in one argument, for tables that the compiler works out.
    #[expect(clippy::indexing_slicing, reason = "a fault ends the build")]
    pub(crate) const fn on(mut self, index: usize, mask: u64, value: u64) -> Self {
        self.0[index] = Bits { mask, value };
        self
    }

    /// The calls with `bits` in argument `index`; all of them if there is no such argument.
    pub(crate) fn of(index: u8, bits: Bits) -> Self {
        let mut piece = Self::ALL;
        if let Some(slot) = piece.0.get_mut(usize::from(index)) {
            *slot = bits;
        }
        piece
    }

    /// What is in both, if anything.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        let mut both = *self;
        for (mine, theirs) in both.0.iter_mut().zip(other.0) {
            *mine = mine.and(theirs)?;
        }
        Some(both)
    }

    /// Whether all of `other` is in it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(other.0);
        pairs.all(|(mine, theirs)| mine.contains(theirs))
    }

    /// What is left without `other`, in pieces that have nothing in common.
    pub(crate) fn minus(&self, other: &Self, left: &mut Vec<Self>) {
        if self.and(other).is_none() {
            left.push(*self);
            return;
        }
        // One bit of `other` after the next: those that differ in it are left, the rest goes on.
        let mut rest = *self;
        let free = other.0.iter().zip(self.0).map(|(o, s)| o.mask & !s.mask);
        for (index, bit) in each_bit(free) {
            let wanted = other.bits(index).value & bit;
            left.push(rest.with(index, bit, !wanted & bit));
            rest = rest.with(index, bit, wanted);
        }
    }

    /// The largest piece around this one that stays inside `within` and clear of `without`, or one
    /// that no single bit makes larger.
    pub(crate) fn widened(self, within: &Self, without: &[Self]) -> Self {
        let fits = |piece: &Self| {
            within.contains(piece) && without.iter().all(|other| other.and(piece).is_none())
        };
        each_bit(self.0.iter().map(|bits| bits.mask)).fold(self, |piece, (index, bit)| {
            let wider = piece.free(index, bit);
            if fits(&wider) { wider } else { piece }
        })
    }

    fn bits(&self, index: usize) -> Bits {
        self.0.get(index).copied().unwrap_or(Bits::ANY)
    }

    /// The same with one more bit that counts.
    fn with(mut self, index: usize, bit: u64, value: u64) -> Self {
        if let Some(bits) = self.0.get_mut(index) {
            bits.mask |= bit;
            bits.value |= value;
        }
        self
    }

    /// The same with one bit that no longer counts.
    fn free(mut self, index: usize, bit: u64) -> Self {
        if let Some(bits) = self.0.get_mut(index) {
            bits.mask &= !bit;
            bits.value &= !bit;
        }
        self
    }
}

/// The bits of six masks, each with its argument.
fn each_bit(masks: impl Iterator<Item = u64>) -> impl Iterator<Item = (usize, u64)> {
    masks
        .enumerate()
        .flat_map(|(index, mask)| bits(mask).map(move |bit| (index, bit)))
}

/// The bits that are set, highest first.
fn bits(mut mask: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = 1_u64
            .wrapping_shl(63)
            .checked_shr(mask.leading_zeros())
            .unwrap_or(0);
        mask &= !bit;
        (bit != 0).then_some(bit)
    })
}

/// All of `from` that is in none of `without`.
pub(crate) fn difference(from: &[Piece], without: &[Piece]) -> Vec<Piece> {
    let mut left = from.to_vec();
    for other in without {
        let mut next = Vec::with_capacity(left.len());
        for piece in &left {
            piece.minus(other, &mut next);
        }
        left = next;
    }
    left
}

/// What is in one of each: the intersection of two unions.
pub(crate) fn intersection(one: &[Piece], two: &[Piece]) -> Vec<Piece> {
    let pairs = one.iter().flat_map(|a| two.iter().filter_map(|b| a.and(b)));
    pairs.collect()
}

/// The arguments below `value`, without sign.
pub(crate) fn below(value: u64) -> Vec<Bits> {
    bits(value).map(|bit| prefix(value ^ bit, bit)).collect()
}

/// The arguments above `value`, without sign.
pub(crate) fn above(value: u64) -> Vec<Bits> {
    bits(!value).map(|bit| prefix(value ^ bit, bit)).collect()
}

/// Those that are as `value` from the top down to `bit`.
fn prefix(value: u64, bit: u64) -> Bits {
    let mask = !bit.wrapping_sub(1);
    Bits {
        mask,
        value: value & mask,
    }
}

/// Takes out what lies in another one as a whole. Of equal ones the first stays.
pub(crate) fn without_contained<T>(all: &mut Vec<T>, piece: impl Fn(&T) -> Piece) {
    let pieces: Vec<Piece> = all.iter().map(piece).collect();
    let mut at = 0_usize;
    all.retain(|_| {
        let index = at;
        at = at.wrapping_add(1);
        let Some(mine) = pieces.get(index) else {
            return true;
        };
        !pieces.iter().enumerate().any(|(other, theirs)| {
            other != index && theirs.contains(mine) && (other < index || theirs != mine)
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(pieces: &[Piece], value: u64) -> usize {
        let holds = |piece: &&Piece| value & piece.0[0].mask == piece.0[0].value;
        pieces.iter().filter(holds).count()
    }

    fn on_first(bits: Vec<Bits>) -> Vec<Piece> {
        bits.into_iter().map(|bits| Piece::of(0, bits)).collect()
    }

    #[test]
    fn ranges_are_what_they_say() {
        for limit in [0, 1, 7, 8, 0xffff_ffff, 1 << 32, u64::MAX - 1, u64::MAX] {
            let (low, high) = (on_first(below(limit)), on_first(above(limit)));
            for near in [
                0,
                1,
                6,
                7,
                8,
                9,
                limit.wrapping_sub(1),
                limit,
                limit.wrapping_add(1),
            ] {
                assert_eq!(
                    has(&low, near),
                    usize::from(near < limit),
                    "{near} < {limit}"
                );
                assert_eq!(
                    has(&high, near),
                    usize::from(near > limit),
                    "{near} > {limit}"
                );
            }
        }
    }

    #[test]
    fn difference_is_disjoint_and_complete() {
        let values = [0x5412, 0x541c, 0x5423];
        let out: Vec<_> = values
            .iter()
            .map(|&value| {
                Piece::of(
                    0,
                    Bits {
                        mask: 0xffff,
                        value,
                    },
                )
            })
            .collect();
        let left = difference(&[Piece::ALL], &out);
        for value in 0..=0xffff_u64 {
            let want = usize::from(!values.contains(&value));
            assert_eq!(has(&left, value), want, "{value:#x}");
            assert_eq!(has(&left, value | 1 << 40), want, "{value:#x}, high half");
        }
    }

    #[test]
    fn widened_piece_takes_in_all_it_may() {
        let odd = Piece::of(0, Bits { mask: 1, value: 1 });
        let seven = Piece::of(
            0,
            Bits {
                mask: u64::MAX,
                value: 7,
            },
        );
        assert_eq!(seven.widened(&odd, &[]), odd);
        let even = Piece::of(0, Bits { mask: 1, value: 0 });
        assert_eq!(seven.widened(&Piece::ALL, &[even]), odd);
    }

    #[test]
    fn contained_pieces_go_and_one_of_equals_stays() {
        let seven = Piece::of(0, Bits { mask: 15, value: 7 });
        let odd = Piece::of(0, Bits { mask: 1, value: 1 });
        let two = Piece::of(1, Bits { mask: 15, value: 2 });
        let mut all = vec![seven, odd, two, two, odd];
        without_contained(&mut all, |piece| *piece);
        assert_eq!(all, [odd, two]);
    }
}
