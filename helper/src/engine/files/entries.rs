//! The watchlist: from what clients wish to what is watched. A change is in force once it is written down.

use std::{collections::BTreeMap, sync::Arc};

use sekhmet_common::{
    time::Timestamp,
    watch::{ENTRIES_MAX, ENTRIES_OF_USER_MAX, Entry, EntryDraft, EntryId, FIRST_ADDED, Owner},
};

use super::{homes::Homes, matcher::Matcher};
use crate::engine::{
    Engine,
    deadlines::SECOND,
    input::{
        ChangeId, Effect, EntryChange, FreezeWatchResult, FrozenWatch, Home, Keep, Scope, SeenAt, Ticket,
        WatchDeed, WatchError, WatchRequest, Watchlist,
    },
};

/// How often it is written down which programs were seen.
const SEEN_EVERY_NS: u64 = 10 * SECOND;

/// The entries in force, and the one change that may be under way.
#[derive(Debug, Default)]
pub(super) struct Entries {
    revision: u64,
    next_id: u32,
    all: BTreeMap<EntryId, Entry>,
    pending: Option<Pending>,
    last_change: u64,
}

/// A change that is being written down.
#[derive(Debug)]
struct Pending {
    change: ChangeId,
    ticket: Ticket,
    id: EntryId,
    list: Arc<Watchlist>,
    /// As in [`Keep::Watchlist`].
    holds_anyway: bool,
}

impl Engine {
    /// The watchlist that was kept.
    pub(in crate::engine) fn watchlist_kept(&mut self, now: Timestamp, list: Watchlist) {
        self.put_in_force(now, &list);
    }

    /// What was seen before the helper began.
    pub(in crate::engine) fn seen_before(&mut self, known: Vec<SeenAt>) {
        self.files.seen.before(known);
    }

    /// Where users live, from now on.
    pub(in crate::engine) fn homes(&mut self, homes: Vec<Home>) {
        self.files.homes = Homes::new(homes);
    }

    /// Says what a request means as things stand. Whoever asks is not authorised yet.
    pub(in crate::engine) fn freeze_watch(&mut self, ticket: Ticket, request: WatchRequest) {
        let result = self.frozen(request);
        self.files.orders.push(Effect::WatchFrozen { ticket, result });
    }

    /// Tells the entries that a scope may see.
    pub(in crate::engine) fn list_entries(&mut self, ticket: Ticket, scope: Scope) {
        let all = self.ledger.mirror().entries();
        let entries = all.filter(|entry| self.ledger.owners.sees_entry(scope, entry.id)).cloned().collect();
        let revision = self.files.entries.revision;
        self.files.orders.push(Effect::Entries { ticket, revision, entries });
    }

    /// An authorised client wishes what was frozen for it. The list may have changed since.
    pub(in crate::engine) fn wish_watch(&mut self, ticket: Ticket, frozen: FrozenWatch) {
        let entries = &mut self.files.entries;
        let changed = match entries.pending {
            // Whoever was first changes the list that this wish is about.
            Some(_) => Err(WatchError::Changed),
            None => entries.changed(&frozen.request),
        };
        match changed {
            Ok((id, list)) => {
                entries.last_change += 1;
                let (change, list) = (ChangeId(entries.last_change), Arc::new(list));
                let holds_anyway = ends_a_watch(&frozen.request.deed);
                entries.pending = Some(Pending { change, ticket, id, list: Arc::clone(&list), holds_anyway });
                self.files.orders.push(Effect::Keep(Keep::Watchlist { change, list, holds_anyway }));
            }
            Err(error) => self.files.orders.push(Effect::WatchAnswer { ticket, result: Err(error) }),
        }
    }

    /// The list is written down, and is in force from now on; or it is not, and nothing has changed, unless something
    /// is no longer to be watched.
    pub(in crate::engine) fn watchlist_saved(
        &mut self,
        now: Timestamp,
        change: ChangeId,
        result: Result<(), String>,
    ) {
        let Some(pending) = self.files.entries.pending.take_if(|pending| pending.change == change) else {
            return;
        };
        let Pending { ticket, id, list, holds_anyway, .. } = pending;
        let result = match result {
            Err(reason) if !holds_anyway => Err(WatchError::Failed(reason)),
            _ => {
                self.put_in_force(now, &list);
                Ok(id)
            }
        };
        self.files.orders.push(Effect::WatchAnswer { ticket, result });
    }

    /// Has the programs written down that were seen, if there are new ones, and not too often.
    pub(in crate::engine) fn write_down_seen(&mut self) {
        let elapsed_ns = self.deadlines.elapsed_ns();
        if self.files.seen_due_ns > elapsed_ns {
            return;
        }
        self.files.seen_due_ns = elapsed_ns.saturating_add(SEEN_EVERY_NS);
        if let Some(seen) = self.files.seen.take_news() {
            self.files.orders.push(Effect::Keep(Keep::Seen(seen)));
        }
    }

    /// Watches these and no others, and tells what is different from before.
    fn put_in_force(&mut self, now: Timestamp, list: &Watchlist) {
        let before = std::mem::take(&mut self.files.entries.all);
        let after: BTreeMap<EntryId, Entry> =
            list.entries.iter().map(|entry| (entry.id, entry.clone())).collect();
        for &gone in before.keys().filter(|id| !after.contains_key(*id)) {
            self.ledger.unwatch(now, gone);
        }
        for entry in after.values().filter(|entry| before.get(&entry.id) != Some(*entry)) {
            self.ledger.watch(now, entry);
        }
        let entries = &mut self.files.entries;
        let last = after.keys().next_back().map_or(0, |id| id.0);
        entries.revision = list.revision;
        entries.next_id = list.next_id.max(FIRST_ADDED.0).max(last.saturating_add(1));
        let is_same = |id: EntryId| match (before.get(&id), after.get(&id)) {
            (Some(before), Some(after)) => after.enabled && before.pattern == after.pattern,
            _ => false,
        };
        self.files.links.retain(is_same);
        entries.all = after;
        let names = self.files.matcher.names();
        self.files.matcher = Matcher::new(entries.all.values());
        let now_named = self.files.matcher.names();
        if names != now_named {
            self.files.orders.push(Effect::WatchNames(now_named));
        }
    }

    fn frozen(&self, request: WatchRequest) -> FreezeWatchResult {
        let entries = &self.files.entries;
        let of = |id: &EntryId| entries.all.get(id).ok_or(WatchError::UnknownId);
        let (owner, target) = match &request.deed {
            WatchDeed::Add { owner, draft } => (*owner, format!("watch {}", draft.pattern)),
            WatchDeed::Remove(id) => {
                let entry = of(id)?;
                (entry.owner, format!("no longer watch {}", entry.pattern))
            }
            WatchDeed::Set(id, change) => {
                let entry = of(id)?;
                (entry.owner, change_in_words(entry, change))
            }
        };
        let homeless = match owner {
            Owner::User(uid) if !self.files.homes.has(uid) => {
                Some(WatchError::Invalid("nobody knows where this user lives".into()))
            }
            _ => None,
        };
        let unknown = self.files.packages.problem(entries, &request.deed);
        let problem = homeless.or(entries.changed(&request).err()).or(unknown);
        Ok(FrozenWatch { request, owner, target, problem })
    }
}

/// Whether less is watched after it.
fn ends_a_watch(deed: &WatchDeed) -> bool {
    match deed {
        WatchDeed::Remove(_) => true,
        WatchDeed::Set(_, change) => change.enabled == Some(false),
        WatchDeed::Add { .. } => false,
    }
}

/// What a change of an entry does, in words.
fn change_in_words(entry: &Entry, change: &EntryChange) -> String {
    let pattern = &entry.pattern;
    let more = EntryChange { enabled: None, ..change.clone() } != EntryChange::default();
    match (change.enabled, more) {
        (Some(true), false) => format!("watch {pattern}"),
        (Some(false), _) => format!("no longer watch {pattern}"),
        _ => match change.pattern.as_ref().filter(|other| *other != pattern) {
            Some(other) => format!("watch {other} in place of {pattern}"),
            None => format!("who may open {pattern}, and how grave it is"),
        },
    }
}

impl Entries {
    /// An entry in force.
    pub(super) fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.all.get(&id)
    }

    /// The list as it would be, and the entry that differs.
    fn changed(&self, request: &WatchRequest) -> Result<(EntryId, Watchlist), WatchError> {
        let mut all = self.all.clone();
        let mut next_id = self.next_id.max(FIRST_ADDED.0);
        let id = match &request.deed {
            WatchDeed::Add { draft, owner } => {
                let entry = new_entry(EntryId(next_id), draft, *owner)?;
                self.room_for(*owner)?;
                next_id = next_id.checked_add(1).ok_or(WatchError::TooMany("every number is used up"))?;
                let id = entry.id;
                all.insert(id, entry);
                id
            }
            WatchDeed::Remove(id) => {
                let gone = all.remove(id).ok_or(WatchError::UnknownId)?;
                if gone.owner == Owner::Default {
                    let reason = "an entry that came with Sekhmet is switched off, not removed";
                    return Err(WatchError::Invalid(reason.into()));
                }
                *id
            }
            WatchDeed::Set(id, change) => {
                let entry = all.get_mut(id).ok_or(WatchError::UnknownId)?;
                set(entry, change)?;
                *id
            }
        };
        // Last, so that a wrong number or pattern is told as such.
        if request.revision != self.revision {
            return Err(WatchError::Changed);
        }
        let revision = self.revision.saturating_add(1);
        Ok((id, Watchlist { revision, next_id, entries: all.into_values().collect() }))
    }

    fn room_for(&self, owner: Owner) -> Result<(), WatchError> {
        if self.all.len() >= ENTRIES_MAX {
            return Err(WatchError::TooMany("there are as many entries as there may be"));
        }
        let theirs = self.all.values().filter(|entry| entry.owner == owner).count();
        match owner {
            Owner::User(_) if theirs >= ENTRIES_OF_USER_MAX => {
                Err(WatchError::TooMany("this user has as many entries as one may have"))
            }
            _ => Ok(()),
        }
    }
}

fn new_entry(id: EntryId, draft: &EntryDraft, owner: Owner) -> Result<Entry, WatchError> {
    let entry = Entry {
        id,
        pattern: draft.pattern.clone(),
        label: draft.label_or_pattern(),
        group: draft.group.clone(),
        severity: draft.severity,
        expected: draft.expected.clone(),
        owner,
        enabled: true,
    };
    entry.check().map_err(|error| WatchError::Invalid(error.to_string()))?;
    Ok(entry)
}

fn set(entry: &mut Entry, change: &EntryChange) -> Result<(), WatchError> {
    let EntryChange { pattern, label, group, severity, expected, enabled } = change.clone();
    let other = pattern.is_some() || label.is_some() || group.is_some() || severity.is_some();
    if entry.owner == Owner::Default && other {
        let reason = "of an entry that came with Sekhmet only the switch and the expected readers can be set";
        return Err(WatchError::Invalid(reason.into()));
    }
    entry.pattern = pattern.unwrap_or_else(|| entry.pattern.clone());
    entry.label = label.unwrap_or_else(|| entry.label.clone());
    entry.group = group.unwrap_or_else(|| entry.group.clone());
    entry.severity = severity.unwrap_or(entry.severity);
    entry.expected = expected.unwrap_or_else(|| entry.expected.clone());
    entry.enabled = enabled.unwrap_or(entry.enabled);
    entry.check().map_err(|error| WatchError::Invalid(error.to_string()))?;
    Ok(())
}
