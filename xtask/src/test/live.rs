//! The parts of the test run that need a real kernel, a real bus, a display or a whole machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::metadata;
use super::summary::{Outcome, Tally, read_test_counts};
use crate::vm::tap::Report;
use crate::with_helper::{self, Options};
use crate::{paths, run, shell, vm};

/// Test executables with this prefix are run under `with-helper`: they find a system bus, polkit and a helper there.
const WITH_HELPER_PREFIX: &str = "with_helper";

/// Every program loads, attaches and fires on the kernel this machine runs.
pub(super) fn kernel_suite() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let suite = build_test("sekhmet-helper", "kernel_suite")?;
    let mut command = as_root_with_environment(&suite);
    command.env("SEKHMET_BPF_OBJECT", paths::bpf_object());
    let (status, text) = shell::run_and_read(&mut command)?;
    let report = Report::read(&text);
    if let Some(fault) = report.fault(status.code()) {
        bail!("{fault}");
    }
    Ok(Tally { passed: report.passed, failed: 0, skipped: report.skipped }.into())
}

/// Tests that speak to the real helper through the real polkit.
pub(super) fn with_helper() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let mut tests = Vec::new();
    for package in metadata::members()? {
        for target in package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "test")) {
            if target.name.starts_with(WITH_HELPER_PREFIX) {
                tests.push((package.name.clone(), target.name.clone()));
            }
        }
    }
    if tests.is_empty() {
        bail!("no test executable named {WITH_HELPER_PREFIX}… in the workspace");
    }
    let mut tally = Tally::default();
    for (package, name) in tests {
        let test = build_test(&package, &name)?;
        let options = Options { is_debug: true, ..Options::default() };
        let mut command = with_helper::command(&options, [test.into_os_string(), "--test-threads=1".into()])?;
        let (status, text) = shell::run_and_read(&mut command)?;
        let counts = read_test_counts(&text);
        match counts {
            Some(counts) if status.success() == (counts.failed == 0) => {
                tally.passed += counts.passed;
                tally.failed += counts.failed;
                tally.skipped += counts.skipped;
            }
            _ => bail!("{name}: {status}"),
        }
    }
    Ok(tally.into())
}

/// The real window with the real helper on a virtual display: a picture comes out and is not of one colour.
pub(super) fn window() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let picture = paths::target().join("test/window.png");
    std::fs::create_dir_all(picture.parent().context("the picture lies in a folder")?)?;
    if picture.exists() {
        std::fs::remove_file(&picture)?;
    }
    run::run(&run::Options { yes: true, screenshot: Some(picture.clone()), seconds: 5, is_debug: true })?;
    let convert =
        shell::find("magick").or_else(|| shell::find("convert")).context("ImageMagick is missing")?;
    let colours = shell::output(Command::new(convert).arg(&picture).args(["-format", "%k", "info:-"]))?;
    let colours: u64 =
        colours.trim().parse().with_context(|| format!("not a number of colours: {colours:?}"))?;
    // An empty window has its background and little else; text alone brings dozens of shades.
    if colours < 32 {
        bail!("the picture has {colours} colours: nothing was drawn");
    }
    Ok(Outcome::Passed(1))
}

/// The same suite on the oldest kernel that is supported.
pub(super) fn virtual_machine() -> Result<Outcome> {
    if std::env::consts::ARCH != "x86_64" {
        return Ok(Outcome::Skipped("virtual machines run on x86_64 only so far".into()));
    }
    let report = vm::run("6.1", &vm::Guest::build(None)?)?;
    Ok(Tally { passed: report.passed, failed: 0, skipped: report.skipped }.into())
}

/// Builds one test executable and gives its path.
fn build_test(package: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--no-run", "--locked", "-p", package, "--test", name]);
    let text = shell::output(cargo.args(["--message-format", "json"]))?;
    vm::executable_in(&text, name).with_context(|| format!("cargo built no test {name} in {package}"))
}

fn as_root_with_environment(program: &PathBuf) -> Command {
    if shell::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "--preserve-env", "--"]).arg(program);
    command
}
