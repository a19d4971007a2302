//! The words of the page on what is watched.

use sekhmet_common::watch::{Entry, Owner};

use super::{number_of, numbers};

/// The page.
pub const WATCHLIST: &str = "Watchlist";
/// The group of what a person adds.
pub const OWN_GROUP: &str = "Own entries";
/// The heading over entries without a group.
pub const NO_GROUP: &str = "No group";
/// Above the form, for a new entry.
pub const NEW: &str = "Watch more files";
/// Above the form, for one that is changed.
pub const CHANGE: &str = "Change an entry";
/// Beside that, for an entry that came with the program.
pub const READERS_ONLY: &str = "It came with Sekhmet: only its expected readers can be changed.";
/// The field of the pattern.
pub const PATTERN: &str = "Which files";
/// Inside it while it is empty.
pub const PATTERN_HINT: &str = "~/.config/demo/** or /etc/app/*.key";
/// The field of the label.
pub const LABEL: &str = "What they are";
/// Inside it while it is empty.
pub const LABEL_HINT: &str = "e.g. Demo tokens";
/// The choice of the severity.
pub const SEVERITY: &str = "Severity";
/// The field of expected readers.
pub const READERS: &str = "Expected readers";
/// Inside it while it is empty.
pub const READERS_HINT: &str = "/usr/bin/demo, /opt/*/demo";
/// Adds the entry.
pub const ADD: &str = "Watch";
/// Replaces the entry.
pub const REPLACE: &str = "Save changes";
/// Empties the form.
pub const CLEAR: &str = "Clear";
/// The preview, before there is a pattern.
pub const PREVIEW_EMPTY: &str = "What a pattern matches now is shown here before anything is changed.";
/// The preview, on its way.
pub const LOOKING: &str = "Looking…";
/// The preview, for those who hear it.
pub const PREVIEW: &str = "Preview";
/// The pattern in the same field: own files only.
pub const OWN_FILES: &str = "Seen with your own rights. Folders of others and of the system may hold more.";
/// A pattern for any place.
pub const HOME_ONLY: &str = "Looked for in your home only; it holds for every place.";
/// Nothing is listed.
pub const EMPTY: &str = "Nothing is watched";
/// What to do about it.
pub const EMPTY_TEXT: &str = "Write a pattern above to watch files of your own.";
/// An entry that is switched off.
pub const OFF: &str = "off";
/// Opens an entry in the form.
pub const EDIT: &str = "Change";

/// Heads of the list.
pub mod head {
    /// Patterns.
    pub const FILES: &str = "Files";
    /// Labels.
    pub const LABEL: &str = "What they are";
    /// How grave.
    pub const SEVERITY: &str = "Severity";
    /// Who may.
    pub const READERS: &str = "Expected readers";
    /// Who made it.
    pub const OWNER: &str = "By";
}

/// The heading's second part.
pub fn summary(entries: usize, groups: usize) -> String {
    format!("{} in {}", number_of(entries, "entry", "entries"), number_of(groups, "group", "groups"))
}

/// Who made an entry. `own` is the user of this window.
pub fn owner(owner: Owner, own: u32) -> String {
    match owner {
        Owner::Default => "Sekhmet".to_owned(),
        Owner::System => "administrator".to_owned(),
        Owner::User(uid) if uid == own => "you".to_owned(),
        Owner::User(uid) => super::inspector::uid(uid),
    }
}

/// The first line of the preview.
pub fn matches(count: usize, bounded: bool) -> String {
    match (count, bounded) {
        (0, false) => "Matches nothing that exists now. What comes later is watched all the same.".to_owned(),
        (0, true) => "Nothing found yet; the search was stopped before its end.".to_owned(),
        (n, false) => format!("Matches {} now", number_of(n, "file", "files")),
        (n, true) => format!("Matches more than {} files now", numbers::count(n as u64)),
    }
}

/// Folders that could not be read.
pub fn unreadable(n: usize) -> String {
    format!("{} could not be read.", number_of(n, "folder", "folders"))
}

/// Removes an entry, for those who hear it.
pub fn remove(pattern: &str) -> String {
    format!("Stop watching {pattern}")
}

/// The switch of an entry, for those who hear it.
pub fn switch(pattern: &str) -> String {
    format!("Watch {pattern}")
}

/// What a switch does.
pub fn switch_hint(on: bool) -> &'static str {
    if on { "Watch no longer" } else { "Watch" }
}

/// How much of a group is watched, beside its name.
pub fn watched_of(on: usize, all: usize) -> String {
    match on {
        0 => format!("{}, off", number_of(all, "entry", "entries")),
        on if on == all => number_of(all, "entry", "entries"),
        on => format!("{on} of {} on", number_of(all, "entry", "entries")),
    }
}

/// The switch of a group, for those who hear it.
pub fn switch_group(name: &str, on: usize, all: usize) -> String {
    format!("Watch the group {name}, {}", watched_of(on, all))
}

/// What the switch of a group does.
pub fn switch_group_hint(on: usize, all: usize) -> String {
    match all - on.min(all) {
        0 => format!("Watch none of these {}", number_of(all, "entry", "entries")),
        off if off == all => format!("Watch all of these {}", number_of(all, "entry", "entries")),
        off => format!("Watch the other {} too", number_of(off, "entry", "entries")),
    }
}

/// Opens an entry in the form, for those who hear it.
pub fn edit(pattern: &str) -> String {
    format!("Change {pattern}")
}

/// An entry as a sentence.
pub fn row(entry: &Entry, own: u32) -> String {
    let state = if entry.enabled { "" } else { ", switched off" };
    format!(
        "{}, {}, severity {}, by {}{state}",
        entry.pattern.shown(),
        entry.label.shown(),
        super::secrets::severity(entry.severity),
        owner(entry.owner, own)
    )
}

/// A notice: it is watched.
pub fn is_watched(pattern: &str) -> String {
    format!("{pattern} is watched from now on.")
}

/// A notice: it is watched otherwise.
pub fn is_changed(pattern: &str) -> String {
    format!("{pattern} was changed.")
}

/// A notice: it is switched, or so many of a group.
pub fn is_switched(name: &str, entries: usize, on: bool) -> String {
    match (entries, on) {
        (0 | 1, true) => is_watched(name),
        (0 | 1, false) => is_unwatched(name),
        (n, true) => format!("{name}: {} watched from now on.", number_of(n, "entry is", "entries are")),
        (n, false) => format!("{name}: {} no longer watched.", number_of(n, "entry is", "entries are")),
    }
}

/// A notice: it is no longer watched.
pub fn is_unwatched(pattern: &str) -> String {
    format!("{pattern} is no longer watched.")
}
