//! Numbers that look random and are the same in each run.

/// A xorshift generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence; each seed has its own.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero, and small seeds begin alike.
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of some values.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        let count = u64::try_from(values.len()).expect("a list in memory");
        let index = usize::try_from(self.below(count)).expect("an index of the list");
        &values[index]
    }
}
