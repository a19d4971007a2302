//! `cargo xtask build`: the three programs, with the eBPF object inside the helper.

use std::path::PathBuf;

use anyhow::Result;

use crate::{bpf, paths, shell};

/// Builds all three for release (or debugging) and gives their folder.
///
/// # Errors
/// When the eBPF object or a program does not build.
pub(crate) fn all(is_debug: bool) -> Result<PathBuf> {
    packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet"], is_debug)
}

/// Builds the helper alone and gives its path.
///
/// # Errors
/// When the eBPF object or the helper does not build.
pub(crate) fn helper(is_debug: bool) -> Result<PathBuf> {
    Ok(packages(&["sekhmet-helper"], is_debug)?.join("sekhmet-helper"))
}

/// Builds the programs of some packages and gives their folder.
///
/// # Errors
/// When the eBPF object or a program does not build.
pub(crate) fn packages(packages: &[&str], is_debug: bool) -> Result<PathBuf> {
    bpf::build()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "--quiet"]);
    for package in packages {
        cargo.args(["-p", package]);
    }
    if !is_debug {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;
    Ok(paths::target().join(if is_debug { "debug" } else { "release" }))
}
