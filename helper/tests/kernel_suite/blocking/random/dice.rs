//! Random numbers that one seed gives again.

use sekhmet_common::time::Timestamp;

/// Numbers that one seed gives again (xorshift64*).
pub(super) struct Dice {
    pub(super) seed: u64,
    state: u64,
}

impl Dice {
    /// Those of `SEKHMET_SEED`, else of now.
    pub(super) fn new() -> Self {
        let given = std::env::var("SEKHMET_SEED").ok().and_then(|seed| seed.parse().ok());
        Self::of(given.unwrap_or_else(|| Timestamp::now().0.unsigned_abs()))
    }

    pub(super) fn of(seed: u64) -> Self {
        // From 0 there is no way out.
        Self { seed, state: seed.max(1) }
    }

    /// One of the numbers below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
