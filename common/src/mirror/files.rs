//! The part of the mirror that knows what is watched, who opened it, and whom they reached after.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::Event,
    file::{AccessId, Contact, ContactId, FileAccess},
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId},
};

/// Entries of the watchlist, accesses to what they name, and contacts after those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    entries: BTreeMap<EntryId, Entry>,
    accesses: BTreeMap<AccessId, FileAccess>,
    accesses_by_process: BTreeMap<ProcessId, BTreeSet<AccessId>>,
    contacts: BTreeMap<ContactId, Contact>,
    contacts_by_access: BTreeMap<AccessId, BTreeSet<ContactId>>,
}

impl Files {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn accesses(&self) -> impl DoubleEndedIterator<Item = &FileAccess> {
        self.accesses.values()
    }

    pub(super) fn access(&self, id: AccessId) -> Option<&FileAccess> {
        self.accesses.get(&id)
    }

    pub(super) fn accesses_of(&self, process: ProcessId) -> impl DoubleEndedIterator<Item = &FileAccess> {
        self.accesses_by_process.get(&process).into_iter().flatten().filter_map(|id| self.accesses.get(id))
    }

    pub(super) fn contacts(&self) -> impl DoubleEndedIterator<Item = &Contact> {
        self.contacts.values()
    }

    pub(super) fn contacts_after(&self, access: AccessId) -> impl DoubleEndedIterator<Item = &Contact> {
        self.contacts_by_access.get(&access).into_iter().flatten().filter_map(|id| self.contacts.get(id))
    }

    pub(super) fn replicate(&self, at: Timestamp, events: &mut Vec<Event>) {
        events.extend(self.entries.values().map(|e| Event::WatchEntryAdded { at, entry: e.clone() }));
        events.extend(self.accesses.values().map(|a| Event::FileAccessed { at, access: a.clone() }));
        events.extend(self.contacts.values().map(|c| Event::ContactAfter { at, contact: c.clone() }));
    }

    /// Lists an entry, or replaces what was known about it.
    pub(super) fn watch(&mut self, entry: &Entry) {
        self.entries.insert(entry.id, entry.clone());
    }

    /// The entry's accesses stay listed: what happened has happened.
    pub(super) fn unwatch(&mut self, id: EntryId) {
        self.entries.remove(&id);
    }

    /// Lists an access of a listed process. Counts never go back, and an access stays with its process.
    pub(super) fn access_again(&mut self, access: &FileAccess) {
        let known = self.accesses.get(&access.id);
        if known.is_some_and(|known| known.process != access.process || known.count > access.count) {
            return;
        }
        self.accesses_by_process.entry(access.process).or_default().insert(access.id);
        self.accesses.insert(access.id, access.clone());
    }

    pub(super) fn forget(&mut self, id: AccessId) {
        let Some(access) = self.accesses.remove(&id) else { return };
        if let Some(ids) = self.accesses_by_process.get_mut(&access.process) {
            ids.remove(&id);
            if ids.is_empty() {
                self.accesses_by_process.remove(&access.process);
            }
        }
        for contact in self.contacts_by_access.remove(&id).into_iter().flatten() {
            self.contacts.remove(&contact);
        }
    }

    /// Lists a contact after a listed access, with which it goes.
    pub(super) fn contact(&mut self, contact: &Contact) {
        let known = self.contacts.get(&contact.id);
        if !self.accesses.contains_key(&contact.access) || known.is_some_and(|k| k.access != contact.access) {
            return;
        }
        self.contacts_by_access.entry(contact.access).or_default().insert(contact.id);
        self.contacts.insert(contact.id, contact.clone());
    }

    /// A process is no longer listed, and so neither is what it opened.
    pub(super) fn drop_process(&mut self, process: ProcessId) {
        let theirs = self.accesses_by_process.remove(&process);
        theirs.into_iter().flatten().for_each(|id| self.forget(id));
    }
}
