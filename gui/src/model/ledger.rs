//! The fold of events into the figures of the tree: who moved how many bytes to whom, second by second.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sekhmet_common::{
    event::{Event, FlowCounters},
    flow::{Counters, Flow, FlowId, FlowState, Reach},
    mirror::Mirror,
    process::{Process, ProcessId},
    time::Timestamp,
};

use super::{
    ids::IdMap,
    key::{self, GroupKey, HostKey, HostSource, Member},
    search::{HostWords, ProcWords},
    secrets::{Reader, Secrets},
    tally::{Figures, Side, Tally},
};
use slots::{SlotMap, Slots};

mod count;
mod fold;
mod place;
mod slots;

/// How long a program stays in its place after its last process ended and nothing moved any more.
const LINGER_NANOS: u64 = 10_000_000_000;

/// A top-level row: a program, or a user.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// What to call it.
    pub label: String,
    /// The same in lower case, for the search.
    pub lower: String,
    /// Its processes.
    pub members: BTreeSet<Member>,
    /// What they moved.
    pub tally: Tally,
}

/// A process and what it talks to.
#[derive(Clone, Debug)]
pub struct Proc {
    /// The process as known last; nothing for the kernel.
    pub info: Option<Process>,
    /// What to call it.
    pub label: String,
    /// What a search compares.
    pub words: ProcWords,
    /// The program it stands under.
    pub program: GroupKey,
    /// The user it stands under.
    pub user: GroupKey,
    /// The remote hosts it talks to.
    pub hosts: BTreeMap<HostKey, Host>,
    /// What it moved.
    pub tally: Tally,
    /// Whether the helper no longer lists it.
    pub gone: bool,
    /// What a search compares of all its hosts at once.
    pub host_words: HostWords,
    /// Hosts whose flows have all left.
    fading: BTreeSet<HostKey>,
    seen: bool,
}

impl Proc {
    /// Whether it ended.
    pub fn is_exited(&self) -> bool {
        self.gone || self.info.as_ref().is_some_and(|p| p.exited_at.is_some())
    }
}

/// A remote host of one process.
#[derive(Clone, Debug)]
pub struct Host {
    /// What to call it.
    pub label: String,
    /// The same in lower case, for the search.
    pub lower: String,
    /// Whether it goes by a name, not by its address.
    pub is_named: bool,
    /// How its name became known.
    pub source: HostSource,
    /// Its listed flows.
    pub flows: BTreeSet<FlowId>,
    /// When it was contacted first.
    pub first_seen: Timestamp,
    figures: HostFigures,
}

/// Where the figures of a host are kept. Most hosts have one flow and its figures are theirs, so that what
/// this flow moves is written down once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostFigures {
    /// Those of its only flow.
    Flow(FlowId),
    /// A tally of its own, in this slot: several flows, or some that left.
    Own(usize),
}

/// A listed flow.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The flow as known now.
    pub flow: Flow,
    /// What it moved.
    pub side: Side,
    /// How far away the other side is.
    pub reach: Reach,
    /// The slot of its host's own tally.
    slot: Option<usize>,
    seen: bool,
}

impl Connection {
    /// The host it stands under.
    pub fn host(&self) -> HostKey {
        match &self.flow.remote_name {
            Some(name) if !name.name.is_empty() => HostKey::Name(name.name.clone()),
            _ => HostKey::Addr(self.flow.remote.addr),
        }
    }
}

/// A stretch of time in which nothing was recorded, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first second without a record.
    pub from: u32,
    /// The last one.
    pub to: u32,
}

/// Everything the window knows, with the bytes of the last five minutes.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    mirror: Mirror,
    programs: HashMap<GroupKey, Group>,
    users: HashMap<GroupKey, Group>,
    procs: IdMap<Member, Proc>,
    connections: SlotMap<FlowId, Connection>,
    /// The tallies of hosts that need one of their own.
    host_tallies: Slots<Tally>,
    total: Tally,
    secrets: Secrets,
    gaps: Vec<Gap>,
    now: Timestamp,
    last_event: Option<Timestamp>,
    in_snapshot: bool,
    /// In a snapshot of the same helper, soon after the last event: bytes in between are counted.
    resumed: bool,
    generation: u64,
    events: u64,
}

impl Ledger {
    /// A ledger that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The fold of the same events into the helper's own terms.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Changes with everything that could change a row; not within a snapshot, which is shown whole.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Events taken in so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The present of everything shown.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The present in seconds since 1970.
    pub fn second(&self) -> u32 {
        second_of(self.now)
    }

    /// When the last event happened.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.last_event
    }

    /// Moves the present forward.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Whether a snapshot is under way; what is shown should wait for its end.
    pub fn in_snapshot(&self) -> bool {
        self.in_snapshot
    }

    /// The programs.
    pub fn programs(&self) -> &HashMap<GroupKey, Group> {
        &self.programs
    }

    /// The users.
    pub fn users(&self) -> &HashMap<GroupKey, Group> {
        &self.users
    }

    /// A program or a user.
    pub fn group(&self, key: &GroupKey) -> Option<&Group> {
        if matches!(key, GroupKey::User(_)) { self.users.get(key) } else { self.programs.get(key) }
    }

    /// A process.
    pub fn proc(&self, member: Member) -> Option<&Proc> {
        self.procs.get(&member)
    }

    /// A host of a process.
    pub fn host(&self, member: Member, key: &HostKey) -> Option<&Host> {
        self.procs.get(&member)?.hosts.get(key)
    }

    /// What was exchanged with a host.
    pub fn host_figures(&self, host: &Host) -> Figures<'_> {
        match host.figures {
            HostFigures::Flow(id) => {
                self.connections.get(&id).map_or(Figures::None, |c| Figures::Side(&c.side, c.reach))
            }
            HostFigures::Own(slot) => self.host_tallies.get(slot).map_or(Figures::None, Tally::figures),
        }
    }

    /// A listed flow.
    pub fn connection(&self, id: FlowId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// What the machine moved.
    pub fn total(&self) -> &Tally {
        &self.total
    }

    /// Who opened watched files.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// When nothing was recorded.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Whether every process of a program ended and the program has been quiet for a while. A program that is
    /// started again and again, each time for a moment, keeps its place.
    pub fn is_exited(&self, group: &Group) -> bool {
        let last = group.tally.internet.last.max(group.tally.local.last);
        !group.members.is_empty()
            && self.now.nanos_since(last) > LINGER_NANOS
            && group.members.iter().all(|m| self.proc(*m).is_none_or(Proc::is_exited))
    }

    /// Drops what left the window and is no longer listed. Called about once a second. Flows need no visit:
    /// they are listed until they are dropped, and hosts without a flow are few.
    pub fn prune(&mut self) {
        let now = self.second();
        self.host_tallies.values_mut().for_each(|tally| tally.expire(now));
        for proc in self.procs.values_mut() {
            proc.tally.expire(now);
            let fading = std::mem::take(&mut proc.fading);
            proc.fading =
                fading.into_iter().filter(|key| fade(&mut proc.hosts, &mut self.host_tallies, key)).collect();
        }
        let over: Vec<Member> =
            self.procs.iter().filter(|(_, p)| p.gone && !p.tally.talked(true)).map(|(m, _)| *m).collect();
        for member in over {
            if let Some(proc) = self.procs.remove(&member) {
                for host in proc.hosts.values() {
                    if let HostFigures::Own(slot) = host.figures {
                        self.host_tallies.remove(slot);
                    }
                }
                for (groups, key) in [(&mut self.programs, &proc.program), (&mut self.users, &proc.user)] {
                    if let Some(group) = groups.get_mut(key) {
                        group.members.remove(&member);
                    }
                }
            }
        }
        for groups in [&mut self.programs, &mut self.users] {
            groups.retain(|_, group| {
                group.tally.expire(now);
                !group.members.is_empty() || group.tally.talked(true)
            });
        }
        self.total.expire(now);
        self.gaps.retain(|gap| gap.to + super::series::WINDOW_SECS >= now);
    }
}

/// Drops a host that has no flows once its bytes have left the window. Returns whether it must be asked again.
fn fade(hosts: &mut BTreeMap<HostKey, Host>, tallies: &mut Slots<Tally>, key: &HostKey) -> bool {
    let Some(Host { figures: HostFigures::Own(slot), flows, .. }) = hosts.get(key) else { return false };
    if !flows.is_empty() {
        return false;
    }
    if tallies.get(*slot).is_some_and(|tally| tally.talked(true)) {
        return true;
    }
    tallies.remove(*slot);
    hosts.remove(key);
    false
}

/// Whole seconds since 1970, 0 before that.
pub fn second_of(at: Timestamp) -> u32 {
    u32::try_from(at.0.div_euclid(1_000_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
