//! What the rules mean for each row: whether it is blocked and what was refused to it.

use std::collections::BTreeMap;

use sekhmet_common::{mirror::Mirror, refusal::Refusal, rule::RuleId, time::Timestamp};

use super::{
    key::{HostKey, Member},
    ledger::{Group, Ledger, Proc},
};

/// What rules did to one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that blocks everything in this row that runs.
    pub rule: Option<RuleId>,
    /// Running processes in this row that are blocked.
    pub blocked: usize,
    /// Attempts that were refused.
    pub refused: u64,
    /// The last of them.
    pub last: Timestamp,
}

impl Verdict {
    /// Whether there is nothing to tell.
    pub fn is_none(&self) -> bool {
        self.blocked == 0 && self.refused == 0
    }

    fn add(&mut self, refusal: &Refusal) {
        self.refused = self.refused.saturating_add(refusal.attempts);
        self.last = self.last.max(refusal.last_at);
    }
}

/// The verdicts on every process that has one.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(BTreeMap<Member, Verdict>);

impl Verdicts {
    /// Reads them from the mirror.
    pub fn of(mirror: &Mirror) -> Self {
        let mut all: BTreeMap<Member, Verdict> = BTreeMap::new();
        for (process, rules) in mirror.blocked() {
            // A rule that this user may not see blocks all the same.
            let known = rules.iter().find(|id| mirror.rule(**id).is_some()).or(rules.first());
            let verdict = all.entry(Some(process)).or_default();
            (verdict.rule, verdict.blocked) = (known.copied(), 1);
        }
        for refusal in mirror.refusals() {
            all.entry(refusal.process).or_default().add(refusal);
        }
        Self(all)
    }

    /// The verdict on a process.
    pub fn proc(&self, member: Member, proc: &Proc) -> Verdict {
        let verdict = self.0.get(&member).copied().unwrap_or_default();
        if proc.is_exited() { Verdict { rule: None, blocked: 0, ..verdict } } else { verdict }
    }

    /// The verdict on a program or a user: blocked if everything that runs is.
    pub fn group(&self, ledger: &Ledger, group: &Group) -> Verdict {
        if self.0.is_empty() {
            return Verdict::default();
        }
        let mut sum = Verdict::default();
        let mut running = 0;
        for member in &group.members {
            let Some(proc) = ledger.proc(*member) else { continue };
            running += usize::from(!proc.is_exited());
            let one = self.proc(*member, proc);
            sum.blocked += one.blocked;
            sum.refused = sum.refused.saturating_add(one.refused);
            sum.last = sum.last.max(one.last);
            sum.rule = sum.rule.or(one.rule);
        }
        if sum.blocked < running {
            sum.rule = None;
        }
        sum
    }
}

/// The host that a refusal was about.
pub fn host_of(refusal: &Refusal) -> HostKey {
    match &refusal.remote_name {
        Some(name) if !name.name.is_empty() => HostKey::Name(name.name.clone()),
        _ => HostKey::Addr(refusal.remote.addr),
    }
}

/// What was refused between one process and each host.
pub fn by_host(mirror: &Mirror, member: Member) -> BTreeMap<HostKey, Verdict> {
    let mut hosts: BTreeMap<HostKey, Verdict> = BTreeMap::new();
    for refusal in mirror.refusals_of(member) {
        hosts.entry(host_of(refusal)).or_default().add(refusal);
    }
    hosts
}

/// What a rule refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// How many attempts.
    pub count: u64,
    /// When the last one was, as far as that is listed.
    pub last: Option<Timestamp>,
}

/// What every rule refused. A rule's own count comes seldom; the listed refusals may be further.
pub fn hits(mirror: &Mirror) -> BTreeMap<RuleId, Hits> {
    let mut listed: BTreeMap<RuleId, Hits> = BTreeMap::new();
    for refusal in mirror.refusals() {
        let hits = listed.entry(refusal.rule).or_default();
        hits.count = hits.count.saturating_add(refusal.attempts);
        hits.last = hits.last.max(Some(refusal.last_at));
    }
    for rule in mirror.rules() {
        let hits = listed.entry(rule.id).or_default();
        hits.count = hits.count.max(rule.hits);
    }
    listed
}
