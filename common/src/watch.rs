//! The watchlist: which files are sensitive, how much so, and who is expected to read them.

mod reader;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::reader::{PACKAGE, Reader, reader};
use crate::{
    display::Text,
    pattern::{Pattern, PatternError},
    words::words,
};

/// The most entries there may be at once, those that come with Sekhmet included.
pub const ENTRIES_MAX: usize = 2000;

/// The most entries that one user may add.
pub const ENTRIES_OF_USER_MAX: usize = 200;

/// The longest pattern, in bytes.
pub const PATTERN_MAX: usize = 1024;

/// The longest label and the longest name of a group, in bytes.
pub const LABEL_MAX: usize = 100;

/// The most readers that one entry may expect.
pub const READERS_MAX: usize = 32;

/// The first number of an entry that was added; those that come with Sekhmet have smaller ones.
pub const FIRST_ADDED: EntryId = EntryId(10_000);

/// Names one entry, also after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub u32);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How grave it is that somebody reads what an entry names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a line: a shell's history.
    Low,
    /// Worth a look: settings with tokens in them.
    #[default]
    Medium,
    /// Whoever has it can act as its owner: keys, passwords, cookies.
    High,
}

words!(Severity, "the severity is low, medium or high", Low = "low", Medium = "medium", High = "high");

/// Who made an entry, and whose files it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// It came with Sekhmet. `~` stands for every user's home.
    Default,
    /// An administrator. `~` stands for every user's home.
    System,
    /// This user. The pattern begins with `~/`, which stands for this user's home only.
    User(u32),
}

/// One line of the watchlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The helper's name for it.
    pub id: EntryId,
    /// Which files: an absolute path or one below `~`, with `*`, `?`, `[…]` within a part and `**` for any parts.
    /// One without these names a file, or a folder and everything below it.
    pub pattern: Text,
    /// What these files are, in a few words: `SSH private keys`.
    pub label: Text,
    /// Under which heading it is listed and switched: `SSH and GPG`.
    pub group: Text,
    /// How grave it is.
    pub severity: Severity,
    /// Who may read them without raising attention: patterns of executables' absolute paths, and `package:` with the
    /// name of a package whose executables are meant ([`reader()`]). They hold in the system's own file tree; paths
    /// that begin with `/app/` (Flatpak) and `/snap/` hold in any.
    pub expected: Vec<Text>,
    /// Who made it.
    pub owner: Owner,
    /// Whether it is watched at present.
    pub enabled: bool,
}

/// What a client wants to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDraft {
    /// Which files.
    pub pattern: Text,
    /// What they are; the pattern when empty.
    pub label: Text,
    /// Under which heading.
    pub group: Text,
    /// How grave.
    pub severity: Severity,
    /// Who may.
    pub expected: Vec<Text>,
}

/// Why there can be no entry like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The pattern is none, or names nothing that could be watched.
    #[error("the pattern: {0}")]
    Pattern(#[from] PatternError),
    /// An expected reader, by its place in the list, is named by no pattern and no package.
    #[error("expected reader {}: {}", .0 + 1, .1)]
    Reader(usize, PatternError),
    /// Something else about it, in words.
    #[error("{0}")]
    Other(&'static str),
}

impl EntryDraft {
    /// Takes the pattern apart and looks at everything else.
    ///
    /// # Errors
    /// [`EntryError`] says what cannot be, and where.
    pub fn check(&self) -> Result<Pattern, EntryError> {
        check(&self.pattern, &self.label, &self.group, &self.expected)
    }

    /// The label, or the pattern if it has none.
    pub fn label_or_pattern(&self) -> Text {
        let short = self.pattern.as_bytes().get(..LABEL_MAX).unwrap_or(self.pattern.as_bytes());
        if self.label.is_empty() { Text::from(short) } else { self.label.clone() }
    }
}

impl Entry {
    /// Takes the pattern apart and looks at everything else.
    ///
    /// # Errors
    /// [`EntryError`] says what cannot be, and where.
    pub fn check(&self) -> Result<Pattern, EntryError> {
        let pattern = check(&self.pattern, &self.label, &self.group, &self.expected)?;
        if matches!(self.owner, Owner::User(_)) && !pattern.is_below_home() {
            return Err(EntryError::Other("an entry of a user begins with ~/"));
        }
        Ok(pattern)
    }
}

fn check(pattern: &Text, label: &Text, group: &Text, expected: &[Text]) -> Result<Pattern, EntryError> {
    let pattern = Pattern::parse_watched(pattern.as_bytes())?;
    if label.as_bytes().len() > LABEL_MAX || group.as_bytes().len() > LABEL_MAX {
        return Err(EntryError::Other("a label and a group have at most 100 bytes each"));
    }
    if expected.len() > READERS_MAX {
        return Err(EntryError::Other("an entry expects at most 32 readers"));
    }
    for (place, text) in expected.iter().enumerate() {
        reader(text).map_err(|error| EntryError::Reader(place, error))?;
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(pattern: &str, expected: &[&str]) -> EntryDraft {
        EntryDraft {
            pattern: pattern.into(),
            label: Text::default(),
            group: Text::default(),
            severity: Severity::High,
            expected: expected.iter().map(|&e| e.into()).collect(),
        }
    }

    #[test]
    fn a_draft_says_what_is_wrong_with_it() {
        assert!(draft("~/.config/demo/**", &["/usr/bin/demo", "/opt/*/demo"]).check().is_ok());
        let told = |draft: EntryDraft| draft.check().unwrap_err().to_string();
        assert_eq!(
            told(draft("x", &[])),
            "the pattern: it begins with /, ~/ or **/: nobody knows where a relative path lies (at byte 0)"
        );
        assert!(draft("/a", &["/usr/bin/x", "package:vim"]).check().is_ok());
        assert!(
            told(draft("/a", &["/usr/bin/x", "package:Vim"])).starts_with("expected reader 2: the name of")
        );
        assert!(told(draft("/a", &["~/bin/x"])).contains('~'));
        assert!(told(draft("/a", &["/**"])).contains("every file"));
        assert!(told(draft("/a", &["/x"; 33])).contains("32"));
        let long = EntryDraft { label: "l".repeat(101).into(), ..draft("/a", &[]) };
        assert!(told(long).contains("100"));
        assert_eq!(draft("/a", &[]).label_or_pattern(), "/a".into());
    }

    #[test]
    fn an_entry_of_a_user_lies_in_a_home() {
        let entry = |pattern: &str, owner| Entry {
            id: FIRST_ADDED,
            pattern: pattern.into(),
            label: Text::default(),
            group: Text::default(),
            severity: Severity::Low,
            expected: Vec::new(),
            owner,
            enabled: true,
        };
        assert!(entry("~/x", Owner::User(1000)).check().is_ok());
        assert!(entry("/etc/x", Owner::System).check().is_ok());
        assert!(entry("/etc/x", Owner::User(1000)).check().is_err());
        assert!(entry("**/x", Owner::User(1000)).check().is_err());
    }
}
