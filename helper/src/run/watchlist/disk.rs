//! The watchlist on the disk: what is in force and could not be written is made up for, and people are told.

use std::sync::Arc;

use sekhmet_common::{
    coverage::{Source, SourceStatus, capability, cost},
    display::{Text, escape},
};

use crate::{
    engine::input::{SeenAt, Watchlist},
    store::{StoreError, watchlist::WatchStore},
};

/// What the file is called on the coverage panel.
const FILE: &str = "watchlist.toml";

/// The file, or nothing where there is no place for one.
pub(super) struct Disk {
    store: Option<WatchStore>,
    /// What a person should know of the start.
    found: Vec<String>,
    in_force: Arc<Watchlist>,
    /// Why the last list could not be written. Until it is again, what is in force may not be what is on the disk.
    owed: Option<String>,
    told: Option<Source>,
}

impl Disk {
    /// A place, what was wrong with it at the start, and the list that is in force.
    pub(super) fn new(store: Option<WatchStore>, found: Vec<String>, in_force: Watchlist) -> Self {
        Self { store, found, in_force: Arc::new(in_force), owed: None, told: None }
    }

    /// Keeps this list, which is in force if it is kept, or if it `holds_anyway`.
    pub(super) fn keep(&mut self, list: Arc<Watchlist>, holds_anyway: bool) -> Result<(), String> {
        let kept = self.write(&list);
        if kept.is_ok() || holds_anyway {
            self.in_force = list;
        }
        kept
    }

    /// Keeps which programs were seen. Nothing depends on it.
    pub(super) fn keep_seen(&self, seen: &[SeenAt]) {
        let kept = self.store.as_ref().map_or(Ok(()), |store| store.keep_seen(seen));
        if let Err(error) = kept {
            tracing::warn!(error = words(&error), "which programs were seen is not kept");
        }
    }

    /// Writes what could not be written, if there is anything.
    pub(super) fn make_up(&mut self) {
        let list = Arc::clone(&self.in_force);
        if self.owed.is_some() && self.write(&list).is_ok() {
            tracing::info!("the watchlist in force is on the disk again");
        }
    }

    /// How the list is kept, if that has changed since it was last asked for.
    pub(super) fn news(&mut self) -> Option<Source> {
        let line = self.line();
        (self.told.as_ref() != Some(&line)).then(|| self.told.insert(line).clone())
    }

    fn write(&mut self, list: &Watchlist) -> Result<(), String> {
        let kept = self.store.as_ref().map_or(Ok(()), |store| store.keep(list));
        let kept = kept.map_err(|error| words(&error));
        self.owed = kept.clone().err();
        kept
    }

    fn line(&self) -> Source {
        let (status, source, cost, reason) = match (&self.store, &self.owed, self.found.split_last()) {
            (None, _, _) => {
                (SourceStatus::Missing, "", "changes end when the helper does", self.found.join("; "))
            }
            (_, Some(reason), _) => {
                (SourceStatus::Reduced, FILE, cost::UNWATCHED_UNTIL_RESTART, reason.clone())
            }
            (_, _, Some((outcome, reasons))) => {
                (SourceStatus::Reduced, FILE, outcome.as_str(), reasons.join("; "))
            }
            (_, _, None) => (SourceStatus::Best, FILE, "", String::new()),
        };
        Source {
            capability: capability::KEPT_WATCHLIST.into(),
            source: source.into(),
            status,
            cost: cost.into(),
            reason: Text::from(reason),
        }
    }
}

fn words(error: &StoreError) -> String {
    escape(error.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sekhmet_common::watch::{Entry, EntryId, Owner, Severity};

    use super::*;
    use crate::store::watchlist::untouched;

    fn defaults() -> Vec<Entry> {
        vec![Entry {
            id: EntryId(1),
            pattern: "/etc/key".into(),
            label: "key".into(),
            group: "mine".into(),
            severity: Severity::High,
            expected: Vec::new(),
            owner: Owner::Default,
            enabled: true,
        }]
    }

    fn switched(revision: u64, enabled: bool) -> Arc<Watchlist> {
        let mut list = untouched(&defaults());
        (list.revision, list.entries[0].enabled) = (revision, enabled);
        Arc::new(list)
    }

    /// What is switched off is off at once, is said not to last, and lasts once it can.
    #[test]
    fn what_cannot_be_written_is_said_and_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = || WatchStore::open(dir.path(), defaults()).unwrap();
        let mut disk = Disk::new(Some(store()), Vec::new(), untouched(&defaults()));
        assert_eq!(disk.news().map(|line| line.status), Some(SourceStatus::Best));
        // A folder in the new file's place: as good as a full disk, also for root.
        let in_the_way = dir.path().join("watchlist.toml.new");
        fs::create_dir(&in_the_way).unwrap();
        assert!(disk.keep(switched(2, false), true).is_err());
        let line = disk.news().unwrap();
        assert_eq!(line.cost, cost::UNWATCHED_UNTIL_RESTART.into());
        assert!(!line.reason.is_empty());
        disk.make_up();
        assert_eq!(disk.news(), None, "nothing new");
        assert!(store().load().list.entries[0].enabled, "as it was");
        // One that does not hold changes nothing about that.
        assert!(disk.keep(switched(3, true), false).is_err());
        fs::remove_dir(&in_the_way).unwrap();
        disk.make_up();
        assert_eq!(disk.news().map(|line| line.status), Some(SourceStatus::Best));
        let kept = store().load().list;
        assert_eq!((kept.revision, kept.entries[0].enabled), (2, false));
    }

    #[test]
    fn without_a_place_that_is_told_and_nothing_is_refused() {
        let mut disk = Disk::new(None, vec!["no state folder".into()], untouched(&defaults()));
        assert_eq!(disk.keep(switched(2, false), false), Ok(()));
        let line = disk.news().unwrap();
        assert_eq!((line.status, line.reason), (SourceStatus::Missing, "no state folder".into()));
    }
}
