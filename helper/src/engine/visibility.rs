//! Who may see what: the only place where a process's visibility is decided.
//!
//! A scope [`Scope::Own`] sees the processes whose real, effective, saved and file-system user ids are all
//! that user's, and their flows. Nothing else reaches it: no id, no name, no parent.

use std::collections::HashMap;

use sekhmet_common::{
    event::Event,
    flow::Flow,
    mirror::{Mirror, Others},
    process::{Process, ProcessId},
    rule::{Rule, RuleId, Subject},
    time::Timestamp,
};

use super::input::Scope;

/// The sole owner of each listed process. Processes that belong to nobody alone are not in here.
#[derive(Debug, Default)]
pub(super) struct Owners {
    processes: HashMap<ProcessId, u32>,
    rules: HashMap<RuleId, RuleSight>,
}

/// Who beside those who see everything may see a rule.
#[derive(Clone, Copy, Debug)]
struct RuleSight {
    /// A program is everybody's: whoever runs it must be able to learn why it is blocked.
    everybody: bool,
    added_by: u32,
    /// To whom the process belonged that the rule was made for.
    subject_of: Option<u32>,
}

impl Owners {
    /// The user to whom this process belongs wholly.
    pub(super) fn of(&self, id: ProcessId) -> Option<u32> {
        self.processes.get(&id).copied()
    }

    /// The user to whom a flow of this process belongs.
    pub(super) fn of_flow(&self, process: Option<ProcessId>) -> Option<u32> {
        process.and_then(|id| self.of(id))
    }

    /// Notes to whom a process belongs now.
    pub(super) fn set(&mut self, id: ProcessId, owner: Option<u32>) {
        match owner {
            Some(uid) => self.processes.insert(id, uid),
            None => self.processes.remove(&id),
        };
    }

    /// The process as this scope may see it, if it may.
    pub(super) fn process(&self, scope: Scope, mirror: &Mirror, process: &Process) -> Option<Process> {
        let sees = |id| self.sees(scope, id) && mirror.process(id).is_some();
        self.sees(scope, process.id)
            .then(|| Process { parent_id: process.parent_id.filter(|&id| sees(id)), ..process.clone() })
    }

    /// Whether this scope may see a process.
    pub(super) fn sees(&self, scope: Scope, id: ProcessId) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(uid) => self.of(id) == Some(uid),
        }
    }

    /// Whether this scope may see a flow.
    pub(super) fn sees_flow(&self, scope: Scope, flow: &Flow) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(_) => flow.process.is_some_and(|id| self.sees(scope, id)),
        }
    }

    /// Notes who may see a rule. To whom its process belonged when it was made stays.
    pub(super) fn set_rule(&mut self, rule: &Rule, subject_of: Option<u32>) {
        let everybody = matches!(rule.subject, Subject::Program { .. });
        let sight = RuleSight { everybody, added_by: rule.added_by, subject_of };
        self.rules.entry(rule.id).or_insert(sight);
    }

    /// A rule is over.
    pub(super) fn forget_rule(&mut self, id: RuleId) {
        self.rules.remove(&id);
    }

    /// Whether this scope may see a rule.
    pub(super) fn sees_rule(&self, scope: Scope, id: RuleId) -> bool {
        match (scope, self.rules.get(&id)) {
            (Scope::All, _) => true,
            (Scope::Own(_), None) => false,
            (Scope::Own(uid), Some(s)) => s.everybody || s.added_by == uid || s.subject_of == Some(uid),
        }
    }

    /// A snapshot of the mirror for one scope; `others` is the total of what it may not see.
    pub(super) fn snapshot(
        &self,
        scope: Scope,
        mirror: &Mirror,
        others: Option<Others>,
        now: Timestamp,
    ) -> Vec<Event> {
        let mut events: Vec<Event> = mirror
            .replicate(now)
            .into_iter()
            .filter_map(|event| match event {
                Event::ProcessStarted { at, process } => {
                    let process = self.process(scope, mirror, &process)?;
                    Some(Event::ProcessStarted { at, process })
                }
                Event::FlowOpened { ref flow, .. } => self.sees_flow(scope, flow).then_some(event),
                Event::RuleAdded { ref rule, .. } => self.sees_rule(scope, rule.id).then_some(event),
                Event::ProcessRules { id, .. } => self.sees(scope, id).then_some(event),
                Event::Refused { ref refusal, .. } => {
                    let sees = scope == Scope::All || refusal.process.is_some_and(|id| self.sees(scope, id));
                    sees.then_some(event)
                }
                about_the_helper => Some(about_the_helper),
            })
            .collect();
        if let Some(Others { at, processes, open_flows, tx_bytes, rx_bytes }) = others {
            let end = events.len().saturating_sub(1);
            events.insert(end, Event::Others { at, processes, open_flows, tx_bytes, rx_bytes });
        }
        events
    }
}
