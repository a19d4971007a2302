//! Flows in a mirror: listed under their process, their bytes in its totals.

use super::Mirror;
use crate::{
    event::FlowCounters,
    flow::{Counters, Flow, FlowId},
    process::ProcessId,
};

impl Mirror {
    /// Lists a flow. In a snapshot its bytes are in the process's totals already.
    pub(super) fn open_flow(&mut self, flow: &Flow) {
        let before = match self.flows.get(&flow.id) {
            Some(known) => known.counters,
            None if self.in_snapshot => flow.counters,
            None => Counters::default(),
        };
        self.drop_flow(flow.id);
        self.flows_by_process.entry(flow.process).or_default().insert(flow.id);
        self.flows.insert(flow.id, Flow { counters: before, ..flow.clone() });
        self.count(flow.id, flow.counters);
    }

    pub(super) fn move_flow(&mut self, id: FlowId, process: Option<ProcessId>) {
        let Some(mut flow) = self.flows.get(&id).cloned() else { return };
        if flow.process == process {
            return;
        }
        let passed = flow.counters;
        if let Some(p) = flow.process.and_then(|id| self.processes.get_mut(&id)) {
            p.tx_bytes = p.tx_bytes.saturating_sub(passed.tx_bytes);
            p.rx_bytes = p.rx_bytes.saturating_sub(passed.rx_bytes);
        }
        self.add_to_process(process, passed.tx_bytes, passed.rx_bytes);
        self.drop_flow(id);
        flow.process = process;
        self.flows_by_process.entry(process).or_default().insert(id);
        self.flows.insert(id, flow);
    }

    pub(super) fn drop_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(&id) else { return };
        if let Some(ids) = self.flows_by_process.get_mut(&flow.process) {
            ids.remove(&id);
            if ids.is_empty() {
                self.flows_by_process.remove(&flow.process);
            }
        }
    }

    pub(super) fn count(&mut self, id: FlowId, counters: Counters) {
        self.count_all(&[FlowCounters { id, counters }]);
    }

    /// Sets the counters of flows and adds what is new to their processes, once for neighbours of one process.
    pub(super) fn count_all(&mut self, flows: &[FlowCounters]) {
        let (mut owner, mut tx, mut rx) = (None, 0, 0);
        for FlowCounters { id, counters } in flows {
            let Some(flow) = self.flows.get_mut(id) else { continue };
            let (sent, received) = grow(&mut flow.counters, *counters);
            let process = flow.process;
            if process != owner {
                self.add_to_process(owner, tx, rx);
                (owner, tx, rx) = (process, 0, 0);
            }
            (tx, rx) = (sent.saturating_add(tx), received.saturating_add(rx));
        }
        self.add_to_process(owner, tx, rx);
    }

    fn add_to_process(&mut self, process: Option<ProcessId>, tx: u64, rx: u64) {
        if let Some(p) = process.and_then(|id| self.processes.get_mut(&id)) {
            p.tx_bytes = p.tx_bytes.saturating_add(tx);
            p.rx_bytes = p.rx_bytes.saturating_add(rx);
        }
    }
}

/// Raises counters, which never go back. Returns the bytes sent and received since.
fn grow(known: &mut Counters, now: Counters) -> (u64, u64) {
    let sent = now.tx_bytes.saturating_sub(known.tx_bytes);
    let received = now.rx_bytes.saturating_sub(known.rx_bytes);
    *known = Counters {
        tx_bytes: known.tx_bytes.max(now.tx_bytes),
        rx_bytes: known.rx_bytes.max(now.rx_bytes),
        tx_packets: known.tx_packets.max(now.tx_packets),
        rx_packets: known.rx_packets.max(now.rx_packets),
    };
    (sent, received)
}
