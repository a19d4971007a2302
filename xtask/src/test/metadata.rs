//! What cargo knows about the workspace, as far as the checks need it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::shell;

/// `cargo metadata`, format version 1.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    /// The members, when read without dependencies; else every package.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    /// Its name in `Cargo.toml`.
    pub name: String,
    /// Where its `Cargo.toml` lies.
    pub manifest_path: PathBuf,
    /// What it says it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One line of a dependency table.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    /// The package's name.
    pub name: String,
    /// The name it has in this package's code, when it was given another.
    pub rename: Option<String>,
    /// Absent for ordinary ones, `dev` or `build` else.
    pub kind: Option<String>,
}

/// The members of the workspace.
///
/// # Errors
/// When cargo cannot read a manifest.
pub(super) fn members() -> Result<Vec<Package>> {
    let text =
        shell::output(shell::cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read what cargo metadata printed")?;
    Ok(metadata.packages)
}
