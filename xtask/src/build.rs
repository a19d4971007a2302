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
    if is_debug {
        // Features are those of all packages together: another choice of packages would build every dependency again.
        cargo.arg("--workspace");
        for program in packages.iter().flat_map(|package| programs_of(package)) {
            cargo.args(["--bin", program]);
        }
    } else {
        // What is shipped has no feature that only a test asks for.
        cargo.arg("--release");
        for package in packages {
            cargo.args(["-p", package]);
        }
    }
    shell::run(&mut cargo)?;
    Ok(paths::target().join(if is_debug { "debug" } else { "release" }))
}

/// The programs that a package builds.
fn programs_of(package: &str) -> &'static [&'static str] {
    match package {
        "sekhmet" => &["sekhmet"],
        "sekhmet-ctl" => &["sekhmetctl"],
        "sekhmet-helper" => &["sekhmet-helper"],
        "sekhmet-testkit" => &["known-answer", "measure"],
        _ => &[],
    }
}
