//! What happens when there is more than fits.

use sekhmet_common::{
    coverage::RecordKind,
    event::TRAFFIC_FLOWS_MAX,
    flow::{EndReason, FlowState},
};

use super::*;

const AT: Timestamp = Timestamp(1_000_000_000_000);

fn small() -> Limits {
    Limits { processes_max: 4, flows_max: 4, ..Limits::default() }
}

#[test]
fn the_oldest_ended_flow_makes_room_and_open_ones_stay() {
    let mut s = Stage::new(small());
    let all = s.listen(Scope::All);
    for cookie in 0..4 {
        s.observe([Observation::Flow(stream(cookie, 10, FlowPhase::Open, bytes(10, 0)))]);
    }
    s.observe([
        ended(stream(2, 10, FlowPhase::Closing, bytes(11, 0)), FlowEnd::Released),
        ended(stream(0, 10, FlowPhase::Closing, bytes(11, 0)), FlowEnd::Released),
        Observation::Flow(stream(9, 10, FlowPhase::Open, bytes(10, 0))),
    ]);
    let states: Vec<_> = s.engine.mirror().flows().map(|f| (f.id.0, f.state)).collect();
    assert_eq!(
        states,
        [(1, FlowState::Closed), (2, FlowState::Open), (4, FlowState::Open), (5, FlowState::Open)]
    );
    s.tick_after(0);
    assert_eq!(s.process(key(10)).tx_bytes, 52);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn a_flow_without_room_is_counted_once_and_its_bytes_reach_the_totals() {
    let mut s = Stage::new(small());
    let all = s.listen(Scope::All);
    for cookie in 0..5 {
        for _poll in 0..3 {
            s.observe([Observation::Flow(stream(cookie, 10, FlowPhase::Open, bytes(10, 0)))]);
        }
    }
    s.tick_after(1);
    assert_eq!(s.engine.mirror().flows().count(), 4);
    assert_eq!(s.mirror(all).lost().get(&RecordKind::TcpState), Some(&1));
    s.observe([ended(stream(4, 10, FlowPhase::Closing, bytes(30, 0)), FlowEnd::Released)]);
    s.tick_after(1);
    assert_eq!(s.process(key(10)).tx_bytes, 70);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn processes_beyond_the_limit_are_counted_and_ended_ones_make_room() {
    let mut s = Stage::new(small());
    let all = s.listen(Scope::All);
    s.observe((0..6).map(|n| Observation::Forked { at: AT, image: image(n + 10, 1000) }));
    s.tick_after(1);
    assert_eq!(s.engine.mirror().processes().count(), 4);
    assert_eq!(s.mirror(all).lost().get(&RecordKind::Fork), Some(&2));
    s.observe([
        Observation::Exited { at: AT, key: key(11), status: None },
        Observation::Forked { at: AT, image: image(20, 1000) },
    ]);
    let pids: Vec<_> = s.engine.mirror().processes().map(|p| p.pid).collect();
    assert_eq!(pids, [10, 12, 13, 20]);
    s.tick_after(1);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn storms_of_short_lives_leave_nothing_behind() {
    let mut s = Stage::new(Limits { processes_max: 64, flows_max: 64, ..Limits::default() });
    let all = s.listen(Scope::All);
    for n in 0..5_000_u32 {
        let sight = stream(u64::from(n), n + 10, FlowPhase::Opening, bytes(1, 1));
        s.observe([
            Observation::Forked { at: AT, image: image(n + 10, 1000) },
            Observation::Flow(sight.clone()),
            ended(sight, FlowEnd::Tcp { from: 1, error: 104 }),
            Observation::Exited { at: AT, key: key(n + 10), status: Some(0) },
        ]);
    }
    assert!(s.engine.mirror().flows().all(|f| f.end_reason == Some(EndReason::Reset)));
    s.tick_after(0);
    assert_eq!(s.mirror(all), s.engine.mirror());
    s.tick_after(60);
    s.tick_after(60);
    assert_eq!((s.engine.mirror().processes().count(), s.engine.mirror().flows().count()), (0, 0));
    assert_eq!(s.mirror(all), s.engine.mirror());
    assert!(s.mirror(all).lost().is_empty(), "each made room for the next");
}

#[test]
fn a_tick_with_too_many_events_is_told_as_a_snapshot() {
    let mut s = Stage::new(Limits::default());
    let all = s.listen(Scope::All);
    s.observe((0..30_000).map(|n| Observation::Forked { at: AT, image: image(n, 1000) }));
    s.observe((0..30_000).map(|n| Observation::Exited { at: AT, key: key(n), status: None }));
    s.observe((0..6_000).map(|n| Observation::Flow(stream(u64::from(n), n, FlowPhase::Open, bytes(1, 1)))));
    s.heard.clear();
    s.tick_after(0);
    assert!(matches!(s.heard.first(), Some((Scope::All, Event::SnapshotBegin { .. }))));
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn traffic_is_told_once_per_flow_and_never_in_too_large_events() {
    let mut s = Stage::new(Limits::default());
    let all = s.listen(Scope::All);
    let count = u64::try_from(TRAFFIC_FLOWS_MAX).unwrap() + 1;
    s.observe((0..count).map(|n| Observation::Flow(stream(n, 10, FlowPhase::Open, bytes(1, 1)))));
    s.tick_after(0);
    s.heard.clear();
    for more in 2..5 {
        s.observe((0..count).map(|n| Observation::Flow(stream(n, 10, FlowPhase::Open, bytes(more, 1)))));
    }
    s.tick_after(0);
    let sizes: Vec<usize> = s
        .heard
        .iter()
        .filter_map(|(_, e)| if let Event::Traffic { flows, .. } = e { Some(flows.len()) } else { None })
        .collect();
    assert_eq!(sizes, [TRAFFIC_FLOWS_MAX, 1]);
    assert_eq!(s.mirror(all), s.engine.mirror());
}
