//! Placing files whole or not at all, and removing just those again.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::layout::Entry;
use super::manifest::{Manifest, Placed, below, digest};

/// Something that is where a file should go and that no installation placed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Where.
    pub path: PathBuf,
    /// Whether it is a plain file, which may be replaced on request.
    pub is_file: bool,
}

/// What is in the way of `entries`: neither placed by the earlier installation and unchanged since, nor the same already.
///
/// # Errors
/// When a file that is there cannot be read.
pub(super) fn conflicts(root: &Path, entries: &[Entry], earlier: &Manifest) -> Result<Vec<Conflict>> {
    let mut conflicts = Vec::new();
    for entry in entries {
        let path = below(root, &entry.place);
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let is_ours = metadata.is_file() && {
            let known = earlier.digest(relative(&entry.place));
            known.is_some_and(|known| digest(&path).is_ok_and(|now| now == known))
                || fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
                    == entry.source.content()?
        };
        if !is_ours {
            conflicts.push(Conflict { path, is_file: metadata.is_file() });
        }
    }
    Ok(conflicts)
}

/// Places every file, removes what only the earlier installation had, and gives the new manifest.
///
/// # Errors
/// When a folder or file cannot be made. What was placed until then stays, and the earlier manifest with it.
pub(super) fn place(root: &Path, prefix: &Path, entries: &[Entry], earlier: &Manifest) -> Result<Manifest> {
    let mut placed = Manifest { files: Vec::new(), folders: earlier.folders.clone() };
    make_parents(&Manifest::place(root, prefix), root, &mut placed.folders)?;
    for entry in entries {
        let path = below(root, &entry.place);
        make_parents(&path, root, &mut placed.folders)?;
        write_whole(&path, &entry.source.content()?, entry.mode)?;
        placed.files.push(Placed { path: relative(&entry.place).to_path_buf(), digest: digest(&path)? });
    }
    for old in &earlier.files {
        if placed.digest(&old.path).is_none() {
            remove_unchanged(root, old)?;
        }
    }
    Ok(placed)
}

/// Makes the folders between `root` and a file, and notes those that were not there.
fn make_parents(file: &Path, root: &Path, made: &mut Vec<PathBuf>) -> Result<()> {
    let folders = file.ancestors().skip(1).take_while(|folder| *folder != root && !folder.is_dir());
    let mut missing: Vec<&Path> = folders.collect();
    missing.reverse();
    for folder in missing {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // The person's umask must not decide who can read what is installed.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        made.push(folder.strip_prefix(root).unwrap_or(folder).to_path_buf());
    }
    Ok(())
}

/// A running program cannot be written to, but its name can be given to a new file.
fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || -> io::Result<()> {
        fs::write(&part, content)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(mode))?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes what the manifest lists, the manifest itself and the folders that are empty then. Gives the files that
/// were changed since and therefore stay.
///
/// # Errors
/// When a file cannot be removed.
pub(super) fn remove(root: &Path, prefix: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for file in &manifest.files {
        if !remove_unchanged(root, file)? {
            kept.push(root.join(&file.path));
        }
    }
    let list = Manifest::place(root, prefix);
    fs::remove_file(&list).with_context(|| format!("cannot remove {}", list.display()))?;
    for folder in manifest.folders.iter().rev() {
        let path = root.join(folder);
        match fs::remove_dir(&path) {
            // Somebody else's files are in it, or somebody removed it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {}
            other => other.with_context(|| format!("cannot remove {}", path.display()))?,
        }
    }
    Ok(kept)
}

/// Whether the file is gone; one whose content is not what was placed stays.
fn remove_unchanged(root: &Path, file: &Placed) -> Result<bool> {
    let path = root.join(&file.path);
    let Ok(metadata) = path.symlink_metadata() else { return Ok(true) };
    if !metadata.is_file() || digest(&path)? != file.digest {
        return Ok(false);
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(true)
}

/// An absolute place as the manifest names it.
fn relative(place: &Path) -> &Path {
    place.strip_prefix("/").unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::super::layout::Source;
    use super::*;

    const PREFIX: &str = "/usr";

    fn entry(place: &str, text: &str) -> Entry {
        Entry { place: place.into(), source: Source::Text(text.into()), mode: 0o644 }
    }

    fn install(root: &Path, entries: &[Entry]) -> Manifest {
        let earlier = Manifest::read(root, Path::new(PREFIX)).unwrap().unwrap_or_default();
        assert_eq!(conflicts(root, entries, &earlier).unwrap(), []);
        let placed = place(root, Path::new(PREFIX), entries, &earlier).unwrap();
        placed.write(root, Path::new(PREFIX)).unwrap();
        placed
    }

    #[test]
    fn what_was_placed_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/share")).unwrap();
        install(
            root,
            &[entry("/usr/bin/a", "1"), entry("/usr/share/x/b", "2"), entry("/usr/share/y/c", "3")],
        );
        let mode = fs::metadata(root.join("usr/bin/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        fs::write(root.join("usr/share/y/foreign"), "").unwrap();
        let manifest = Manifest::read(root, Path::new(PREFIX)).unwrap().unwrap();
        assert_eq!(remove(root, Path::new(PREFIX), &manifest).unwrap(), [] as [PathBuf; 0]);
        assert!(!root.join("usr/bin").exists() && !root.join("usr/share/x").exists());
        assert!(root.join("usr/share").exists(), "was there before");
        assert!(root.join("usr/share/y/foreign").exists() && !root.join("usr/share/y/c").exists());
    }

    #[test]
    fn a_foreign_file_is_a_conflict_and_a_link_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/a"), "theirs").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("usr/bin/b")).unwrap();
        fs::write(root.join("usr/bin/c"), "same").unwrap();
        let entries = [entry("/usr/bin/a", "1"), entry("/usr/bin/b", "2"), entry("/usr/bin/c", "same")];
        let found = conflicts(root, &entries, &Manifest::default()).unwrap();
        let found: Vec<_> =
            found.iter().map(|c| (c.path.file_name().unwrap().to_str().unwrap(), c.is_file)).collect();
        assert_eq!(found, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_second_installation_replaces_the_first_and_drops_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        install(root, &[entry("/usr/bin/a", "1"), entry("/usr/lib/old", "1")]);
        install(root, &[entry("/usr/bin/a", "2")]);
        assert_eq!(fs::read_to_string(root.join("usr/bin/a")).unwrap(), "2");
        assert!(!root.join("usr/lib/old").exists());
        let manifest = Manifest::read(root, Path::new(PREFIX)).unwrap().unwrap();
        remove(root, Path::new(PREFIX), &manifest).unwrap();
        assert_eq!(fs::read_dir(root).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_changed_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let manifest = install(root, &[entry("/usr/bin/a", "1")]);
        fs::write(root.join("usr/bin/a"), "edited").unwrap();
        let earlier = Manifest::read(root, Path::new(PREFIX)).unwrap().unwrap();
        assert_eq!(conflicts(root, &[entry("/usr/bin/a", "2")], &earlier).unwrap().len(), 1);
        assert_eq!(remove(root, Path::new(PREFIX), &manifest).unwrap(), [root.join("usr/bin/a")]);
    }
}
