//! The balance of records: every record that was made is delivered, lost or filtered.

use std::collections::BTreeMap;

use sekhmet_common::coverage::{KindBalance, RecordKind};

/// The last balance that each source drew, and what the engine itself could not list.
#[derive(Debug, Default)]
pub(super) struct Books {
    drawn: BTreeMap<RecordKind, KindBalance>,
    unlisted: BTreeMap<RecordKind, u64>,
    /// Unlisted since the last time somebody was told.
    untold: BTreeMap<RecordKind, u64>,
}

impl Books {
    /// Takes in a source's balance. Each kind has one source; its last word counts.
    pub(super) fn draw(&mut self, kinds: Vec<KindBalance>) {
        self.drawn.extend(kinds.into_iter().map(|k| (k.kind, k)));
    }

    /// Records that reached the engine but found no room in its lists.
    pub(super) fn unlisted(&mut self, kind: RecordKind, count: u64) {
        for sums in [&mut self.unlisted, &mut self.untold] {
            let sum = sums.entry(kind).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// What was not listed since the last call.
    pub(super) fn take_untold(&mut self) -> BTreeMap<RecordKind, u64> {
        std::mem::take(&mut self.untold)
    }

    /// The balance of each kind that has one. What found no room on the lists was lost, not delivered.
    pub(super) fn balance(&self) -> Vec<KindBalance> {
        let mut kinds = self.drawn.clone();
        for (&kind, &unlisted) in &self.unlisted {
            // Without a source that counts, at least the loss is told.
            let none =
                KindBalance { kind, made: unlisted, delivered: unlisted, lost: 0, filtered: 0, in_flight: 0 };
            let balance = kinds.entry(kind).or_insert(none);
            let moved = unlisted.min(balance.delivered);
            balance.delivered -= moved;
            balance.lost = balance.lost.saturating_add(moved);
        }
        kinds.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_lost_and_the_equation_holds() {
        let mut books = Books::default();
        let drawn = KindBalance {
            kind: RecordKind::Fork,
            made: 10,
            delivered: 7,
            lost: 1,
            filtered: 2,
            in_flight: 3,
        };
        books.draw(vec![drawn]);
        books.unlisted(RecordKind::Fork, 4);
        books.unlisted(RecordKind::TcpState, 5);
        let balance = books.balance();
        assert_eq!(balance[0], KindBalance { delivered: 3, lost: 5, ..drawn });
        assert_eq!(balance[1].lost, 5);
        for k in balance {
            assert_eq!(k.made, k.delivered + k.lost + k.filtered, "{k:?}");
        }
        assert_eq!(books.take_untold().len(), 2);
        assert!(books.take_untold().is_empty());
    }
}
