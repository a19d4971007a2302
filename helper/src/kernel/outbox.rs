//! What is on its way to the engine: never waits, keeps a while, sheds what can be missed, and counts.

use std::collections::VecDeque;

use crossbeam_channel::{Sender, TrySendError};
use sekhmet_common::coverage::{KindBalance, Mode, Source};

use super::balance::{Account, KernelCounts, PerKind, count};
use crate::engine::input::{Input, Observation};

/// Observations in one message.
const MESSAGE: usize = 2048;

/// Observations that wait for room in the channel, beyond which those that can be missed are shed. At about
/// 300 bytes each this is 20 MB.
const WAITING_MAX: usize = 65_536;

/// Observations that wait before everything is shed.
const ENDS_MAX: usize = 4 * WAITING_MAX;

/// No record: the observation comes from a dump, whose values come again.
const NO_KIND: u32 = 0;

/// Observations in order, each with the kind of the record that it completes.
pub(super) struct Outbox {
    sender: Sender<Input>,
    waiting: VecDeque<(u32, Observation)>,
    /// A message that found no room.
    refused: Option<(Input, PerKind)>,
    balance: Option<Vec<KindBalance>>,
    coverage: Option<(Mode, Vec<Source>)>,
    account: Account,
}

impl Outbox {
    pub(super) fn new(sender: Sender<Input>) -> Self {
        Self {
            sender,
            waiting: VecDeque::new(),
            refused: None,
            balance: None,
            coverage: None,
            account: Account::default(),
        }
    }

    /// Adds what comes from no record.
    pub(super) fn push(&mut self, observation: Observation) {
        self.push_record(NO_KIND, observation);
    }

    /// Adds what comes from no record.
    pub(super) fn extend(&mut self, observations: Vec<Observation>) {
        for observation in observations {
            self.push(observation);
        }
    }

    /// Adds the (last) observation made of a record.
    pub(super) fn push_record(&mut self, kind: u32, observation: Observation) {
        let waiting = self.waiting.len();
        if waiting >= ENDS_MAX || (waiting >= WAITING_MAX && !ends(&observation)) {
            count(&mut self.account.lost, if kind == NO_KIND { u32::MAX } else { kind });
            return;
        }
        self.waiting.push_back((kind, observation));
    }

    /// A record was read that makes no sense.
    pub(super) fn lose(&mut self, kind: Option<u32>) {
        count(&mut self.account.lost, kind.unwrap_or(u32::MAX));
    }

    /// A record was read that is nobody's business.
    pub(super) fn filter(&mut self, kind: u32) {
        count(&mut self.account.filtered, kind);
    }

    /// The balance at this moment.
    pub(super) fn balance(&self, kernel: &KernelCounts) -> Vec<KindBalance> {
        self.account.balance(kernel)
    }

    /// Tells this balance after everything that waits; only the newest one matters.
    pub(super) fn set_balance(&mut self, balance: Vec<KindBalance>) {
        self.balance = Some(balance);
    }

    /// Tells these sources after everything that waits; only the newest word matters.
    pub(super) fn set_coverage(&mut self, mode: Mode, sources: Vec<Source>) {
        self.coverage = Some((mode, sources));
    }

    /// Hands over what the channel has room for. Whether anybody still receives.
    pub(super) fn flush(&mut self) -> bool {
        while let Some((input, records)) = self.refused.take().or_else(|| self.next_message()) {
            match self.sender.try_send(input) {
                Ok(()) => {
                    for (total, records) in self.account.delivered.iter_mut().zip(records) {
                        *total += records;
                    }
                }
                Err(TrySendError::Full(input)) => {
                    self.refused = Some((input, records));
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }

    fn next_message(&mut self) -> Option<(Input, PerKind)> {
        if self.waiting.is_empty() {
            let coverage = self.coverage.take().map(|(mode, sources)| Input::Coverage { mode, sources });
            let input = coverage.or_else(|| self.balance.take().map(Input::Balance))?;
            return Some((input, PerKind::default()));
        }
        let mut records = PerKind::default();
        let message = self.waiting.drain(..self.waiting.len().min(MESSAGE));
        let observations = message.map(|(kind, observation)| {
            if kind != NO_KIND {
                count(&mut records, kind);
            }
            observation
        });
        let input = Input::Observed(observations.collect());
        Some((input, records))
    }
}

/// Whether missing this would leave something open for ever, or bytes uncounted.
fn ends(observation: &Observation) -> bool {
    matches!(
        observation,
        Observation::FlowEnded { .. }
            | Observation::SocketReleased { .. }
            | Observation::Exited { .. }
            | Observation::Residue { .. }
            | Observation::Lost { .. }
            | Observation::Refused(_)
            | Observation::SeedComplete
    )
}

#[cfg(test)]
mod tests {
    use sekhmet_common::{coverage::RecordKind, kernel::kind, time::Timestamp};

    use super::*;
    use crate::engine::input::ProcessKey;

    const KEY: ProcessKey = ProcessKey { tgid: 1, start_ns: 2 };

    fn exited() -> Observation {
        Observation::Exited { at: Timestamp(0), key: KEY, status: None }
    }

    fn line(outbox: &Outbox, kernel: &KernelCounts, kind: RecordKind) -> KindBalance {
        *outbox.balance(kernel).iter().find(|line| line.kind == kind).unwrap()
    }

    #[test]
    fn a_full_channel_delays_and_loses_nothing() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        let mut kernel = KernelCounts::default();
        for made in 1..=3 {
            kernel.made[kind::EXIT as usize] = made;
            outbox.push_record(kind::EXIT, exited());
            assert!(outbox.flush());
        }
        let before = line(&outbox, &kernel, RecordKind::Exit);
        assert_eq!((before.delivered, before.lost, before.in_flight), (1, 0, 2));
        let mut got = 0;
        while let Ok(input) = receiver.try_recv() {
            if let Input::Observed(observations) = input {
                got += observations.len();
            }
            outbox.flush();
        }
        let after = line(&outbox, &kernel, RecordKind::Exit);
        assert_eq!((got, after.delivered, after.in_flight), (3, 3, 0));
    }

    #[test]
    fn beyond_the_limit_only_ends_are_kept_and_the_rest_is_counted() {
        let (sender, _receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        for _ in 0..WAITING_MAX {
            outbox.push(Observation::PollComplete { at: Timestamp(0) });
        }
        outbox.push_record(kind::EXIT, exited());
        outbox.push_record(kind::FORK, Observation::PollComplete { at: Timestamp(0) });
        assert_eq!(outbox.waiting.len(), WAITING_MAX + 1);
        let mut kernel = KernelCounts::default();
        kernel.made[kind::FORK as usize] = 1;
        let fork = line(&outbox, &kernel, RecordKind::Fork);
        assert_eq!((fork.made, fork.lost, fork.in_flight), (1, 1, 0));
    }

    #[test]
    fn nobody_left_to_receive_is_noticed() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        outbox.push(exited());
        assert!(!outbox.flush());
    }
}
