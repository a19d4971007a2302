//! What a source of file accesses tells the engine, which names it is asked to look for, and what clients wish about
//! the watchlist.

use std::{collections::BTreeMap, sync::Arc};

use sekhmet_common::{
    display::Text,
    file::{Access, Outcome},
    time::Timestamp,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
};

use super::{ChangeId, ProcessKey, ProgramKey};

/// The longest name that a source compares, in bytes: the longest that a directory may hold (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// A process asked for a file of which a part of the path has one of the names that are looked for. Whether it is a
/// watched file is for the engine to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSight {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub process: ProcessKey,
    /// The absolute path in the process's own file tree. Resolved by the kernel if it `is_resolved`; else what was
    /// asked for, made absolute with the folder that it is relative to, without `.` and `..`.
    pub path: Text,
    /// Whether the kernel has followed all links in `path`.
    pub is_resolved: bool,
    /// The path as the program gave it, where the source can tell.
    pub requested: Option<Text>,
    /// What was asked for.
    pub access: Access,
    /// What the kernel answered.
    pub result: Outcome,
    /// Inode number of the process's mount namespace; 0 if unknown.
    pub mount_ns: u32,
    /// Which file it was, where it could be told: other names of the same file are known by it.
    pub file: Option<ProgramKey>,
}

/// A name that a source looks for among the parts of each path, so that only few paths have to be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameFilter {
    /// At least one byte, at most [`NAME_MAX`], no slash.
    pub name: Text,
    /// Whether it is the end of a name, from a dot on (`.kdbx`), and not the whole.
    pub is_suffix: bool,
}

/// Where a user lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    /// Whose.
    pub uid: u32,
    /// The folder's absolute path, without links.
    pub path: Text,
}

/// The watchlist as it stands, and as it is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watchlist {
    /// Grows with each change.
    pub revision: u64,
    /// The number of the next entry that is added. Numbers are never used again.
    pub next_id: u32,
    /// By number; those that come with Sekhmet first.
    pub entries: Vec<Entry>,
}

/// What the package manager says of the packages that the watchlist names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packages {
    /// By name: the absolute paths of their executables. A package that is not installed has none.
    Known(BTreeMap<Text, Vec<Text>>),
    /// This system has no package manager that could be asked; why, in words for a person.
    Unavailable(String),
}

impl Default for Packages {
    fn default() -> Self {
        Self::Known(BTreeMap::new())
    }
}

/// A program, by its path, that has been seen at an entry.
pub type SeenAt = (Text, EntryId);

/// What a client asks for, taken apart and not yet authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The list that the client has seen.
    pub revision: u64,
    /// What is to be done to it.
    pub deed: WatchDeed,
}

/// A change of the watchlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchDeed {
    /// One entry more.
    Add {
        /// What is to be watched.
        draft: EntryDraft,
        /// Whose entry it will be.
        owner: Owner,
    },
    /// One entry less.
    Remove(EntryId),
    /// Another entry than before.
    Set(EntryId, EntryChange),
}

/// What is to be different about an entry; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// Which files.
    pub pattern: Option<Text>,
    /// What they are.
    pub label: Option<Text>,
    /// Under which heading.
    pub group: Option<Text>,
    /// How grave.
    pub severity: Option<Severity>,
    /// Who may.
    pub expected: Option<Vec<Text>>,
    /// Whether it is watched.
    pub enabled: Option<bool>,
}

/// A change of the watchlist as it stands at one moment: what a person is asked about is what will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenWatch {
    /// What.
    pub request: WatchRequest,
    /// Whose entry it is about.
    pub owner: Owner,
    /// What will be done, in words for the question.
    pub target: String,
    /// Why it cannot be done, as things stand. That is for those alone who could have it done.
    pub problem: Option<WatchError>,
}

/// Why the watchlist was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// There is no such entry.
    #[error("there is no entry with this number")]
    UnknownId,
    /// No entry can be like that.
    #[error("{0}")]
    Invalid(String),
    /// The list is another one than the client has seen.
    #[error("the watchlist has changed meanwhile; look at it again")]
    Changed,
    /// There are as many entries as there may be.
    #[error("{0}")]
    TooMany(&'static str),
    /// It could not be kept; nothing has changed.
    #[error("{0}")]
    Failed(String),
}

/// What a request about the watchlist means, or why it cannot be.
pub type FreezeWatchResult = Result<FrozenWatch, WatchError>;

/// What became of a change of the watchlist: the number of the entry that it was about.
pub type WatchResult = Result<EntryId, WatchError>;

/// Something that is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The list as it will be. It is in force once it is said to be kept, or that it could not be.
    Watchlist {
        /// Names this change.
        change: ChangeId,
        /// All of it.
        list: Arc<Watchlist>,
        /// It is in force even if it cannot be written down: that something is no longer watched does not depend on
        /// a disk. It is then to be written as soon as it can be.
        holds_anyway: bool,
    },
    /// Which programs were seen at which entries. Nobody waits for it.
    Seen(Arc<[SeenAt]>),
}
