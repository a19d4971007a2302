//! Changes under way: ordered from the edges, and what follows when they answer.

use sekhmet_common::{
    rule::{Lifetime, RuleEnd, RuleId},
    time::Timestamp,
};

use super::Stage;
use crate::engine::{
    Engine,
    deadlines::{Due, SECOND},
    input::{
        Applied, Binding, Change, ChangeId, ChangeStep, Effect, ProcessKey, ProgramKey, Ticket, WishError,
    },
};

/// What waits for an edge's answer.
#[derive(Debug)]
pub(super) enum Pending {
    /// A new rule.
    Add { ticket: Ticket, id: RuleId, processes: Vec<ProcessKey> },
    /// The end of rules.
    Remove { ticket: Option<Ticket>, ids: Vec<RuleId>, end: RuleEnd },
    /// A rule in force that blocks more.
    Extend { id: RuleId, processes: Vec<ProcessKey> },
    /// Sockets of processes that were bound by what they execute.
    Follow,
}

impl Engine {
    /// Asks the edges for a change.
    pub(super) fn order(&mut self, step: ChangeStep, keeps: bool, pending: Pending) {
        self.rules.last_change += 1;
        let id = ChangeId(self.rules.last_change);
        let keep = keeps.then(|| self.rules.to_keep());
        self.rules.pending.insert(id, pending);
        self.rules.orders.push(Effect::Change(Change { id, step, keep }));
    }

    /// The edges answered.
    pub(in crate::engine) fn applied(
        &mut self,
        now: Timestamp,
        id: ChangeId,
        result: Result<Applied, String>,
    ) {
        match (self.rules.pending.remove(&id), result) {
            (Some(Pending::Add { ticket, id, processes }), Ok(applied)) => {
                self.learn(id, &applied.programs);
                self.rule_came(now, id, processes.into_iter().chain(applied.bound));
                self.rules.answer(Some(ticket), Ok(vec![id]));
            }
            (Some(Pending::Add { ticket, id, .. }), Err(reason)) => {
                self.rules.entries.remove(&id);
                self.rules.answer(Some(ticket), Err(WishError::Failed(reason)));
            }
            (Some(Pending::Remove { ticket, ids, end }), Ok(_)) => {
                ids.iter().for_each(|&id| self.rule_left(now, id, end));
                self.rules.answer(ticket, Ok(ids));
            }
            (Some(Pending::Remove { ticket, ids, .. }), Err(reason)) => {
                for id in ids {
                    if let Some(entry) = self.rules.entries.get_mut(&id) {
                        entry.stage = Stage::InForce;
                        if ticket.is_none() {
                            self.deadlines.after(SECOND, Due::RuleOver(id));
                        }
                    }
                }
                self.rules.answer(ticket, Err(WishError::Failed(reason)));
            }
            (Some(Pending::Extend { id, processes }), Ok(applied)) => {
                self.learn(id, &applied.programs);
                self.bind_all(now, id, processes.into_iter().chain(applied.bound));
            }
            // The next program that is executed from there tries again.
            (Some(Pending::Extend { .. }), Err(_)) | (None, _) => {}
            // Who could not be seen to is looked at with all others, a second later.
            (Some(Pending::Follow), _) => {}
        }
        self.follow_on();
    }

    /// Has the edges see to the sockets of those who were bound by what they execute, one order at a time: those who
    /// come meanwhile are in the next.
    pub(super) fn follow_on(&mut self) {
        let is_under_way = self.rules.pending.values().any(|pending| matches!(pending, Pending::Follow));
        if is_under_way || self.rules.to_follow.is_empty() || self.rules.pending.len() >= super::CHANGES_MAX {
            return;
        }
        let processes = std::mem::take(&mut self.rules.to_follow).into_iter().collect();
        self.order(ChangeStep::Follow(processes), false, Pending::Follow);
    }

    /// The edges found the file that a rule's path names now. What executes it is known by that from now on.
    fn learn(&mut self, id: RuleId, programs: &[ProgramKey]) {
        if let Some(entry) = self.rules.entries.get_mut(&id) {
            let known = &mut entry.kept.programs;
            let new: Vec<ProgramKey> = programs.iter().copied().filter(|p| !known.contains(p)).collect();
            known.extend(new);
        }
    }

    fn rule_came(&mut self, now: Timestamp, id: RuleId, processes: impl Iterator<Item = ProcessKey>) {
        let Some(entry) = self.rules.entries.get_mut(&id) else { return };
        entry.stage = Stage::InForce;
        let lifetime = entry.kept.rule.lifetime;
        let kept = entry.kept.clone();
        self.ledger.add_rule(now, &kept);
        self.bind_all(now, id, processes);
        if let Lifetime::Seconds(n) = lifetime {
            self.deadlines.after(n.saturating_mul(SECOND), Due::RuleOver(id));
        }
        if self.is_over(id) {
            // Everything ended while the rule came.
            self.rule_due(id);
        }
    }

    fn rule_left(&mut self, now: Timestamp, id: RuleId, end: RuleEnd) {
        if self.rules.entries.remove(&id).is_none() {
            return;
        }
        let blocked = self.ledger.mirror().blocked().filter(|(_, rules)| rules.contains(&id));
        let freed: Vec<_> = blocked
            .map(|(process, rules)| (process, rules.iter().copied().filter(|&r| r != id).collect::<Vec<_>>()))
            .collect();
        for (process, rules) in freed {
            self.ledger.block_process(now, process, rules);
        }
        self.rules.refusals.forget_rule(id);
        self.ledger.remove_rule(now, id, end);
    }

    /// A rule in force is found to concern another program or process.
    pub(super) fn extend(&mut self, id: RuleId, processes: Vec<ProcessKey>, program: Option<ProgramKey>) {
        let under_way = |p: &Pending| matches!(p, Pending::Extend { id: other, .. } if *other == id);
        if self.rules.pending.values().filter(|p| under_way(p)).count() >= super::CHANGES_MAX {
            return;
        }
        let Some(entry) = self.rules.entries.get_mut(&id) else { return };
        let learned = program.filter(|key| !entry.kept.programs.contains(key));
        entry.kept.programs.extend(learned);
        let binding = Binding {
            rule: entry.kept.rule.clone(),
            processes: processes.clone(),
            programs: learned.into_iter().collect(),
            path: None,
        };
        self.order(ChangeStep::Extend(binding), learned.is_some(), Pending::Extend { id, processes });
    }
}
