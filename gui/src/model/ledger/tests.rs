//! What the fold must get right, event by event.

use sekhmet_common::{
    coverage::Mode,
    display::Text,
    flow::{Direction, EndReason, Endpoint, NameSource, Protocol, RemoteName},
};

use super::*;

const T0: i64 = 1_900_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp((T0 + seconds) * 1_000_000_000)
}

fn sec(seconds: u32) -> u32 {
    T0 as u32 + seconds
}

fn process(id: u64, exe: &str) -> Process {
    Process {
        id: ProcessId(id),
        pid: 1000 + id as u32,
        parent_id: None,
        name: key::file_name(exe).into(),
        exe: exe.into(),
        cmdline: vec![],
        cmdline_truncated: false,
        uid: 1000,
        user: Some("ana".into()),
        unit: None,
        container: None,
        application: None,
        application_name: None,
        net_ns: 1,
        started_at: at(0),
        exited_at: None,
        exit_status: None,
        tx_bytes: 0,
        rx_bytes: 0,
    }
}

fn flow(id: u64, process: u64, remote: &str) -> Flow {
    Flow {
        id: FlowId(id),
        process: Some(ProcessId(process)),
        protocol: Protocol::Tcp,
        direction: Direction::Outbound,
        local: Endpoint::new("192.0.2.1".parse().unwrap(), 50_000),
        remote: Endpoint::new(remote.parse().unwrap(), 443),
        remote_name: None,
        net_ns: 1,
        state: FlowState::Open,
        opened_at: at(0),
        closed_at: None,
        end_reason: None,
        counters: Counters::default(),
    }
}

fn traffic(seconds: i64, id: u64, rx: u64, tx: u64) -> Event {
    let counters = Counters { tx_bytes: tx, rx_bytes: rx, tx_packets: 1, rx_packets: 1 };
    Event::Traffic { at: at(seconds), flows: vec![FlowCounters { id: FlowId(id), counters }] }
}

fn begin(seconds: i64, since: i64) -> Event {
    Event::SnapshotBegin {
        at: at(seconds),
        version: Text::from("0.1.0"),
        watching_since: at(since),
        mode: Mode::Full,
    }
}

fn ledger(events: impl IntoIterator<Item = Event>) -> Ledger {
    let mut ledger = Ledger::new();
    events.into_iter().for_each(|e| ledger.apply(&e));
    ledger
}

fn started(p: Process) -> Event {
    Event::ProcessStarted { at: at(0), process: p }
}

fn opened(f: Flow) -> Event {
    Event::FlowOpened { at: at(0), flow: f }
}

#[test]
fn bytes_reach_every_row_above_a_flow() {
    let l = ledger([
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(3, 5, 1000, 10),
        traffic(4, 5, 1500, 10),
    ]);
    let host = HostKey::Addr("198.51.100.2".parse().unwrap());
    let program = GroupKey::Program("/usr/bin/curl".into(), None);
    for tally in [
        l.total.figures(),
        l.group(&program).unwrap().tally.figures(),
        l.group(&GroupKey::User(1000)).unwrap().tally.figures(),
        l.proc(Some(ProcessId(1))).unwrap().tally.figures(),
        l.host_figures(l.host(Some(ProcessId(1)), &host).unwrap()),
    ] {
        let total = tally.total(sec(4), false);
        assert_eq!((total.down, total.up), (1500.0, 10.0));
        assert_eq!(tally.open(false), 1);
    }
    assert_eq!(l.connection(FlowId(5)).unwrap().side.series.rate(sec(5)).down, 750.0);
}

#[test]
fn a_snapshot_brings_no_traffic() {
    let mut f = flow(5, 1, "198.51.100.2");
    f.counters.rx_bytes = 1_000_000;
    let l = ledger([
        begin(0, 0),
        started(process(1, "/usr/bin/curl")),
        opened(f),
        Event::SnapshotEnd { at: at(0) },
        traffic(1, 5, 1_000_007, 0),
    ]);
    assert_eq!(l.total.total(sec(1), false).down, 7.0);
}

#[test]
fn local_traffic_is_counted_apart() {
    let l = ledger([
        started(process(1, "/usr/bin/psql")),
        opened(flow(5, 1, "127.0.0.1")),
        traffic(1, 5, 100, 100),
    ]);
    assert_eq!(l.total.total(sec(1), false).sum(), 0.0);
    assert_eq!(l.total.total(sec(1), true).sum(), 200.0);
    assert!(!l.proc(Some(ProcessId(1))).unwrap().tally.talked(false));
}

#[test]
fn a_name_moves_a_flow_to_its_host() {
    let changed = Event::FlowChanged {
        at: at(2),
        id: FlowId(5),
        process: Some(ProcessId(1)),
        direction: Direction::Outbound,
        local: Endpoint::new("192.0.2.1".parse().unwrap(), 50_000),
        remote: Endpoint::new("198.51.100.2".parse().unwrap(), 443),
        remote_name: Some(RemoteName { name: "www.example".into(), source: NameSource::Dns }),
        state: FlowState::Open,
    };
    let l = ledger([
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(1, 5, 100, 1),
        changed,
        traffic(3, 5, 300, 1),
    ]);
    let hosts = &l.proc(Some(ProcessId(1))).unwrap().hosts;
    let (key, host) = hosts.iter().next().unwrap();
    assert_eq!((hosts.len(), key.label().as_str()), (1, "www.example"));
    assert_eq!(l.host_figures(host).total(sec(3), false).down, 300.0);
    assert_eq!(l.total.total(sec(3), false).down, 300.0);
}

#[test]
fn an_exec_moves_a_process_to_its_program() {
    let l = ledger([
        started(process(1, "/bin/sh")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(1, 5, 100, 1),
        Event::ProcessChanged { at: at(2), process: process(1, "/usr/bin/curl") },
        traffic(3, 5, 150, 1),
    ]);
    assert!(l.group(&GroupKey::Program("/bin/sh".into(), None)).is_none());
    let curl = l.group(&GroupKey::Program("/usr/bin/curl".into(), None)).unwrap();
    assert_eq!(curl.tally.total(sec(3), false).down, 150.0);
    assert_eq!(curl.tally.open(false), 1);
}

#[test]
fn what_ended_leaves_with_the_window() {
    let closed = Event::FlowClosed {
        at: at(2),
        id: FlowId(5),
        end_reason: EndReason::Closed,
        counters: Counters { tx_bytes: 9, rx_bytes: 400, tx_packets: 1, rx_packets: 1 },
    };
    let mut l = ledger([
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(1, 5, 100, 1),
        closed,
        Event::ProcessExited { at: at(2), id: ProcessId(1), exit_status: Some(0) },
        Event::FlowGone { at: at(62), id: FlowId(5) },
        Event::ProcessGone { at: at(62), id: ProcessId(1) },
    ]);
    l.prune();
    let program = GroupKey::Program("/usr/bin/curl".into(), None);
    let group = l.group(&program).unwrap();
    assert_eq!(group.tally.total(sec(62), false).down, 400.0);
    assert_eq!(group.tally.open(false), 0);
    assert!(l.is_exited(group));
    assert!(l.connection(FlowId(5)).is_none());
    l.set_now(at(400));
    l.prune();
    assert!(l.group(&program).is_none() && l.procs.is_empty() && l.users.is_empty());
}

#[test]
fn another_helper_starts_afresh_but_programs_keep_their_bytes() {
    let l = ledger([
        begin(0, 0),
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        Event::SnapshotEnd { at: at(0) },
        traffic(1, 5, 100, 1),
        begin(9, 8),
        started(process(1, "/usr/bin/wget")),
        Event::SnapshotEnd { at: at(9) },
    ]);
    let curl = l.group(&GroupKey::Program("/usr/bin/curl".into(), None)).unwrap();
    assert_eq!(curl.tally.total(sec(9), false).down, 100.0);
    assert!(curl.members.is_empty() && curl.tally.open(false) == 0);
    assert_eq!(l.proc(Some(ProcessId(1))).unwrap().label, "wget");
    assert_eq!(l.gaps(), [Gap { from: sec(2), to: sec(8) }]);
}

#[test]
fn a_fresh_snapshot_of_the_same_helper_drops_what_it_no_longer_lists() {
    let l = ledger([
        begin(0, 0),
        started(process(1, "/usr/bin/curl")),
        started(process(2, "/usr/bin/wget")),
        opened(flow(5, 1, "198.51.100.2")),
        opened(flow(6, 2, "198.51.100.3")),
        Event::SnapshotEnd { at: at(0) },
        traffic(1, 5, 100, 1),
        begin(2, 0),
        started(process(1, "/usr/bin/curl")),
        opened(Flow {
            counters: Counters { rx_bytes: 250, ..Counters::default() },
            ..flow(5, 1, "198.51.100.2")
        }),
        Event::SnapshotEnd { at: at(2) },
    ]);
    assert!(l.connection(FlowId(6)).is_none());
    assert!(l.proc(Some(ProcessId(2))).unwrap().is_exited());
    assert_eq!(l.total.total(sec(2), false).down, 250.0);
    assert_eq!(l.total.open(false), 1);
}

#[test]
fn the_rest_of_the_machine_is_one_row() {
    let others = |s, rx| Event::Others { at: at(s), processes: 9, open_flows: 4, tx_bytes: 0, rx_bytes: rx };
    let l = ledger([others(1, 5000), others(2, 5600)]);
    let group = l.group(&GroupKey::Others).unwrap();
    assert_eq!(group.tally.total(sec(2), false).down, 600.0);
    assert_eq!((group.tally.open(false), l.total.open(false)), (4, 4));
}

#[test]
fn a_process_nobody_described_has_a_place_and_moves_when_known() {
    let mut l = ledger([opened(flow(5, 77, "198.51.100.2")), traffic(1, 5, 10, 0)]);
    assert_eq!(l.group(&GroupKey::Kernel).unwrap().tally.total(sec(1), false).down, 10.0);
    l.apply(&started(process(77, "/usr/bin/late")));
    assert!(l.group(&GroupKey::Kernel).is_none());
    let late = l.group(&GroupKey::Program("/usr/bin/late".into(), None)).unwrap();
    assert_eq!(late.tally.total(sec(1), false).down, 10.0);
}

#[test]
fn bytes_without_a_listed_flow_reach_their_process() {
    let l = ledger([
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(1, 5, 100, 1),
        Event::ProcessTotals { at: at(2), id: ProcessId(1), tx_bytes: 1, rx_bytes: 140 },
    ]);
    let proc = l.proc(Some(ProcessId(1))).unwrap();
    assert_eq!(proc.tally.total(sec(2), false).down, 140.0);
    assert_eq!(l.total.total(sec(2), false).down, 140.0);
}

#[test]
fn a_program_that_is_started_again_and_again_keeps_its_place() {
    let mut l = ledger([
        started(process(1, "/usr/bin/curl")),
        opened(flow(5, 1, "198.51.100.2")),
        traffic(3, 5, 100, 1),
        Event::ProcessExited { at: at(3), id: ProcessId(1), exit_status: Some(0) },
    ]);
    let program = GroupKey::Program("/usr/bin/curl".into(), None);
    l.set_now(at(12));
    assert!(!l.is_exited(l.group(&program).unwrap()), "nine seconds after its last byte");
    l.set_now(at(14));
    assert!(l.is_exited(l.group(&program).unwrap()));
}
