//! Changes of the watchlist as stories: frozen, wished, written down, in force.

use sekhmet_common::{
    coverage::{Mode, SourceStatus},
    display::Text,
    watch::{ENTRIES_OF_USER_MAX, Entry, EntryDraft, EntryId, Owner, Severity},
};

use super::{
    files::{ME, entry, sight},
    *,
};
use crate::engine::input::{
    EntryChange, FrozenWatch, Keep, Packages, Ticket, WatchDeed, WatchError, WatchRequest, WatchResult,
    Watchlist,
};

fn draft(pattern: &str) -> EntryDraft {
    EntryDraft {
        pattern: pattern.into(),
        label: Text::default(),
        group: "mine".into(),
        severity: Severity::Low,
        expected: Vec::new(),
    }
}

fn add(pattern: &str, owner: Owner) -> WatchDeed {
    WatchDeed::Add { draft: draft(pattern), owner }
}

impl Stage {
    fn revision(&mut self, scope: Scope) -> (u64, Vec<Entry>) {
        self.step(Input::ListEntries { ticket: Ticket(99), scope });
        match self.other_effects.pop() {
            Some(Effect::Entries { ticket: Ticket(99), revision, entries }) => (revision, entries),
            other => panic!("{other:?}"),
        }
    }

    fn freeze_deed(&mut self, revision: u64, deed: WatchDeed) -> Result<FrozenWatch, WatchError> {
        let request = WatchRequest { revision, deed };
        self.step(Input::FreezeWatch { ticket: Ticket(1), request });
        match self.other_effects.pop() {
            Some(Effect::WatchFrozen { ticket: Ticket(1), result }) => {
                result.and_then(|frozen| frozen.problem.clone().map_or(Ok(frozen), Err))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Has a frozen change written down, or not.
    fn write(&mut self, ticket: u64, frozen: FrozenWatch, disk: Result<(), String>) -> WatchResult {
        self.step(Input::WishWatch { ticket: Ticket(ticket), frozen });
        if let Some(Effect::Keep(Keep::Watchlist { change, .. })) = self.other_effects.last() {
            let change = *change;
            self.step(Input::WatchlistSaved { change, result: disk });
        }
        match self.other_effects.pop() {
            Some(Effect::WatchAnswer { ticket: Ticket(t), result }) if t == ticket => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_deed(&mut self, deed: WatchDeed) -> WatchResult {
        let revision = self.revision(Scope::All).0;
        let frozen = self.freeze_deed(revision, deed)?;
        self.write(2, frozen, Ok(()))
    }
}

#[test]
fn an_entry_is_watched_once_it_is_written_down_until_it_is_removed() {
    let mut stage = Stage::watching();
    let all = stage.listen(Scope::All);
    stage.run(10, ME, "/usr/bin/cat");
    let (revision, before) = stage.revision(Scope::All);
    let frozen = stage.freeze_deed(revision, add("~/.config/demo/**", Owner::User(ME))).unwrap();
    assert_eq!(frozen.owner, Owner::User(ME));
    let failed = stage.write(1, frozen.clone(), Err("the disk is full".into()));
    assert_eq!(failed, Err(WatchError::Failed("the disk is full".into())));
    assert_eq!(stage.revision(Scope::All), (revision, before));
    stage.open(sight(10, "/home/me/.config/demo/a"));
    assert_eq!(stage.write(1, frozen, Ok(())), Ok(EntryId(10_001)));
    let named = stage.other_effects.iter().rev().find_map(|e| match e {
        Effect::WatchNames(names) => Some(names.iter().any(|n| n.name == "demo".into())),
        _ => None,
    });
    assert_eq!(named, Some(true));
    stage.open(sight(10, "/home/me/.config/demo/b"));
    stage.pass(3);
    let paths: Vec<String> = stage.accesses().iter().map(|a| a.path.shown()).collect();
    assert_eq!(paths, ["/home/me/.config/demo/b"]);
    assert_eq!(stage.do_deed(WatchDeed::Remove(EntryId(10_001))), Ok(EntryId(10_001)));
    stage.open(sight(10, "/home/me/.config/demo/c"));
    stage.pass(3);
    assert_eq!(stage.accesses().len(), 1);
    assert_eq!(
        stage.do_deed(add("~/x.key", Owner::User(ME))),
        Ok(EntryId(10_002)),
        "no number is used again"
    );
    stage.pass(1);
    assert_eq!(stage.mirror(all), stage.engine.mirror());
}

#[test]
fn whoever_has_not_seen_the_list_does_not_change_it() {
    let mut stage = Stage::watching();
    let revision = stage.revision(Scope::All).0;
    let one = stage.freeze_deed(revision, add("/a.key", Owner::System)).unwrap();
    let other = stage.freeze_deed(revision, add("/b.key", Owner::System)).unwrap();
    stage.step(Input::WishWatch { ticket: Ticket(1), frozen: one });
    let Some(Effect::Keep(Keep::Watchlist { change, .. })) = stage.other_effects.pop() else { panic!() };
    assert_eq!(stage.write(2, other.clone(), Ok(())), Err(WatchError::Changed), "one is under way");
    stage.step(Input::WatchlistSaved { change, result: Ok(()) });
    assert_eq!(stage.write(2, other, Ok(())), Err(WatchError::Changed));
    assert_eq!(stage.freeze_deed(revision, add("/c.key", Owner::System)), Err(WatchError::Changed));
    assert_eq!(stage.revision(Scope::All).0, revision + 1);
}

#[test]
fn entries_that_came_with_sekhmet_are_switched_and_not_changed() {
    let mut stage = Stage::watching();
    stage.run(10, ME, "/usr/bin/cat");
    let off = |enabled| EntryChange { enabled: Some(enabled), ..EntryChange::default() };
    assert!(stage.do_deed(WatchDeed::Set(EntryId(2), off(false))).is_ok());
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(3);
    assert!(stage.accesses().is_empty());
    assert!(stage.do_deed(WatchDeed::Set(EntryId(2), off(true))).is_ok());
    let expected = EntryChange { expected: Some(vec!["/usr/bin/c*".into()]), ..EntryChange::default() };
    assert!(stage.do_deed(WatchDeed::Set(EntryId(2), expected)).is_ok());
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(3);
    assert!(stage.accesses()[0].expected);
    let other = EntryChange { severity: Some(Severity::Low), ..EntryChange::default() };
    for deed in [WatchDeed::Remove(EntryId(2)), WatchDeed::Set(EntryId(2), other.clone())] {
        assert!(matches!(stage.do_deed(deed), Err(WatchError::Invalid(_))));
    }
    assert!(stage.do_deed(WatchDeed::Set(EntryId(10_000), other)).is_ok());
    assert_eq!(stage.do_deed(WatchDeed::Remove(EntryId(7))), Err(WatchError::UnknownId));
}

#[test]
fn what_cannot_be_watched_is_refused_with_its_place() {
    let mut stage = Stage::watching();
    let told = |stage: &mut Stage, deed| match stage.do_deed(deed) {
        Err(WatchError::Invalid(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(told(&mut stage, add("/a//b", Owner::System)).contains("at byte 3"));
    assert!(told(&mut stage, add("/etc/x", Owner::User(ME))).contains("~/"));
    assert!(told(&mut stage, add("**/*", Owner::System)).contains("every file"));
    let pattern = EntryChange { pattern: Some("/etc/x".into()), ..EntryChange::default() };
    assert!(told(&mut stage, WatchDeed::Set(EntryId(10_000), pattern)).contains("~/"));
}

#[test]
fn a_user_has_so_many_entries_and_sees_no_other_user_s() {
    let mut stage = Stage::watching();
    let mine = |n: usize| Entry { owner: Owner::User(ME), ..entry(0, &format!("~/k{n}"), Owner::System) };
    let entries = (0..ENTRIES_OF_USER_MAX)
        .map(|n| Entry { id: EntryId(10_000 + u32::try_from(n).unwrap()), ..mine(n) })
        .collect();
    stage.step(Input::WatchlistKept(Watchlist { revision: 9, next_id: 0, entries }));
    stage.other_effects.clear();
    assert!(matches!(stage.do_deed(add("~/more.key", Owner::User(ME))), Err(WatchError::TooMany(_))));
    assert!(stage.do_deed(add("~/more.key", Owner::User(1001))).is_ok());
    assert_eq!(stage.revision(Scope::Own(ME)).1.len(), ENTRIES_OF_USER_MAX);
    assert_eq!(stage.revision(Scope::Own(1001)).1.len(), 1);
}

/// A change of what is expected of an entry that came with Sekhmet.
fn expecting(readers: &[&str]) -> WatchDeed {
    let expected = Some(readers.iter().map(|&text| text.into()).collect());
    WatchDeed::Set(EntryId(2), EntryChange { expected, ..EntryChange::default() })
}

#[test]
fn programs_of_an_expected_package_are_expected_as_long_as_they_belong_to_it() {
    let mut stage = Stage::watching();
    assert!(stage.do_deed(expecting(&["package:passwd"])).is_ok());
    let has = |paths: &[&str]| {
        let paths = paths.iter().map(|&path| path.into()).collect();
        Input::Packages(Packages::Known([("passwd".into(), paths)].into()))
    };
    stage.run(10, 0, "/usr/bin/passwd");
    stage.run(11, 0, "/usr/bin/cat");
    let expected = |stage: &mut Stage, tgid| {
        stage.open(sight(tgid, "/etc/shadow"));
        stage.pass(12);
        stage.accesses().last().unwrap().expected
    };
    assert!(!expected(&mut stage, 10), "nobody has looked it up");
    // By the path from before `/bin` was a link.
    stage.step(has(&["/bin/passwd", "/usr/bin/chage"]));
    assert!(expected(&mut stage, 10) && !expected(&mut stage, 11));
    stage.step(has(&["/usr/bin/chage"]));
    assert!(!expected(&mut stage, 10));
    // In a container the same path is another program.
    stage.step(has(&["/usr/bin/passwd"]));
    let mut image = executed(12, 0, "/usr/bin/passwd");
    image.mnt_ns = 2;
    stage.observe([Observation::Executed { at: stage.now, image }]);
    assert!(expected(&mut stage, 10) && !expected(&mut stage, 12));
}

#[test]
fn where_packages_cannot_be_looked_up_that_is_the_answer() {
    let mut stage = Stage::watching();
    assert!(stage.do_deed(expecting(&["package:passwd", "/usr/bin/su"])).is_ok());
    stage.step(Input::Packages(Packages::Unavailable("no dpkg here".into())));
    let refused = Err(WatchError::Invalid("package:login: no dpkg here".into()));
    assert_eq!(stage.do_deed(expecting(&["package:passwd", "package:login"])), refused);
    assert!(stage.do_deed(expecting(&["package:passwd"])).is_ok(), "it was expected before");
    let draft = EntryDraft { expected: vec!["package:login".into()], ..draft("/etc/other") };
    assert_eq!(stage.do_deed(WatchDeed::Add { draft, owner: Owner::System }), refused);
    assert!(stage.do_deed(add("/etc/other", Owner::System)).is_ok());
}

/// That less is watched does not depend on a disk; that more is does.
#[test]
fn what_ends_a_watch_holds_also_if_it_cannot_be_written_down() {
    let mut stage = Stage::watching();
    stage.run(10, ME, "/usr/bin/cat");
    let full = || Err("the disk is full".to_owned());
    let switch = |enabled| {
        WatchDeed::Set(EntryId(2), EntryChange { enabled: Some(enabled), ..EntryChange::default() })
    };
    let try_to = |stage: &mut Stage, deed| {
        let revision = stage.revision(Scope::All).0;
        let frozen = stage.freeze_deed(revision, deed).unwrap();
        stage.write(7, frozen, full())
    };
    assert_eq!(try_to(&mut stage, switch(false)), Ok(EntryId(2)));
    assert_eq!(try_to(&mut stage, WatchDeed::Remove(EntryId(10_000))), Ok(EntryId(10_000)));
    stage.open(sight(10, "/etc/shadow"));
    stage.open(sight(10, "/home/me/secret"));
    stage.pass(3);
    assert!(stage.accesses().is_empty());
    let failed = Err(WatchError::Failed("the disk is full".into()));
    assert_eq!(try_to(&mut stage, switch(true)), failed);
    assert_eq!(try_to(&mut stage, add("/etc/more", Owner::System)), failed);
    stage.open(sight(10, "/etc/shadow"));
    stage.pass(3);
    assert!(stage.accesses().is_empty());
}

#[test]
fn that_a_change_will_not_last_is_told_at_once() {
    let mut stage = Stage::watching();
    let line = |status| sekhmet_common::coverage::Source {
        capability: "kept watchlist".into(),
        source: "".into(),
        status,
        cost: "".into(),
        reason: "".into(),
    };
    stage.step(Input::Keeping(line(SourceStatus::Best)));
    stage.step(Input::Coverage { mode: Mode::Full, sources: Vec::new() });
    stage.other_effects.clear();
    stage.step(Input::Keeping(line(SourceStatus::Reduced)));
    let told = stage.other_effects.iter().find_map(|effect| match effect {
        Effect::Status(report) => report.sources.last().map(|line| line.status),
        _ => None,
    });
    assert_eq!(told, Some(SourceStatus::Reduced));
}
