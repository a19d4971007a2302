//! Programs of everyday use that open much, run to their end: how long, and with how much processor time.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::costs::{Round, over};
use super::super::{Figure, Limit};
use crate::shell;

/// What is walked: large enough that a walk takes a good part of a second, and much the same on every machine.
const TREE: &str = "/usr";

/// What is built: a library with all it depends on, procedural macros among it.
const CRATE: &str = "sekhmet-common";
const FEATURES: &str = "user";

/// How much slower they may be.
const SLOWER_MAX: f64 = 1.03;

/// A walk through a tree of files.
pub(super) fn find() -> Result<Value> {
    timed(Command::new("find").args([TREE, "-xdev", "-type", "f"]))
}

/// A build from nothing of a crate of this workspace. What it depends on is downloaded already: xtask was built.
pub(super) fn build() -> Result<Value> {
    let folder = tempfile::Builder::new().prefix("sekhmet-bench-").tempdir()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "--offline", "--quiet", "-p", CRATE, "--features", FEATURES]);
    cargo.arg("--target-dir").arg(folder.path());
    timed(&mut cargo)
}

/// What both rounds of each pair say, held against the limit.
pub(super) fn figures(name: &str, pairs: &[(Round, Round)]) -> Result<Vec<Figure>> {
    let ratio = |on: f64, off: f64| on / off;
    let alone = |_on: f64, off: f64| off;
    Ok(vec![
        Figure::new(format!("{name}, ms without the helper"), over(pairs, "ms", alone)?),
        Figure::new(format!("{name}, by the clock, on/off"), over(pairs, "ms", ratio)?)
            .within(Limit::AtMost(SLOWER_MAX)),
        Figure::new(format!("{name}, processor time, on/off"), over(pairs, "cpu_ms", ratio)?)
            .within(Limit::AtMost(SLOWER_MAX)),
    ])
}

/// Milliseconds by the clock, and of processor time with everything that it started and waited for. The second says
/// more on a machine that others use, too: kernel programs run in the time of whoever opens.
fn timed(command: &mut Command) -> Result<Value> {
    let (begun, before) = (Instant::now(), children_ms()?);
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", shell::shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shell::shown(command));
    }
    Ok(json!({ "ms": begun.elapsed().as_secs_f64() * 1000.0, "cpu_ms": children_ms()? - before }))
}

/// Processor time of ended children, user and system, in milliseconds (`proc_pid_stat(5)`, fields 16 and 17).
fn children_ms() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let ticks = parse_children(&stat).context("cannot read /proc/self/stat")?;
    Ok(ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64)
}

fn parse_children(stat: &str) -> Option<u64> {
    // The second field is a name, which may hold anything; the first one after it is the third.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(16 - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_of_children() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 90 80 0 0 11 12 130 14 20 0 1 0 55\n";
        assert_eq!(parse_children(stat), Some(144));
        assert_eq!(parse_children("7 (x) S 1"), None);
    }

    #[test]
    fn a_walk_takes_time() {
        let told =
            timed(Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]));
        let told = told.unwrap();
        assert!(told["ms"].as_f64().unwrap() > 0.0 && told["cpu_ms"].as_f64().unwrap() > 0.0, "{told}");
        assert!(timed(&mut Command::new("false")).is_err());
    }

    #[test]
    fn ratios_are_of_pairs() {
        let round = |ms: f64| json!({ "ms": ms, "cpu_ms": ms });
        // The second pair ran on a slower machine, the third was disturbed.
        let pairs =
            [(round(102.0), round(100.0)), (round(204.0), round(200.0)), (round(900.0), round(100.0))];
        let figures = figures("find", &pairs).unwrap();
        assert!((figures[1].value - 1.02).abs() < 1e-9 && (figures[2].value - 1.02).abs() < 1e-9);
    }
}
