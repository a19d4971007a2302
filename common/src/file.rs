//! Accesses to watched files: who, which file, how, with what result, and which remote the same program reached after.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    display::Text,
    flow::{Endpoint, FlowId, RemoteName},
    process::ProcessId,
    time::Timestamp,
    watch::{EntryId, Severity},
    words::{Unknown, words},
};

/// The most accesses that are listed; the oldest leaves.
pub const ACCESSES_MAX: usize = 4096;

/// Names one access for as long as the helper lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessId(pub u64);

/// Names one contact for as long as the helper lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContactId(pub u64);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Opened for reading.
    Read,
    /// Opened for writing.
    Write,
    /// Opened for both.
    ReadWrite,
    /// Opened for writing and emptied (`O_TRUNC`), or emptied by its path.
    Truncate,
    /// Opened as a place only (`O_PATH`): the content cannot be read through it.
    Handle,
    /// The name was removed.
    Unlink,
    /// It was given another name, or its name to another file.
    Rename,
    /// Its mode was changed.
    Chmod,
}

words!(
    Access,
    "the access is read, write, read_write, truncate, handle, unlink, rename or chmod",
    Read = "read",
    Write = "write",
    ReadWrite = "read_write",
    Truncate = "truncate",
    Handle = "handle",
    Unlink = "unlink",
    Rename = "rename",
    Chmod = "chmod"
);

/// What the kernel answered: 0 or an errno, as errno(3) names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome(pub u16);

/// The answers that opening, renaming, removing and changing of modes give (open(2), rename(2), unlink(2), chmod(2)).
/// Numbers below 35 are the same on all machines; the others are those of x86, arm and riscv.
const ERRORS: [(u16, &str); 27] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (36, "ENAMETOOLONG"),
    (40, "ELOOP"),
    (75, "EOVERFLOW"),
    (122, "EDQUOT"),
];

impl Outcome {
    /// It was done.
    pub const OK: Self = Self(0);

    /// Whether it was done.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }
}

impl fmt::Display for Outcome {
    /// `ok`, the name of the error, or `errno 123`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ERRORS.iter().find(|(number, _)| *number == self.0) {
            _ if self.is_ok() => f.pad("ok"),
            Some((_, name)) => f.pad(name),
            None => f.pad(&format!("errno {}", self.0)),
        }
    }
}

impl FromStr for Outcome {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        let unknown = Unknown("the result is ok, or an error's name or number");
        if word == "ok" {
            return Ok(Self::OK);
        }
        if let Some((number, _)) = ERRORS.iter().find(|(_, name)| *name == word) {
            return Ok(Self(*number));
        }
        word.strip_prefix("errno ").and_then(|number| number.parse().ok()).map(Self).ok_or(unknown)
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_u16(self.0) }
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            u16::deserialize(d).map(Self)
        }
    }
}

/// Accesses of one process to one file, in one way and with one result, that were less than a second apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAccess {
    /// The helper's name for it.
    pub id: AccessId,
    /// Who.
    pub process: ProcessId,
    /// The file's absolute path, in the file tree of the process. After a failure it is the path that was asked for, made
    /// absolute: nothing was found there that could be resolved.
    pub path: Text,
    /// The path as the program gave it, where the source can tell.
    pub requested_path: Option<Text>,
    /// The entry of the watchlist that it matched.
    pub entry: EntryId,
    /// How grave that is, by the entry.
    pub severity: Severity,
    /// What was asked for.
    pub access: Access,
    /// What the kernel answered.
    pub result: Outcome,
    /// How many there were.
    pub count: u64,
    /// The first one.
    pub at: Timestamp,
    /// The last one so far.
    pub last_at: Timestamp,
    /// Whether this program was never seen at this entry before.
    pub first_time: bool,
    /// Whether the entry expects this program.
    pub expected: bool,
    /// Inode number of the mount namespace, where it is not the system's own: the path is one of a container.
    pub mount_ns: Option<u32>,
    /// How many flows came after it that are not told as contacts: there were too many for one access, for all of
    /// them, or too many accesses before one flow. Counted to 256.
    #[serde(default)]
    pub contacts_left_out: u64,
}

/// Why a contact is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactReason {
    /// The program had not been seen to reach this remote address before.
    NewRemote,
    /// It sent more than a little there.
    Sent,
}

words!(
    ContactReason,
    "the reason of a contact is new_remote or sent",
    NewRemote = "new_remote",
    Sent = "sent"
);

/// A process opened a watched file, and it or a process that it started reached a remote after that.
///
/// After does not mean because: this is the order of two events, and says nothing about what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The helper's name for it.
    pub id: ContactId,
    /// The access that came first.
    pub access: AccessId,
    /// When that was.
    pub read_at: Timestamp,
    /// Who reached the remote: the reader or a descendant.
    pub process: ProcessId,
    /// The flow.
    pub flow: FlowId,
    /// The other side.
    pub remote: Endpoint,
    /// The other side's name, if known.
    pub remote_name: Option<RemoteName>,
    /// Why it is told.
    pub reason: ContactReason,
    /// When that was: the flow's beginning, or the moment at which it had sent enough.
    pub at: Timestamp,
    /// What the flow had sent since the access, when this was last told.
    pub tx_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_names_that_are_read_back() {
        for number in 0..200 {
            let outcome = Outcome(number);
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
        }
        assert_eq!(Outcome(13).to_string(), "EACCES");
        assert_eq!(Outcome(133).to_string(), "errno 133");
        assert!("errno -1".parse::<Outcome>().is_err() && "eacces".parse::<Outcome>().is_err());
    }

    #[test]
    fn words_are_those_of_json() {
        for access in [Access::ReadWrite, Access::Handle, Access::Chmod] {
            assert_eq!(serde_json::to_value(access).unwrap(), access.word());
            assert_eq!(access.word().parse(), Ok(access));
        }
    }
}
