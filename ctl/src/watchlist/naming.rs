//! Which entries name a path: looked up here, with the caller's own rights, as the helper does with paths that
//! programs open.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use sekhmet_common::watch::{Entry, Owner};

/// Users and their homes, as passwd(5) has them.
#[derive(Debug, Default)]
pub(super) struct Homes(Vec<(u32, Vec<u8>)>);

impl Homes {
    /// Those of this machine's list, and the caller's own.
    pub(super) fn read() -> Self {
        let passwd = fs::read("/etc/passwd").unwrap_or_else(|error| {
            tracing::debug!(%error, "no list of users");
            Vec::new()
        });
        let mut homes = Self::parse(&passwd);
        if let Some(home) = env::home_dir() {
            homes.0.push((rustix::process::getuid().as_raw(), home.as_os_str().as_bytes().to_vec()));
        }
        // Paths are compared without links, and a home may lie behind some.
        for (_, home) in &mut homes.0 {
            *home = resolved(Path::new(OsStr::from_bytes(home))).into_os_string().into_vec();
        }
        homes
    }

    fn parse(passwd: &[u8]) -> Self {
        let of = |line: &[u8]| {
            let mut fields = line.split(|&b| b == b':');
            let uid = str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
            Some((uid, fields.nth(2)?.to_vec()))
        };
        Self(passwd.split(|&b| b == b'\n').filter_map(of).collect())
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = &[u8]> {
        let is_meant = move |uid: u32| !matches!(owner, Owner::User(own) if own != uid);
        self.0.iter().filter(move |(uid, _)| is_meant(*uid)).map(|(_, home)| home.as_slice())
    }
}

/// Whether an entry names the file with this path.
pub(super) fn names(entry: &Entry, path: &Path, homes: &Homes) -> bool {
    let path = path.as_os_str().as_bytes();
    match entry.check() {
        Ok(pattern) if pattern.is_below_home() => {
            homes.of(entry.owner).any(|home| pattern.matches(path, Some(home)))
        }
        Ok(pattern) => pattern.matches(path, None),
        // The helper has another idea of patterns than this program.
        Err(error) => {
            tracing::warn!(entry = entry.id.0, %error, "an entry that cannot be taken apart");
            false
        }
    }
}

/// The path that the kernel would name: without links as far as there is something, else without dots.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_empty| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    let mut missing = Vec::new();
    for folder in path.ancestors() {
        if let Ok(mut found) = fs::canonicalize(folder) {
            found.extend(missing.iter().rev());
            return if missing.contains(&"..".as_ref()) { plain } else { found };
        }
        missing.extend(folder.components().next_back().map(|part| part.as_os_str()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use sekhmet_common::watch::{EntryId, Severity};

    use super::*;

    #[test]
    fn a_home_is_that_of_the_entry() {
        let homes = Homes::parse(
            b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\nx:y:z\n",
        );
        let entry = |pattern: &str, owner| Entry {
            id: EntryId(1),
            pattern: pattern.into(),
            label: "".into(),
            group: "".into(),
            severity: Severity::Low,
            expected: Vec::new(),
            owner,
            enabled: true,
        };
        let named = |entry: &Entry| {
            let paths = ["/root/.k/a", "/home/ada/.k/a", "/home/bob/.k/a", "/.k/a"];
            paths.map(|path| names(entry, Path::new(path), &homes))
        };
        assert_eq!(named(&entry("~/.k/**", Owner::Default)), [true, true, false, false]);
        assert_eq!(named(&entry("~/.k/**", Owner::User(1000))), [false, true, false, false]);
        assert_eq!(named(&entry("~/.k/**", Owner::User(7))), [false; 4]);
        assert_eq!(named(&entry("**/.k/a", Owner::System)), [true; 4]);
        assert_eq!(named(&entry("broken", Owner::System)), [false; 4]);
    }

    #[test]
    fn links_are_followed_as_far_as_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(place.join("real")).unwrap();
        fs::write(place.join("real/file"), "").unwrap();
        std::os::unix::fs::symlink("real", place.join("link")).unwrap();
        assert_eq!(resolved(&place.join("link/file")), place.join("real/file"));
        assert_eq!(resolved(&place.join("link/./none/below")), place.join("real/none/below"));
        assert_eq!(resolved(&place.join("none/../other")), place.join("other"));
        assert_eq!(resolved(Path::new("/nonexistent/x/../y")), Path::new("/nonexistent/y"));
    }
}
