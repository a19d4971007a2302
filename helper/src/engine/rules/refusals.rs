//! What was refused: gathered between ticks, told as one line for each process, remote and rule.
//!
//! Two see it. The kernel programs see a process ask, and name it; the firewall sees the packet that it refuses,
//! and knows the rule only. What is asked for in the firewall's own network namespace is listed once the firewall
//! has refused a packet of it: it may have been for an address of this machine, which stays free.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    process::ProcessId,
    refusal::{REFUSALS_MAX, Refusal, RefusalId},
    rule::RuleId,
    time::Timestamp,
};

use super::Stage;
use crate::engine::{
    Engine,
    input::{RefusedSight, SeenBy},
};

/// What the firewall knows of an attempt.
type Where = (RuleId, Protocol, Direction, Endpoint);

/// The listed refusals and what is still to be told.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_what: HashMap<(Where, Option<ProcessId>), RefusalId>,
    by_where: HashMap<Where, BTreeSet<RefusalId>>,
    entries: BTreeMap<RefusalId, Entry>,
    /// Oldest first. Holds those that left, too, until their turn comes.
    order: VecDeque<RefusalId>,
    untold: BTreeSet<RefusalId>,
    hits: BTreeMap<RuleId, u64>,
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    refusal: Refusal,
    /// Times that the process asked for it.
    asked: u64,
    /// Packets that were refused.
    packets: u64,
    /// Whether something was refused, and not only asked for.
    is_certain: bool,
}

impl Entry {
    /// A refused connection is one attempt, however often its first packet is sent; a datagram is one each time,
    /// whoever saw it.
    fn attempts(&self) -> u64 {
        if self.refusal.protocol == Protocol::Tcp && self.asked > 0 {
            self.asked
        } else {
            self.asked.max(self.packets)
        }
    }
}

impl Refusals {
    pub(super) fn forget_rule(&mut self, rule: RuleId) {
        self.hits.remove(&rule);
        self.forget(|refusal| refusal.rule == rule);
    }

    /// A rule comes with hits of a former helper's time: further ones are added to them.
    pub(super) fn count_on(&mut self, rule: RuleId, hits: u64) {
        if hits > 0 {
            self.hits.insert(rule, hits);
        }
    }

    fn forget(&mut self, gone: impl Fn(&Refusal) -> bool) {
        let ids: Vec<RefusalId> =
            self.entries.values().filter(|e| gone(&e.refusal)).map(|e| e.refusal.id).collect();
        ids.into_iter().for_each(|id| self.drop_one(id));
        while self.order.front().is_some_and(|id| !self.entries.contains_key(id)) {
            self.order.pop_front();
        }
    }

    fn drop_one(&mut self, id: RefusalId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        let place = place(&entry.refusal);
        self.by_what.remove(&(place, entry.refusal.process));
        if let Some(ids) = self.by_where.get_mut(&place) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_where.remove(&place);
            }
        }
        self.untold.remove(&id);
    }

    /// Makes room for one more. Which refusal left for it.
    fn make_room(&mut self) -> Option<RefusalId> {
        while self.entries.len() >= REFUSALS_MAX {
            let oldest = self.order.pop_front()?;
            if self.entries.contains_key(&oldest) {
                self.recount(oldest);
                self.drop_one(oldest);
                return Some(oldest);
            }
        }
        None
    }

    /// The entry of this process and remote, made if there is none.
    fn entry(&mut self, place: Where, process: Option<ProcessId>, at: Timestamp) -> RefusalId {
        if let Some(&id) = self.by_what.get(&(place, process)) {
            return id;
        }
        self.last_id += 1;
        let id = RefusalId(self.last_id);
        let (rule, protocol, direction, remote) = place;
        let refusal = Refusal {
            id,
            rule,
            process,
            protocol,
            direction,
            remote,
            remote_name: None,
            first_at: at,
            last_at: at,
            attempts: 0,
        };
        self.by_what.insert((place, process), id);
        self.by_where.entry(place).or_default().insert(id);
        self.order.push_back(id);
        self.entries.insert(id, Entry { refusal, asked: 0, packets: 0, is_certain: false });
        id
    }

    /// Who asked for this last.
    fn last_asker(&self, place: &Where) -> Option<ProcessId> {
        let entries = self.by_where.get(place)?.iter().filter_map(|id| self.entries.get(id));
        entries.filter(|e| e.asked > 0).max_by_key(|e| e.refusal.last_at).and_then(|e| e.refusal.process)
    }

    /// The firewall refused something there: whoever asked for it was refused.
    fn confirm(&mut self, place: &Where) {
        for id in self.by_where.get(place).into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(id).filter(|e| !e.is_certain) {
                entry.is_certain = true;
                self.untold.insert(*id);
            }
        }
    }

    /// Brings an entry's attempts up to date, and its rule's hits with them.
    fn recount(&mut self, id: RefusalId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|e| e.is_certain) else { return };
        let attempts = entry.attempts();
        let more = attempts.saturating_sub(entry.refusal.attempts);
        entry.refusal.attempts = entry.refusal.attempts.max(attempts);
        let hits = self.hits.entry(entry.refusal.rule).or_default();
        *hits = hits.saturating_add(more);
    }
}

fn place(r: &Refusal) -> Where {
    (r.rule, r.protocol, r.direction, r.remote)
}

impl Engine {
    /// Something was refused.
    pub(in crate::engine) fn refused(&mut self, now: Timestamp, sight: &RefusedSight) {
        let Some(place) = self.place_of(sight) else { return };
        let process = match sight.seen_by {
            SeenBy::Programs => sight.owner.and_then(|key| self.owner_of(sight.at, key)),
            // Whom the rule was made for is as near as anybody can say, if nobody asked.
            SeenBy::Firewall => self.rules.refusals.last_asker(&place).or_else(|| {
                let subject = self.rules.entries.get(&place.0).and_then(|e| e.kept.process)?;
                self.owner_of(sight.at, subject)
            }),
        };
        let id = self.note(now, place, process, sight, |entry| match sight.seen_by {
            SeenBy::Programs => entry.asked = entry.asked.saturating_add(sight.attempts),
            SeenBy::Firewall => entry.packets = entry.packets.saturating_add(sight.attempts),
        });
        if let Some(entry) = self.rules.refusals.entries.get_mut(&id) {
            entry.is_certain = true;
        }
        self.rules.refusals.confirm(&place);
    }

    /// A process asked for what the firewall is to refuse.
    pub(in crate::engine) fn attempted(&mut self, now: Timestamp, sight: &RefusedSight) {
        let Some(place) = self.place_of(sight) else { return };
        let process = sight.owner.and_then(|key| self.owner_of(sight.at, key));
        self.note(now, place, process, sight, |entry| {
            entry.asked = entry.asked.saturating_add(sight.attempts);
        });
    }

    /// A process leaves the list, and what it was refused with it.
    pub(in crate::engine) fn forget_refusals_of(&mut self, process: ProcessId) {
        if !self.rules.refusals.entries.is_empty() {
            self.rules.refusals.forget(|refusal| refusal.process == Some(process));
        }
    }

    /// Tells what was refused since the last tick.
    pub(in crate::engine) fn tell_refusals(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.rules.refusals.untold) {
            self.rules.refusals.recount(id);
            let Some(entry) = self.rules.refusals.entries.get(&id).filter(|e| e.is_certain) else { continue };
            if self.rules.entries.get(&entry.refusal.rule).is_some_and(|e| e.stage != Stage::Coming) {
                self.ledger.refuse(now, entry.refusal.clone());
            } else {
                self.rules.refusals.untold.insert(id);
            }
        }
        let hits: Vec<(RuleId, u64)> = self.rules.refusals.hits.iter().map(|(&id, &n)| (id, n)).collect();
        for (id, hits) in hits {
            let entry = self.rules.entries.get_mut(&id);
            if let Some(entry) = entry.filter(|e| e.kept.rule.hits != hits && e.stage != Stage::Coming) {
                entry.kept.rule.hits = hits;
                self.ledger.count_hits(now, id, hits);
            }
        }
    }

    /// Where an attempt went. An attempt may be told after the end of its rule; nobody looks for it any more.
    fn place_of(&self, sight: &RefusedSight) -> Option<Where> {
        let rule = RuleId::new(sight.rule.into()).filter(|id| self.rules.entries.contains_key(id))?;
        let mut remote = sight.remote;
        if sight.direction == Direction::Inbound {
            // Whoever knocks uses another port each time.
            remote.port = 0;
        }
        (sight.attempts > 0).then_some((rule, sight.protocol, sight.direction, remote))
    }

    fn note(
        &mut self,
        now: Timestamp,
        place: Where,
        process: Option<ProcessId>,
        sight: &RefusedSight,
        count: impl FnOnce(&mut Entry),
    ) -> RefusalId {
        if !self.rules.refusals.by_what.contains_key(&(place, process))
            && let Some(gone) = self.rules.refusals.make_room()
        {
            self.ledger.forget_refusal(now, gone);
        }
        let refusals = &mut self.rules.refusals;
        let id = refusals.entry(place, process, sight.at);
        if let Some(entry) = refusals.entries.get_mut(&id) {
            count(entry);
            entry.refusal.last_at = entry.refusal.last_at.max(sight.at);
            refusals.untold.insert(id);
        }
        id
    }
}
