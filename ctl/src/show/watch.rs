//! `watch`: events as they happen.

use std::time::Instant;

use jiff::{Timestamp as Moment, tz::TimeZone};
use sekhmet_common::{
    event::Event,
    flow::{Counters, FlowId},
    log,
    mirror::Mirror,
    process::ProcessId,
    time::Timestamp,
};

use crate::{
    arguments::{Common, Watch},
    output::{Output, bytes, complain},
    session::{Failure, Next, Session},
    show::list::{arrow, end, owner},
};

/// `sekhmetctl watch`.
pub(crate) fn watch(common: &Common, watch: &Watch) -> Result<(), Failure> {
    let mut session = Session::open(common.options())?;
    let mut out = Output::new();
    let mut mirror = Mirror::new();
    // The time begins when there is something to see.
    let mut deadline = None;
    loop {
        let events = match session.next(deadline)? {
            Next::Events(events) => events,
            Next::Timeout => return out.flush(),
            Next::Interrupted(reason) => {
                complain(&format!("{reason}; waiting for the helper"));
                continue;
            }
        };
        deadline = deadline.or_else(|| watch.time.map(|time| Instant::now() + time));
        for event in &events {
            let was_complete = mirror.is_complete();
            // What ends is named before it is forgotten.
            let line = (!common.json).then(|| tell(&mirror, event));
            mirror.apply(event);
            let is_old = !was_complete || !mirror.is_complete();
            if is_old && !watch.snapshot {
                continue;
            }
            show(&mut out, watch, &mirror, event, line)?;
        }
        out.flush()?;
    }
}

fn show(
    out: &mut Output,
    watch: &Watch,
    mirror: &Mirror,
    event: &Event,
    before: Option<String>,
) -> Result<(), Failure> {
    let json = log::to_json(event).map_err(|error| Failure::Output(error.into()))?;
    let kind = json["type"].as_str().unwrap_or_default();
    if !watch.kinds.is_empty() && !watch.kinds.iter().any(|k| k == kind) {
        return Ok(());
    }
    match before {
        None => out.json(&json),
        // What begins is named after it is known.
        Some(before) => {
            let after = tell(mirror, event);
            let text = if after.is_empty() { before } else { after };
            out.line(&format!("{}  {kind:<15}  {text}", clock(event.at())))
        }
    }
}

/// The local time of day with milliseconds.
fn clock(at: Timestamp) -> String {
    let moment = Moment::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    moment.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

/// What an event says, in one line. Empty if it is about something that is not known.
fn tell(mirror: &Mirror, event: &Event) -> String {
    match event {
        Event::ProcessStarted { process, .. } | Event::ProcessChanged { process, .. } => {
            let command: Vec<String> = process.cmdline.iter().map(|a| a.shown()).collect();
            format!("{}[{}]  {}", process.name, process.pid, command.join(" "))
        }
        Event::ProcessExited { id, exit_status, .. } => with_process(mirror, *id, |name| {
            format!("{name}  {}", exit_status.map_or(String::new(), wait_status))
        }),
        Event::ProcessGone { id, .. } => with_process(mirror, *id, |name| name),
        Event::FlowOpened { flow, .. } => with_flow(mirror, flow.id, |text| text),
        Event::FlowChanged { id, .. } | Event::FlowGone { id, .. } => with_flow(mirror, *id, |text| text),
        Event::FlowClosed { id, end_reason, counters, .. } => {
            with_flow(mirror, *id, |text| format!("{text}  {}  {}", end(*end_reason), amounts(counters)))
        }
        Event::Traffic { flows, .. } => format!("{} flows moved", flows.len()),
        Event::ProcessTotals { id, tx_bytes, rx_bytes, .. } => with_process(mirror, *id, |name| {
            format!("{name}  {} sent, {} received", bytes(*tx_bytes), bytes(*rx_bytes))
        }),
        Event::Others { processes, open_flows, .. } => {
            format!("{processes} processes, {open_flows} open flows")
        }
        Event::Coverage { sources, .. } => format!("{} sources", sources.len()),
        Event::Balance { kinds, .. } => {
            let lost: u64 = kinds.iter().map(|k| k.lost).sum();
            format!("{lost} records lost since the start")
        }
        Event::Lost { kind, count, .. } => {
            format!("{count} records of kind {} are missing here", kind.word())
        }
        Event::SnapshotBegin { version, .. } => format!("helper {version}"),
        Event::SnapshotEnd { .. } => {
            format!("{} processes, {} flows", mirror.processes().count(), mirror.flows().count())
        }
    }
}

fn with_process(mirror: &Mirror, id: ProcessId, then: impl FnOnce(String) -> String) -> String {
    mirror.process(id).map_or(String::new(), |p| then(format!("{}[{}]", p.name, p.pid)))
}

fn with_flow(mirror: &Mirror, id: FlowId, then: impl FnOnce(String) -> String) -> String {
    mirror.flow(id).map_or(String::new(), |f| {
        let name = f.remote_name.as_ref().map_or(String::new(), |n| format!(" ({})", n.name));
        let (who, way) = (owner(mirror, f), arrow(f.direction));
        then(format!("{who}  {} {} {way} {}{name}", f.protocol.word(), f.local, f.remote))
    })
}

fn amounts(counters: &Counters) -> String {
    format!("{} sent, {} received", bytes(counters.tx_bytes), bytes(counters.rx_bytes))
}

/// A wait status (wait(2)): signal in the low 7 bits, exit code in bits 8–15.
fn wait_status(status: i32) -> String {
    match (status & 0x7f, (status >> 8) & 0xff) {
        (0, code) => format!("exit status {code}"),
        (signal, _) => format!("ended by signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_told_apart() {
        assert_eq!(wait_status(0), "exit status 0");
        assert_eq!(wait_status(3 << 8), "exit status 3");
        assert_eq!(wait_status(9), "ended by signal 9");
        assert_eq!(wait_status(0x80 | 11), "ended by signal 11");
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let at = Timestamp(0);
        let event = Event::SnapshotBegin {
            at,
            version: (&b"\x1b[2J\nx"[..]).into(),
            watching_since: at,
            mode: Default::default(),
        };
        assert_eq!(tell(&Mirror::new(), &event), "helper \\x1b[2J\\x0ax");
    }
}
