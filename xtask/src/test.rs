//! `cargo xtask test`: every check of the project in one order, each timed, with one closing line.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

mod arrows;
mod booted;
mod cargo_parts;
mod dependencies;
mod files;
mod installed;
mod live;
mod metadata;
mod summary;

use crate::setup::{self, Purpose};
use crate::{bpf, fuzz, shell};
use summary::{Line, Outcome, Tally};

/// A complete run on a new two-core machine must stay below this (set-up included).
const BUDGET: Duration = Duration::from_secs(45 * 60);

/// What the person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The inner loop: nothing that boots, builds for release or needs minutes.
    Fast,
    /// What decides whether a change is good.
    Whole,
    /// The same questions asked for hours, before a release.
    Long,
}

/// One part of the run.
struct Part {
    name: &'static str,
    in_fast: bool,
    run: fn() -> Result<Outcome>,
}

const fn part(name: &'static str, in_fast: bool, run: fn() -> Result<Outcome>) -> Part {
    Part { name, in_fast, run }
}

/// The part that the helper's build needs.
const OBJECT: &str = "eBPF object";

/// In the order in which they should fail: cheapest and clearest first. The eBPF object comes before everything that
/// compiles the helper, because the helper carries it.
const PARTS: &[Part] = &[
    part("format", true, cargo_parts::format),
    part("spelling", true, cargo_parts::spelling),
    part("files", true, files::check),
    part("arrows", true, arrows::check),
    part("unused dependencies", true, dependencies::check),
    part(OBJECT, true, build_object),
    part("clippy", true, cargo_parts::clippy),
    part("licences, bans, sources", true, cargo_parts::deny),
    part("advisories", false, cargo_parts::advisories),
    part("documentation", false, cargo_parts::documentation),
    part("tests", true, cargo_parts::tests),
    part("doc tests", false, cargo_parts::doc_tests),
    part("kernel suite, this kernel", true, live::kernel_suite),
    part("known answers, real polkit", false, live::known_answers),
    part("window, virtual display", false, live::window),
    part("installed files", false, installed::check),
    part("installed, booted", false, booted::check),
    part("fuzz targets", false, fuzz_targets),
    part("kernel suite, Linux 6.1", false, live::oldest_kernel),
    part("kernel suite, Linux 6.12", false, live::newer_kernel),
];

/// The parts of a long run.
const LONG_PARTS: &[Part] = &[
    part(OBJECT, true, build_object),
    part("oldest compiler", true, cargo_parts::oldest_compiler),
    part("known answers, 30 rounds", true, live::many_known_answers),
    part("random rules, 100 rounds", true, live::random_rules),
    part("helper killed 1,000 times", true, live::many_deaths),
    part("fuzz targets, 10 million inputs", true, many_inputs),
];

/// Sets up, runs the parts (only those whose names contain `filter`), prints the table and the closing line.
///
/// # Errors
/// When set-up fails, no part has such a name, or any part fails. Later parts run all the same.
pub(crate) fn run(extent: Extent, filter: Option<&str>, yes: bool) -> Result<()> {
    let all = if extent == Extent::Long { LONG_PARTS } else { PARTS };
    let parts = chosen(all, extent, filter);
    if parts.is_empty() {
        let names: Vec<&str> = all.iter().map(|part| part.name).collect();
        bail!("no part has such a name; they are: {}", names.join("; "));
    }
    let begun = Instant::now();
    let mut purposes = vec![Purpose::Build, Purpose::Test, Purpose::Bus];
    if extent == Extent::Whole {
        purposes.extend([Purpose::Screenshot, Purpose::Vm]);
    }
    setup::ensure(&purposes, yes)?;
    let mut lines = vec![Line::new("set-up", begun.elapsed(), Outcome::Passed(1))];
    for part in parts {
        shell::say(format!("── {} ──", part.name));
        let started = Instant::now();
        let outcome = (part.run)().unwrap_or_else(|error| {
            shell::say(format!("{}: {error:#}", part.name));
            Outcome::Failed { passed: 0, failed: 1 }
        });
        lines.push(Line::new(part.name, started.elapsed(), outcome));
    }
    summary::print_table(&lines);
    let took = begun.elapsed();
    if extent != Extent::Long && took > BUDGET {
        shell::say(format!("OVER BUDGET: {} minutes of {}", took.as_secs() / 60, BUDGET.as_secs() / 60));
    }
    let tally: Tally = lines.iter().map(|line| &line.outcome).sum();
    shell::result_line(tally.to_string());
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// The parts whose names contain `filter`. Those that need the eBPF object get it built before: what lies in the build
/// folder may be older than its source.
fn chosen(all: &'static [Part], extent: Extent, filter: Option<&str>) -> Vec<&'static Part> {
    let is_wanted = |part: &Part| {
        (extent != Extent::Fast || part.in_fast) && filter.is_none_or(|text| part.name.contains(text))
    };
    let object = all.iter().position(|part| part.name == OBJECT);
    let last = all.iter().rposition(is_wanted);
    let is_needed = |index: usize| Some(index) == object && last > object;
    all.iter()
        .enumerate()
        .filter(|(index, part)| is_wanted(part) || is_needed(*index))
        .map(|(_, part)| part)
        .collect()
}

/// Each target reads its corpus, then new inputs for a few seconds; `cargo xtask fuzz` runs them longer.
fn fuzz_targets() -> Result<Outcome> {
    fuzz::run(None, fuzz::Effort::Seconds(10)).map(Outcome::Passed)
}

/// For each target; a second of them is some ten thousand.
fn many_inputs() -> Result<Outcome> {
    fuzz::run(None, fuzz::Effort::Inputs(10_000_000)).map(Outcome::Passed)
}

fn build_object() -> Result<Outcome> {
    bpf::build()?;
    Ok(Outcome::Passed(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &str) -> Vec<&'static str> {
        chosen(PARTS, Extent::Whole, Some(filter)).into_iter().map(|part| part.name).collect()
    }

    #[test]
    fn a_part_that_runs_alone_does_not_meet_an_older_object() {
        assert_eq!(names("kernel suite, this"), [OBJECT, "kernel suite, this kernel"]);
        assert_eq!(names("format"), ["format"]);
        assert_eq!(names("no such part"), Vec::<&str>::new());
        assert_eq!(chosen(PARTS, Extent::Whole, None).len(), PARTS.len());
    }
}
