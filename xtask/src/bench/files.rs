//! What watching files costs programs and the helper, and whether every access is told.

mod works;

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::costs::{Generator, Round, over, paired};
use super::spine::{build, measured, measured_with, number};
use super::{Figure, Limit};
use crate::shell;

/// Pairs of rounds with and without the helper; see `costs`.
const PAIRS: usize = 15;

/// Pairs of walks through files, and of builds: they take longer.
const WALKS: usize = 9;
const BUILDS: usize = 5;

/// Measures every figure of this part.
pub(super) fn measure(has_peers: bool) -> Result<Vec<Figure>> {
    build()?;
    let mut figures = load(&measured_load(has_peers)?)?;
    let flood = ["--plain", "0", "--watched", "10000", "--seconds", "10"].map(OsString::from);
    figures.extend(self::flood(&measured_with("files", &flood)?)?);
    figures.extend(entries(&measured("entries")?)?);
    figures.extend(programs(&measured("opened")?, &measured("programs")?)?);
    shell::say(format!("{PAIRS} pairs of rounds of system calls"));
    let mut generator = Generator::start("opens")?;
    figures.extend(costs(&paired(PAIRS, || generator.round())?)?);
    drop(generator);
    shell::say(format!("{WALKS} pairs of walks through files"));
    figures.extend(works::figures("find -type f", &paired(WALKS, works::find)?)?);
    shell::say(format!("{BUILDS} pairs of builds"));
    figures.extend(works::figures("cargo build", &paired(BUILDS, works::build)?)?);
    Ok(figures)
}

fn measured_load(has_peers: bool) -> Result<Value> {
    let mut arguments = Vec::new();
    if has_peers {
        let peer = shell::find("opensnoop").context("opensnoop (libbpf-tools) is not installed")?;
        shell::find("unshare").context("unshare (util-linux) is not installed")?;
        arguments = vec![OsString::from("--peer"), peer.into()];
    }
    measured_with("files", &arguments)
}

fn load(told: &Value) -> Result<Vec<Figure>> {
    let mut figures = vec![
        Figure::new("opens that nobody watches, /s", number(told, "plain_per_second")?)
            .within(Limit::AtLeast(9800.0)),
        Figure::new("opens of watched files that were not told", number(told, "watched_missed")?)
            .within(Limit::AtMost(0.0)),
        Figure::new("unaccounted records", number(told, "unaccounted")?).within(Limit::AtMost(0.0)),
        Figure::new("lost records", number(told, "lost")?).within(Limit::AtMost(0.0)),
        Figure::new("helper, % of a core", number(told, "helper_cpu_percent_of_a_core")?)
            .within(Limit::AtMost(10.0)),
        Figure::new("helper, MB resident", number(told, "helper_rss_mb")?),
    ];
    if let Some(peer) = told["peer_cpu_percent_of_a_core"].as_f64() {
        let ratio = number(told, "helper_cpu_percent_of_a_core")? / peer;
        figures.extend([
            Figure::new("opensnoop at the same time, % of a core", peer),
            Figure::new("helper/opensnoop, processor time", ratio).within(Limit::AtMost(1.0)),
            Figure::new("opens of watched files that opensnoop told", number(told, "peer_reported")?)
                .within(Limit::AtLeast(1.0)),
            Figure::new("more than the helper told", number(told, "peer_more")?).within(Limit::AtMost(0.0)),
            Figure::new("times opensnoop said that it lost some", number(told, "peer_lost")?),
        ]);
    }
    Ok(figures)
}

/// What the engine manages when everything that is opened is watched.
fn flood(told: &Value) -> Result<Vec<Figure>> {
    let each_ns = number(told, "engine_ns_per_watched")?;
    let (opens, seconds) = (number(told, "watched_opens")?, number(told, "seconds")?);
    Ok(vec![
        Figure::new("flood: opens of watched files, /s", opens / seconds),
        Figure::new("flood: opens of watched files that were not told", number(told, "watched_missed")?),
        Figure::new("flood: unaccounted records", number(told, "unaccounted")?).within(Limit::AtMost(0.0)),
        Figure::new("flood: lost records", number(told, "lost")?),
        Figure::new("flood: helper, % of a core", number(told, "helper_cpu_percent_of_a_core")?),
        Figure::new("engine, µs for each open of a watched file", each_ns / 1000.0),
        Figure::new("such opens that one core's engine manages, /s", 1e9 / each_ns),
    ])
}

/// What stands in for instructions of the machine: for each program of opens its own time, and how many instructions
/// of its own the verifier walked through.
fn programs(runs: &Value, verified: &Value) -> Result<Vec<Figure>> {
    let runs = runs.as_object().context("measure names no programs")?;
    let mut figures = Vec::new();
    for (name, told) in runs.iter().filter(|(name, _)| name.starts_with("file_")) {
        figures.push(Figure::new(format!("{name}, ns for one run"), number(told, "ns")?));
        figures.push(Figure::new(format!("{name}, verified instructions"), number(verified, name)?));
    }
    ensure!(!figures.is_empty(), "no program has seen an open");
    Ok(figures)
}

fn entries(told: &Value) -> Result<Vec<Figure>> {
    let count = number(told, "entries")?;
    Ok(vec![
        Figure::new(format!("{count} entries, MB more"), number(told, "rss_more_mb")?)
            .within(Limit::AtMost(30.0)),
        Figure::new(format!("{count} entries, start to name on the bus, ms"), number(told, "start_with_ms")?)
            .within(Limit::AtMost(1000.0)),
        Figure::new("no entries, start to name on the bus, ms", number(told, "start_without_ms")?),
        Figure::new(format!("{count} entries, addition to first open told, ms"), number(told, "applied_ms")?)
            .within(Limit::AtMost(1000.0)),
        Figure::new("addition of one, ms (p50)", number(told, "add_p50_ms")?),
        Figure::new("addition of one, ms (worst)", number(told, "add_max_ms")?),
    ])
}

fn costs(pairs: &[(Round, Round)]) -> Result<Vec<Figure>> {
    let more = |on: f64, off: f64| on - off;
    Ok(vec![
        Figure::new("open and close, ns more", over(pairs, "open_close_ns", more)?)
            .within(Limit::AtMost(150.0)),
        Figure::new("open of a missing file, ns more", over(pairs, "missing_ns", more)?)
            .within(Limit::AtMost(150.0)),
        Figure::new("any other call (getpid), ns more", over(pairs, "getpid_ns", more)?)
            .within(Limit::AtMost(10.0)),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missed(figures: &[Figure]) -> Vec<&str> {
        figures.iter().filter(|f| f.line().ends_with("MISSED")).map(|f| f.name.as_str()).collect()
    }

    #[test]
    fn what_measure_tells_is_held_against_the_limits() {
        let mut told = json!({
            "plain_per_second": 9990.0, "watched_missed": 0, "unaccounted": 0, "lost": 0,
            "helper_cpu_percent_of_a_core": 4.0, "helper_rss_mb": 40.0, "peer_cpu_percent_of_a_core": null,
        });
        assert_eq!(missed(&load(&told).unwrap()), [] as [&str; 0]);
        for (key, value) in [
            ("plain_per_second", 9000.0),
            ("watched_missed", 1.0),
            ("helper_cpu_percent_of_a_core", 11.0),
            ("peer_cpu_percent_of_a_core", 10.0),
            ("peer_reported", 0.0),
            ("peer_more", 3.0),
            ("peer_lost", 1.0),
        ] {
            told[key] = value.into();
        }
        assert_eq!(missed(&load(&told).unwrap()).len(), 6);
        assert_eq!(load(&json!({})).unwrap_err().to_string(), "no figure plain_per_second");
    }

    #[test]
    fn what_one_core_manages_is_told_from_what_one_open_costs() {
        let told = json!({
            "engine_ns_per_watched": 4000.0, "watched_opens": 50_000, "seconds": 10.0, "watched_missed": 0,
            "unaccounted": 0, "lost": 0, "helper_cpu_percent_of_a_core": 30.0,
        });
        let figures = flood(&told).unwrap();
        assert_eq!((figures[0].value, figures[5].value, figures[6].value), (5000.0, 4.0, 250_000.0));
    }

    #[test]
    fn programs_of_opens_are_told_and_no_others() {
        let runs =
            json!({ "file_opened": { "runs": 9, "ns": 120.5 }, "tcp_state": { "runs": 1, "ns": 3.0 } });
        let verified = json!({ "file_opened": 4000, "tcp_state": 1622 });
        let values: Vec<f64> = programs(&runs, &verified).unwrap().iter().map(|f| f.value).collect();
        assert_eq!(values, [120.5, 4000.0]);
        assert!(programs(&json!({}), &verified).is_err());
    }

    #[test]
    fn costs_are_differences_of_pairs() {
        let round = |open: f64| json!({ "open_close_ns": open, "missing_ns": 900.0, "getpid_ns": 70.0 });
        let figures = costs(&[(round(800.0), round(600.0))]).unwrap();
        assert_eq!(figures[0].value, 200.0);
        assert_eq!(missed(&figures), ["open and close, ns more"]);
    }
}
