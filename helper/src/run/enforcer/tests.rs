//! What the enforcer promises: in order, whole or not at all.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Mutex,
};

use crossbeam_channel::bounded;
use sekhmet_common::{
    coverage::{SourceStatus, cost},
    rule::{Lifetime, Subject},
    time::Timestamp,
};

use super::*;
use crate::{
    engine::input::{ChangeId, ProcessKey},
    firewall::MemoryFirewall,
};

/// Writes down what it is told.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>, Arc<Mutex<Option<&'static str>>>);

impl Notes {
    fn note(&self, what: String) -> Result<(), String> {
        let fails = self.1.lock().unwrap().filter(|word| what.starts_with(word));
        self.0.lock().unwrap().push(what);
        fails.map_or(Ok(()), |word| Err(format!("{word} failed")))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn fail(&self, word: Option<&'static str>) {
        *self.1.lock().unwrap() = word;
    }
}

#[derive(Debug)]
struct FakeJudge {
    notes: Notes,
    rules: Vec<u32>,
    thing: Option<std::fs::File>,
}

impl Judge for FakeJudge {
    fn set_rule(&mut self, mark: Mark) -> Result<(), String> {
        self.rules.push(mark.rule());
        self.notes.note(format!("set {:#x}", mark.bits()))
    }

    fn clear_rule(&mut self, rule: RuleId) -> Result<(), String> {
        self.rules.retain(|&r| r != rule.0);
        self.notes.note(format!("clear {rule}"))
    }

    fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    fn bind_family(&mut self, roots: &[ProcessKey], rule: RuleId) -> Result<Vec<ProcessKey>, String> {
        let ids: Vec<u32> = roots.iter().map(|k| k.tgid).collect();
        self.notes.note(format!("family {ids:?} {rule}"))?;
        Ok(roots.to_vec())
    }

    fn bind_each(&mut self, processes: &[ProcessKey], rule: RuleId) -> Result<(), String> {
        let ids: Vec<u32> = processes.iter().map(|k| k.tgid).collect();
        self.notes.note(format!("each {ids:?} {rule}"))
    }

    fn lasting(&self) -> Vec<(&'static str, BorrowedFd<'_>)> {
        self.thing.as_ref().map(|thing| ("thing", thing.as_fd())).into_iter().collect()
    }

    fn bind_program(&mut self, program: ProgramKey, rule: RuleId) -> Result<(), String> {
        self.notes.note(format!("program {} {rule}", program.inode))
    }

    fn running(&self, programs: &[ProgramKey]) -> Result<Vec<ProcessKey>, String> {
        Ok(programs.iter().map(|_| ProcessKey { tgid: 99, start_ns: 1 }).collect())
    }

    fn file_at(&self, _path: &Text) -> Option<ProgramKey> {
        Some(ProgramKey { device: 1, inode: 55 })
    }

    fn settle(&mut self) -> Result<(), String> {
        self.notes.note("settle".into())
    }

    fn follow(&mut self, processes: &[ProcessKey]) -> Result<(), String> {
        let ids: Vec<u32> = processes.iter().map(|k| k.tgid).collect();
        self.notes.note(format!("follow {ids:?}"))
    }

    fn patrol(&mut self) -> Result<(), String> {
        self.notes.note("patrol".into())
    }

    fn sweep(&mut self) -> Result<(), String> {
        self.notes.note("sweep".into())
    }

    fn set_firewall(&mut self, acts: bool) -> Result<(), String> {
        self.notes.note(format!("firewall {acts}"))
    }
}

struct Scene {
    enforcer: Enforcer,
    notes: Notes,
    firewall: MemoryFirewall,
    dir: tempfile::TempDir,
}

fn scene() -> Scene {
    let (notes, firewall, dir) = (Notes::default(), MemoryFirewall::new(), tempfile::tempdir().unwrap());
    let enforcer = enforcer(&notes, Some(&firewall), &dir);
    Scene { enforcer, notes, firewall, dir }
}

fn enforcer(notes: &Notes, firewall: Option<&MemoryFirewall>, dir: &tempfile::TempDir) -> Enforcer {
    let judge = FakeJudge { notes: notes.clone(), rules: Vec::new(), thing: tempfile::tempfile().ok() };
    let firewall = firewall.map(|f| Box::new(f.clone()) as Box<dyn Firewall>);
    Enforcer::new(Box::new(judge), firewall, Some(store(dir)), bounded(16).0)
}

fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), "boot".into()).unwrap()
}

fn rule(id: u32) -> KeptRule {
    KeptRule {
        rule: Rule {
            id: RuleId(id),
            subject: Subject::Program { exe: "/usr/bin/curl".into() },
            ways: Ways::Outbound,
            answer: Answer::Drop,
            extent: Extent::Everywhere,
            lifetime: Lifetime::Always,
            added_at: Timestamp(0),
            expires_at: None,
            added_by: 0,
            added_by_user: None,
            hits: 0,
        },
        process: None,
        programs: vec![ProgramKey { device: 1, inode: 7 }],
        by_path: true,
    }
}

fn change(step: ChangeStep, keep: &[KeptRule]) -> Change {
    Change { id: ChangeId(1), step, keep: Some(keep.to_vec().into()) }
}

fn add(kept: &KeptRule) -> Change {
    let binding = Binding {
        rule: kept.rule.clone(),
        processes: vec![ProcessKey { tgid: 10, start_ns: 1 }],
        programs: kept.programs.clone(),
        path: path_of(kept),
    };
    change(ChangeStep::Add(binding), std::slice::from_ref(kept))
}

fn on_disk(dir: &tempfile::TempDir) -> Vec<u32> {
    store(dir).load(Timestamp(1)).rules.iter().map(|k| k.rule.id.0).collect()
}

#[test]
fn a_rule_comes_in_order_and_leaves_without_a_trace() {
    let mut scene = scene();
    let applied = scene.enforcer.apply(&add(&rule(5))).unwrap();
    assert_eq!(
        scene.notes.take(),
        ["set 0x5ee00005", "program 7 5", "program 55 5", "family [10, 99, 99] 5", "settle", "firewall true"]
    );
    assert_eq!(applied.programs.iter().map(|p| p.inode).collect::<Vec<_>>(), [7, 55]);
    assert_eq!((on_disk(&scene.dir), scene.firewall.installs()), (vec![5], 1));
    scene.enforcer.apply(&add(&rule(6))).unwrap();
    scene.enforcer.apply(&change(ChangeStep::Remove(vec![RuleId(5), RuleId(6)]), &[])).unwrap();
    assert_eq!(scene.firewall.installs(), 1);
    assert!(matches!(scene.firewall.clone().check(), Ok(State::Missing)), "no rule, no table");
    assert!(on_disk(&scene.dir).is_empty());
}

#[test]
fn a_change_that_fails_half_way_is_undone_on_the_disk_too() {
    for word in ["set", "program", "family", "settle"] {
        let mut scene = scene();
        scene.notes.fail(Some(word));
        assert_eq!(scene.enforcer.apply(&add(&rule(5))), Err(format!("{word} failed")));
        assert!(scene.notes.take().contains(&"clear 5".to_owned()), "{word}");
        assert!(on_disk(&scene.dir).is_empty(), "{word}");
        scene.notes.fail(None);
        scene.enforcer.apply(&add(&rule(5))).unwrap();
    }
}

#[test]
fn what_cannot_be_kept_is_not_enforced() {
    let mut scene = scene();
    // A folder in the new file's place: as good as a full disk, also for root.
    std::fs::create_dir(scene.dir.path().join("rules.toml.new")).unwrap();
    assert!(scene.enforcer.apply(&add(&rule(5))).is_err());
    assert!(scene.notes.take().is_empty());
    assert_eq!(scene.firewall.installs(), 0);
}

#[test]
fn what_cannot_be_written_ends_all_the_same_and_is_made_up_for() {
    let mut scene = scene();
    assert_eq!(scene.enforcer.keeping_line().status, SourceStatus::Best);
    scene.enforcer.apply(&add(&rule(5))).unwrap();
    assert_eq!(scene.enforcer.keeping_news(), None);
    let in_the_way = scene.dir.path().join("rules.toml.new");
    std::fs::create_dir(&in_the_way).unwrap();
    scene.notes.take();
    scene.enforcer.apply(&change(ChangeStep::Remove(vec![RuleId(5)]), &[])).unwrap();
    assert!(scene.notes.take().contains(&"clear 5".to_owned()));
    assert_eq!(on_disk(&scene.dir), [5], "as it was");
    let said = scene.enforcer.keeping_news().unwrap();
    assert_eq!((said.status, said.reason.is_empty()), (SourceStatus::Reduced, false));
    assert_eq!(said.cost, cost::UNBLOCKED_UNTIL_RESTART.into());
    scene.enforcer.look_after();
    assert_eq!(scene.enforcer.keeping_news(), None, "nothing new");
    std::fs::remove_dir(&in_the_way).unwrap();
    scene.enforcer.look_after();
    assert!(on_disk(&scene.dir).is_empty());
    assert_eq!(scene.enforcer.keeping_news().map(|line| line.status), Some(SourceStatus::Best));
}

/// Whoever is told that a block has ended asks next whether it comes back.
#[test]
fn that_it_would_not_outlive_a_restart_is_told_before_that_it_is_done() {
    let mut scene = scene();
    scene.enforcer.apply(&add(&rule(5))).unwrap();
    scene.enforcer.keeping_line();
    std::fs::create_dir(scene.dir.path().join("rules.toml.new")).unwrap();
    let (orders, changes) = bounded(4);
    let (done, answers) = bounded(4);
    let thread = start(scene.enforcer, changes, done).unwrap();
    orders.send(change(ChangeStep::Remove(vec![RuleId(5)]), &[])).unwrap();
    let Input::Keeping(line) = answers.recv().unwrap() else { panic!("the line comes first") };
    assert_eq!(line.cost, cost::UNBLOCKED_UNTIL_RESTART.into());
    assert!(matches!(answers.recv().unwrap(), Input::Applied { result: Ok(_), .. }));
    drop(orders);
    thread.join().unwrap();
}

#[test]
fn without_a_firewall_the_programs_refuse_alone() {
    let (notes, dir) = (Notes::default(), tempfile::tempdir().unwrap());
    let mut alone = enforcer(&notes, None, &dir);
    alone.apply(&add(&rule(5))).unwrap();
    assert!(notes.take().contains(&"firewall false".to_owned()));
    let mut scene = scene();
    scene.firewall.refuse(Some("no nf_tables"));
    scene.enforcer.apply(&add(&rule(5))).unwrap();
    assert!(scene.notes.take().contains(&"firewall false".to_owned()));
}

#[test]
fn kept_rules_come_back_with_the_file_that_is_there_now() {
    let mut scene = scene();
    let kept = scene.enforcer.restore(vec![rule(5)], &[]).rules;
    assert_eq!(kept[0].programs.iter().map(|p| p.inode).collect::<Vec<_>>(), [7, 55]);
    scene.notes.fail(Some("set"));
    assert!(scene.enforcer.restore(vec![rule(6)], &[]).rules.is_empty());
    assert!(scene.notes.take().contains(&"clear 6".to_owned()));
}

/// A family that has one more child each time it is looked at, up to three.
struct Growing(Mutex<u32>);

impl Bound for Growing {
    fn list(&self) -> Result<Vec<(ProcessKey, RuleId)>, String> {
        let mut size = self.0.lock().unwrap();
        *size = (*size + 1).min(3);
        let child = |n| ProcessKey { tgid: 100 + n, start_ns: 1 };
        // One is bound to a rule that has ended meanwhile as well.
        Ok((0..*size).flat_map(|n| [(child(n), RuleId(5)), (child(n), RuleId(9))]).collect())
    }
}

#[test]
fn whoever_was_bound_is_bound_again_before_open_sockets_follow() {
    let mut scene = scene();
    let restored = scene.enforcer.restore(vec![rule(5)], &[Box::new(Growing(Mutex::default()))]);
    let notes = scene.notes.take();
    assert_eq!(notes[5..], ["each [100] 5", "each [101] 5", "each [102] 5", "settle", "sweep"], "{notes:?}");
    let mut bound: Vec<_> = restored.bound.iter().map(|(process, rule)| (process.tgid, rule.0)).collect();
    bound.sort_unstable();
    assert_eq!(bound, [(100, 5), (101, 5), (102, 5)]);
}

/// What the service manager was told, in short.
fn leaving(enforcer: Enforcer, has_table: bool) -> (Enforcer, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let tell: crate::run::keeping::Tell = Box::new(move |state, fds| {
        told.lock().unwrap().push(format!("{} {} {}", state[0], state[1], fds.len()));
        Ok(())
    });
    let keeping = Keeping::new(tell, &crate::run::keeping::Left::default(), has_table);
    (enforcer.leaving_behind(keeping, has_table), said)
}

#[test]
fn the_manager_keeps_blocks_while_there_are_any() {
    let (notes, firewall, dir) = (Notes::default(), MemoryFirewall::new(), tempfile::tempdir().unwrap());
    let (mut enforcer, said) = leaving(enforcer(&notes, Some(&firewall), &dir), false);
    let take = || std::mem::take(&mut *said.lock().unwrap());
    enforcer.look_after();
    assert!(take().is_empty());
    enforcer.apply(&add(&rule(5))).unwrap();
    assert_eq!(take()[..2], ["FDSTOREREMOVE=1 FDNAME=blocks-0 0", "FDSTORE=1 FDNAME=blocks-0 1"]);
    enforcer.apply(&add(&rule(6))).unwrap();
    enforcer.apply(&change(ChangeStep::Remove(vec![RuleId(5)]), &[])).unwrap();
    enforcer.look_after();
    assert!(take().is_empty(), "it is kept already");
    enforcer.apply(&change(ChangeStep::Remove(vec![RuleId(6)]), &[])).unwrap();
    assert_eq!(take().iter().filter(|said| said.starts_with("FDSTOREREMOVE=1")).count(), 5);
    enforcer.look_after();
    assert!(take().is_empty());
}

#[test]
fn a_table_that_was_left_without_rules_is_removed() {
    let (notes, firewall, dir) = (Notes::default(), MemoryFirewall::new(), tempfile::tempdir().unwrap());
    firewall.clone().install().unwrap();
    let (mut enforcer, _said) = leaving(enforcer(&notes, Some(&firewall), &dir), true);
    enforcer.restore(Vec::new(), &[]);
    assert!(matches!(firewall.clone().check(), Ok(State::Missing)));
}

#[test]
fn a_table_that_was_left_is_not_made_again() {
    let (notes, firewall, dir) = (Notes::default(), MemoryFirewall::new(), tempfile::tempdir().unwrap());
    firewall.clone().install().unwrap();
    let (mut enforcer, _said) = leaving(enforcer(&notes, Some(&firewall), &dir), true);
    enforcer.restore(vec![rule(5)], &[]);
    assert_eq!((firewall.installs(), notes.take()[0].as_str()), (1, "firewall true"));
}

#[test]
fn sockets_that_change_hands_are_seen_to_also_while_changes_come_in() {
    let mut scene = scene();
    scene.enforcer.apply(&add(&rule(5))).unwrap();
    scene.notes.take();
    let notes = scene.notes.clone();
    let (orders, changes) = bounded(4);
    let (done, answers) = bounded(4);
    let thread = start(scene.enforcer, changes, done).unwrap();
    let until = Instant::now() + 3 * LOOK_EVERY;
    let mut found = Vec::new();
    while !found.contains(&"patrol".to_owned()) && Instant::now() < until {
        let step = ChangeStep::Follow(vec![ProcessKey { tgid: 12, start_ns: 1 }]);
        orders.send(Change { id: ChangeId(2), step, keep: None }).unwrap();
        assert!(matches!(answers.recv().unwrap(), Input::Applied { result: Ok(_), .. }));
        found.extend(notes.take());
        thread::sleep(LOOK_EVERY / 20);
    }
    drop(orders);
    thread.join().unwrap();
    assert!(found.contains(&"follow [12]".to_owned()) && found.contains(&"patrol".to_owned()), "{found:?}");
}

#[test]
fn what_the_firewall_refused_while_there_was_no_helper_counts() {
    let (notes, firewall, dir) = (Notes::default(), MemoryFirewall::new(), tempfile::tempdir().unwrap());
    firewall.clone().install().unwrap();
    let refused = firewall::Count { packets: 42, bytes: 4200 };
    firewall.count(firewall::Counters { by_rule: [(5, refused)].into(), ..Default::default() });
    let (mut adopting, _said) = leaving(enforcer(&notes, Some(&firewall), &dir), true);
    let hits = |restored: Restored| restored.rules.iter().map(|kept| kept.rule.hits).collect::<Vec<_>>();
    assert_eq!(hits(adopting.restore(vec![rule(5), rule(6)], &[])), [42, 0]);
    // A table of its own begins at nothing, whatever is in one that lies about.
    let (mut fresh, _said) = leaving(enforcer(&notes, Some(&firewall), &dir), false);
    assert_eq!(hits(fresh.restore(vec![rule(5)], &[])), [0]);
}
