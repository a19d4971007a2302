//! The account of records, kind by kind: made by the kernel, delivered to the engine, lost on the way.

use sekhmet_common::{
    coverage::{KindBalance, RecordKind},
    kernel::kind,
};

use super::decode::KINDS;

/// A number for each kind of record, by the kind's number.
pub(super) type PerKind = [u64; kind::END as usize];

/// Records counted by the kernel at one moment.
///
/// The programs count *made* before they reserve room and *lost* when they get none; `lost` is read before
/// `made`. So `made - lost` is never too small, and what is missing from it on this side is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Records begun.
    pub made: PerKind,
    /// Records without room in the ring.
    pub lost: PerKind,
    /// Events that no program was run for: neither among those begun nor among those without room.
    pub missed: PerKind,
}

/// What became of the records that were read from the ring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// Handed to the engine.
    pub(super) delivered: PerKind,
    /// Malformed, or without room on the way to the engine.
    pub(super) lost: PerKind,
    /// Nobody's business.
    pub(super) filtered: PerKind,
}

impl Account {
    /// The balance of each kind: `made = delivered + lost + filtered`, and beside it what is in flight.
    pub(super) fn balance(&self, kernel: &KernelCounts) -> Vec<KindBalance> {
        KINDS.iter().map(|(number, kind)| self.balance_of(*number as usize, *kind, kernel)).collect()
    }

    fn balance_of(&self, at: usize, kind: RecordKind, kernel: &KernelCounts) -> KindBalance {
        let of = |counts: &PerKind| counts.get(at).copied().unwrap_or(0);
        let delivered = of(&self.delivered);
        let filtered = of(&self.filtered);
        let lost = of(&self.lost) + of(&kernel.lost);
        let in_flight = of(&kernel.made).saturating_sub(delivered + lost + filtered);
        let lost = lost + of(&kernel.missed);
        let made = delivered + lost + filtered;
        KindBalance { kind, made, delivered, lost, filtered, in_flight }
    }
}

/// Adds one to a kind's number; a number that is no kind is left alone.
pub(super) fn count(counts: &mut PerKind, kind: u32) {
    if let Some(slot) = counts.get_mut(kind as usize) {
        *slot += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_delivered_nor_lost_is_in_flight() {
        let mut account = Account::default();
        let mut kernel = KernelCounts::default();
        kernel.made[kind::EXEC as usize] = 10;
        kernel.lost[kind::EXEC as usize] = 2;
        account.delivered[kind::EXEC as usize] = 5;
        count(&mut account.lost, kind::EXEC);
        count(&mut account.lost, u32::MAX);
        let exec = account.balance(&kernel)[0];
        assert_eq!((exec.kind, exec.made, exec.delivered, exec.lost), (RecordKind::Exec, 8, 5, 3));
        assert_eq!(exec.in_flight, 2);
        assert_eq!(exec.made, exec.delivered + exec.lost + exec.filtered);
    }

    #[test]
    fn what_no_program_was_run_for_is_made_and_lost_and_not_in_flight() {
        let mut kernel = KernelCounts::default();
        kernel.made[kind::TCP as usize] = 4;
        kernel.missed[kind::TCP as usize] = 3;
        let line = Account::default().balance_of(kind::TCP as usize, RecordKind::TcpState, &kernel);
        assert_eq!((line.made, line.delivered, line.lost, line.in_flight), (3, 0, 3, 4));
    }
}
