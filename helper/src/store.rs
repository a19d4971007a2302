//! What outlives the helper, as readable text: the rules, the watchlist, which programs were seen at its entries.

mod folder;
mod text;
pub mod watchlist;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use sekhmet_common::time::Timestamp;

pub use self::folder::StoreError;
use self::folder::{Folder, Names};
use crate::engine::input::KeptRule;

/// The rules in force.
const RULES: Names = Names {
    text: "rules.toml",
    last: "rules.last.toml",
    damaged: "rules.damaged.toml",
    new: "rules.toml.new",
};

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Kept {
    /// The rules that still hold.
    pub rules: Vec<KeptRule>,
    /// The highest number that a rule has had in this run of the machine; 0 for none.
    pub last_number: u32,
    /// What a person should know: a file was damaged, an older copy is in use.
    pub warnings: Vec<String>,
}

/// The folder with the rules.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    boot: String,
    /// As [`Kept::last_number`].
    last_number: AtomicU32,
}

impl Store {
    /// Opens the state folder. `boot` names this run of the machine (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if it is not there, [`StoreError::NotOurs`] if others may write it.
    pub fn open(dir: &Path, boot: String) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(dir)?, boot, last_number: AtomicU32::new(0) })
    }

    /// The rules that were kept and still hold at `now`. What cannot be read is set aside, never deleted, and the
    /// last good copy is taken; without one there are no rules, and the machine stays on-line.
    pub fn load(&self, now: Timestamp) -> Kept {
        let found = self.folder.load(RULES, |text| text::parse(text, &self.boot, now));
        let mut warnings = found.warnings;
        if found.said.is_none() && !warnings.is_empty() {
            warnings.push("no rule is in force".into());
        }
        let (rules, last_number) = found.said.unwrap_or_default();
        Kept { last_number: self.note_numbers(&rules, last_number), rules, warnings }
    }

    /// Keeps these rules. When it returns they are on the disk, and those before them beside.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was kept before is untouched.
    pub fn keep(&self, rules: &[KeptRule]) -> Result<(), StoreError> {
        let text = text::write(rules, &self.boot, self.note_numbers(rules, 0))
            .map_err(|reason| StoreError::Damaged { file: RULES.text, reason })?;
        self.folder.keep(RULES, &text)
    }

    /// The highest number so far. Every rule comes by here before it is in force.
    fn note_numbers(&self, rules: &[KeptRule], other: u32) -> u32 {
        let highest = rules.iter().map(|kept| kept.rule.id.0).fold(other, u32::max);
        self.last_number.fetch_max(highest, Ordering::Relaxed).max(highest)
    }
}

/// The folder that the service manager made for the helper (systemd.exec(5), `StateDirectory=`).
pub fn state_dir() -> Option<PathBuf> {
    let dirs = std::env::var_os("STATE_DIRECTORY")?;
    // A list with colons; ours names one folder.
    let first = PathBuf::from(dirs.to_str()?.split(':').next()?);
    first.is_absolute().then_some(first)
}

/// The name of this run of the machine; empty if the kernel does not tell.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests;
