//! The walk through the files that a pattern could match: bounded in entries, depth and time.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, FileType},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sekhmet_common::display::Text;

use super::pattern::{Part, Pattern, matches};
use crate::model::watch::Preview;

/// How far a walk goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries of folders that are looked at.
    pub entries: usize,
    /// Files that are counted.
    pub files: usize,
    /// Folders below each other.
    pub depth: usize,
    /// Time.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, files: 10_000, depth: 40, time: Duration::from_secs(2) }
    }
}

/// So many files are named.
const NAMED: usize = 100;

/// Finds what a pattern matches. Folders behind symbolic links are not entered, so that there is no circle.
/// `is_stale` ends it early.
pub fn walk(pattern: &Pattern, bounds: Bounds, is_stale: &dyn Fn() -> bool) -> Preview {
    let mut walk = Walk {
        bounds,
        deadline: Instant::now() + bounds.time,
        is_stale,
        entries: 0,
        seen: HashSet::new(),
        found: Preview::default(),
    };
    let root = PathBuf::from("/");
    if pattern.is_plain() {
        let place = pattern.parts.iter().fold(root, |path, part| match part {
            Part::Name(name) => path.join(OsStr::from_bytes(name)),
            Part::Glob(_) | Part::Any => path,
        });
        match fs::metadata(&place) {
            Ok(meta) if meta.is_dir() => walk.expand(&place, &[Part::Any], 0),
            Ok(_) => walk.found(&place),
            Err(_) => {}
        }
    } else {
        walk.expand(&root, &pattern.parts, 0);
    }
    walk.found.files.sort();
    walk.found
}

struct Walk<'a> {
    bounds: Bounds,
    deadline: Instant,
    is_stale: &'a dyn Fn() -> bool,
    entries: usize,
    /// A pattern with several `**` comes to one file on several ways.
    seen: HashSet<PathBuf>,
    found: Preview,
}

impl Walk<'_> {
    fn found(&mut self, path: &Path) {
        if !self.seen.insert(path.to_owned()) {
            return;
        }
        self.found.count += 1;
        if self.found.files.len() < NAMED {
            self.found.files.push(Text::from(path.as_os_str().as_bytes()));
        }
        self.found.bounded |= self.found.count >= self.bounds.files;
    }

    fn is_over(&mut self) -> bool {
        self.found.bounded |= self.entries >= self.bounds.entries || Instant::now() >= self.deadline;
        self.found.bounded || (self.is_stale)()
    }

    /// Finds what the parts match below a folder.
    fn expand(&mut self, folder: &Path, parts: &[Part], depth: usize) {
        if self.is_over() {
            return;
        }
        if depth > self.bounds.depth {
            self.found.bounded = true;
            return;
        }
        let Some((part, rest)) = parts.split_first() else { return };
        match part {
            Part::Name(name) => {
                let place = folder.join(OsStr::from_bytes(name));
                match fs::metadata(&place) {
                    Ok(meta) if meta.is_dir() => self.expand(&place, rest, depth + 1),
                    Ok(_) if rest.is_empty() => self.found(&place),
                    _ => {}
                }
            }
            Part::Glob(tokens) => self.each(folder, |walk, place, kind, name| {
                if matches(tokens, name) {
                    walk.take(place, kind, rest, depth);
                }
            }),
            Part::Any => {
                if !rest.is_empty() {
                    self.expand(folder, rest, depth);
                }
                self.each(folder, |walk, place, kind, _| {
                    if kind.is_dir() {
                        walk.expand(place, parts, depth + 1);
                    } else if rest.is_empty() {
                        walk.found(place);
                    }
                });
            }
        }
    }

    fn take(&mut self, place: &Path, kind: FileType, rest: &[Part], depth: usize) {
        if rest.is_empty() {
            if !kind.is_dir() {
                self.found(place);
            }
        } else if kind.is_dir() || kind.is_symlink() && place.is_dir() && !matches!(rest, [Part::Any, ..]) {
            self.expand(place, rest, depth + 1);
        }
    }

    fn each(&mut self, folder: &Path, mut visit: impl FnMut(&mut Self, &Path, FileType, &[u8])) {
        let listing = match fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(error) => {
                self.found.unreadable += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                return;
            }
        };
        for entry in listing.flatten() {
            self.entries += 1;
            if self.is_over() {
                return;
            }
            if let Ok(kind) = entry.file_type() {
                visit(self, &entry.path(), kind, entry.file_name().as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for file in
            [".ssh/id_rsa", ".ssh/id_rsa.pub", ".ssh/known_hosts", "a/b/.env", "a/.env", ".env", "x y/z"]
        {
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(home.path(), home.path().join("a/circle")).unwrap();
        home
    }

    fn found(home: &tempfile::TempDir, pattern: &str) -> Vec<String> {
        let root = home.path().to_str().unwrap();
        let pattern = Pattern::parse(pattern, Some(root)).unwrap();
        let preview = walk(&pattern, Bounds::default(), &|| false);
        assert_eq!(preview.count, preview.files.len());
        preview.files.iter().map(|f| f.shown().strip_prefix(root).unwrap().to_owned()).collect()
    }

    #[test]
    fn finds_what_matches_and_nothing_else() {
        let home = tree();
        assert_eq!(found(&home, "~/.ssh/id_*"), ["/.ssh/id_rsa", "/.ssh/id_rsa.pub"]);
        assert_eq!(found(&home, "~/**/.env"), ["/.env", "/a/.env", "/a/b/.env"]);
        assert_eq!(found(&home, "~/.ssh"), ["/.ssh/id_rsa", "/.ssh/id_rsa.pub", "/.ssh/known_hosts"]);
        assert_eq!(found(&home, "~/.ssh/**"), ["/.ssh/id_rsa", "/.ssh/id_rsa.pub", "/.ssh/known_hosts"]);
        assert_eq!(found(&home, "~/x?y/*"), ["/x y/z"]);
        assert_eq!(found(&home, "~/.ssh/id_rsa"), ["/.ssh/id_rsa"]);
        assert_eq!(found(&home, "~/nothing/*"), [""; 0]);
    }

    #[test]
    fn ends_at_its_bounds_and_when_it_is_stale() {
        let home = tree();
        let pattern = Pattern::parse("~/**", Some(home.path().to_str().unwrap())).unwrap();
        let few = walk(&pattern, Bounds { entries: 3, ..Bounds::default() }, &|| false);
        assert!(few.bounded && few.count < 7);
        let flat = walk(&pattern, Bounds { depth: 0, ..Bounds::default() }, &|| false);
        assert!(flat.bounded);
        assert_eq!(walk(&pattern, Bounds::default(), &|| true).count, 0);
    }
}
