//! The editor of the watchlist: what is being written, and what it would match.

use sekhmet_common::{
    display::Text,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
};

use crate::text::{sentence_case, watchlist as words};

/// What stands in the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The entry that it replaces.
    pub replaces: Option<EntryId>,
    /// Which files.
    pub pattern: String,
    /// What they are.
    pub label: String,
    /// Under which heading.
    pub group: String,
    /// How grave.
    pub severity: Severity,
    /// Who may, with commas between.
    pub readers: String,
    /// Whether the entry came with Sekhmet: only its readers can be changed.
    pub readers_only: bool,
}

impl Form {
    /// The form filled with an entry. Bytes that are no text stand in it as they are shown.
    pub fn of(entry: &Entry) -> Self {
        let readers: Vec<String> = entry.expected.iter().map(Text::shown).collect();
        Self {
            replaces: Some(entry.id),
            pattern: entry.pattern.shown(),
            label: entry.label.shown(),
            group: entry.group.shown(),
            severity: entry.severity,
            readers: readers.join(", "),
            readers_only: entry.owner == Owner::Default,
        }
    }

    /// The form with one more reader of an entry.
    pub fn expecting(entry: &Entry, reader: &Text) -> Self {
        let mut form = Self::of(entry);
        if !entry.expected.contains(reader) {
            let readers = [form.readers.as_str(), &reader.shown()];
            form.readers = readers.into_iter().filter(|r| !r.is_empty()).collect::<Vec<_>>().join(", ");
        }
        form
    }

    /// Why it cannot be asked for, as a sentence; nothing while there is no pattern.
    pub fn error(&self) -> Option<String> {
        if self.pattern.trim().is_empty() {
            return None;
        }
        self.draft().check().err().map(|error| sentence_case(&error.to_string()))
    }

    /// What is asked for about an entry that was opened here. What nobody touched stays as it is, also where it holds
    /// bytes that are no text.
    pub fn draft_of(&self, entry: &Entry) -> EntryDraft {
        let mut draft = self.draft();
        let before = Self::of(entry);
        for (now, then, value, old) in [
            (&self.pattern, &before.pattern, &mut draft.pattern, &entry.pattern),
            (&self.label, &before.label, &mut draft.label, &entry.label),
            (&self.group, &before.group, &mut draft.group, &entry.group),
        ] {
            if now == then {
                *value = old.clone();
            }
        }
        for reader in &mut draft.expected {
            if let Some(old) = entry.expected.iter().find(|old| old.shown().as_bytes() == reader.as_bytes()) {
                *reader = old.clone();
            }
        }
        draft
    }

    /// What is asked for.
    pub fn draft(&self) -> EntryDraft {
        let group = if self.group.is_empty() { words::OWN_GROUP } else { &self.group };
        EntryDraft {
            pattern: self.pattern.trim().into(),
            label: self.label.trim().into(),
            group: group.into(),
            severity: self.severity,
            expected: self
                .readers
                .split(',')
                .map(str::trim)
                .filter(|r| !r.is_empty())
                .map(Text::from)
                .collect(),
        }
    }
}

/// Whether the person in front of the window made an entry and may change it without an administrator.
pub fn is_own(entry: &Entry, uid: u32) -> bool {
    entry.owner == Owner::User(uid)
}

/// What a pattern matches with the rights of the person in front of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The pattern as it was written.
    pub pattern: String,
    /// Whether it is being looked for.
    pub looking: bool,
    /// The first files, in order.
    pub files: Vec<Text>,
    /// How many there are.
    pub count: usize,
    /// Folders that this user may not read.
    pub unreadable: usize,
    /// Whether the search was stopped at its bounds.
    pub bounded: bool,
    /// Whether the pattern is for any place, and only the home was looked through.
    pub home_only: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_touched_stays_byte_by_byte() {
        let entry = Entry {
            id: EntryId(1),
            pattern: Text::from(&b"~/\xff.key"[..]),
            label: "keys".into(),
            group: "".into(),
            severity: Severity::High,
            expected: vec![Text::from(&b"/opt/\xfe/a"[..])],
            owner: Owner::User(7),
            enabled: true,
        };
        let mut form = Form::expecting(&entry, &"/usr/bin/b".into());
        form.severity = Severity::Low;
        let draft = form.draft_of(&entry);
        assert_eq!(
            (&draft.pattern, &draft.label, &draft.group),
            (&entry.pattern, &entry.label, &entry.group)
        );
        assert_eq!(draft.expected, [entry.expected[0].clone(), "/usr/bin/b".into()]);
        assert_eq!(draft.severity, Severity::Low);
        assert!(!form.readers_only);
        assert!(Form::of(&Entry { owner: Owner::Default, ..entry }).readers_only);
    }
}
