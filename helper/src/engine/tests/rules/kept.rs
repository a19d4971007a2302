//! Rules over a restart of the helper, and how they are kept.

use super::*;

#[test]
fn kept_rules_are_in_force_again_unless_their_process_is_gone() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), Observation::Seen(image(11, 1000))]);
    for tgid in [10, 11] {
        stage.block(u64::from(tgid), Wanted::Process(stage.id(tgid)), Lifetime::UntilRestart);
    }
    stage.block(3, Wanted::Path("/usr/bin/curl".into()), Lifetime::Seconds(60));
    let kept: Vec<KeptRule> = stage.obey().pop().unwrap().keep.unwrap().to_vec();

    let mut again = Stage::enforcing();
    again.now = again.now.plus_nanos(30_000_000_000);
    again.step(Input::RulesKept(kept));
    again.observe([Observation::Seen(image(10, 1000)), forked(12, 10), Observation::SeedComplete]);
    assert_eq!((again.rules_of(10), again.rules_of(12)), (vec![1], vec![1]));
    again.obey();
    let ids = |stage: &Stage| stage.engine.mirror().rules().map(|r| r.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&again), [1, 3], "process 11 is gone");
    again.tick_after(31);
    again.obey();
    assert_eq!(ids(&again), [1], "half of the minute had passed before");
    again.block(1, Wanted::Path("/usr/bin/wget".into()), Lifetime::Always);
    again.obey();
    assert_eq!(ids(&again), [1, 4], "no number is used again");
}

#[test]
fn a_kept_rule_is_not_over_while_an_orphan_lives_that_was_bound_before() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    let kept: Vec<KeptRule> = stage.obey().pop().unwrap().keep.unwrap().to_vec();

    let mut again = Stage::enforcing();
    again.step(Input::RulesKept(kept));
    // Its parent, process 10, ended without a helper.
    let bound = |rule| (image(12, 1000).key, RuleId(rule));
    again.step(Input::BoundBefore(vec![bound(1), bound(9)]));
    again.observe([Observation::Seen(image(12, 1000)), Observation::Seen(image(13, 1000))]);
    again.observe([Observation::SeedComplete]);
    assert!(again.engine.mirror().rule(RuleId(1)).is_some());
    assert_eq!((again.rules_of(12), again.rules_of(13)), (vec![1], vec![]), "and rule 9 is gone");
    again.observe([exited(12)]);
    again.obey();
    assert!(again.engine.mirror().rule(RuleId(1)).is_none());
}

#[test]
fn numbers_and_hits_of_a_former_helper_go_on() {
    let mut stage = Stage::enforcing();
    stage.block(1, Wanted::Path("/usr/bin/curl".into()), Lifetime::Always);
    let mut kept: Vec<KeptRule> = stage.obey().pop().unwrap().keep.unwrap().to_vec();
    kept[0].rule.hits = 40;
    let mut again = Stage::enforcing();
    again.step(Input::RulesKept(kept));
    again.step(Input::LastNumber(17));
    again.observe([Observation::Seen(image(10, 1000)), attempt(1, 10, 443, 2)]);
    again.tick_after(1);
    assert_eq!(again.engine.mirror().rule(RuleId(1)).unwrap().hits, 42);
    again.block(1, Wanted::Path("/usr/bin/wget".into()), Lifetime::Always);
    again.obey();
    assert!(again.engine.mirror().rule(RuleId(18)).is_some(), "a mark of rule 2 may still be about");
}

#[test]
fn how_rules_are_kept_stays_the_last_line_of_the_coverage() {
    let line = |capability: &str, status| Source {
        capability: capability.into(),
        source: "".into(),
        status,
        cost: "".into(),
        reason: "".into(),
    };
    let mut s = Stage::new(Limits::default());
    let all = s.listen(Scope::All);
    let mode = Mode::Reduced;
    let shown = |s: &Stage| {
        let sources = s.mirror(all).coverage().iter();
        sources.map(|source| (source.capability.shown(), source.status)).collect::<Vec<_>>()
    };
    let [best, less] = [SourceStatus::Best, SourceStatus::Reduced];
    s.step(Input::Keeping(line("kept", best)));
    s.step(Input::Tick);
    let told = s.other_effects.iter().any(|effect| matches!(effect, Effect::Status(_)));
    assert!(!told, "nobody has said yet how much can be seen");
    s.step(Input::Coverage { mode, sources: vec![line("one", best), line("two", best)] });
    s.step(Input::Keeping(line("kept", less)));
    s.step(Input::Tick);
    let wanted =
        [("one", best), ("two", best), ("kept", less)].map(|(name, status)| (name.to_owned(), status));
    assert_eq!(shown(&s), wanted);
    s.step(Input::Coverage { mode, sources: vec![line("one", less)] });
    s.step(Input::Tick);
    assert_eq!(shown(&s), [("one".to_owned(), less), ("kept".to_owned(), less)]);
    s.step(Input::Keeping(line("kept too", best)));
    s.step(Input::Keeping(line("kept", best)));
    s.step(Input::Coverage { mode, sources: vec![line("three", best)] });
    s.step(Input::Tick);
    let all = [("three", best), ("kept", best), ("kept too", best)];
    assert_eq!(shown(&s), all.map(|(name, status)| (name.to_owned(), status)));
}
