//! The watchlist as TOML: what a person may read and change, and the parser that takes nothing for granted.

use std::collections::{BTreeMap, BTreeSet};

use sekhmet_common::{
    display::Text,
    watch::{ENTRIES_MAX, ENTRIES_OF_USER_MAX, Entry, EntryId, FIRST_ADDED, Owner, Severity},
};
use serde::{Deserialize, Serialize};

use crate::engine::input::{SeenAt, Watchlist};

/// The version of the layout. A file of a newer one is set aside, not misread.
const VERSION: u32 = 1;

/// The most pairs of a program and an entry; the engine keeps no more.
const SEEN_MAX: usize = 8192;

const HEAD: &str = "# What is watched beside what comes with Sekhmet. Written anew with each change; \
                    `sekhmetctl watchlist list` shows all of it.\n";

const SEEN_HEAD: &str = "# Which programs have been seen at which entries of the watchlist.\n";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    revision: u64,
    next_id: u32,
    /// What is different about entries that come with Sekhmet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    default: Vec<Changed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entry: Vec<Added>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<Vec<Text>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    id: u32,
    pattern: Text,
    label: Text,
    group: Text,
    severity: Severity,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expected: Vec<Text>,
    /// Whose; without it an administrator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    enabled: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenDocument {
    version: u32,
    #[serde(default)]
    seen: Vec<SeenRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenRow {
    program: Text,
    entries: Vec<u32>,
}

/// The text for what differs from `defaults`.
pub(super) fn write(list: &Watchlist, defaults: &[Entry]) -> Result<String, String> {
    let known: BTreeMap<EntryId, &Entry> = defaults.iter().map(|entry| (entry.id, entry)).collect();
    let mut document = Document {
        version: VERSION,
        revision: list.revision,
        next_id: list.next_id,
        default: Vec::new(),
        entry: Vec::new(),
    };
    for entry in &list.entries {
        match known.get(&entry.id) {
            Some(default) => document.default.extend(changed(entry, default)),
            None => document.entry.push(added(entry)),
        }
    }
    toml::to_string(&document).map(|text| format!("{HEAD}\n{text}")).map_err(|error| error.to_string())
}

/// The whole list: `defaults`, what the text says is different about them, and what it adds.
pub(super) fn parse(text: &str, defaults: &[Entry]) -> Result<Watchlist, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("version {} is not {VERSION}", document.version));
    }
    if defaults.len() + document.entry.len() > ENTRIES_MAX {
        return Err(format!("more than {ENTRIES_MAX} entries"));
    }
    let mut entries: BTreeMap<EntryId, Entry> = defaults.iter().map(|e| (e.id, e.clone())).collect();
    let mut seen = BTreeSet::new();
    for row in document.default {
        if !seen.insert(row.id) {
            return Err(format!("entry {}: it is there twice", row.id));
        }
        // Of an entry that another version of Sekhmet came with nothing is left to be different.
        let Some(entry) = entries.get_mut(&EntryId(row.id)) else { continue };
        entry.enabled = row.enabled.unwrap_or(entry.enabled);
        entry.expected = row.expected.unwrap_or_else(|| std::mem::take(&mut entry.expected));
        entry.check().map_err(|error| format!("entry {}: {error}", row.id))?;
    }
    let mut of_users: BTreeMap<u32, usize> = BTreeMap::new();
    let mut next_id = document.next_id.max(FIRST_ADDED.0);
    for row in document.entry {
        let id = row.id;
        if let Some(uid) = row.uid {
            let theirs = of_users.entry(uid).or_default();
            *theirs += 1;
            if *theirs > ENTRIES_OF_USER_MAX {
                return Err(format!("entry {id}: user {uid} has more than {ENTRIES_OF_USER_MAX} entries"));
            }
        }
        let entry = entry(row);
        entry.check().map_err(|error| format!("entry {id}: {error}"))?;
        if entry.id < FIRST_ADDED || entries.insert(entry.id, entry).is_some() {
            return Err(format!("entry {id}: its number is taken, or below {FIRST_ADDED}"));
        }
        next_id = next_id.max(id.checked_add(1).ok_or_else(|| format!("entry {id}: no such number"))?);
    }
    Ok(Watchlist { revision: document.revision.max(1), next_id, entries: entries.into_values().collect() })
}

/// The text for which programs were seen. Entries of one program stand together.
pub(super) fn write_seen(seen: &[SeenAt]) -> Result<String, String> {
    let mut rows: Vec<SeenRow> = Vec::new();
    for (program, entry) in seen {
        match rows.last_mut().filter(|row| row.program == *program) {
            Some(row) => row.entries.push(entry.0),
            None => rows.push(SeenRow { program: program.clone(), entries: vec![entry.0] }),
        }
    }
    let document = SeenDocument { version: VERSION, seen: rows };
    toml::to_string(&document).map(|text| format!("{SEEN_HEAD}\n{text}")).map_err(|error| error.to_string())
}

/// Which programs were seen.
pub(super) fn parse_seen(text: &str) -> Result<Vec<SeenAt>, String> {
    let document: SeenDocument = toml::from_str(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("version {} is not {VERSION}", document.version));
    }
    let pairs = document.seen.into_iter().flat_map(|row| {
        let SeenRow { program, entries } = row;
        entries.into_iter().map(move |entry| (program.clone(), EntryId(entry)))
    });
    let pairs: Vec<SeenAt> = pairs.take(SEEN_MAX + 1).collect();
    if pairs.len() > SEEN_MAX {
        return Err(format!("more than {SEEN_MAX} programs at entries"));
    }
    Ok(pairs)
}

fn changed(entry: &Entry, default: &Entry) -> Option<Changed> {
    let enabled = (entry.enabled != default.enabled).then_some(entry.enabled);
    let expected = (entry.expected != default.expected).then(|| entry.expected.clone());
    (enabled.is_some() || expected.is_some()).then_some(Changed { id: entry.id.0, enabled, expected })
}

fn added(entry: &Entry) -> Added {
    Added {
        id: entry.id.0,
        pattern: entry.pattern.clone(),
        label: entry.label.clone(),
        group: entry.group.clone(),
        severity: entry.severity,
        expected: entry.expected.clone(),
        uid: if let Owner::User(uid) = entry.owner { Some(uid) } else { None },
        enabled: entry.enabled,
    }
}

fn entry(row: Added) -> Entry {
    Entry {
        id: EntryId(row.id),
        pattern: row.pattern,
        label: row.label,
        group: row.group,
        severity: row.severity,
        expected: row.expected,
        owner: row.uid.map_or(Owner::System, Owner::User),
        enabled: row.enabled,
    }
}
