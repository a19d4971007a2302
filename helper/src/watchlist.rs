//! The watchlist that comes with Sekhmet: which files of a desktop are sensitive, and who is expected to read them.

use std::collections::{BTreeMap, BTreeSet};

use sekhmet_common::{
    display::Text,
    watch::{Entry, EntryId, FIRST_ADDED, Owner, Severity},
};
use serde::Deserialize;

/// A text that a person may read, and change where the program is built.
const TEXT: &str = include_str!("watchlist/defaults.toml");

/// The version of the layout.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    group: Vec<Group>,
    readers: BTreeMap<String, Vec<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Text,
    entry: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: u32,
    pattern: Text,
    label: Text,
    severity: Severity,
    #[serde(default)]
    readers: Vec<String>,
}

/// The entries that come with Sekhmet, all switched on, by number.
///
/// # Errors
/// In words. A test makes sure that there are none.
pub fn defaults() -> Result<Vec<Entry>, String> {
    parse(TEXT)
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("version {} is not {VERSION}", document.version));
    }
    let (mut entries, mut ids) = (Vec::new(), BTreeSet::new());
    for group in document.group {
        for row in group.entry {
            let id = EntryId(row.id);
            if id >= FIRST_ADDED || id.0 == 0 || !ids.insert(id) {
                return Err(format!("entry {id}: its number is taken, or not below {FIRST_ADDED}"));
            }
            let mut expected = Vec::new();
            for name in &row.readers {
                let list = document.readers.get(name);
                expected.extend_from_slice(list.ok_or_else(|| format!("entry {id}: no readers '{name}'"))?);
            }
            let entry = Entry {
                id,
                pattern: row.pattern,
                label: row.label,
                group: group.name.clone(),
                severity: row.severity,
                expected,
                owner: Owner::Default,
                enabled: true,
            };
            entries.push(entry);
        }
    }
    entries.sort_by_key(|entry| entry.id);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_watched() {
        let entries = defaults().unwrap();
        assert!(entries.len() > 100);
        let mut patterns = BTreeSet::new();
        for entry in &entries {
            entry.check().unwrap_or_else(|error| panic!("{}: {error}", entry.id));
            assert!(!entry.label.is_empty() && !entry.group.is_empty(), "{}", entry.id);
            assert!(patterns.insert(entry.pattern.clone()), "{} is there twice", entry.pattern);
        }
    }

    #[test]
    fn every_list_of_readers_is_used() {
        let document: Document = toml::from_str(TEXT).unwrap();
        let used: BTreeSet<&String> =
            document.group.iter().flat_map(|g| &g.entry).flat_map(|e| &e.readers).collect();
        assert_eq!(used, document.readers.keys().collect());
    }

    /// Somebody may have switched these off: a number must go on to mean the same files.
    #[test]
    fn numbers_are_stable() {
        let entries = defaults().unwrap();
        for (id, pattern) in [
            (100, "~/.ssh/id_*"),
            (200, "/etc/shadow"),
            (300, "~/.mozilla/**/logins.json"),
            (350, "~/.config/*/**/Login Data"),
            (400, "~/.local/share/keyrings/**"),
            (450, "~/.bitcoin/**/wallet.dat"),
            (500, "~/.aws/credentials"),
            (550, "~/.npmrc"),
            (600, "~/.claude/.credentials.json"),
            (650, "~/.bash_history"),
            (700, "~/.thunderbird/**/logins.json"),
        ] {
            let entry = entries.iter().find(|e| e.id == EntryId(id)).unwrap();
            assert_eq!(entry.pattern, pattern.into());
        }
    }

    #[test]
    fn the_defaults_name_the_files_that_they_are_about() {
        let home = Some(&b"/home/anna"[..]);
        let entries = defaults().unwrap();
        for (path, id) in [
            ("/home/anna/.ssh/id_ed25519", 100),
            ("/etc/sudoers.d/90-cloud", 205),
            ("/home/anna/.mozilla/firefox/k3x.default-release/key4.db", 301),
            ("/home/anna/.var/app/org.mozilla.firefox/.mozilla/firefox/x.default/logins.json", 310),
            ("/home/anna/snap/firefox/common/.mozilla/firefox/x.default/cookies.sqlite", 322),
            ("/home/anna/.config/google-chrome/Default/Login Data", 350),
            ("/home/anna/.config/BraveSoftware/Brave-Browser/Profile 1/Network/Cookies", 352),
            ("/home/anna/.var/app/com.google.Chrome/config/google-chrome/Default/Cookies", 361),
            ("/home/anna/snap/chromium/common/chromium/Default/Login Data", 370),
            ("/home/anna/Documents/passwords.kdbx", 410),
            ("/home/anna/.kube/config", 510),
            ("/home/anna/src/project/.env", 570),
            ("/home/anna/.thunderbird/x.default/ImapMail/mail.example/INBOX", 703),
        ] {
            let named: Vec<u32> = entries
                .iter()
                .filter(|e| e.check().is_ok_and(|p| p.matches(path.as_bytes(), home)))
                .map(|e| e.id.0)
                .collect();
            assert_eq!(named, [id], "{path}");
        }
    }

    #[test]
    fn a_bad_text_is_refused() {
        let entry = |id: &str, more: &str| {
            parse(&format!(
                "version = 1\nreaders = {{}}\n[[group]]\nname = 'x'\nentry = [{{ id = {id}, pattern = '/x', \
                 label = 'x', severity = 'high' {more} }}]"
            ))
        };
        assert_eq!(entry("7", "").map(|e| e.len()), Ok(1));
        assert!(entry("10000", "").is_err() && entry("0", "").is_err());
        assert!(entry("7", ", readers = ['who']").unwrap_err().contains("who"));
        assert!(entry("7", ", reader = []").is_err());
        assert!(parse("version = 2\ngroup = []\nreaders = {}").is_err());
    }
}
