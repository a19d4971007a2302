//! From wishes to rules in force and back: what is wanted, under way, in force, over.
//!
//! A rule is told to clients only when the edges have said that it is enforced, and is told to be gone only
//! when they have said that it is no longer.

mod bindings;
mod changes;
mod refusals;
mod subjects;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sekhmet_common::{
    kernel::policy,
    process::ProcessId,
    rule::{Draft, Lifetime, RULES_MAX, Rule, RuleEnd, RuleId},
    time::Timestamp,
};

use self::{changes::Pending, refusals::Refusals};
use super::{
    Engine,
    deadlines::{Due, SECOND},
    input::{
        Binding, ChangeId, ChangeStep, Deed, Effect, FreezeResult, Frozen, FrozenRule, KeptRule, ProcessKey,
        ProgramKey, Request, Scope, Ticket, Wish, WishError, WishResult,
    },
};

/// The most changes that may be under way.
const CHANGES_MAX: usize = 64;

/// The kernel keeps a rule in the slot `number % SLOTS`, so no two rules may share one.
const SLOTS: u32 = policy::RULES_MAX as u32;

/// Where a rule is between wish and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The edges work on it.
    Coming,
    /// Enforced.
    InForce,
    /// The edges are taking it away.
    Leaving,
}

/// A rule and all that clients need not know of it.
#[derive(Debug)]
struct Entry {
    kept: KeptRule,
    stage: Stage,
}

/// Every rule, what is under way, and what was refused.
#[derive(Debug, Default)]
pub(super) struct Rules {
    can_enforce: bool,
    entries: BTreeMap<RuleId, Entry>,
    pending: BTreeMap<ChangeId, Pending>,
    last_change: u64,
    last_number: u32,
    refusals: Refusals,
    /// Whom a former helper bound, until they are known: their parents may have ended.
    bound_before: BTreeMap<ProcessKey, Vec<RuleId>>,
    /// Processes that were bound by what they execute, and whose open sockets nobody has seen to yet.
    to_follow: BTreeSet<ProcessKey>,
    /// What is to be said or done at the end of this step.
    orders: Vec<Effect>,
}

impl Rules {
    /// Takes what is to be done now.
    pub(super) fn take_orders(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.orders)
    }

    fn in_force(&self) -> impl Iterator<Item = &KeptRule> {
        self.entries.values().filter(|e| e.stage == Stage::InForce).map(|e| &e.kept)
    }

    /// A number that no rule has, in a slot that no rule has.
    fn next_number(&mut self) -> Option<RuleId> {
        let taken: BTreeSet<u32> = self.entries.keys().map(|id| id.0 % SLOTS).collect();
        let mut number = self.last_number;
        for _ in 0..=SLOTS {
            number = if number >= RuleId::MAX.0 { 1 } else { number + 1 };
            if !taken.contains(&(number % SLOTS)) {
                self.last_number = number;
                return Some(RuleId(number));
            }
        }
        None
    }

    /// Every rule that should outlive the helper: what is in force, and what is coming.
    fn to_keep(&self) -> Arc<[KeptRule]> {
        self.entries.values().filter(|e| e.stage != Stage::Leaving).map(|e| e.kept.clone()).collect()
    }

    fn answer(&mut self, ticket: Option<Ticket>, result: WishResult) {
        self.orders.extend(ticket.map(|ticket| Effect::Answer { ticket, result }));
    }
}

impl Engine {
    /// Whether rules can be enforced here.
    pub(super) fn can_enforce(&mut self, can: bool) {
        self.rules.can_enforce = can;
    }

    /// Says what a request means as things stand. Whoever asks is not authorised yet, and learns no more from
    /// the answer than whether the ids that it named exist.
    pub(super) fn freeze(&mut self, ticket: Ticket, request: &Request) {
        let result = match request {
            Request::Add(draft) => self.freeze_rule(draft),
            Request::Remove(id) => match self.rules.entries.get(id) {
                Some(entry) if entry.stage == Stage::InForce => Ok(Frozen {
                    deed: Deed::Remove(vec![*id]),
                    target: entry.kept.rule.target(),
                    duration: String::new(),
                }),
                _ => Err(WishError::UnknownId("there is no rule with this number")),
            },
            Request::Release => {
                let ids: Vec<RuleId> = self.rules.in_force().map(|kept| kept.rule.id).collect();
                let target = match ids.len() {
                    1 => "the one blocked program or process".to_owned(),
                    n => format!("all {n} blocked programs and processes"),
                };
                Ok(Frozen { deed: Deed::Remove(ids), target, duration: String::new() })
            }
        };
        self.rules.orders.push(Effect::Frozen { ticket, result });
    }

    /// Tells the rules in force that a scope may see.
    pub(super) fn list_rules(&mut self, ticket: Ticket, scope: Scope) {
        let rules = self.ledger.mirror().rules();
        let rules = rules.filter(|r| self.ledger.owners.sees_rule(scope, r.id)).cloned().collect();
        self.rules.orders.push(Effect::Rules { ticket, rules });
    }

    /// An authorised client wishes what was frozen for it.
    pub(super) fn wish(&mut self, now: Timestamp, ticket: Ticket, wish: Wish) {
        let outcome = match wish.deed {
            Deed::Add(rule) => self.wish_rule(now, ticket, rule, wish.by),
            Deed::Remove(ids) => {
                let named = ids.len();
                let ids: Vec<RuleId> = ids
                    .into_iter()
                    .filter(|id| self.rules.entries.get(id).is_some_and(|e| e.stage == Stage::InForce))
                    .collect();
                if ids.is_empty() && named == 1 {
                    Err(WishError::UnknownId("this rule has ended meanwhile"))
                } else {
                    self.remove_rules(Some(ticket), ids, RuleEnd::Removed)
                }
            }
        };
        if let Err(error) = outcome {
            self.rules.answer(Some(ticket), Err(error));
        }
    }

    /// Rules that were kept over a restart and that the edges enforce already.
    pub(super) fn rules_kept(&mut self, now: Timestamp, kept: Vec<KeptRule>) {
        for kept in kept {
            let id = kept.rule.id;
            self.rules.last_number = self.rules.last_number.max(id.0);
            if let Some(expires_at) = kept.rule.expires_at {
                let left = expires_at.nanos_since(now);
                self.deadlines.after(left, Due::RuleOver(id));
            }
            self.rules.refusals.count_on(id, kept.rule.hits);
            self.ledger.add_rule(now, &kept);
            self.rules.entries.insert(id, Entry { kept, stage: Stage::InForce });
        }
    }

    /// A mark of a rule that is gone may still be on a socket: rules to come have other numbers.
    pub(super) fn continue_after(&mut self, number: u32) {
        self.rules.last_number = self.rules.last_number.max(number);
    }

    fn freeze_rule(&self, draft: &Draft) -> FreezeResult {
        self.room_for_rule()?;
        draft.check().map_err(|unknown| WishError::Invalid(unknown.0))?;
        let frozen = self.resolve(draft)?;
        let target = frozen.subject.target();
        Ok(Frozen { deed: Deed::Add(frozen), target, duration: draft.lifetime.phrase() })
    }

    fn room_for_rule(&self) -> Result<(), WishError> {
        if !self.rules.can_enforce {
            return Err(WishError::Unavailable("this machine does not let Sekhmet block; see the coverage"));
        }
        if self.rules.entries.len() >= RULES_MAX || self.rules.pending.len() >= CHANGES_MAX {
            return Err(WishError::TooMany("there are as many rules as there may be"));
        }
        Ok(())
    }

    fn wish_rule(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        wanted: FrozenRule,
        by: u32,
    ) -> Result<(), WishError> {
        self.room_for_rule()?;
        let roots = self.roots_of(&wanted)?;
        let FrozenRule { subject, process, programs, by_path, draft } = wanted;
        let id = self.rules.next_number().ok_or(WishError::TooMany("every number for rules is in use"))?;
        let expires_at = match draft.lifetime {
            Lifetime::Seconds(n) => {
                Some(now.plus_nanos(i64::try_from(n.saturating_mul(SECOND)).unwrap_or(i64::MAX)))
            }
            _ => None,
        };
        let rule = Rule {
            id,
            subject,
            ways: draft.ways,
            answer: draft.answer,
            extent: draft.extent,
            lifetime: draft.lifetime,
            added_at: now,
            expires_at,
            added_by: by,
            added_by_user: self.processes.users.get(&by).cloned(),
            hits: 0,
        };
        let processes = self.with_descendants(&roots);
        let programs: BTreeSet<ProgramKey> = programs
            .into_iter()
            .chain(by_path.then(|| self.programs_of(&roots)).into_iter().flatten())
            .collect();
        let kept = KeptRule { rule, process, programs: programs.into_iter().collect(), by_path };
        let binding = Binding {
            rule: kept.rule.clone(),
            processes: processes.clone(),
            programs: kept.programs.clone(),
            path: by_path.then(|| kept.rule.subject.exe().clone()),
        };
        self.rules.entries.insert(id, Entry { kept, stage: Stage::Coming });
        self.order(ChangeStep::Add(binding), true, Pending::Add { ticket, id, processes });
        Ok(())
    }

    /// A rule's time is over, nothing of it runs any more, or the edges could not take it away before.
    pub(super) fn rule_due(&mut self, id: RuleId) {
        let Some(entry) = self.rules.entries.get(&id).filter(|e| e.stage == Stage::InForce) else { return };
        if self.is_over(id) {
            self.end_rules(vec![id], RuleEnd::Exited);
        } else if entry.kept.rule.expires_at.is_some() {
            self.end_rules(vec![id], RuleEnd::Expired);
        }
    }

    /// Every process for which the rule was made has ended, and so has all that they started.
    pub(super) fn is_over(&self, id: RuleId) -> bool {
        let Some(entry) = self.rules.entries.get(&id) else { return false };
        if entry.kept.rule.lifetime != Lifetime::UntilExit && entry.kept.process.is_none() {
            return false;
        }
        let mut bound = self.ledger.mirror().blocked().filter(|(_, rules)| rules.contains(&id));
        !bound.any(|(process, _)| !self.has_exited(process))
    }

    fn end_rules(&mut self, ids: Vec<RuleId>, end: RuleEnd) {
        if self.remove_rules(None, ids.clone(), end).is_err() {
            // Too much is under way.
            ids.into_iter().for_each(|id| self.deadlines.after(SECOND, Due::RuleOver(id)));
        }
    }

    fn remove_rules(
        &mut self,
        ticket: Option<Ticket>,
        ids: Vec<RuleId>,
        end: RuleEnd,
    ) -> Result<(), WishError> {
        if ids.is_empty() {
            self.rules.answer(ticket, Ok(ids));
            return Ok(());
        }
        if self.rules.pending.len() >= CHANGES_MAX {
            return Err(WishError::TooMany("too many changes are under way"));
        }
        for id in &ids {
            if let Some(entry) = self.rules.entries.get_mut(id) {
                entry.stage = Stage::Leaving;
            }
        }
        self.order(ChangeStep::Remove(ids.clone()), true, Pending::Remove { ticket, ids, end });
        Ok(())
    }

    /// The rules that are about to block a process.
    pub(super) fn rules_about_to_block(&self, id: ProcessId) -> impl Iterator<Item = &Rule> {
        let key = self.processes.records.get(&id).map(|r| r.key);
        self.rules.pending.values().filter_map(move |pending| match pending {
            Pending::Add { id, processes, .. } if key.is_some_and(|k| processes.contains(&k)) => {
                self.rules.entries.get(id).map(|e| &e.kept.rule)
            }
            _ => None,
        })
    }
}
