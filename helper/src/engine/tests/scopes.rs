//! Who sees what: stories, then random histories with clients that come and go.

use proptest::prelude::*;
use sekhmet_common::{
    coverage::RecordKind,
    file::{Access, Outcome},
    log,
    watch::{Entry, Owner},
};

use super::{
    files::{entry, sight},
    *,
};
use crate::engine::input::{FileSight, Home, Identity, ProgramKey, Watchlist};

const AT: Timestamp = Timestamp(1_000_000_000_000);
const ME: u32 = 1000;
const CANARY: &str = "CANARY";

#[test]
fn a_setuid_program_leaves_the_sight_of_its_user_and_comes_back() {
    let mut s = Stage::new(Limits::default());
    let own = s.listen(Scope::Own(ME));
    let child = ProcessImage { parent: Some(key(10)), ..image(11, ME) };
    s.observe([
        Observation::Executed { at: AT, image: executed(10, ME, "/bin/shell") },
        Observation::Forked { at: AT, image: child },
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(3, 4))),
    ]);
    s.tick_after(1);
    let shell = s.process(key(10)).id;
    assert_eq!(s.mirror(own).process(s.process(key(11)).id).unwrap().parent_id, Some(shell));
    s.heard.clear();
    let raised = Uids { effective: 0, ..Uids::all(ME) };
    let secret = ProcessImage { uids: raised, ..executed(10, ME, "/bin/secret") };
    s.observe([Observation::Executed { at: AT, image: secret }]);
    s.observe([Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(30, 40)))]);
    s.tick_after(1);
    assert_eq!(s.story(Scope::Own(ME)), ["flow gone", "gone"]);
    assert_eq!(s.mirror(own).flows().count(), 0);
    assert_eq!(s.mirror(own).process(s.process(key(11)).id).unwrap().parent_id, None);
    assert_eq!((s.mirror(own).others().processes, s.mirror(own).others().tx_bytes), (1, 30));

    s.heard.clear();
    s.observe([Observation::Executed { at: AT, image: executed(10, ME, "/bin/back") }]);
    s.tick_after(1);
    assert_eq!(s.story(Scope::Own(ME)), ["started", "flow opened", "changed", "totals"]);
    let back = s.mirror(own).process(shell).unwrap();
    assert_eq!((back.name.shown(), back.tx_bytes), ("back".into(), 30));
    assert_eq!((s.mirror(own).others().processes, s.mirror(own).others().tx_bytes), (0, 0));
}

#[test]
fn a_stale_look_at_a_process_can_hide_but_not_reveal_it() {
    let mut s = Stage::new(Limits::default());
    let own = s.listen(Scope::Own(ME));
    s.observe([Observation::Executed { at: AT, image: executed(10, 0, "/bin/root") }]);
    s.observe([Observation::Seen(image(10, ME))]);
    s.observe([Observation::Executed { at: AT, image: executed(11, ME, "/bin/mine") }]);
    s.observe([Observation::Seen(image(11, 0))]);
    s.tick_after(1);
    assert_eq!(s.mirror(own).processes().count(), 0);
}

#[test]
fn an_answer_about_another_owner_is_not_shown() {
    let mut s = Stage::new(Limits::default());
    s.listen(Scope::Own(ME));
    // Asked while nobody knew whose it is; the worker sees another user's process, then it becomes mine.
    s.observe([Observation::Flow(datagram(1, 10, 1, bytes(0, 0)))]);
    let question = s.questions.pop().unwrap();
    s.observe([Observation::Seen(image(10, ME))]);
    let secret = || Identity { exe: Some(CANARY.into()), unit: Some(CANARY.into()), ..Identity::default() };
    s.step(Input::Identified { id: question.id, generation: question.generation, identity: secret() });
    // Asked about my program; when the worker looks, it has executed one that raises its rights.
    s.observe([Observation::Executed { at: AT, image: executed(11, ME, "/bin/mine") }]);
    let question = s.questions.pop().unwrap();
    let identity = Identity { uids: Some(Uids { effective: 0, ..Uids::all(ME) }), ..secret() };
    s.step(Input::Identified { id: question.id, generation: question.generation, identity });
    s.tick_after(1);
    check_leaks(&s.heard).unwrap();
    assert_eq!(s.process(key(11)).exe.shown(), CANARY);
}

#[test]
fn others_are_told_at_most_once_a_second_and_only_when_they_changed() {
    let mut s = Stage::new(Limits::default());
    s.listen(Scope::Own(ME));
    s.heard.clear();
    let count = |s: &Stage| s.heard.iter().filter(|(_, e)| matches!(e, Event::Others { .. })).count();
    for n in 0..4 {
        s.observe([Observation::Forked { at: AT, image: image(20 + n, 0) }]);
        s.now = s.now.plus_nanos(250_000_000);
        s.step(Input::Tick);
    }
    assert_eq!(count(&s), 1);
    s.tick_after(5);
    s.tick_after(5);
    assert_eq!(count(&s), 1);
    s.observe([Observation::Exited { at: AT, key: key(20), status: None }]);
    s.tick_after(1);
    assert_eq!(count(&s), 2);
}

#[derive(Clone, Debug)]
enum Op {
    Seen(u32, usize, u32),
    Forked(u32, usize, u32),
    Executed(u32, usize, u32),
    Exited(u32),
    Stream { cookie: u64, owner: Option<u32>, phase: usize, counters: Counters },
    Datagram { cookie: u64, owner: Option<u32>, remote: u8, counters: Counters },
    Ended { cookie: u64, owner: u32, end: usize, counters: Counters },
    Released(u64),
    Residue(u32, Counters),
    Lost(u64),
    Answer { which: usize, uids: usize, gone: bool },
    File { pid: u32, path: usize, access: usize, denied: bool },
    Watch(usize),
    Subscribe(u64, usize),
    Unsubscribe(u64),
    Resync(u64),
    Tick { millis: i64 },
}

fn uids(which: usize) -> Uids {
    let raised = Uids { effective: 0, ..Uids::all(ME) };
    [Uids::all(ME), Uids::all(1001), Uids::all(0), raised][which % 4]
}

fn scope(which: usize) -> Scope {
    [Scope::All, Scope::Own(ME), Scope::Own(1001)][which % 3]
}

/// Text of a process that is not wholly mine carries the canary.
fn text(uids: Uids, what: &str) -> Text {
    let owner = if uids.sole_owner() == Some(ME) { "mine" } else { CANARY };
    Text::from(format!("/bin/{owner}-{what}"))
}

fn random_image(pid: u32, which: usize, parent: u32, program: bool) -> ProcessImage {
    let uids = uids(which);
    ProcessImage {
        uids,
        parent: (parent != pid).then(|| key(parent)),
        cgroup_id: u64::from(parent % 2),
        comm: text(uids, "comm"),
        filename: if program { text(uids, "program") } else { Text::default() },
        argv: program.then(|| vec![text(uids, "argument")]),
        ..image(pid, 0)
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let pid = 1_u32..7;
    let pid_or_more = 1_u32..9;
    let counters = || (0_u64..50, 0_u64..50).prop_map(|(tx, rx)| bytes(tx, rx));
    let owner = || proptest::option::weighted(0.9, 1_u32..7);
    let op = prop_oneof![
        2 => (pid.clone(), 0..4_usize, pid.clone()).prop_map(|(p, u, q)| Op::Seen(p, u, q)),
        3 => (pid.clone(), 0..4_usize, pid.clone()).prop_map(|(p, u, q)| Op::Forked(p, u, q)),
        4 => (pid.clone(), 0..4_usize, pid.clone()).prop_map(|(p, u, q)| Op::Executed(p, u, q)),
        2 => pid.clone().prop_map(Op::Exited),
        5 => (0..6_u64, owner(), 0..3_usize, counters())
            .prop_map(|(cookie, owner, phase, counters)| Op::Stream { cookie, owner, phase, counters }),
        4 => (10..13_u64, owner(), 1..4_u8, counters())
            .prop_map(|(cookie, owner, remote, counters)| Op::Datagram { cookie, owner, remote, counters }),
        3 => (0..6_u64, pid.clone(), 0..4_usize, counters())
            .prop_map(|(cookie, owner, end, counters)| Op::Ended { cookie, owner, end, counters }),
        1 => (10..13_u64).prop_map(Op::Released),
        1 => (pid, counters()).prop_map(|(p, c)| Op::Residue(p, c)),
        1 => (1..9_u64).prop_map(Op::Lost),
        4 => (0..9_usize, 0..4_usize, any::<bool>())
            .prop_map(|(which, uids, gone)| Op::Answer { which, uids, gone }),
        6 => (pid_or_more, 0..5_usize, 0..3_usize, any::<bool>())
            .prop_map(|(pid, path, access, denied)| Op::File { pid, path, access, denied }),
        1 => (0..4_usize).prop_map(Op::Watch),
        3 => (1..5_u64, 0..3_usize).prop_map(|(c, s)| Op::Subscribe(c, s)),
        1 => (1..5_u64).prop_map(Op::Unsubscribe),
        1 => (1..5_u64).prop_map(Op::Resync),
        5 => prop_oneof![Just(250_i64), Just(1_000), Just(31_000), Just(61_000), Just(31 * 60_000)]
            .prop_map(|millis| Op::Tick { millis }),
    ];
    proptest::collection::vec(op, 1..120)
}

fn play(s: &mut Stage, op: Op) {
    let phases = [FlowPhase::Opening, FlowPhase::Open, FlowPhase::Closing];
    let ends = [
        FlowEnd::Tcp { from: 1, error: 0 },
        FlowEnd::Tcp { from: 2, error: 111 },
        FlowEnd::Released,
        FlowEnd::Vanished,
    ];
    match op {
        Op::Seen(p, u, q) => s.observe([Observation::Seen(random_image(p, u, q, false))]),
        Op::Forked(p, u, q) => {
            s.observe([Observation::Forked { at: s.now, image: random_image(p, u, q, false) }]);
        }
        Op::Executed(p, u, q) => {
            s.observe([Observation::Executed { at: s.now, image: random_image(p, u, q, true) }]);
        }
        Op::Exited(p) => s.observe([Observation::Exited { at: s.now, key: key(p), status: None }]),
        Op::Stream { cookie, owner, phase, counters } => {
            let sight = stream(cookie, 0, phases[phase], counters);
            s.observe([Observation::Flow(FlowSight { owner: owner.map(key), ..sight })]);
        }
        Op::Datagram { cookie, owner, remote, counters } => {
            let sight = datagram(cookie, 0, remote, counters);
            s.observe([Observation::Flow(FlowSight { owner: owner.map(key), ..sight })]);
        }
        Op::Ended { cookie, owner, end, counters } => {
            s.observe([ended(stream(cookie, owner, FlowPhase::Closing, counters), ends[end])]);
        }
        Op::Released(cookie) => s.observe([Observation::SocketReleased { at: s.now, cookie }]),
        Op::Residue(p, counters) => s.observe([Observation::Residue { owner: key(p), counters }]),
        Op::Lost(count) => s.observe([Observation::Lost { at: s.now, kind: RecordKind::Exec, count }]),
        Op::Answer { which, uids: u, gone } => answer(s, which, u, gone),
        Op::File { pid, path, access, denied } => open_file(s, pid, path, access, denied),
        Op::Watch(which) => watch(s, which),
        Op::Subscribe(client, which) => {
            s.step(Input::Subscribe { client: ClientId(client), scope: scope(which) });
        }
        Op::Unsubscribe(client) => s.step(Input::Unsubscribe { client: ClientId(client) }),
        Op::Resync(client) => s.step(Input::Resync { client: ClientId(client) }),
        Op::Tick { millis } => {
            s.now = s.now.plus_nanos(millis * 1_000_000);
            s.step(Input::Tick);
        }
    }
}

/// Somebody opens one of a few files. The last is watched by another user, which nobody but that user and those who
/// see everything may learn.
fn open_file(s: &mut Stage, pid: u32, path: usize, access: usize, denied: bool) {
    let paths = [
        "/etc/shadow",
        "/home/me/.ssh/id_a",
        "/home/other/.ssh/id_b",
        "/home/me/secret",
        "/home/other/CANARY",
    ];
    let access = [Access::Read, Access::ReadWrite, Access::Unlink][access];
    let file = Some(ProgramKey { device: 1, inode: u64::try_from(path / 2).unwrap() });
    let result = Outcome(if denied { 13 } else { 0 });
    s.open(FileSight { access, file, result, ..sight(pid, paths[path]) });
}

/// Another list is in force, with one entry more or less.
fn watch(s: &mut Stage, which: usize) {
    let mut entries = vec![
        entry(1, "~/.ssh/id_*", Owner::Default),
        entry(2, "/etc/shadow", Owner::Default),
        entry(10_000, "~/secret", Owner::User(ME)),
        Entry { label: CANARY.into(), ..entry(10_001, "~/CANARY", Owner::User(1001)) },
    ];
    if which < 3 {
        entries.remove(which);
    }
    s.step(Input::WatchlistKept(Watchlist { revision: 1, next_id: 0, entries }));
}

/// Answers a question as a worker would that sees the process as the question tells it.
fn answer(s: &mut Stage, which: usize, u: usize, gone: bool) {
    if s.questions.is_empty() {
        return;
    }
    let IdentityRequest { id, generation, image } = s.questions.remove(which % s.questions.len());
    let untold = image.uids.real == u32::MAX;
    let now = if untold { uids(u) } else { image.uids };
    let identity = Identity {
        exe: (!gone).then(|| text(now, "exe")),
        cmdline: (!gone).then(|| vec![text(now, "cmdline")]),
        cmdline_truncated: false,
        user: Some(Text::from(format!("user{}", now.real))),
        unit: (!gone).then(|| text(now, "unit")),
        container: (!gone).then(|| text(now, "container")),
        application: (!gone).then(|| text(now, "application")),
        application_name: None,
        comm: (!gone).then(|| text(now, "comm")),
        uids: (!gone).then_some(now),
        gone,
    };
    s.step(Input::Identified { id, generation, identity });
}

/// What a scope should know: a new mirror that was told the engine's snapshot.
fn truth(s: &Stage, scope: Scope) -> Mirror {
    let mut mirror = Mirror::new();
    s.engine.snapshot(scope, s.now).iter().for_each(|e| mirror.apply(e));
    mirror
}

fn check_clients(s: &Stage) -> Result<(), TestCaseError> {
    prop_assert_eq!(&truth(s, Scope::All), s.engine.mirror());
    for (scope, mirror) in s.clients.values() {
        prop_assert_eq!(mirror, &truth(s, *scope), "what {:?} knows", scope);
        for p in mirror.processes() {
            prop_assert!(p.parent_id.is_none_or(|id| mirror.process(id).is_some()), "parent of {:?}", p);
            let own = if let Scope::Own(uid) = scope { p.uid == *uid } else { true };
            prop_assert!(own, "{:?} sees {:?}", scope, p);
        }
        for a in mirror.accesses() {
            prop_assert!(mirror.process(a.process).is_some(), "process of {:?}", a);
        }
        for c in mirror.contacts() {
            prop_assert!(mirror.access(c.access).is_some(), "access of {:?}", c);
        }
        for f in mirror.flows() {
            prop_assert!(f.process.is_none_or(|id| mirror.process(id).is_some()), "owner of {:?}", f);
        }
    }
    Ok(())
}

/// Nothing that this scope hears names what it may not see.
fn check_leaks(heard: &[(Scope, Event)]) -> Result<(), TestCaseError> {
    let mut listed = std::collections::BTreeSet::new();
    for (_, event) in heard.iter().filter(|(scope, _)| *scope == Scope::Own(ME)) {
        let told = log::to_json(event).unwrap().to_string();
        prop_assert!(!told.contains(CANARY), "leaked: {}", told);
        match event {
            Event::ProcessStarted { process, .. } => {
                listed.insert(process.id);
            }
            Event::ProcessChanged { process: Process { id, .. }, .. }
            | Event::ProcessExited { id, .. }
            | Event::ProcessGone { id, .. }
            | Event::ProcessTotals { id, .. } => prop_assert!(listed.contains(id), "unknown id in {}", told),
            Event::FlowOpened { flow, .. } => {
                prop_assert!(flow.process.is_some_and(|id| listed.contains(&id)), "owner in {}", told);
            }
            Event::FlowChanged { process, .. } => {
                prop_assert!(process.is_some_and(|id| listed.contains(&id)), "owner in {}", told);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sums of the whole list and of what left it agree with the totals that others are told from.
fn check_others(s: &mut Stage) -> Result<(), TestCaseError> {
    s.step(Input::Subscribe { client: ClientId(99), scope: Scope::Own(4_000_000) });
    let all = s.engine.mirror();
    let nobody = s.mirror(ClientId(99)).others();
    let running = all.processes().filter(|p| p.exited_at.is_none()).count();
    let open = all.flows().filter(|f| f.closed_at.is_none()).count();
    prop_assert_eq!(nobody.processes, u64::try_from(running).unwrap());
    prop_assert_eq!(nobody.open_flows, u64::try_from(open).unwrap());
    let listed: u64 = all.processes().map(|p| p.tx_bytes).sum();
    prop_assert!(nobody.tx_bytes >= listed);
    s.step(Input::Unsubscribe { client: ClientId(99) });
    Ok(())
}

proptest! {
    #[test]
    fn every_client_knows_what_it_may_know_and_nothing_else(ops in ops(), small in any::<bool>()) {
        let limits = if small {
            Limits { processes_max: 3, flows_max: 3, ..Limits::default() }
        } else {
            Limits::default()
        };
        let mut s = Stage::new(limits);
        let home = |uid, path: &str| Home { uid, path: path.into() };
        s.step(Input::Homes(vec![home(ME, "/home/me"), home(1001, "/home/other")]));
        watch(&mut s, 3);
        for op in ops {
            let is_tick = matches!(op, Op::Tick { .. });
            play(&mut s, op);
            if is_tick {
                check_clients(&s)?;
            }
        }
        s.tick_after(2);
        check_clients(&s)?;
        check_leaks(&s.heard)?;
        check_others(&mut s)?;
    }
}
