//! One line for people about one event.

mod files;

use jiff::{Timestamp as Moment, fmt::strtime, tz::TimeZone};
use sekhmet_common::{
    coverage::{Mode, SourceStatus},
    event::{Event, FlowCounters},
    flow::{Counters, Flow, FlowId},
    mirror::Mirror,
    process::ProcessId,
    refusal::Refusal,
    rule::{RuleEnd, RuleId},
    time::Timestamp,
};

use crate::{
    flows::{arrow, reason_word},
    kinds::kind,
    numbers::{bytes, count},
    ps::{command_line, label, user},
};

/// Tells events in the time of the place.
#[derive(Debug)]
pub(crate) struct Teller {
    zone: TimeZone,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self { zone: TimeZone::system() }
    }

    /// The line for an event that `mirror` has not applied yet.
    pub(crate) fn tell(&self, mirror: &Mirror, event: &Event) -> String {
        format!("{}  {:<15}  {}", self.clock(event.at()), kind(event), about(mirror, event))
    }

    /// The time of day with milliseconds.
    fn clock(&self, at: Timestamp) -> String {
        let moment = Moment::from_nanosecond(i128::from(at.0));
        let text = moment.and_then(|m| strtime::format("%H:%M:%S%.3f", &m.to_zoned(self.zone.clone())));
        text.unwrap_or_else(|_| at.to_string())
    }
}

fn about(mirror: &Mirror, event: &Event) -> String {
    match event {
        Event::SnapshotBegin { version, mode, .. } => format!("helper {version}, mode {}", mode_word(*mode)),
        Event::SnapshotEnd { .. } => String::new(),
        Event::ProcessStarted { process: p, .. } | Event::ProcessChanged { process: p, .. } => {
            format!("{} by {}: {}", label(p), user(p), command_line(p))
        }
        Event::ProcessExited { id, exit_status, .. } => {
            format!("{} {}", process(mirror, *id), exit_words(*exit_status))
        }
        Event::ProcessGone { id, .. } => process(mirror, *id),
        Event::FlowOpened { flow, .. } => flow_words(mirror, flow),
        Event::FlowChanged { id, process, direction, local, remote, remote_name, state, .. } => {
            match mirror.flow(*id) {
                Some(known) => flow_words(
                    mirror,
                    &Flow {
                        process: *process,
                        direction: *direction,
                        local: *local,
                        remote: *remote,
                        remote_name: remote_name.clone(),
                        state: *state,
                        ..known.clone()
                    },
                ),
                None => flow(mirror, *id),
            }
        }
        Event::FlowClosed { id, end_reason, counters, .. } => {
            format!("{}, {}: {}", flow(mirror, *id), reason_word(*end_reason), passed(*counters))
        }
        Event::FlowGone { id, .. } => flow(mirror, *id),
        Event::Traffic { flows, .. } => traffic(mirror, flows),
        Event::Others { processes, open_flows, tx_bytes, rx_bytes, .. } => format!(
            "{} processes, {} open flows, ↓ {} ↑ {}",
            count(*processes),
            count(*open_flows),
            bytes(*rx_bytes),
            bytes(*tx_bytes)
        ),
        Event::Coverage { mode, sources, .. } => {
            let full = |s: &&_| matches!(s, SourceStatus::Best | SourceStatus::Equal);
            let good = sources.iter().map(|s| s.status).filter(|s| full(&s)).count();
            format!("mode {}, {good} of {} things seen in full", mode_word(*mode), sources.len())
        }
        Event::Balance { kinds, .. } => {
            let (made, lost) = kinds
                .iter()
                .fold((0_u64, 0_u64), |sum, k| (sum.0.saturating_add(k.made), sum.1.saturating_add(k.lost)));
            format!("{} records made, {} lost", count(made), count(lost))
        }
        Event::Lost { kind, count: n, .. } => format!("{} records of kind {}", count(*n), kind.word()),
        Event::ProcessTotals { id, tx_bytes, rx_bytes, .. } => {
            format!("{} ↓ {} ↑ {}", process(mirror, *id), bytes(*rx_bytes), bytes(*tx_bytes))
        }
        Event::RuleAdded { rule, .. } => format!("rule {}: {}", rule.id, rule.sentence()),
        Event::RuleRemoved { id, end, .. } => format!("{}, {}", rule(mirror, *id), end_words(*end)),
        Event::ProcessRules { id, rules, .. } => match rules.as_slice() {
            [] => format!("{} is no longer blocked", process(mirror, *id)),
            rules => format!("{} blocked by {}", process(mirror, *id), numbers(rules)),
        },
        Event::Refused { refusal, .. } => refusal_words(mirror, refusal),
        Event::RuleHits { id, hits, .. } => {
            format!("{}, {} attempts refused", rule(mirror, *id), count(*hits))
        }
        Event::RefusalGone { id, .. } => mirror
            .refusal(*id)
            .map_or_else(|| format!("refusal {}", id.0), |refusal| refusal_words(mirror, refusal)),
        Event::WatchEntryAdded { entry, .. } => files::entry_words(entry),
        Event::WatchEntryRemoved { id, .. } => files::entry(mirror, *id),
        Event::FileAccessed { access, .. } => files::access_words(mirror, access),
        Event::FileAccessGone { id, .. } => files::access(mirror, *id),
        Event::ContactAfter { contact, .. } => files::contact_words(mirror, contact),
    }
}

fn process(mirror: &Mirror, id: ProcessId) -> String {
    mirror.process(id).map_or_else(|| format!("process {}", id.0), label)
}

fn rule(mirror: &Mirror, id: RuleId) -> String {
    mirror.rule(id).map_or_else(|| format!("rule {id}"), |r| format!("rule {id}: {}", r.sentence()))
}

fn numbers(rules: &[RuleId]) -> String {
    let all: Vec<String> = rules.iter().map(|id| format!("rule {id}")).collect();
    all.join(", ")
}

fn end_words(end: RuleEnd) -> &'static str {
    match end {
        RuleEnd::Removed => "removed",
        RuleEnd::Expired => "its time is over",
        RuleEnd::Exited => "nothing of it runs any more",
    }
}

fn refusal_words(mirror: &Mirror, r: &Refusal) -> String {
    let who = r.process.map_or_else(|| "somebody".into(), |id| process(mirror, id));
    let name = r.remote_name.as_ref().map(|n| format!(" ({})", n.name)).unwrap_or_default();
    format!(
        "{who} {} {} {}{name}, {} {}, by rule {}",
        r.protocol.word(),
        arrow(r.direction),
        r.remote,
        count(r.attempts),
        if r.attempts == 1 { "attempt" } else { "attempts" },
        r.rule
    )
}

fn flow(mirror: &Mirror, id: FlowId) -> String {
    mirror.flow(id).map_or_else(|| format!("flow {}", id.0), |f| flow_words(mirror, f))
}

fn flow_words(mirror: &Mirror, f: &Flow) -> String {
    let owner = f.process.map_or_else(|| "kernel".into(), |id| process(mirror, id));
    let name = f.remote_name.as_ref().map(|n| format!(" ({})", n.name)).unwrap_or_default();
    format!("{owner} {} {} {} {}{name}", f.protocol.word(), f.local, arrow(f.direction), f.remote)
}

fn passed(counters: Counters) -> String {
    format!("↓ {} ↑ {}", bytes(counters.rx_bytes), bytes(counters.tx_bytes))
}

/// What is new in these counters.
fn traffic(mirror: &Mirror, flows: &[FlowCounters]) -> String {
    let mut new = Counters::default();
    for FlowCounters { id, counters } in flows {
        let before = mirror.flow(*id).map_or(*counters, |f| f.counters);
        new.tx_bytes = new.tx_bytes.saturating_add(counters.tx_bytes.saturating_sub(before.tx_bytes));
        new.rx_bytes = new.rx_bytes.saturating_add(counters.rx_bytes.saturating_sub(before.rx_bytes));
    }
    match flows {
        [only] => format!("{} {}", flow(mirror, only.id), passed(new)),
        _ => format!("{} flows {}", count(flows.len() as u64), passed(new)),
    }
}

/// What a wait status says (wait(2)).
fn exit_words(status: Option<i32>) -> String {
    match status {
        None => "ended".into(),
        Some(status) if status & 0x7f != 0 => format!("killed by signal {}", status & 0x7f),
        Some(status) => format!("exited with {}", status >> 8 & 0xff),
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "full",
        Mode::Reduced => "reduced",
    }
}
