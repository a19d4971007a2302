//! Where users live: the passwd file, with the links in the paths followed as the kernel follows them.
//!
//! Homes may be closed to the helper, and its own view of the file tree is without them. It looks through the first
//! process's root, and reads nothing but the names that links point to.

use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::PathBuf};

use rustix::fs::{Mode, OFlags, readlinkat};

use crate::{engine::input::Home, run::links::resolved};

/// The most bytes read of the file.
const PASSWD_MAX: u64 = 4 * 1024 * 1024;

/// The most users that are taken in.
const HOMES_MAX: usize = 65_536;

/// The passwd file as it was last read.
#[derive(Debug)]
pub(super) struct Passwd {
    path: PathBuf,
    root: PathBuf,
    version: Option<(u64, u64, i64, i64)>,
    known: Option<Vec<Home>>,
}

impl Default for Passwd {
    fn default() -> Self {
        Self { path: "/etc/passwd".into(), root: "/proc/1/root".into(), version: None, known: None }
    }
}

impl Passwd {
    /// The homes of all users, if the file has changed since it was last asked for and they with it.
    pub(super) fn changed(&mut self) -> Option<Vec<Home>> {
        let meta = std::fs::metadata(&self.path).ok()?;
        let version = (meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
        if self.version == Some(version) || !meta.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        // One that cannot be read leaves what is known; the next look tries again.
        File::open(&self.path).and_then(|file| file.take(PASSWD_MAX).read_to_end(&mut bytes)).ok()?;
        self.version = Some(version);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.root, flags, Mode::empty()).ok();
        let link = |path: &[u8]| readlinkat(root.as_ref()?, path, Vec::new()).ok().map(|l| l.into_bytes());
        let homes: Vec<Home> = parse(&bytes)
            .into_iter()
            .map(|Home { uid, path }| Home { uid, path: resolved(path.as_bytes(), link) })
            .collect();
        if self.known.as_ref() == Some(&homes) {
            return None;
        }
        self.known = Some(homes.clone());
        Some(homes)
    }
}

/// Reads passwd(5).
fn parse(bytes: &[u8]) -> Vec<Home> {
    let homes = bytes.split(|&b| b == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
        let uid = std::str::from_utf8(fields.get(2)?).ok()?.parse().ok()?;
        let path = *fields.get(5)?;
        path.starts_with(b"/").then(|| Home { uid, path: path.into() })
    });
    homes.take(HOMES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn homes_are_told_when_they_change_with_their_links_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("data/people/anna")).unwrap();
        symlink("data/people", root.join("home")).unwrap();
        symlink("/data/../data/people/anna", root.join("data/people/bert")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let path = dir.path().join("passwd");
        let text = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000:A:/home/anna:/bin/sh\nbert:x:1001:1:B:/home/bert:\n\
                    lost:x:7:7::/loop/x:\nbad:x:-1:1::/x:\nshort:x:5\nrelative:x:8:8::x:\n";
        fs::write(&path, text).unwrap();
        let mut passwd = Passwd { path: path.clone(), root, version: None, known: None };
        let homes: Vec<(u32, String)> =
            passwd.changed().unwrap().iter().map(|h| (h.uid, h.path.shown())).collect();
        let expected =
            [(0, "/root"), (1000, "/data/people/anna"), (1001, "/data/people/anna"), (7, "/loop/x")];
        assert_eq!(homes, expected.map(|(uid, path)| (uid, path.to_owned())));
        assert_eq!(passwd.changed(), None);
        let new = dir.path().join("new");
        fs::write(&new, format!("{text}\n")).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(passwd.changed(), None, "nobody moved");
        fs::write(&path, "anna:x:1000:1000:A:/srv/anna:/bin/sh\n").unwrap();
        assert_eq!(passwd.changed().map(|homes| homes.len()), Some(1));
    }
}
