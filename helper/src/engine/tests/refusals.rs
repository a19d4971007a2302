//! Refused attempts as stories: who asked, what was refused, how often.

use sekhmet_common::{
    flow::Direction,
    rule::{Lifetime, RuleEnd, RuleId, Wanted},
};

use super::{rules::forked, *};
use crate::engine::input::{RefusedSight, Request, SeenBy};

pub(super) fn attempt(rule: u32, tgid: u32, port: u16, attempts: u64) -> Observation {
    Observation::Refused(RefusedSight {
        at: Timestamp(1_000_000_000_000),
        rule,
        owner: Some(key(tgid)),
        protocol: Protocol::Tcp,
        direction: Direction::Outbound,
        remote: endpoint(9, port),
        attempts,
        seen_by: SeenBy::Programs,
    })
}

/// The same attempt as the firewall sees it.
fn packet(rule: u32, port: u16) -> Observation {
    let Observation::Refused(sight) = attempt(rule, 10, port, 1) else { panic!() };
    Observation::Refused(RefusedSight { owner: None, seen_by: SeenBy::Firewall, ..sight })
}

fn asked(rule: u32, tgid: u32, port: u16, attempts: u64) -> Observation {
    let Observation::Refused(sight) = attempt(rule, tgid, port, attempts) else { panic!() };
    Observation::Attempted(sight)
}

#[test]
fn attempts_are_counted_by_remote_and_in_all() {
    let mut stage = Stage::enforcing();
    let all = stage.listen(Scope::All);
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    stage.obey();
    stage.observe([
        attempt(1, 10, 443, 1),
        attempt(1, 10, 443, 2),
        attempt(1, 10, 80, 5),
        attempt(7, 10, 80, 1),
    ]);
    stage.tick_after(1);
    let mirror = stage.mirror(all);
    assert_eq!(
        mirror.refusals().map(|r| (r.remote.port, r.attempts)).collect::<Vec<_>>(),
        [(443, 3), (80, 5)]
    );
    assert_eq!(mirror.rule(RuleId(1)).map(|r| r.hits), Some(8));
    assert_eq!(mirror, stage.engine.mirror());
    stage.ask(2, Request::Remove(RuleId(1)), 0);
    stage.obey();
    stage.tick_after(1);
    assert_eq!(stage.mirror(all).refusals().count(), 0);
    let told = stage
        .heard
        .iter()
        .any(|(_, e)| matches!(e, Event::RuleRemoved { end: RuleEnd::Removed, id: RuleId(1), .. }));
    assert!(told);
}

#[test]
fn the_oldest_refusal_leaves_and_its_hits_stay() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    stage.obey();
    stage.observe((0..5000_u16).map(|port| attempt(1, 10, port, 1)));
    stage.tick_after(1);
    let mirror = stage.engine.mirror();
    assert_eq!(mirror.refusals().count(), sekhmet_common::refusal::REFUSALS_MAX);
    assert_eq!(mirror.refusals().next().map(|r| r.remote.port), Some(904));
    assert_eq!(mirror.rule(RuleId(1)).map(|r| r.hits), Some(5000));
}

#[test]
fn who_asked_and_what_was_refused_are_one_line() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), forked(11, 10)]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    stage.obey();
    // The child asks; the first packet is sent twice. Port 80 turns out to be on this machine.
    stage.observe([asked(1, 11, 443, 1), packet(1, 443), packet(1, 443), asked(1, 11, 80, 1)]);
    // Nobody asked for these: they go through a socket that was there before.
    stage.observe([packet(1, 25), packet(1, 25)]);
    stage.tick_after(1);
    let told: Vec<_> =
        stage.engine.mirror().refusals().map(|r| (r.remote.port, r.process.unwrap(), r.attempts)).collect();
    assert_eq!(told, [(443, stage.id(11), 1), (25, stage.id(10), 2)]);
    assert_eq!(stage.engine.mirror().rule(RuleId(1)).map(|r| r.hits), Some(3));
    stage.observe([packet(1, 80)]);
    stage.tick_after(1);
    assert_eq!(stage.engine.mirror().refusals().count(), 3);
}
