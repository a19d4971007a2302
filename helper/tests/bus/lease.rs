//! How streams live and end.

use std::time::{Duration, Instant};

use sekhmet_common::{
    bus::error,
    coverage::{Mode, RecordKind, Source, SourceStatus},
    event::Event,
};
use sekhmet_helper::engine::input::{Input, StatusReport};
use sekhmet_testkit::polkit::Verdict;
use zbus::message::Flags;

use crate::stage::{Stage, drain, frame, open, wait};

const OWN: &str = "org.sekhmet.helper.watch-own";
const QUIET: Flags = Flags::empty();

fn unsubscribed(input: &Input) -> Option<()> {
    matches!(input, Input::Unsubscribe { .. }).then_some(())
}

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.polkit.set(OWN, Verdict::Allow);
    stage
}

fn coverage(cost: &str) -> StatusReport {
    let source = Source {
        capability: "process start".into(),
        source: "test".into(),
        status: SourceStatus::Best,
        cost: cost.into(),
        reason: "".into(),
    };
    StatusReport { mode: Mode::Full, sources: vec![source], balance: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_then_what_is_published() {
    let stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let stream = open(&caller, "own", QUIET).await.unwrap();
    let snapshot = frame(&stream).unwrap();
    assert!(matches!(snapshot.first(), Some(Event::SnapshotBegin { .. })));
    assert!(matches!(snapshot.last(), Some(Event::SnapshotEnd { .. })));
    for cost in ["a", "b", "c"] {
        stage.publish(coverage(cost));
        let published = frame(&stream).unwrap();
        assert!(
            matches!(&published[..], [Event::Coverage { sources, .. }] if sources[0].cost == cost.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_caller_leaves_the_bus() {
    let stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let stream = open(&caller, "own", QUIET).await.unwrap();
    let copy = stream.try_clone().unwrap();
    frame(&stream).unwrap();
    let left = Instant::now();
    caller.close().await.unwrap();
    assert_eq!(frame(&stream), None);
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
    assert_eq!(frame(&copy), None, "every copy ends");
    stage.hears(unsubscribed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stream_is_noticed_without_traffic() {
    let stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let stream = open(&caller, "own", QUIET).await.unwrap();
    frame(&stream).unwrap();
    drop(stream);
    stage.hears(unsubscribed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_is_dropped_after_five_seconds_and_others_are_not() {
    let stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let asleep = open(&caller, "own", QUIET).await.unwrap();
    let awake = open(&caller, "own", QUIET).await.unwrap();
    frame(&awake).unwrap();
    let start = Instant::now();
    let mut heard = 0;
    while start.elapsed() < Duration::from_secs(7) {
        stage.publish_bytes(30_000);
        frame(&awake).unwrap();
        heard += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(heard > 30, "{heard}");
    stage.hears(unsubscribed);
    assert!(stage.seen.try_iter().all(|input| unsubscribed(&input).is_none()), "one of two ended");
    let residue = drain(&asleep);
    assert!((1..=5).contains(&residue), "{residue} frames were in the socket");
    stage.publish_bytes(10);
    assert!(frame(&awake).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_falls_behind_gets_a_snapshot_and_is_told_what_it_missed() {
    let stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let stream = open(&caller, "own", QUIET).await.unwrap();
    for _ in 0..40 {
        stage.publish_bytes(30_000);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut told = 0;
    while told == 0 {
        for event in frame(&stream).unwrap() {
            if let Event::Lost { kind: RecordKind::Stream, count, .. } = event {
                told += count;
            }
        }
    }
    assert!((1..=40).contains(&told), "{told}");
    stage.hears(|input| matches!(input, Input::Resync { .. }).then_some(()));
    stage.publish(coverage("after"));
    assert!(matches!(&frame(&stream).unwrap()[..], [Event::Coverage { .. }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_rules_ends_only_what_is_now_forbidden() {
    let stage = stage().await;
    stage.polkit.set("org.sekhmet.helper.watch-all", Verdict::Allow);
    let caller = stage.bus.connect_as(1).await.unwrap();
    let own = open(&caller, "own", QUIET).await.unwrap();
    let all = open(&caller, "all", QUIET).await.unwrap();
    frame(&own).unwrap();
    frame(&all).unwrap();
    // A grant that would have to be renewed by a dialog stays.
    stage.polkit.set("org.sekhmet.helper.watch-all", Verdict::Ask);
    stage.polkit.set(OWN, Verdict::Deny);
    stage.polkit.tell_changed().await.unwrap();
    assert_eq!(frame(&own), None);
    assert!(!wait(&all, Duration::from_millis(500)), "this one goes on");
    let rechecks: Vec<bool> = stage.polkit.checks().iter().map(|check| check.interactive).collect();
    assert_eq!(rechecks, [false; 4], "no dialog is raised by a re-check");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_streams_for_one_user_and_sixteen_in_all() {
    let stage = stage().await;
    let mut held = Vec::new();
    for uid in [1, 2, 3, 5] {
        let caller = stage.bus.connect_as(uid).await.unwrap();
        for _ in 0..4 {
            held.push((open(&caller, "own", QUIET).await.unwrap(), caller.clone()));
        }
        assert_eq!(open(&caller, "own", QUIET).await.unwrap_err(), error::LIMITS_EXCEEDED);
    }
    let late = stage.bus.connect_as(7).await.unwrap();
    assert_eq!(open(&late, "own", QUIET).await.unwrap_err(), error::LIMITS_EXCEEDED);
    held.truncate(15);
    stage.hears(unsubscribed);
    assert!(open(&late, "own", QUIET).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_outlives_its_bus() {
    let mut stage = stage().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let stream = open(&caller, "own", QUIET).await.unwrap();
    frame(&stream).unwrap();
    stage.bus.kill().unwrap();
    assert_eq!(frame(&stream), None, "a lease does not outlive the bus");
    stage.hears(unsubscribed);
    stage.bus.restart().unwrap();
    stage.serving();
    let root = stage.bus.connect_as(0).await.unwrap();
    assert!(open(&root, "own", QUIET).await.is_ok(), "root may without polkit");
}
