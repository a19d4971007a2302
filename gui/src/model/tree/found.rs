//! What a search finds below a program: hosts with flows, and hosts that were only refused.

use std::collections::{BTreeSet, HashMap};

use sekhmet_common::{flow::Flow, refusal::Refusal};

use super::Build;
use crate::model::{
    key::{HostKey, Member},
    ledger::{Group, Host, Ledger, Proc},
    screen::Screen,
    verdict::{self, Verdict},
};

/// What was refused to each process, as far as a search must look at it.
pub(super) fn tried<'a>(ledger: &'a Ledger, screen: &Screen) -> HashMap<Member, Vec<&'a Refusal>> {
    let mut tried: HashMap<Member, Vec<&Refusal>> = HashMap::new();
    if !screen.query.is_empty() {
        for refusal in ledger.mirror().refusals() {
            tried.entry(refusal.process).or_default().push(refusal);
        }
    }
    tried
}

impl Build<'_> {
    /// Whether a group has something to show and matches the search.
    pub(super) fn is_shown(&self, group: &Group, verdict: Verdict) -> bool {
        let told = !verdict.is_none();
        let searching = !self.screen.query.is_empty();
        told && !searching || (told || group.tally.talked(self.screen.local)) && self.matches_group(group)
    }

    fn matches_group(&self, group: &Group) -> bool {
        self.screen.query.is_empty()
            || group.members.iter().filter_map(|m| Some((*m, self.ledger.proc(*m)?))).any(|(m, p)| {
                self.matched(group, m, p).next().is_some() || !self.found_refused(group, m, p).is_empty()
            })
    }

    fn tried(&self, member: Member) -> &[&'_ Refusal] {
        self.tried.get(&member).map_or(&[], Vec::as_slice)
    }

    /// The hosts without flows that a process was refused and that match the search.
    pub(super) fn found_refused(&self, group: &Group, member: Member, proc: &Proc) -> BTreeSet<HostKey> {
        let tried = self.tried(member);
        if tried.is_empty() {
            return BTreeSet::new();
        }
        let Some(rest) = self.screen.query.within(group, proc, tried) else { return BTreeSet::new() };
        let found = tried.iter().filter(|refusal| rest.matches_refusal(refusal));
        found.map(|refusal| verdict::host_of(refusal)).filter(|key| !proc.hosts.contains_key(key)).collect()
    }

    /// The hosts of a process that are shown and match the search.
    pub(super) fn matched<'b>(
        &self,
        group: &Group,
        member: Member,
        proc: &'b Proc,
    ) -> impl Iterator<Item = (&'b HostKey, &'b Host)> {
        let rest = self.screen.query.within(group, proc, self.tried(member));
        rest.into_iter().flat_map(move |rest| {
            proc.hosts.iter().filter(move |(_, host)| {
                self.ledger.host_figures(host).talked(self.screen.local)
                    && rest.matches(host, self.flows(host))
            })
        })
    }

    fn flows(&self, host: &Host) -> impl Iterator<Item = &Flow> {
        host.flows.iter().filter_map(|id| self.ledger.connection(*id)).map(|c| &c.flow)
    }
}
