//! The figures of the path from a kernel hook to a client's line, each beside its limit.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Figure, Limit, costs, median};
use crate::with_helper::{self, Options};
use crate::{build, paths, shell};

/// Odd, so that a median is a measured value.
const ROUNDS: usize = 5;

/// Measures everything.
pub(super) fn measure() -> Result<Vec<Figure>> {
    build()?;
    let mut figures = vec![object_size()?];
    figures.extend(start_to_ready()?);
    figures.extend(instructions()?);
    figures.extend(from_measure()?);
    figures.extend(costs::measure()?);
    Ok(figures)
}

/// Measures only what programs pay.
pub(super) fn measure_costs() -> Result<Vec<Figure>> {
    build()?;
    costs::measure()
}

/// Builds what is measured, and what measures.
pub(super) fn build() -> Result<()> {
    if !shell::can_become_root() {
        bail!("measuring the helper needs root");
    }
    build::packages(&["sekhmet-helper", "sekhmet-ctl", "sekhmet-testkit"], false).map(|_folder| ())
}

fn object_size() -> Result<Figure> {
    let bytes = fs::metadata(paths::bpf_object()).context("the eBPF object is not built")?.len();
    Ok(Figure::new("eBPF object, KiB", bytes as f64 / 1024.0))
}

/// READY is said after everything is attached; with-helper tells how long that took.
fn start_to_ready() -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let argv = ["sh", "-c", "echo ready_ms=$SEKHMET_HELPER_READY_MS"].map(OsString::from);
        let text = beside_helper(argv.to_vec())?;
        let told =
            text.lines().find_map(|line| line.strip_prefix("ready_ms=")).context("no time to READY")?;
        times.push(told.trim().parse::<f64>()?);
    }
    Ok(vec![Figure::new("helper start to READY, ms (median)", median(times)).within(Limit::AtMost(300.0))])
}

/// One figure for each kernel program, as its verifier counts.
fn instructions() -> Result<Vec<Figure>> {
    let told = measured("programs")?;
    let counts = told.as_object().context("measure names no programs")?;
    let figure = |(program, count): (&String, &Value)| {
        let count = count.as_f64().with_context(|| format!("this kernel tells no count of {program}"))?;
        Ok(Figure::new(format!("{program}, verified instructions"), count))
    };
    counts.iter().map(figure).collect()
}

fn from_measure() -> Result<Vec<Figure>> {
    let latency = measured("latency")?;
    let idle = measured("idle")?;
    let load = measured("load")?;
    Ok(vec![
        Figure::new("kernel event to watch line, ms (p50)", number(&latency, "p50_ms")?)
            .within(Limit::AtMost(200.0)),
        Figure::new("kernel event to watch line, ms (p99)", number(&latency, "p99_ms")?)
            .within(Limit::AtMost(350.0)),
        Figure::new("helper idle, % of a core", number(&idle, "cpu_percent_of_a_core")?)
            .within(Limit::AtMost(0.2)),
        Figure::new("helper idle, MB resident", number(&idle, "rss_mb")?).within(Limit::AtMost(40.0)),
        Figure::new("under load, connections/s", number(&load, "per_second")?).within(Limit::AtLeast(4900.0)),
        Figure::new("under load, helper % of a core", number(&load, "helper_cpu_percent_of_a_core")?)
            .within(Limit::AtMost(35.0)),
        Figure::new("under load, MB resident", number(&load, "helper_rss_mb")?),
        Figure::new("under load, unaccounted events", number(&load, "unaccounted")?)
            .within(Limit::AtMost(0.0)),
    ])
}

/// One of its figures.
pub(super) fn number(from: &Value, key: &str) -> Result<f64> {
    from[key].as_f64().with_context(|| format!("no figure {key}"))
}

/// What one part of `measure` tells beside a helper.
pub(super) fn measured(what: &str) -> Result<Value> {
    measured_with(what, &[])
}

/// The same with further arguments.
pub(super) fn measured_with(what: &str, arguments: &[OsString]) -> Result<Value> {
    let text = beside_helper([&[release("measure").into(), what.into()], arguments].concat())?;
    let line = text.lines().rfind(|line| line.starts_with('{')).context("measure printed no figures")?;
    serde_json::from_str(line).context("cannot read what measure printed")
}

fn beside_helper(argv: Vec<OsString>) -> Result<String> {
    shell::output(&mut with_helper::command(&Options::default(), argv)?)
}

fn release(program: &str) -> PathBuf {
    paths::target().join("release").join(program)
}
