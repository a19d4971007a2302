//! What one row of the tree has moved and holds open, internet and local apart.

use sekhmet_common::{flow::Reach, time::Timestamp};

use super::series::{Both, SPARK_STEPS, Series};

/// One kind of reach: either the internet, or LAN and loopback.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Bytes by second.
    pub series: Series,
    /// Flows that have not ended.
    pub open: u32,
    /// Flows that are listed.
    pub listed: u32,
    /// When bytes passed, or a flow began, for the last time.
    pub last: Timestamp,
}

/// Both kinds of reach. Every figure takes `local`: whether local traffic is shown.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// To and from the internet.
    pub internet: Side,
    /// LAN and loopback.
    pub local: Side,
}

impl Tally {
    /// The side that a reach counts for.
    pub fn side_mut(&mut self, reach: Reach) -> &mut Side {
        if reach == Reach::Internet { &mut self.internet } else { &mut self.local }
    }

    /// The figures.
    pub fn figures(&self) -> Figures<'_> {
        Figures::Tally(self)
    }

    /// Bytes per second right now.
    pub fn rate(&self, now: u32, local: bool) -> Both {
        self.figures().rate(now, local)
    }

    /// Bytes in the window.
    pub fn total(&self, now: u32, local: bool) -> Both {
        self.figures().total(now, local)
    }

    /// Bytes for each second before `now`, the oldest first.
    pub fn seconds(&self, now: u32, count: usize, local: bool) -> Vec<Both> {
        self.figures().seconds(now, count, local)
    }

    /// Flows that have not ended.
    pub fn open(&self, local: bool) -> u32 {
        self.figures().open(local)
    }

    /// Last activity.
    pub fn last(&self, local: bool) -> Timestamp {
        self.figures().last(local)
    }

    /// Whether there is anything to show.
    pub fn talked(&self, local: bool) -> bool {
        self.figures().talked(local)
    }

    /// Drops what left the window.
    pub fn expire(&mut self, now: u32) {
        self.internet.series.expire(now);
        self.local.series.expire(now);
    }

    /// Takes in everything of another tally.
    pub fn absorb(&mut self, other: &Self) {
        self.internet.absorb(&other.internet);
        self.local.absorb(&other.local);
    }

    /// Takes out what was absorbed.
    pub fn release(&mut self, other: &Self) {
        self.internet.release(&other.internet);
        self.local.release(&other.local);
    }

    /// Forgets the flows, keeps the bytes.
    pub fn unlist(&mut self) {
        for side in [&mut self.internet, &mut self.local] {
            (side.open, side.listed) = (0, 0);
        }
    }
}

/// The figures of one row, wherever they are kept.
#[derive(Clone, Copy, Debug)]
pub enum Figures<'a> {
    /// Of a row with both kinds of reach.
    Tally(&'a Tally),
    /// Of one flow, or of a host with one flow.
    Side(&'a Side, Reach),
    /// Of a row that has none.
    None,
}

impl<'a> Figures<'a> {
    fn sides(self, local: bool) -> impl Iterator<Item = &'a Side> {
        let (first, second) = match self {
            Self::Tally(tally) => (Some(&tally.internet), local.then_some(&tally.local)),
            Self::Side(side, reach) => ((local || reach == Reach::Internet).then_some(side), None),
            Self::None => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Bytes per second right now.
    pub fn rate(self, now: u32, local: bool) -> Both {
        self.sides(local).fold(Both::default(), |sum, side| sum + side.series.rate(now))
    }

    /// Bytes in the window.
    pub fn total(self, now: u32, local: bool) -> Both {
        self.sides(local).fold(Both::default(), |sum, side| sum + side.series.total(now))
    }

    /// Bytes per second for each step of the last minute.
    pub fn spark(self, now: u32, local: bool) -> [Both; SPARK_STEPS] {
        let mut steps = [Both::default(); SPARK_STEPS];
        self.sides(local).for_each(|side| side.series.add_to_spark(now, &mut steps));
        steps
    }

    /// Bytes for each second before `now`, the oldest first.
    pub fn seconds(self, now: u32, count: usize, local: bool) -> Vec<Both> {
        let mut seconds = vec![Both::default(); count];
        self.sides(local).for_each(|side| side.series.add_to_seconds(now, &mut seconds));
        seconds
    }

    /// Flows that have not ended.
    pub fn open(self, local: bool) -> u32 {
        self.sides(local).map(|side| side.open).sum()
    }

    /// Last activity.
    pub fn last(self, local: bool) -> Timestamp {
        self.sides(local).map(|side| side.last).max().unwrap_or_default()
    }

    /// Whether there is anything to show.
    pub fn talked(self, local: bool) -> bool {
        self.sides(local).any(|side| side.listed > 0 || !side.series.is_empty())
    }
}

impl Side {
    /// Adds bytes that passed.
    pub fn add(&mut self, at: Timestamp, down: u64, up: u64) {
        self.series.add(super::ledger::second_of(at), down, up);
        self.last = self.last.max(at);
    }

    /// Takes in everything of another side.
    pub fn absorb(&mut self, other: &Self) {
        if !other.series.is_empty() {
            self.series.absorb(&other.series);
        }
        self.open += other.open;
        self.listed += other.listed;
        self.last = self.last.max(other.last);
    }

    /// Takes out what was absorbed; the last activity stays.
    pub fn release(&mut self, other: &Self) {
        if !other.series.is_empty() {
            self.series.release(&other.series);
        }
        self.open = self.open.saturating_sub(other.open);
        self.listed = self.listed.saturating_sub(other.listed);
    }
}
