//! The watchlist on disk: what differs from the one that comes with Sekhmet, and which programs were seen.

mod text;

use std::path::Path;

use sekhmet_common::watch::{Entry, FIRST_ADDED};

use super::{
    StoreError,
    folder::{Folder, Names},
};
use crate::engine::input::{SeenAt, Watchlist};

/// The watchlist.
const WATCHLIST: Names = Names {
    text: "watchlist.toml",
    last: "watchlist.last.toml",
    damaged: "watchlist.damaged.toml",
    new: "watchlist.toml.new",
};

/// The programs that were seen. In a file of its own: it changes often, and its loss does little harm.
const SEEN: Names =
    Names { text: "seen.toml", last: "seen.last.toml", damaged: "seen.damaged.toml", new: "seen.toml.new" };

/// What was found at the start.
#[derive(Debug, Default)]
pub struct KeptWatchlist {
    /// The list, as it was, or as it comes with Sekhmet.
    pub list: Watchlist,
    /// Which programs were seen at which entries, the oldest first.
    pub seen: Vec<SeenAt>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// The folder with the watchlist.
#[derive(Debug)]
pub struct WatchStore {
    folder: Folder,
    defaults: Vec<Entry>,
}

impl WatchStore {
    /// Opens the state folder. What is the same as in `defaults` is not written down.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it is not there, [`StoreError::NotOurs`] if others may write it.
    pub fn open(dir: &Path, defaults: Vec<Entry>) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(dir)?, defaults })
    }

    /// The watchlist that was kept. What cannot be read is set aside, never deleted, and the last good copy is taken;
    /// without one the list is as it comes with Sekhmet.
    pub fn load(&self) -> KeptWatchlist {
        let list = self.folder.load(WATCHLIST, |text| parse(text, &self.defaults));
        let seen = self.folder.load(SEEN, parse_seen);
        let mut warnings = list.warnings;
        if list.said.is_none() && !warnings.is_empty() {
            warnings.push("the watchlist is as it comes with Sekhmet".into());
        }
        warnings.extend(seen.warnings);
        let list = list.said.unwrap_or_else(|| untouched(&self.defaults));
        KeptWatchlist { list, seen: seen.said.unwrap_or_default(), warnings }
    }

    /// Keeps this list. When it returns it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was kept before is untouched.
    pub fn keep(&self, list: &Watchlist) -> Result<(), StoreError> {
        let text = text::write(list, &self.defaults)
            .map_err(|reason| StoreError::Damaged { file: WATCHLIST.text, reason })?;
        self.folder.keep(WATCHLIST, &text)
    }

    /// Keeps which programs were seen.
    ///
    /// # Errors
    /// [`StoreError::Io`]: what was kept before is untouched.
    pub fn keep_seen(&self, seen: &[SeenAt]) -> Result<(), StoreError> {
        let text =
            text::write_seen(seen).map_err(|reason| StoreError::Damaged { file: SEEN.text, reason })?;
        self.folder.keep(SEEN, &text)
    }
}

/// The list that comes with Sekhmet.
pub fn untouched(defaults: &[Entry]) -> Watchlist {
    Watchlist { revision: 1, next_id: FIRST_ADDED.0, entries: defaults.to_vec() }
}

/// Reads a kept watchlist, and makes it whole with what comes with Sekhmet.
///
/// # Errors
/// In words, with the place where they can be told. One bad entry makes the whole text bad.
pub fn parse(text: &str, defaults: &[Entry]) -> Result<Watchlist, String> {
    text::parse(text, defaults)
}

/// Reads which programs were seen.
///
/// # Errors
/// In words.
pub fn parse_seen(text: &str) -> Result<Vec<SeenAt>, String> {
    text::parse_seen(text)
}

#[cfg(test)]
mod tests;
