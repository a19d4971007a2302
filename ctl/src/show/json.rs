//! The JSON objects of `ps` and `flows`. Fields are only ever added; their meaning does not change.

use std::net::IpAddr;

use sekhmet_common::{
    display::Text,
    flow::{Direction, EndReason, Flow, FlowState, NameSource, Protocol},
    mirror::Mirror,
    process::Process,
    time::Timestamp,
};
use serde::Serialize;

/// A line of `ps --json`.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessLine<'a> {
    id: u64,
    pid: u32,
    parent_id: Option<u64>,
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
}

impl<'a> ProcessLine<'a> {
    pub(crate) fn new(mirror: &Mirror, p: &'a Process) -> Self {
        Self {
            id: p.id.0,
            pid: p.pid,
            parent_id: p.parent_id.map(|id| id.0),
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
        }
    }
}

/// A line of `flows --json`.
#[derive(Debug, Serialize)]
pub(crate) struct FlowLine<'a> {
    id: u64,
    /// Nothing for the kernel's own sockets.
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
struct Owner<'a> {
    id: u64,
    pid: u32,
    name: &'a Text,
    exe: &'a Text,
    cmdline: &'a [Text],
    uid: u32,
    user: Option<&'a Text>,
    unit: Option<&'a Text>,
    container: Option<&'a Text>,
}

#[derive(Debug, Serialize)]
struct Local {
    addr: IpAddr,
    port: u16,
}

#[derive(Debug, Serialize)]
struct Remote<'a> {
    addr: IpAddr,
    port: u16,
    name: Option<&'a Text>,
    name_source: Option<NameSource>,
}

impl<'a> FlowLine<'a> {
    pub(crate) fn new(mirror: &'a Mirror, f: &'a Flow) -> Self {
        let owner = f.process.and_then(|id| mirror.process(id));
        Self {
            id: f.id.0,
            process: owner.map(|p| Owner {
                id: p.id.0,
                pid: p.pid,
                name: &p.name,
                exe: &p.exe,
                cmdline: &p.cmdline,
                uid: p.uid,
                user: p.user.as_ref(),
                unit: p.unit.as_ref(),
                container: p.container.as_ref(),
            }),
            protocol: f.protocol,
            direction: f.direction,
            local: Local { addr: f.local.addr, port: f.local.port },
            remote: Remote {
                addr: f.remote.addr,
                port: f.remote.port,
                name: f.remote_name.as_ref().map(|n| &n.name),
                name_source: f.remote_name.as_ref().map(|n| n.source),
            },
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
}
