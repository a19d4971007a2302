//! Requests about the watchlist: how each is noted, when it is done, what is said then, and what takes it back.

use sekhmet_common::{
    mirror::Mirror,
    watch::{Entry, EntryDraft, EntryId, Owner},
};

use super::{Requests, Ticket, Wish};
use crate::{model::watch::Form, text::watchlist as words};

impl Requests {
    /// Notes a request to watch what stands in the editor, in place of an entry if that was opened there.
    pub fn watch(&mut self, form: &Form, replaced: Option<&Entry>) -> (Ticket, Wish) {
        let wish = match replaced {
            Some(entry) => Wish::Change(Box::new(entry.clone()), form.draft_of(entry)),
            None => Wish::Watch(form.draft()),
        };
        self.note(None, form.pattern.trim(), wish, 0, None, false)
    }

    /// Notes a request to take an entry off the watchlist.
    pub fn unwatch(&mut self, entry: &Entry, uid: u32) -> (Ticket, Wish) {
        // What another user watches comes back only as one's own, which is not the same.
        let is_restorable = matches!(entry.owner, Owner::System) || entry.owner == Owner::User(uid);
        let back = is_restorable.then(|| Wish::Restore(Box::new(entry.clone())));
        self.note(None, &entry.pattern.shown(), Wish::Unwatch(entry.id), 0, back, false)
    }

    /// Notes a request to switch an entry.
    pub fn switch(&mut self, entry: &Entry) -> (Ticket, Wish) {
        self.switch_all(&entry.pattern.shown(), vec![entry.id], !entry.enabled)
    }

    /// Notes a request to switch those entries of a group that are not yet as wished.
    pub fn switch_all(&mut self, name: &str, ids: Vec<EntryId>, on: bool) -> (Ticket, Wish) {
        let back = Wish::Switch(ids.clone(), !on);
        self.note(None, name, Wish::Switch(ids, on), 0, Some(back), false)
    }

    /// Whether an entry is about to be changed.
    pub fn is_changing(&self, id: EntryId) -> bool {
        self.pending.iter().any(|p| match &p.wish {
            Wish::Unwatch(entry) => *entry == id,
            Wish::Change(entry, _) => entry.id == id,
            Wish::Switch(entries, _) => entries.contains(&id),
            Wish::Block(_) | Wish::Unblock(_) | Wish::Watch(_) | Wish::Restore(_) => false,
        })
    }
}

/// What makes an entry like this one.
fn draft_of(entry: &Entry) -> EntryDraft {
    EntryDraft {
        pattern: entry.pattern.clone(),
        label: entry.label.clone(),
        group: entry.group.clone(),
        severity: entry.severity,
        expected: entry.expected.clone(),
    }
}

/// Whether an entry is as a draft wants it.
fn is_like(entry: &Entry, draft: &EntryDraft) -> bool {
    (&entry.pattern, entry.severity, &entry.expected) == (&draft.pattern, draft.severity, &draft.expected)
}

/// The newest entry that is like a draft.
fn newest<'m>(mirror: &'m Mirror, draft: &EntryDraft) -> Option<&'m Entry> {
    mirror.entries().filter(|entry| is_like(entry, draft)).max_by_key(|entry| entry.id)
}

/// Whether the watchlist shows that something which the helper has done is in force.
pub(super) fn is_done(wish: &Wish, mirror: &Mirror) -> bool {
    match wish {
        Wish::Watch(draft) => newest(mirror, draft).is_some(),
        Wish::Change(old, draft) => mirror.entry(old.id).is_none_or(|entry| is_like(entry, draft)),
        Wish::Switch(ids, on) => {
            ids.iter().all(|id| mirror.entry(*id).is_none_or(|entry| entry.enabled == *on))
        }
        Wish::Unwatch(id) => mirror.entry(*id).is_none(),
        Wish::Restore(old) => newest(mirror, &draft_of(old)).is_some_and(|e| e.enabled == old.enabled),
        Wish::Block(_) | Wish::Unblock(_) => true,
    }
}

/// What is said once it is done.
pub(super) fn is_said(wish: &Wish, name: &str) -> String {
    match wish {
        Wish::Change(..) => words::is_changed(name),
        Wish::Switch(ids, on) => words::is_switched(name, ids.len(), *on),
        Wish::Unwatch(_) => words::is_unwatched(name),
        Wish::Watch(_) | Wish::Restore(_) | Wish::Block(_) | Wish::Unblock(_) => words::is_watched(name),
    }
}

/// What takes back a step whose result only the watchlist tells.
pub(super) fn back(wish: &Wish, mirror: &Mirror) -> Option<Wish> {
    match wish {
        Wish::Watch(draft) => newest(mirror, draft).map(|entry| Wish::Unwatch(entry.id)),
        Wish::Change(old, _) => {
            mirror.entry(old.id).map(|entry| Wish::Change(Box::new(entry.clone()), draft_of(old)))
        }
        _ => None,
    }
}

/// Whether there still is what a step back would be about.
pub(super) fn is_possible(wish: &Wish, mirror: &Mirror) -> bool {
    match wish {
        Wish::Unwatch(id) => mirror.entry(*id).is_some(),
        Wish::Change(entry, _) => mirror.entry(entry.id).is_some(),
        Wish::Switch(ids, _) => ids.iter().all(|id| mirror.entry(*id).is_some()),
        Wish::Watch(_) | Wish::Restore(_) | Wish::Block(_) | Wish::Unblock(_) => true,
    }
}
