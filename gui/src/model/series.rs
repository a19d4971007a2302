//! How many bytes passed in each of the last 300 seconds, for one row of the tree.

use std::collections::VecDeque;

/// The window of totals and of the timeline, in seconds.
pub const WINDOW_SECS: u32 = 300;
/// Steps of a sparkline.
pub const SPARK_STEPS: usize = 30;
/// Seconds in one step of a sparkline.
pub const SPARK_STEP_SECS: u32 = 2;
/// Rates are the mean of so many whole seconds.
pub const RATE_SECS: u32 = 2;

/// An amount in both directions: bytes, or bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Both {
    /// Received.
    pub down: f64,
    /// Sent.
    pub up: f64,
}

impl Both {
    /// Both directions together.
    pub fn sum(self) -> f64 {
        self.down + self.up
    }
}

impl std::ops::Add for Both {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { down: self.down + other.down, up: self.up + other.up }
    }
}

impl std::ops::AddAssign for Both {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::Sub for Both {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { down: (self.down - other.down).max(0.0), up: (self.up - other.up).max(0.0) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    /// Seconds since 1970.
    second: u32,
    down: u32,
    up: u32,
}

/// Samples in one block.
const BLOCK: usize = 8;

/// Bytes by second, only for seconds in which some passed: quiet rows cost nothing.
///
/// A second with more than 4 GiB is told in several samples, so 12 bytes for a sample are enough. Ten thousand
/// of these grow once a second: the newest samples lie in place, full blocks are moved behind a pointer and
/// never copied again, and what totals and expiry ask for is kept beside them.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Full blocks, the oldest first.
    blocks: VecDeque<Box<[Sample; BLOCK]>>,
    /// The newest samples.
    recent: [Sample; BLOCK],
    recent_len: u8,
    /// So many samples of the first block, or of the newest samples, have expired.
    expired: u8,
    /// The seconds of the first and the last sample; meaningless without samples.
    oldest: u32,
    newest: u32,
    /// Bytes of all samples.
    down: u64,
    up: u64,
}

impl Series {
    /// Adds bytes at a second. A second before the last one counts for the last: the clock went back.
    pub fn add(&mut self, second: u32, down: u64, up: u64) {
        if down == 0 && up == 0 {
            return;
        }
        self.expire(second);
        let second = if self.is_empty() { second } else { self.newest.max(second) };
        self.put(second, down, up);
    }

    /// Drops what is older than the window that ends at `now`.
    pub fn expire(&mut self, now: u32) {
        while !self.is_empty() && self.oldest.saturating_add(WINDOW_SECS + 1) < now {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let at = usize::from(self.expired);
        let first = match self.blocks.front_mut() {
            Some(block) => block.get_mut(at),
            None => self.recent.get_mut(at),
        };
        if let Some(first) = first {
            (self.down, self.up) = (self.down - u64::from(first.down), self.up - u64::from(first.up));
            (first.down, first.up) = (0, 0);
        }
        self.expired += 1;
        if self.blocks.is_empty() {
            if self.expired >= self.recent_len {
                return *self = Self::default();
            }
        } else if usize::from(self.expired) == BLOCK {
            self.blocks.pop_front();
            self.expired = 0;
        }
        let at = usize::from(self.expired);
        let first = self.blocks.front().map_or(self.recent.get(at), |block| block.get(at));
        self.oldest = first.map_or(self.newest, |s| s.second);
    }

    fn put(&mut self, second: u32, mut down: u64, mut up: u64) {
        if down == 0 && up == 0 {
            return;
        }
        if self.is_empty() {
            self.oldest = second;
        }
        self.newest = second;
        (self.down, self.up) = (self.down.saturating_add(down), self.up.saturating_add(up));
        if let Some(last) = self.last_mut().filter(|last| last.second == second) {
            fill(&mut last.down, &mut down);
            fill(&mut last.up, &mut up);
        }
        while down > 0 || up > 0 {
            let mut sample = Sample { second, down: 0, up: 0 };
            fill(&mut sample.down, &mut down);
            fill(&mut sample.up, &mut up);
            self.push(sample);
        }
    }

    /// The newest sample. There is one in place whenever there is one at all.
    fn last_mut(&mut self) -> Option<&mut Sample> {
        self.recent.get_mut(usize::from(self.recent_len).checked_sub(1)?)
    }

    fn push(&mut self, sample: Sample) {
        if usize::from(self.recent_len) == BLOCK {
            self.blocks.push_back(Box::new(self.recent));
            self.recent_len = 0;
        }
        if let Some(place) = self.recent.get_mut(usize::from(self.recent_len)) {
            *place = sample;
            self.recent_len += 1;
        }
    }

    /// From the oldest to the newest; those that expired hold nothing.
    fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        let recent = self.recent.get(..usize::from(self.recent_len)).unwrap_or_default();
        self.blocks.iter().flat_map(|block| block.iter()).chain(recent)
    }

    /// Whether nothing passed in the window.
    pub fn is_empty(&self) -> bool {
        self.recent_len == 0
    }

    /// Bytes in the window that ends with the second `now`.
    pub fn total(&self, now: u32) -> Both {
        let from = now.saturating_sub(WINDOW_SECS - 1);
        if self.is_empty() || self.newest < from || self.oldest > now {
            return Both::default();
        }
        let (mut down, mut up) = (self.down, self.up);
        let mut without = |s: &Sample| {
            down = down.saturating_sub(s.down.into());
            up = up.saturating_sub(s.up.into());
        };
        if self.oldest < from {
            self.samples().take_while(|s| s.second < from).for_each(&mut without);
        }
        if self.newest > now {
            self.samples().rev().take_while(|s| s.second > now).for_each(&mut without);
        }
        Both { down: down as f64, up: up as f64 }
    }

    /// Bytes per second, the mean of the last whole seconds before `now`.
    pub fn rate(&self, now: u32) -> Both {
        let sum = self.sum(now.saturating_sub(RATE_SECS), now.saturating_sub(1));
        Both { down: sum.down / f64::from(RATE_SECS), up: sum.up / f64::from(RATE_SECS) }
    }

    /// Bytes from one second to another, both included.
    pub fn sum(&self, from: u32, to: u32) -> Both {
        let mut sum = Both::default();
        if self.is_empty() || self.newest < from {
            return sum;
        }
        for s in self.samples().rev().skip_while(|s| s.second > to).take_while(|s| s.second >= from) {
            sum += Both { down: f64::from(s.down), up: f64::from(s.up) };
        }
        sum
    }

    /// Adds bytes per second for each step of a sparkline that ends before `now`.
    pub fn add_to_spark(&self, now: u32, steps: &mut [Both; SPARK_STEPS]) {
        // Steps begin at even seconds, so that columns move by whole steps.
        let end = now - now % SPARK_STEP_SECS;
        let begin = end.saturating_sub(SPARK_STEP_SECS * SPARK_STEPS as u32);
        for s in self.samples().rev().take_while(|s| s.second >= begin) {
            if let Some(step) = steps.get_mut(((s.second - begin) / SPARK_STEP_SECS) as usize) {
                let seconds = f64::from(SPARK_STEP_SECS);
                *step += Both { down: f64::from(s.down) / seconds, up: f64::from(s.up) / seconds };
            }
        }
    }

    /// Adds bytes for each second of the window before `now`, the oldest first.
    pub fn add_to_seconds(&self, now: u32, seconds: &mut [Both]) {
        let begin = now.saturating_sub(seconds.len() as u32);
        for s in self.samples().rev().take_while(|s| s.second >= begin) {
            if let Some(second) = seconds.get_mut((s.second - begin) as usize) {
                *second += Both { down: f64::from(s.down), up: f64::from(s.up) };
            }
        }
    }

    /// Takes in everything that another series holds.
    pub fn absorb(&mut self, other: &Self) {
        *self = self.merged(other);
    }

    fn merged(&self, other: &Self) -> Self {
        let mut merged = Self::default();
        let (mut a, mut b) = (self.samples().peekable(), other.samples().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.second <= y.second => a.next(),
                (Some(_), None) => a.next(),
                (_, Some(_)) => b.next(),
                (None, None) => return merged,
            };
            if let Some(s) = next {
                merged.put(s.second, u64::from(s.down), u64::from(s.up));
            }
        }
    }

    /// Takes out what another series holds and this one once absorbed.
    pub fn release(&mut self, other: &Self) {
        let mut rest = Self::default();
        let mut taken = other.samples().peekable();
        let (mut down, mut up) = (0u64, 0u64);
        for s in self.samples() {
            while let Some(t) = taken.next_if(|t| t.second <= s.second) {
                down += u64::from(t.down);
                up += u64::from(t.up);
            }
            let (d, u) = (down.min(u64::from(s.down)), up.min(u64::from(s.up)));
            rest.put(s.second, u64::from(s.down) - d, u64::from(s.up) - u);
            (down, up) = (down - d, up - u);
        }
        *self = rest;
    }
}

fn fill(room: &mut u32, left: &mut u64) {
    let part = u32::try_from(*left).unwrap_or(u32::MAX).min(u32::MAX - *room);
    *room += part;
    *left -= u64::from(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(down: f64, up: f64) -> Both {
        Both { down, up }
    }

    #[test]
    fn rates_are_the_mean_of_the_last_two_whole_seconds() {
        let mut s = Series::default();
        s.add(100, 1000, 10);
        s.add(101, 3000, 0);
        s.add(102, 9999, 9999);
        assert_eq!(s.rate(102), both(2000.0, 5.0));
        assert_eq!(s.rate(103), both(6499.5, 4999.5));
        assert_eq!(s.rate(105), both(0.0, 0.0));
    }

    #[test]
    fn totals_forget_after_the_window() {
        let mut s = Series::default();
        s.add(100, 1, 2);
        s.add(101, 10, 20);
        assert_eq!(s.total(101), both(11.0, 22.0));
        assert_eq!(s.total(399), both(11.0, 22.0));
        assert_eq!(s.total(400), both(10.0, 20.0));
        assert_eq!(s.total(401), both(0.0, 0.0));
        s.expire(402);
        assert!(!s.is_empty());
        s.expire(403);
        assert!(s.is_empty());
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let mut s = Series::default();
        for second in 0..10_000 {
            s.add(second, 1, 1);
        }
        assert!(s.samples().count() <= WINDOW_SECS as usize + 2 + BLOCK);
    }

    #[test]
    fn a_second_may_hold_more_than_four_gigabytes() {
        let mut s = Series::default();
        s.add(7, 13_000_000_000, 1);
        s.add(7, 1, 1);
        assert_eq!(s.total(7), both(13_000_000_001.0, 2.0));
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut s = Series::default();
        s.add(100, 5, 0);
        s.add(90, 5, 0);
        assert_eq!(s.total(100), both(10.0, 0.0));
    }

    #[test]
    fn spark_steps_begin_at_even_seconds() {
        let mut s = Series::default();
        s.add(118, 4, 0);
        s.add(119, 4, 2);
        let mut steps = [Both::default(); SPARK_STEPS];
        s.add_to_spark(120, &mut steps);
        assert_eq!(steps[29], both(4.0, 1.0));
        let mut later = [Both::default(); SPARK_STEPS];
        s.add_to_spark(121, &mut later);
        assert_eq!(later, steps);
    }

    #[test]
    fn what_was_absorbed_can_be_released() {
        let (mut a, mut b) = (Series::default(), Series::default());
        for second in [3, 5, 9] {
            a.add(second, 100, 1);
        }
        for second in [4, 5, 10] {
            b.add(second, 7, 70);
        }
        let held = |s: &Series| s.samples().filter(|s| s.down + s.up > 0).copied().collect::<Vec<_>>();
        let before = held(&a);
        a.absorb(&b);
        assert_eq!(a.total(10), both(321.0, 213.0));
        a.release(&b);
        assert_eq!(held(&a), before);
    }

    #[test]
    fn figures_are_those_of_a_plain_list() {
        let (mut series, mut list) = (Series::default(), Vec::new());
        let mut second = 1_000_u32;
        for step in 0_u64..3_000 {
            // Steps of 0 to 3 seconds, now and then a silence that outlasts a part of the window or all of it.
            second += match step % 97 {
                13 => 280,
                51 => 310,
                _ => (step * 7919 % 4) as u32,
            };
            let (down, up) = (step * 104_729 % 5_000, step % 3);
            series.add(second, down, up);
            list.push((second, down, up));
            let sum = |from: u32, to: u32| {
                let within = list.iter().filter(|(s, ..)| (from..=to).contains(s));
                within.fold(Both::default(), |sum, (_, d, u)| sum + both(*d as f64, *u as f64))
            };
            for now in [second, second + 1, second + 120, second + 299, second + 400] {
                assert_eq!(series.total(now), sum(now - 299, now), "step {step}, now {now}");
                assert_eq!(series.sum(now - 7, now), sum(now - 7, now), "step {step}, now {now}");
            }
            assert_eq!(series.total(second - 1), sum(second - 300, second - 1), "step {step}");
        }
    }
}
