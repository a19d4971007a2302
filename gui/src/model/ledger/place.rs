//! Where a flow stands: adds its figures to every row above it, and takes them out.

use std::{borrow::Cow, collections::btree_map::Entry, net::IpAddr};

use super::*;

/// What to do with a flow's figures in the rows above it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// Add them.
    In,
    /// Take them out.
    Out,
    /// Forget the flow, keep its bytes.
    Unlist,
}

impl Put {
    fn apply(self, row: &mut Side, own: &Side) {
        match self {
            Self::In => row.absorb(own),
            Self::Out => row.release(own),
            Self::Unlist => {
                row.open = row.open.saturating_sub(own.open);
                row.listed = row.listed.saturating_sub(own.listed);
            }
        }
    }
}

impl Ledger {
    /// Applies one flow's figures to its host, process, program, user and the machine.
    pub(super) fn place(&mut self, id: FlowId, how: Put) {
        let now = self.second();
        let Some(c) = self.connections.get_mut(&id) else { return };
        // What left the window has left the rows above too, and cannot be taken out of them again.
        c.side.series.expire(now);
        let (reach, member) = (c.reach, c.flow.process);
        how.apply(self.total.side_mut(reach), &c.side);
        let Some(proc) = self.procs.get_mut(&member) else { return };
        how.apply(proc.tally.side_mut(reach), &c.side);
        for (groups, key) in [(&mut self.programs, &proc.program), (&mut self.users, &proc.user)] {
            if let Some(group) = groups.get_mut(key) {
                how.apply(group.tally.side_mut(reach), &c.side);
            }
        }
        match how {
            Put::In => self.join_host(id),
            Put::Out | Put::Unlist => self.leave_host(id, how),
        }
        self.renew_host_words(member);
    }

    /// Writes anew what a search compares of a process's hosts, once most of it is about hosts that left.
    fn renew_host_words(&mut self, member: Member) {
        let Some(proc) = self.procs.get_mut(&member) else { return };
        if !proc.host_words.is_stale() {
            return;
        }
        let names = proc.hosts.values().map(|host| Cow::Borrowed(host.lower.as_str()));
        let named = proc.hosts.values().filter(|host| host.is_named);
        let addresses: BTreeSet<IpAddr> = named
            .flat_map(|host| host.flows.iter())
            .filter_map(|id| self.connections.get(id))
            .map(|c| c.flow.remote.addr)
            .collect();
        let addresses = addresses.into_iter().map(|addr| Cow::Owned(addr.to_string()));
        proc.host_words = HostWords::of(names.chain(addresses));
    }

    fn join_host(&mut self, id: FlowId) {
        let Some(c) = self.connections.get(&id) else { return };
        let Some(proc) = self.procs.get_mut(&c.flow.process) else { return };
        let source = c.flow.remote_name.as_ref().map(|n| n.source);
        let key = c.host();
        if matches!(key, HostKey::Name(_)) {
            // A host with a name is found by its addresses, too.
            proc.host_words.add(&c.flow.remote.addr.to_string());
        }
        let host = match proc.hosts.entry(key) {
            Entry::Vacant(place) => {
                let label = place.key().label();
                proc.host_words.add(&label.to_lowercase());
                let is_named = matches!(place.key(), HostKey::Name(_));
                place.insert(Host {
                    lower: label.to_lowercase(),
                    label,
                    is_named,
                    source,
                    flows: BTreeSet::from([id]),
                    first_seen: c.flow.opened_at,
                    figures: HostFigures::Flow(id),
                });
                return;
            }
            Entry::Occupied(place) => place.into_mut(),
        };
        host.flows.insert(id);
        host.source = source.or(host.source);
        let slot = match host.figures {
            HostFigures::Own(slot) => slot,
            HostFigures::Flow(first) => {
                let mut tally = Tally::default();
                let slot = match self.connections.get_mut(&first) {
                    Some(first) => {
                        tally.side_mut(first.reach).absorb(&first.side);
                        let slot = self.host_tallies.insert(tally);
                        first.slot = Some(slot);
                        slot
                    }
                    None => self.host_tallies.insert(tally),
                };
                host.figures = HostFigures::Own(slot);
                slot
            }
        };
        if let Some(c) = self.connections.get_mut(&id) {
            c.slot = Some(slot);
            if let Some(tally) = self.host_tallies.get_mut(slot) {
                tally.side_mut(c.reach).absorb(&c.side);
            }
        }
    }

    fn leave_host(&mut self, id: FlowId, how: Put) {
        let Some(c) = self.connections.get_mut(&id) else { return };
        let Some(proc) = self.procs.get_mut(&c.flow.process) else { return };
        let key = c.host();
        let Some(host) = proc.hosts.get_mut(&key) else { return };
        host.flows.remove(&id);
        c.slot = None;
        let slot = match host.figures {
            HostFigures::Own(slot) => {
                if let Some(tally) = self.host_tallies.get_mut(slot) {
                    how.apply(tally.side_mut(c.reach), &c.side);
                }
                slot
            }
            // Its only flow leaves with its bytes, or leaves them behind.
            HostFigures::Flow(_) => {
                let mut tally = Tally::default();
                if how == Put::Unlist {
                    tally.side_mut(c.reach).absorb(&c.side);
                    tally.unlist();
                }
                let slot = self.host_tallies.insert(tally);
                host.figures = HostFigures::Own(slot);
                slot
            }
        };
        if !host.flows.is_empty() {
            return;
        }
        if self.host_tallies.get(slot).is_some_and(|tally| tally.talked(true)) {
            proc.fading.insert(key);
        } else {
            // A flow that moved on to another host leaves no empty row behind.
            self.host_tallies.remove(slot);
            proc.hosts.remove(&key);
        }
    }
}
