//! Single stories: one cause, the events it must have.

use sekhmet_common::{
    coverage::{KindBalance, Mode, RecordKind},
    flow::{EndReason, FlowState},
    process::ProcessId,
};

use super::*;
use crate::engine::input::Identity;

const AT: Timestamp = Timestamp(1_000_000_000_000);

fn stage() -> Stage {
    Stage::new(Limits::default())
}

#[test]
fn a_child_is_what_its_parent_is_until_it_executes() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([Observation::Executed { at: AT, image: executed(10, 1000, "/usr/bin/bash") }]);
    let question = s.questions.pop().unwrap();
    assert_eq!(question.generation, 1, "the one program, asked once");
    let identity = Identity {
        exe: Some("/usr/bin/bash".into()),
        user: Some("anna".into()),
        unit: Some("app.scope".into()),
        ..Identity::default()
    };
    s.step(Input::Identified { id: question.id, generation: 1, identity });
    let child = ProcessImage { parent: Some(key(10)), ..image(11, 1000) };
    s.observe([Observation::Forked { at: AT, image: child }]);
    let p = s.process(key(11)).clone();
    assert_eq!(p.parent_id, Some(question.id));
    assert_eq!((p.name.shown(), p.exe.shown()), ("bash".into(), "/usr/bin/bash".into()));
    assert_eq!((p.user.unwrap().shown(), p.unit.unwrap().shown()), ("anna".into(), "app.scope".into()));
    assert_eq!(p.cmdline.len(), 2);
    assert!(s.questions.is_empty(), "what is inherited needs no question");

    let image = ProcessImage { parent: Some(key(10)), ..executed(11, 1000, "/usr/bin/curl") };
    s.observe([Observation::Executed { at: AT, image }]);
    let p = s.process(key(11));
    assert_eq!((p.name.shown(), p.exe.shown()), ("curl".into(), "/usr/bin/curl".into()));
    assert_eq!(p.unit.as_ref().unwrap().shown(), "app.scope", "its cgroup is still the same");
    assert_eq!(s.questions.len(), 1);
    s.tick_after(0);
    assert_eq!(s.mirror(all), s.engine.mirror());
    assert_eq!(s.story(Scope::All), ["started", "changed", "started", "changed"]);
}

#[test]
fn a_found_process_has_a_program_of_its_own() {
    let mut s = stage();
    s.observe([Observation::Executed { at: AT, image: executed(10, 1000, "/usr/bin/bash") }]);
    let question = s.questions.pop().unwrap();
    s.step(Input::Identified { id: question.id, generation: 1, identity: Identity::default() });
    s.observe([Observation::Seen(ProcessImage { parent: Some(key(10)), ..image(11, 1000) })]);
    assert_eq!(s.process(key(11)).name.shown(), "comm11");
    assert!(s.process(key(11)).cmdline.is_empty());
    assert_eq!(s.questions.len(), 1);
}

#[test]
fn a_late_answer_does_not_name_a_newer_program() {
    let mut s = stage();
    s.observe([Observation::Executed { at: AT, image: executed(10, 1000, "/bin/old") }]);
    let old = s.questions.pop().unwrap();
    s.observe([Observation::Executed { at: AT, image: executed(10, 1000, "/bin/new") }]);
    assert!(s.questions.is_empty(), "one question at a time");
    let identity = Identity { exe: Some("/bin/old".into()), ..Identity::default() };
    s.step(Input::Identified { id: old.id, generation: old.generation, identity });
    assert_eq!(s.process(key(10)).exe.shown(), "/bin/new");
    assert_eq!(s.questions.pop().unwrap().generation, old.generation + 1);
}

#[test]
fn an_unanswered_question_does_not_block_for_ever() {
    let mut s = stage();
    s.observe((0..600).map(|n| Observation::Seen(image(n + 10, 1000))));
    assert_eq!(s.questions.len(), crate::engine::OUTSTANDING_MAX);
    s.tick_after(31);
    assert_eq!(s.questions.len(), 2 * crate::engine::OUTSTANDING_MAX);
    s.tick_after(31);
    assert_eq!(s.questions.len(), 600);
}

#[test]
fn an_exit_before_its_fork_still_ends_the_process() {
    let mut s = stage();
    s.observe([
        Observation::Exited { at: AT, key: key(10), status: Some(256) },
        Observation::Forked { at: AT, image: image(10, 1000) },
    ]);
    let p = s.process(key(10));
    assert_eq!((p.exited_at, p.exit_status), (Some(AT), Some(256)));
    s.tick_after(61);
    s.tick_after(61);
    assert_eq!(s.engine.mirror().processes().count(), 0);
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut s = stage();
    s.observe([
        Observation::Executed { at: AT, image: executed(10, 1000, "/bin/first") },
        Observation::Exited { at: AT, key: key(10), status: Some(0) },
    ]);
    let again = ProcessKey { tgid: 10, start_ns: 99_000 };
    let image = ProcessImage { key: again, ..executed(10, 1000, "/bin/second") };
    s.observe([Observation::Executed { at: AT, image }]);
    let names: Vec<_> = s.engine.mirror().processes().map(|p| (p.pid, p.name.shown())).collect();
    assert_eq!(names, [(10, "first".into()), (10, "second".into())]);
    assert!(s.process(again).exited_at.is_none());
}

#[test]
fn a_parent_heard_of_later_gets_its_children_and_loses_them_when_it_leaves() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    let child = ProcessImage { parent: Some(key(10)), ..image(11, 1000) };
    s.observe([Observation::Seen(child)]);
    assert_eq!(s.process(key(11)).parent_id, None);
    s.observe([Observation::Seen(image(10, 1000))]);
    let parent = s.process(key(10)).id;
    assert_eq!(s.process(key(11)).parent_id, Some(parent));
    s.observe([Observation::Exited { at: AT, key: key(10), status: None }]);
    s.tick_after(0);
    s.tick_after(61);
    assert_eq!(s.process(key(11)).parent_id, None);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn an_owner_nobody_told_of_is_listed_asked_about_and_leaves_when_it_is_gone() {
    let mut s = stage();
    let own = s.listen(Scope::Own(1000));
    s.observe([Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(5, 6)))]);
    s.tick_after(0);
    assert_eq!(s.mirror(own).processes().count(), 0, "whose it is, is not known");
    let question = s.questions.pop().unwrap();
    let identity = Identity {
        uids: Some(Uids::all(1000)),
        comm: Some("daemon".into()),
        exe: Some("/sbin/daemon".into()),
        ..Identity::default()
    };
    s.step(Input::Identified { id: question.id, generation: question.generation, identity });
    s.tick_after(1);
    let shown: Vec<_> = s.mirror(own).processes().map(|p| (p.pid, p.uid, p.tx_bytes)).collect();
    assert_eq!(shown, [(10, 1000, 5)]);

    s.observe([Observation::Flow(stream(2, 20, FlowPhase::Open, bytes(0, 0)))]);
    let question = s.questions.pop().unwrap();
    let identity = Identity { gone: true, ..Identity::default() };
    s.step(Input::Identified { id: question.id, generation: question.generation, identity });
    assert!(s.process(key(20)).exited_at.is_some());
}

#[test]
fn a_flow_is_told_from_handshake_to_end() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([Observation::Forked { at: AT, image: image(10, 1000) }]);
    s.observe([
        Observation::Flow(stream(1, 10, FlowPhase::Opening, bytes(0, 0))),
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(0, 0))),
    ]);
    s.tick_after(0);
    for tx in [100, 200, 150, 300] {
        s.observe([Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(tx, 7)))]);
    }
    s.tick_after(0);
    assert_eq!(s.mirror(all).process(ProcessId(1)).unwrap().tx_bytes, 300, "counters never go back");
    let last = stream(1, 10, FlowPhase::Closing, bytes(310, 8));
    s.observe([ended(last, FlowEnd::Tcp { from: 5, error: 0 })]);
    s.observe([Observation::Exited { at: AT, key: key(10), status: Some(0) }]);
    s.tick_after(0);
    assert_eq!(
        s.story(Scope::All),
        ["started", "flow opened", "flow changed", "traffic", "flow closed", "exited"]
    );
    let flow = s.only_flow();
    assert_eq!((flow.state, flow.end_reason), (FlowState::Closed, Some(EndReason::Closed)));
    assert_eq!(flow.counters.tx_bytes, 310);
    s.tick_after(59);
    assert_eq!(s.engine.mirror().flows().count(), 1);
    s.tick_after(1);
    assert_eq!((s.engine.mirror().flows().count(), s.engine.mirror().processes().count()), (0, 0));
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn a_flow_first_heard_of_at_its_end_is_listed_with_owner_and_bytes() {
    let mut s = stage();
    s.observe([Observation::Forked { at: AT, image: image(10, 1000) }]);
    s.observe([ended(stream(1, 10, FlowPhase::Closing, bytes(9, 1)), FlowEnd::Tcp { from: 2, error: 111 })]);
    let flow = s.only_flow();
    assert_eq!((flow.process, flow.end_reason), (Some(ProcessId(1)), Some(EndReason::Refused)));
    assert_eq!(s.process(key(10)).tx_bytes, 9);
}

#[test]
fn a_process_that_ended_stays_while_its_flows_are_listed() {
    let mut s = stage();
    s.observe([
        Observation::Forked { at: AT, image: image(10, 1000) },
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(1, 1))),
        Observation::Exited { at: AT, key: key(10), status: None },
    ]);
    s.tick_after(0);
    s.tick_after(120);
    assert_eq!(s.engine.mirror().processes().count(), 1);
    s.observe([ended(stream(1, 10, FlowPhase::Closing, bytes(2, 2)), FlowEnd::Released)]);
    assert_eq!(s.only_flow().end_reason, Some(EndReason::Exited));
    s.tick_after(60);
    assert_eq!((s.engine.mirror().flows().count(), s.engine.mirror().processes().count()), (0, 0));
}

#[test]
fn an_owner_found_later_takes_the_flow_and_its_bytes() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([
        Observation::Forked { at: AT, image: image(10, 1000) },
        Observation::Forked { at: AT, image: image(11, 1001) },
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(5, 5))),
        Observation::Flow(stream(1, 11, FlowPhase::Open, bytes(6, 6))),
    ]);
    assert_eq!((s.process(key(10)).tx_bytes, s.process(key(11)).tx_bytes), (0, 6));
    s.tick_after(0);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn a_released_socket_ends_all_its_flows() {
    let mut s = stage();
    s.observe([
        Observation::Flow(datagram(7, 10, 1, bytes(1, 1))),
        Observation::Flow(datagram(7, 10, 2, bytes(2, 2))),
        Observation::Flow(datagram(8, 10, 3, bytes(3, 3))),
        Observation::SocketReleased { at: AT, cookie: 7 },
    ]);
    let open: Vec<_> = s.engine.mirror().flows().map(|f| f.state == FlowState::Open).collect();
    assert_eq!(open, [false, false, true]);
}

#[test]
fn a_quiet_datagram_flow_ages_and_new_packets_make_a_new_one_without_counting_twice() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([Observation::Flow(datagram(7, 10, 1, bytes(100, 0)))]);
    s.tick_after(0);
    s.tick_after(29 * 60);
    s.observe([Observation::Flow(datagram(7, 10, 1, bytes(110, 0)))]);
    s.tick_after(29 * 60);
    assert_eq!(s.only_flow().state, FlowState::Open);
    s.tick_after(60);
    assert_eq!(s.only_flow().end_reason, Some(EndReason::Aged));
    // The source still tells its old counters: while the flow is listed, and after it left.
    s.observe([Observation::Flow(datagram(7, 10, 1, bytes(110, 0)))]);
    assert_eq!(s.engine.mirror().flows().count(), 1);
    s.tick_after(60);
    s.observe([Observation::Flow(datagram(7, 10, 1, bytes(110, 0)))]);
    assert_eq!(s.engine.mirror().flows().count(), 0);
    s.observe([Observation::Flow(datagram(7, 10, 1, bytes(130, 3)))]);
    assert_eq!((s.only_flow().counters.tx_bytes, s.only_flow().counters.rx_bytes), (20, 3));
    assert_eq!(s.process(key(10)).tx_bytes, 130);
    s.tick_after(0);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn a_datagram_flow_that_its_source_ended_begins_anew_from_zero() {
    let mut s = stage();
    s.observe([
        Observation::Flow(datagram(7, 10, 1, bytes(100, 9))),
        ended(datagram(7, 10, 1, bytes(110, 9)), FlowEnd::Vanished),
        Observation::Flow(datagram(7, 10, 1, bytes(5, 1))),
        Observation::SocketReleased { at: AT, cookie: 7 },
    ]);
    let flows: Vec<_> =
        s.engine.mirror().flows().map(|f| (f.counters.tx_bytes, f.end_reason.unwrap())).collect();
    assert_eq!(flows, [(110, EndReason::Aged), (5, EndReason::Closed)]);
    assert_eq!(s.process(key(10)).tx_bytes, 115);
    s.tick_after(0);
    s.tick_after(61);
    assert_eq!(s.engine.mirror().flows().count(), 0);
}

#[test]
fn residue_and_late_bytes_reach_the_totals_of_everybody() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([
        Observation::Forked { at: AT, image: image(10, 1000) },
        Observation::Residue { owner: key(10), counters: bytes(40, 4) },
        ended(stream(1, 10, FlowPhase::Closing, bytes(2, 2)), FlowEnd::Tcp { from: 1, error: 0 }),
    ]);
    s.tick_after(0);
    // A poll that overlapped the end, in the very tick in which the flow leaves.
    s.now = s.now.plus_nanos(61_000_000_000);
    s.observe([Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(3, 2)))]);
    s.tick_after(0);
    assert_eq!(s.engine.mirror().flows().count(), 0);
    assert_eq!(s.process(key(10)).tx_bytes, 43);
    assert_eq!(s.mirror(all), s.engine.mirror());
}

#[test]
fn losses_stand_at_their_place_and_balances_hold() {
    let mut s = stage();
    let all = s.listen(Scope::All);
    s.observe([
        Observation::Forked { at: AT, image: image(10, 1000) },
        Observation::Lost { at: AT, kind: RecordKind::Exec, count: 3 },
        Observation::Forked { at: AT, image: image(11, 1000) },
    ]);
    let kind = |kind, made, delivered, lost, filtered| KindBalance {
        kind,
        made,
        delivered,
        lost,
        filtered,
        in_flight: 1,
    };
    s.step(Input::Coverage { mode: Mode::Full, sources: Vec::new() });
    s.step(Input::Balance(vec![kind(RecordKind::Exec, 9, 5, 3, 1), kind(RecordKind::Fork, 2, 2, 0, 0)]));
    s.step(Input::Balance(vec![kind(RecordKind::Stream, 4, 3, 1, 0)]));
    s.tick_after(1);
    assert_eq!(s.story(Scope::All), ["started", "lost", "started"]);
    let balance = s.mirror(all).balance();
    assert_eq!(balance.len(), 3);
    for k in balance {
        assert_eq!(k.made, k.delivered + k.lost + k.filtered, "{k:?}");
    }
    let statuses = |s: &Stage| s.other_effects.iter().filter(|e| matches!(e, Effect::Status(_))).count();
    let before = statuses(&s);
    assert!(before >= 1);
    s.tick_after(1);
    assert_eq!(statuses(&s), before, "nothing new, nothing told");
}

#[test]
fn after_a_loss_processes_are_asked_for_and_forgotten_flows_end() {
    let mut s = stage();
    s.observe([
        Observation::Forked { at: AT, image: image(10, 1000) },
        Observation::Forked { at: AT, image: image(11, 1000) },
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(1, 1))),
    ]);
    let answer = |s: &mut Stage, gone: bool| {
        for question in std::mem::take(&mut s.questions) {
            let gone = gone && question.image.key == key(10);
            let identity = Identity { gone, ..Identity::default() };
            s.step(Input::Identified { id: question.id, generation: question.generation, identity });
        }
    };
    answer(&mut s, true);
    assert!(s.process(key(10)).exited_at.is_none(), "its end is still to be told");
    s.tick_after(1);
    assert!(s.questions.is_empty());
    s.observe([
        Observation::Lost { at: AT, kind: RecordKind::Exit, count: 1 },
        Observation::Lost { at: AT, kind: RecordKind::TcpState, count: 1 },
    ]);
    s.tick_after(1);
    assert_eq!(s.questions.len(), 2);
    answer(&mut s, true);
    assert!(s.process(key(10)).exited_at.is_some());
    assert!(s.process(key(11)).exited_at.is_none());
    for _ in 0..12 {
        s.tick_after(60);
    }
    let left: Vec<_> = s.engine.mirror().processes().map(|p| p.pid).collect();
    assert_eq!((left, s.engine.mirror().flows().count()), (vec![11], 0));
}

#[test]
fn somebody_watches_or_nobody() {
    let mut s = stage();
    let first = s.listen(Scope::All);
    let second = s.listen(Scope::Own(1));
    s.step(Input::Unsubscribe { client: first });
    s.step(Input::Unsubscribe { client: second });
    let watched: Vec<bool> = s
        .other_effects
        .iter()
        .filter_map(|e| if let Effect::Watched(w) = e { Some(*w) } else { None })
        .collect();
    assert_eq!(watched, [true, false]);
    s.heard.clear();
    s.observe([Observation::Forked { at: AT, image: image(10, 1000) }]);
    s.tick_after(1);
    assert!(s.heard.is_empty(), "nobody is told anything");
}
