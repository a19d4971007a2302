//! `sekhmetctl files`: who opened which watched file, and whom they reached after it.

use std::time::Duration;

use sekhmet_common::{
    file::{Contact, FileAccess},
    lines::AccessLine,
    mirror::Mirror,
    time::Timestamp,
};

use crate::{
    moment::Clock,
    numbers::count,
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// Shows every listed access, the oldest first; with a time, only those that went on within it.
pub(crate) fn run(access: &Access, json: bool, since: Option<Duration>) -> Result<(), Failure> {
    let mirror = access.snapshot()?;
    let nanos = since.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let earliest = nanos.map(|nanos| Timestamp(Timestamp::now().0.saturating_sub(nanos)));
    let listed = mirror.accesses().filter(|a| earliest.is_none_or(|earliest| a.last_at >= earliest));
    let mut output = Output::new();
    if json {
        for access in listed {
            let (process, contacts) = (mirror.process(access.process), mirror.contacts_after(access.id));
            output.json(&AccessLine::new(&mirror, access, process, contacts))?;
        }
    } else {
        output.table(&table(&mirror, listed))?;
    }
    output.flush()
}

fn table<'a>(mirror: &Mirror, accesses: impl Iterator<Item = &'a FileAccess>) -> Table {
    let mut table = Table::new(&[
        ("TIME", Align::Left, 20),
        ("PID", Align::Right, 10),
        ("NAME", Align::Left, 20),
        ("ACCESS", Align::Left, 10),
        ("RESULT", Align::Left, 12),
        ("TIMES", Align::Right, 10),
        ("SEVERITY", Align::Left, 8),
        ("NOTE", Align::Left, 40),
        ("PATH", Align::Left, 100),
        ("WHAT", Align::Left, 32),
        ("REACHED AFTER IT", Align::Left, 100),
    ]);
    let clock = Clock::new();
    for a in accesses {
        let process = mirror.process(a.process);
        table.row([
            clock.day_and_time(a.at),
            process.map_or_else(|| "–".into(), |p| p.pid.to_string()),
            process.map_or_else(String::new, |p| p.name.shown()),
            a.access.word().into(),
            a.result.to_string(),
            count(a.count),
            a.severity.word().into(),
            note(a),
            a.path.shown(),
            mirror.entry(a.entry).map(|entry| entry.label.shown()).unwrap_or_default(),
            reached(mirror, a),
        ]);
    }
    table
}

/// What is unusual about an access.
fn note(a: &FileAccess) -> String {
    let all =
        [(!a.expected, "not expected"), (a.first_time, "first time"), (a.mount_ns.is_some(), "container")];
    all.iter().filter(|(is_so, _)| *is_so).map(|(_, words)| *words).collect::<Vec<_>>().join(", ")
}

fn reached(mirror: &Mirror, a: &FileAccess) -> String {
    let name = |c: &Contact| c.remote_name.as_ref().map(|name| format!(" ({})", name.name));
    let mut all: Vec<String> =
        mirror.contacts_after(a.id).map(|c| format!("{}{}", c.remote, name(c).unwrap_or_default())).collect();
    if a.contacts_left_out > 0 {
        all.push(format!("{} more", count(a.contacts_left_out)));
    }
    all.join(", ")
}
