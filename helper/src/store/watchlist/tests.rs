//! What is promised of the watchlist on disk: it comes back, damage does not spread, a newer Sekhmet's defaults join.

use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;
use sekhmet_common::watch::{EntryId, Owner, Severity};

use super::*;
use crate::watchlist::defaults;

fn added(id: u32, pattern: &[u8], owner: Owner) -> Entry {
    Entry {
        id: EntryId(id),
        pattern: pattern.into(),
        label: "a \"label\"\n[[entry]]".into(),
        group: "mine".into(),
        severity: Severity::Medium,
        expected: vec!["/usr/bin/demo".into()],
        owner,
        enabled: true,
    }
}

/// The defaults with one switched off and one expecting somebody else, and two more.
fn list() -> Watchlist {
    let mut list = untouched(&defaults().unwrap());
    list.entries[0].enabled = false;
    list.entries[1].expected = vec!["/usr/bin/other".into()];
    list.entries.push(added(10_000, b"/srv/\xff\x1b]2J/key", Owner::System));
    list.entries.push(added(10_003, b"~/.config/demo/**", Owner::User(1000)));
    Watchlist { revision: 7, next_id: 10_004, ..list }
}

fn store(dir: &tempfile::TempDir) -> WatchStore {
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    WatchStore::open(dir.path(), defaults().unwrap()).unwrap()
}

#[test]
fn the_list_comes_back_as_it_was_and_only_differences_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    assert_eq!(store.load().list, untouched(&defaults().unwrap()));
    store.keep(&list()).unwrap();
    let kept = store.load();
    assert_eq!((kept.list, kept.warnings), (list(), Vec::new()));
    let text = fs::read_to_string(dir.path().join(WATCHLIST.text)).unwrap();
    assert!(!text.contains("shadow") && !text.contains('\x1b'), "{text}");
}

#[test]
fn entries_of_another_version_come_and_go() {
    let text = text::write(&list(), &defaults().unwrap()).unwrap();
    let mut newer = defaults().unwrap();
    newer.remove(0);
    newer.push(Entry { owner: Owner::Default, ..added(9_999, b"/etc/new", Owner::Default) });
    let list = parse(&text, &newer).unwrap();
    assert!(list.entries.iter().any(|e| e.id == EntryId(9_999)));
    assert_eq!(list.entries.len(), newer.len() + 2);
}

#[test]
fn a_damaged_file_gives_way_to_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    store.keep(&list()).unwrap();
    let newer = Watchlist { revision: 8, ..list() };
    store.keep(&newer).unwrap();
    let good = fs::read_to_string(dir.path().join(WATCHLIST.text)).unwrap();
    for bad in [
        good[..good.len() / 2].to_owned(),
        good.replace("version = 1", "version = 2"),
        good.replace("~/.config/demo/**", "~/**"),
        good.replace("~/.config/demo/**", "/etc/shadow"),
        good.replace("id = 10003", "id = 10000"),
        good.replace("id = 10003", "id = 3"),
        good.replace("/usr/bin/demo", "demo"),
        good.replace("severity", "gravity"),
        good.replace("medium", "severe"),
    ] {
        assert_ne!(bad, good);
        fs::write(dir.path().join(WATCHLIST.text), &bad).unwrap();
        let kept = store.load();
        assert_eq!(kept.list.revision, 7, "{bad}");
        assert!(!kept.warnings.is_empty());
        fs::remove_file(dir.path().join(WATCHLIST.damaged)).unwrap();
    }
    fs::write(dir.path().join(WATCHLIST.text), "bad").unwrap();
    fs::write(dir.path().join(WATCHLIST.last), "bad").unwrap();
    let kept = store.load();
    assert_eq!(kept.list, untouched(&defaults().unwrap()));
    assert!(kept.warnings.iter().any(|w| w.contains("comes with Sekhmet")), "{:?}", kept.warnings);
}

#[test]
fn numbers_are_not_used_again() {
    let text = "version = 1\nrevision = 3\nnext_id = 10009\n";
    assert_eq!(parse(text, &[]).unwrap().next_id, 10_009);
    let row = "[[entry]]\nid = 4294967295\npattern = '/k'\nlabel = ''\ngroup = ''\nseverity = 'low'\nenabled = true\n";
    assert!(parse(&format!("{text}{row}"), &[]).is_err());
}

#[test]
fn seen_programs_come_back_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let seen: Vec<SeenAt> = [("/usr/bin/a", 1), ("/usr/bin/a", 2), ("/b\n\"", 1), ("/usr/bin/a", 10_000)]
        .map(|(program, entry)| (program.into(), EntryId(entry)))
        .to_vec();
    store.keep_seen(&seen).unwrap();
    assert_eq!(store.load().seen, seen);
    fs::write(dir.path().join(SEEN.text), "bad").unwrap();
    let kept = store.load();
    assert_eq!((kept.seen.len(), kept.warnings.is_empty()), (0, false));
    let many = vec![(sekhmet_common::display::Text::from("/a"), EntryId(1)); 8193];
    assert!(parse_seen(&text::write_seen(&many).unwrap()).is_err());
}

proptest! {
    #[test]
    fn parse_never_panics(text in "\\PC{0,200}") {
        let _list = parse(&text, &[]);
        let _seen = parse_seen(&text);
    }
}
