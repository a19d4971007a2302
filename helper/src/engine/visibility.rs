//! Who may see what: the only place where a process's visibility is decided.
//!
//! A scope [`Scope::Own`] sees the processes whose real, effective, saved and file-system user ids are all
//! that user's, and their flows. Nothing else reaches it: no id, no name, no parent.

use std::collections::HashMap;

use sekhmet_common::{
    event::Event,
    file::{AccessId, Contact, ContactId, FileAccess},
    flow::Flow,
    mirror::{Mirror, Others},
    process::{Process, ProcessId},
    rule::{Rule, RuleId, Subject},
    time::Timestamp,
    watch::{Entry, EntryId, Owner},
};

use super::input::Scope;

/// The sole owner of each listed process. Processes that belong to nobody alone are not in here.
#[derive(Debug, Default)]
pub(super) struct Owners {
    processes: HashMap<ProcessId, u32>,
    rules: HashMap<RuleId, RuleSight>,
    /// Whose entries of the watchlist are seen by them alone.
    entries: HashMap<EntryId, Owner>,
    /// The one user, beside those who see everything, to whom an access or a contact was told.
    accesses: HashMap<AccessId, u32>,
    contacts: HashMap<ContactId, u32>,
}

/// Who beside those who see everything may see a rule.
#[derive(Clone, Copy, Debug)]
struct RuleSight {
    /// A program is everybody's: whoever runs it must be able to learn why it is blocked.
    everybody: bool,
    added_by: u32,
    /// To whom the process belonged that the rule was made for.
    subject_of: Option<u32>,
}

impl Owners {
    /// The user to whom this process belongs wholly.
    pub(super) fn of(&self, id: ProcessId) -> Option<u32> {
        self.processes.get(&id).copied()
    }

    /// The user to whom a flow of this process belongs.
    pub(super) fn of_flow(&self, process: Option<ProcessId>) -> Option<u32> {
        process.and_then(|id| self.of(id))
    }

    /// Notes to whom a process belongs now.
    pub(super) fn set(&mut self, id: ProcessId, owner: Option<u32>) {
        match owner {
            Some(uid) => self.processes.insert(id, uid),
            None => self.processes.remove(&id),
        };
    }

    /// The process as this scope may see it, if it may.
    pub(super) fn process(&self, scope: Scope, mirror: &Mirror, process: &Process) -> Option<Process> {
        let sees = |id| self.sees(scope, id) && mirror.process(id).is_some();
        self.sees(scope, process.id)
            .then(|| Process { parent_id: process.parent_id.filter(|&id| sees(id)), ..process.clone() })
    }

    /// Whether this scope may see a process.
    pub(super) fn sees(&self, scope: Scope, id: ProcessId) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(uid) => self.of(id) == Some(uid),
        }
    }

    /// Whether this scope may see a flow.
    pub(super) fn sees_flow(&self, scope: Scope, flow: &Flow) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(_) => flow.process.is_some_and(|id| self.sees(scope, id)),
        }
    }

    /// Notes who may see a rule. To whom its process belonged when it was made stays.
    pub(super) fn set_rule(&mut self, rule: &Rule, subject_of: Option<u32>) {
        let everybody = matches!(rule.subject, Subject::Program { .. });
        let sight = RuleSight { everybody, added_by: rule.added_by, subject_of };
        self.rules.entry(rule.id).or_insert(sight);
    }

    /// A rule is over.
    pub(super) fn forget_rule(&mut self, id: RuleId) {
        self.rules.remove(&id);
    }

    /// Whether this scope may see a rule.
    pub(super) fn sees_rule(&self, scope: Scope, id: RuleId) -> bool {
        match (scope, self.rules.get(&id)) {
            (Scope::All, _) => true,
            (Scope::Own(_), None) => false,
            (Scope::Own(uid), Some(s)) => s.everybody || s.added_by == uid || s.subject_of == Some(uid),
        }
    }

    /// Notes who may see an entry.
    pub(super) fn set_entry(&mut self, entry: &Entry) {
        self.entries.insert(entry.id, entry.owner);
    }

    /// An entry is gone.
    pub(super) fn forget_entry(&mut self, id: EntryId) {
        self.entries.remove(&id);
    }

    /// Whether this scope may see an entry of the watchlist: what a user watches at home is that user's own business.
    pub(super) fn sees_entry(&self, scope: Scope, id: EntryId) -> bool {
        match (scope, self.entries.get(&id)) {
            (Scope::All, _) => true,
            (Scope::Own(uid), Some(Owner::User(owner))) => uid == *owner,
            (Scope::Own(_), entry) => entry.is_some(),
        }
    }

    /// Notes to whom an access is told.
    pub(super) fn show_access(&mut self, id: AccessId, to: Option<u32>) {
        self.accesses.extend(to.map(|uid| (id, uid)));
    }

    /// The user who knows of an access: to whom it was told, as long as the process is theirs.
    pub(super) fn shown_access(&self, access: &FileAccess) -> Option<u32> {
        let shown_to = self.accesses.get(&access.id).copied();
        shown_to.filter(|_| self.of(access.process) == shown_to)
    }

    /// Whether this scope may see an access.
    pub(super) fn sees_access(&self, scope: Scope, access: &FileAccess) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(uid) => self.shown_access(access) == Some(uid),
        }
    }

    /// An access is no longer listed, nor is what came after it.
    pub(super) fn forget_access(&mut self, id: AccessId, contacts: &[ContactId]) {
        self.accesses.remove(&id);
        contacts.iter().for_each(|contact| {
            self.contacts.remove(contact);
        });
    }

    /// Notes to whom a contact is told.
    pub(super) fn show_contact(&mut self, id: ContactId, to: Option<u32>) {
        self.contacts.extend(to.map(|uid| (id, uid)));
    }

    /// The user who knows of a contact: to whom it was told, as long as the access is known to them.
    pub(super) fn shown_contact(&self, contact: &Contact, access: &FileAccess) -> Option<u32> {
        let shown_to = self.contacts.get(&contact.id).copied();
        shown_to.filter(|_| self.shown_access(access) == shown_to)
    }

    /// Whether this scope may see a contact after an access.
    pub(super) fn sees_contact(&self, scope: Scope, contact: &Contact, access: &FileAccess) -> bool {
        match scope {
            Scope::All => true,
            Scope::Own(uid) => self.shown_contact(contact, access) == Some(uid),
        }
    }

    /// A snapshot of the mirror for one scope; `others` is the total of what it may not see.
    pub(super) fn snapshot(
        &self,
        scope: Scope,
        mirror: &Mirror,
        others: Option<Others>,
        now: Timestamp,
    ) -> Vec<Event> {
        let mut events: Vec<Event> = mirror
            .replicate(now)
            .into_iter()
            .filter_map(|event| match event {
                Event::ProcessStarted { at, process } => {
                    let process = self.process(scope, mirror, &process)?;
                    Some(Event::ProcessStarted { at, process })
                }
                Event::FlowOpened { ref flow, .. } => self.sees_flow(scope, flow).then_some(event),
                Event::RuleAdded { ref rule, .. } => self.sees_rule(scope, rule.id).then_some(event),
                Event::ProcessRules { id, .. } => self.sees(scope, id).then_some(event),
                Event::Refused { ref refusal, .. } => {
                    let sees = scope == Scope::All || refusal.process.is_some_and(|id| self.sees(scope, id));
                    sees.then_some(event)
                }
                Event::WatchEntryAdded { ref entry, .. } => self.sees_entry(scope, entry.id).then_some(event),
                Event::FileAccessed { ref access, .. } => self.sees_access(scope, access).then_some(event),
                Event::ContactAfter { ref contact, .. } => {
                    let access = mirror.access(contact.access)?;
                    self.sees_contact(scope, contact, access).then_some(event)
                }
                about_the_helper => Some(about_the_helper),
            })
            .collect();
        if let Some(Others { at, processes, open_flows, tx_bytes, rx_bytes }) = others {
            let end = events.len().saturating_sub(1);
            events.insert(end, Event::Others { at, processes, open_flows, tx_bytes, rx_bytes });
        }
        events
    }
}
