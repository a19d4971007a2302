//! Words about watched files: entries, accesses, and the contacts after them.

use sekhmet_common::{
    file::{Access, AccessId, Contact, ContactReason, FileAccess},
    mirror::Mirror,
    watch::{Entry, EntryId},
};

use super::process;
use crate::numbers::{bytes, count};

pub(super) fn entry(mirror: &Mirror, id: EntryId) -> String {
    mirror.entry(id).map_or_else(|| format!("entry {id}"), entry_words)
}

pub(super) fn entry_words(entry: &Entry) -> String {
    let off = if entry.enabled { "" } else { ", not watched" };
    format!("entry {}: {} ({}, {}{off})", entry.id, entry.pattern, entry.label, entry.severity.word())
}

pub(super) fn access(mirror: &Mirror, id: AccessId) -> String {
    mirror.access(id).map_or_else(|| format!("access {}", id.0), |access| access_words(mirror, access))
}

pub(super) fn access_words(mirror: &Mirror, access: &FileAccess) -> String {
    let verb = match access.access {
        Access::Read => "opened",
        Access::Write => "opened for writing",
        Access::ReadWrite => "opened for reading and writing",
        Access::Truncate => "emptied",
        Access::Handle => "took a handle of",
        Access::Unlink => "removed",
        Access::Rename => "renamed",
        Access::Chmod => "changed the mode of",
    };
    let label = mirror.entry(access.entry).map(|e| format!(" ({})", e.label)).unwrap_or_default();
    let mut line = format!("{} {verb} {}{label}", process(mirror, access.process), access.path);
    if !access.result.is_ok() {
        line += &format!(", refused: {}", access.result);
    }
    if access.count > 1 {
        line += &format!(", {} times", count(access.count));
    }
    if !access.expected {
        line += ", not an expected reader";
    }
    if access.first_time {
        line += ", for the first time";
    }
    line
}

pub(super) fn contact_words(mirror: &Mirror, contact: &Contact) -> String {
    let file = mirror.access(contact.access).map_or_else(|| "a watched file".into(), |a| a.path.shown());
    let who = process(mirror, contact.process);
    let remote =
        contact.remote_name.as_ref().map_or_else(|| contact.remote.to_string(), |name| name.name.shown());
    match contact.reason {
        ContactReason::NewRemote => format!("{who} reached {remote} for the first time, after {file}"),
        ContactReason::Sent => format!("{who} sent {} to {remote}, after {file}", bytes(contact.tx_bytes)),
    }
}
