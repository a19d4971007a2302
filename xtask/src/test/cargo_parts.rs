//! The parts of the test run that are a cargo command or a tool beside it.

use std::io::IsTerminal as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::summary::{Outcome, read_test_counts};
use crate::setup::cargo_tools::Tool;
use crate::{paths, shell};

/// Tests that need a stage of their own; the plain run must not start them.
pub(super) const OWN_STAGE: [&str; 1] = ["kernel_suite"];

/// rustfmt, for the workspace and for the crates that are no members of it.
pub(super) fn format() -> Result<Outcome> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    let mut passed = 1;
    for manifest in ["ebpf/Cargo.toml", "fuzz/Cargo.toml"] {
        if paths::root().join(manifest).is_file() {
            shell::run(shell::cargo().args(["fmt", "--check", "--manifest-path", manifest]))?;
            passed += 1;
        }
    }
    Ok(Outcome::Passed(passed))
}

/// Spelling, with the words of `typos.toml`.
pub(super) fn spelling() -> Result<Outcome> {
    let typos = Tool::Typos.find()?.context("typos is missing: run `cargo xtask setup`")?;
    shell::run(Command::new(typos).current_dir(paths::root()))?;
    Ok(Outcome::Passed(1))
}

/// Every lint, tests included, as errors.
pub(super) fn clippy() -> Result<Outcome> {
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(Outcome::Passed(1))
}

/// The oldest compiler that the manifest promises still takes every crate.
pub(super) fn oldest_compiler() -> Result<Outcome> {
    let manifest = std::fs::read_to_string(paths::root().join("Cargo.toml"))?;
    let version = promised_version(&manifest).context("the manifest names no rust-version")?;
    let installed = shell::output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let toolchain = installed.split_whitespace().find(|name| name.starts_with(version));
    let Some(toolchain) = toolchain else {
        return Ok(Outcome::Skipped(format!("not checked, needs `rustup toolchain install {version}`")));
    };
    let mut check = Command::new("rustup");
    check.args(["run", toolchain, "cargo", "check", "--workspace", "--all-targets", "--locked"]);
    check.arg("--target-dir").arg(paths::target().join("oldest"));
    // The outer cargo has named its own compiler.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        check.env_remove(name);
    }
    shell::run(check.current_dir(paths::root()))?;
    Ok(Outcome::Passed(1))
}

fn promised_version(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'))
}

/// The documentation builds and its links hold.
pub(super) fn documentation() -> Result<Outcome> {
    let mut cargo = shell::cargo();
    cargo.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    shell::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed(1))
}

/// Licences, bans and sources, for every crate with a lock file.
pub(super) fn deny() -> Result<Outcome> {
    let mut passed = 0;
    for manifest in ["Cargo.toml", "ebpf/Cargo.toml", "fuzz/Cargo.toml"] {
        if paths::root().join(manifest).is_file() {
            shell::run(cargo_deny(manifest)?.args([
                "check",
                "--hide-inclusion-graph",
                "-A",
                "license-exception-not-encountered",
                "bans",
                "licenses",
                "sources",
            ]))?;
            passed += 3;
        }
    }
    Ok(Outcome::Passed(passed))
}

/// Known vulnerabilities. The database is a repository on the internet; without it the part says "not checked".
pub(super) fn advisories() -> Result<Outcome> {
    let mut check = cargo_deny("Cargo.toml")?;
    check.args(["check", "--hide-inclusion-graph", "advisories"]);
    // git must fail where it would ask for a name and a password.
    let (status, text) = shell::run_and_read(check.env("GIT_TERMINAL_PROMPT", "0"))?;
    if status.success() {
        return Ok(Outcome::Passed(1));
    }
    if text.contains("failed to fetch advisory database") {
        return Ok(Outcome::Skipped("not checked, the advisory database cannot be reached".into()));
    }
    bail!("advisories: {status}")
}

fn cargo_deny(manifest: &str) -> Result<Command> {
    let program = Tool::CargoDeny.find()?.context("cargo-deny is missing: run `cargo xtask setup`")?;
    let mut command = Command::new(program);
    command.current_dir(paths::root()).args(["--manifest-path", manifest, "--locked"]);
    command.arg("--config").arg(paths::root().join("deny.toml"));
    Ok(command)
}

/// Unit, property and integration tests, through nextest where it is installed.
pub(super) fn tests() -> Result<Outcome> {
    let mut cargo = shell::cargo();
    if has_nextest() {
        let filter = OWN_STAGE.map(|name| format!("not binary({name})")).join(" and ");
        cargo.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "-E", &filter]);
    } else {
        cargo.args(["test", "--workspace", "--locked", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    counted(&mut cargo)
}

/// The examples in documentation, which nextest does not run.
pub(super) fn doc_tests() -> Result<Outcome> {
    counted(shell::cargo().args(["test", "--workspace", "--locked", "--doc", "--no-fail-fast"]))
}

fn has_nextest() -> bool {
    shell::output(shell::cargo().args(["nextest", "--version"])).is_ok()
}

fn counted(cargo: &mut Command) -> Result<Outcome> {
    // The output goes through a pipe, so cargo cannot tell by itself.
    let is_terminal = std::io::stderr().is_terminal();
    cargo.env("CARGO_TERM_COLOR", if is_terminal { "always" } else { "never" });
    let (status, text) = shell::run_and_read(cargo)?;
    match read_test_counts(&text) {
        Some(tally) if status.success() || tally.failed > 0 => Ok(tally.into()),
        None if status.success() => bail!("`{}` ran no test", shell::shown(cargo)),
        _ => bail!("`{}` failed: {status}", shell::shown(cargo)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_the_oldest_compiler() {
        assert_eq!(promised_version("[package]\nrust-version = \"1.95\"\n"), Some("1.95"));
        let manifest = std::fs::read_to_string(paths::root().join("Cargo.toml")).unwrap();
        assert!(promised_version(&manifest).is_some());
    }
}
