//! The book against records and dumps made by hand.

use sekhmet_common::kernel::{Header, ProcessKey, Tuple, kind};

use super::*;

const OWNER: ProcessKey = ProcessKey { tgid: 42, reserved: 0, start_ns: 7 };

fn book() -> Book {
    Book::new(Clock::read())
}

fn mapped(last: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last]
}

fn tuple(protocol: u8) -> Tuple {
    Tuple {
        local: mapped(1),
        remote: mapped(2),
        local_port: 1000,
        remote_port: 2000,
        protocol,
        reserved: [0; 3],
    }
}

fn tcp(at_ns: u64, old_state: u8, new_state: u8, tx_bytes: u64) -> TcpRecord {
    TcpRecord {
        header: Header { kind: kind::TCP, length: size_of::<TcpRecord>() as u32, at_ns },
        process: OWNER,
        cookie: 5,
        opened_ns: 1,
        tuple: tuple(6),
        counters: kernel::Counters { tx_bytes, ..kernel::Counters::default() },
        error: 0,
        net_ns: 3,
        flags: socket_flag::CREATED | socket_flag::OUTBOUND,
        old_state,
        new_state,
        reserved: 0,
    }
}

fn row(state: u8, tx_bytes: u64) -> SocketRow {
    SocketRow {
        process: OWNER,
        cookie: 5,
        opened_ns: 1,
        tuple: tuple(6),
        counters: kernel::Counters { tx_bytes, ..kernel::Counters::default() },
        net_ns: 3,
        flags: socket_flag::CREATED | socket_flag::OUTBOUND,
        state,
        ..SocketRow::default()
    }
}

fn flow(tx_bytes: u64) -> (kernel::FlowKey, FlowValue) {
    let counters = kernel::Counters { tx_bytes, tx_packets: 1, ..kernel::Counters::default() };
    let value =
        FlowValue { process: OWNER, opened_ns: 10, counters, net_ns: 3, flags: socket_flag::OUTBOUND };
    (kernel::FlowKey { cookie: 6, tuple: tuple(17) }, value)
}

fn closed(at_ns: u64) -> SocketClosedRecord {
    SocketClosedRecord {
        header: Header { kind: kind::SOCKET_CLOSED, length: size_of::<SocketClosedRecord>() as u32, at_ns },
        process: OWNER,
        cookie: 6,
        tuple: Tuple::default(),
        counters: kernel::Counters::default(),
        opened_ns: 1,
        net_ns: 3,
        flags: 0,
    }
}

/// The first flow of socket 6 in a dump.
fn first(tx_bytes: u64) -> SocketRow {
    let flags = socket_flag::CREATED | socket_flag::OUTBOUND | socket_flag::FIRST;
    SocketRow { cookie: 6, opened_ns: 10, tuple: tuple(17), flags, ..row(7, tx_bytes) }
}

fn told(observation: &Observation) -> (u64, FlowPhase) {
    let Observation::Flow(sight) = observation else { panic!("{observation:?}") };
    (sight.counters.tx_bytes, sight.phase)
}

#[test]
fn a_connection_is_told_when_it_moves_and_only_then() {
    let mut book = book();
    assert_eq!(told(&book.tcp(&tcp(1, 7, 2, 0))), (0, FlowPhase::Opening));
    assert_eq!(told(&book.tcp(&tcp(2, 2, 1, 0))), (0, FlowPhase::Open));
    assert_eq!(book.rows(&[row(tcp_state::ESTABLISHED, 0)], 3, false), []);
    assert_eq!(told(&book.rows(&[row(tcp_state::ESTABLISHED, 9)], 4, false)[0]), (9, FlowPhase::Open));
    assert_eq!(book.rows(&[row(tcp_state::ESTABLISHED, 9)], 5, false), []);
    assert_eq!(told(&book.rows(&[row(tcp_state::FIN_WAIT1, 9)], 6, false)[0]), (9, FlowPhase::Closing));
    let Observation::FlowEnded { sight, end, .. } = book.tcp(&tcp(7, 9, 7, 11)) else { panic!("not ended") };
    assert_eq!((sight.counters.tx_bytes, end), (11, FlowEnd::Tcp { from: 9, error: 0 }));
    assert!(book.settle(Some(&HashSet::new()), 100, false, |_| None).is_empty());
}

#[test]
fn a_lost_end_is_found_after_two_dumps() {
    let mut book = book();
    book.tcp(&tcp(2, 2, 1, 4));
    let empty = HashSet::new();
    assert!(
        book.settle(Some(&empty), 1, false, |_| None).is_empty(),
        "the dump is older than the connection"
    );
    assert!(book.settle(Some(&empty), 10, false, |_| None).is_empty());
    let ended = book.settle(Some(&empty), 20, false, |_| None);
    assert!(matches!(&ended[..], [Observation::FlowEnded { end: FlowEnd::Vanished, .. }]), "{ended:?}");
    // Without a dump nothing is concluded; a socket that shows up again starts anew.
    book.tcp(&tcp(2, 2, 1, 4));
    book.settle(Some(&empty), 30, false, |_| None);
    assert!(book.settle(None, 40, false, |_| None).is_empty());
    book.settle(Some(&HashSet::from([5])), 50, false, |_| None);
    assert!(book.settle(Some(&empty), 60, false, |_| None).is_empty());
}

#[test]
fn older_connections_to_a_listening_port_came_from_outside() {
    let mut book = book();
    let seeded = |cookie, state| SocketRow { cookie, flags: socket_flag::SEEDED, ..row(state, 0) };
    let mut other = seeded(8, tcp_state::ESTABLISHED);
    other.tuple.local_port = 1001;
    let rows = [seeded(5, tcp_state::ESTABLISHED), seeded(7, tcp_state::LISTEN), other];
    let seen = book.rows(&rows, 1, true);
    let directions: Vec<_> = seen
        .iter()
        .map(|o| match o {
            Observation::Flow(sight) => (sight.key.cookie(), sight.direction),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(directions, [(5, Direction::Inbound), (8, Direction::Unknown)]);
    // The direction found out is kept to the end, although the record does not have it.
    let record = TcpRecord { flags: socket_flag::SEEDED, ..tcp(9, 9, 7, 0) };
    let Observation::FlowEnded { sight, .. } = book.tcp(&record) else { panic!("not ended") };
    assert_eq!(sight.direction, Direction::Inbound);
}

#[test]
fn a_released_socket_ends_its_flows_with_what_the_map_has() {
    let mut book = book();
    let (key, value) = flow(100);
    assert_eq!(told(&book.flows(&[(key, value)], 20)[0]).0, 100);
    assert_eq!(book.flows(&[(key, value)], 21), []);
    let ended = book.released(&closed(30), |taken| (*taken == key).then(|| flow(150).1));
    let [Observation::FlowEnded { sight, end, .. }, Observation::SocketReleased { cookie: 6, .. }] =
        &ended[..]
    else {
        panic!("{ended:?}")
    };
    assert_eq!((sight.counters.tx_bytes, *end), (150, FlowEnd::Released));
    assert_eq!(book.released(&closed(31), |_| None).len(), 1, "no flow is ended twice");
}

#[test]
fn a_record_after_the_dump_does_not_take_counters_back() {
    let mut book = book();
    let (key, value) = flow(100);
    book.flows(&[(key, value)], 20);
    let record = PacketFlowRecord {
        header: Header { kind: kind::PACKET_FLOW, length: 88, at_ns: 10 },
        process: OWNER,
        key,
        net_ns: 3,
        flags: socket_flag::OUTBOUND,
    };
    assert_eq!(told(&book.packet_flow(&record)).0, 100);
}

#[test]
fn quiet_flows_end_sooner_when_the_map_is_crowded() {
    let (key, value) = flow(100);
    let alive = HashSet::from([6]);
    let mut book = book();
    book.flows(&[(key, value)], 20);
    let take = |_: &kernel::FlowKey| Some(value);
    assert!(book.settle(Some(&alive), 20 + QUIET_NS, false, take).is_empty());
    let ended = book.settle(Some(&alive), 21 + QUIET_NS, false, take);
    assert!(matches!(&ended[..], [Observation::FlowEnded { end: FlowEnd::Quiet, .. }]), "{ended:?}");
    book.flows(&[(key, value)], 20);
    assert!(book.settle(Some(&alive), 20 + QUIET_CROWDED_NS, true, take).is_empty());
    assert_eq!(book.settle(Some(&alive), 21 + QUIET_CROWDED_NS, true, take).len(), 1);
}

#[test]
fn a_flow_whose_socket_is_gone_unannounced_ends() {
    let mut book = book();
    let (key, value) = flow(100);
    book.flows(&[(key, value)], 20);
    let nobody = HashSet::new();
    assert!(book.settle(Some(&nobody), 30, false, |_| Some(value)).is_empty());
    let ended = book.settle(Some(&nobody), 40, false, |_| Some(flow(120).1));
    let [Observation::FlowEnded { sight, end: FlowEnd::Vanished, .. }] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(sight.counters.tx_bytes, 120);
}

#[test]
fn connected_datagram_sockets_from_before_are_seeded_once() {
    let mut book = book();
    let before = SocketRow { cookie: 6, tuple: tuple(17), flags: socket_flag::SEEDED, ..row(7, 0) };
    assert_eq!(book.rows(&[before], 20, true).len(), 1);
    assert_eq!(book.rows(&[before], 30, true).len(), 0);
    assert_eq!(book.released(&closed(40), |_| None).len(), 2);
    assert_eq!(book.rows(&[before], 50, false).len(), 0);
}

#[test]
fn a_first_flow_is_told_by_dumps_and_ended_by_its_socket() {
    let mut book = book();
    assert_eq!(told(&book.rows(&[first(100)], 20, false)[0]).0, 100);
    assert_eq!(book.rows(&[first(100)], 21, false), []);
    assert_eq!(told(&book.rows(&[first(130)], 22, false)[0]).0, 130);
    // It takes no room in the map of flows, so it does not age here.
    let alive = HashSet::from([6]);
    assert!(book.settle(Some(&alive), 23 + QUIET_NS, true, |_| panic!("it is not in the map")).is_empty());
    let SocketRow { tuple, counters, flags, .. } = first(170);
    let record = SocketClosedRecord { tuple, counters, flags, opened_ns: 10, ..closed(30) };
    let ended = book.released(&record, |_| panic!("it is not in the map"));
    let [Observation::FlowEnded { sight, end, .. }, Observation::SocketReleased { .. }] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((sight.counters.tx_bytes, *end), (170, FlowEnd::Released));
}

#[test]
fn a_first_flow_that_nobody_told_is_told_by_its_end() {
    let mut book = book();
    let SocketRow { tuple, counters, flags, .. } = first(170);
    let record = SocketClosedRecord { tuple, counters, flags, opened_ns: 10, ..closed(30) };
    let ended = book.released(&record, |_| None);
    let [Observation::FlowEnded { sight, .. }, Observation::SocketReleased { .. }] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((sight.counters.tx_bytes, sight.direction), (170, Direction::Outbound));
}
