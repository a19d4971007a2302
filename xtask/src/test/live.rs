//! The parts of the test run that need a real kernel, a real bus, a display or a whole machine.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::summary::{Outcome, Tally};
use crate::vm::tap::Report;
use crate::with_helper::{self, Options};
use crate::{build, paths, run, shell, vm};

/// Every program loads, attaches and fires on the kernel this machine runs.
pub(super) fn kernel_suite() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let suite = build_test("kernel_suite")?;
    let mut command = as_root_with_environment(&suite);
    command.env("SEKHMET_BPF_OBJECT", paths::bpf_object());
    let (status, text) = shell::run_and_read(&mut command)?;
    let report = Report::read(&text);
    if let Some(fault) = report.fault(status.code()) {
        bail!("{fault}");
    }
    Ok(Tally::from(report).into())
}

/// Traffic of known amounts against what the real helper shows, as root and as a user without rights.
pub(super) fn known_answers() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit"], true)?;
    let mut tally = Tally::default();
    let full = full();
    let stranger = Options { user: Some("nobody".into()), ..full.clone() };
    let reduced = Options { reduced: true, ..full.clone() };
    let admin = Options { has_admin: true, ..full.clone() };
    for (options, case) in [
        (&full, "flows"),
        (&full, "short-lived"),
        (&stranger, "stranger"),
        (&full, "killed"),
        (&reduced, "reduced"),
        (&full, "stored"),
        (&full, "asked"),
        (&admin, "password"),
        (&full, "files"),
    ] {
        tally += known_answer(options, vec![case.into()])?;
    }
    tally += known_answer(&full, ["blocked", "--seconds", "3"].map(OsString::from).to_vec())?;
    tally += known_answer(&full, ["durable", "--kills", "20"].map(OsString::from).to_vec())?;
    tally += pre_existing()?;
    Ok(tally.into())
}

/// A hundred rounds of a thousand random rules: what is installed is what a model says. As a release build, because
/// each of some fifty thousand changes writes the file of rules anew.
pub(super) fn random_rules() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    let suite = build_test_with("kernel_suite", &["--release"])?;
    let mut command = as_root_with_environment(&suite);
    command.args(["--child", "random", "100", "1000"]).env("SEKHMET_BPF_OBJECT", paths::bpf_object());
    let (status, text) = shell::run_and_read(&mut command)?;
    let report = Report::read(&text);
    if let Some(fault) = report.fault(status.code()) {
        bail!("{fault}");
    }
    Ok(Tally::from(report).into())
}

/// The helper is killed a thousand times, and nothing arrives from whom it had blocked.
pub(super) fn many_deaths() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit"], true)?;
    let tally = known_answer(&full(), ["durable", "--kills", "1000"].map(OsString::from).to_vec())?;
    Ok(tally.into())
}

/// The same with new random sizes each round, and ten times as many processes that live a few milliseconds.
pub(super) fn many_known_answers() -> Result<Outcome> {
    if !shell::can_become_root() {
        return Ok(Outcome::Skipped("needs root".into()));
    }
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit"], true)?;
    let mut tally = known_answer(&full(), ["flows", "--rounds", "30"].map(OsString::from).to_vec())?;
    tally += known_answer(&full(), ["short-lived", "--count", "10000"].map(OsString::from).to_vec())?;
    Ok(tally.into())
}

/// A process and its connection are there before the helper starts, and stay until it was looked at.
fn pre_existing() -> Result<Tally> {
    let folder = tempfile::tempdir().context("cannot make a folder for the truth")?;
    let truth = folder.path().join("truth.jsonl");
    let mut holder = Command::new(test_program()).arg("hold").arg(&truth).stdin(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !truth.is_file() {
        if let Some(status) = holder.try_wait()? {
            bail!("known-answer hold ended: {status}");
        }
        if Instant::now() > deadline {
            holder.kill()?;
            bail!("known-answer hold opened no connection within 10 s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = known_answer(&full(), vec!["pre-existing".into(), truth.into_os_string()]);
    drop(holder.stdin.take());
    holder.wait()?;
    outcome
}

/// A debug helper with everything that this kernel offers.
fn full() -> Options {
    Options { is_debug: true, ..Options::default() }
}

fn known_answer(options: &Options, arguments: Vec<OsString>) -> Result<Tally> {
    let name = arguments[0].to_string_lossy().into_owned();
    beside_helper(options, &name, [vec![test_program().into_os_string()], arguments].concat())
}

fn beside_helper(options: &Options, name: &str, argv: Vec<OsString>) -> Result<Tally> {
    let (status, text) = shell::run_and_read(&mut with_helper::command(options, argv)?)?;
    let report = Report::read(&text);
    match report.fault(status.code()) {
        Some(fault) if report.failed.is_empty() => bail!("known-answer {name}: {fault}"),
        _ => Ok(report.into()),
    }
}

fn test_program() -> PathBuf {
    paths::target().join("debug/known-answer")
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
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit", "sekhmet"], true)?;
    let programs = paths::target().join("debug");
    let mut web = as_root_with_environment(&programs.join("known-answer"));
    let mut traffic = web.arg("web").stdin(Stdio::piped()).spawn()?;
    let drawn =
        run::run(&run::Options { yes: true, screenshot: Some(picture.clone()), seconds: 8, is_debug: true });
    drop(traffic.stdin.take());
    let ended = traffic.wait()?;
    drawn?;
    if !ended.success() {
        bail!("the traffic beside the window failed: {ended}");
    }
    let xtask = std::env::current_exe()?.into_os_string();
    let mut arguments: Vec<OsString> = vec!["picture".into(), picture.clone().into(), "--".into(), xtask];
    arguments.extend(["on-display", "--"].map(OsString::from));
    arguments.push(programs.join("sekhmet").into());
    // Only rows in sight are listed beside a picture; the server of the traffic has as many as its client.
    arguments.extend(["--search", "curl", "--after", "8", "--screenshot"].map(OsString::from));
    arguments.push(picture.clone().into());
    let mut tally = known_answer(&full(), arguments)?;
    let convert =
        shell::find("magick").or_else(|| shell::find("convert")).context("ImageMagick is missing")?;
    let colours = shell::output(Command::new(convert).arg(&picture).args(["-format", "%k", "info:-"]))?;
    let colours: u64 =
        colours.trim().parse().with_context(|| format!("not a number of colours: {colours:?}"))?;
    // An empty window has its background and little else; text alone brings dozens of shades.
    if colours < 32 {
        bail!("the picture has {colours} colours: nothing was drawn");
    }
    tally.passed += 1;
    for (size, theme) in [("1280x720", "dark"), ("1440x900", "light")] {
        tally += watched_files(size, theme)?;
    }
    Ok(tally.into())
}

/// What real programs do with watched keys, in the window on a display: marked, listed and told, reached by clicks.
fn watched_files(size: &str, theme: &str) -> Result<Tally> {
    let folder = paths::target().join(format!("test/secrets-{size}-{theme}"));
    let mut argv = vec![std::env::current_exe()?.into_os_string()];
    argv.extend(["on-display", "--"].map(OsString::from));
    argv.push(test_program().into_os_string());
    argv.extend(["lens", "--size", size, "--theme", theme].map(OsString::from));
    argv.push(folder.into_os_string());
    beside_helper(&full(), "lens", argv)
}

/// The same suite on the oldest kernel that is supported.
pub(super) fn oldest_kernel() -> Result<Outcome> {
    virtual_machine("6.1")
}

/// The same suite on one between it and this machine's.
pub(super) fn newer_kernel() -> Result<Outcome> {
    virtual_machine("6.12")
}

fn virtual_machine(series: &str) -> Result<Outcome> {
    if std::env::consts::ARCH != "x86_64" {
        return Ok(Outcome::Skipped("virtual machines run on x86_64 only so far".into()));
    }
    let report = vm::run(series, &vm::Guest::build(None)?)?;
    Ok(Tally::from(report).into())
}

/// Builds one test executable and gives its path. Of the workspace, as the plain tests are: a package alone has other
/// features, with which every dependency would be built again.
fn build_test(name: &str) -> Result<PathBuf> {
    build_test_with(name, &[])
}

fn build_test_with(name: &str, options: &[&str]) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--no-run", "--locked", "--workspace", "--test", name]).args(options);
    let text = shell::output(cargo.args(["--message-format", "json"]))?;
    vm::executable_in(&text, name).with_context(|| format!("cargo built no test {name}"))
}

fn as_root_with_environment(program: &PathBuf) -> Command {
    if shell::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "--preserve-env", "--"]).arg(program);
    command
}
