//! The list of what an installation placed, in the format of sha256sum(1).

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Below the prefix.
const PLACE: &str = "share/sekhmet/manifest";

/// Starts a line about a folder; sha256sum takes it for a comment.
const FOLDER: &str = "# folder ";

/// One placed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Relative to the root of the installation.
    pub path: PathBuf,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// What one installation placed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The files, without the manifest itself.
    pub files: Vec<Placed>,
    /// Folders that were made for them, parents first; relative as well.
    pub folders: Vec<PathBuf>,
}

impl Manifest {
    /// Where it lies.
    pub(super) fn place(root: &Path, prefix: &Path) -> PathBuf {
        below(root, &prefix.join(PLACE))
    }

    /// Reads the manifest of an installation, if there is one.
    ///
    /// # Errors
    /// When it cannot be read or names anything but plain relative paths.
    pub(super) fn read(root: &Path, prefix: &Path) -> Result<Option<Self>> {
        let path = Self::place(root, prefix);
        match fs::read_to_string(&path) {
            Ok(text) => {
                Self::parse(&text).with_context(|| format!("{} is damaged", path.display())).map(Some)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for line in text.lines() {
            if let Some(folder) = line.strip_prefix(FOLDER) {
                manifest.folders.push(plain(folder)?);
            } else if !line.starts_with('#') {
                let (digest, path) = line.split_once("  ").context("a line without a digest")?;
                manifest.files.push(Placed { path: plain(path)?, digest: digest.to_owned() });
            }
        }
        Ok(manifest)
    }

    /// Writes it and gives its path. Whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, root: &Path, prefix: &Path) -> Result<PathBuf> {
        let path = Self::place(root, prefix);
        let part = path.with_extension("part");
        fs::write(&part, self.text()).with_context(|| format!("cannot write {}", part.display()))?;
        fs::rename(&part, &path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn text(&self) -> String {
        let mut text =
            String::from("# Placed by `cargo xtask install`; `cargo xtask uninstall` removes it.\n");
        for folder in &self.folders {
            text += &format!("{FOLDER}{}\n", folder.display());
        }
        for file in &self.files {
            text += &format!("{}  {}\n", file.digest, file.path.display());
        }
        text
    }

    /// The digest that a file had when it was placed.
    pub(super) fn digest(&self, path: &Path) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.digest.as_str())
    }

    /// How many files were placed, without the manifest itself.
    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }
}

/// A path that was written by somebody must not lead out of the installation's root.
fn plain(text: &str) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    if text.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("{text:?} is no plain relative path");
    }
    Ok(path)
}

/// An absolute path of the installed system, as it is named below `root`.
pub(super) fn below(root: &Path, place: &Path) -> PathBuf {
    root.join(place.strip_prefix("/").unwrap_or(place))
}

/// The SHA-256 of a file, from sha256sum(1).
///
/// # Errors
/// When the file cannot be read.
pub(super) fn digest(file: &Path) -> Result<String> {
    let text = shell::output(Command::new("sha256sum").arg("--").arg(file))?;
    // A backslash in front marks a name with odd characters.
    let digest = text.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    if digest.len() != 64 {
        bail!("sha256sum gave no digest of {}", file.display());
    }
    Ok(digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let manifest = Manifest {
            files: vec![Placed { path: "usr/bin/sekhmet".into(), digest: "ab".repeat(32) }],
            folders: vec!["usr/share/sekhmet".into()],
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path(), Path::new("/usr")).unwrap(), None);
        fs::create_dir_all(dir.path().join("usr/share/sekhmet")).unwrap();
        manifest.write(dir.path(), Path::new("/usr")).unwrap();
        assert_eq!(Manifest::read(dir.path(), Path::new("/usr")).unwrap(), Some(manifest));
    }

    #[test]
    fn a_manifest_cannot_point_elsewhere() {
        for bad in ["00  ../etc/passwd", "00  /etc/passwd", "# folder ..", "# folder ", "nonsense"] {
            assert!(Manifest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("odd\nname");
        fs::write(&file, "abc").unwrap();
        // FIPS 180-2, B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(&file).unwrap(), known);
    }
}
