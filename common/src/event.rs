//! Everything the helper can tell a client, in the order in which it happened.

use serde::{Deserialize, Serialize};

use crate::{
    coverage::{KindBalance, Mode, RecordKind, Source},
    display::Text,
    file::{AccessId, Contact, FileAccess},
    flow::{Counters, Direction, EndReason, Endpoint, Flow, FlowId, FlowState, RemoteName},
    process::{Process, ProcessId},
    refusal::{Refusal, RefusalId},
    rule::{Rule, RuleEnd, RuleId},
    time::Timestamp,
    watch::{Entry, EntryId},
};

/// The most flows that one [`Event::Traffic`] may name, so that an event always fits a frame.
pub const TRAFFIC_FLOWS_MAX: usize = 512;

/// The absolute counters of one flow at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounters {
    /// Which flow.
    pub id: FlowId,
    /// What has passed since it began.
    pub counters: Counters,
}

/// One thing that happened. Absolute values only: hearing an event twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A snapshot begins: forget everything. What follows up to `SnapshotEnd` is the state at `at`.
    SnapshotBegin {
        /// When the snapshot was taken.
        at: Timestamp,
        /// The helper's version.
        version: Text,
        /// When the helper started to watch.
        watching_since: Timestamp,
        /// Which set of sources it runs on.
        mode: Mode,
    },
    /// The snapshot is complete; deltas follow.
    SnapshotEnd {
        /// When the snapshot was taken.
        at: Timestamp,
    },
    /// A process came into being, by fork or by being found.
    ProcessStarted {
        /// When.
        at: Timestamp,
        /// The process as known now.
        process: Process,
    },
    /// A process executed another program, or more became known about it.
    ProcessChanged {
        /// When.
        at: Timestamp,
        /// The process as known now. Its byte totals are those of the mirror, not of this record.
        process: Process,
    },
    /// A process ended. It stays listed until `ProcessGone`.
    ProcessExited {
        /// When.
        at: Timestamp,
        /// Which process.
        id: ProcessId,
        /// Wait status: signal in the low 7 bits, exit code in bits 8–15.
        exit_status: Option<i32>,
    },
    /// A process is no longer listed; those that it started have no `parent_id` any more.
    ProcessGone {
        /// When.
        at: Timestamp,
        /// Which process.
        id: ProcessId,
    },
    /// A flow began or was found.
    FlowOpened {
        /// When.
        at: Timestamp,
        /// The flow as known now.
        flow: Flow,
    },
    /// The handshake ended, or more became known.
    FlowChanged {
        /// When.
        at: Timestamp,
        /// Which flow.
        id: FlowId,
        /// The process that owns it now.
        process: Option<ProcessId>,
        /// Who spoke first.
        direction: Direction,
        /// This machine's side.
        local: Endpoint,
        /// The other side.
        remote: Endpoint,
        /// The other side's name.
        remote_name: Option<RemoteName>,
        /// Where it is in its life.
        state: FlowState,
    },
    /// A flow ended with these last counters. It stays listed until `FlowGone`.
    FlowClosed {
        /// When.
        at: Timestamp,
        /// Which flow.
        id: FlowId,
        /// Why.
        end_reason: EndReason,
        /// What passed in all.
        counters: Counters,
    },
    /// A flow that ended is no longer listed. Its bytes stay in its process's totals.
    FlowGone {
        /// When.
        at: Timestamp,
        /// Which flow.
        id: FlowId,
    },
    /// Counters of the flows that moved since the last time.
    Traffic {
        /// When they were read.
        at: Timestamp,
        /// At most [`TRAFFIC_FLOWS_MAX`] flows.
        flows: Vec<FlowCounters>,
    },
    /// What this client may not see in detail, as one total.
    Others {
        /// When it was counted.
        at: Timestamp,
        /// Running processes of others.
        processes: u64,
        /// Their open flows.
        open_flows: u64,
        /// Bytes they sent since the helper started.
        tx_bytes: u64,
        /// Bytes they received since the helper started.
        rx_bytes: u64,
    },
    /// What can be seen on this machine.
    Coverage {
        /// When it was judged.
        at: Timestamp,
        /// Which set of sources is in use.
        mode: Mode,
        /// Each thing that can be seen, and from where.
        sources: Vec<Source>,
    },
    /// The balance of records.
    Balance {
        /// When it was drawn.
        at: Timestamp,
        /// One line for each kind.
        kinds: Vec<KindBalance>,
    },
    /// Records were lost at this place in the order of events.
    Lost {
        /// When it was noticed.
        at: Timestamp,
        /// Which kind.
        kind: RecordKind,
        /// How many.
        count: u64,
    },
    /// The byte totals of a process, where they grew by bytes that belong to no listed flow.
    ProcessTotals {
        /// When they were counted.
        at: Timestamp,
        /// Which process.
        id: ProcessId,
        /// Bytes it sent in all.
        tx_bytes: u64,
        /// Bytes it received in all.
        rx_bytes: u64,
    },
    /// A rule came into force, or more became known about it.
    RuleAdded {
        /// When.
        at: Timestamp,
        /// The rule, with its hits so far.
        rule: Rule,
    },
    /// A rule is no longer in force; what it refused is no longer listed.
    RuleRemoved {
        /// When.
        at: Timestamp,
        /// Which rule.
        id: RuleId,
        /// Why.
        end: RuleEnd,
    },
    /// The rules that block a process, those included that it inherited.
    ProcessRules {
        /// When.
        at: Timestamp,
        /// Which process.
        id: ProcessId,
        /// By number. Some may be unknown to a client that may not see them.
        rules: Vec<RuleId>,
    },
    /// A rule refused something, or refused it again.
    Refused {
        /// When.
        at: Timestamp,
        /// With the number of attempts so far.
        refusal: Refusal,
    },
    /// How many attempts a rule has refused so far.
    RuleHits {
        /// When.
        at: Timestamp,
        /// Which rule.
        id: RuleId,
        /// In all, those included that are no longer listed.
        hits: u64,
    },
    /// A refusal is no longer listed. Its attempts stay in its rule's hits.
    RefusalGone {
        /// When.
        at: Timestamp,
        /// Which refusal.
        id: RefusalId,
    },
    /// Files are watched from now on, or otherwise than before.
    WatchEntryAdded {
        /// When.
        at: Timestamp,
        /// Which, and by whose wish.
        entry: Entry,
    },
    /// An entry is no longer in the watchlist. Accesses to what it named stay listed.
    WatchEntryRemoved {
        /// When.
        at: Timestamp,
        /// Which entry.
        id: EntryId,
    },
    /// A process asked for a watched file, or did so again within a second.
    FileAccessed {
        /// When it was told; the access says when it happened.
        at: Timestamp,
        /// With the count so far.
        access: FileAccess,
    },
    /// An access is no longer listed, and neither is what came after it.
    FileAccessGone {
        /// When.
        at: Timestamp,
        /// Which access.
        id: AccessId,
    },
    /// After an access to a watched file, its process or one that it started reached a remote.
    ContactAfter {
        /// When it was told; the contact says when it happened.
        at: Timestamp,
        /// Which access, which remote.
        contact: Contact,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::SnapshotBegin { at, .. }
            | Self::SnapshotEnd { at }
            | Self::ProcessStarted { at, .. }
            | Self::ProcessChanged { at, .. }
            | Self::ProcessExited { at, .. }
            | Self::ProcessGone { at, .. }
            | Self::FlowOpened { at, .. }
            | Self::FlowChanged { at, .. }
            | Self::FlowClosed { at, .. }
            | Self::FlowGone { at, .. }
            | Self::Traffic { at, .. }
            | Self::Others { at, .. }
            | Self::Coverage { at, .. }
            | Self::Balance { at, .. }
            | Self::Lost { at, .. }
            | Self::ProcessTotals { at, .. }
            | Self::RuleAdded { at, .. }
            | Self::RuleRemoved { at, .. }
            | Self::ProcessRules { at, .. }
            | Self::Refused { at, .. }
            | Self::RuleHits { at, .. }
            | Self::RefusalGone { at, .. }
            | Self::WatchEntryAdded { at, .. }
            | Self::WatchEntryRemoved { at, .. }
            | Self::FileAccessed { at, .. }
            | Self::FileAccessGone { at, .. }
            | Self::ContactAfter { at, .. } => *at,
        }
    }
}
