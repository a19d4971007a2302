//! What still has to be said to the clients of one scope.

use std::collections::BTreeSet;

use sekhmet_common::{
    event::{Event, FlowCounters, TRAFFIC_FLOWS_MAX},
    flow::FlowId,
    mirror::{Mirror, Others},
    process::ProcessId,
    time::Timestamp,
};

/// More events than this in one tick are not kept: the clients get a fresh snapshot, which says the same.
const PENDING_MAX: usize = 65_536;

/// Events in order, then what moved since the last time.
#[derive(Debug, Default)]
pub(super) struct View {
    pending: Vec<Event>,
    overflowed: bool,
    moved: BTreeSet<FlowId>,
    recounted: BTreeSet<ProcessId>,
    others: Option<Told>,
}

/// The total of others as it was last told.
#[derive(Clone, Copy, Debug)]
struct Told {
    others: Others,
    at_ns: u64,
}

impl View {
    /// Says an event at its place in the order.
    pub(super) fn say(&mut self, event: Event) {
        if self.pending.len() >= PENDING_MAX {
            self.overflowed = true;
            self.pending = Vec::new();
        }
        if !self.overflowed {
            self.pending.push(event);
        }
    }

    /// A flow's counters grew.
    pub(super) fn moved(&mut self, id: FlowId) {
        self.moved.insert(id);
    }

    /// A flow is told whole, or is no longer visible. Whether its counters were still to be told.
    pub(super) fn settled(&mut self, id: FlowId) -> bool {
        self.moved.remove(&id)
    }

    /// A process's totals cannot be followed from its flows.
    pub(super) fn recounted(&mut self, id: ProcessId) {
        self.recounted.insert(id);
    }

    /// A process is no longer visible.
    pub(super) fn left(&mut self, id: ProcessId) {
        self.recounted.remove(&id);
    }

    /// The total of others as all clients of this scope know it.
    pub(super) fn told_others(&self) -> Option<Others> {
        self.others.map(|t| t.others)
    }

    /// Says the total of others, if it changed and a second passed since it was last said.
    pub(super) fn tell_others(&mut self, others: Others, now_ns: u64, pause_ns: u64) {
        if let Some(told) = &self.others {
            let same = Others { at: told.others.at, ..others } == told.others;
            if same || now_ns.saturating_sub(told.at_ns) < pause_ns {
                return;
            }
        }
        self.note_others(others, now_ns);
        let Others { at, processes, open_flows, tx_bytes, rx_bytes } = others;
        self.say(Event::Others { at, processes, open_flows, tx_bytes, rx_bytes });
    }

    /// Remembers a total that a snapshot told.
    pub(super) fn note_others(&mut self, others: Others, at_ns: u64) {
        self.others = Some(Told { others, at_ns });
    }

    /// Takes everything that is to be said; `None` if only a fresh snapshot can say it.
    pub(super) fn take(&mut self, mirror: &Mirror, at: Timestamp) -> Option<Vec<Event>> {
        let mut events = std::mem::take(&mut self.pending);
        let moved = std::mem::take(&mut self.moved);
        let recounted = std::mem::take(&mut self.recounted);
        if std::mem::take(&mut self.overflowed) {
            return None;
        }
        let counters: Vec<FlowCounters> = moved
            .into_iter()
            .filter_map(|id| mirror.flow(id).map(|f| FlowCounters { id, counters: f.counters }))
            .collect();
        events.extend(
            counters.chunks(TRAFFIC_FLOWS_MAX).map(|flows| Event::Traffic { at, flows: flows.to_vec() }),
        );
        events.extend(recounted.into_iter().filter_map(|id| {
            let p = mirror.process(id)?;
            Some(Event::ProcessTotals { at, id, tx_bytes: p.tx_bytes, rx_bytes: p.rx_bytes })
        }));
        Some(events)
    }
}
