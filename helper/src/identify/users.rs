//! Names of users, from the passwd file alone.
//!
//! `getpwuid` would ask the name-service switch, which loads code that the administrator chose for other
//! programs, talks to the network, and may wait for it: none of that belongs into this process. Users that
//! are not in the file (LDAP, systemd's dynamic users) are shown by their number.

use std::{collections::HashMap, fs::File, io::Read, os::unix::fs::MetadataExt, path::PathBuf};

use sekhmet_common::display::Text;

/// The most bytes read of the file.
const PASSWD_MAX: u64 = 4 * 1024 * 1024;

/// The passwd file as it was last read.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    version: Option<Version>,
    names: HashMap<u32, Text>,
}

/// What changes when the file changes.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Users {
    /// Reads nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, version: None, names: HashMap::new() }
    }

    /// The name of a user. Looks whether the file changed, and reads it again if so.
    pub(super) fn name(&mut self, uid: u32) -> Option<Text> {
        self.refresh();
        self.names.get(&uid).cloned()
    }

    fn refresh(&mut self) {
        let Ok(meta) = std::fs::metadata(&self.path) else { return };
        let version =
            Version { inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) };
        if self.version.as_ref() == Some(&version) || !meta.is_file() {
            return;
        }
        let mut bytes = Vec::new();
        // A file that cannot be read keeps the names that are known; the next request tries again.
        let read = File::open(&self.path).and_then(|f| f.take(PASSWD_MAX).read_to_end(&mut bytes));
        if read.is_ok() {
            self.names = parse(&bytes);
            self.version = Some(version);
        }
    }
}

/// Reads passwd(5). The first name of a uid counts, as in `getpwuid(3)`.
fn parse(bytes: &[u8]) -> HashMap<u32, Text> {
    let mut names = HashMap::new();
    for line in bytes.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':');
        let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let uid = std::str::from_utf8(uid).ok().and_then(|n| n.parse().ok());
        // Lines with `+` and `-` are for NIS.
        let is_name =
            !name.is_empty() && name.len() <= 256 && !name.starts_with(b"+") && !name.starts_with(b"-");
        if let Some(uid) = uid.filter(|_| is_name) {
            names.entry(uid).or_insert_with(|| Text::from(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_name_counts_and_bad_lines_do_not() {
        let names = parse(b"root:x:0:0::/root:/bin/sh\n\n#c\ntoor:x:0:0\n+nis:x:5\nbad:x:-1\n:x:7\nlast:x:9");
        assert_eq!(names[&0].shown(), "root");
        assert_eq!(names[&9].shown(), "last");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let mut users = Users::new(path.clone());
        assert_eq!(users.name(5), None);
        std::fs::write(&path, "anna:x:5:5\n").unwrap();
        assert_eq!(users.name(5).unwrap().shown(), "anna");
        let new = dir.path().join("new");
        std::fs::write(&new, "bert:x:5:5\n").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_eq!(users.name(5).unwrap().shown(), "bert");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(users.name(5).unwrap().shown(), "bert");
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _names = parse(&bytes);
        }
    }
}
