//! `sekhmetctl ps`: the processes that are listed, and what they have exchanged.

use std::cmp::Reverse;

use sekhmet_common::{
    display::Text,
    mirror::Mirror,
    process::{Process, ProcessId},
    rule::RuleId,
    time::Timestamp,
};
use serde::Serialize;

use crate::{
    numbers::{bytes, count},
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// One line of `ps --json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: ProcessId,
    pid: u32,
    parent_id: Option<ProcessId>,
    name: &'a Text,
    exe: &'a Text,
    cmdline: &'a [Text],
    uid: u32,
    user: Option<&'a Text>,
    unit: Option<&'a Text>,
    container: Option<&'a Text>,
    started_at: Timestamp,
    exited_at: Option<Timestamp>,
    tx_bytes: u64,
    rx_bytes: u64,
    open_flows: usize,
    blocked_by: &'a [RuleId],
}

/// Shows every listed process; for people those first that have exchanged the most.
pub(crate) fn run(access: &Access, json: bool) -> Result<(), Failure> {
    let mirror = access.snapshot()?;
    let mut output = Output::new();
    if json {
        for process in mirror.processes() {
            output.json(&line(&mirror, process))?;
        }
    } else {
        output.table(&table(&mirror))?;
        others(&mirror, &mut output)?;
    }
    output.flush()
}

/// What a process is called where there is room for one word: its name and its PID.
pub(crate) fn label(process: &Process) -> String {
    format!("{}[{}]", process.name.shown_within(32), process.pid)
}

/// The arguments as one line.
pub(crate) fn command_line(process: &Process) -> String {
    let mut line = process.cmdline.iter().map(Text::shown).collect::<Vec<_>>().join(" ");
    if process.cmdline_truncated {
        line.push_str(" …");
    }
    line
}

/// The user's name, or the number if there is none.
pub(crate) fn user(process: &Process) -> String {
    process.user.as_ref().map_or_else(|| process.uid.to_string(), Text::shown)
}

fn line<'a>(mirror: &'a Mirror, p: &'a Process) -> Line<'a> {
    Line {
        id: p.id,
        pid: p.pid,
        parent_id: p.parent_id,
        name: &p.name,
        exe: &p.exe,
        cmdline: &p.cmdline,
        uid: p.uid,
        user: p.user.as_ref(),
        unit: p.unit.as_ref(),
        container: p.container.as_ref(),
        started_at: p.started_at,
        exited_at: p.exited_at,
        tx_bytes: p.tx_bytes,
        rx_bytes: p.rx_bytes,
        open_flows: mirror.open_flows_of(p.id),
        blocked_by: mirror.rules_of(p.id),
    }
}

fn table(mirror: &Mirror) -> Table {
    let mut table = Table::new(&[
        ("PID", Align::Right, 10),
        ("NAME", Align::Left, 24),
        ("USER", Align::Left, 16),
        ("RECEIVED", Align::Right, 16),
        ("SENT", Align::Right, 16),
        ("FLOWS", Align::Right, 16),
        ("STATE", Align::Left, 8),
        ("UNIT", Align::Left, 28),
        ("COMMAND", Align::Left, 400),
    ]);
    let mut processes: Vec<&Process> = mirror.processes().collect();
    processes.sort_by_key(|p| Reverse(p.tx_bytes.saturating_add(p.rx_bytes)));
    for p in processes {
        table.row([
            p.pid.to_string(),
            p.name.shown(),
            user(p),
            bytes(p.rx_bytes),
            bytes(p.tx_bytes),
            count(mirror.open_flows_of(p.id) as u64),
            state(mirror, p).into(),
            p.unit.as_ref().or(p.container.as_ref()).map(Text::shown).unwrap_or_default(),
            command_line(p),
        ]);
    }
    table
}

fn state(mirror: &Mirror, p: &Process) -> &'static str {
    match p.exited_at {
        Some(_) => "exited",
        None if !mirror.rules_of(p.id).is_empty() => "blocked",
        None => "runs",
    }
}

fn others(mirror: &Mirror, output: &mut Output) -> Result<(), Failure> {
    let o = mirror.others();
    if o.processes == 0 {
        return Ok(());
    }
    output.line(&format!(
        "and {} processes of others with {} open flows: {} received, {} sent",
        count(o.processes),
        count(o.open_flows),
        bytes(o.rx_bytes),
        bytes(o.tx_bytes)
    ))
}
