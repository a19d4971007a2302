//! From what sources say about sockets to the list of flows.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use sekhmet_common::{
    coverage::RecordKind,
    flow::{Counters, Direction, EndReason, Flow, FlowId, FlowState, Reach},
    process::ProcessId,
    rule::{Extent, Rule, Ways},
    time::Timestamp,
};

use super::{
    Engine,
    deadlines::Due,
    ends,
    input::{FlowEnd, FlowKey, FlowPhase, FlowSight, ProcessKey},
    ledger,
};

/// A name server on this machine counts as outside for a rule.
const DNS_PORT: u16 = 53;

/// What the engine knows about a listed flow beside what it tells.
#[derive(Debug)]
struct Record {
    key: FlowKey,
    /// What the source had counted before this flow: an earlier flow of the same key aged.
    base: Counters,
    /// When it last moved, on the clock of the deadlines.
    active_ns: u64,
    /// When a source last told of it at all.
    heard_ns: u64,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// This flow is listed.
    Listed(FlowId),
    /// Its flow aged and left; more than these counters make a new flow.
    Aged(Counters),
}

/// Which flow is which.
#[derive(Debug, Default)]
pub(super) struct Flows {
    by_key: HashMap<FlowKey, Slot>,
    records: HashMap<FlowId, Record>,
    datagrams: HashMap<u64, BTreeSet<FlowKey>>,
    /// Ended flows, oldest first. Holds those that left, too, until their turn comes.
    ended: VecDeque<FlowId>,
    /// Keys of flows that aged and left, oldest first.
    aged: VecDeque<FlowKey>,
    /// Flows that found no room and were counted as such.
    unlisted: HashSet<FlowKey>,
    last_id: u64,
}

impl Engine {
    /// A flow exists: it is new, it changed or it was counted.
    pub(super) fn flow_seen(&mut self, sight: &FlowSight) -> Option<FlowId> {
        match self.flows.by_key.get(&sight.key).copied() {
            None => self.open_flow(sight, Counters::default()),
            Some(Slot::Aged(base)) if ledger::exceeds(sight.counters, base) => self.open_flow(sight, base),
            Some(Slot::Aged(_)) => None,
            Some(Slot::Listed(id)) => self.flow_seen_again(id, sight),
        }
    }

    /// A flow ended.
    pub(super) fn flow_ended(&mut self, at: Timestamp, sight: &FlowSight, end: FlowEnd) {
        let Some(id) = self.flow_seen(sight) else {
            if !self.flows.forget_datagram(&sight.key) {
                // It found no room on the list, but its bytes belong to the totals.
                let owner = sight.owner.and_then(|key| self.owner_of(at, key));
                self.ledger.add_bytes(at, owner, sight.counters);
                self.flows.unlisted.remove(&sight.key);
            }
            return;
        };
        let Some(flow) = self.ledger.mirror().flow(id) else { return };
        let exited = flow.process.is_some_and(|p| self.has_exited(p));
        let mut reason = ends::reason(&sight.key, end, exited);
        if self.was_cut_by_a_rule(flow, reason) {
            reason = EndReason::Blocked;
        }
        self.close(at, id, reason);
        // The source begins to count anew when this remote is heard of again; then it is a new flow.
        self.flows.forget_datagram(&sight.key);
    }

    /// Whether a flow that ended like this did so because its process is blocked: nothing that the other side
    /// says reaches a blocked process, so it cannot have been the other side.
    fn was_cut_by_a_rule(&self, flow: &Flow, reason: EndReason) -> bool {
        let cut = matches!(reason, EndReason::Refused | EndReason::Reset | EndReason::TimedOut);
        let Some(process) = flow.process.filter(|_| cut) else { return false };
        let mirror = self.ledger.mirror();
        let local = Reach::of(flow.remote.addr) == Reach::Loopback && flow.remote.port != DNS_PORT;
        let applies = |rule: &Rule| {
            (rule.extent == Extent::Everywhere || !local)
                && match rule.ways {
                    Ways::Both => true,
                    Ways::Outbound => flow.direction != Direction::Inbound,
                    Ways::Inbound => flow.direction != Direction::Outbound,
                }
        };
        mirror.rules_of(process).iter().filter_map(|&id| mirror.rule(id)).any(applies)
            || self.rules_about_to_block(process).any(applies)
    }

    /// A socket without connections was released.
    pub(super) fn socket_released(&mut self, at: Timestamp, cookie: u64) {
        for key in self.flows.datagrams.remove(&cookie).into_iter().flatten() {
            match self.flows.by_key.get(&key).copied() {
                Some(Slot::Listed(id)) => {
                    let process = self.ledger.mirror().flow(id).and_then(|f| f.process);
                    let exited = process.is_some_and(|p| self.has_exited(p));
                    self.close(at, id, ends::reason(&key, FlowEnd::Released, exited));
                }
                Some(Slot::Aged(_)) => {
                    self.flows.by_key.remove(&key);
                }
                None => {}
            }
        }
    }

    /// Bytes that belong to no flow any more.
    pub(super) fn residue(&mut self, now: Timestamp, owner: ProcessKey, counters: Counters) {
        let owner = self.owner_of(now, owner);
        self.ledger.add_bytes(now, owner, counters);
    }

    /// Ends a datagram flow that was quiet for the whole quiet period, or looks again later.
    pub(super) fn quiet_due(&mut self, now: Timestamp, id: FlowId) {
        let Some(record) = self.flows.records.get(&id) else { return };
        let until = record.active_ns.saturating_add(self.limits.quiet_ns);
        if until > self.deadlines.elapsed_ns() {
            self.deadlines.at(until, Due::FlowQuiet(id));
        } else {
            self.close(now, id, EndReason::Aged);
        }
    }

    /// Closes the flows of an ended process that no source has told of for long.
    pub(super) fn close_forgotten(&mut self, now: Timestamp, process: ProcessId) {
        let before = self.deadlines.elapsed_ns().saturating_sub(self.limits.forgotten_ns);
        let forgotten: Vec<FlowId> = self
            .ledger
            .mirror()
            .flows_of(Some(process))
            .map(|f| f.id)
            .filter(|id| self.flows.records.get(id).is_some_and(|r| r.heard_ns <= before))
            .collect();
        for id in forgotten {
            self.close(now, id, EndReason::Exited);
        }
    }

    /// Takes the flows of a process off the list, which have all ended.
    pub(super) fn remove_flows_of(&mut self, now: Timestamp, process: ProcessId) {
        let ids: Vec<FlowId> = self.ledger.mirror().flows_of(Some(process)).map(|f| f.id).collect();
        for id in ids {
            self.remove_flow(now, id);
        }
    }

    /// The time of an ended flow on the list is over.
    pub(super) fn flow_due(&mut self, now: Timestamp, id: FlowId) {
        self.remove_flow(now, id);
        while let Some(front) = self.flows.ended.front()
            && !self.flows.records.contains_key(front)
        {
            self.flows.ended.pop_front();
        }
    }

    fn flow_seen_again(&mut self, id: FlowId, sight: &FlowSight) -> Option<FlowId> {
        let record = self.flows.records.get(&id)?;
        let counters = minus(sight.counters, record.base);
        let flow = self.ledger.mirror().flow(id)?;
        if flow.state == FlowState::Closed {
            let aged = flow.end_reason == Some(EndReason::Aged);
            if aged && ledger::exceeds(counters, flow.counters) {
                let before = plus(record.base, flow.counters);
                return self.open_flow(sight, before);
            }
            // A poll that overlapped the end may still know a little more.
            self.ledger.count(sight.at, id, counters);
            return Some(id);
        }
        let mut now = flow.clone();
        if now.direction == Direction::Unknown {
            now.direction = sight.direction;
        }
        if now.state == FlowState::Opening {
            now.state = state(sight.phase);
        }
        (now.local, now.remote) = (sight.local, sight.remote);
        if let Some(key) = sight.owner {
            now.process = self.owner_of(sight.at, key).or(now.process);
        }
        let before = self.ledger.mirror().flow(id)?;
        let sent_before = before.counters.tx_bytes;
        let has_come = before.state != now.state || before.process != now.process;
        if before.process != now.process {
            let (from, to) = (before.process, now.process);
            self.note_flow(from, |n| n.saturating_sub(1));
            self.note_flow(to, |n| n.saturating_add(1));
            self.ledger.change_flow(sight.at, &now);
            self.remove_if_overdue(sight.at, from);
        } else {
            self.ledger.change_flow(sight.at, &now);
        }
        if has_come {
            self.flow_reached(sight.at, id);
        }
        let moved = self.ledger.count(sight.at, id, counters);
        if moved {
            self.flow_sent(sight.at, id, sent_before);
        }
        if let Some(record) = self.flows.records.get_mut(&id) {
            record.heard_ns = self.deadlines.elapsed_ns();
            if moved {
                record.active_ns = record.heard_ns;
            }
        }
        Some(id)
    }

    fn open_flow(&mut self, sight: &FlowSight, base: Counters) -> Option<FlowId> {
        let stream = matches!(sight.key, FlowKey::Stream { .. });
        if !self.room_for_flow(sight.at) {
            // Every poll tells it again; it is counted once.
            if self.flows.unlisted.len() < self.limits.flows_max && self.flows.unlisted.insert(sight.key) {
                self.books.unlisted(if stream { RecordKind::TcpState } else { RecordKind::PacketFlow }, 1);
            }
            return None;
        }
        self.flows.unlisted.remove(&sight.key);
        let process = sight.owner.and_then(|key| self.owner_of(sight.at, key));
        self.flows.last_id += 1;
        let id = FlowId(self.flows.last_id);
        self.flows.by_key.insert(sight.key, Slot::Listed(id));
        let now_ns = self.deadlines.elapsed_ns();
        let record = Record { key: sight.key, base, active_ns: now_ns, heard_ns: now_ns };
        self.flows.records.insert(id, record);
        if !stream {
            self.flows.datagrams.entry(sight.key.cookie()).or_default().insert(sight.key);
            self.deadlines.after(self.limits.quiet_ns, Due::FlowQuiet(id));
        }
        self.note_flow(process, |n| n.saturating_add(1));
        let flow = Flow {
            id,
            process,
            protocol: sight.protocol,
            direction: sight.direction,
            local: sight.local,
            remote: sight.remote,
            remote_name: None,
            net_ns: sight.net_ns,
            state: state(sight.phase),
            opened_at: sight.at,
            closed_at: None,
            end_reason: None,
            counters: minus(sight.counters, base),
        };
        self.ledger.open_flow(sight.at, flow);
        self.flow_reached(sight.at, id);
        self.flow_sent(sight.at, id, 0);
        Some(id)
    }

    fn close(&mut self, at: Timestamp, id: FlowId, reason: EndReason) {
        let Some(flow) = self.ledger.mirror().flow(id) else { return };
        if flow.state == FlowState::Closed {
            return;
        }
        let last = flow.counters;
        self.ledger.close_flow(at, id, reason, last);
        self.flows.ended.push_back(id);
        self.deadlines.after(self.limits.listed_after_end_ns, Due::FlowGone(id));
    }

    fn remove_flow(&mut self, now: Timestamp, id: FlowId) {
        let Some(record) = self.flows.records.remove(&id) else { return };
        let Some(flow) = self.ledger.mirror().flow(id) else { return };
        let (process, counted, reason) = (flow.process, flow.counters, flow.end_reason);
        self.ledger.remove_flow(now, id);
        if matches!(self.flows.by_key.get(&record.key), Some(Slot::Listed(listed)) if *listed == id) {
            self.forget_key(&record, counted, reason);
        }
        self.note_flow(process, |n| n.saturating_sub(1));
        self.remove_if_overdue(now, process);
    }

    /// The source of datagram counters does not forget when a flow ages here, so its counters are kept.
    fn forget_key(&mut self, record: &Record, counted: Counters, reason: Option<EndReason>) {
        if reason != Some(EndReason::Aged) {
            self.flows.by_key.remove(&record.key);
            self.flows.forget_datagram(&record.key);
            return;
        }
        self.flows.by_key.insert(record.key, Slot::Aged(plus(record.base, counted)));
        self.flows.aged.push_back(record.key);
        while self.flows.aged.len() > self.limits.flows_max {
            let Some(key) = self.flows.aged.pop_front() else { break };
            if matches!(self.flows.by_key.get(&key), Some(Slot::Aged(_))) {
                self.flows.forget_datagram(&key);
            }
        }
    }

    fn remove_if_overdue(&mut self, now: Timestamp, process: Option<ProcessId>) {
        if let Some(id) = process
            && self.processes.records.get(&id).is_some_and(|r| r.overdue && r.flows == 0)
            && !self.is_kept_for_accesses(id)
        {
            self.remove_process(now, id);
        }
    }

    fn note_flow(&mut self, process: Option<ProcessId>, change: impl FnOnce(usize) -> usize) {
        if let Some(record) = process.and_then(|id| self.processes.records.get_mut(&id)) {
            record.flows = change(record.flows);
        }
    }

    /// Whether one more flow may be listed; the flow that ended first makes room.
    fn room_for_flow(&mut self, now: Timestamp) -> bool {
        while self.flows.records.len() >= self.limits.flows_max {
            let Some(oldest) = self.flows.ended.pop_front() else { return false };
            self.remove_flow(now, oldest);
        }
        true
    }
}

impl Flows {
    /// Forgets which flow a datagram key means. Whether one was known. A stream's key is used only once, so it
    /// is kept until its flow leaves the list: what is told late is still that flow's.
    fn forget_datagram(&mut self, key: &FlowKey) -> bool {
        let cookie = match key {
            FlowKey::Stream { .. } => return self.by_key.contains_key(key),
            FlowKey::Datagram { cookie, .. } => *cookie,
        };
        if let Some(keys) = self.datagrams.get_mut(&cookie) {
            keys.remove(key);
            if keys.is_empty() {
                self.datagrams.remove(&cookie);
            }
        }
        self.by_key.remove(key).is_some()
    }
}

fn state(phase: FlowPhase) -> FlowState {
    match phase {
        FlowPhase::Opening => FlowState::Opening,
        FlowPhase::Open | FlowPhase::Closing => FlowState::Open,
    }
}

fn plus(a: Counters, b: Counters) -> Counters {
    Counters {
        tx_bytes: a.tx_bytes.saturating_add(b.tx_bytes),
        rx_bytes: a.rx_bytes.saturating_add(b.rx_bytes),
        tx_packets: a.tx_packets.saturating_add(b.tx_packets),
        rx_packets: a.rx_packets.saturating_add(b.rx_packets),
    }
}

fn minus(a: Counters, b: Counters) -> Counters {
    Counters {
        tx_bytes: a.tx_bytes.saturating_sub(b.tx_bytes),
        rx_bytes: a.rx_bytes.saturating_sub(b.rx_bytes),
        tx_packets: a.tx_packets.saturating_sub(b.tx_packets),
        rx_packets: a.rx_packets.saturating_sub(b.rx_packets),
    }
}
