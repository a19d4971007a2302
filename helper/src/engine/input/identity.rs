//! Whose a process is, what is asked about it, and what can be found out.

use sekhmet_common::{display::Text, process::ProcessId};

use super::ProcessImage;

/// Real, effective, saved and file-system user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uids {
    /// Real.
    pub real: u32,
    /// Effective.
    pub effective: u32,
    /// Saved.
    pub saved: u32,
    /// File system.
    pub fs: u32,
}

impl Uids {
    /// All four the same.
    pub fn all(uid: u32) -> Self {
        Self { real: uid, effective: uid, saved: uid, fs: uid }
    }

    /// The user to whom the process belongs wholly, if there is one.
    pub fn sole_owner(self) -> Option<u32> {
        let Self { real, effective, saved, fs } = self;
        (real == effective && effective == saved && saved == fs).then_some(real)
    }
}

/// What the identification worker found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The executable's path as the kernel shows it.
    pub exe: Option<Text>,
    /// The full command line, where it is longer than the kernel's record.
    pub cmdline: Option<Vec<Text>>,
    /// Whether arguments are missing at the end of `cmdline`.
    pub cmdline_truncated: bool,
    /// The user's name.
    pub user: Option<Text>,
    /// The systemd unit.
    pub unit: Option<Text>,
    /// The container.
    pub container: Option<Text>,
    /// The desktop application's id.
    pub application: Option<Text>,
    /// The desktop application's name.
    pub application_name: Option<Text>,
    /// The kernel's short name.
    pub comm: Option<Text>,
    /// The user ids, read together with everything else here. They guard against a process that became
    /// another program in between, and make known whose a process is of which no source told.
    pub uids: Option<Uids>,
    /// Whether the process was no longer there to be asked.
    pub gone: bool,
}

/// A process that should be identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRequest {
    /// Where the answer belongs.
    pub id: ProcessId,
    /// Counts the programs that this process executed, so that a late answer does not name an old program.
    pub generation: u32,
    /// What the kernel said.
    pub image: ProcessImage,
}
