//! `top`: the busiest processes, again and again.

use std::{collections::HashMap, time::Instant};

use sekhmet_common::{
    mirror::Mirror,
    process::{Process, ProcessId},
};

use crate::{
    arguments::{Common, Top},
    output::{Cell, Output, bytes, complain, fit, table},
    session::{Failure, Next, Session},
    show::list::others,
};

/// How many processes are shown where there is no terminal to fill.
const ROWS_PLAIN: usize = 20;

/// `sekhmetctl top`.
pub(crate) fn top(common: &Common, top: &Top) -> Result<(), Failure> {
    let mut session = Session::open(common.options())?;
    let mut out = Output::new();
    let mut mirror = session.snapshot()?;
    let end = top.time.map(|time| Instant::now() + time);
    let mut before = totals(&mirror);
    let mut drawn = Instant::now();
    loop {
        let due = drawn + top.every;
        let until = end.map_or(due, |end| end.min(due));
        match session.next(Some(until))? {
            Next::Events(events) => events.iter().for_each(|event| mirror.apply(event)),
            Next::Interrupted(reason) => complain(&format!("{reason}; waiting for the helper")),
            Next::Timeout => {}
        }
        let now = Instant::now();
        // A snapshot that is half told is no state to show.
        if now >= due && mirror.is_complete() {
            let seconds = now.duration_since(drawn).as_secs_f64();
            let rates = rates(&mirror, &before, seconds);
            if common.json {
                draw_json(&mut out, &mirror, &rates)?;
            } else {
                draw(&mut out, &mirror, &rates)?;
            }
            (before, drawn) = (totals(&mirror), now);
        } else if now >= due {
            drawn = now;
        }
        if end.is_some_and(|end| now >= end) {
            return out.flush();
        }
    }
}

type Totals = HashMap<ProcessId, (u64, u64)>;

fn totals(mirror: &Mirror) -> Totals {
    mirror.processes().map(|p| (p.id, (p.tx_bytes, p.rx_bytes))).collect()
}

/// Bytes per second of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    id: ProcessId,
    tx: u64,
    rx: u64,
}

/// The rates since the last table, the busiest first; equal ones by what they moved in all.
fn rates(mirror: &Mirror, before: &Totals, seconds: f64) -> Vec<Rate> {
    let per_second = |now: u64, before: u64| {
        // A float of this size is exact enough for a rate, and the cast saturates.
        (now.saturating_sub(before) as f64 / seconds.max(0.001)) as u64
    };
    let rate = |p: &Process| {
        // A process that was not there began with nothing.
        let (tx, rx) = before.get(&p.id).copied().unwrap_or_default();
        Rate { id: p.id, tx: per_second(p.tx_bytes, tx), rx: per_second(p.rx_bytes, rx) }
    };
    let total = |id| mirror.process(id).map_or(0, |p| p.tx_bytes.saturating_add(p.rx_bytes));
    let mut rates: Vec<Rate> = mirror.processes().map(rate).collect();
    rates.retain(|r| total(r.id) > 0 || mirror.open_flows_of(r.id) > 0);
    rates.sort_by_key(|r| std::cmp::Reverse((r.tx.saturating_add(r.rx), total(r.id), r.id)));
    rates
}

fn draw(out: &mut Output, mirror: &Mirror, rates: &[Rate]) -> Result<(), Failure> {
    let size = out.measure();
    let width = size.map(|(_, width)| width);
    let tx: u64 = rates.iter().map(|r| r.tx).sum();
    let rx: u64 = rates.iter().map(|r| r.rx).sum();
    let open = mirror.flows().filter(|f| f.state != sekhmet_common::flow::FlowState::Closed).count();
    let mut lines = vec![format!(
        "{} processes, {open} open flows, ↓ {}/s  ↑ {}/s",
        mirror.processes().count(),
        bytes(rx),
        bytes(tx)
    )];
    lines.extend(others(mirror));
    lines.push(String::new());
    let rows: Vec<Vec<Cell>> = rates
        .iter()
        .take(size.map_or(ROWS_PLAIN, |(height, _)| height.saturating_sub(lines.len() + 2)))
        .filter_map(|r| Some(row(mirror, mirror.process(r.id)?, r)))
        .collect();
    lines.extend(table(&["PID", "↓/s", "↑/s", "RECEIVED", "SENT", "FLOWS", "NAME"], &rows, width));
    if size.is_some() {
        // Home, each line cleared to its end, then everything below: nothing flickers, and an interrupted
        // program leaves the terminal as it was.
        let text: Vec<String> = lines.iter().map(|line| format!("{}\x1b[K", fit(line, width))).collect();
        out.raw(&format!("\x1b[H{}\x1b[J", text.join("\n")))?;
    } else {
        lines.iter().try_for_each(|line| out.line(line))?;
        out.line("")?;
    }
    out.flush()
}

fn row(mirror: &Mirror, p: &Process, rate: &Rate) -> Vec<Cell> {
    vec![
        Cell::Number(p.pid.to_string()),
        Cell::Number(bytes(rate.rx)),
        Cell::Number(bytes(rate.tx)),
        Cell::Number(bytes(p.rx_bytes)),
        Cell::Number(bytes(p.tx_bytes)),
        Cell::Number(mirror.open_flows_of(p.id).to_string()),
        Cell::Text(p.application_name.as_ref().unwrap_or(&p.name).shown()),
    ]
}

fn draw_json(out: &mut Output, mirror: &Mirror, rates: &[Rate]) -> Result<(), Failure> {
    for r in rates {
        let Some(p) = mirror.process(r.id) else { continue };
        out.json(
            &serde_json::json!({"id": p.id.0, "pid": p.pid, "name": p.name, "tx_rate": r.tx, "rx_rate": r.rx,
            "tx_bytes": p.tx_bytes, "rx_bytes": p.rx_bytes, "open_flows": mirror.open_flows_of(p.id)}),
        )?;
    }
    out.flush()
}
