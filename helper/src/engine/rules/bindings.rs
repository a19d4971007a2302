//! Which processes a rule blocks: followed over fork, exec and exit as the kernel programs do it.

use sekhmet_common::{kernel::policy::BOUND_MAX, process::ProcessId, rule::RuleId, time::Timestamp};

use super::Stage;
use crate::engine::{
    Engine,
    input::{KeptRule, ProcessKey},
};

impl Engine {
    /// Tells that these processes are blocked.
    pub(super) fn bind_all(&mut self, at: Timestamp, rule: RuleId, keys: impl Iterator<Item = ProcessKey>) {
        let ids: Vec<ProcessId> = keys.filter_map(|key| self.processes.by_key.get(&key).copied()).collect();
        ids.into_iter().for_each(|id| self.bind(at, id, &[rule]));
    }

    /// A process began, or became another program: the kernel has given it the rules of its parent, those
    /// made for it, and those of its program.
    pub(in crate::engine) fn subject_to_rules(&mut self, at: Timestamp, id: ProcessId) {
        if self.rules.entries.is_empty() {
            return;
        }
        let Some(record) = self.processes.records.get(&id) else { return };
        let (key, program) = (record.key, record.image.program);
        let parent = self.ledger.mirror().process(id).and_then(|p| p.parent_id);
        let mut rules = parent.map_or_else(Vec::new, |p| self.ledger.mirror().rules_of(p).to_vec());
        let runs = |k: &&KeptRule| program.is_some_and(|p| k.programs.contains(&p));
        let before = self.ledger.mirror().rules_of(id);
        let is_new = |k: &KeptRule| !before.contains(&k.rule.id) && !rules.contains(&k.rule.id);
        let has_new = self.rules.in_force().filter(runs).any(is_new);
        let own = self.rules.in_force().filter(|k| k.process == Some(key) || runs(k)).map(|k| k.rule.id);
        rules.extend(own.collect::<Vec<_>>());
        if has_new {
            self.rules.to_follow.insert(key);
            self.follow_on();
        }
        rules.extend(self.rules.bound_before.remove(&key).unwrap_or_default());
        rules.retain(|rule| self.rules.entries.contains_key(rule));
        self.bind(at, id, &rules);
    }

    /// The edges have bound these again, as they were before the helper was started.
    pub(in crate::engine) fn bound_before(&mut self, bound: Vec<(ProcessKey, RuleId)>) {
        for (process, rule) in bound {
            self.rules.bound_before.entry(process).or_default().push(rule);
        }
    }

    /// A process is identified: it may be a rule's program under a path whose file is new, after an update.
    pub(in crate::engine) fn match_path(&mut self, id: ProcessId) {
        if self.rules.entries.is_empty() || self.has_exited(id) {
            return;
        }
        let Some(process) = self.ledger.mirror().process(id) else { return };
        let Some(record) = self.processes.records.get(&id) else { return };
        if !self.is_host_path(record.image.mnt_ns, &process.exe) {
            return;
        }
        let program = record.image.program;
        let bound = self.ledger.mirror().rules_of(id);
        let news: Vec<RuleId> = self
            .rules
            .entries
            .values()
            .filter(|e| e.stage == Stage::InForce && e.kept.by_path)
            .map(|e| &e.kept)
            .filter(|k| matches!(&k.rule.subject, sekhmet_common::rule::Subject::Program { exe } if *exe == process.exe))
            .filter(|k| !bound.contains(&k.rule.id) || program.is_some_and(|p| !k.programs.contains(&p)))
            .map(|k| k.rule.id)
            .collect();
        let processes = if news.is_empty() { Vec::new() } else { self.with_descendants(&[id]) };
        news.into_iter().for_each(|rule| self.extend(rule, processes.clone(), program));
    }

    /// A process ended: perhaps it was the last one that its rules blocked.
    pub(in crate::engine) fn leave_rules(&mut self, id: ProcessId) {
        let rules = self.ledger.mirror().rules_of(id).to_vec();
        for rule in rules {
            let in_force = self.rules.entries.get(&rule).is_some_and(|e| e.stage == Stage::InForce);
            if in_force && self.is_over(rule) {
                self.rule_due(rule);
            }
        }
    }

    /// Everything that runs has been told: kept rules about processes that are gone are over.
    pub(in crate::engine) fn end_stale_rules(&mut self) {
        self.rules.bound_before.clear();
        let over: Vec<RuleId> =
            self.rules.in_force().map(|k| k.rule.id).filter(|&id| self.is_over(id)).collect();
        over.into_iter().for_each(|id| self.rule_due(id));
    }

    fn bind(&mut self, at: Timestamp, id: ProcessId, more: &[RuleId]) {
        if more.is_empty() || self.has_exited(id) {
            return;
        }
        let before = self.ledger.mirror().rules_of(id);
        let mut rules = before.to_vec();
        for rule in more {
            if rules.contains(rule) {
                continue;
            }
            if rules.len() < BOUND_MAX {
                rules.push(*rule);
            } else {
                tracing::warn!(
                    rule = rule.0,
                    process = id.0,
                    "blocked by as many rules as can be, this one left out"
                );
            }
        }
        if rules != before {
            self.ledger.block_process(at, id, rules);
        }
    }
}
