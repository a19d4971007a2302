//! Tools for the test run that no system package brings, kept in the cache folder.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::Purpose;
use crate::{paths, shell};

/// A tool with a pinned version, so that a run today and one next year judge alike.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool {
    /// Gates licences, bans and sources of dependencies. Built from the crate registry (under two minutes on two cores).
    CargoDeny,
    /// Spelling. Its project publishes a ready-made program on PyPI (a build takes three minutes).
    Typos,
}

/// The tools that `purposes` need and that are not there.
///
/// # Errors
/// When the cache folder cannot be told.
pub(crate) fn missing(purposes: &[Purpose]) -> Result<Vec<Tool>> {
    if !purposes.contains(&Purpose::Test) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for tool in [Tool::CargoDeny, Tool::Typos] {
        if tool.find()?.is_none() {
            missing.push(tool);
        }
    }
    Ok(missing)
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::CargoDeny => "cargo-deny",
            Self::Typos => "typos",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::CargoDeny => "0.20.2",
            Self::Typos => "1.52.0",
        }
    }

    /// The line for the list that the person agrees to.
    pub(crate) fn line(self) -> String {
        let from = match self {
            Self::CargoDeny => "the crate registry",
            Self::Typos => "PyPI",
        };
        format!("{} {} from {from}, into the cache folder", self.name(), self.version())
    }

    /// The program, when it is there and runs.
    ///
    /// # Errors
    /// When the cache folder cannot be told.
    pub(crate) fn find(self) -> Result<Option<PathBuf>> {
        let program = self.root()?.join("bin").join(self.name());
        let runs = Command::new(&program).arg("--version").stdin(Stdio::null()).output().is_ok_and(|out| {
            out.status.success() && String::from_utf8_lossy(&out.stdout).contains(self.version())
        });
        Ok(runs.then_some(program))
    }

    /// Brings the tool into the cache folder.
    ///
    /// # Errors
    /// When the registry cannot be reached or the build fails.
    pub(crate) fn install(self) -> Result<()> {
        let root = self.root()?;
        shell::say(format!("{} {} into {}", self.name(), self.version(), root.display()));
        match self {
            Self::CargoDeny => {
                let mut cargo = shell::cargo();
                // Without optimisation it builds in half the time and still checks in a second.
                cargo.args([
                    "install",
                    "cargo-deny",
                    "--locked",
                    "--debug",
                    "--quiet",
                    "--force",
                    "--version",
                    self.version(),
                ]);
                cargo.arg("--root").arg(&root);
                for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"]
                {
                    cargo.env_remove(name);
                }
                shell::run(&mut cargo)
            }
            Self::Typos => {
                // Into a folder of its own: the machine's Python stays as it is.
                let mut pip = Command::new("python3");
                pip.args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "--upgrade",
                ]);
                pip.arg("--target").arg(&root).arg(format!("typos=={}", self.version()));
                pip.env("PIP_ROOT_USER_ACTION", "ignore").stdin(Stdio::null());
                shell::run(&mut pip)
            }
        }
        .with_context(|| format!("cannot bring {}", self.name()))
    }

    fn root(self) -> Result<PathBuf> {
        Ok(paths::cache()?.join(format!("{}-{}", self.name(), self.version())))
    }
}
