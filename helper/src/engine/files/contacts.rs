//! Whom a program reached after it had opened a watched file: "after", and no word on why.
//!
//! A read is remembered for a minute. A flow of its process, or of one that this process started, is told as a contact
//! if the program never reached that address before, or if more than a little was sent since. An expected reader's own
//! contacts are told like all others, and the access says that it was expected; what an expected reader starts is
//! not followed: a shell reads its history, and everything a person starts is its child.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
};

use sekhmet_common::{
    file::{AccessId, Contact, ContactId, ContactReason},
    flow::{Direction, Flow, FlowId, FlowState, Reach},
    process::ProcessId,
    time::Timestamp,
};

use crate::engine::{Engine, deadlines::SECOND};

/// How long after a read a contact is told.
const WINDOW_NS: u64 = 60 * SECOND;

/// More than this sent since the read is told even if the address is not new: a private key has 400 bytes to 3 kB, a
/// question to a name server and the beginning of a TLS connection less than 2 kB.
const SENT_MIN: u64 = 4096;

/// The most reads that are remembered.
const READS_MAX: usize = 4096;

/// The most reads that one flow is told to come after: the last ones.
const READS_OF_FLOW_MAX: usize = 8;

/// The most contacts after one access, and in all.
const OF_ACCESS_MAX: usize = 16;
const CONTACTS_MAX: usize = 8192;

/// The most flows that are counted for one access as left out.
const LEFT_OUT_MAX: usize = 256;

/// The most flows whose bytes before one read are remembered.
const FLOWS_MAX: usize = 256;

/// The most ancestors that are looked through for a read.
const DEPTH_MAX: usize = 64;

/// How many new contacts are remembered for reads that are told late, and for how long.
const OPENINGS_MAX: usize = 1024;
const LATE_NS: u64 = 5 * SECOND;

/// Ports of name servers (RFC 1035, RFC 7858). A program asks them before it reaches anybody else: that alone is not
/// worth telling.
const NAME_PORTS: [u16; 2] = [53, 853];

/// The reads of the last minute and what came after.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    reads: BTreeMap<AccessId, Read>,
    by_process: HashMap<ProcessId, BTreeSet<AccessId>>,
    openings: VecDeque<Opening>,
    listed: HashMap<(AccessId, FlowId), Contact>,
    per_access: HashMap<AccessId, usize>,
    untold: BTreeSet<(AccessId, FlowId)>,
    /// Accesses of which more is left out than was told.
    less: BTreeSet<AccessId>,
    last_id: u64,
}

#[derive(Debug)]
struct Read {
    process: ProcessId,
    at: Timestamp,
    /// What flows had sent by then.
    sent_before: HashMap<FlowId, u64>,
    /// Flows that would be contacts if there were room, and whether the reader itself has them.
    left_out: BTreeMap<FlowId, bool>,
}

impl Read {
    fn new(process: ProcessId, at: Timestamp) -> Self {
        Self { process, at, sent_before: HashMap::new(), left_out: BTreeMap::new() }
    }
}

/// A program reached a new address.
#[derive(Debug)]
struct Opening {
    at: Timestamp,
    flow: FlowId,
}

impl Contacts {
    /// An access is no longer listed.
    pub(super) fn forget(&mut self, access: AccessId) {
        self.forget_read(access);
        if self.per_access.remove(&access).is_some() {
            self.listed.retain(|(other, _), _| *other != access);
            self.untold.retain(|(other, _)| *other != access);
        }
    }

    /// A process is no longer listed.
    pub(super) fn left(&mut self, process: ProcessId) {
        for access in self.by_process.remove(&process).into_iter().flatten() {
            self.reads.remove(&access);
        }
    }

    fn forget_read(&mut self, access: AccessId) {
        let Some(read) = self.reads.remove(&access) else { return };
        if let Some(ids) = self.by_process.get_mut(&read.process) {
            ids.remove(&access);
            if ids.is_empty() {
                self.by_process.remove(&read.process);
            }
        }
    }

    /// The reads of these processes that lie at most the window before `at`, the last one first.
    fn reads_before(&self, family: &[ProcessId], at: Timestamp) -> Vec<AccessId> {
        let ids = family.iter().filter_map(|process| self.by_process.get(process)).flatten();
        let mut ids: Vec<AccessId> = ids
            .filter(|id| self.reads.get(id).is_some_and(|r| r.at <= at && at.nanos_since(r.at) <= WINDOW_NS))
            .copied()
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    /// A flow that is told after the last reads only, or after which there is no room for more.
    fn leave_out(&mut self, access: AccessId, flow: &Flow) {
        let Some(read) = self.reads.get_mut(&access) else { return };
        let is_own = flow.process == Some(read.process);
        if read.left_out.len() < LEFT_OUT_MAX && read.left_out.insert(flow.id, is_own).is_none() {
            self.less.insert(access);
        }
    }

    fn add(&mut self, access: AccessId, flow: &Flow, reason: ContactReason, at: Timestamp, tx_bytes: u64) {
        let Some((process, read)) = flow.process.zip(self.reads.get(&access)) else { return };
        if self.listed.contains_key(&(access, flow.id)) {
            return;
        }
        let of_access = self.per_access.get(&access).copied().unwrap_or(0);
        if self.listed.len() >= CONTACTS_MAX || of_access >= OF_ACCESS_MAX {
            self.leave_out(access, flow);
            return;
        }
        self.last_id += 1;
        let contact = Contact {
            id: ContactId(self.last_id),
            access,
            read_at: read.at,
            process,
            flow: flow.id,
            remote: flow.remote,
            remote_name: None,
            reason,
            at,
            tx_bytes,
        };
        *self.per_access.entry(access).or_default() += 1;
        self.listed.insert((access, flow.id), contact);
        self.untold.insert((access, flow.id));
    }
}

impl Engine {
    /// A process opened a watched file so that it can be read.
    pub(super) fn read_watched(&mut self, access: AccessId, process: ProcessId, at: Timestamp) {
        let contacts = &mut self.files.contacts;
        if contacts.reads.len() >= READS_MAX
            && let Some(&oldest) = contacts.reads.keys().next()
        {
            contacts.forget_read(oldest);
        }
        contacts.reads.insert(access, Read::new(process, at));
        contacts.by_process.entry(process).or_default().insert(access);
        // This may have been told later than what came after it.
        let late: Vec<(FlowId, Timestamp)> =
            contacts.openings.iter().filter(|o| o.at > at).map(|o| (o.flow, o.at)).collect();
        for (flow, opened_at) in late {
            self.contact_new_remote(flow, opened_at);
        }
    }

    /// A flow came to be open, or came to belong to another process.
    pub(in crate::engine) fn flow_reached(&mut self, at: Timestamp, id: FlowId) {
        let Some(flow) = self.ledger.mirror().flow(id) else { return };
        if flow.state != FlowState::Open || !is_elsewhere(flow.remote.addr) {
            return;
        }
        let (address, direction, port) = (flow.remote.addr, flow.direction, flow.remote.port);
        let Some(program) = flow.process.and_then(|process| self.program_of(process)) else { return };
        let is_new = self.files.seen.reached(program.path, address);
        if !is_new || direction != Direction::Outbound || NAME_PORTS.contains(&port) {
            return;
        }
        let openings = &mut self.files.contacts.openings;
        if openings.len() >= OPENINGS_MAX {
            openings.pop_front();
        }
        openings.push_back(Opening { at, flow: id });
        self.contact_new_remote(id, at);
    }

    /// A flow's counters grew; it had sent `before`.
    pub(in crate::engine) fn flow_sent(&mut self, at: Timestamp, id: FlowId, before: u64) {
        if self.files.contacts.reads.is_empty() {
            return;
        }
        let Some(flow) = self.ledger.mirror().flow(id).cloned() else { return };
        if !is_elsewhere(flow.remote.addr) || flow.counters.tx_bytes == before {
            return;
        }
        let reads = self.reads_of_family(&flow, at);
        let contacts = &mut self.files.contacts;
        let (last, former) = reads.split_at(reads.len().min(READS_OF_FLOW_MAX));
        for &access in former {
            // What a flow had sent before a read is remembered for the last ones only.
            let is_after = contacts.reads.get(&access).is_some_and(|read| flow.opened_at > read.at);
            if is_after && flow.counters.tx_bytes > SENT_MIN {
                contacts.leave_out(access, &flow);
            }
        }
        for &access in last {
            let Some(read) = contacts.reads.get_mut(&access) else { continue };
            let known = read.sent_before.len();
            let sent_before = match read.sent_before.get(&id) {
                Some(&sent) => sent,
                None if known >= FLOWS_MAX => continue,
                None => {
                    let sent = if flow.opened_at > read.at { 0 } else { before };
                    *read.sent_before.entry(id).or_insert(sent)
                }
            };
            let sent = flow.counters.tx_bytes.saturating_sub(sent_before);
            match contacts.listed.get_mut(&(access, id)) {
                Some(contact) if contact.tx_bytes < sent => {
                    contact.tx_bytes = sent;
                    contacts.untold.insert((access, id));
                }
                Some(_) => {}
                None if sent > SENT_MIN => contacts.add(access, &flow, ContactReason::Sent, at, sent),
                None => {}
            }
        }
    }

    /// Tells whom programs reached, once the access before is told, and forgets the reads whose minute is over.
    pub(in crate::engine) fn tell_contacts(&mut self, now: Timestamp) {
        for pair in std::mem::take(&mut self.files.contacts.untold) {
            let Some(entry) = self.files.accesses.entries.get(&pair.0) else { continue };
            if !entry.is_told {
                self.files.contacts.untold.insert(pair);
                continue;
            }
            let (is_expected, reader) = (entry.access.expected, entry.access.process);
            let Some(contact) = self.files.contacts.listed.get_mut(&pair) else { continue };
            if is_expected && contact.process != reader {
                continue;
            }
            if contact.remote_name.is_none() {
                contact.remote_name = self.ledger.mirror().flow(pair.1).and_then(|f| f.remote_name.clone());
            }
            let contact = contact.clone();
            self.ledger.tell_contact(now, contact);
        }
        self.tell_left_out();
        let contacts = &mut self.files.contacts;
        let is_over = |at: Timestamp, ns| now.nanos_since(at) > ns;
        let over: Vec<AccessId> = contacts
            .reads
            .iter()
            .filter(|(_, r)| is_over(r.at, WINDOW_NS + LATE_NS))
            .map(|(id, _)| *id)
            .collect();
        over.into_iter().for_each(|id| contacts.forget_read(id));
        contacts.openings.retain(|opening| !is_over(opening.at, LATE_NS));
    }

    /// Has accesses told once more of which contacts are left out. Of an expected reader only its own are meant.
    fn tell_left_out(&mut self) {
        let Self { files: super::Files { contacts, accesses, .. }, .. } = self;
        for id in std::mem::take(&mut contacts.less) {
            let Some((read, entry)) = contacts.reads.get(&id).zip(accesses.entries.get_mut(&id)) else {
                continue;
            };
            if !entry.is_told {
                contacts.less.insert(id);
                continue;
            }
            let is_meant = |own: &&bool| !entry.access.expected || **own;
            let count = read.left_out.values().filter(is_meant).count() as u64;
            if count != entry.access.contacts_left_out {
                entry.access.contacts_left_out = count;
                accesses.untold.insert(id);
            }
        }
    }

    fn contact_new_remote(&mut self, id: FlowId, at: Timestamp) {
        if self.files.contacts.reads.is_empty() {
            return;
        }
        let Some(flow) = self.ledger.mirror().flow(id).cloned() else { return };
        for (place, access) in self.reads_of_family(&flow, at).into_iter().enumerate() {
            match place {
                // What it sent is told when it is counted.
                0..READS_OF_FLOW_MAX => {
                    self.files.contacts.add(access, &flow, ContactReason::NewRemote, at, 0);
                }
                _ => self.files.contacts.leave_out(access, &flow),
            }
        }
    }

    /// The reads of a flow's process and of those that started it.
    fn reads_of_family(&self, flow: &Flow, at: Timestamp) -> Vec<AccessId> {
        let mirror = self.ledger.mirror();
        let parent = |id: &ProcessId| mirror.process(*id).and_then(|process| process.parent_id);
        let family: Vec<ProcessId> = std::iter::successors(flow.process, parent).take(DEPTH_MAX).collect();
        self.files.contacts.reads_before(&family, at)
    }
}

/// Whether an address is one of another machine, and of one alone.
fn is_elsewhere(address: IpAddr) -> bool {
    Reach::of(address) != Reach::Loopback && !address.is_multicast()
}
