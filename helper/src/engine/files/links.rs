//! Which file is a watched one by another name: what was seen of matches, by device and inode.
//!
//! Sources look at names. Of the files in here they are told, so that they tell of them by any name.

use std::collections::{HashMap, VecDeque};

use sekhmet_common::{display::Text, kernel::LINKS_MAX, watch::EntryId};

use crate::engine::input::ProgramKey;

/// Files that were opened by a name that an entry names.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_file: HashMap<ProgramKey, (EntryId, Text)>,
    by_path: HashMap<Text, ProgramKey>,
    /// Oldest first. Holds those that left, too, until their turn comes.
    order: VecDeque<ProgramKey>,
    /// What sources were not told yet: which file is in here, or no longer.
    news: Vec<(ProgramKey, bool)>,
}

impl Links {
    /// Remembers which file has a name that an entry names. What had it before, until an editor put another file in
    /// its place, is no longer watched: its number may be given to any file. The oldest leaves if there are too many.
    pub(super) fn learn(&mut self, file: ProgramKey, path: &Text, entry: EntryId) {
        if let Some(before) = self.by_path.insert(path.clone(), file).filter(|before| *before != file) {
            self.drop_file(before);
        }
        if self.by_file.insert(file, (entry, path.clone())).is_some() {
            return;
        }
        while self.order.len() >= LINKS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(oldest);
        }
        self.order.push_back(file);
        // Last, so that there are never too many.
        self.news.push((file, true));
    }

    /// Which files came and went since the last call, in this order.
    pub(super) fn take_news(&mut self) -> Vec<(ProgramKey, bool)> {
        std::mem::take(&mut self.news)
    }

    /// Forgets the files of entries that name them no longer.
    pub(super) fn retain(&mut self, is_kept: impl Fn(EntryId) -> bool) {
        let gone: Vec<ProgramKey> =
            self.by_file.iter().filter(|(_, (entry, _))| !is_kept(*entry)).map(|(file, _)| *file).collect();
        for file in gone {
            self.forget(file);
        }
    }

    /// The entry that names this file by another name.
    pub(super) fn entry_of(&self, file: ProgramKey) -> Option<EntryId> {
        self.by_file.get(&file).map(|(entry, _)| *entry)
    }

    /// A name was taken away, and perhaps the file with it.
    pub(super) fn removed(&mut self, path: &Text) {
        if let Some(file) = self.by_path.remove(path) {
            self.drop_file(file);
        }
    }

    fn forget(&mut self, file: ProgramKey) {
        if let Some(path) = self.drop_file(file)
            && self.by_path.get(&path) == Some(&file)
        {
            self.by_path.remove(&path);
        }
    }

    /// The path by which it was known last.
    fn drop_file(&mut self, file: ProgramKey) -> Option<Text> {
        let (_, path) = self.by_file.remove(&file)?;
        self.news.push((file, false));
        Some(path)
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
        let news = [(file(7), true), (file(7), false), (file(8), true), (file(8), false)];
        assert_eq!(links.take_news(), news);
        assert_eq!(links.take_news(), []);
    }

    #[test]
    fn files_go_with_their_entry() {
        let mut links = Links::default();
        links.learn(file(7), &"/k".into(), EntryId(1));
        links.learn(file(8), &"/l".into(), EntryId(2));
        links.take_news();
        links.retain(|entry| entry == EntryId(2));
        assert_eq!((links.entry_of(file(7)), links.entry_of(file(8))), (None, Some(EntryId(2))));
        assert_eq!((links.take_news(), links.by_path.len()), (vec![(file(7), false)], 1));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut links = Links::default();
        let mut told = 0;
        for inode in 0..40_000 {
            links.learn(file(inode), &format!("/k/{inode}").into(), EntryId(1));
            for (_, is_there) in links.take_news() {
                told = if is_there { told + 1 } else { told - 1 };
                assert!(told <= LINKS_MAX);
            }
        }
        assert_eq!(told, LINKS_MAX);
        assert_eq!((links.by_file.len(), links.by_path.len()), (LINKS_MAX, LINKS_MAX));
        assert!(links.entry_of(file(0)).is_none() && links.entry_of(file(39_999)).is_some());
    }
}
