//! The watchlist: which files are sensitive, how much so, and who is expected to read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{display::Text, words::words};

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
    /// Who may read them without raising attention: patterns of executables' paths, or `package:NAME`.
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
