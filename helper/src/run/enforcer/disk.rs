//! The rules on the disk, as the enforcer sees it: what could not be written is made up for, and people are told.

use std::sync::Arc;

use sekhmet_common::{
    coverage::{Source, SourceStatus, capability, cost},
    display::{Text, escape},
};

use super::Enforcer;
use crate::{engine::input::KeptRule, store::Store};

/// The file, or nothing where there is no place for one.
pub(super) struct Disk {
    store: Option<Store>,
    /// What a person should know of the start.
    found: Vec<String>,
    /// Why what is in force is not what is on the disk, until it is again.
    owed: Option<String>,
    told: Option<Source>,
}

impl Disk {
    pub(super) fn new(store: Option<Store>) -> Self {
        Self { store, found: Vec::new(), owed: None, told: None }
    }

    /// Keeps these rules. Without a place for them there is nothing to do.
    pub(super) fn keep(&mut self, rules: &Arc<[KeptRule]>) -> Result<(), String> {
        let kept = self.store.as_ref().map_or(Ok(()), |store| store.keep(rules));
        self.owed = kept.err().map(|error| escape(error.to_string().as_bytes()));
        self.owed.clone().map_or(Ok(()), Err)
    }

    /// The line of the coverage.
    fn line(&self) -> Source {
        let (status, source, cost, reason) = match (&self.store, &self.owed, self.found.split_last()) {
            (None, _, _) => {
                (SourceStatus::Missing, "", "blocks end when this machine restarts", self.found.join("; "))
            }
            (_, Some(reason), _) => {
                (SourceStatus::Reduced, "rules.toml", cost::UNBLOCKED_UNTIL_RESTART, reason.clone())
            }
            (_, _, Some((outcome, reasons))) => {
                (SourceStatus::Reduced, "rules.toml", outcome.as_str(), reasons.join("; "))
            }
            (_, _, None) => (SourceStatus::Best, "rules.toml", "", String::new()),
        };
        Source {
            capability: capability::KEPT_BLOCKS.into(),
            source: source.into(),
            status,
            cost: cost.into(),
            reason: Text::from(reason),
        }
    }
}

impl Enforcer {
    /// What was found when the rules were read: what was wrong with them, last what is done about it.
    #[must_use]
    pub fn having_found(mut self, words: Vec<String>) -> Self {
        self.disk.found = words;
        self
    }

    /// How rules are kept, for the coverage. What changes from then on is news.
    pub fn keeping_line(&mut self) -> Source {
        let line = self.disk.line();
        self.disk.told = Some(line.clone());
        line
    }

    /// Writes what could not be written, if there is anything.
    pub(super) fn make_up_on_disk(&mut self) {
        if self.disk.owed.is_some() && self.disk.keep(&self.kept).is_ok() {
            tracing::info!("the rules in force are on the disk again");
        }
    }

    /// How rules are kept, if that has changed since it was last asked for.
    pub fn keeping_news(&mut self) -> Option<Source> {
        let line = self.disk.line();
        let is_new = self.disk.told.as_ref().is_some_and(|told| *told != line);
        is_new.then(|| self.disk.told.insert(line).clone())
    }
}
