//! `sekhmetctl files`: who opened which watched file, and whom they reached after it.

use std::time::Duration;

use sekhmet_common::{
    display::Text,
    file::{Access as Asked, AccessId, Contact, ContactId, ContactReason, FileAccess, Outcome},
    flow::FlowId,
    mirror::Mirror,
    process::ProcessId,
    time::Timestamp,
    watch::{EntryId, Severity},
};
use serde::Serialize;

use crate::{
    moment::Clock,
    numbers::count,
    objects::{Owner, Remote},
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// One line of `files --json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: AccessId,
    process: Option<Owner<'a>>,
    path: &'a Text,
    requested_path: Option<&'a Text>,
    entry: EntryId,
    severity: Severity,
    access: Asked,
    result: Outcome,
    count: u64,
    at: Timestamp,
    first_time: bool,
    last_at: Timestamp,
    expected: bool,
    label: Option<&'a Text>,
    mount_ns: Option<u32>,
    contacts: Vec<After<'a>>,
    contacts_left_out: u64,
}

/// A remote that was reached after the access.
#[derive(Debug, Serialize)]
struct After<'a> {
    id: ContactId,
    process: ProcessId,
    pid: Option<u32>,
    flow: FlowId,
    remote: Remote<'a>,
    reason: ContactReason,
    at: Timestamp,
    tx_bytes: u64,
}

/// Shows every listed access, the oldest first; with a time, only those that went on within it.
pub(crate) fn run(access: &Access, json: bool, since: Option<Duration>) -> Result<(), Failure> {
    let mirror = access.snapshot()?;
    let nanos = since.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let earliest = nanos.map(|nanos| Timestamp(Timestamp::now().0.saturating_sub(nanos)));
    let listed = mirror.accesses().filter(|a| earliest.is_none_or(|earliest| a.last_at >= earliest));
    let mut output = Output::new();
    if json {
        for access in listed {
            output.json(&line(&mirror, access))?;
        }
    } else {
        output.table(&table(&mirror, listed))?;
    }
    output.flush()
}

fn line<'a>(mirror: &'a Mirror, a: &'a FileAccess) -> Line<'a> {
    Line {
        id: a.id,
        process: mirror.process(a.process).map(Owner::new),
        path: &a.path,
        requested_path: a.requested_path.as_ref(),
        entry: a.entry,
        severity: a.severity,
        access: a.access,
        result: a.result,
        count: a.count,
        at: a.at,
        first_time: a.first_time,
        last_at: a.last_at,
        expected: a.expected,
        label: mirror.entry(a.entry).map(|entry| &entry.label),
        mount_ns: a.mount_ns,
        contacts: mirror.contacts_after(a.id).map(|contact| after(mirror, contact)).collect(),
        contacts_left_out: a.contacts_left_out,
    }
}

fn after<'a>(mirror: &Mirror, c: &'a Contact) -> After<'a> {
    After {
        id: c.id,
        process: c.process,
        pid: mirror.process(c.process).map(|process| process.pid),
        flow: c.flow,
        remote: Remote::new(c.remote, c.remote_name.as_ref()),
        reason: c.reason,
        at: c.at,
        tx_bytes: c.tx_bytes,
    }
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
