//! `sekhmetctl rules list`: the rules in force.

use jiff::{Timestamp as Moment, fmt::strtime, tz::TimeZone};
use sekhmet_common::{display::Text, rule::Rule, time::Timestamp};

use crate::{
    numbers::count,
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// What can be done with rules.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(crate) enum Rules {
    /// Show every rule in force
    List,
}

/// Shows every rule that may be seen, by number.
pub(crate) fn list(access: &Access, json: bool) -> Result<(), Failure> {
    let mirror = access.snapshot()?;
    let mut output = Output::new();
    if json {
        for rule in mirror.rules() {
            output.json(rule)?;
        }
    } else {
        output.table(&table(mirror.rules()))?;
    }
    output.flush()
}

fn table<'a>(rules: impl Iterator<Item = &'a Rule>) -> Table {
    let mut table = Table::new(&[
        ("ID", Align::Right, 8),
        ("REFUSED", Align::Right, 16),
        ("ADDED", Align::Left, 20),
        ("BY", Align::Left, 16),
        ("RULE", Align::Left, 400),
    ]);
    let zone = TimeZone::system();
    for rule in rules {
        table.row([
            rule.id.to_string(),
            count(rule.hits),
            moment(&zone, rule.added_at),
            rule.added_by_user.as_ref().map_or_else(|| rule.added_by.to_string(), Text::shown),
            rule.sentence(),
        ]);
    }
    table
}

fn moment(zone: &TimeZone, at: Timestamp) -> String {
    let moment = Moment::from_nanosecond(i128::from(at.0));
    let text = moment.and_then(|m| strtime::format("%Y-%m-%d %H:%M:%S", &m.to_zoned(zone.clone())));
    text.unwrap_or_else(|_| at.to_string())
}
