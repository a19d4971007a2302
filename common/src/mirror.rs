//! State rebuilt from events: what a client knows, and nothing else.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    coverage::{KindBalance, Mode, RecordKind, Source},
    display::Text,
    event::{Event, FlowCounters, TRAFFIC_FLOWS_MAX},
    flow::{Counters, Flow, FlowId, FlowState},
    process::{Process, ProcessId},
    refusal::{Refusal, RefusalId},
    rule::{Rule, RuleId},
    time::Timestamp,
};

use self::rules::Rules;

/// The fold of the event stream. [`Mirror::apply`] is the only way to change it, [`Mirror::replicate`] tells
/// it again as events: a mirror that applies those is equal to this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    header: Option<Header>,
    in_snapshot: bool,
    processes: BTreeMap<ProcessId, Process>,
    children: BTreeMap<ProcessId, BTreeSet<ProcessId>>,
    flows: BTreeMap<FlowId, Flow>,
    flows_by_process: BTreeMap<Option<ProcessId>, BTreeSet<FlowId>>,
    others: Others,
    coverage: Vec<Source>,
    balance: Vec<KindBalance>,
    lost: BTreeMap<RecordKind, u64>,
    rules: Rules,
}

/// What a snapshot says about the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The helper's version.
    pub version: Text,
    /// When the helper started to watch.
    pub watching_since: Timestamp,
    /// Which set of sources it runs on.
    pub mode: Mode,
}

/// The total of what this client may not see in detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// When it was counted.
    pub at: Timestamp,
    /// Running processes of others.
    pub processes: u64,
    /// Their open flows.
    pub open_flows: u64,
    /// Bytes they sent since the helper started.
    pub tx_bytes: u64,
    /// Bytes they received since the helper started.
    pub rx_bytes: u64,
}

impl Mirror {
    /// A mirror that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a whole snapshot has been seen.
    pub fn is_complete(&self) -> bool {
        self.header.is_some() && !self.in_snapshot
    }

    /// What the last snapshot said about the helper.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Every listed process, by id.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// One process.
    pub fn process(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(&id)
    }

    /// The listed processes that one process started.
    pub fn children_of(&self, id: ProcessId) -> impl Iterator<Item = &Process> {
        self.children.get(&id).into_iter().flatten().filter_map(|child| self.processes.get(child))
    }

    /// Every listed flow, by id.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.values()
    }

    /// One flow.
    pub fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(&id)
    }

    /// The listed flows of one process, or of the kernel.
    pub fn flows_of(&self, process: Option<ProcessId>) -> impl Iterator<Item = &Flow> {
        self.flows_by_process.get(&process).into_iter().flatten().filter_map(|id| self.flows.get(id))
    }

    /// How many flows of one process have not ended.
    pub fn open_flows_of(&self, process: ProcessId) -> usize {
        self.flows_of(Some(process)).filter(|f| f.state != FlowState::Closed).count()
    }

    /// The total of what this client may not see.
    pub fn others(&self) -> &Others {
        &self.others
    }

    /// What can be seen on this machine.
    pub fn coverage(&self) -> &[Source] {
        &self.coverage
    }

    /// The balance of records.
    pub fn balance(&self) -> &[KindBalance] {
        &self.balance
    }

    /// Records told as lost on this stream, by kind.
    pub fn lost(&self) -> &BTreeMap<RecordKind, u64> {
        &self.lost
    }

    /// Every rule in force, by number.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.all()
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.rule(id)
    }

    /// The rules that block a process. Some may be unknown here, because this client may not see them.
    pub fn rules_of(&self, process: ProcessId) -> &[RuleId] {
        self.rules.of(process)
    }

    /// Every blocked process with the rules that block it.
    pub fn blocked(&self) -> impl Iterator<Item = (ProcessId, &[RuleId])> {
        self.rules.blocked()
    }

    /// Every listed refusal, by id.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.rules.refusals()
    }

    /// One refusal.
    pub fn refusal(&self, id: RefusalId) -> Option<&Refusal> {
        self.rules.refusal(id)
    }

    /// What was refused to one process, or to nobody known.
    pub fn refusals_of(&self, process: Option<ProcessId>) -> impl Iterator<Item = &Refusal> {
        self.rules.refusals_of(process)
    }

    /// Tells this state as events, a snapshot taken at `at`.
    pub fn replicate(&self, at: Timestamp) -> Vec<Event> {
        let header = self.header.clone().unwrap_or_default();
        let mut events = vec![Event::SnapshotBegin {
            at,
            version: header.version,
            watching_since: header.watching_since,
            mode: header.mode,
        }];
        events.extend(self.processes.values().map(|p| Event::ProcessStarted { at, process: p.clone() }));
        events.extend(self.flows.values().map(|f| Event::FlowOpened { at, flow: f.clone() }));
        self.rules.replicate(at, &mut events);
        let o = self.others;
        if o != Others::default() {
            events.push(Event::Others {
                at: o.at,
                processes: o.processes,
                open_flows: o.open_flows,
                tx_bytes: o.tx_bytes,
                rx_bytes: o.rx_bytes,
            });
        }
        if !self.coverage.is_empty() {
            events.push(Event::Coverage { at, mode: header.mode, sources: self.coverage.clone() });
        }
        if !self.balance.is_empty() {
            events.push(Event::Balance { at, kinds: self.balance.clone() });
        }
        events.extend(self.lost.iter().map(|(&kind, &count)| Event::Lost { at, kind, count }));
        events.push(Event::SnapshotEnd { at });
        events
    }

    /// Takes in the next event of the stream. Events about ids that are not listed change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::SnapshotBegin { version, watching_since, mode, .. } => {
                *self = Self::default();
                self.in_snapshot = true;
                self.header =
                    Some(Header { version: version.clone(), watching_since: *watching_since, mode: *mode });
            }
            Event::SnapshotEnd { .. } => self.in_snapshot = false,
            Event::ProcessStarted { process, .. } => self.list_process(process.clone()),
            Event::ProcessChanged { process, .. } => self.change_process(process),
            Event::ProcessExited { at, id, exit_status } => {
                if let Some(p) = self.processes.get_mut(id) {
                    p.exited_at = Some(*at);
                    p.exit_status = *exit_status;
                }
            }
            Event::ProcessGone { id, .. } => self.drop_process(*id),
            Event::FlowOpened { flow, .. } => self.open_flow(flow),
            Event::FlowChanged { id, process, direction, local, remote, remote_name, state, .. } => {
                self.move_flow(*id, *process);
                if let Some(f) = self.flows.get_mut(id) {
                    (f.direction, f.local, f.remote, f.state) = (*direction, *local, *remote, *state);
                    f.remote_name.clone_from(remote_name);
                }
            }
            Event::FlowClosed { at, id, end_reason, counters } => {
                self.count(*id, *counters);
                if let Some(f) = self.flows.get_mut(id) {
                    (f.state, f.closed_at, f.end_reason) = (FlowState::Closed, Some(*at), Some(*end_reason));
                }
            }
            Event::FlowGone { id, .. } => self.drop_flow(*id),
            Event::Traffic { flows, .. } => {
                for FlowCounters { id, counters } in flows.iter().take(TRAFFIC_FLOWS_MAX) {
                    self.count(*id, *counters);
                }
            }
            Event::Others { at, processes, open_flows, tx_bytes, rx_bytes } => {
                self.others = Others {
                    at: *at,
                    processes: *processes,
                    open_flows: *open_flows,
                    tx_bytes: *tx_bytes,
                    rx_bytes: *rx_bytes,
                };
            }
            Event::Coverage { mode, sources, .. } => {
                self.coverage.clone_from(sources);
                if let Some(h) = &mut self.header {
                    h.mode = *mode;
                }
            }
            Event::Balance { kinds, .. } => self.balance.clone_from(kinds),
            Event::Lost { kind, count, .. } => {
                let sum = self.lost.entry(*kind).or_default();
                *sum = sum.saturating_add(*count);
            }
            Event::ProcessTotals { id, tx_bytes, rx_bytes, .. } => {
                if let Some(p) = self.processes.get_mut(id) {
                    (p.tx_bytes, p.rx_bytes) = (*tx_bytes, *rx_bytes);
                }
            }
            Event::RuleAdded { rule, .. } => self.rules.add(rule),
            Event::RuleRemoved { id, .. } => self.rules.remove(*id),
            Event::ProcessRules { id, rules, .. } => {
                if self.processes.contains_key(id) {
                    self.rules.bind(*id, rules);
                }
            }
            Event::Refused { refusal, .. } => {
                if refusal.process.is_none_or(|id| self.processes.contains_key(&id)) {
                    self.rules.refuse(refusal);
                }
            }
            Event::RuleHits { id, hits, .. } => self.rules.hit(*id, *hits),
            Event::RefusalGone { id, .. } => self.rules.forget(*id),
        }
    }

    fn list_process(&mut self, process: Process) {
        let (id, parent) = (process.id, process.parent_id);
        let before = self.processes.insert(id, process).and_then(|p| p.parent_id);
        self.move_child(id, before, parent);
    }

    /// Replaces what is known of a process; totals and end stay as this mirror counted them.
    fn change_process(&mut self, process: &Process) {
        let Some(known) = self.processes.get(&process.id) else { return };
        self.list_process(Process {
            tx_bytes: known.tx_bytes,
            rx_bytes: known.rx_bytes,
            exited_at: known.exited_at,
            exit_status: known.exit_status,
            ..process.clone()
        });
    }

    fn drop_process(&mut self, id: ProcessId) {
        let Some(process) = self.processes.remove(&id) else { return };
        self.rules.drop_process(id);
        self.move_child(id, process.parent_id, None);
        for child in self.children.remove(&id).into_iter().flatten() {
            if let Some(p) = self.processes.get_mut(&child) {
                p.parent_id = None;
            }
        }
    }

    fn move_child(&mut self, id: ProcessId, from: Option<ProcessId>, to: Option<ProcessId>) {
        if from == to {
            return;
        }
        if let Some(before) = from
            && let Some(ids) = self.children.get_mut(&before)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.children.remove(&before);
            }
        }
        if let Some(now) = to {
            self.children.entry(now).or_default().insert(id);
        }
    }

    /// Lists a flow. In a snapshot its bytes are in the process's totals already.
    fn open_flow(&mut self, flow: &Flow) {
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

    fn move_flow(&mut self, id: FlowId, process: Option<ProcessId>) {
        let Some(mut flow) = self.flows.get(&id).cloned() else { return };
        if flow.process == process {
            return;
        }
        let passed = flow.counters;
        self.add_to_process(flow.process, |p| {
            p.tx_bytes = p.tx_bytes.saturating_sub(passed.tx_bytes);
            p.rx_bytes = p.rx_bytes.saturating_sub(passed.rx_bytes);
        });
        self.add_to_process(process, |p| {
            p.tx_bytes = p.tx_bytes.saturating_add(passed.tx_bytes);
            p.rx_bytes = p.rx_bytes.saturating_add(passed.rx_bytes);
        });
        self.drop_flow(id);
        flow.process = process;
        self.flows_by_process.entry(process).or_default().insert(id);
        self.flows.insert(id, flow);
    }

    fn drop_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(&id) else { return };
        if let Some(ids) = self.flows_by_process.get_mut(&flow.process) {
            ids.remove(&id);
            if ids.is_empty() {
                self.flows_by_process.remove(&flow.process);
            }
        }
    }

    /// Sets a flow's counters and adds what is new to its process. Counters never go back.
    fn count(&mut self, id: FlowId, now: Counters) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let tx = now.tx_bytes.saturating_sub(flow.counters.tx_bytes);
        let rx = now.rx_bytes.saturating_sub(flow.counters.rx_bytes);
        let before = flow.counters;
        flow.counters = Counters {
            tx_bytes: before.tx_bytes.max(now.tx_bytes),
            rx_bytes: before.rx_bytes.max(now.rx_bytes),
            tx_packets: before.tx_packets.max(now.tx_packets),
            rx_packets: before.rx_packets.max(now.rx_packets),
        };
        let process = flow.process;
        self.add_to_process(process, |p| {
            p.tx_bytes = p.tx_bytes.saturating_add(tx);
            p.rx_bytes = p.rx_bytes.saturating_add(rx);
        });
    }

    fn add_to_process(&mut self, process: Option<ProcessId>, add: impl FnOnce(&mut Process)) {
        if let Some(p) = process.and_then(|id| self.processes.get_mut(&id)) {
            add(p);
        }
    }
}

impl Default for Header {
    fn default() -> Self {
        Self { version: Text::default(), watching_since: Timestamp::default(), mode: Mode::Full }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        flow::{Direction, EndReason, Endpoint, Protocol},
        rule::{Answer, Extent, Lifetime, RuleEnd, Subject, Ways},
    };

    const AT: Timestamp = Timestamp(1);

    fn process(id: u64, parent: Option<u64>) -> Process {
        Process {
            id: ProcessId(id),
            pid: 7,
            parent_id: parent.map(ProcessId),
            name: "name".into(),
            exe: Text::default(),
            cmdline: Vec::new(),
            cmdline_truncated: false,
            uid: 0,
            user: None,
            unit: None,
            container: None,
            application: None,
            application_name: None,
            net_ns: 0,
            started_at: AT,
            exited_at: None,
            exit_status: None,
            tx_bytes: 0,
            rx_bytes: 0,
        }
    }

    fn counters(tx: u64) -> Counters {
        Counters { tx_bytes: tx, rx_bytes: 2 * tx, tx_packets: 1, rx_packets: 1 }
    }

    fn flow(id: u64, process: Option<u64>, tx: u64) -> Flow {
        let end = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1);
        Flow {
            id: FlowId(id),
            process: process.map(ProcessId),
            protocol: Protocol::Tcp,
            direction: Direction::Unknown,
            local: end,
            remote: end,
            remote_name: None,
            net_ns: 0,
            state: FlowState::Open,
            opened_at: AT,
            closed_at: None,
            end_reason: None,
            counters: counters(tx),
        }
    }

    fn rule(id: u64) -> Rule {
        Rule {
            id: RuleId(u32::try_from(id).unwrap()),
            subject: Subject::Program { exe: "/usr/bin/true".into() },
            ways: Ways::Both,
            answer: Answer::Reject,
            extent: Extent::Outside,
            lifetime: Lifetime::Always,
            added_at: AT,
            expires_at: None,
            added_by: 0,
            added_by_user: None,
            hits: 0,
        }
    }

    /// A refusal belongs to one rule for ever.
    fn refusal(id: u64, process: Option<u64>, attempts: u64) -> Refusal {
        Refusal {
            id: RefusalId(id),
            rule: rule(1 + id % 2).id,
            process: process.map(ProcessId),
            protocol: Protocol::Udp,
            direction: Direction::Outbound,
            remote: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1),
            remote_name: None,
            first_at: AT,
            last_at: AT,
            attempts,
        }
    }

    fn changed(id: u64, process: Option<u64>) -> Event {
        let Flow { id, process, direction, local, remote, state, .. } = flow(id, process, 0);
        Event::FlowChanged { at: AT, id, process, direction, local, remote, remote_name: None, state }
    }

    fn told(events: impl IntoIterator<Item = Event>) -> Mirror {
        let mut mirror = Mirror::new();
        events.into_iter().for_each(|e| mirror.apply(&e));
        mirror
    }

    fn started(id: u64, parent: Option<u64>) -> Event {
        Event::ProcessStarted { at: AT, process: process(id, parent) }
    }

    fn opened(id: u64, owner: Option<u64>, tx: u64) -> Event {
        Event::FlowOpened { at: AT, flow: flow(id, owner, tx) }
    }

    #[test]
    fn bytes_outlive_their_flow_and_move_with_it() {
        let traffic = |tx| Event::Traffic {
            at: AT,
            flows: vec![FlowCounters { id: FlowId(1), counters: counters(tx) }],
        };
        let mut mirror = told([started(1, None), started(2, None), opened(1, Some(1), 5)]);
        let sent = |m: &Mirror, id| m.process(ProcessId(id)).unwrap().tx_bytes;
        for tx in [9, 7, 9] {
            mirror.apply(&traffic(tx));
        }
        assert_eq!(sent(&mirror, 1), 9, "counters never go back");
        mirror.apply(&opened(1, Some(1), 5));
        assert_eq!(sent(&mirror, 1), 9, "told twice is counted once");
        mirror.apply(&changed(1, Some(2)));
        assert_eq!((sent(&mirror, 1), sent(&mirror, 2)), (0, 9));
        mirror.apply(&Event::FlowGone { at: AT, id: FlowId(1) });
        assert_eq!((sent(&mirror, 2), mirror.flows().count()), (9, 0));
        mirror.apply(&Event::ProcessTotals { at: AT, id: ProcessId(2), tx_bytes: 40, rx_bytes: 4 });
        assert_eq!(sent(&mirror, 2), 40);
    }

    #[test]
    fn news_of_a_process_keep_its_totals_and_its_end() {
        let mut mirror = told([
            started(1, None),
            opened(1, Some(1), 5),
            Event::ProcessExited { at: AT, id: ProcessId(1), exit_status: Some(9) },
        ]);
        let process = Process { name: "other".into(), ..process(1, None) };
        mirror.apply(&Event::ProcessChanged { at: AT, process });
        let known = mirror.process(ProcessId(1)).unwrap();
        assert_eq!((known.name.shown(), known.tx_bytes, known.exit_status), ("other".into(), 5, Some(9)));
    }

    #[test]
    fn children_are_known_and_forget_a_parent_that_left() {
        let mut mirror = told([started(2, Some(1)), started(1, None), started(3, Some(1))]);
        let ids = |m: &Mirror, of| m.children_of(ProcessId(of)).map(|p| p.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&mirror, 1), [2, 3]);
        mirror.apply(&Event::ProcessChanged { at: AT, process: process(3, Some(2)) });
        assert_eq!((ids(&mirror, 1), ids(&mirror, 2)), (vec![2], vec![3]));
        mirror.apply(&Event::ProcessGone { at: AT, id: ProcessId(1) });
        assert_eq!(mirror.process(ProcessId(2)).unwrap().parent_id, None);
        assert!(ids(&mirror, 1).is_empty());
    }

    #[test]
    fn a_snapshot_forgets_what_was_before_and_is_complete_at_its_end() {
        let mut mirror = told([started(1, None)]);
        assert!(!mirror.is_complete());
        let events = Mirror::new().replicate(AT);
        let (end, rest) = events.split_last().unwrap();
        rest.iter().for_each(|e| mirror.apply(e));
        assert!(!mirror.is_complete());
        mirror.apply(end);
        assert!(mirror.is_complete());
        assert_eq!(mirror.processes().count(), 0);
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let (id, owner) = (1_u64..5, || proptest::option::of(1_u64..5));
        let event = prop_oneof![
            (id.clone(), owner()).prop_map(|(p, q)| started(p, q)),
            (id.clone(), owner()).prop_map(|(p, q)| Event::ProcessChanged { at: AT, process: process(p, q) }),
            id.clone().prop_map(|p| Event::ProcessExited { at: AT, id: ProcessId(p), exit_status: None }),
            id.clone().prop_map(|p| Event::ProcessGone { at: AT, id: ProcessId(p) }),
            (id.clone(), owner(), 0_u64..9).prop_map(|(f, p, tx)| opened(f, p, tx)),
            (id.clone(), owner()).prop_map(|(f, p)| changed(f, p)),
            (id.clone(), 0_u64..99).prop_map(|(f, tx)| Event::FlowClosed {
                at: AT,
                id: FlowId(f),
                end_reason: EndReason::Closed,
                counters: counters(tx),
            }),
            id.clone().prop_map(|f| Event::FlowGone { at: AT, id: FlowId(f) }),
            (id.clone(), 0_u64..99).prop_map(|(f, tx)| Event::Traffic {
                at: AT,
                flows: vec![FlowCounters { id: FlowId(f), counters: counters(tx) }],
            }),
            (id.clone(), 0_u64..99).prop_map(|(p, tx)| Event::ProcessTotals {
                at: AT,
                id: ProcessId(p),
                tx_bytes: tx,
                rx_bytes: tx,
            }),
            (1_u64..9).prop_map(|count| Event::Lost { at: AT, kind: RecordKind::Exec, count }),
            id.clone().prop_map(|n| Event::RuleAdded { at: AT, rule: rule(n) }),
            id.clone().prop_map(|n| Event::RuleRemoved { at: AT, id: rule(n).id, end: RuleEnd::Removed }),
            (id.clone(), 0_u64..3).prop_map(|(p, n)| Event::ProcessRules {
                at: AT,
                id: ProcessId(p),
                rules: (0..n).map(|n| rule(n).id).collect(),
            }),
            (id.clone(), owner(), 1_u64..9)
                .prop_map(|(n, p, attempts)| Event::Refused { at: AT, refusal: refusal(n, p, attempts) }),
            (id.clone(), 0_u64..9).prop_map(|(n, hits)| Event::RuleHits { at: AT, id: rule(n).id, hits }),
            id.clone().prop_map(|n| Event::RefusalGone { at: AT, id: RefusalId(n) }),
            id.prop_map(|n| Event::Others { at: AT, processes: n, open_flows: n, tx_bytes: n, rx_bytes: n }),
        ];
        proptest::collection::vec(event, 0..60)
    }

    #[test]
    fn refusals_go_with_their_rule_and_never_count_back() {
        let mut mirror = told(Mirror::new().replicate(AT));
        mirror.apply(&started(3, None));
        mirror.apply(&Event::RuleAdded { at: AT, rule: rule(1) });
        for attempts in [1, 4, 3] {
            mirror.apply(&Event::Refused { at: AT, refusal: refusal(2, Some(3), attempts) });
        }
        assert_eq!(mirror.refusals_of(Some(ProcessId(3))).map(|r| r.attempts).sum::<u64>(), 4);
        mirror.apply(&Event::RefusalGone { at: AT, id: RefusalId(2) });
        assert_eq!(mirror.refusals().count(), 0);
        mirror.apply(&Event::Refused { at: AT, refusal: refusal(4, None, 2) });
        mirror.apply(&Event::Refused { at: AT, refusal: refusal(3, None, 2) });
        assert_eq!(mirror.refusals().count(), 1, "rule 2 is not listed");
        mirror.apply(&Event::RuleRemoved { at: AT, id: RuleId(1), end: RuleEnd::Removed });
        assert_eq!((mirror.rules().count(), mirror.refusals().count()), (0, 0));
    }

    proptest! {
        #[test]
        fn a_mirror_told_a_snapshot_is_equal_then_and_after_every_delta(before in events(), after in events()) {
            let mut first = told(Mirror::new().replicate(AT).into_iter().chain(before));
            let mut second = told(first.replicate(Timestamp(2)));
            prop_assert_eq!(&first, &second);
            for event in &after {
                first.apply(event);
                second.apply(event);
                prop_assert_eq!(&first, &second, "after {:?}", event);
            }
        }

        #[test]
        fn indices_agree_with_the_lists(events in events()) {
            let mirror = told(events);
            let mut listed = 0;
            for ids in mirror.flows_by_process.values() {
                prop_assert!(!ids.is_empty());
                listed += ids.len();
            }
            prop_assert_eq!(listed, mirror.flows.len());
            for flow in mirror.flows() {
                prop_assert!(mirror.flows_of(flow.process).any(|f| f.id == flow.id));
            }
            let children: usize = mirror.children.values().map(BTreeSet::len).sum();
            prop_assert_eq!(children, mirror.processes().filter(|p| p.parent_id.is_some()).count());
            for p in mirror.processes() {
                prop_assert!(p.parent_id.is_none_or(|q| mirror.children_of(q).any(|c| c.id == p.id)));
            }
        }

        #[test]
        fn hearing_an_event_twice_does_no_harm(events in events()) {
            let once = told(events.clone());
            let twice = told(events.into_iter().flat_map(|e| {
                // Losses are counts of this place in the stream, not states.
                let again = (!matches!(e, Event::Lost { .. })).then(|| e.clone());
                std::iter::once(e).chain(again)
            }));
            prop_assert_eq!(once, twice);
        }
    }
}
