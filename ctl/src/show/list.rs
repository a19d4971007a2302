//! `ps` and `flows`: one snapshot, one table.

use sekhmet_common::{
    flow::{Direction, EndReason, Flow, FlowState},
    mirror::Mirror,
    process::Process,
};

use crate::{
    arguments::Common,
    output::{Cell, Output, bytes},
    session::{Failure, Session},
    show::json::{FlowLine, ProcessLine},
};

/// The widest that a foreign name gets in a column that is not the last.
const NAME_MAX: usize = 24;

/// `sekhmetctl ps`.
pub(crate) fn ps(common: &Common) -> Result<(), Failure> {
    let mirror = Session::open(common.options())?.snapshot()?;
    let mut out = Output::new();
    let mut processes: Vec<&Process> = mirror.processes().collect();
    processes.sort_by_key(|p| (p.pid, p.id));
    if common.json {
        processes.iter().try_for_each(|p| out.json(&ProcessLine::new(&mirror, p)))?;
    } else {
        let rows: Vec<Vec<Cell>> = processes.iter().map(|p| process_row(&mirror, p)).collect();
        out.table(&["PID", "USER", "NAME", "SENT", "RECEIVED", "FLOWS", "UNIT", "COMMAND"], &rows)?;
        if let Some(line) = others(&mirror) {
            out.line(&line)?;
        }
    }
    out.flush()
}

fn process_row(mirror: &Mirror, p: &Process) -> Vec<Cell> {
    let user = p.user.as_ref().map_or_else(|| p.uid.to_string(), |u| u.shown());
    let unit = p.container.as_ref().or(p.unit.as_ref()).map(|u| u.shown()).unwrap_or_default();
    vec![
        Cell::Number(p.pid.to_string()),
        Cell::within(&user, NAME_MAX),
        Cell::within(&name(p), NAME_MAX),
        Cell::Number(bytes(p.tx_bytes)),
        Cell::Number(bytes(p.rx_bytes)),
        Cell::Number(mirror.open_flows_of(p.id).to_string()),
        Cell::within(&unit, NAME_MAX),
        Cell::Text(command(p)),
    ]
}

fn name(p: &Process) -> String {
    let name = p.name.shown_within(NAME_MAX);
    if p.exited_at.is_some() { format!("{name} (ended)") } else { name }
}

/// The command line as one text, or the executable where there is none.
fn command(p: &Process) -> String {
    if p.cmdline.is_empty() {
        return p.exe.shown();
    }
    let mut text = p.cmdline.iter().map(|a| a.shown()).collect::<Vec<_>>().join(" ");
    if p.cmdline_truncated {
        text.push_str(" …");
    }
    text
}

/// One line about what may not be seen.
pub(crate) fn others(mirror: &Mirror) -> Option<String> {
    let o = mirror.others();
    (o.processes > 0).then(|| {
        format!(
            "and {} processes of others with {} open flows: {} sent, {} received",
            o.processes,
            o.open_flows,
            bytes(o.tx_bytes),
            bytes(o.rx_bytes)
        )
    })
}

/// `sekhmetctl flows`.
pub(crate) fn flows(common: &Common) -> Result<(), Failure> {
    let mirror = Session::open(common.options())?.snapshot()?;
    let mut out = Output::new();
    if common.json {
        mirror.flows().try_for_each(|f| out.json(&FlowLine::new(&mirror, f)))?;
    } else {
        let rows: Vec<Vec<Cell>> = mirror.flows().map(|f| flow_row(&mirror, f)).collect();
        out.table(&["PROCESS", "PROTO", "LOCAL", "", "REMOTE", "STATE", "SENT", "RECEIVED", "NAME"], &rows)?;
        if let Some(line) = others(&mirror) {
            out.line(&line)?;
        }
    }
    out.flush()
}

fn flow_row(mirror: &Mirror, f: &Flow) -> Vec<Cell> {
    let name = f.remote_name.as_ref().map(|n| n.name.shown()).unwrap_or_default();
    vec![
        Cell::Text(owner(mirror, f)),
        Cell::Text(f.protocol.word().into()),
        Cell::Text(f.local.to_string()),
        Cell::Text(arrow(f.direction).into()),
        Cell::Text(f.remote.to_string()),
        Cell::Text(state(f).into()),
        Cell::Number(bytes(f.counters.tx_bytes)),
        Cell::Number(bytes(f.counters.rx_bytes)),
        Cell::Text(name),
    ]
}

/// Who owns a flow, as `name[pid]`.
pub(crate) fn owner(mirror: &Mirror, f: &Flow) -> String {
    match f.process.and_then(|id| mirror.process(id)) {
        Some(p) => format!("{}[{}]", p.name.shown_within(NAME_MAX), p.pid),
        None => "kernel".into(),
    }
}

/// Which way a flow was opened.
pub(crate) fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "→",
        Direction::Inbound => "←",
        Direction::Unknown => "↔",
    }
}

fn state(f: &Flow) -> &'static str {
    match (f.state, f.end_reason) {
        (FlowState::Opening, _) => "opening",
        (FlowState::Open, _) => "open",
        (FlowState::Closed, reason) => reason.map_or("closed", end),
    }
}

/// The word for the end of a flow.
pub(crate) fn end(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Reset => "reset",
        EndReason::Refused => "refused",
        EndReason::TimedOut => "timed out",
        EndReason::Aged => "aged",
        EndReason::Exited => "exited",
        EndReason::Blocked => "blocked",
    }
}
