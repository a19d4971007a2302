//! Which processes are to be identified, and how many questions are under way.

use std::collections::{HashMap, VecDeque};

use sekhmet_common::process::ProcessId;

/// The most questions under way. The channel to the worker must hold as many.
pub const OUTSTANDING_MAX: usize = 256;

/// A queue that asks once for each program of a process, and never more than [`OUTSTANDING_MAX`] at a time.
#[derive(Debug, Default)]
pub(super) struct Identities {
    waiting: VecDeque<ProcessId>,
    wanted: HashMap<ProcessId, u32>,
    under_way: HashMap<ProcessId, u32>,
}

impl Identities {
    /// Wants this program of this process identified; an older program of it no longer matters.
    pub(super) fn want(&mut self, id: ProcessId, generation: u32) {
        if self.under_way.get(&id) == Some(&generation) {
            return;
        }
        if self.wanted.insert(id, generation).is_none() {
            self.waiting.push_back(id);
        }
    }

    /// The process ended: what was not asked yet can no longer be answered.
    pub(super) fn forget(&mut self, id: ProcessId) {
        self.wanted.remove(&id);
    }

    /// Takes the next question, if one more may be under way.
    pub(super) fn next(&mut self) -> Option<(ProcessId, u32)> {
        if self.under_way.len() >= OUTSTANDING_MAX {
            return None;
        }
        while let Some(id) = self.waiting.pop_front() {
            // One process is asked about one program at a time; `answered` puts it back into the queue.
            if self.under_way.contains_key(&id) {
                continue;
            }
            // Those that were forgotten are still in the queue, but no longer wanted.
            if let Some(generation) = self.wanted.remove(&id) {
                self.under_way.insert(id, generation);
                return Some((id, generation));
            }
        }
        None
    }

    /// An answer came, or is no longer expected.
    pub(super) fn answered(&mut self, id: ProcessId, generation: u32) {
        if self.under_way.get(&id) == Some(&generation) {
            self.under_way.remove(&id);
            if self.wanted.contains_key(&id) {
                self.waiting.push_back(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_and_only_for_the_last_program() {
        let mut identities = Identities::default();
        let id = ProcessId(1);
        identities.want(id, 0);
        identities.want(id, 1);
        assert_eq!(identities.next(), Some((id, 1)));
        identities.want(id, 1);
        assert_eq!(identities.next(), None);
        identities.want(id, 2);
        assert_eq!(identities.next(), None, "one question per process at a time");
        identities.answered(id, 1);
        assert_eq!(identities.next(), Some((id, 2)));
    }

    #[test]
    fn questions_under_way_are_bounded_and_those_who_left_are_skipped() {
        let mut identities = Identities::default();
        for n in 0..2_000 {
            identities.want(ProcessId(n), 0);
        }
        identities.forget(ProcessId(0));
        let asked: Vec<_> = std::iter::from_fn(|| identities.next()).collect();
        assert_eq!(asked.len(), OUTSTANDING_MAX);
        assert_eq!(asked.first(), Some(&(ProcessId(1), 0)));
        identities.answered(ProcessId(1), 0);
        assert!(identities.next().is_some());
    }
}
