//! The one owner of state: a pure fold from inputs to effects.
//!
//! [`Engine::step`] does no I/O and reads no clock. What it knows is one [`Mirror`], changed only by events,
//! and private indices that say which process and which flow a source means.

mod books;
mod deadlines;
mod descriptions;
mod ends;
mod files;
mod flows;
mod identities;
pub mod input;
mod ledger;
mod processes;
mod publish;
mod rules;
mod totals;
mod view;
mod visibility;

use std::collections::BTreeMap;

use sekhmet_common::{
    coverage::{RecordKind, Source},
    display::Text,
    event::Event,
    mirror::Mirror,
    time::Timestamp,
};

pub use self::identities::OUTSTANDING_MAX;
use self::{
    books::Books,
    deadlines::{Deadlines, Due, SECOND},
    files::Files,
    flows::Flows,
    identities::Identities,
    input::{ClientId, Effect, Input, Observation, QUIET_NS, Scope, StatusReport},
    ledger::Ledger,
    processes::Processes,
    rules::Rules,
};

/// How much is kept and for how long. Durations are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes on the list.
    pub processes_max: usize,
    /// Flows on the list.
    pub flows_max: usize,
    /// How long what ended stays on the list.
    pub listed_after_end_ns: u64,
    /// How long a datagram flow may be quiet before it counts as ended.
    pub quiet_ns: u64,
    /// How long after lost ends an ended process's flow may go without being told of.
    pub forgotten_ns: u64,
    /// How long an identity may take before the question counts as lost.
    pub answer_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes_max: 32_768,
            flows_max: 65_536,
            listed_after_end_ns: 60 * SECOND,
            quiet_ns: QUIET_NS,
            forgotten_ns: 5 * 60 * SECOND,
            answer_ns: 30 * SECOND,
        }
    }
}

/// What the engine has to be told once.
#[derive(Clone, Debug)]
pub struct Start {
    /// The helper's version.
    pub version: Text,
    /// Now.
    pub at: Timestamp,
    /// The wall-clock time at which `CLOCK_BOOTTIME` was 0.
    pub booted_at: Timestamp,
    /// How much is kept.
    pub limits: Limits,
    /// Inode number of the mount namespace whose paths name programs: the first process's. 0 if unknown.
    pub host_mnt_ns: u32,
}

/// The state and everything that is derived from it.
#[derive(Debug)]
pub struct Engine {
    ledger: Ledger,
    files: Files,
    processes: Processes,
    flows: Flows,
    rules: Rules,
    identities: Identities,
    books: Books,
    deadlines: Deadlines,
    clients: BTreeMap<ClientId, Scope>,
    limits: Limits,
    booted_at: Timestamp,
    host_mnt_ns: u32,
    balance_due_ns: u64,
    told_status: Option<StatusReport>,
    /// The lines of the coverage about what is kept and how, as far as they are known.
    keeping: Vec<Source>,
    /// Whether it is known how much can be seen.
    is_covered: bool,
    /// Records about processes were lost since the last tick.
    processes_doubtful: bool,
    /// Records about ends of flows were lost at some time.
    ends_lost: bool,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(start: Start) -> Self {
        let mut ledger = Ledger::default();
        let (at, version) = (start.at, start.version);
        ledger.announce(&Event::SnapshotBegin { at, version, watching_since: at, mode: Default::default() });
        ledger.announce(&Event::SnapshotEnd { at });
        Self {
            ledger,
            files: Files::default(),
            processes: Processes::default(),
            flows: Flows::default(),
            rules: Rules::default(),
            identities: Identities::default(),
            books: Books::default(),
            deadlines: Deadlines::default(),
            clients: BTreeMap::new(),
            limits: start.limits,
            booted_at: start.booted_at,
            host_mnt_ns: start.host_mnt_ns,
            balance_due_ns: 0,
            told_status: None,
            keeping: Vec::new(),
            is_covered: false,
            processes_doubtful: false,
            ends_lost: false,
        }
    }

    /// Everything that is known, as a client of [`Scope::All`] knows it.
    pub fn mirror(&self) -> &Mirror {
        self.ledger.mirror()
    }

    /// Takes in one input. The effects are to be carried out in their order.
    ///
    /// `now` is the wall clock; a clock set back delays nothing. What was observed is published by the next
    /// [`Input::Tick`], and before any snapshot.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.deadlines.advance(now);
        let mut out = Vec::new();
        match input {
            Input::Observed(observations) => {
                for observation in observations {
                    self.observe(observation, now);
                }
            }
            Input::Identified { id, generation, identity } => self.identified(now, id, generation, identity),
            Input::Coverage { mode, sources } => {
                self.is_covered = true;
                let sources = sources.into_iter().chain(self.keeping.clone()).collect();
                self.ledger.announce(&Event::Coverage { at: now, mode, sources });
            }
            Input::Keeping(line) => self.note_keeping(now, line, &mut out),
            Input::Balance(kinds) => self.books.draw(kinds),
            Input::Freeze { ticket, request } => self.freeze(ticket, &request),
            Input::ListRules { ticket, scope } => self.list_rules(ticket, scope),
            Input::Wish { ticket, wish } => self.wish(now, ticket, wish),
            Input::Applied { id, result } => self.applied(now, id, result),
            Input::RulesKept(kept) => self.rules_kept(now, kept),
            Input::BoundBefore(bound) => self.bound_before(bound),
            Input::LastNumber(number) => self.continue_after(number),
            Input::CanEnforce(can) => self.can_enforce(can),
            Input::WatchlistKept(list) => self.watchlist_kept(now, list),
            Input::SeenBefore(known) => self.seen_before(known),
            Input::Homes(homes) => self.homes(homes),
            Input::Packages(packages) => self.packages(packages),
            Input::FreezeWatch { ticket, request } => self.freeze_watch(ticket, request),
            Input::ListEntries { ticket, scope } => self.list_entries(ticket, scope),
            Input::WishWatch { ticket, frozen } => self.wish_watch(ticket, frozen),
            Input::WatchlistSaved { change, result } => self.watchlist_saved(now, change, result),
            Input::Subscribe { client, scope } => self.subscribe(now, client, scope, &mut out),
            Input::Resync { client } => self.resync(now, client, &mut out),
            Input::Unsubscribe { client } => self.unsubscribe(client, &mut out),
            Input::Tick => {
                self.look_at_deadlines(now);
                self.publish(now, &mut out);
            }
        }
        out.extend(self.rules.take_orders());
        out.extend(self.files.take_orders());
        out.extend(self.next_questions().into_iter().map(Effect::Identify));
        out
    }

    fn observe(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Seen(image) => self.seen(now, image),
            Observation::Forked { at, image } => self.forked(at, image),
            Observation::Executed { at, image } => self.executed(at, image),
            Observation::Exited { at, key, status } => self.exited(at, key, status),
            Observation::Flow(sight) => {
                self.flow_seen(&sight);
            }
            Observation::FlowEnded { at, sight, end } => self.flow_ended(at, &sight, end),
            Observation::SocketReleased { at, cookie } => self.socket_released(at, cookie),
            Observation::Residue { owner, counters } => self.residue(now, owner, counters),
            Observation::Lost { at, kind, count } => {
                self.ledger.announce(&Event::Lost { at, kind, count });
                self.processes_doubtful |=
                    matches!(kind, RecordKind::Exec | RecordKind::Fork | RecordKind::Exit);
                self.ends_lost |= matches!(kind, RecordKind::TcpState | RecordKind::SocketClosed);
            }
            // Order alone carries this; nothing waits for it.
            Observation::PollComplete { .. } => {}
            Observation::File(sight) => self.file_seen(sight),
            Observation::SeedComplete => self.end_stale_rules(),
            Observation::Refused(sight) => self.refused(now, &sight),
            Observation::Attempted(sight) => self.attempted(now, &sight),
        }
    }

    fn look_at_deadlines(&mut self, now: Timestamp) {
        while let Some(due) = self.deadlines.pop() {
            match due {
                Due::FlowGone(id) => self.flow_due(now, id),
                Due::FlowQuiet(id) => self.quiet_due(now, id),
                Due::ProcessGone(id) => self.process_due(now, id),
                Due::EarlyExit(key) => {
                    self.processes.early_exits.remove(&key);
                }
                Due::RuleOver(id) => self.rule_due(id),
                Due::Answer(id, generation) => self.identities.answered(id, generation),
            }
        }
        self.trim_ended();
        if std::mem::take(&mut self.processes_doubtful) {
            self.doubt_processes();
        }
    }
}

#[cfg(test)]
mod tests;
