//! Debian's and Ubuntu's package manager: what is installed, what an installation would do, and doing it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Package lists older than this are fetched again: mirrors drop superseded versions after a security update.
const LISTS_STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What `apt-get install` would do, read from its simulation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Packages that are not installed now.
    pub added: Vec<String>,
    /// Installed packages that would get another version.
    pub changed: Vec<String>,
    /// Installed packages that would go.
    pub removed: Vec<String>,
}

/// Whether this machine has apt at all.
pub(crate) fn is_available() -> bool {
    shell::find("apt-get").is_some() && shell::find("dpkg-query").is_some()
}

/// Whether dpkg has the package completely installed.
pub(crate) fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Abbrev}\n", package]);
    // dpkg-query fails for names it never heard of, which is an answer too.
    shell::output(&mut query).is_ok_and(|text| parse_installed(&text))
}

/// Reads `dpkg-query -W -f '${db:Status-Abbrev}\n'`: wanted state, present state, error flag.
fn parse_installed(text: &str) -> bool {
    text.lines().any(|line| line.as_bytes().get(1) == Some(&b'i') && line.as_bytes().get(2) != Some(&b'R'))
}

/// Whether the package lists offer this package.
pub(crate) fn has_candidate(package: &str) -> bool {
    shell::output(Command::new("apt-cache").args(["policy", package]))
        .is_ok_and(|text| parse_candidate(&text))
}

fn parse_candidate(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|version| !version.trim().is_empty() && version.trim() != "(none)")
}

/// The major version of the LLVM library that `package` depends on, directly or not.
pub(crate) fn llvm_major_of(package: &str) -> Option<u32> {
    let mut query = Command::new("apt-cache");
    query.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"]);
    query.args(["--no-replaces", "--no-enhances", package]);
    parse_llvm_major(&shell::output(&mut query).ok()?)
}

fn parse_llvm_major(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.strip_prefix("libllvm")?.parse().ok())
}

/// Fetches the package lists when there are none, when they are old, or when they lack what is looked for:
/// a freshly installed system has the lists of its medium, without updates.
///
/// # Errors
/// When apt cannot reach its archive.
pub(crate) fn refresh_lists(is_all_known: impl FnOnce() -> bool) -> Result<()> {
    if are_lists_young() && is_all_known() {
        return Ok(());
    }
    shell::say("fetching the package lists (apt-get update)");
    shell::run(apt_get().args(["update", "-q"]))
}

fn are_lists_young() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let filled = fs::read_dir(lists).is_ok_and(|mut dir| {
        dir.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
    });
    // The files carry the server's dates; the folder apt downloads into carries the time of the last update.
    let updated = ["/var/lib/apt/lists/partial", "/var/lib/apt/lists"]
        .iter()
        .filter_map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .max();
    let age = updated.and_then(|time| SystemTime::now().duration_since(time).ok());
    filled && age.is_some_and(|age| age < LISTS_STALE_AFTER)
}

/// Asks apt what installing `packages` would do, without doing it.
///
/// # Errors
/// When apt finds no way to install them; its message is in the error.
pub(crate) fn simulate(packages: &[String]) -> Result<Plan> {
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").args(["install", "-s", "-q", "--no-install-recommends"]).args(packages);
    Ok(parse_plan(&shell::output(&mut command)?))
}

/// Reads the `Inst`, `Remv` lines of a simulation: `Inst NAME [OLD] (NEW …)`, where `[OLD]` marks an installed one.
fn parse_plan(text: &str) -> Plan {
    let mut plan = Plan::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Inst"), Some(name)) if words.next().is_some_and(|word| word.starts_with('[')) => {
                plan.changed.push(name.to_owned());
            }
            (Some("Inst"), Some(name)) => plan.added.push(name.to_owned()),
            (Some("Remv"), Some(name)) => plan.removed.push(name.to_owned()),
            _ => {}
        }
    }
    plan
}

/// Installs `packages` and what they need; recommendations are left out.
///
/// # Errors
/// When apt fails, or when it would have to remove something: `--no-remove` makes apt itself refuse.
pub(crate) fn install(packages: &[String]) -> Result<()> {
    shell::run(
        apt_get().args(["install", "-y", "-q", "--no-install-recommends", "--no-remove"]).args(packages),
    )
}

/// Unpacks packages into `dir` without installing them, for those that conflict with installed ones.
///
/// # Errors
/// When a package cannot be downloaded or unpacked.
pub(crate) fn unpack(packages: &[String], dir: &Path) -> Result<()> {
    let staging = tempfile::tempdir().context("cannot make a folder for downloads")?;
    let unpacked = dir.with_extension("part");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).with_context(|| format!("cannot clear {}", unpacked.display()))?;
    }
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    shell::run(
        Command::new("apt-get")
            .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
            .args(packages)
            .current_dir(staging.path()),
    )?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(staging.path())? {
        let file = entry?.path();
        shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unpacked))?;
        names.insert(file);
    }
    if names.len() < packages.len() {
        bail!("apt-get download brought {} of {} packages", names.len(), packages.len());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot replace {}", dir.display()))?;
    }
    fs::rename(&unpacked, dir).with_context(|| format!("cannot finish {}", dir.display()))
}

fn apt_get() -> Command {
    let mut command = shell::as_root("env");
    // Questions would wait for ever where nobody sits; another apt may hold the lock for a while.
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "LC_ALL=C",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_state_that_dpkg_reports() {
        assert!(parse_installed("ii \n"));
        assert!(parse_installed("hi \n"), "held packages are installed");
        assert!(!parse_installed("rc \n"), "removed, its configuration left");
        assert!(!parse_installed("un \n"));
        assert!(!parse_installed("iU \n"), "unpacked only");
        assert!(!parse_installed("iiR\n"), "needs reinstallation");
        assert!(!parse_installed(""));
    }

    #[test]
    fn reads_a_simulation() {
        let text = "Reading package lists...\nRemv rustc [1.63.0] \nInst libllvm22 (1:22.1.8 Debian:12 [amd64])\n\
                    Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64]) []\nConf libllvm22 (1:22.1.8 Debian:12 [amd64])\n";
        let plan = parse_plan(text);
        assert_eq!(plan.added, ["libllvm22"]);
        assert_eq!(plan.changed, ["libc6"]);
        assert_eq!(plan.removed, ["rustc"]);
    }

    #[test]
    fn reads_candidates() {
        assert!(parse_candidate("polkitd:\n  Installed: (none)\n  Candidate: 122-3\n"));
        assert!(!parse_candidate("polkitd:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!parse_candidate(""), "an unknown package prints nothing");
    }

    #[test]
    fn reads_the_llvm_version_from_dependencies() {
        let text = "rustc-web\n  Depends: libstd-rust-web-1.96\n  Depends: libllvm22\n <libllvm>\n";
        assert_eq!(parse_llvm_major(text), Some(22));
        assert_eq!(parse_llvm_major("rustc\n  Depends: libc6\n"), None);
    }
}
