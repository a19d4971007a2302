//! `sekhmetctl coverage`: what can be seen on this machine, and from where.

use sekhmet_client::status::SourceLine;
use sekhmet_common::display::Text;
use serde::Serialize;

use crate::{
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// One line of `coverage --json`.
#[derive(Debug, Serialize)]
struct Line {
    capability: Text,
    source: Text,
    status: Text,
    cost: Text,
    reason: Text,
}

impl From<&SourceLine> for Line {
    fn from(line: &SourceLine) -> Self {
        Self {
            capability: line.capability.as_str().into(),
            source: line.source.as_str().into(),
            status: line.status.as_str().into(),
            cost: line.cost.as_str().into(),
            reason: line.reason.as_str().into(),
        }
    }
}

/// Shows every source.
pub(crate) fn run(access: &Access, json: bool) -> Result<(), Failure> {
    let status = access.status()?;
    let mut output = Output::new();
    let mut table = Table::new(&[
        ("WHAT", Align::Left, 32),
        ("STATUS", Align::Left, 16),
        ("FROM", Align::Left, 48),
        ("COSTS", Align::Left, 80),
        ("BECAUSE", Align::Left, 120),
    ]);
    for line in status.sources.iter().map(Line::from) {
        if json {
            output.json(&line)?;
        } else {
            table.row(
                [&line.capability, &line.status, &line.source, &line.cost, &line.reason].map(Text::shown),
            );
        }
    }
    if !json {
        output.table(&table)?;
    }
    output.flush()
}
