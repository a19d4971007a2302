//! One line of `top --json`.

use std::net::IpAddr;

use sekhmet_common::{display::Text, process::ProcessId, time::Timestamp};
use serde::Serialize;

use super::rates::Summary;

/// How many processes and hosts a line names.
const NAMED_MAX: usize = 20;

impl Summary {
    /// The summary as one line of `top --json`; rates are bytes per second.
    pub(crate) fn line(&self, at: Timestamp) -> Line<'_> {
        let processes = self.processes.iter().take(NAMED_MAX).map(|p| ProcessLine {
            id: p.id,
            pid: p.pid,
            name: &p.name,
            tx_rate: p.rate.tx as u64,
            rx_rate: p.rate.rx as u64,
            tx_bytes: p.total.tx,
            rx_bytes: p.total.rx,
            open_flows: p.open_flows,
        });
        let hosts = self.hosts.iter().take(NAMED_MAX).map(|h| HostLine {
            addr: h.addr,
            name: h.name.as_ref(),
            tx_rate: h.rate.tx as u64,
            rx_rate: h.rate.rx as u64,
            tx_bytes: h.total.tx,
            rx_bytes: h.total.rx,
            open_flows: h.open_flows,
        });
        Line {
            at,
            tx_rate: self.rate.tx as u64,
            rx_rate: self.rate.rx as u64,
            tx_bytes: self.total.tx,
            rx_bytes: self.total.rx,
            running_processes: self.running,
            open_flows: self.open_flows,
            processes: processes.collect(),
            hosts: hosts.collect(),
        }
    }
}

/// One line of `top --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    at: Timestamp,
    tx_rate: u64,
    rx_rate: u64,
    tx_bytes: u64,
    rx_bytes: u64,
    running_processes: usize,
    open_flows: usize,
    processes: Vec<ProcessLine<'a>>,
    hosts: Vec<HostLine<'a>>,
}

#[derive(Debug, Serialize)]
struct ProcessLine<'a> {
    id: ProcessId,
    pid: u32,
    name: &'a Text,
    tx_rate: u64,
    rx_rate: u64,
    tx_bytes: u64,
    rx_bytes: u64,
    open_flows: usize,
}

#[derive(Debug, Serialize)]
struct HostLine<'a> {
    addr: IpAddr,
    name: Option<&'a Text>,
    tx_rate: u64,
    rx_rate: u64,
    tx_bytes: u64,
    rx_bytes: u64,
    open_flows: usize,
}
