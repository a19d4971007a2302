//! `sekhmetctl status`: the helper's state in numbers.

use sekhmet_client::{Status, status::KindLine};
use sekhmet_common::display::{Text, escape};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    numbers::{count, span},
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// One line of `status --json`. The maps are keyed by capability, and by the word of the record's kind.
#[derive(Debug, Serialize)]
struct Line {
    version: Text,
    mode: Text,
    uptime_ms: u64,
    sources: Map<String, Value>,
    made: Map<String, Value>,
    delivered: Map<String, Value>,
    lost: Map<String, Value>,
    filtered: Map<String, Value>,
    in_flight: Map<String, Value>,
}

/// Shows the helper's state.
pub(crate) fn run(access: &Access, json: bool) -> Result<(), Failure> {
    let status = access.status()?;
    let mut output = Output::new();
    if json {
        output.json(&line(&status))?
    } else {
        show(&status, &mut output)?
    }
    output.flush()
}

fn line(status: &Status) -> Line {
    let sources = status.sources.iter();
    let of = |number: fn(&KindLine) -> u64| {
        status.kinds.iter().map(|k| (escape(k.kind.as_bytes()), number(k).into())).collect()
    };
    Line {
        version: status.version.as_str().into(),
        mode: status.mode.as_str().into(),
        uptime_ms: status.uptime_ms,
        sources: sources
            .map(|s| (escape(s.capability.as_bytes()), escape(s.source.as_bytes()).into()))
            .collect(),
        made: of(|k| k.made),
        delivered: of(|k| k.delivered),
        lost: of(|k| k.lost),
        filtered: of(|k| k.filtered),
        in_flight: of(|k| k.in_flight),
    }
}

fn show(status: &Status, output: &mut Output) -> Result<(), Failure> {
    output.line(&format!(
        "helper {}, mode {}, watching for {}",
        escape(status.version.as_bytes()),
        escape(status.mode.as_bytes()),
        span(status.uptime_ms)
    ))?;
    let behind = status.sources.iter().filter(|s| !matches!(s.status.as_str(), "best" | "equal")).count();
    let total = status.sources.len();
    output.line(&match behind {
        0 => format!("{total} of {total} things can be seen in full"),
        _ => format!("{} of {total} things can be seen in full; see sekhmetctl coverage", total - behind),
    })?;
    output.line("")?;
    let mut table = Table::new(&[
        ("RECORDS", Align::Left, 32),
        ("MADE", Align::Right, 32),
        ("DELIVERED", Align::Right, 32),
        ("LOST", Align::Right, 32),
        ("FILTERED", Align::Right, 32),
        ("IN FLIGHT", Align::Right, 32),
    ]);
    for k in &status.kinds {
        let numbers = [k.made, k.delivered, k.lost, k.filtered, k.in_flight].map(count);
        table.row([escape(k.kind.as_bytes())].into_iter().chain(numbers));
    }
    output.table(&table)
}
