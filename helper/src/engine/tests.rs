//! What the engine promises, told as stories of inputs and the events they must cause.

mod contacts;
mod files;
mod folding;
mod limits;
mod refusals;
mod rules;
mod scopes;
mod watchlist;

use std::collections::BTreeMap;

use sekhmet_common::{
    display::Text,
    event::Event,
    flow::{Counters, Direction, Endpoint, Flow, Protocol},
    mirror::Mirror,
    process::Process,
    time::Timestamp,
};

use super::{
    Engine, Limits, Start,
    input::{
        ClientId, Effect, FlowEnd, FlowKey, FlowPhase, FlowSight, IdentityRequest, Input, Observation,
        ProcessImage, ProcessKey, Scope, Uids,
    },
};

/// An engine with clients that behave as the bus does.
struct Stage {
    engine: Engine,
    now: Timestamp,
    clients: BTreeMap<ClientId, (Scope, Mirror)>,
    heard: Vec<(Scope, Event)>,
    questions: Vec<IdentityRequest>,
    other_effects: Vec<Effect>,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let at = Timestamp(1_000_000_000_000);
        let start = Start { version: "test".into(), at, booted_at: Timestamp(0), limits, host_mnt_ns: 1 };
        Self {
            engine: Engine::new(start),
            now: at,
            clients: BTreeMap::new(),
            heard: Vec::new(),
            questions: Vec::new(),
            other_effects: Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        if let Input::Subscribe { client, scope } = input {
            self.clients.insert(client, (scope, Mirror::new()));
        }
        if let Input::Unsubscribe { client } = input {
            self.clients.remove(&client);
        }
        for effect in self.engine.step(input, self.now) {
            match effect {
                Effect::Identify(request) => self.questions.push(request),
                Effect::Snapshot { client, events } => {
                    let (scope, _) = self.clients[&client];
                    self.deliver(|id, _| id == client, scope, &events);
                }
                Effect::Publish { scope, events } => self.deliver(|_, s| s == scope, scope, &events),
                other => self.other_effects.push(other),
            }
        }
    }

    fn deliver(&mut self, to: impl Fn(ClientId, Scope) -> bool, scope: Scope, events: &[Event]) {
        self.heard.extend(events.iter().map(|e| (scope, e.clone())));
        for (_, (_, mirror)) in self.clients.iter_mut().filter(|(id, (s, _))| to(**id, *s)) {
            // Before its snapshot a client is not among those who hear.
            let snapshot = matches!(events.first(), Some(Event::SnapshotBegin { .. }));
            if mirror.header().is_some() || snapshot {
                events.iter().for_each(|e| mirror.apply(e));
            }
        }
    }

    fn observe(&mut self, observations: impl IntoIterator<Item = Observation>) {
        self.step(Input::Observed(observations.into_iter().collect()));
    }

    fn tick_after(&mut self, secs: i64) {
        self.now = self.now.plus_nanos(secs * 1_000_000_000);
        self.step(Input::Tick);
    }

    fn listen(&mut self, scope: Scope) -> ClientId {
        let client = ClientId(u64::try_from(self.clients.len()).unwrap() + 1);
        self.step(Input::Subscribe { client, scope });
        client
    }

    fn mirror(&self, client: ClientId) -> &Mirror {
        &self.clients[&client].1
    }

    /// The kinds of events that a scope heard, without those about the helper itself.
    fn story(&self, scope: Scope) -> Vec<&'static str> {
        self.heard.iter().filter(|(s, _)| *s == scope).filter_map(|(_, e)| kind(e)).collect()
    }

    fn process(&self, key: ProcessKey) -> &Process {
        self.engine.mirror().processes().filter(|p| p.pid == key.tgid).last().unwrap()
    }

    fn only_flow(&self) -> &Flow {
        let mut flows = self.engine.mirror().flows();
        let flow = flows.next().unwrap();
        assert!(flows.next().is_none(), "one flow only");
        flow
    }
}

fn kind(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::ProcessStarted { .. } => "started",
        Event::ProcessChanged { .. } => "changed",
        Event::ProcessExited { .. } => "exited",
        Event::ProcessGone { .. } => "gone",
        Event::FlowOpened { .. } => "flow opened",
        Event::FlowChanged { .. } => "flow changed",
        Event::FlowClosed { .. } => "flow closed",
        Event::FlowGone { .. } => "flow gone",
        Event::Traffic { .. } => "traffic",
        Event::ProcessTotals { .. } => "totals",
        Event::Lost { .. } => "lost",
        _ => return None,
    })
}

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { tgid, start_ns: u64::from(tgid) * 1_000 }
}

fn image(tgid: u32, uid: u32) -> ProcessImage {
    ProcessImage {
        key: key(tgid),
        parent: None,
        uids: Uids::all(uid),
        cgroup_id: 1,
        net_ns: 1,
        mnt_ns: 1,
        program: None,
        comm: Text::from(format!("comm{tgid}")),
        filename: Text::default(),
        argv: None,
        argv_truncated: false,
    }
}

fn executed(tgid: u32, uid: u32, path: &str) -> ProcessImage {
    ProcessImage { filename: path.into(), argv: Some(vec![path.into(), "-x".into()]), ..image(tgid, uid) }
}

fn bytes(tx: u64, rx: u64) -> Counters {
    Counters { tx_bytes: tx, rx_bytes: rx, tx_packets: tx.min(1), rx_packets: rx.min(1) }
}

fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint::new([192, 0, 2, last].into(), port)
}

fn stream(cookie: u64, owner: u32, phase: FlowPhase, counters: Counters) -> FlowSight {
    FlowSight {
        at: Timestamp(1_000_000_000_000),
        key: FlowKey::Stream { cookie },
        owner: Some(key(owner)),
        protocol: Protocol::Tcp,
        direction: Direction::Outbound,
        local: endpoint(1, 4_000),
        remote: endpoint(2, 443),
        net_ns: 1,
        phase,
        counters,
    }
}

fn datagram(cookie: u64, owner: u32, remote: u8, counters: Counters) -> FlowSight {
    let (local, remote) = (endpoint(1, 5_000), endpoint(remote, 53));
    let key = FlowKey::Datagram { cookie, protocol: Protocol::Udp, local, remote };
    FlowSight {
        key,
        protocol: Protocol::Udp,
        local,
        remote,
        ..stream(cookie, owner, FlowPhase::Open, counters)
    }
}

fn ended(sight: FlowSight, end: FlowEnd) -> Observation {
    Observation::FlowEnded { at: sight.at, sight, end }
}
