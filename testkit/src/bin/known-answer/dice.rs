//! Random sizes.

use std::time::SystemTime;

/// Pseudo-random numbers, seeded by the clock; the seed is printed so that a run can be told apart.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        Self(now | 1)
    }

    /// xorshift64* (Vigna 2014): plenty for sizes.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    pub(crate) fn sizes(&mut self, count: usize, largest: usize) -> Vec<usize> {
        (0..count).map(|_| 1 + self.below(largest)).collect()
    }
}
