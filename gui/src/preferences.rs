//! What the window remembers from one time to the next: one small file in the user's own configuration.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A file larger than this is none of ours: 64 KiB.
const FILE_MAX: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Whether the desktop is told of unexpected readers.
    alerts: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { alerts: true }
    }
}

/// What is remembered, and where. Without a place it is remembered until the window closes.
#[derive(Clone, Debug, Default)]
pub struct Preferences {
    file: Option<PathBuf>,
    kept: Kept,
}

impl Preferences {
    /// Those of the user, `$XDG_CONFIG_HOME/sekhmet/window.json` (XDG Base Directory Specification).
    pub fn of_user() -> Self {
        let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
        config.map_or_else(Self::default, |config| Self::at(config.join("sekhmet").join("window.json")))
    }

    /// Those in a file. One that cannot be understood counts as none, and is replaced by the next change.
    pub fn at(file: PathBuf) -> Self {
        let kept = read(&file).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, file = %file.display(), "preferences cannot be read");
            }
            Kept::default()
        });
        Self { file: Some(file), kept }
    }

    /// Whether the desktop is told of unexpected readers.
    pub fn alerts(&self) -> bool {
        self.kept.alerts
    }

    /// Remembers whether it is, if that is new.
    pub fn keep(&mut self, alerts: bool) {
        if self.kept.alerts == alerts {
            return;
        }
        self.kept.alerts = alerts;
        if let Some(file) = &self.file
            && let Err(error) = write(file, self.kept)
        {
            tracing::warn!(%error, file = %file.display(), "preferences cannot be kept");
        }
    }
}

fn read(file: &Path) -> io::Result<Kept> {
    if fs::metadata(file)?.len() > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    serde_json::from_slice(&fs::read(file)?).map_err(io::Error::other)
}

/// The file is replaced whole: a reader sees the old one or the new one.
fn write(file: &Path, kept: Kept) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("json.new");
    fs::write(&new, serde_json::to_vec_pretty(&kept)?)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/window.json");
        let mut preferences = Preferences::at(file.clone());
        assert!(preferences.alerts(), "told, unless somebody says otherwise");
        preferences.keep(true);
        assert!(!file.exists(), "nothing new is nothing to write");
        preferences.keep(false);
        assert!(!Preferences::at(file.clone()).alerts());
        fs::write(&file, b"{\"alerts\": 7").unwrap();
        assert!(Preferences::at(file).alerts(), "a damaged file is none");
    }
}
