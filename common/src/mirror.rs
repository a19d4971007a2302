//! State rebuilt from events: what a client knows, and nothing else.

mod files;
mod flows;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    coverage::{KindBalance, Mode, RecordKind, Source},
    display::Text,
    event::{Event, TRAFFIC_FLOWS_MAX},
    file::{AccessId, Contact, FileAccess},
    flow::{Flow, FlowId, FlowState},
    process::{Process, ProcessId},
    refusal::{Refusal, RefusalId},
    rule::{Rule, RuleId},
    time::Timestamp,
    watch::{Entry, EntryId},
};

use self::{files::Files, rules::Rules};

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
    files: Files,
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

    /// Every entry of the watchlist that this client may see, by id.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.entries()
    }

    /// One entry of the watchlist.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.files.entry(id)
    }

    /// Every listed access to a watched file, the oldest first.
    pub fn accesses(&self) -> impl DoubleEndedIterator<Item = &FileAccess> {
        self.files.accesses()
    }

    /// One access.
    pub fn access(&self, id: AccessId) -> Option<&FileAccess> {
        self.files.access(id)
    }

    /// The accesses of one process, the oldest first.
    pub fn accesses_of(&self, process: ProcessId) -> impl DoubleEndedIterator<Item = &FileAccess> {
        self.files.accesses_of(process)
    }

    /// Every contact after an access, the oldest first.
    pub fn contacts(&self) -> impl DoubleEndedIterator<Item = &Contact> {
        self.files.contacts()
    }

    /// The contacts after one access, the oldest first.
    pub fn contacts_after(&self, access: AccessId) -> impl DoubleEndedIterator<Item = &Contact> {
        self.files.contacts_after(access)
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
        self.files.replicate(at, &mut events);
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
                self.count_all(flows.get(..TRAFFIC_FLOWS_MAX).unwrap_or(flows));
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
            Event::WatchEntryAdded { entry, .. } => self.files.watch(entry),
            Event::WatchEntryRemoved { id, .. } => self.files.unwatch(*id),
            Event::FileAccessed { access, .. } => {
                if self.processes.contains_key(&access.process) {
                    self.files.access_again(access);
                }
            }
            Event::FileAccessGone { id, .. } => self.files.forget(*id),
            Event::ContactAfter { contact, .. } => self.files.contact(contact),
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
        self.files.drop_process(id);
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
}

impl Default for Header {
    fn default() -> Self {
        Self { version: Text::default(), watching_since: Timestamp::default(), mode: Mode::Full }
    }
}

#[cfg(test)]
mod tests;
