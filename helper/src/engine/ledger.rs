//! The state as it is told: one mirror, and every change to it on its way to those who may see it.
//!
//! Each verb changes the mirror by an event and says that event to the scopes that see its subject *at that
//! moment*. Nothing is filtered later, so nothing can be filtered by a later truth.

mod files;

use std::collections::BTreeMap;

use sekhmet_common::{
    event::{Event, FlowCounters},
    flow::{Counters, EndReason, Flow, FlowId, FlowState},
    mirror::Mirror,
    process::{Process, ProcessId},
    refusal::{Refusal, RefusalId},
    rule::{RuleEnd, RuleId, Subject},
    time::Timestamp,
};

use super::{
    input::{KeptRule, Scope},
    totals::{Sum, Totals},
    view::View,
    visibility::Owners,
};

/// Mirror, visibility and what is still to be said.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    mirror: Mirror,
    pub(super) owners: Owners,
    pub(super) totals: Totals,
    pub(super) views: BTreeMap<Scope, View>,
}

impl Ledger {
    /// Everything that the events say.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Lists a process that belongs wholly to `owner`.
    pub(super) fn start_process(&mut self, at: Timestamp, process: Process, owner: Option<u32>) {
        self.owners.set(process.id, owner);
        if process.exited_at.is_none() {
            self.totals.add(owner, Sum::PROCESS);
        }
        let id = process.id;
        self.mirror.apply(&Event::ProcessStarted { at, process });
        self.say_process(id, |process| Event::ProcessStarted { at, process });
    }

    /// Tells more about a process, or that it became another program of another owner.
    pub(super) fn change_process(&mut self, at: Timestamp, process: Process, owner: Option<u32>) {
        let id = process.id;
        let before = self.owners.of(id);
        let same = self.mirror.process(id) == Some(&process);
        if before == owner {
            if !same {
                self.mirror.apply(&Event::ProcessChanged { at, process });
                self.say_process(id, |process| Event::ProcessChanged { at, process });
            }
            return;
        }
        self.hide_process(at, id);
        self.mirror.apply(&Event::ProcessChanged { at, process: process.clone() });
        self.owners.set(id, owner);
        self.move_sums(id, before, owner);
        if let Some(view) = self.views.get_mut(&Scope::All) {
            view.say(Event::ProcessChanged { at, process });
        }
        self.reveal_process(at, id);
    }

    /// Tells that a process ended.
    pub(super) fn exit_process(&mut self, at: Timestamp, id: ProcessId, exit_status: Option<i32>) {
        let Some(process) = self.mirror.process(id) else { return };
        let owner = self.owners.of(id);
        if process.exited_at.is_none() {
            self.totals.take(owner, Sum::PROCESS);
        }
        self.tell(owner, &Event::ProcessExited { at, id, exit_status });
    }

    /// Takes a process off the list. Its flows must be gone.
    pub(super) fn remove_process(&mut self, at: Timestamp, id: ProcessId) {
        let Some(process) = self.mirror.process(id) else { return };
        let owner = self.owners.of(id);
        if process.exited_at.is_none() {
            self.totals.take(owner, Sum::PROCESS);
        }
        self.forget_owners_of_accesses(id);
        self.tell(owner, &Event::ProcessGone { at, id });
        self.owners.set(id, None);
        for view in self.views.values_mut() {
            view.left(id);
        }
    }

    /// Lists a flow.
    pub(super) fn open_flow(&mut self, at: Timestamp, flow: Flow) {
        let owner = self.owners.of_flow(flow.process);
        self.totals.add(owner, Sum::FLOW.plus(Sum::bytes(flow.counters)));
        self.tell(owner, &Event::FlowOpened { at, flow });
    }

    /// Tells what changed about a flow; counters, end and times are told elsewhere.
    pub(super) fn change_flow(&mut self, at: Timestamp, flow: &Flow) {
        let Some(known) = self.mirror.flow(flow.id) else { return };
        if known == flow {
            return;
        }
        let Flow { id, process, direction, local, remote, state, .. } = *flow;
        let remote_name = flow.remote_name.clone();
        let event = Event::FlowChanged { at, id, process, direction, local, remote, remote_name, state };
        let (from, to) = (known.process, process);
        let (before, after) = (self.owners.of_flow(from), self.owners.of_flow(to));
        if before == after {
            self.tell(after, &event);
            return;
        }
        let mut sum = Sum::bytes(known.counters);
        if known.state != FlowState::Closed {
            sum = sum.plus(Sum::FLOW);
        }
        self.totals.take(before, sum);
        self.totals.add(after, sum);
        self.mirror.apply(&event);
        if let Some(view) = self.views.get_mut(&Scope::All) {
            view.say(event);
        }
        if let Some((view, from)) = own_view(&mut self.views, before).zip(from) {
            view.say(Event::FlowGone { at, id });
            view.settled(id);
            view.recounted(from);
        }
        let now = self.mirror.flow(id).cloned();
        if let Some(((view, to), flow)) = own_view(&mut self.views, after).zip(to).zip(now) {
            view.say(Event::FlowOpened { at, flow });
            view.recounted(to);
        }
    }

    /// Takes in a flow's counters; they never go back. Whether they grew.
    pub(super) fn count(&mut self, at: Timestamp, id: FlowId, now: Counters) -> bool {
        let Some(flow) = self.mirror.flow(id) else { return false };
        let before = flow.counters;
        if !exceeds(now, before) {
            return false;
        }
        let owner = self.owners.of_flow(flow.process);
        self.mirror.apply(&Event::Traffic { at, flows: vec![FlowCounters { id, counters: now }] });
        self.totals.add(owner, grown(before, now));
        for view in [Some(Scope::All), owner.map(Scope::Own)].into_iter().flatten() {
            if let Some(view) = self.views.get_mut(&view) {
                view.moved(id);
            }
        }
        true
    }

    /// Tells that a flow ended with these last counters.
    pub(super) fn close_flow(&mut self, at: Timestamp, id: FlowId, end_reason: EndReason, last: Counters) {
        let Some(flow) = self.mirror.flow(id) else { return };
        let (before, owner) = (flow.counters, self.owners.of_flow(flow.process));
        if flow.state != FlowState::Closed {
            self.totals.take(owner, Sum::FLOW);
        }
        self.totals.add(owner, grown(before, last));
        self.tell(owner, &Event::FlowClosed { at, id, end_reason, counters: larger(before, last) });
        self.settle(id);
    }

    /// Takes a flow off the list.
    pub(super) fn remove_flow(&mut self, at: Timestamp, id: FlowId) {
        let Some(flow) = self.mirror.flow(id) else { return };
        let owner = self.owners.of_flow(flow.process);
        if flow.state != FlowState::Closed {
            self.totals.take(owner, Sum::FLOW);
        }
        let process = flow.process;
        self.tell(owner, &Event::FlowGone { at, id });
        for view in self.views.values_mut() {
            // Bytes counted after its end were not told as the flow's any more.
            if let Some(process) = process.filter(|_| view.settled(id)) {
                view.recounted(process);
            }
        }
    }

    /// Adds bytes that belong to no listed flow.
    pub(super) fn add_bytes(&mut self, at: Timestamp, process: Option<ProcessId>, more: Counters) {
        let owner = self.owners.of_flow(process);
        self.totals.add(owner, Sum::bytes(more));
        let Some(known) = process.and_then(|id| self.mirror.process(id)) else { return };
        let id = known.id;
        let tx_bytes = known.tx_bytes.saturating_add(more.tx_bytes);
        let rx_bytes = known.rx_bytes.saturating_add(more.rx_bytes);
        self.mirror.apply(&Event::ProcessTotals { at, id, tx_bytes, rx_bytes });
        for scope in [Some(Scope::All), owner.map(Scope::Own)].into_iter().flatten() {
            if let Some(view) = self.views.get_mut(&scope) {
                view.recounted(id);
            }
        }
    }

    /// Lists a rule, or tells its news, to those who may see it.
    pub(super) fn add_rule(&mut self, at: Timestamp, kept: &KeptRule) {
        let owner = match &kept.rule.subject {
            Subject::Process { process, .. } => process.and_then(|id| self.owners.of(id)),
            Subject::Program { .. } => None,
        };
        self.owners.set_rule(&kept.rule, owner);
        let id = kept.rule.id;
        self.tell_of_rule(id, &Event::RuleAdded { at, rule: kept.rule.clone() });
    }

    /// Tells how often a rule has refused something.
    pub(super) fn count_hits(&mut self, at: Timestamp, id: RuleId, hits: u64) {
        self.tell_of_rule(id, &Event::RuleHits { at, id, hits });
    }

    /// Tells that a rule is over.
    pub(super) fn remove_rule(&mut self, at: Timestamp, id: RuleId, end: RuleEnd) {
        self.tell_of_rule(id, &Event::RuleRemoved { at, id, end });
        self.owners.forget_rule(id);
    }

    /// Tells which rules block a process.
    pub(super) fn block_process(&mut self, at: Timestamp, id: ProcessId, rules: Vec<RuleId>) {
        let owner = self.owners.of(id);
        self.tell(owner, &Event::ProcessRules { at, id, rules });
    }

    /// Tells what a rule refused.
    pub(super) fn refuse(&mut self, at: Timestamp, refusal: Refusal) {
        let owner = self.owners.of_flow(refusal.process);
        self.tell(owner, &Event::Refused { at, refusal });
    }

    /// Takes a refusal off the list.
    pub(super) fn forget_refusal(&mut self, at: Timestamp, id: RefusalId) {
        let Some(refusal) = self.mirror.refusal(id) else { return };
        let owner = self.owners.of_flow(refusal.process);
        self.tell(owner, &Event::RefusalGone { at, id });
    }

    fn tell_of_rule(&mut self, id: RuleId, event: &Event) {
        self.mirror.apply(event);
        for (&scope, view) in &mut self.views {
            if self.owners.sees_rule(scope, id) {
                view.say(event.clone());
            }
        }
    }

    /// Tells everybody something about the helper itself.
    pub(super) fn announce(&mut self, event: &Event) {
        self.mirror.apply(event);
        for view in self.views.values_mut() {
            view.say(event.clone());
        }
    }

    /// Takes what is to be said to one scope; `None` if only a fresh snapshot can say it.
    pub(super) fn take(&mut self, scope: Scope, at: Timestamp) -> Option<Vec<Event>> {
        self.views.get_mut(&scope).map_or(Some(Vec::new()), |view| view.take(&self.mirror, at))
    }

    /// Applies an event and says it to all and to the owner.
    fn tell(&mut self, owner: Option<u32>, event: &Event) {
        self.mirror.apply(event);
        if let Some(view) = self.views.get_mut(&Scope::All) {
            view.say(event.clone());
        }
        if let Some(view) = own_view(&mut self.views, owner) {
            view.say(event.clone());
        }
    }

    /// Says a process as it now stands to all and to its owner, to each with the parent it may see.
    fn say_process(&mut self, id: ProcessId, event: impl Fn(Process) -> Event) {
        let Some(process) = self.mirror.process(id) else { return };
        for scope in [Some(Scope::All), self.owners.of(id).map(Scope::Own)].into_iter().flatten() {
            if let Some(view) = self.views.get_mut(&scope)
                && let Some(shown) = self.owners.process(scope, &self.mirror, process)
            {
                view.say(event(shown));
            }
        }
    }

    /// Takes a process and its flows from the sight of its owner.
    fn hide_process(&mut self, at: Timestamp, id: ProcessId) {
        let Some(view) = own_view(&mut self.views, self.owners.of(id)) else { return };
        for flow in self.mirror.flows_of(Some(id)) {
            view.say(Event::FlowGone { at, id: flow.id });
            view.settled(flow.id);
        }
        view.say(Event::ProcessGone { at, id });
        view.left(id);
    }

    /// Brings a process, its flows and its children's parent into the sight of its owner.
    fn reveal_process(&mut self, at: Timestamp, id: ProcessId) {
        let Some(scope) = self.owners.of(id).map(Scope::Own) else { return };
        let Some(view) = self.views.get_mut(&scope) else { return };
        let Some(process) = self.mirror.process(id) else { return };
        if let Some(process) = self.owners.process(scope, &self.mirror, process) {
            view.say(Event::ProcessStarted { at, process });
        }
        for flow in self.mirror.flows_of(Some(id)) {
            view.say(Event::FlowOpened { at, flow: flow.clone() });
        }
        let rules = self.mirror.rules_of(id);
        if !rules.is_empty() {
            view.say(Event::ProcessRules { at, id, rules: rules.to_vec() });
        }
        for refusal in self.mirror.refusals_of(Some(id)) {
            view.say(Event::Refused { at, refusal: refusal.clone() });
        }
        files::reveal(view, &self.mirror, &self.owners, scope, at, id);
        // Opening the flows counted their bytes once more; the totals set that right.
        view.recounted(id);
        for child in self.mirror.children_of(id) {
            if let Some(process) = self.owners.process(scope, &self.mirror, child) {
                view.say(Event::ProcessChanged { at, process });
            }
        }
    }

    fn move_sums(&mut self, id: ProcessId, from: Option<u32>, to: Option<u32>) {
        let Some(process) = self.mirror.process(id) else { return };
        let open = self.mirror.flows_of(Some(id)).filter(|f| f.state != FlowState::Closed).count();
        let sum = Sum {
            processes: u64::from(process.exited_at.is_none()),
            open_flows: u64::try_from(open).unwrap_or(u64::MAX),
            tx_bytes: process.tx_bytes,
            rx_bytes: process.rx_bytes,
        };
        self.totals.take(from, sum);
        self.totals.add(to, sum);
    }

    fn settle(&mut self, id: FlowId) {
        for view in self.views.values_mut() {
            view.settled(id);
        }
    }
}

fn own_view(views: &mut BTreeMap<Scope, View>, owner: Option<u32>) -> Option<&mut View> {
    views.get_mut(&Scope::Own(owner?))
}

/// Whether any counter grew.
pub(super) fn exceeds(now: Counters, before: Counters) -> bool {
    now.tx_bytes > before.tx_bytes
        || now.rx_bytes > before.rx_bytes
        || now.tx_packets > before.tx_packets
        || now.rx_packets > before.rx_packets
}

/// Each counter's larger value.
pub(super) fn larger(a: Counters, b: Counters) -> Counters {
    Counters {
        tx_bytes: a.tx_bytes.max(b.tx_bytes),
        rx_bytes: a.rx_bytes.max(b.rx_bytes),
        tx_packets: a.tx_packets.max(b.tx_packets),
        rx_packets: a.rx_packets.max(b.rx_packets),
    }
}

fn grown(before: Counters, now: Counters) -> Sum {
    Sum {
        tx_bytes: now.tx_bytes.saturating_sub(before.tx_bytes),
        rx_bytes: now.rx_bytes.saturating_sub(before.rx_bytes),
        ..Sum::default()
    }
}
