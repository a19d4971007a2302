//! What a source of file accesses tells the engine, and which names it is asked to look for.

use sekhmet_common::{
    display::Text,
    file::{Access, Outcome},
    time::Timestamp,
};

use super::{ProcessKey, ProgramKey};

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
