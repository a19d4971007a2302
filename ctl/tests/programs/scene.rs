//! A bus, a player with a small snapshot, and the program that is tested.

use std::{
    io::Read,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use sekhmet_common::{
    coverage::{KindBalance, RecordKind},
    display::Text,
    event::Event,
    flow::{
        Counters, Direction, EndReason, Endpoint, Flow, FlowId, FlowState, NameSource, Protocol, RemoteName,
    },
    process::{Process, ProcessId},
    time::Timestamp,
};
use sekhmet_testkit::{bus::TestBus, player::Player};
use serde_json::Value;

/// A name that would clear the screen, break the line, turn the text round, and is no UTF-8.
pub(crate) const HOSTILE: &[u8] = b"ev\x1b[2Jil\n\xe2\x80\xae\xff";

/// How [`HOSTILE`] is shown.
pub(crate) const HARMLESS: &str = "ev\\x1b[2Jil\\x0a\\u{202e}\\xff";

pub(crate) struct Scene {
    pub(crate) bus: TestBus,
    pub(crate) player: Player,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::telling(&snapshot()).await
    }

    pub(crate) async fn telling(events: &[Event]) -> Self {
        let bus = TestBus::start().unwrap();
        let player = Player::start(&bus, events).await.unwrap();
        Self { bus, player }
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Command {
        ctl(&self.bus, arguments)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.ctl(arguments).output().unwrap()
    }

    /// Runs the program to its end, which has to be a success without complaints, and reads its lines.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        lines(&output.stdout)
    }

    /// Waits until this many streams are open.
    pub(crate) fn watched(&self, streams: usize) {
        eventually("a stream", || self.player.streams() >= streams);
    }
}

pub(crate) fn ctl(bus: &TestBus, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekhmetctl"));
    command.args(["--bus", bus.address()]).args(arguments).env("TZ", "UTC").env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The keys of an object, in their order, those of objects within it in braces.
pub(crate) fn shape(value: &Value) -> String {
    let keys = value.as_object().unwrap().iter().map(|(key, value)| match value {
        Value::Object(_) => format!("{key}{{{}}}", shape(value)),
        _ => key.clone(),
    });
    keys.collect::<Vec<_>>().join(" ")
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status of a program that has to end by itself, and what was left of its two outputs.
pub(crate) fn ended(mut child: Child) -> (Option<i32>, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    child.stdout.take().map(|mut s| s.read_to_string(&mut out).unwrap());
    child.stderr.take().map(|mut s| s.read_to_string(&mut err).unwrap());
    (status.code(), out, err)
}

pub(crate) fn at(nanos: i64) -> Timestamp {
    Timestamp(1_763_700_000_000_000_000 + nanos)
}

pub(crate) fn process(id: u64, name: &[u8]) -> Process {
    Process {
        id: ProcessId(id),
        pid: 1000 + u32::try_from(id).unwrap(),
        parent_id: None,
        name: Text::from(name),
        exe: "/usr/bin/curl".into(),
        cmdline: vec![Text::from(name), "-s".into()],
        cmdline_truncated: false,
        uid: 1000,
        user: Some("ada".into()),
        unit: Some("app.scope".into()),
        container: None,
        application: None,
        application_name: None,
        net_ns: 1,
        started_at: at(0),
        exited_at: None,
        exit_status: None,
        tx_bytes: 420,
        rx_bytes: 1_020_000,
    }
}

pub(crate) fn flow(id: u64, owner: Option<u64>) -> Flow {
    Flow {
        id: FlowId(id),
        process: owner.map(ProcessId),
        protocol: Protocol::Tcp,
        direction: Direction::Outbound,
        local: Endpoint::new("192.0.2.1".parse().unwrap(), 40_000),
        remote: Endpoint::new("198.51.100.2".parse().unwrap(), 443),
        remote_name: None,
        net_ns: 1,
        state: FlowState::Open,
        opened_at: at(5),
        closed_at: None,
        end_reason: None,
        counters: Counters { tx_bytes: 420, rx_bytes: 412_000, tx_packets: 3, rx_packets: 300 },
    }
}

/// Two processes, one of them with a hostile name, with a named flow, a closed one and one of the kernel.
pub(crate) fn snapshot() -> Vec<Event> {
    let at = at(9);
    let named = RemoteName { name: Text::from(HOSTILE), source: NameSource::Tls };
    let closed = Flow {
        state: FlowState::Closed,
        closed_at: Some(at),
        end_reason: Some(EndReason::TimedOut),
        ..flow(12, Some(1))
    };
    let child = Process { parent_id: Some(ProcessId(1)), exited_at: Some(at), ..process(2, HOSTILE) };
    let balance =
        KindBalance { kind: RecordKind::Exec, made: 7, delivered: 7, lost: 0, filtered: 0, in_flight: 0 };
    vec![
        Event::SnapshotBegin { at, version: "1".into(), watching_since: at, mode: Default::default() },
        Event::ProcessStarted { at, process: process(1, b"curl") },
        Event::ProcessStarted { at, process: child },
        Event::FlowOpened { at, flow: Flow { remote_name: Some(named), ..flow(11, Some(1)) } },
        Event::FlowOpened { at, flow: closed },
        Event::FlowOpened { at, flow: flow(13, None) },
        Event::Others { at, processes: 1_234, open_flows: 5, tx_bytes: 0, rx_bytes: 9 },
        Event::Balance { at, kinds: vec![balance] },
        Event::SnapshotEnd { at },
    ]
}

/// Something that happens after the snapshot.
pub(crate) fn exited(id: u64) -> Event {
    Event::ProcessExited { at: at(50), id: ProcessId(id), exit_status: Some(256) }
}
