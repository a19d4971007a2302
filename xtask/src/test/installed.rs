//! The part of the test run that installs into a folder and asks each format's own validator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::summary::Outcome;
use crate::install::{self, Options, Target};
use crate::{build, shell};

/// The highest exposure that `systemd-analyze security` may find, in its own tenths.
const EXPOSURE_MAX: f64 = 2.0;

/// Every file passes its format's own validator, and the removal leaves an empty folder.
pub(super) fn check() -> Result<Outcome> {
    let programs = programs()?;
    let folder = tempfile::tempdir().context("cannot make a folder to install into")?;
    let target = Target { destdir: Some(folder.path().to_path_buf()), prefix: "/usr".into(), yes: true };
    install::install(&Options { target: target.clone(), from: Some(programs), replace: false })?;
    let root = folder.path().join("usr");
    let mut passed = 2;
    for (program, arguments, file) in [
        ("desktop-file-validate", &[][..], "share/applications/org.sekhmet.Sekhmet.desktop"),
        ("appstreamcli", &["validate", "--no-net"][..], "share/metainfo/org.sekhmet.Sekhmet.metainfo.xml"),
        ("systemd-sysusers", &["--dry-run"][..], "lib/sysusers.d/sekhmet.conf"),
    ] {
        shell::run(Command::new(program).args(arguments).arg(root.join(file)))?;
        passed += 1;
    }
    for file in xml_files(&root)? {
        shell::run(Command::new("xmllint").args(["--noout", "--nonet"]).arg(&file))?;
        passed += 1;
    }
    check_unit(&root)?;
    passed += 2;
    install::uninstall(&target, false)?;
    let left = fs::read_dir(folder.path())?.count();
    ensure!(left == 0, "the removal left something in {}", folder.path().display());
    Ok(Outcome::Passed(passed))
}

/// The unit as systemd reads it, and what it leaves open to the helper.
fn check_unit(root: &Path) -> Result<()> {
    let unit = root.join("lib/systemd/system/sekhmet.service");
    // systemd looks for the program at the place that the unit names, where it is not installed now.
    let text = fs::read_to_string(&unit)?.replace("=/usr/", &format!("={}/", root.display()));
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("sekhmet.service");
    fs::write(&copy, text)?;
    let mut verify = Command::new("systemd-analyze");
    let (status, said) = shell::run_and_read(verify.args(["verify", "--recursive-errors=no"]).arg(&copy))?;
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("sekhmet")).collect();
    ensure!(status.success() && about_us.is_empty(), "systemd-analyze verify: {}", about_us.join("\n"));

    let mut security = Command::new("systemd-analyze");
    let text = shell::output(security.args(["security", "--offline=yes", "--no-pager"]).arg(&copy))?;
    let exposure = exposure(&text).context("systemd-analyze security gave no exposure")?;
    shell::say(format!("exposure {exposure} (systemd-analyze security), {EXPOSURE_MAX:.1} at most"));
    ensure!(exposure <= EXPOSURE_MAX, "the unit leaves more open than it may:\n{text}");
    Ok(())
}

fn exposure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

fn xml_files(root: &Path) -> Result<Vec<PathBuf>> {
    let found = shell::output(Command::new("find").arg(root).args(["-type", "f", "("]).args([
        "-name",
        "*.xml",
        "-o",
        "-name",
        "*.policy",
        "-o",
        "-path",
        "*/system.d/*.conf",
        "-o",
        "-name",
        "*.svg",
        ")",
    ]))?;
    let files: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    ensure!(files.len() >= 6, "fewer XML files than there are: {found}");
    Ok(files)
}

/// Debug builds: what is tested here is where they go, and how they are confined.
pub(super) fn programs() -> Result<PathBuf> {
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet", "sekhmet-testkit"], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exposure() {
        let text =
            "  NAME  DESCRIPTION\n✓ User= x\n\n→ Overall exposure level for sekhmet.service: 1.6 OK 🙂\n";
        assert_eq!(exposure(text), Some(1.6));
        assert_eq!(exposure("→ nothing"), None);
    }
}
