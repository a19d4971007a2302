//! What is due when, on a clock that never goes back.

use std::collections::BTreeSet;

use sekhmet_common::{flow::FlowId, process::ProcessId, rule::RuleId, time::Timestamp};

use super::input::ProcessKey;

/// One second in nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Something to look at again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A flow that ended leaves the list.
    FlowGone(FlowId),
    /// A flow may have been quiet for the whole quiet period.
    FlowQuiet(FlowId),
    /// A process that ended leaves the list.
    ProcessGone(ProcessId),
    /// An exit that came before its process is forgotten.
    EarlyExit(ProcessKey),
    /// A rule ends, or its end failed and is tried again.
    RuleOver(RuleId),
    /// An identity was asked for and should have come by now.
    Answer(ProcessId, u32),
}

/// Deadlines on the sum of all forward steps of the wall clock, so that a clock set back delays nothing.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    elapsed_ns: u64,
    last: Option<Timestamp>,
    queue: BTreeSet<(u64, Due)>,
}

impl Deadlines {
    /// Lets time pass up to `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let passed = self.last.map_or(0, |last| now.nanos_since(last));
        self.elapsed_ns = self.elapsed_ns.saturating_add(passed);
        self.last = Some(now);
    }

    /// Nanoseconds since the first step.
    pub(super) fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    /// Makes something due `nanos` from now.
    pub(super) fn after(&mut self, nanos: u64, due: Due) {
        self.at(self.elapsed_ns.saturating_add(nanos), due);
    }

    /// Makes something due when `elapsed_ns` is reached.
    pub(super) fn at(&mut self, elapsed_ns: u64, due: Due) {
        self.queue.insert((elapsed_ns, due));
    }

    /// Takes the next thing that is due by now.
    pub(super) fn pop(&mut self) -> Option<Due> {
        let (at, due) = *self.queue.first()?;
        if at > self.elapsed_ns {
            return None;
        }
        self.queue.pop_first();
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_delays_nothing() {
        let mut deadlines = Deadlines::default();
        deadlines.advance(Timestamp(1_000));
        deadlines.after(10, Due::FlowGone(FlowId(1)));
        deadlines.advance(Timestamp(1_009));
        assert_eq!(deadlines.pop(), None);
        deadlines.advance(Timestamp(5));
        assert_eq!(deadlines.pop(), None);
        deadlines.advance(Timestamp(6));
        assert_eq!(deadlines.pop(), Some(Due::FlowGone(FlowId(1))));
        assert_eq!(deadlines.pop(), None);
    }
}
