//! `cargo xtask bench`: measures, prints a table with ratios and limits, writes `target/bench/NAME.json`.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

mod block;
mod costs;
mod files;
mod spine;

use crate::setup::{self, Purpose};
use crate::{paths, shell};

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What was measured, unit included.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: f64,
    /// What it must stay within, when there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<Limit>,
}

/// The side on which a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// Not above this.
    AtMost(f64),
    /// Not below this.
    AtLeast(f64),
}

impl Figure {
    /// A figure without a limit.
    pub(crate) fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, limit: None }
    }

    /// The same, with its limit.
    pub(crate) fn within(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn is_kept(&self) -> bool {
        match self.limit {
            Some(Limit::AtMost(most)) => self.value <= most,
            Some(Limit::AtLeast(least)) => self.value >= least,
            None => self.value.is_finite(),
        }
    }

    fn line(&self) -> String {
        let limit = match self.limit {
            Some(Limit::AtMost(most)) => format!("≤ {most}"),
            Some(Limit::AtLeast(least)) => format!("≥ {least}"),
            None => String::new(),
        };
        let mark = match (self.limit, self.is_kept()) {
            (None, true) => "",
            (Some(_), true) => "ok",
            (_, false) => "MISSED",
        };
        format!("  {:<58} {:>14.3}  {limit:<8} {mark}", self.name, self.value).trim_end().to_owned()
    }
}

type Measure = fn(bool) -> Result<Vec<Figure>>;

/// Every benchmark by name; `costs` is a part of `spine`. Some know other programs to measure beside.
const BENCHES: &[(&str, Measure)] = &[
    ("spine", |_peers| spine::measure()),
    ("costs", |_peers| spine::measure_costs()),
    ("block", |_peers| block::measure()),
    ("files", files::measure),
];

/// Runs one benchmark, without a name the first.
///
/// # Errors
/// When there is none of that name, or it cannot be run. A missed limit is told, not an error: machines differ.
pub(crate) fn run(name: Option<&str>, has_peers: bool, yes: bool) -> Result<()> {
    let name = name.unwrap_or(BENCHES[0].0);
    let chosen: Vec<_> = BENCHES.iter().filter(|(bench, _)| name == *bench).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        bail!("no benchmark of that name; there are: {}", names.join(", "));
    }
    let mut purposes = vec![Purpose::Build, Purpose::Bus, Purpose::Bench];
    purposes.extend(has_peers.then_some(Purpose::Peers));
    setup::ensure(&purposes, yes)?;
    for (name, measure) in chosen {
        let figures = measure(has_peers)?;
        shell::result_line(format!("\n{name}"));
        for figure in &figures {
            shell::result_line(figure.line());
        }
        let file = paths::target().join("bench").join(format!("{name}.json"));
        fs::create_dir_all(paths::target().join("bench"))?;
        fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        shell::say(format!("written to {}", file.display()));
    }
    Ok(())
}

/// The middle value; of an even number the upper one of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_limit_is_marked() {
        let slow = Figure::new("start, ms", 301.0).within(Limit::AtMost(300.0));
        assert!(slow.line().ends_with("≤ 300    MISSED"), "{}", slow.line());
        let fine = Figure::new("throughput, ratio", 0.98).within(Limit::AtLeast(0.97));
        assert!(fine.line().ends_with("≥ 0.97   ok"), "{}", fine.line());
        assert!(!Figure::new("nothing, ratio", f64::NAN).is_kept());
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = run(Some("no such bench"), false, true).unwrap_err().to_string();
        assert!(error.ends_with("there are: spine, costs, block, files"), "{error}");
    }
}
