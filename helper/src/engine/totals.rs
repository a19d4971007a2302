//! Sums for each owner, from which everybody else's total follows without counting again.

use std::collections::HashMap;

use sekhmet_common::{flow::Counters, mirror::Others, time::Timestamp};

/// What the processes of one owner add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Running processes.
    pub(super) processes: u64,
    /// Flows that have not ended.
    pub(super) open_flows: u64,
    /// Bytes sent since the start.
    pub(super) tx_bytes: u64,
    /// Bytes received since the start.
    pub(super) rx_bytes: u64,
}

impl Sum {
    /// One running process.
    pub(super) const PROCESS: Self = Self { processes: 1, open_flows: 0, tx_bytes: 0, rx_bytes: 0 };
    /// One open flow without bytes.
    pub(super) const FLOW: Self = Self { processes: 0, open_flows: 1, tx_bytes: 0, rx_bytes: 0 };

    /// The bytes of a flow.
    pub(super) fn bytes(counters: Counters) -> Self {
        Self { tx_bytes: counters.tx_bytes, rx_bytes: counters.rx_bytes, ..Self::default() }
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            processes: self.processes.saturating_add(other.processes),
            open_flows: self.open_flows.saturating_add(other.open_flows),
            tx_bytes: self.tx_bytes.saturating_add(other.tx_bytes),
            rx_bytes: self.rx_bytes.saturating_add(other.rx_bytes),
        }
    }

    /// This without the other.
    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            processes: self.processes.saturating_sub(other.processes),
            open_flows: self.open_flows.saturating_sub(other.open_flows),
            tx_bytes: self.tx_bytes.saturating_sub(other.tx_bytes),
            rx_bytes: self.rx_bytes.saturating_sub(other.rx_bytes),
        }
    }
}

/// The sums of all owners. One small entry for each user id that ever had a process of its own.
#[derive(Debug, Default)]
pub(super) struct Totals {
    all: Sum,
    by_owner: HashMap<u32, Sum>,
}

impl Totals {
    /// Adds to one owner; `None` owns what no single user owns.
    pub(super) fn add(&mut self, owner: Option<u32>, sum: Sum) {
        self.all = self.all.plus(sum);
        if let Some(uid) = owner {
            let own = self.by_owner.entry(uid).or_default();
            *own = own.plus(sum);
        }
    }

    /// Takes away from one owner.
    pub(super) fn take(&mut self, owner: Option<u32>, sum: Sum) {
        self.all = self.all.minus(sum);
        if let Some(own) = owner.and_then(|uid| self.by_owner.get_mut(&uid)) {
            *own = own.minus(sum);
        }
    }

    /// The total of everything that is not wholly this user's.
    pub(super) fn others(&self, uid: u32, at: Timestamp) -> Others {
        let rest = self.all.minus(self.by_owner.get(&uid).copied().unwrap_or_default());
        Others {
            at,
            processes: rest.processes,
            open_flows: rest.open_flows,
            tx_bytes: rest.tx_bytes,
            rx_bytes: rest.rx_bytes,
        }
    }
}
