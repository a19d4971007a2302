//! Which programs were seen at which entries, and which addresses they reached: what is new, and what is not.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

use sekhmet_common::display::Text;

use crate::engine::input::SeenAt;

/// The most pairs of a program and an entry; the oldest leaves, and is told as new once more.
pub(super) const SEEN_MAX: usize = 8192;

/// The most pairs of a program and an address.
const REACHED_MAX: usize = 65_536;

/// A set that holds so many, and of which the oldest leaves.
#[derive(Debug)]
struct Recent<T> {
    items: HashSet<T>,
    order: VecDeque<T>,
    most: usize,
}

impl<T: Clone + Eq + Hash> Recent<T> {
    fn new(most: usize) -> Self {
        Self { items: HashSet::new(), order: VecDeque::new(), most }
    }

    /// Whether it was not in here.
    fn insert(&mut self, item: T) -> bool {
        let is_new = self.items.insert(item.clone());
        if is_new {
            self.order.push_back(item);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.items.remove(&oldest);
        }
        is_new
    }
}

/// What is known of programs.
#[derive(Debug)]
pub(super) struct Seen {
    at: Recent<SeenAt>,
    reached: Recent<(Text, IpAddr)>,
    /// Something is new since it was last written down.
    changed: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self { at: Recent::new(SEEN_MAX), reached: Recent::new(REACHED_MAX), changed: false }
    }
}

impl Seen {
    /// What was known before the helper began.
    pub(super) fn before(&mut self, known: Vec<SeenAt>) {
        for pair in known {
            self.at.insert(pair);
        }
    }

    /// A program is at an entry. Whether it never was before.
    pub(super) fn at(&mut self, pair: SeenAt) -> bool {
        let is_new = self.at.insert(pair);
        self.changed |= is_new;
        is_new
    }

    /// A program reached an address. Whether it never had before.
    pub(super) fn reached(&mut self, program: Text, address: IpAddr) -> bool {
        self.reached.insert((program, address))
    }

    /// Everything that is to be written down, if there is anything new, the oldest first.
    pub(super) fn take_news(&mut self) -> Option<Arc<[SeenAt]>> {
        std::mem::take(&mut self.changed).then(|| self.at.order.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use sekhmet_common::watch::EntryId;

    use super::*;

    #[test]
    fn the_first_time_is_once_and_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        let pair = |n: u32| (Text::from("/usr/bin/cat"), EntryId(n));
        seen.before(vec![pair(1)]);
        assert!(!seen.at(pair(1)) && seen.take_news().is_none());
        assert!(seen.at(pair(2)) && !seen.at(pair(2)));
        assert_eq!(seen.take_news().map(|news| news.len()), Some(2));
        assert!(seen.take_news().is_none());
        (10..10 + 8192).for_each(|n| assert!(seen.at(pair(n))));
        assert_eq!(seen.at.items.len(), SEEN_MAX);
        assert!(seen.at(pair(1)));
    }
}
