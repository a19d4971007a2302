//! The walk through the files that a pattern could match: bounded in entries, depth and time.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, FileType},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sekhmet_common::{display::Text, pattern::Pattern};

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

/// Where a walk looks: the pattern itself decides in the end what is a match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// In the folder of this name.
    Name(OsString),
    /// In every folder.
    Some,
    /// In every folder, and below them.
    Any,
}

/// Finds what a pattern, as it is written in `text`, matches with the rights of this process. One for any place is
/// looked for in the home. Folders behind symbolic links are not entered. `is_stale` ends it early.
pub fn walk(
    pattern: &Pattern,
    text: &str,
    home: Option<&str>,
    bounds: Bounds,
    is_stale: &dyn Fn() -> bool,
) -> Preview {
    let home = home.filter(|home| home.starts_with('/'));
    let anywhere = !text.starts_with(['/', '~']);
    let (root, rest) = match (text.strip_prefix('~'), home) {
        (None, _) if !anywhere => (PathBuf::from("/"), text),
        (rest, Some(home)) => (PathBuf::from(home), rest.unwrap_or(text)),
        (_, None) => return Preview::default(),
    };
    let mut parts: Vec<Part> = rest
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| match part {
            "**" => Part::Any,
            name if name.contains(['*', '?', '[']) => Part::Some,
            name => Part::Name(name.into()),
        })
        .collect();
    if pattern.is_plain() {
        // A folder stands for everything below it.
        parts.push(Part::Any);
    }
    let deadline = Instant::now() + bounds.time;
    let mut walk = Walk {
        pattern,
        home: home.map(str::as_bytes),
        bounds,
        deadline,
        is_stale,
        entries: 0,
        seen: HashSet::new(),
        found: Preview { home_only: anywhere, ..Preview::default() },
    };
    walk.expand(&root, &parts, 0);
    walk.found.files.sort();
    walk.found
}

struct Walk<'a> {
    pattern: &'a Pattern,
    home: Option<&'a [u8]>,
    bounds: Bounds,
    deadline: Instant,
    is_stale: &'a dyn Fn() -> bool,
    entries: usize,
    /// A pattern with several `**` comes to one file on several ways.
    seen: HashSet<PathBuf>,
    found: Preview,
}

impl Walk<'_> {
    fn file(&mut self, path: &Path) {
        let bytes = path.as_os_str().as_bytes();
        if !self.pattern.matches(bytes, self.home) || !self.seen.insert(path.to_owned()) {
            return;
        }
        self.found.count += 1;
        if self.found.files.len() < NAMED {
            self.found.files.push(Text::from(bytes));
        }
        self.found.bounded |= self.found.count >= self.bounds.files;
    }

    fn is_over(&mut self) -> bool {
        self.found.bounded |= self.entries >= self.bounds.entries || Instant::now() >= self.deadline;
        self.found.bounded || (self.is_stale)()
    }

    /// Looks below a folder.
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
            Part::Name(name) => self.named(&folder.join::<&OsStr>(name), rest, depth),
            Part::Some => self.each(folder, |walk, place, kind| {
                if kind.is_dir() {
                    walk.expand(place, rest, depth + 1);
                } else if rest.is_empty() {
                    walk.file(place);
                }
            }),
            Part::Any => {
                self.expand(folder, rest, depth);
                self.each(folder, |walk, place, kind| {
                    if kind.is_dir() {
                        walk.expand(place, parts, depth + 1);
                    } else if rest.is_empty() {
                        walk.file(place);
                    }
                });
            }
        }
    }

    fn named(&mut self, place: &Path, rest: &[Part], depth: usize) {
        // A link by its name is followed: the kernel tells of what it leads to.
        match fs::metadata(place) {
            Ok(meta) if meta.is_dir() => self.expand(place, rest, depth + 1),
            Ok(_) if matches!(rest, [] | [Part::Any]) => self.file(place),
            _ => {}
        }
    }

    fn each(&mut self, folder: &Path, mut visit: impl FnMut(&mut Self, &Path, FileType)) {
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
                visit(self, &entry.path(), kind);
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

    fn look(home: &tempfile::TempDir, text: &str, bounds: Bounds, is_stale: bool) -> Preview {
        let pattern = Pattern::parse(text.as_bytes()).unwrap();
        walk(&pattern, text, home.path().to_str(), bounds, &|| is_stale)
    }

    fn found(home: &tempfile::TempDir, text: &str) -> Vec<String> {
        let preview = look(home, text, Bounds::default(), false);
        assert_eq!(preview.count, preview.files.len());
        let root = home.path().to_str().unwrap();
        preview.files.iter().map(|f| f.shown().strip_prefix(root).unwrap().to_owned()).collect()
    }

    #[test]
    fn finds_what_matches_and_nothing_else() {
        let home = tree();
        let ssh = ["/.ssh/id_rsa", "/.ssh/id_rsa.pub", "/.ssh/known_hosts"];
        assert_eq!(found(&home, "~/.ssh/id_*"), ssh[..2]);
        assert_eq!(found(&home, "~/**/.env"), ["/.env", "/a/.env", "/a/b/.env"]);
        assert_eq!(found(&home, "**/.env"), ["/.env", "/a/.env", "/a/b/.env"]);
        assert_eq!(found(&home, "~/.ssh"), ssh);
        assert_eq!(found(&home, "~/.ssh/**"), ssh);
        assert_eq!(found(&home, "~/x?y/z"), ["/x y/z"]);
        assert_eq!(found(&home, "~/**/b/**/.env"), ["/a/b/.env"]);
        assert_eq!(found(&home, "~/.ssh/id_rsa"), ["/.ssh/id_rsa"]);
        assert_eq!(found(&home, "~/nothing/x"), [""; 0]);
        let absolute = format!("{}/a/*/.env", home.path().display());
        assert_eq!(found(&home, &absolute), ["/a/b/.env"]);
    }

    #[test]
    fn ends_at_its_bounds_and_when_it_is_stale() {
        let home = tree();
        let few = look(&home, "~/**/.env", Bounds { entries: 3, ..Bounds::default() }, false);
        assert!(few.bounded && few.count < 3);
        let flat = look(&home, "~/**/.env", Bounds { depth: 0, ..Bounds::default() }, false);
        assert!(flat.bounded);
        assert_eq!(look(&home, "~/.ssh", Bounds::default(), true).count, 0);
    }
}
