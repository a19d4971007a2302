//! The engine's vocabulary: what the edges tell it, and what it asks them to do.

mod files;
mod flow;
mod identity;
mod rules;

use std::sync::Arc;

use sekhmet_common::{
    coverage::{KindBalance, Mode, RecordKind, Source},
    display::Text,
    event::Event,
    flow::Counters,
    process::ProcessId,
    rule::{Rule, RuleId},
    time::Timestamp,
    watch::Entry,
};

pub use self::files::{
    EntryChange, FileSight, FreezeWatchResult, FrozenWatch, Home, Keep, NAME_MAX, NameFilter, Packages,
    SeenAt, WatchDeed, WatchError, WatchRequest, WatchResult, Watchlist,
};
pub use self::flow::{FlowEnd, FlowKey, FlowPhase, FlowSight};
pub use self::identity::{Identity, IdentityRequest, Uids};
pub use self::rules::{
    Applied, Binding, Change, ChangeId, ChangeStep, Deed, FreezeResult, Frozen, FrozenRule, KeptRule,
    ProgramKey, RefusedSight, Request, SeenBy, Ticket, Wish, WishError, WishResult,
};

/// Time without a packet after which a flow without connection ends, in nanoseconds: half an hour. Resolvers and
/// chat programs keep their sockets far longer than conntrack's 120 s, and their user sees one conversation.
///
/// The engine ends flows by it, and sources forget by it what they keep of a flow; never sooner, unless they say
/// so by [`FlowEnd::Quiet`].
pub const QUIET_NS: u64 = 30 * 60 * 1_000_000_000;

/// A process as the kernel names it: a PID alone is used again, together with the start time it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// Thread-group id in the first PID namespace.
    pub tgid: u32,
    /// `start_boottime` of the thread-group leader in nanoseconds of `CLOCK_BOOTTIME`. Sources that know
    /// only clock ticks (`/proc/PID/stat`) use the tick's first nanosecond for every process they report.
    pub start_ns: u64,
}

/// What the kernel says about a process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessImage {
    /// Which process.
    pub key: ProcessKey,
    /// Its parent's key, if known.
    pub parent: Option<ProcessKey>,
    /// Its user ids.
    pub uids: Uids,
    /// The cgroup's id in the v2 hierarchy; 0 if unknown.
    pub cgroup_id: u64,
    /// Inode number of its network namespace; 0 if unknown.
    pub net_ns: u32,
    /// Inode number of its mount namespace; 0 if unknown.
    pub mnt_ns: u32,
    /// The file that it executes; `None` for kernel threads and where the source cannot tell.
    pub program: Option<ProgramKey>,
    /// The kernel's short name, at most 15 bytes.
    pub comm: Text,
    /// The path given to `execve`, perhaps relative; empty if not known (fork, seed).
    pub filename: Text,
    /// The arguments; `None` if not known (fork, seed).
    pub argv: Option<Vec<Text>>,
    /// Whether arguments are missing at the end.
    pub argv_truncated: bool,
}

/// One thing that a source saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A process that existed before anybody watched, or that polling found.
    Seen(ProcessImage),
    /// A process was forked. The image is the child's.
    Forked {
        /// When.
        at: Timestamp,
        /// The child.
        image: ProcessImage,
    },
    /// A process executed a program.
    Executed {
        /// When.
        at: Timestamp,
        /// The process with its new program.
        image: ProcessImage,
    },
    /// The last thread of a process ended.
    Exited {
        /// When.
        at: Timestamp,
        /// Which process.
        key: ProcessKey,
        /// The wait status, if the source knows it.
        status: Option<i32>,
    },
    /// A flow exists: it began, changed its phase, or was counted.
    Flow(FlowSight),
    /// A flow ended with these last counters.
    FlowEnded {
        /// When.
        at: Timestamp,
        /// What was known at the end; says enough to list a flow that was never seen before.
        sight: FlowSight,
        /// How.
        end: FlowEnd,
    },
    /// A socket without connections was released: all its flows end now.
    SocketReleased {
        /// When.
        at: Timestamp,
        /// Its cookie.
        cookie: u64,
    },
    /// Bytes of an owner whose last record was lost; they belong to no flow any more, but to the totals.
    Residue {
        /// The owner.
        owner: ProcessKey,
        /// What was not told otherwise.
        counters: Counters,
    },
    /// All counters of one poll were told before this.
    PollComplete {
        /// When the poll was made.
        at: Timestamp,
    },
    /// A rule refused something.
    Refused(RefusedSight),
    /// A process asked for what the firewall is to refuse. The firewall counts what it really refused, and does
    /// not know to whom: this tells it.
    Attempted(RefusedSight),
    /// A process asked for a file that may be a watched one.
    File(FileSight),
    /// Everything that existed before the start was told before this.
    SeedComplete,
    /// Records were lost here.
    Lost {
        /// When it was noticed.
        at: Timestamp,
        /// Which kind.
        kind: RecordKind,
        /// How many.
        count: u64,
    },
}

/// Which processes a client may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Only those that belong wholly to this user.
    Own(u32),
    /// Every process.
    All,
}

/// One client's stream, as the bus names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A source saw these, in this order.
    Observed(Vec<Observation>),
    /// The identification worker answers.
    Identified {
        /// Which process.
        id: ProcessId,
        /// The generation from the request.
        generation: u32,
        /// What was found.
        identity: Identity,
    },
    /// The sources in use.
    Coverage {
        /// Which set.
        mode: Mode,
        /// Each capability.
        sources: Vec<Source>,
    },
    /// The sources' balance of records: `made` and `lost` as the source counted them, `delivered` what it
    /// handed over, `filtered` what it left out.
    Balance(Vec<KindBalance>),
    /// A client was let in and wants a snapshot, then deltas.
    Subscribe {
        /// Which client.
        client: ClientId,
        /// What it may see.
        scope: Scope,
    },
    /// A client fell behind and wants a fresh snapshot.
    Resync {
        /// Which client.
        client: ClientId,
    },
    /// A client went away.
    Unsubscribe {
        /// Which client.
        client: ClientId,
    },
    /// A client asks for something about rules and is to be asked whether it may.
    Freeze {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What.
        request: Request,
    },
    /// Somebody asks for the rules in force.
    ListRules {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What may be seen.
        scope: Scope,
    },
    /// An authorised client wishes something about rules.
    Wish {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What.
        wish: Wish,
    },
    /// An edge did a change, or undid it and says why.
    Applied {
        /// Which change.
        id: ChangeId,
        /// What came of it.
        result: Result<Applied, String>,
    },
    /// These rules were kept and are in force again. Told once, before anything is observed.
    RulesKept(Vec<KeptRule>),
    /// Processes that a former helper had bound to these, and that are bound again. They are not known yet.
    BoundBefore(Vec<(ProcessKey, RuleId)>),
    /// The highest number that a rule has had since the machine was started: others get higher ones.
    LastNumber(u32),
    /// How rules are kept, or the watchlist, beside what the sources say of themselves. One line of each capability.
    Keeping(Source),
    /// Whether rules can be enforced on this machine. Until told otherwise they cannot.
    CanEnforce(bool),
    /// The watchlist that was kept. Told once, before anything is observed; without it nothing is watched.
    WatchlistKept(Watchlist),
    /// Programs that were seen at entries before the helper began.
    SeenBefore(Vec<SeenAt>),
    /// Where users live, from now on.
    Homes(Vec<Home>),
    /// What belongs to the packages that the watchlist names, from now on.
    Packages(Packages),
    /// A client asks for a change of the watchlist and is to be asked whether it may.
    FreezeWatch {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What.
        request: WatchRequest,
    },
    /// Somebody asks for the watchlist.
    ListEntries {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What may be seen.
        scope: Scope,
    },
    /// An authorised client wishes what was frozen for it.
    WishWatch {
        /// Where the answer belongs.
        ticket: Ticket,
        /// What.
        frozen: FrozenWatch,
    },
    /// An edge has written the watchlist down, or says why not.
    WatchlistSaved {
        /// Which change.
        change: ChangeId,
        /// What came of it.
        result: Result<(), String>,
    },
    /// Time passed: publish what has gathered.
    Tick,
}

/// What the engine asks for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Find out more about a process.
    Identify(IdentityRequest),
    /// Send this snapshot to one client before anything that is published after it.
    Snapshot {
        /// Which client.
        client: ClientId,
        /// From `SnapshotBegin` to `SnapshotEnd`.
        events: Arc<[Event]>,
    },
    /// Send these to every client of this scope.
    Publish {
        /// Which clients.
        scope: Scope,
        /// In order.
        events: Arc<[Event]>,
    },
    /// The answer to anybody who asks how the helper is: no names, no peers.
    Status(StatusReport),
    /// Change what is enforced.
    Change(Change),
    /// Say what a request means.
    Frozen {
        /// Whose.
        ticket: Ticket,
        /// What it means.
        result: FreezeResult,
    },
    /// Tell the rules in force.
    Rules {
        /// To whom.
        ticket: Ticket,
        /// By number.
        rules: Vec<Rule>,
    },
    /// Answer a wish.
    Answer {
        /// Whose.
        ticket: Ticket,
        /// What became of it.
        result: WishResult,
    },
    /// Say what a request about the watchlist means.
    WatchFrozen {
        /// Whose.
        ticket: Ticket,
        /// What it means.
        result: FreezeWatchResult,
    },
    /// Tell the watchlist.
    Entries {
        /// To whom.
        ticket: Ticket,
        /// Which list it is.
        revision: u64,
        /// By number.
        entries: Vec<Entry>,
    },
    /// Answer a wish about the watchlist.
    WatchAnswer {
        /// Whose.
        ticket: Ticket,
        /// What became of it.
        result: WatchResult,
    },
    /// Write something down.
    Keep(Keep),
    /// Look for these names in the paths of opened files, and for no others.
    WatchNames(Arc<[NameFilter]>),
    /// Tell of these files by whatever of their names they are asked for (true), or no longer; in this order. There are
    /// never more than [`LINKS_MAX`](sekhmet_common::kernel::LINKS_MAX).
    WatchLinks(Vec<(ProgramKey, bool)>),
    /// Whether anybody watches: counters are read every second then, else rarely.
    Watched(bool),
}

/// Counters and sources only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    /// Which set of sources is in use.
    pub mode: Mode,
    /// Each capability.
    pub sources: Vec<Source>,
    /// The balance of each kind.
    pub balance: Vec<KindBalance>,
}
