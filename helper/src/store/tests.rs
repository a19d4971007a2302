//! What the store promises: rules come back, damage does not spread, nothing planted is followed.

use std::{fs, os::unix::fs::PermissionsExt};

use sekhmet_common::rule::{Answer, Extent, Lifetime, Rule, RuleId, Subject, Ways};

use super::*;
use crate::engine::input::{ProcessKey, ProgramKey};

const NOW: Timestamp = Timestamp(1_000_000_000_000_000_000);

fn rule(id: u32, subject: Subject, lifetime: Lifetime) -> Rule {
    Rule {
        id: RuleId(id),
        subject,
        ways: Ways::Outbound,
        answer: Answer::Drop,
        extent: Extent::Everywhere,
        lifetime,
        added_at: Timestamp(NOW.0 - 5),
        expires_at: matches!(lifetime, Lifetime::Seconds(_)).then_some(Timestamp(NOW.0 + 7)),
        added_by: 1000,
        added_by_user: Some("ana".into()),
        hits: 0,
    }
}

fn program(id: u32, lifetime: Lifetime) -> KeptRule {
    // Any byte may stand in a path.
    let exe = sekhmet_common::display::Text::from(&b"/opt/a \"b\"\n\xff\x1b[2J/c"[..]);
    KeptRule {
        rule: rule(id, Subject::Program { exe }, lifetime),
        process: None,
        programs: vec![ProgramKey { device: 3, inode: u64::MAX }],
        by_path: true,
    }
}

fn process(id: u32, lifetime: Lifetime) -> KeptRule {
    let subject = Subject::Process { process: None, pid: 7, name: "[[rule]]\n".into(), exe: "".into() };
    KeptRule {
        rule: rule(id, subject, lifetime),
        process: Some(ProcessKey { tgid: 7, start_ns: 9 }),
        programs: Vec::new(),
        by_path: false,
    }
}

fn store(dir: &tempfile::TempDir, boot: &str) -> Store {
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    Store::open(dir.path(), boot.into()).unwrap()
}

fn ids(kept: &Kept) -> Vec<u32> {
    kept.rules.iter().map(|k| k.rule.id.0).collect()
}

#[test]
fn rules_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![
        program(1, Lifetime::Always),
        program(2, Lifetime::Seconds(60)),
        process(3, Lifetime::UntilExit),
        process(4, Lifetime::UntilRestart),
    ];
    let store = store(&dir, "this boot");
    assert!(store.load(NOW).rules.is_empty());
    store.keep(&all).unwrap();
    let kept = store.load(NOW);
    assert_eq!((kept.rules, kept.warnings), (all, Vec::new()));
    let text = fs::read_to_string(dir.path().join(RULES.text)).unwrap();
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.contains("lifetime = \"1m\""), "{text}");
    let mode = fs::metadata(dir.path().join(RULES.text)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_restart_ends_what_belongs_to_one_run_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let all = [
        program(1, Lifetime::Always),
        program(2, Lifetime::Seconds(60)),
        program(3, Lifetime::UntilRestart),
        process(4, Lifetime::UntilExit),
    ];
    store(&dir, "this boot").keep(&all).unwrap();
    let next = store(&dir, "next boot").load(NOW);
    assert_eq!(ids(&next), [1, 2]);
    assert!(next.rules.iter().all(|k| k.programs.is_empty()), "another disk may have the number now");
    assert_eq!(ids(&store(&dir, "next boot").load(Timestamp(NOW.0 + 7))), [1]);
}

#[test]
fn a_damaged_file_gives_way_to_the_last_good_one_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, "boot");
    store.keep(&[program(1, Lifetime::Always)]).unwrap();
    store.keep(&[program(1, Lifetime::Always), program(2, Lifetime::Always)]).unwrap();
    let good = fs::read_to_string(dir.path().join(RULES.text)).unwrap();
    for bad in [
        good[..good.len() / 2].to_owned(),
        good.replace("version = 1", "version = 2"),
        good.replace("drop", "explode"),
        good.replace("id = 2", "id = 0"),
        good.replace("id = 2", "id = 1025"),
        good.replace("answer", "question"),
        good.replace("/opt", "opt"),
        String::from("\0"),
        "x".repeat(5 << 20),
    ] {
        fs::write(dir.path().join(RULES.text), &bad).unwrap();
        let kept = store.load(NOW);
        assert_eq!(ids(&kept), [1], "{}", &bad[..bad.len().min(200)]);
        assert!(!kept.warnings.is_empty());
        _ = fs::remove_file(dir.path().join(RULES.damaged));
    }
    fs::write(dir.path().join(RULES.text), "bad").unwrap();
    fs::write(dir.path().join(RULES.last), "bad, too").unwrap();
    let kept = store.load(NOW);
    assert_eq!((ids(&kept), kept.warnings.len() > 2), (vec![], true), "{:?}", kept.warnings);
    assert_eq!(fs::read_to_string(dir.path().join(RULES.damaged)).unwrap(), "bad");
}

#[test]
fn the_last_good_copy_outlives_a_second_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, "boot");
    store.keep(&[program(1, Lifetime::Always)]).unwrap();
    store.keep(&[program(1, Lifetime::Always), program(2, Lifetime::Always)]).unwrap();
    fs::write(dir.path().join(RULES.text), b"not even \xff text").unwrap();
    assert_eq!(ids(&store.load(NOW)), [1]);
    assert!(dir.path().join(RULES.damaged).exists());
    let again = store.load(NOW);
    assert_eq!((ids(&again), again.warnings), (vec![1], Vec::new()));
    store.keep(&[program(3, Lifetime::Always)]).unwrap();
    assert_eq!(ids(&store.load(NOW)), [3]);
}

#[test]
fn rules_that_were_removed_by_hand_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, "boot");
    store.keep(&[program(1, Lifetime::Always)]).unwrap();
    store.keep(&[]).unwrap();
    fs::remove_file(dir.path().join(RULES.text)).unwrap();
    assert!(ids(&store.load(NOW)).is_empty());
}

#[test]
fn what_others_could_have_planted_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, "boot");
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    for name in [RULES.text, RULES.last, RULES.new] {
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(name)).unwrap();
    }
    assert!(!store.load(NOW).warnings.is_empty());
    store.keep(&[program(1, Lifetime::Always)]).unwrap();
    assert_eq!(fs::read(elsewhere.path()).unwrap(), b"", "nothing was written through a link");
    assert_eq!(ids(&store.load(NOW)), [1]);
    fs::set_permissions(dir.path().join(RULES.text), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!store.load(NOW).warnings.is_empty());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Store::open(dir.path(), "boot".into()), Err(StoreError::NotOurs(_))));
}

#[test]
fn the_highest_number_is_remembered_for_one_run_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir, "a");
    first.keep(&[program(7, Lifetime::Always), program(9, Lifetime::Always)]).unwrap();
    first.keep(&[program(7, Lifetime::Always)]).unwrap();
    first.keep(&[]).unwrap();
    let second = store(&dir, "a");
    let kept = second.load(NOW);
    assert_eq!((ids(&kept), kept.last_number), (vec![], 9));
    second.keep(&[program(10, Lifetime::Always)]).unwrap();
    assert_eq!(store(&dir, "a").load(NOW).last_number, 10);
    assert_eq!(store(&dir, "b").load(NOW).last_number, 10, "a rule that lasts has its number");
    second.keep(&[]).unwrap();
    assert_eq!(store(&dir, "b").load(NOW).last_number, 0, "sockets do not outlive the machine");
}
