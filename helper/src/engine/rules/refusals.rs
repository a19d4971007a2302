//! What was refused: gathered between ticks, told as one line for each process, remote and rule.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    process::ProcessId,
    refusal::{REFUSALS_MAX, Refusal, RefusalId},
    rule::RuleId,
    time::Timestamp,
};

use crate::engine::{Engine, input::RefusedSight};

/// What makes two attempts the same refusal.
type What = (RuleId, Option<ProcessId>, Protocol, Direction, Endpoint);

/// The listed refusals and what is still to be told.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_what: HashMap<What, RefusalId>,
    listed: BTreeMap<RefusalId, Refusal>,
    /// Oldest first. Holds those that left, too, until their turn comes.
    order: VecDeque<RefusalId>,
    untold: BTreeSet<RefusalId>,
    hits: BTreeMap<RuleId, u64>,
    last_id: u64,
}

impl Refusals {
    pub(super) fn forget_rule(&mut self, rule: RuleId) {
        self.hits.remove(&rule);
        self.forget(|refusal| refusal.rule == rule);
    }

    fn forget(&mut self, gone: impl Fn(&Refusal) -> bool) {
        let ids: Vec<RefusalId> = self.listed.values().filter(|r| gone(r)).map(|r| r.id).collect();
        ids.into_iter().for_each(|id| self.drop_one(id));
        while self.order.front().is_some_and(|id| !self.listed.contains_key(id)) {
            self.order.pop_front();
        }
    }

    fn drop_one(&mut self, id: RefusalId) {
        if let Some(r) = self.listed.remove(&id) {
            self.by_what.remove(&what(&r));
            self.untold.remove(&id);
        }
    }

    /// Makes room for one more. Which refusal left for it.
    fn make_room(&mut self) -> Option<RefusalId> {
        while self.listed.len() >= REFUSALS_MAX {
            let oldest = self.order.pop_front()?;
            if self.listed.contains_key(&oldest) {
                self.drop_one(oldest);
                return Some(oldest);
            }
        }
        None
    }
}

fn what(r: &Refusal) -> What {
    (r.rule, r.process, r.protocol, r.direction, r.remote)
}

impl Engine {
    /// An edge saw attempts that a rule refused.
    pub(in crate::engine) fn refused(&mut self, now: Timestamp, sight: &RefusedSight) {
        // An attempt may be told after the end of its rule; nobody looks for it any more.
        let Some(rule) = RuleId::new(sight.rule.into()).filter(|id| self.rules.entries.contains_key(id))
        else {
            return;
        };
        let process = sight.owner.and_then(|key| self.owner_of(sight.at, key));
        let mut remote = sight.remote;
        if sight.direction == Direction::Inbound {
            remote.port = 0;
        }
        let refusals = &mut self.rules.refusals;
        let hits = refusals.hits.entry(rule).or_default();
        *hits = hits.saturating_add(sight.attempts);
        let key = (rule, process, sight.protocol, sight.direction, remote);
        if !refusals.by_what.contains_key(&key) {
            if let Some(gone) = refusals.make_room() {
                self.ledger.forget_refusal(now, gone);
            }
            let refusals = &mut self.rules.refusals;
            refusals.last_id += 1;
            let id = RefusalId(refusals.last_id);
            let (protocol, direction) = (sight.protocol, sight.direction);
            let (first_at, last_at, attempts, remote_name) = (sight.at, sight.at, 0, None);
            refusals.by_what.insert(key, id);
            refusals.order.push_back(id);
            refusals.listed.insert(
                id,
                Refusal {
                    id,
                    rule,
                    process,
                    protocol,
                    direction,
                    remote,
                    remote_name,
                    first_at,
                    last_at,
                    attempts,
                },
            );
        }
        let refusals = &mut self.rules.refusals;
        let Some(id) = refusals.by_what.get(&key) else { return };
        if let Some(refusal) = refusals.listed.get_mut(id) {
            refusal.attempts = refusal.attempts.saturating_add(sight.attempts);
            refusal.last_at = refusal.last_at.max(sight.at);
            refusals.untold.insert(*id);
        }
    }

    /// A process leaves the list, and what it was refused with it.
    pub(in crate::engine) fn forget_refusals_of(&mut self, process: ProcessId) {
        if !self.rules.refusals.listed.is_empty() {
            self.rules.refusals.forget(|refusal| refusal.process == Some(process));
        }
    }

    /// Tells what was refused since the last tick.
    pub(in crate::engine) fn tell_refusals(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.rules.refusals.untold) {
            let Some(refusal) = self.rules.refusals.listed.get(&id) else { continue };
            if self.rules.entries.get(&refusal.rule).is_some_and(|e| e.stage != super::Stage::Coming) {
                self.ledger.refuse(now, refusal.clone());
            } else {
                self.rules.refusals.untold.insert(id);
            }
        }
        let hits: Vec<(RuleId, u64)> = self.rules.refusals.hits.iter().map(|(&id, &n)| (id, n)).collect();
        for (id, hits) in hits {
            let Some(entry) = self.rules.entries.get_mut(&id).filter(|e| e.kept.rule.hits != hits) else {
                continue;
            };
            if entry.stage != super::Stage::Coming {
                entry.kept.rule.hits = hits;
                let kept = entry.kept.clone();
                self.ledger.add_rule(now, &kept);
            }
        }
    }
}
