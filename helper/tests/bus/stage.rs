//! The helper's bus thread and engine thread, with a mirror in the engine's place.

mod stream;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use sekhmet_common::{
    bus::{PATH, SERVICE},
    event::Event,
    mirror::Mirror,
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId, Owner, Severity},
};
use sekhmet_helper::{
    bus::{self, Notice},
    engine::{
        Engine, Limits, Start,
        input::{
            Applied, Effect, Home, Identity, IdentityRequest, Input, Keep, Observation, ProcessImage,
            ProcessKey, ProgramKey, Scope, StatusReport, Uids, Watchlist,
        },
    },
    run::owner::{self, Edges, Fold},
};
use sekhmet_testkit::{bus::TestBus, polkit::MockPolkit};
use zbus::{Connection, Message, message::Flags};

pub(crate) use self::stream::{drain, frame, open, wait};
pub(crate) use sekhmet_common::bus::MONITOR;

/// A helper without a kernel.
pub(crate) struct Stage {
    pub(crate) bus: TestBus,
    pub(crate) polkit: MockPolkit,
    pub(crate) notices: Receiver<Notice>,
    pub(crate) seen: Receiver<Input>,
    events: Sender<Input>,
    revision: Arc<AtomicU64>,
    _stop: Sender<()>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(bus::limits::Figures::default()).await
    }

    /// A helper with the real engine, and edges that enforce whatever they are asked for, or cannot.
    pub(crate) async fn enforcing(edges: Enforcer) -> Self {
        let revision = Arc::new(AtomicU64::new(watchlist().revision));
        let fold = |note| Enforcing::new(edges, note, Arc::clone(&revision));
        let stage = Self::on(bus::limits::Figures::default(), fold).await;
        Self { revision, ..stage }
    }

    /// Which watchlist is in force.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) async fn with(figures: bus::limits::Figures) -> Self {
        let replay = |note| Replay { mirror: Mirror::new(), clients: HashMap::new(), note };
        Self::on(figures, replay).await
    }

    async fn on<F: Fold>(figures: bus::limits::Figures, fold: impl FnOnce(Sender<Input>) -> F) -> Self {
        let bus = TestBus::start().unwrap();
        let polkit = MockPolkit::start(&bus).await.unwrap();
        let (to_engine, clients) = bounded(256);
        let (notice, notices) = bounded(64);
        let (note, seen) = bounded(4096);
        let (events, sources) = bounded(64);
        let (stop, stopped) = bounded(0);
        let options =
            bus::Options { address: Some(bus.address().into()), figures, status: StatusReport::default() };
        let (outlet, _thread) = bus::start(options, to_engine, notice).unwrap();
        let edges = Edges {
            names: Box::new(|_names| {}),
            sources,
            clients,
            identities: crossbeam_channel::never(),
            identify: bounded(1).0,
            changes: bounded(1).0,
            applied: crossbeam_channel::never(),
            keep: bounded(1).0,
            first: Vec::new(),
            outlet,
            watched: Box::new(|_| {}),
            stop: stopped,
        };
        owner::start(fold(note), edges).unwrap();
        let stage = Self { bus, polkit, notices, seen, events, revision: Arc::default(), _stop: stop };
        stage.serving();
        stage
    }

    /// Waits until the helper has its name.
    pub(crate) fn serving(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.notices.recv_deadline(deadline).unwrap() {
                Notice::Serving => return,
                Notice::Lost(_) => {}
            }
        }
    }

    /// What the engine hears from clients next that fits.
    pub(crate) fn hears<T>(&self, fits: impl Fn(&Input) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let input = self.seen.recv_deadline(deadline).expect("the engine never heard it");
            if let Some(found) = fits(&input) {
                return found;
            }
        }
    }

    /// Lets the engine publish this to everybody.
    pub(crate) fn publish(&self, status: StatusReport) {
        self.events.send(Input::Coverage { mode: status.mode, sources: status.sources }).unwrap();
    }

    /// Lets a source tell this.
    pub(crate) fn observe(&self, seen: Observation) {
        self.events.send(Input::Observed(vec![seen])).unwrap();
    }

    /// Lets the engine publish something of about this many bytes to everybody.
    pub(crate) fn publish_bytes(&self, bytes: u64) {
        let lost = Observation::Lost {
            at: Timestamp(1),
            kind: sekhmet_common::coverage::RecordKind::Exec,
            count: bytes,
        };
        self.events.send(Input::Observed(vec![lost])).unwrap();
    }
}

/// What the edges do when they are asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcer {
    /// It is done at once.
    Obeys,
    /// It cannot be done.
    Fails,
    /// There are none.
    Absent,
}

/// The list that every enforcing stage begins with.
fn watchlist() -> Watchlist {
    let entry = |id, pattern: &str, owner| Entry {
        id: EntryId(id),
        pattern: pattern.into(),
        label: "a label".into(),
        group: "a group".into(),
        severity: Severity::High,
        expected: vec!["/usr/bin/ssh".into()],
        owner,
        enabled: true,
    };
    let entries = vec![
        entry(1, "/etc/shadow", Owner::Default),
        entry(10_000, "/etc/made-by-admin", Owner::System),
        entry(10_001, "~/made-by-owner", Owner::User(OWNER)),
    ];
    Watchlist { revision: 3, next_id: 10_002, entries }
}

/// The real engine. What it orders is done, or not, at once.
struct Enforcing {
    engine: Engine,
    edges: Enforcer,
    note: Sender<Input>,
    revision: Arc<AtomicU64>,
}

/// The user to whom the process belongs that every enforcing stage has, its PID and its program.
pub(crate) const OWNER: u32 = 2;
pub(crate) const PID: u32 = 4321;
pub(crate) const EXE: &str = "/usr/bin/curl";
/// What the helper calls it.
pub(crate) const PROCESS: u64 = 1;

impl Enforcing {
    fn new(edges: Enforcer, note: Sender<Input>, revision: Arc<AtomicU64>) -> Self {
        let at = Timestamp::now();
        let engine = Engine::new(Start {
            version: "stage".into(),
            at,
            booted_at: Timestamp(0),
            limits: Limits::default(),
            host_mnt_ns: 1,
        });
        let mut this = Self { engine, edges, note, revision };
        let image = ProcessImage {
            key: ProcessKey { tgid: PID, start_ns: 1 },
            parent: None,
            uids: Uids::all(OWNER),
            cgroup_id: 1,
            net_ns: 1,
            mnt_ns: 1,
            program: Some(ProgramKey { device: 1, inode: 7 }),
            comm: "curl".into(),
            filename: EXE.into(),
            argv: Some(vec!["curl".into()]),
            argv_truncated: false,
        };
        let identity = Identity { exe: Some(EXE.into()), ..Identity::default() };
        let effects = this.fold(Input::Observed(vec![Observation::Seen(image)]), at);
        assert!(this.engine.mirror().process(ProcessId(PROCESS)).is_some());
        for effect in effects {
            if let Effect::Identify(IdentityRequest { id, generation, .. }) = effect {
                this.fold(Input::Identified { id, generation, identity: identity.clone() }, at);
            }
        }
        this.fold(Input::CanEnforce(edges != Enforcer::Absent), at);
        let home = |uid| Home { uid, path: format!("/home/{uid}").into() };
        this.fold(Input::Homes([0, 1, 2, 3, 7, 65534].map(home).to_vec()), at);
        this.fold(Input::WatchlistKept(watchlist()), at);
        this
    }

    fn fold(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let mut done = Vec::new();
        for effect in self.engine.step(input, now) {
            match effect {
                Effect::Change(change) => {
                    let result = match self.edges {
                        Enforcer::Obeys => Ok(Applied::default()),
                        _ => Err("the disk is full".to_owned()),
                    };
                    done.extend(self.fold(Input::Applied { id: change.id, result }, now));
                }
                Effect::Keep(Keep::Watchlist { change, list, .. }) => {
                    let result = match self.edges {
                        Enforcer::Obeys => {
                            self.revision.store(list.revision, Ordering::Release);
                            Ok(())
                        }
                        _ => Err("the disk is full".to_owned()),
                    };
                    done.extend(self.fold(Input::WatchlistSaved { change, result }, now));
                }
                other => done.push(other),
            }
        }
        done
    }
}

impl Fold for Enforcing {
    fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        if !matches!(input, Input::Tick | Input::Balance(_)) {
            self.note.send(input.clone()).unwrap();
        }
        self.fold(input, now)
    }
}

/// Tells every client the same mirror. Own and others' processes are the engine's business.
struct Replay {
    mirror: Mirror,
    clients: HashMap<sekhmet_helper::engine::input::ClientId, Scope>,
    note: Sender<Input>,
}

impl Replay {
    fn everybody(&self, events: Vec<Event>) -> Vec<Effect> {
        let mut scopes: Vec<Scope> = self.clients.values().copied().collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes.into_iter().map(|scope| Effect::Publish { scope, events: events.clone().into() }).collect()
    }
}

impl Fold for Replay {
    fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        if !matches!(input, Input::Tick | Input::Balance(_)) {
            self.note.send(input.clone()).unwrap();
        }
        match input {
            Input::Subscribe { client, scope } => {
                self.clients.insert(client, scope);
                vec![Effect::Snapshot { client, events: self.mirror.replicate(now).into() }]
            }
            Input::Resync { client } if self.clients.contains_key(&client) => {
                vec![Effect::Snapshot { client, events: self.mirror.replicate(now).into() }]
            }
            Input::Unsubscribe { client } => {
                self.clients.remove(&client);
                Vec::new()
            }
            Input::Coverage { mode, sources } => {
                let status = StatusReport { mode, sources: sources.clone(), balance: Vec::new() };
                let mut effects = vec![Effect::Status(status)];
                effects.extend(self.everybody(vec![Event::Coverage { at: now, mode, sources }]));
                effects
            }
            Input::Observed(seen) => {
                let [Observation::Lost { count, .. }] = seen[..] else { return Vec::new() };
                let text = vec![b'x'; usize::try_from(count).unwrap()];
                self.everybody(vec![Event::SnapshotBegin {
                    at: now,
                    version: text.into(),
                    watching_since: now,
                    mode: Default::default(),
                }])
            }
            _ => Vec::new(),
        }
    }
}

/// Calls a method of the helper and gives the reply, or the name of the error.
pub(crate) async fn call<B>(
    connection: &Connection,
    interface: &str,
    method: &str,
    flags: Flags,
    body: &B,
) -> Result<Message, String>
where
    B: serde::Serialize + zbus::Type,
{
    let message = Message::method_call(PATH, method)
        .destination(SERVICE)
        .interface(interface)
        .with_flags(flags)
        .build(body)
        .unwrap();
    reply_to(connection, message).await
}

/// Sends a message and waits for its answer.
pub(crate) async fn reply_to(connection: &Connection, message: Message) -> Result<Message, String> {
    let mut replies = zbus::MessageStream::from(connection);
    let serial = message.primary_header().serial_num();
    connection.send(&message).await.unwrap();
    let answer = async {
        loop {
            let reply = next(&mut replies).await.expect("the bus is gone").unwrap();
            if reply.header().reply_serial() == Some(serial) {
                return reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(130), answer).await.expect("no answer");
    match reply.header().error_name() {
        Some(name) => Err(name.to_string()),
        None => Ok(reply),
    }
}

pub(crate) async fn next(stream: &mut zbus::MessageStream) -> Option<zbus::Result<Message>> {
    use futures_core::Stream;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}
