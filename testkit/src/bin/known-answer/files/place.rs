//! A folder that is watched, under a name that nobody knows, and one beside it that is not.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::checker::Checker;

/// Both folders, and what lies in them.
pub(super) struct Place {
    _all: tempfile::TempDir,
    pub(super) watched: PathBuf,
    pub(super) beside: PathBuf,
}

impl Place {
    pub(super) fn create() -> Result<Self> {
        let all = tempfile::tempdir()?;
        // Other users go through.
        fs::set_permissions(all.path(), Permissions::from_mode(0o755))?;
        let folder = |prefix: &str| -> Result<PathBuf> {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(all.path())?.keep();
            fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
            Ok(folder)
        };
        let (watched, beside) = (folder("watched ")?, folder("beside ")?);
        fs::create_dir(watched.join("sub"))?;
        for name in ["plain", "emptied", "secret", "sub/deep"] {
            fs::write(watched.join(name), name)?;
        }
        fs::set_permissions(watched.join("secret"), Permissions::from_mode(0o600))?;
        symlink("loop", watched.join("loop"))?;
        symlink(watched.join("plain"), beside.join("link"))?;
        symlink(&watched, beside.join("folder-link"))?;
        fs::hard_link(watched.join("plain"), beside.join("hard"))?;
        fs::write(beside.join("plain"), "nobody's business")?;
        Ok(Self { _all: all, watched, beside })
    }

    /// Has everything in the watched folder watched from now on; gives the entry's number.
    pub(super) fn watch(&self, checker: &Checker) -> Result<u64> {
        let mut pattern = self.watched.clone().into_os_string();
        pattern.push("/**");
        let mut command = Command::new(&checker.ctl);
        command
            .args(["watchlist", "add", "--json", "--severity", "high", "--label", "of the test"])
            .arg(pattern);
        let output = command.output().context("sekhmetctl")?;
        ensure!(output.status.success(), "watchlist add: {}", String::from_utf8_lossy(&output.stderr));
        let entry: Value = serde_json::from_slice(&output.stdout)?;
        entry["id"].as_u64().context("no number")
    }

    pub(super) fn file(&self, name: &str) -> OsString {
        self.watched.join(name).into_os_string()
    }
}

/// Removes an entry, as root.
pub(super) fn unwatch(checker: &Checker, entry: u64) -> Result<()> {
    let output = Command::new(&checker.ctl).args(["watchlist", "remove", &entry.to_string()]).output()?;
    ensure!(output.status.success(), "watchlist remove: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
