//! Which file is a watched one by another name: what was seen of matches, by device and inode.

use std::collections::{HashMap, VecDeque};

use sekhmet_common::{display::Text, watch::EntryId};

use crate::engine::input::ProgramKey;

/// The most files that are remembered; the oldest leaves.
const LINKS_MAX: usize = 16_384;

/// Files that were opened by a name that an entry names.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_file: HashMap<ProgramKey, (EntryId, Text)>,
    by_path: HashMap<Text, ProgramKey>,
    /// Oldest first. Holds those that left, too, until their turn comes.
    order: VecDeque<ProgramKey>,
}

impl Links {
    /// Remembers which file has a name that an entry names. What had it before, until an editor put another file in
    /// its place, is no longer watched: its number may be given to any file.
    pub(super) fn learn(&mut self, file: ProgramKey, path: &Text, entry: EntryId) {
        if let Some(before) = self.by_path.insert(path.clone(), file).filter(|before| *before != file) {
            self.by_file.remove(&before);
        }
        if self.by_file.insert(file, (entry, path.clone())).is_none() {
            self.order.push_back(file);
        }
        while self.order.len() > LINKS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(oldest);
        }
    }

    /// The entry that names this file by another name.
    pub(super) fn entry_of(&self, file: ProgramKey) -> Option<EntryId> {
        self.by_file.get(&file).map(|(entry, _)| *entry)
    }

    /// A name was taken away, and perhaps the file with it.
    pub(super) fn removed(&mut self, path: &Text) {
        if let Some(file) = self.by_path.remove(path) {
            self.by_file.remove(&file);
        }
    }

    fn forget(&mut self, file: ProgramKey) {
        if let Some((_, path)) = self.by_file.remove(&file)
            && self.by_path.get(&path) == Some(&file)
        {
            self.by_path.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> ProgramKey {
        ProgramKey { device: 1, inode }
    }

    #[test]
    fn a_file_is_known_until_its_name_means_another_one() {
        let mut links = Links::default();
        links.learn(file(7), &"/k".into(), EntryId(1));
        assert_eq!(links.entry_of(file(7)), Some(EntryId(1)));
        links.learn(file(8), &"/k".into(), EntryId(1));
        assert_eq!((links.entry_of(file(7)), links.entry_of(file(8))), (None, Some(EntryId(1))));
        links.removed(&"/k".into());
        assert_eq!(links.entry_of(file(8)), None);
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut links = Links::default();
        for inode in 0..40_000 {
            links.learn(file(inode), &format!("/k/{inode}").into(), EntryId(1));
        }
        assert_eq!((links.by_file.len(), links.by_path.len()), (LINKS_MAX, LINKS_MAX));
        assert!(links.entry_of(file(0)).is_none() && links.entry_of(file(39_999)).is_some());
    }
}
