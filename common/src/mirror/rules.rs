//! The part of the mirror that knows which rules are in force, whom they block and what they refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::Event,
    process::ProcessId,
    refusal::{Refusal, RefusalId},
    rule::{Rule, RuleId},
    time::Timestamp,
};

/// Rules, the processes that they block, and refusals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    rules: BTreeMap<RuleId, Rule>,
    by_process: BTreeMap<ProcessId, Vec<RuleId>>,
    refusals: BTreeMap<RefusalId, Refusal>,
    refusals_by_process: BTreeMap<Option<ProcessId>, BTreeSet<RefusalId>>,
}

impl Rules {
    pub(super) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    pub(super) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(&id)
    }

    pub(super) fn of(&self, process: ProcessId) -> &[RuleId] {
        self.by_process.get(&process).map_or(&[], Vec::as_slice)
    }

    pub(super) fn blocked(&self) -> impl Iterator<Item = (ProcessId, &[RuleId])> {
        self.by_process.iter().map(|(&id, rules)| (id, rules.as_slice()))
    }

    pub(super) fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.refusals.values()
    }

    pub(super) fn refusal(&self, id: RefusalId) -> Option<&Refusal> {
        self.refusals.get(&id)
    }

    pub(super) fn refusals_of(&self, process: Option<ProcessId>) -> impl Iterator<Item = &Refusal> {
        self.refusals_by_process.get(&process).into_iter().flatten().filter_map(|id| self.refusals.get(id))
    }

    pub(super) fn replicate(&self, at: Timestamp, events: &mut Vec<Event>) {
        events.extend(self.rules.values().map(|r| Event::RuleAdded { at, rule: r.clone() }));
        let blocked = self.by_process.iter();
        events.extend(blocked.map(|(&id, rules)| Event::ProcessRules { at, id, rules: rules.clone() }));
        events.extend(self.refusals.values().map(|r| Event::Refused { at, refusal: r.clone() }));
    }

    /// Lists a rule, or replaces what was known about it.
    pub(super) fn add(&mut self, rule: &Rule) {
        self.rules.insert(rule.id, rule.clone());
    }

    pub(super) fn hit(&mut self, id: RuleId, hits: u64) {
        if let Some(rule) = self.rules.get_mut(&id) {
            rule.hits = hits;
        }
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        self.rules.remove(&id);
        let theirs: Vec<RefusalId> = self.refusals.values().filter(|r| r.rule == id).map(|r| r.id).collect();
        theirs.into_iter().for_each(|refusal| self.forget(refusal));
    }

    /// Sets the rules of a process that is listed.
    pub(super) fn bind(&mut self, process: ProcessId, rules: &[RuleId]) {
        if rules.is_empty() {
            self.by_process.remove(&process);
        } else {
            self.by_process.insert(process, rules.to_vec());
        }
    }

    /// Lists a refusal of a rule that is listed. Attempts never go back.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        if !self.rules.contains_key(&refusal.rule) {
            return;
        }
        let known = self.refusals.get(&refusal.id).map(|known| (known.attempts, known.process));
        if let Some((_, process)) = known.filter(|&(_, process)| process != refusal.process) {
            self.unlink(refusal.id, process);
        }
        let attempts = known.map_or(0, |(attempts, _)| attempts).max(refusal.attempts);
        self.refusals_by_process.entry(refusal.process).or_default().insert(refusal.id);
        self.refusals.insert(refusal.id, Refusal { attempts, ..refusal.clone() });
    }

    pub(super) fn forget(&mut self, id: RefusalId) {
        if let Some(refusal) = self.refusals.remove(&id) {
            self.unlink(id, refusal.process);
        }
    }

    /// A process is no longer listed, and so neither is what it was refused.
    pub(super) fn drop_process(&mut self, process: ProcessId) {
        self.by_process.remove(&process);
        for id in self.refusals_by_process.remove(&Some(process)).into_iter().flatten() {
            self.refusals.remove(&id);
        }
    }

    fn unlink(&mut self, id: RefusalId, process: Option<ProcessId>) {
        if let Some(ids) = self.refusals_by_process.get_mut(&process) {
            ids.remove(&id);
            if ids.is_empty() {
                self.refusals_by_process.remove(&process);
            }
        }
    }
}
