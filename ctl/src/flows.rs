//! `sekhmetctl flows`: who exchanges what with whom.

use std::net::IpAddr;

use sekhmet_common::{
    flow::{Direction, EndReason, Flow, FlowId, FlowState, Protocol},
    lines::{Owner, Remote},
    mirror::Mirror,
    time::Timestamp,
};
use serde::Serialize;

use crate::{
    numbers::bytes,
    output::{Failure, Output},
    session::Access,
    table::{Align, Table},
};

/// One line of `flows --json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: FlowId,
    process: Option<Owner<'a>>,
    protocol: Protocol,
    direction: Direction,
    local: Local,
    remote: Remote<'a>,
    state: FlowState,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
    end_reason: Option<EndReason>,
    tx_bytes: u64,
    rx_bytes: u64,
    tx_packets: u64,
    rx_packets: u64,
}

#[derive(Debug, Serialize)]
struct Local {
    addr: IpAddr,
    port: u16,
}

/// Shows every listed flow.
pub(crate) fn run(access: &Access, json: bool) -> Result<(), Failure> {
    let mirror = access.snapshot()?;
    let mut output = Output::new();
    if json {
        for flow in mirror.flows() {
            output.json(&line(&mirror, flow))?;
        }
    } else {
        output.table(&table(&mirror))?;
    }
    output.flush()
}

/// The word for a flow's state: why it ended, if it did.
pub(crate) fn state_word(flow: &Flow) -> &'static str {
    match (flow.state, flow.end_reason) {
        (FlowState::Opening, _) => "opening",
        (FlowState::Open, _) => "open",
        (FlowState::Closed, None) => "closed",
        (FlowState::Closed, Some(reason)) => reason_word(reason),
    }
}

/// The word for why a flow ended.
pub(crate) fn reason_word(reason: EndReason) -> &'static str {
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

/// The sign for who spoke first.
pub(crate) fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "←",
        Direction::Outbound => "→",
        Direction::Unknown => "↔",
    }
}

fn line<'a>(mirror: &'a Mirror, f: &'a Flow) -> Line<'a> {
    Line {
        id: f.id,
        process: f.process.and_then(|id| mirror.process(id)).map(Owner::new),
        protocol: f.protocol,
        direction: f.direction,
        local: Local { addr: f.local.addr, port: f.local.port },
        remote: Remote::new(f.remote, f.remote_name.as_ref()),
        state: f.state,
        opened_at: f.opened_at,
        closed_at: f.closed_at,
        end_reason: f.end_reason,
        tx_bytes: f.counters.tx_bytes,
        rx_bytes: f.counters.rx_bytes,
        tx_packets: f.counters.tx_packets,
        rx_packets: f.counters.rx_packets,
    }
}

fn table(mirror: &Mirror) -> Table {
    let mut table = Table::new(&[
        ("PID", Align::Right, 10),
        ("NAME", Align::Left, 20),
        ("PROTO", Align::Left, 8),
        ("LOCAL", Align::Left, 48),
        ("", Align::Left, 1),
        ("REMOTE", Align::Left, 48),
        ("STATE", Align::Left, 10),
        ("RECEIVED", Align::Right, 16),
        ("SENT", Align::Right, 16),
        ("REMOTE NAME", Align::Left, 80),
    ]);
    for f in mirror.flows() {
        let process = f.process.and_then(|id| mirror.process(id));
        table.row([
            process.map_or_else(|| "–".into(), |p| p.pid.to_string()),
            process.map_or_else(|| "kernel".into(), |p| p.name.shown()),
            f.protocol.word().into(),
            f.local.to_string(),
            arrow(f.direction).into(),
            f.remote.to_string(),
            state_word(f).into(),
            bytes(f.counters.rx_bytes),
            bytes(f.counters.tx_bytes),
            f.remote_name.as_ref().map(|n| n.name.shown()).unwrap_or_default(),
        ]);
    }
    table
}
