//! Rules as stories: wished, enforced, followed over fork, exec and exit, over.

mod kept;

use sekhmet_common::{
    coverage::{Mode, Source, SourceStatus},
    flow::{EndReason, FlowState},
    process::ProcessId,
    rule::{Draft, Lifetime, RuleId, Wanted},
};

use super::{refusals::attempt, *};
use crate::engine::input::{
    Applied, Change, ChangeStep, FreezeResult, KeptRule, ProgramKey, Request, Ticket, Wish, WishError,
    WishResult,
};

const CURL: ProgramKey = ProgramKey { device: 1, inode: 7 };
const NEWER_CURL: ProgramKey = ProgramKey { device: 1, inode: 8 };

fn child(tgid: u32, parent: u32) -> ProcessImage {
    ProcessImage { parent: Some(key(parent)), ..image(tgid, 1000) }
}

fn runs(tgid: u32, path: &str, program: ProgramKey) -> Observation {
    let image = ProcessImage { program: Some(program), ..executed(tgid, 1000, path) };
    Observation::Executed { at: Timestamp(1_000_000_000_000), image }
}

pub(super) fn forked(tgid: u32, parent: u32) -> Observation {
    Observation::Forked { at: Timestamp(1_000_000_000_000), image: child(tgid, parent) }
}

fn exited(tgid: u32) -> Observation {
    Observation::Exited { at: Timestamp(1_000_000_000_000), key: key(tgid), status: Some(0) }
}

impl Stage {
    pub(super) fn enforcing() -> Self {
        let mut stage = Self::new(Limits::default());
        stage.step(Input::CanEnforce(true));
        stage
    }

    pub(super) fn id(&self, tgid: u32) -> ProcessId {
        self.process(key(tgid)).id
    }

    pub(super) fn rules_of(&self, tgid: u32) -> Vec<u32> {
        self.engine.mirror().rules_of(self.id(tgid)).iter().map(|id| id.0).collect()
    }

    /// Asks what a request means, and has it done at once.
    pub(super) fn ask(&mut self, ticket: u64, request: Request, by: u32) {
        match self.freeze(ticket, request) {
            Ok(frozen) => {
                self.step(Input::Wish { ticket: Ticket(ticket), wish: Wish { deed: frozen.deed, by } });
            }
            Err(error) => {
                self.other_effects.push(Effect::Answer { ticket: Ticket(ticket), result: Err(error) });
            }
        }
    }

    pub(super) fn freeze(&mut self, ticket: u64, request: Request) -> FreezeResult {
        self.step(Input::Freeze { ticket: Ticket(ticket), request });
        match self.other_effects.pop() {
            Some(Effect::Frozen { ticket: t, result }) if t.0 == ticket => result,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn block(&mut self, ticket: u64, wanted: Wanted, lifetime: Lifetime) {
        self.ask(ticket, Request::Add(Draft::new(wanted, lifetime)), 1000);
    }

    /// The changes that were ordered since the last time.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let (changes, others) =
            std::mem::take(&mut self.other_effects).into_iter().partition(|e| matches!(e, Effect::Change(_)));
        self.other_effects = others;
        let open = |effect| match effect {
            Effect::Change(change) => change,
            other => panic!("{other:?}"),
        };
        Vec::into_iter(changes).map(open).collect()
    }

    /// The edges do what was ordered.
    pub(super) fn obey(&mut self) -> Vec<Change> {
        let changes = self.changes();
        for change in &changes {
            self.step(Input::Applied { id: change.id, result: Ok(Applied::default()) });
        }
        changes
    }

    pub(super) fn answer(&mut self, ticket: u64) -> WishResult {
        let is_it = |e: &Effect| matches!(e, Effect::Answer { ticket: t, .. } if t.0 == ticket);
        let at = self.other_effects.iter().position(is_it).expect("an answer");
        match self.other_effects.remove(at) {
            Effect::Answer { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rule_is_told_when_it_is_enforced_and_not_before() {
    let mut stage = Stage::enforcing();
    let all = stage.listen(Scope::All);
    stage.observe([Observation::Seen(image(10, 1000)), forked(11, 10)]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    let [change] = &stage.changes()[..] else { panic!("one change") };
    let ChangeStep::Add(binding) = &change.step else { panic!("{change:?}") };
    assert_eq!(binding.processes, [key(10), key(11)], "parents come first");
    assert_eq!(change.keep.as_ref().map(|k| k.len()), Some(1));
    stage.tick_after(1);
    assert_eq!(stage.mirror(all).rules().count(), 0);
    // A child that was forked while the edges worked.
    stage.observe([forked(12, 11)]);
    stage.step(Input::Applied {
        id: change.id,
        result: Ok(Applied { bound: vec![key(12)], programs: vec![] }),
    });
    assert_eq!(stage.answer(1), Ok(vec![RuleId(1)]));
    stage.tick_after(1);
    let mirror = stage.mirror(all);
    assert_eq!(mirror.rules().map(|r| r.id).collect::<Vec<_>>(), [RuleId(1)]);
    assert_eq!(mirror.blocked().count(), 3);
}

#[test]
fn what_the_edges_could_not_do_leaves_nothing_behind() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    let id = stage.changes()[0].id;
    stage.step(Input::Applied { id, result: Err("the disk is full".into()) });
    assert_eq!(stage.answer(1), Err(WishError::Failed("the disk is full".into())));
    assert_eq!(stage.engine.mirror().rules().count(), 0);
    assert!(stage.rules_of(10).is_empty());
}

#[test]
fn children_inherit_and_the_rule_ends_with_the_last_of_them() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    stage.obey();
    stage.observe([forked(11, 10), exited(10)]);
    assert_eq!(stage.rules_of(11), [1]);
    assert!(stage.changes().is_empty(), "a child still runs");
    stage.observe([runs(11, "/usr/bin/curl", CURL)]);
    assert_eq!(stage.rules_of(11), [1], "another program does not help");
    stage.observe([exited(11)]);
    let changes = stage.obey();
    assert!(matches!(&changes[..], [Change { step: ChangeStep::Remove(ids), .. }] if ids[..] == [RuleId(1)]));
    assert_eq!(stage.engine.mirror().rules().count(), 0);
}

#[test]
fn a_program_is_known_by_its_file_and_found_again_by_its_path() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), runs(10, "/usr/bin/curl", CURL)]);
    stage.block(1, Wanted::ProgramOf(stage.id(10)), Lifetime::Always);
    let ChangeStep::Add(binding) = &stage.obey()[0].step else { panic!() };
    assert_eq!(binding.programs, [CURL]);
    // The same file under another name, and another file under the same path in a container.
    let elsewhere = ProcessImage { mnt_ns: 2, ..executed(12, 1000, "/usr/bin/curl") };
    stage.observe([
        Observation::Seen(image(11, 1000)),
        runs(11, "/tmp/not-curl", CURL),
        Observation::Seen(ProcessImage { mnt_ns: 2, ..image(12, 1000) }),
        Observation::Executed {
            at: stage.now,
            image: ProcessImage { program: Some(NEWER_CURL), ..elsewhere },
        },
    ]);
    assert_eq!((stage.rules_of(11), stage.rules_of(12)), (vec![1], vec![]));
    // An update put another file there.
    stage.observe([Observation::Seen(image(13, 1000)), runs(13, "/usr/bin/curl", NEWER_CURL)]);
    assert!(stage.rules_of(13).is_empty(), "execve's path may be a link");
    let question = stage.questions.iter().rfind(|q| q.id == stage.id(13)).cloned().unwrap();
    let identity = crate::engine::input::Identity { exe: Some("/usr/bin/curl".into()), ..Default::default() };
    stage.step(Input::Identified { id: question.id, generation: question.generation, identity });
    let mut changes = stage.obey();
    changes.retain(|change| !matches!(change.step, ChangeStep::Follow(_)));
    let ChangeStep::Extend(binding) = &changes[0].step else { panic!("{changes:?}") };
    assert_eq!((&binding.programs[..], &binding.processes[..]), (&[NEWER_CURL][..], &[key(13)][..]));
    assert!(changes[0].keep.is_some());
    assert_eq!(stage.rules_of(13), [1]);
    stage.observe([exited(10), exited(11), exited(12), exited(13)]);
    assert!(stage.changes().is_empty(), "always means always");
}

#[test]
fn time_ends_a_rule_and_what_cannot_be_removed_is_tried_again() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::Seconds(60));
    stage.obey();
    stage.tick_after(59);
    assert!(stage.changes().is_empty());
    stage.tick_after(1);
    let id = stage.changes()[0].id;
    stage.step(Input::Applied { id, result: Err("busy".into()) });
    assert_eq!(stage.rules_of(10), [1]);
    stage.tick_after(2);
    stage.obey();
    assert!(stage.rules_of(10).is_empty());
    assert_eq!(stage.engine.mirror().rules().count(), 0);
}

#[test]
fn wishes_that_cannot_be_are_refused_with_a_reason() {
    let mut stage = Stage::new(Limits::default());
    stage.observe([Observation::Seen(image(10, 1000)), Observation::Seen(image(1, 0))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    assert!(matches!(stage.answer(1), Err(WishError::Unavailable(_))));
    stage.step(Input::CanEnforce(true));
    for (ticket, wanted, lifetime) in [
        (2, Wanted::Process(ProcessId(99)), Lifetime::UntilExit),
        (3, Wanted::Process(stage.id(10)), Lifetime::Always),
        (4, Wanted::Process(stage.id(1)), Lifetime::UntilExit),
        (5, Wanted::Path("relative".into()), Lifetime::Always),
        (6, Wanted::Path("/usr/bin/nobody-runs-this".into()), Lifetime::UntilExit),
        (7, Wanted::ProgramOf(stage.id(10)), Lifetime::Always),
    ] {
        stage.block(ticket, wanted, lifetime);
        assert!(stage.answer(ticket).is_err(), "{ticket}");
    }
    stage.ask(8, Request::Remove(RuleId(1)), 0);
    assert!(matches!(stage.answer(8), Err(WishError::UnknownId(_))));
    stage.ask(9, Request::Release, 0);
    assert_eq!(stage.answer(9), Ok(vec![]));
    assert!(stage.changes().is_empty());
}

#[test]
fn release_ends_every_rule_at_once() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), Observation::Seen(image(11, 1000))]);
    for tgid in [10, 11] {
        stage.block(u64::from(tgid), Wanted::Process(stage.id(tgid)), Lifetime::UntilExit);
    }
    stage.block(3, Wanted::Path("/usr/bin/curl".into()), Lifetime::Always);
    stage.obey();
    stage.ask(4, Request::Release, 0);
    assert_eq!(stage.obey().len(), 1, "one change, whole or not at all");
    assert_eq!(stage.answer(4), Ok(vec![RuleId(1), RuleId(2), RuleId(3)]));
    assert_eq!(stage.engine.mirror().blocked().count(), 0);
}

#[test]
fn a_connection_that_a_rule_cut_says_so() {
    let mut stage = Stage::enforcing();
    stage.observe([
        Observation::Seen(image(10, 1000)),
        Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(5, 5))),
    ]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    // The connection is destroyed before the edges answer.
    let end = FlowEnd::Tcp { from: 1, error: 103 };
    stage.observe([ended(stream(1, 10, FlowPhase::Open, bytes(5, 5)), end)]);
    let flow = stage.only_flow();
    assert_eq!((flow.state, flow.end_reason), (FlowState::Closed, Some(EndReason::Blocked)));
}

#[test]
fn a_user_sees_the_rules_that_concern_his_programs_and_no_others() {
    let mut stage = Stage::enforcing();
    let (mine, theirs) = (stage.listen(Scope::Own(1000)), stage.listen(Scope::Own(1001)));
    stage.observe([Observation::Seen(image(10, 1000)), Observation::Seen(image(11, 0))]);
    stage.block(1, Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    let process = Draft::new(Wanted::Process(stage.id(11)), Lifetime::UntilExit);
    stage.ask(2, Request::Add(process), 0);
    let program = Draft::new(Wanted::Path("/usr/bin/x".into()), Lifetime::Always);
    stage.ask(3, Request::Add(program), 0);
    stage.obey();
    stage.observe([attempt(1, 10, 443, 1), attempt(2, 11, 443, 1)]);
    stage.tick_after(1);
    let seen = |client| stage.mirror(client).rules().map(|r| r.id.0).collect::<Vec<_>>();
    assert_eq!((seen(mine), seen(theirs)), (vec![1, 3], vec![3]));
    assert_eq!(stage.mirror(mine).refusals().count(), 1);
    assert_eq!((stage.mirror(theirs).refusals().count(), stage.mirror(theirs).blocked().count()), (0, 0));
    // The same as a snapshot.
    let (now, mut later) = (stage.now, Mirror::new());
    stage.engine.snapshot(Scope::Own(1000), now).iter().for_each(|e| later.apply(e));
    assert_eq!(later.rules().collect::<Vec<_>>(), stage.mirror(mine).rules().collect::<Vec<_>>());
    assert_eq!(later.refusals().count(), 1);
}

#[test]
fn what_was_asked_about_is_what_is_done() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), runs(10, "/usr/bin/curl", CURL)]);
    let draft = Draft::new(Wanted::ProgramOf(stage.id(10)), Lifetime::Seconds(3600));
    let frozen = stage.freeze(1, Request::Add(draft)).unwrap();
    assert_eq!(frozen.target, "every run of /usr/bin/curl and what it starts");
    assert_eq!(frozen.duration, "for 1 hour");
    // While a person reads the question the process becomes another program.
    stage.observe([runs(10, "/usr/sbin/sshd", NEWER_CURL)]);
    stage.step(Input::Wish { ticket: Ticket(1), wish: Wish { deed: frozen.deed, by: 1000 } });
    let ChangeStep::Add(binding) = &stage.obey()[0].step else { panic!() };
    assert_eq!((&binding.programs[..], &binding.processes[..]), (&[CURL][..], &[][..]));
    let shown = stage.engine.mirror().rules().map(|r| r.sentence()).collect::<Vec<_>>();
    assert_eq!(shown, ["Block every run of /usr/bin/curl and what it starts for 1 hour"]);
    // A rule that ended meanwhile cannot be removed; a process that ended cannot be blocked.
    let remove = stage.freeze(2, Request::Remove(RuleId(1))).unwrap();
    stage.ask(3, Request::Release, 0);
    stage.obey();
    stage.step(Input::Wish { ticket: Ticket(2), wish: Wish { deed: remove.deed, by: 0 } });
    assert!(matches!(stage.answer(2), Err(WishError::UnknownId(_))));
    let process = Draft::new(Wanted::Process(stage.id(10)), Lifetime::UntilExit);
    let frozen = stage.freeze(4, Request::Add(process)).unwrap();
    stage.observe([exited(10)]);
    stage.step(Input::Wish { ticket: Ticket(4), wish: Wish { deed: frozen.deed, by: 0 } });
    assert!(matches!(stage.answer(4), Err(WishError::UnknownId(_))));
}

#[test]
fn the_list_of_rules_is_cut_to_what_may_be_seen() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(11, 0))]);
    stage.ask(1, Request::Add(Draft::new(Wanted::Process(stage.id(11)), Lifetime::UntilExit)), 0);
    stage.obey();
    for (scope, count) in [(Scope::All, 1), (Scope::Own(0), 1), (Scope::Own(1000), 0)] {
        stage.step(Input::ListRules { ticket: Ticket(7), scope });
        let Some(Effect::Rules { rules, .. }) = stage.other_effects.pop() else { panic!() };
        assert_eq!(rules.len(), count, "{scope:?}");
    }
}

#[test]
fn open_sockets_follow_who_executes_a_bound_program_one_order_at_a_time() {
    let mut stage = Stage::enforcing();
    stage.observe([Observation::Seen(image(10, 1000)), runs(10, "/usr/bin/curl", CURL)]);
    stage.block(1, Wanted::ProgramOf(stage.id(10)), Lifetime::UntilRestart);
    assert!(matches!(stage.obey()[0].step, ChangeStep::Add(_)));
    let followed = |changes: &[Change]| -> Vec<Vec<u32>> {
        let keys = |change: &Change| match &change.step {
            ChangeStep::Follow(keys) => keys.iter().map(|key| key.tgid).collect(),
            other => panic!("{other:?}"),
        };
        changes.iter().map(keys).collect()
    };
    stage.observe([Observation::Seen(image(20, 1000)), runs(20, "/usr/bin/curl", CURL)]);
    let first = stage.changes();
    assert_eq!(followed(&first), [[20]], "{first:?}");
    assert!(first[0].keep.is_none(), "nothing new to be kept");
    // A burst, and one that the rule binds already through its parent.
    stage.observe([Observation::Seen(image(21, 1000)), runs(21, "/usr/bin/curl", CURL)]);
    stage.observe([Observation::Seen(image(22, 1000)), runs(22, "/usr/bin/curl", CURL)]);
    stage.observe([forked(23, 22), runs(23, "/usr/bin/curl", CURL)]);
    assert!(stage.changes().is_empty(), "one is under way");
    stage.step(Input::Applied { id: first[0].id, result: Err("no iterator".into()) });
    assert_eq!(followed(&stage.obey()), [[21, 22]]);
    assert!(stage.changes().is_empty());
}
