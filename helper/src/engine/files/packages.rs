//! Which programs belong to the packages that the watchlist names.

use std::collections::{HashMap, HashSet};

use sekhmet_common::{
    display::Text,
    watch::{Reader, reader},
};

use super::plain;
use crate::engine::{
    Engine,
    input::{Packages, WatchDeed, WatchError},
};

use super::entries::Entries;

/// What is known of packages.
#[derive(Debug, Default)]
pub(super) struct Owned {
    by_package: HashMap<Text, HashSet<Box<[u8]>>>,
    /// Why nothing can be known.
    unavailable: Option<String>,
}

impl Owned {
    fn new(packages: Packages) -> Self {
        match packages {
            Packages::Known(all) => {
                // A list may have the path of before `/bin` was a link.
                let paths =
                    |paths: Vec<Text>| paths.iter().map(|path| plain(path).as_bytes().into()).collect();
                let by_package = all.into_iter().map(|(name, all)| (name, paths(all))).collect();
                Self { by_package, unavailable: None }
            }
            Packages::Unavailable(reason) => Self { by_package: HashMap::new(), unavailable: Some(reason) },
        }
    }

    /// Whether a package has the program with this path, which is its one name.
    pub(super) fn has(&self, package: &Text, program: &[u8]) -> bool {
        self.by_package.get(package).is_some_and(|programs| programs.contains(program))
    }

    /// Why a change cannot be: it expects a package that was not expected before, and nobody can look that up.
    pub(super) fn problem(&self, entries: &Entries, deed: &WatchDeed) -> Option<WatchError> {
        let reason = self.unavailable.as_ref()?;
        let (expected, before): (&[Text], &[Text]) = match deed {
            WatchDeed::Add { draft, .. } => (&draft.expected, &[]),
            WatchDeed::Set(id, change) => {
                (change.expected.as_deref()?, entries.entry(*id).map_or(&[], |entry| &entry.expected))
            }
            WatchDeed::Remove(_) => return None,
        };
        let is_package = |text: &&Text| matches!(reader(text), Ok(Reader::Package(_)));
        let new = expected.iter().filter(is_package).find(|text| !before.contains(text))?;
        Some(WatchError::Invalid(format!("{new}: {reason}")))
    }
}

impl Engine {
    /// What belongs to packages, from now on.
    pub(in crate::engine) fn packages(&mut self, packages: Packages) {
        self.files.packages = Owned::new(packages);
    }
}
