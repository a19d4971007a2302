//! From the path of an opened file to the entry that names it, by the names that the kernel looks for, too.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sekhmet_common::{
    display::Text,
    pattern::{self, Pattern},
    watch::{self, Entry, EntryId, Owner, Reader, Severity},
};

use super::{homes::Homes, packages::Owned};
use crate::engine::input::NameFilter;

/// Where programs of Flatpak and Snap lie, each in a file tree of its own.
const PACKED: [&[u8]; 2] = [b"/app/", b"/snap/"];

/// The entries that are switched on, taken apart.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    watched: Vec<Watched>,
    by_id: HashMap<EntryId, usize>,
    by_name: HashMap<Box<[u8]>, Vec<usize>>,
    by_suffix: HashMap<Box<[u8]>, Vec<usize>>,
}

#[derive(Debug)]
struct Watched {
    id: EntryId,
    severity: Severity,
    owner: Owner,
    pattern: Pattern,
    expected: Vec<Expected>,
}

#[derive(Debug)]
struct Expected {
    reader: Reader,
    /// Holds in every file tree.
    is_packed: bool,
}

impl Expected {
    fn is(&self, program: &[u8], parts: &[&[u8]], packages: &Owned) -> bool {
        match &self.reader {
            Reader::Program(pattern) => pattern.matches_parts(parts),
            Reader::Package(name) => packages.has(name, program),
        }
    }
}

/// What an entry says about a file that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) id: EntryId,
    pub(super) severity: Severity,
    pub(super) owner: Owner,
}

impl Matcher {
    /// Takes the entries apart that are switched on. One that cannot be is left out: nobody let it in.
    pub(super) fn new<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut all = Self::default();
        for entry in entries.filter(|entry| entry.enabled) {
            let Ok(pattern) = entry.check() else { continue };
            let Some(literal) = pattern.literal() else { continue };
            let index = if literal.is_suffix { &mut all.by_suffix } else { &mut all.by_name };
            index.entry(literal.name.into()).or_default().push(all.watched.len());
            all.by_id.insert(entry.id, all.watched.len());
            let expected = entry.expected.iter().filter_map(expected).collect();
            let Entry { id, severity, owner, .. } = *entry;
            all.watched.push(Watched { id, severity, owner, pattern, expected });
        }
        all
    }

    /// The names that the kernel is to look for.
    pub(super) fn names(&self) -> Arc<[NameFilter]> {
        let filter = |name: &[u8], is_suffix| NameFilter { name: Text::from(name), is_suffix };
        let whole = self.by_name.keys().map(|name| filter(name, false));
        let suffixes = self.by_suffix.keys().map(|name| filter(name, true));
        whole.chain(suffixes).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The gravest entry that names the file with this absolute path. Of those as grave as each other the ones that
    /// come with Sekhmet go first, then an administrator's: nobody makes an access look harmless by an entry of
    /// their own.
    pub(super) fn find(&self, path: &[u8], homes: &Homes) -> Option<Match> {
        let parts: Vec<&[u8]> = pattern::parts(path).collect();
        let named = parts.iter().flat_map(|name| {
            let suffix = name.iter().rposition(|&b| b == b'.').and_then(|dot| name.get(dot..));
            let suffix = suffix.and_then(|suffix| self.by_suffix.get(suffix));
            self.by_name.get(*name).into_iter().chain(suffix).flatten()
        });
        let watched = named.filter_map(|&place| self.watched.get(place));
        let fits = watched.filter(|watched| watched.names(&parts, homes));
        fits.map(Watched::found).max_by_key(|found| (found.severity, rank(found.owner), Reverse(found.id)))
    }

    /// What an entry says, if it is switched on.
    pub(super) fn entry(&self, id: EntryId) -> Option<Match> {
        self.watched(id).map(Watched::found)
    }

    /// Whether an entry expects this program, which lies in the system's own file tree or not.
    pub(super) fn expects(&self, id: EntryId, program: &[u8], is_host: bool, packages: &Owned) -> bool {
        let Some(watched) = self.watched(id) else { return false };
        let parts: Vec<&[u8]> = pattern::parts(program).collect();
        program.starts_with(b"/")
            && watched.expected.iter().any(|r| (is_host || r.is_packed) && r.is(program, &parts, packages))
    }

    fn watched(&self, id: EntryId) -> Option<&Watched> {
        self.by_id.get(&id).and_then(|&place| self.watched.get(place))
    }
}

impl Watched {
    fn names(&self, parts: &[&[u8]], homes: &Homes) -> bool {
        if !self.pattern.is_below_home() {
            // An entry of a user lies in that user's home.
            return !matches!(self.owner, Owner::User(_)) && self.pattern.matches_parts(parts);
        }
        homes.around(parts).any(|home| {
            let is_theirs = match self.owner {
                Owner::User(uid) => home.uids.contains(&uid),
                Owner::Default | Owner::System => true,
            };
            is_theirs && parts.get(home.depth..).is_some_and(|rest| self.pattern.matches_parts(rest))
        })
    }

    fn found(&self) -> Match {
        Match { id: self.id, severity: self.severity, owner: self.owner }
    }
}

fn expected(text: &Text) -> Option<Expected> {
    let reader = watch::reader(text).ok()?;
    let is_packed = PACKED.iter().any(|folder| text.as_bytes().starts_with(folder));
    Some(Expected { reader, is_packed })
}

fn rank(owner: Owner) -> u8 {
    match owner {
        Owner::Default => 2,
        Owner::System => 1,
        Owner::User(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::input::Home;

    fn entry(id: u32, pattern: &str, severity: Severity, owner: Owner) -> Entry {
        Entry {
            id: EntryId(id),
            pattern: pattern.into(),
            label: Text::default(),
            group: Text::default(),
            severity,
            expected: vec!["/usr/bin/ssh".into(), "/app/bin/*".into()],
            owner,
            enabled: true,
        }
    }

    fn homes() -> Homes {
        Homes::new(vec![
            Home { uid: 1000, path: "/home/anna".into() },
            Home { uid: 1001, path: "/home/bert".into() },
        ])
    }

    fn found(matcher: &Matcher, path: &str) -> Option<u32> {
        matcher.find(path.as_bytes(), &homes()).map(|m| m.id.0)
    }

    #[test]
    fn the_gravest_entry_counts_and_nobody_plays_it_down() {
        let matcher = Matcher::new(
            [
                entry(1, "~/.ssh/id_*", Severity::High, Owner::Default),
                entry(2, "~/.ssh/**", Severity::Low, Owner::Default),
                entry(10_001, "~/.ssh/id_rsa", Severity::High, Owner::User(1000)),
                entry(10_002, "~/.ssh/config", Severity::Medium, Owner::User(1000)),
                entry(10_003, "~/.ssh/known_hosts", Severity::Low, Owner::System),
            ]
            .iter(),
        );
        assert_eq!(found(&matcher, "/home/anna/.ssh/id_rsa"), Some(1));
        assert_eq!(found(&matcher, "/home/anna/.ssh/config"), Some(10_002));
        assert_eq!(found(&matcher, "/home/bert/.ssh/config"), Some(2), "an entry of another user");
        assert_eq!(found(&matcher, "/home/bert/.ssh/known_hosts"), Some(2));
        assert_eq!(found(&matcher, "/home/bert/ssh/known_hosts"), None);
    }

    #[test]
    fn an_entry_of_a_user_reaches_no_further_than_the_home() {
        let matcher = Matcher::new([entry(10_001, "~/x/key.pem", Severity::High, Owner::User(1000))].iter());
        assert_eq!(found(&matcher, "/home/anna/x/key.pem"), Some(10_001));
        for path in ["/home/bert/x/key.pem", "/home/carl/x/key.pem", "/x/key.pem", "/home/anna/y/x/key.pem"] {
            assert_eq!(found(&matcher, path), None, "{path}");
        }
    }

    #[test]
    fn expected_readers_are_the_system_s_own() {
        let matcher = Matcher::new([entry(1, "/etc/key", Severity::High, Owner::Default)].iter());
        let none = Owned::default();
        let expects = |program: &[u8], is_host| matcher.expects(EntryId(1), program, is_host, &none);
        assert!(expects(b"/usr/bin/ssh", true) && !expects(b"/usr/bin/ssh", false));
        assert!(expects(b"/app/bin/ssh", false) && !expects(b"/app/ssh", false));
        assert!(!expects(b"ssh", true) && !expects(b"", true) && !expects(b"/usr/bin/ssh (deleted)", true));
        assert!(!matcher.expects(EntryId(2), b"/usr/bin/ssh", true, &none));
    }

    #[test]
    fn names_are_told_once_and_switched_off_entries_are_not_looked_for() {
        let off = Entry { enabled: false, ..entry(3, "/etc/other", Severity::High, Owner::System) };
        let entries = [
            entry(1, "/etc/key", Severity::High, Owner::Default),
            entry(2, "/srv/**/key", Severity::High, Owner::Default),
            entry(4, "**/*.kdbx", Severity::High, Owner::Default),
            off,
        ];
        let matcher = Matcher::new(entries.iter());
        let names: Vec<(String, bool)> =
            matcher.names().iter().map(|n| (n.name.shown(), n.is_suffix)).collect();
        assert_eq!(names, [(".kdbx".to_owned(), true), ("key".to_owned(), false)]);
        assert_eq!(found(&matcher, "/etc/other"), None);
        assert_eq!(found(&matcher, "/tmp/a.b.kdbx"), Some(4));
        assert_eq!(found(&matcher, "/srv/a/key"), Some(2));
    }
}
