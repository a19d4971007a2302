//! The words for the kinds of events, as they stand in `type` of each line.

use sekhmet_common::event::Event;

/// Every kind, in the order of the contract.
pub(crate) const KINDS: [&str; 27] = [
    "snapshot_begin",
    "snapshot_end",
    "process_started",
    "process_changed",
    "process_exited",
    "process_gone",
    "flow_opened",
    "flow_changed",
    "flow_closed",
    "flow_gone",
    "traffic",
    "others",
    "coverage",
    "balance",
    "lost",
    "process_totals",
    "rule_added",
    "rule_removed",
    "process_rules",
    "refused",
    "rule_hits",
    "refusal_gone",
    "watch_entry_added",
    "watch_entry_removed",
    "file_accessed",
    "file_access_gone",
    "contact_after",
];

/// The word for an event's kind.
pub(crate) fn kind(event: &Event) -> &'static str {
    match event {
        Event::SnapshotBegin { .. } => "snapshot_begin",
        Event::SnapshotEnd { .. } => "snapshot_end",
        Event::ProcessStarted { .. } => "process_started",
        Event::ProcessChanged { .. } => "process_changed",
        Event::ProcessExited { .. } => "process_exited",
        Event::ProcessGone { .. } => "process_gone",
        Event::FlowOpened { .. } => "flow_opened",
        Event::FlowChanged { .. } => "flow_changed",
        Event::FlowClosed { .. } => "flow_closed",
        Event::FlowGone { .. } => "flow_gone",
        Event::Traffic { .. } => "traffic",
        Event::Others { .. } => "others",
        Event::Coverage { .. } => "coverage",
        Event::Balance { .. } => "balance",
        Event::Lost { .. } => "lost",
        Event::ProcessTotals { .. } => "process_totals",
        Event::RuleAdded { .. } => "rule_added",
        Event::RuleRemoved { .. } => "rule_removed",
        Event::ProcessRules { .. } => "process_rules",
        Event::Refused { .. } => "refused",
        Event::RuleHits { .. } => "rule_hits",
        Event::RefusalGone { .. } => "refusal_gone",
        Event::WatchEntryAdded { .. } => "watch_entry_added",
        Event::WatchEntryRemoved { .. } => "watch_entry_removed",
        Event::FileAccessed { .. } => "file_accessed",
        Event::FileAccessGone { .. } => "file_access_gone",
        Event::ContactAfter { .. } => "contact_after",
    }
}

/// Tells which events belong to a snapshot, its two ends included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SnapshotSpan {
    within: bool,
}

impl SnapshotSpan {
    /// Whether the next event of the stream belongs to a snapshot.
    pub(crate) fn covers(&mut self, event: &Event) -> bool {
        match event {
            Event::SnapshotBegin { .. } => {
                self.within = true;
                true
            }
            Event::SnapshotEnd { .. } => std::mem::replace(&mut self.within, false),
            _ => self.within,
        }
    }
}

#[cfg(test)]
mod tests {
    use sekhmet_common::{
        coverage::RecordKind,
        file::AccessId,
        flow::{Counters, EndReason, FlowId},
        log,
        process::ProcessId,
        refusal::RefusalId,
        rule::{RuleEnd, RuleId},
        time::Timestamp,
        watch::EntryId,
    };

    use super::*;

    #[test]
    fn the_words_are_those_of_the_lines() {
        let at = Timestamp(1);
        let events = [
            Event::SnapshotEnd { at },
            Event::ProcessExited { at, id: ProcessId(1), exit_status: None },
            Event::ProcessGone { at, id: ProcessId(1) },
            Event::FlowClosed {
                at,
                id: FlowId(1),
                end_reason: EndReason::Aged,
                counters: Counters::default(),
            },
            Event::FlowGone { at, id: FlowId(1) },
            Event::Traffic { at, flows: Vec::new() },
            Event::Others { at, processes: 0, open_flows: 0, tx_bytes: 0, rx_bytes: 0 },
            Event::Coverage { at, mode: Default::default(), sources: Vec::new() },
            Event::Balance { at, kinds: Vec::new() },
            Event::Lost { at, kind: RecordKind::Exec, count: 1 },
            Event::ProcessTotals { at, id: ProcessId(1), tx_bytes: 0, rx_bytes: 0 },
            Event::RuleRemoved { at, id: RuleId(1), end: RuleEnd::Expired },
            Event::ProcessRules { at, id: ProcessId(1), rules: vec![RuleId(1)] },
            Event::RuleHits { at, id: RuleId(1), hits: 2 },
            Event::RefusalGone { at, id: RefusalId(1) },
            Event::WatchEntryRemoved { at, id: EntryId(1) },
            Event::FileAccessGone { at, id: AccessId(1) },
        ];
        for event in events {
            assert_eq!(log::to_json(&event).unwrap()["type"], kind(&event));
            assert!(KINDS.contains(&kind(&event)));
        }
    }
}
