//! The player's watchlist: it holds the entries that it was told of, notes each command and does what it says.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use sekhmet_common::{
    bus::{
        ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_GROUP, ENTRY_ID, ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN,
        ENTRY_SEVERITY, ENTRY_UID, error,
    },
    display::Text,
    event::Event,
    watch::{Entry, EntryId, Owner, Severity},
};
use zbus::{OwnedVariant, Variant, interface, message::Header};

use super::{Named, Player, Stage, lock, rules};

/// The list as it stands.
#[derive(Debug, Default)]
pub(super) struct List {
    revision: u64,
    entries: BTreeMap<EntryId, Entry>,
    /// So many calls find the list changed.
    ahead: usize,
}

impl List {
    /// The entries that a snapshot tells of.
    pub(super) fn of(events: &[Event]) -> Self {
        let entries = events.iter().filter_map(|event| match event {
            Event::WatchEntryAdded { entry, .. } => Some((entry.id, entry.clone())),
            _ => None,
        });
        Self { revision: 1, entries: entries.collect(), ahead: 0 }
    }
}

impl Player {
    /// Somebody else will be faster so many times.
    pub fn will_change(&self, times: usize) {
        lock(&self.stage).watchlist.ahead = times;
    }
}

pub(super) struct Watchlist(pub(super) Arc<Mutex<Stage>>);

impl Watchlist {
    /// Notes a command, and refuses it if it is to be refused or was said about another revision.
    fn note(&self, revision: u64, what: String, header: &Header<'_>) -> Result<(), Named> {
        rules::note(&self.0, what, header)?;
        let mut stage = lock(&self.0);
        let list = &mut stage.watchlist;
        if list.ahead > 0 {
            list.ahead -= 1;
            list.revision += 1;
        }
        if revision != list.revision {
            return Err(Named(error::CHANGED));
        }
        list.revision += 1;
        Ok(())
    }
}

#[interface(name = "org.sekhmet.Helper1.Watchlist", introspection_docs = false)]
impl Watchlist {
    async fn get(&self) -> Result<(u64, Vec<HashMap<String, Variant<'static>>>), Named> {
        let stage = lock(&self.0);
        if let Some(name) = stage.no_commands {
            return Err(Named(name));
        }
        Ok((stage.watchlist.revision, stage.watchlist.entries.values().map(told).collect()))
    }

    async fn add(
        &self,
        revision: u64,
        entry: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32, Named> {
        self.note(revision, format!("AddEntry{}", rules::words(&entry)), &header)?;
        let entries = &mut lock(&self.0).watchlist.entries;
        let id = EntryId(entries.keys().next_back().map_or(0, |last| last.0) + 1);
        let new = Entry {
            id,
            pattern: Text::default(),
            label: Text::default(),
            group: Text::default(),
            severity: Severity::default(),
            expected: Vec::new(),
            owner: if entry.contains_key(ENTRY_OWNER) { Owner::System } else { Owner::User(1000) },
            enabled: true,
        };
        entries.insert(id, changed(new, entry)?);
        Ok(id.0)
    }

    async fn remove(&self, revision: u64, id: u32, #[zbus(header)] header: Header<'_>) -> Result<(), Named> {
        self.note(revision, format!("RemoveEntry {id}"), &header)?;
        let removed = lock(&self.0).watchlist.entries.remove(&EntryId(id));
        removed.map(drop).ok_or(Named(error::UNKNOWN_ID))
    }

    async fn set(
        &self,
        revision: u64,
        id: u32,
        entry: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Named> {
        self.note(revision, format!("SetEntry {id}{}", rules::words(&entry)), &header)?;
        let entries = &mut lock(&self.0).watchlist.entries;
        let old = entries.remove(&EntryId(id)).ok_or(Named(error::UNKNOWN_ID))?;
        entries.insert(EntryId(id), changed(old, entry)?);
        Ok(())
    }
}

fn changed(mut entry: Entry, options: HashMap<String, OwnedVariant>) -> Result<Entry, Named> {
    let wrong = |_| Named(error::INVALID_ARGUMENT);
    for (key, value) in options {
        match key.as_str() {
            ENTRY_PATTERN => entry.pattern = Vec::<u8>::try_from(value).map_err(wrong)?.into(),
            ENTRY_LABEL => entry.label = String::try_from(value).map_err(wrong)?.into(),
            ENTRY_GROUP => entry.group = String::try_from(value).map_err(wrong)?.into(),
            ENTRY_SEVERITY => {
                let word = String::try_from(value).map_err(wrong)?;
                entry.severity = word.parse().map_err(|_unknown| Named(error::INVALID_ARGUMENT))?;
            }
            ENTRY_EXPECTED => {
                let all = Vec::<Vec<u8>>::try_from(value).map_err(wrong)?;
                entry.expected = all.into_iter().map(Text::from).collect();
            }
            ENTRY_ENABLED => entry.enabled = bool::try_from(value).map_err(wrong)?,
            ENTRY_OWNER => {}
            _ => return Err(Named(error::INVALID_ARGUMENT)),
        }
    }
    Ok(entry)
}

fn told(entry: &Entry) -> HashMap<String, Variant<'static>> {
    let words = |text: &Text| Variant::from(String::from_utf8_lossy(text.as_bytes()).into_owned());
    let expected: Vec<Vec<u8>> = entry.expected.iter().map(|text| text.as_bytes().to_vec()).collect();
    let owner = match entry.owner {
        Owner::Default => "default",
        Owner::System => "system",
        Owner::User(_) => "user",
    };
    let mut all = HashMap::from(
        [
            (ENTRY_ID, Variant::from(entry.id.0)),
            (ENTRY_PATTERN, Variant::from(entry.pattern.as_bytes().to_vec())),
            (ENTRY_LABEL, words(&entry.label)),
            (ENTRY_GROUP, words(&entry.group)),
            (ENTRY_SEVERITY, Variant::from(entry.severity.word())),
            (ENTRY_EXPECTED, Variant::from(expected)),
            (ENTRY_OWNER, Variant::from(owner)),
            (ENTRY_ENABLED, Variant::from(entry.enabled)),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    if let Owner::User(uid) = entry.owner {
        all.insert(ENTRY_UID.to_owned(), Variant::from(uid));
    }
    all
}
