//! Accesses to watched files as stories: who, which entry, how often, told to whom.

use sekhmet_common::{
    coverage::RecordKind,
    file::{ACCESSES_MAX, Access, FileAccess, Outcome},
    watch::{Entry, EntryId, Owner, Severity},
};

use super::*;
use crate::engine::input::{FileSight, Home, Keep, ProgramKey, Watchlist};

pub(super) const AT: Timestamp = Timestamp(1_000_000_000_000);
pub(super) const ME: u32 = 1000;

pub(super) fn entry(id: u32, pattern: &str, owner: Owner) -> Entry {
    Entry {
        id: EntryId(id),
        pattern: pattern.into(),
        label: "keys".into(),
        group: "mine".into(),
        severity: Severity::High,
        expected: vec!["/usr/bin/ssh".into()],
        owner,
        enabled: true,
    }
}

pub(super) fn sight(tgid: u32, path: &str) -> FileSight {
    FileSight {
        at: AT,
        process: key(tgid),
        path: path.into(),
        is_resolved: true,
        requested: None,
        access: Access::Read,
        result: Outcome::OK,
        mount_ns: 1,
        file: None,
    }
}

impl Stage {
    /// An engine that watches keys in homes, and one thing of mine.
    pub(super) fn watching() -> Self {
        let mut stage = Self::new(Limits::default());
        let home = |uid, path: &str| Home { uid, path: path.into() };
        stage.step(Input::Homes(vec![home(ME, "/home/me"), home(1001, "/home/other")]));
        let entries = vec![
            entry(1, "~/.ssh/id_*", Owner::Default),
            entry(2, "/etc/shadow", Owner::Default),
            entry(10_000, "~/secret", Owner::User(ME)),
        ];
        stage.step(Input::WatchlistKept(Watchlist { revision: 5, next_id: 10_001, entries }));
        stage
    }

    pub(super) fn run(&mut self, tgid: u32, uid: u32, path: &str) {
        self.observe([Observation::Executed { at: AT, image: executed(tgid, uid, path) }]);
    }

    pub(super) fn open(&mut self, sight: FileSight) {
        self.observe([Observation::File(FileSight { at: self.now, ..sight })]);
    }

    pub(super) fn accesses(&self) -> Vec<FileAccess> {
        self.engine.mirror().accesses().cloned().collect()
    }

    /// Lets a moment pass, a quarter of a second at a time.
    pub(super) fn pass(&mut self, quarters: u32) {
        for _ in 0..quarters {
            self.now = self.now.plus_nanos(250_000_000);
            self.step(Input::Tick);
        }
    }
}

#[test]
fn names_are_looked_for_as_soon_as_there_is_a_list() {
    let stage = Stage::watching();
    let names = stage.other_effects.iter().find_map(|e| match e {
        Effect::WatchNames(names) => Some(names.iter().map(|n| n.name.shown()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(names.unwrap(), [".ssh", "secret", "shadow"]);
}

#[test]
fn an_access_is_told_within_a_second_with_what_is_known() {
    let mut stage = Stage::watching();
    let all = stage.listen(Scope::All);
    stage.run(10, ME, "/usr/bin/cat");
    let requested = Some("../.ssh/id_rsa".into());
    stage.open(FileSight { requested: requested.clone(), ..sight(10, "/home/me/.ssh/id_rsa") });
    stage.open(sight(10, "/home/me/.ssh/config"));
    stage.pass(3);
    let told = stage.accesses();
    let [access] = &told[..] else { panic!("{told:?}") };
    assert_eq!((access.entry, access.severity, access.count), (EntryId(1), Severity::High, 1));
    assert_eq!((access.first_time, access.expected, access.mount_ns), (true, false, None));
    assert_eq!(access.requested_path, requested);
    assert_eq!(stage.mirror(all), stage.engine.mirror());
}

#[test]
fn what_is_less_than_a_second_apart_is_one_line() {
    let mut stage = Stage::watching();
    let all = stage.listen(Scope::All);
    stage.run(10, ME, "/usr/bin/cat");
    for _ in 0..5 {
        stage.open(sight(10, "/home/me/.ssh/id_rsa"));
        stage.pass(1);
    }
    let denied = FileSight { result: Outcome(13), ..sight(10, "/home/me/.ssh/id_rsa") };
    stage.open(denied.clone());
    stage.open(denied);
    stage.pass(5);
    stage.open(sight(10, "/home/me/.ssh/id_rsa"));
    stage.pass(3);
    let told: Vec<(u64, u16, bool)> =
        stage.accesses().iter().map(|a| (a.count, a.result.0, a.first_time)).collect();
    assert_eq!(told, [(5, 0, true), (2, 13, false), (1, 0, false)]);
    assert_eq!(stage.mirror(all), stage.engine.mirror());
}

#[test]
fn an_access_may_overtake_its_process_and_its_program() {
    let mut stage = Stage::watching();
    stage.open(sight(10, "/home/me/.ssh/id_a"));
    stage.run(10, ME, "/usr/bin/ssh");
    stage.run(11, ME, "/usr/bin/bash");
    // What follows is the new program's, told before the program itself; what was before is the old one's.
    stage.open(sight(11, "/home/me/.ssh/id_b"));
    let later = stage.now.plus_nanos(1_000_000);
    stage.observe([
        Observation::File(FileSight { at: later.plus_nanos(1), ..sight(11, "/home/me/.ssh/id_c") }),
        Observation::Executed { at: later, image: executed(11, ME, "/usr/bin/ssh") },
    ]);
    stage.pass(4);
    let told: Vec<(String, bool)> = stage.accesses().iter().map(|a| (a.path.shown(), a.expected)).collect();
    assert!(told.contains(&("/home/me/.ssh/id_a".into(), true)), "{told:?}");
    assert!(told.contains(&("/home/me/.ssh/id_b".into(), false)), "{told:?}");
    assert!(told.contains(&("/home/me/.ssh/id_c".into(), true)), "{told:?}");
}

#[test]
fn a_process_that_nobody_tells_of_is_listed_for_its_access() {
    let mut stage = Stage::watching();
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(1);
    assert!(stage.accesses().is_empty() && stage.engine.mirror().processes().count() == 0);
    stage.pass(4);
    assert_eq!(stage.accesses().len(), 1);
}

#[test]
fn a_program_of_a_container_is_not_the_system_s() {
    let mut stage = Stage::watching();
    let image = ProcessImage { mnt_ns: 2, ..executed(10, ME, "/usr/bin/ssh") };
    stage.observe([Observation::Executed { at: AT, image }]);
    stage.open(FileSight { mount_ns: 2, ..sight(10, "/home/me/.ssh/id_rsa") });
    stage.pass(3);
    let access = &stage.accesses()[0];
    assert_eq!((access.expected, access.mount_ns), (false, Some(2)));
}

#[test]
fn a_watched_file_is_known_by_other_names() {
    let mut stage = Stage::watching();
    stage.run(10, ME, "/usr/bin/cat");
    let file = Some(ProgramKey { device: 1, inode: 77 });
    stage.open(FileSight { file, ..sight(10, "/tmp/hard") });
    stage.open(FileSight { file, ..sight(10, "/home/me/.ssh/id_rsa") });
    stage.open(FileSight { file, ..sight(10, "/tmp/link") });
    stage.open(FileSight { requested: Some("/home/me/.ssh/id_x".into()), ..sight(10, "/srv/keys/id_x") });
    stage.pass(3);
    let paths: Vec<String> = stage.accesses().iter().map(|a| a.path.shown()).collect();
    assert_eq!(paths, ["/home/me/.ssh/id_rsa", "/tmp/link", "/srv/keys/id_x"]);
}

#[test]
fn lists_are_bounded_and_what_leaves_was_told() {
    let mut stage = Stage::watching();
    let all = stage.listen(Scope::All);
    stage.heard.clear();
    for tgid in 10..60 {
        stage.run(tgid, ME, "/usr/bin/cat");
        for n in 0..300 {
            stage.open(sight(tgid, &format!("/home/me/.ssh/id_{n}")));
        }
    }
    stage.pass(4);
    assert_eq!(stage.accesses().len(), ACCESSES_MAX);
    let told: std::collections::BTreeSet<_> = stage
        .heard
        .iter()
        .filter_map(|(_, e)| if let Event::FileAccessed { access, .. } = e { Some(access.id) } else { None })
        .collect();
    assert_eq!(told.len(), 50 * 300, "each was told");
    assert_eq!(stage.mirror(all), stage.engine.mirror());
    let flood = (0..5000).map(|n| Observation::File(sight(9, &format!("/home/me/.ssh/id_{n}"))));
    stage.observe(flood);
    stage.pass(1);
    let lost =
        stage.heard.iter().any(|(_, e)| matches!(e, Event::Lost { kind: RecordKind::File, count: 904, .. }));
    assert!(lost, "what found no room is told as lost");
}

#[test]
fn users_see_their_own_accesses_and_their_own_entries() {
    let mut stage = Stage::watching();
    let (mine, theirs) = (stage.listen(Scope::Own(ME)), stage.listen(Scope::Own(1001)));
    stage.run(10, ME, "/usr/bin/cat");
    stage.run(11, 1001, "/usr/bin/cat");
    stage.run(12, 0, "/usr/bin/cat");
    for tgid in [10, 11, 12] {
        stage.open(sight(tgid, "/home/me/secret"));
        stage.open(sight(tgid, "/etc/shadow"));
    }
    stage.pass(3);
    assert_eq!(stage.accesses().len(), 6);
    let seen = |client| {
        let mirror: &Mirror = stage.mirror(client);
        (mirror.entries().count(), mirror.accesses().map(|a| a.path.shown()).collect::<Vec<_>>())
    };
    assert_eq!(seen(mine), (3, vec!["/home/me/secret".into(), "/etc/shadow".into()]));
    assert_eq!(seen(theirs), (2, vec!["/etc/shadow".into()]));
    for (client, scope) in [(mine, Scope::Own(ME)), (theirs, Scope::Own(1001))] {
        let mut fresh = Mirror::new();
        stage.engine.snapshot(scope, stage.now).iter().for_each(|e| fresh.apply(e));
        assert_eq!(&fresh, stage.mirror(client));
    }
}

#[test]
fn what_a_setuid_program_opened_stays_unseen_when_it_comes_back() {
    let mut stage = Stage::watching();
    let mine = stage.listen(Scope::Own(ME));
    stage.run(10, ME, "/usr/bin/su");
    stage.open(sight(10, "/home/me/.ssh/id_rsa"));
    stage.pass(3);
    let raised =
        ProcessImage { uids: Uids { effective: 0, ..Uids::all(ME) }, ..executed(10, ME, "/usr/bin/su") };
    stage.observe([Observation::Executed { at: stage.now, image: raised }]);
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(3);
    assert_eq!(stage.mirror(mine).accesses().count(), 0);
    stage.observe([Observation::Executed { at: stage.now, image: executed(10, ME, "/bin/sh") }]);
    stage.pass(3);
    let paths: Vec<String> = stage.mirror(mine).accesses().map(|a| a.path.shown()).collect();
    assert_eq!(paths, ["/home/me/.ssh/id_rsa"]);
}

#[test]
fn programs_are_written_down_and_remembered() {
    let mut stage = Stage::watching();
    stage.step(Input::SeenBefore(vec![("/usr/bin/cat".into(), EntryId(1))]));
    stage.run(10, ME, "/bin/cat");
    stage.open(sight(10, "/home/me/.ssh/id_rsa"));
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(50);
    let told: Vec<bool> = stage.accesses().iter().map(|a| a.first_time).collect();
    assert_eq!(told, [false, true]);
    let kept = stage.other_effects.iter().rev().find_map(|e| match e {
        Effect::Keep(Keep::Seen(seen)) => Some(seen.to_vec()),
        _ => None,
    });
    let cat = |id| ("/usr/bin/cat".into(), EntryId(id));
    assert_eq!(kept.unwrap(), [cat(1), cat(2)]);
}

#[test]
fn accesses_go_with_their_process_which_stays_for_what_nobody_expected() {
    let mut stage = Stage::watching();
    let all = stage.listen(Scope::All);
    for (tgid, program) in [(10, "/usr/bin/cat"), (11, "/usr/bin/ssh")] {
        stage.run(tgid, ME, program);
        stage.open(sight(tgid, "/etc/shadow"));
    }
    stage.observe([Observation::Flow(stream(1, 10, FlowPhase::Open, bytes(1, 1)))]);
    stage.pass(3);
    stage.observe([ended(stream(1, 10, FlowPhase::Open, bytes(1, 1)), FlowEnd::Released)]);
    for tgid in [10, 11] {
        stage.observe([Observation::Exited { at: stage.now, key: key(tgid), status: Some(0) }]);
    }
    stage.pass(1);
    assert_eq!(stage.accesses().len(), 2);
    (0..5).for_each(|_| stage.tick_after(61));
    let pids: Vec<u32> = stage.engine.mirror().processes().map(|p| p.pid).collect();
    assert_eq!((stage.accesses().len(), pids), (1, vec![10]));
    (0..12).for_each(|_| stage.tick_after(61));
    assert!(stage.accesses().is_empty() && stage.engine.mirror().processes().count() == 0);
    assert_eq!(stage.mirror(all), stage.engine.mirror());
}
