//! How things stand with the helper, and how much of what happened is known.

use std::time::Instant;

use sekhmet_common::{
    coverage::{KindBalance, Mode, Source, SourceStatus},
    time::Timestamp,
};

/// The way to the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Status {
    /// The first try is under way.
    #[default]
    Connecting,
    /// Events come in.
    Live,
    /// There has been no helper yet.
    NoHelper {
        /// What the bus answered.
        error: String,
        /// When it is tried again.
        retry_at: Option<Instant>,
    },
    /// The helper does not show anything to this user.
    Refused {
        /// What it answered.
        error: String,
    },
    /// The helper went away.
    Lost {
        /// When the last event came.
        since: Timestamp,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_at: Option<Instant>,
    },
    /// A recorded log is played.
    Replay {
        /// Whether it is over.
        ended: bool,
    },
}

impl Status {
    /// Whether what is shown is being kept up to date.
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Live | Self::Replay { .. })
    }
}

/// How much of what the kernel told arrived, over all kinds of records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Records made.
    pub made: u64,
    /// Records lost.
    pub lost: u64,
    /// Sources that see less than the best, or nothing.
    pub weak_sources: usize,
    /// Whether only polling is possible.
    pub reduced: bool,
}

impl Health {
    /// Draws the sum of a balance and of the sources.
    pub fn of(mode: Mode, balance: &[KindBalance], sources: &[Source]) -> Self {
        let weak = |s: &&Source| matches!(s.status, SourceStatus::Reduced | SourceStatus::Missing);
        Self {
            made: balance.iter().map(|k| k.made).sum(),
            lost: balance.iter().map(|k| k.lost).sum(),
            weak_sources: sources.iter().filter(weak).count(),
            reduced: mode == Mode::Reduced,
        }
    }

    /// Tenths of a percent that arrived, rounded down: nothing lost is 1000, one lost record never is.
    pub fn permille(&self) -> Option<u64> {
        if self.made == 0 {
            return None;
        }
        let arrived = u128::from(self.made.saturating_sub(self.lost));
        u64::try_from(arrived * 1000 / u128::from(self.made)).ok()
    }

    /// Whether something wants a look.
    pub fn is_troubled(&self) -> bool {
        self.reduced || self.lost > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_record_is_never_rounded_away() {
        let health = |made, lost| Health { made, lost, ..Health::default() };
        assert_eq!(health(0, 0).permille(), None);
        assert_eq!(health(10, 0).permille(), Some(1000));
        assert_eq!(health(1_000_000, 1).permille(), Some(999));
        assert_eq!(health(u64::MAX, u64::MAX).permille(), Some(0));
    }
}
