//! Two mirrors that saw a snapshot and the same events are equal, whatever the events are.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{
    event::FlowCounters,
    file::{Access, ContactId, ContactReason, Outcome},
    flow::{Counters, Direction, EndReason, Endpoint, Protocol},
    rule::{Answer, Extent, Lifetime, RuleEnd, Subject, Ways},
    watch::{Owner, Severity},
};

const AT: Timestamp = Timestamp(1);

fn process(id: u64, parent: Option<u64>) -> Process {
    Process {
        id: ProcessId(id),
        pid: 7,
        parent_id: parent.map(ProcessId),
        name: "name".into(),
        exe: Text::default(),
        cmdline: Vec::new(),
        cmdline_truncated: false,
        uid: 0,
        user: None,
        unit: None,
        container: None,
        application: None,
        application_name: None,
        net_ns: 0,
        started_at: AT,
        exited_at: None,
        exit_status: None,
        tx_bytes: 0,
        rx_bytes: 0,
    }
}

fn counters(tx: u64) -> Counters {
    Counters { tx_bytes: tx, rx_bytes: 2 * tx, tx_packets: 1, rx_packets: 1 }
}

fn flow(id: u64, process: Option<u64>, tx: u64) -> Flow {
    let end = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1);
    Flow {
        id: FlowId(id),
        process: process.map(ProcessId),
        protocol: Protocol::Tcp,
        direction: Direction::Unknown,
        local: end,
        remote: end,
        remote_name: None,
        net_ns: 0,
        state: FlowState::Open,
        opened_at: AT,
        closed_at: None,
        end_reason: None,
        counters: counters(tx),
    }
}

fn rule(id: u64) -> Rule {
    Rule {
        id: RuleId(u32::try_from(id).unwrap()),
        subject: Subject::Program { exe: "/usr/bin/true".into() },
        ways: Ways::Both,
        answer: Answer::Reject,
        extent: Extent::Outside,
        lifetime: Lifetime::Always,
        added_at: AT,
        expires_at: None,
        added_by: 0,
        added_by_user: None,
        hits: 0,
    }
}

/// A refusal belongs to one rule for ever.
fn refusal(id: u64, process: Option<u64>, attempts: u64) -> Refusal {
    Refusal {
        id: RefusalId(id),
        rule: rule(1 + id % 2).id,
        process: process.map(ProcessId),
        protocol: Protocol::Udp,
        direction: Direction::Outbound,
        remote: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1),
        remote_name: None,
        first_at: AT,
        last_at: AT,
        attempts,
    }
}

fn entry(id: u64) -> Entry {
    Entry {
        id: EntryId(u32::try_from(id).unwrap()),
        pattern: "~/.ssh/id_*".into(),
        label: "keys".into(),
        group: "SSH".into(),
        severity: Severity::High,
        expected: vec!["/usr/bin/ssh".into()],
        owner: Owner::Default,
        enabled: true,
    }
}

fn access(id: u64, process: u64, count: u64) -> FileAccess {
    FileAccess {
        id: AccessId(id),
        process: ProcessId(process),
        path: "/home/a/.ssh/id_rsa".into(),
        requested_path: None,
        entry: entry(id).id,
        severity: Severity::High,
        access: Access::Read,
        result: Outcome::OK,
        count,
        at: AT,
        last_at: AT,
        first_time: false,
        expected: false,
        mount_ns: None,
        contacts_left_out: 0,
    }
}

fn contact(id: u64, access: u64, tx_bytes: u64) -> Contact {
    Contact {
        id: ContactId(id),
        access: AccessId(access),
        read_at: AT,
        process: ProcessId(1),
        flow: FlowId(1),
        remote: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1),
        remote_name: None,
        reason: ContactReason::NewRemote,
        at: AT,
        tx_bytes,
    }
}

fn changed(id: u64, process: Option<u64>) -> Event {
    let Flow { id, process, direction, local, remote, state, .. } = flow(id, process, 0);
    Event::FlowChanged { at: AT, id, process, direction, local, remote, remote_name: None, state }
}

fn told(events: impl IntoIterator<Item = Event>) -> Mirror {
    let mut mirror = Mirror::new();
    events.into_iter().for_each(|e| mirror.apply(&e));
    mirror
}

fn started(id: u64, parent: Option<u64>) -> Event {
    Event::ProcessStarted { at: AT, process: process(id, parent) }
}

fn opened(id: u64, owner: Option<u64>, tx: u64) -> Event {
    Event::FlowOpened { at: AT, flow: flow(id, owner, tx) }
}

#[test]
fn bytes_outlive_their_flow_and_move_with_it() {
    let traffic =
        |tx| Event::Traffic { at: AT, flows: vec![FlowCounters { id: FlowId(1), counters: counters(tx) }] };
    let mut mirror = told([started(1, None), started(2, None), opened(1, Some(1), 5)]);
    let sent = |m: &Mirror, id| m.process(ProcessId(id)).unwrap().tx_bytes;
    for tx in [9, 7, 9] {
        mirror.apply(&traffic(tx));
    }
    assert_eq!(sent(&mirror, 1), 9, "counters never go back");
    mirror.apply(&opened(1, Some(1), 5));
    assert_eq!(sent(&mirror, 1), 9, "told twice is counted once");
    mirror.apply(&changed(1, Some(2)));
    assert_eq!((sent(&mirror, 1), sent(&mirror, 2)), (0, 9));
    mirror.apply(&Event::FlowGone { at: AT, id: FlowId(1) });
    assert_eq!((sent(&mirror, 2), mirror.flows().count()), (9, 0));
    mirror.apply(&Event::ProcessTotals { at: AT, id: ProcessId(2), tx_bytes: 40, rx_bytes: 4 });
    assert_eq!(sent(&mirror, 2), 40);
}

#[test]
fn news_of_a_process_keep_its_totals_and_its_end() {
    let mut mirror = told([
        started(1, None),
        opened(1, Some(1), 5),
        Event::ProcessExited { at: AT, id: ProcessId(1), exit_status: Some(9) },
    ]);
    let process = Process { name: "other".into(), ..process(1, None) };
    mirror.apply(&Event::ProcessChanged { at: AT, process });
    let known = mirror.process(ProcessId(1)).unwrap();
    assert_eq!((known.name.shown(), known.tx_bytes, known.exit_status), ("other".into(), 5, Some(9)));
}

#[test]
fn children_are_known_and_forget_a_parent_that_left() {
    let mut mirror = told([started(2, Some(1)), started(1, None), started(3, Some(1))]);
    let ids = |m: &Mirror, of| m.children_of(ProcessId(of)).map(|p| p.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&mirror, 1), [2, 3]);
    mirror.apply(&Event::ProcessChanged { at: AT, process: process(3, Some(2)) });
    assert_eq!((ids(&mirror, 1), ids(&mirror, 2)), (vec![2], vec![3]));
    mirror.apply(&Event::ProcessGone { at: AT, id: ProcessId(1) });
    assert_eq!(mirror.process(ProcessId(2)).unwrap().parent_id, None);
    assert!(ids(&mirror, 1).is_empty());
}

#[test]
fn a_snapshot_forgets_what_was_before_and_is_complete_at_its_end() {
    let mut mirror = told([started(1, None)]);
    assert!(!mirror.is_complete());
    let events = Mirror::new().replicate(AT);
    let (end, rest) = events.split_last().unwrap();
    rest.iter().for_each(|e| mirror.apply(e));
    assert!(!mirror.is_complete());
    mirror.apply(end);
    assert!(mirror.is_complete());
    assert_eq!(mirror.processes().count(), 0);
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (id, owner) = (1_u64..5, || proptest::option::of(1_u64..5));
    let event = prop_oneof![
        (id.clone(), owner()).prop_map(|(p, q)| started(p, q)),
        (id.clone(), owner()).prop_map(|(p, q)| Event::ProcessChanged { at: AT, process: process(p, q) }),
        id.clone().prop_map(|p| Event::ProcessExited { at: AT, id: ProcessId(p), exit_status: None }),
        id.clone().prop_map(|p| Event::ProcessGone { at: AT, id: ProcessId(p) }),
        (id.clone(), owner(), 0_u64..9).prop_map(|(f, p, tx)| opened(f, p, tx)),
        (id.clone(), owner()).prop_map(|(f, p)| changed(f, p)),
        (id.clone(), 0_u64..99).prop_map(|(f, tx)| Event::FlowClosed {
            at: AT,
            id: FlowId(f),
            end_reason: EndReason::Closed,
            counters: counters(tx),
        }),
        id.clone().prop_map(|f| Event::FlowGone { at: AT, id: FlowId(f) }),
        proptest::collection::vec((id.clone(), 0_u64..99), 0..6).prop_map(|flows| Event::Traffic {
            at: AT,
            flows: flows
                .into_iter()
                .map(|(f, tx)| FlowCounters { id: FlowId(f), counters: counters(tx) })
                .collect(),
        }),
        (id.clone(), 0_u64..99).prop_map(|(p, tx)| Event::ProcessTotals {
            at: AT,
            id: ProcessId(p),
            tx_bytes: tx,
            rx_bytes: tx,
        }),
        (1_u64..9).prop_map(|count| Event::Lost { at: AT, kind: RecordKind::Exec, count }),
        id.clone().prop_map(|n| Event::RuleAdded { at: AT, rule: rule(n) }),
        id.clone().prop_map(|n| Event::RuleRemoved { at: AT, id: rule(n).id, end: RuleEnd::Removed }),
        (id.clone(), 0_u64..3).prop_map(|(p, n)| Event::ProcessRules {
            at: AT,
            id: ProcessId(p),
            rules: (0..n).map(|n| rule(n).id).collect(),
        }),
        (id.clone(), owner(), 1_u64..9)
            .prop_map(|(n, p, attempts)| Event::Refused { at: AT, refusal: refusal(n, p, attempts) }),
        (id.clone(), 0_u64..9).prop_map(|(n, hits)| Event::RuleHits { at: AT, id: rule(n).id, hits }),
        id.clone().prop_map(|n| Event::RefusalGone { at: AT, id: RefusalId(n) }),
        id.clone().prop_map(|n| Event::WatchEntryAdded { at: AT, entry: entry(n) }),
        id.clone().prop_map(|n| Event::WatchEntryRemoved { at: AT, id: entry(n).id }),
        (id.clone(), id.clone(), 1_u64..9)
            .prop_map(|(n, p, count)| Event::FileAccessed { at: AT, access: access(n, p, count) }),
        id.clone().prop_map(|n| Event::FileAccessGone { at: AT, id: AccessId(n) }),
        (id.clone(), id.clone(), 0_u64..9)
            .prop_map(|(n, a, tx)| Event::ContactAfter { at: AT, contact: contact(n, a, tx) }),
        id.prop_map(|n| Event::Others { at: AT, processes: n, open_flows: n, tx_bytes: n, rx_bytes: n }),
    ];
    proptest::collection::vec(event, 0..60)
}

#[test]
fn an_access_takes_its_contacts_along_and_never_counts_back() {
    let accessed = |count| Event::FileAccessed { at: AT, access: access(1, 1, count) };
    let mut mirror = told([accessed(1)]);
    assert_eq!(mirror.accesses().count(), 0, "of a process that is not listed");
    mirror = told([started(1, None), accessed(3), accessed(2)]);
    assert_eq!(mirror.access(AccessId(1)).unwrap().count, 3);
    mirror.apply(&Event::ContactAfter { at: AT, contact: contact(7, 1, 5) });
    mirror.apply(&Event::ContactAfter { at: AT, contact: contact(8, 2, 5) });
    assert_eq!(mirror.contacts_after(AccessId(1)).count(), 1);
    assert_eq!(mirror.contacts().count(), 1, "after an access that is not listed");
    mirror.apply(&Event::ProcessGone { at: AT, id: ProcessId(1) });
    assert_eq!((mirror.accesses().count(), mirror.contacts().count()), (0, 0));
}

#[test]
fn refusals_go_with_their_rule_and_never_count_back() {
    let mut mirror = told(Mirror::new().replicate(AT));
    mirror.apply(&started(3, None));
    mirror.apply(&Event::RuleAdded { at: AT, rule: rule(1) });
    for attempts in [1, 4, 3] {
        mirror.apply(&Event::Refused { at: AT, refusal: refusal(2, Some(3), attempts) });
    }
    assert_eq!(mirror.refusals_of(Some(ProcessId(3))).map(|r| r.attempts).sum::<u64>(), 4);
    mirror.apply(&Event::RefusalGone { at: AT, id: RefusalId(2) });
    assert_eq!(mirror.refusals().count(), 0);
    mirror.apply(&Event::Refused { at: AT, refusal: refusal(4, None, 2) });
    mirror.apply(&Event::Refused { at: AT, refusal: refusal(3, None, 2) });
    assert_eq!(mirror.refusals().count(), 1, "rule 2 is not listed");
    mirror.apply(&Event::RuleRemoved { at: AT, id: RuleId(1), end: RuleEnd::Removed });
    assert_eq!((mirror.rules().count(), mirror.refusals().count()), (0, 0));
}

proptest! {
    #[test]
    fn a_mirror_told_a_snapshot_is_equal_then_and_after_every_delta(before in events(), after in events()) {
        let mut first = told(Mirror::new().replicate(AT).into_iter().chain(before));
        let mut second = told(first.replicate(Timestamp(2)));
        prop_assert_eq!(&first, &second);
        for event in &after {
            first.apply(event);
            second.apply(event);
            prop_assert_eq!(&first, &second, "after {:?}", event);
        }
    }

    #[test]
    fn counting_many_flows_at_once_is_counting_each(
        before in events(),
        flows in proptest::collection::vec((1_u64..5, 0_u64..99), 0..9),
    ) {
        let (mut at_once, mut each) = (told(before.clone()), told(before));
        let flows: Vec<FlowCounters> =
            flows.into_iter().map(|(f, tx)| FlowCounters { id: FlowId(f), counters: counters(tx) }).collect();
        at_once.apply(&Event::Traffic { at: AT, flows: flows.clone() });
        flows.into_iter().for_each(|f| each.apply(&Event::Traffic { at: AT, flows: vec![f] }));
        prop_assert_eq!(at_once, each);
    }

    #[test]
    fn indices_agree_with_the_lists(events in events()) {
        let mirror = told(events);
        let mut listed = 0;
        for ids in mirror.flows_by_process.values() {
            prop_assert!(!ids.is_empty());
            listed += ids.len();
        }
        prop_assert_eq!(listed, mirror.flows.len());
        for flow in mirror.flows() {
            prop_assert!(mirror.flows_of(flow.process).any(|f| f.id == flow.id));
        }
        let children: usize = mirror.children.values().map(BTreeSet::len).sum();
        prop_assert_eq!(children, mirror.processes().filter(|p| p.parent_id.is_some()).count());
        for p in mirror.processes() {
            prop_assert!(p.parent_id.is_none_or(|q| mirror.children_of(q).any(|c| c.id == p.id)));
        }
    }

    #[test]
    fn hearing_an_event_twice_does_no_harm(events in events()) {
        let once = told(events.clone());
        let twice = told(events.into_iter().flat_map(|e| {
            // Losses are counts of this place in the stream, not states.
            let again = (!matches!(e, Event::Lost { .. })).then(|| e.clone());
            std::iter::once(e).chain(again)
        }));
        prop_assert_eq!(once, twice);
    }
}
