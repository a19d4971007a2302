//! Watched files in the ledger: entries, accesses to what they name, contacts after those, each told to whom it concerns.

use sekhmet_common::{
    event::Event,
    file::{AccessId, Contact, ContactId, FileAccess},
    mirror::Mirror,
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId},
};

use super::Ledger;
use crate::engine::{input::Scope, view::View, visibility::Owners};

impl Ledger {
    /// Lists an entry of the watchlist, or tells its news, to those who may see it.
    pub(in crate::engine) fn watch(&mut self, at: Timestamp, entry: &Entry) {
        self.owners.set_entry(entry);
        self.tell_of_entry(entry.id, &Event::WatchEntryAdded { at, entry: entry.clone() });
    }

    /// Tells that an entry is gone.
    pub(in crate::engine) fn unwatch(&mut self, at: Timestamp, id: EntryId) {
        self.tell_of_entry(id, &Event::WatchEntryRemoved { at, id });
        self.owners.forget_entry(id);
    }

    /// Tells an access, or its count so far. Beside those who see everything one user may learn of it, if anybody;
    /// whoever that is when it is told first stays so.
    pub(in crate::engine) fn tell_access(
        &mut self,
        at: Timestamp,
        access: FileAccess,
        shown_to: Option<u32>,
    ) {
        if self.mirror.access(access.id).is_none() {
            self.owners.show_access(access.id, shown_to);
        }
        let shown_to = self.owners.shown_access(&access);
        self.tell(shown_to, &Event::FileAccessed { at, access });
    }

    /// Takes an access off the list, and what came after it.
    pub(in crate::engine) fn forget_access(&mut self, at: Timestamp, id: AccessId) {
        let Some(access) = self.mirror.access(id) else { return };
        let shown_to = self.owners.shown_access(access);
        let contacts: Vec<ContactId> = self.mirror.contacts_after(id).map(|contact| contact.id).collect();
        self.tell(shown_to, &Event::FileAccessGone { at, id });
        self.owners.forget_access(id, &contacts);
    }

    /// Tells whom a program reached after an access. Those learn of it who know the access and its process.
    pub(in crate::engine) fn tell_contact(&mut self, at: Timestamp, contact: Contact) {
        let Some(access) = self.mirror.access(contact.access) else { return };
        if self.mirror.contacts_after(contact.access).all(|known| known.id != contact.id) {
            let reader = self.owners.shown_access(access);
            let shown_to = reader.filter(|_| self.owners.of(contact.process) == reader);
            self.owners.show_contact(contact.id, shown_to);
        }
        let shown_to = self.owners.shown_contact(&contact, access);
        self.tell(shown_to, &Event::ContactAfter { at, contact });
    }

    fn tell_of_entry(&mut self, id: EntryId, event: &Event) {
        self.mirror.apply(event);
        for (&scope, view) in &mut self.views {
            if self.owners.sees_entry(scope, id) {
                view.say(event.clone());
            }
        }
    }

    /// A process leaves the list; to whom its accesses were told does not matter any more.
    pub(super) fn forget_owners_of_accesses(&mut self, process: ProcessId) {
        for access in self.mirror.accesses_of(process) {
            let contacts: Vec<ContactId> = self.mirror.contacts_after(access.id).map(|c| c.id).collect();
            self.owners.forget_access(access.id, &contacts);
        }
    }
}

/// Says what a process did to watched files, as far as the scope knew it before, once the process is visible to it again.
pub(super) fn reveal(
    view: &mut View,
    mirror: &Mirror,
    owners: &Owners,
    scope: Scope,
    at: Timestamp,
    process: ProcessId,
) {
    for access in mirror.accesses_of(process).filter(|access| owners.sees_access(scope, access)) {
        view.say(Event::FileAccessed { at, access: access.clone() });
        let contacts = mirror.contacts_after(access.id);
        let shown = contacts.filter(|contact| owners.sees_contact(scope, contact, access));
        shown.for_each(|contact| view.say(Event::ContactAfter { at, contact: contact.clone() }));
    }
}
