//! `sekhmetctl rules list`: the rules in force.

use sekhmet_common::{display::Text, rule::Rule};

use crate::{
    moment::Clock,
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
    let clock = Clock::new();
    for rule in rules {
        table.row([
            rule.id.to_string(),
            count(rule.hits),
            clock.day_and_time(rule.added_at),
            rule.added_by_user.as_ref().map_or_else(|| rule.added_by.to_string(), Text::shown),
            rule.sentence(),
        ]);
    }
    table
}
