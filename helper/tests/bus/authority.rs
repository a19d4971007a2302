//! Every row of the table against every answer that polkit can give.

use std::time::{Duration, Instant};

use sekhmet_common::{
    bus::{ACTION_BLOCK_ADD, ACTION_CONFIGURE, ACTION_WATCH_OWN, error},
    watch::Owner,
};
use sekhmet_helper::{
    bus::actions::{ACTIONS, Operation},
    engine::input::{Input, Scope},
};
use sekhmet_testkit::polkit::{Check, Verdict};
use zbus::{Connection, message::Flags};

use crate::{
    rules::{add, program, release, remove},
    stage::{Enforcer, Stage, frame, open},
    watchlist::{self, change, draft, switch},
};

const QUIET: Flags = Flags::empty();
const ASK: Flags = Flags::ALLOW_INTERACTIVE_AUTH;
const NOBODY: u32 = 65534;

/// Does what an operation is for.
async fn perform(
    stage: &Stage,
    caller: &Connection,
    operation: Operation,
    flags: Flags,
) -> Result<(), String> {
    match operation {
        Operation::WatchOwn | Operation::WatchAll => {
            let stream = open(caller, operation.row().scope, flags).await?;
            assert!(!frame(&stream).unwrap().is_empty(), "{operation:?}");
        }
        Operation::BlockAdd => {
            add(caller, &program("/usr/bin/added", "1h"), flags).await?;
        }
        Operation::BlockRemove => remove(caller, a_rule(stage).await, flags).await?,
        Operation::BlockRelease => {
            a_rule(stage).await;
            assert_ne!(release(caller, flags).await?, 0);
        }
        Operation::EntryAddOwn => {
            watchlist::add(caller, stage, &draft("~/added.key"), flags).await?;
        }
        Operation::EntryAdd => {
            watchlist::add(caller, stage, &draft("/etc/added.key"), flags).await?;
        }
        Operation::EntryRemoveOwn => {
            let id = an_entry(stage, caller, "~/made.key").await;
            watchlist::remove(caller, stage, id, flags).await?;
        }
        Operation::EntryRemove => {
            let id = an_entry(stage, caller, "/etc/made.key").await;
            watchlist::remove(caller, stage, id, flags).await?;
        }
        Operation::EntrySetOwn => {
            let id = an_entry(stage, caller, "~/made.key").await;
            watchlist::set(caller, stage, id, &switch(false), flags).await?;
        }
        Operation::EntrySet => watchlist::set(caller, stage, 1, &switch(true), flags).await?,
    }
    Ok(())
}

/// Adds a rule, whatever polkit says at the moment. That it was asked for is not noted.
async fn a_rule(stage: &Stage) -> u64 {
    let verdict = stage.polkit.verdict(ACTION_BLOCK_ADD);
    stage.polkit.set(ACTION_BLOCK_ADD, Verdict::Allow);
    let maker = stage.bus.connect_as(7).await.unwrap();
    let id = add(&maker, &program("/usr/bin/made", "1h"), QUIET).await.unwrap();
    stage.polkit.forget_check();
    stage.polkit.set(ACTION_BLOCK_ADD, verdict);
    stage.seen.try_iter().for_each(drop);
    id
}

/// Adds an entry of the caller's, whatever polkit says at the moment. That it was asked for is not noted.
async fn an_entry(stage: &Stage, caller: &Connection, pattern: &str) -> u32 {
    let verdicts = [ACTION_WATCH_OWN, ACTION_CONFIGURE].map(|action| (action, stage.polkit.verdict(action)));
    verdicts.iter().for_each(|(action, _)| stage.polkit.set(action, Verdict::Allow));
    let id = watchlist::add(caller, stage, &draft(pattern), QUIET).await.unwrap();
    stage.polkit.forget_check();
    tokio::time::sleep(Duration::from_millis(50)).await;
    verdicts.into_iter().for_each(|(action, verdict)| stage.polkit.set(action, verdict));
    stage.seen.try_iter().for_each(drop);
    id
}

/// What the engine hears when an operation is allowed.
fn heard(stage: &Stage, operation: Operation, uid: u32) {
    let found = stage.hears(|input| match (operation, input) {
        (Operation::WatchOwn, Input::Subscribe { scope, .. }) => Some(*scope == Scope::Own(uid)),
        (Operation::WatchAll, Input::Subscribe { scope, .. }) => Some(*scope == Scope::All),
        (
            Operation::BlockAdd | Operation::BlockRemove | Operation::BlockRelease,
            Input::Wish { wish, .. },
        ) => Some(wish.by == uid),
        (
            Operation::EntryAddOwn | Operation::EntryRemoveOwn | Operation::EntrySetOwn,
            Input::WishWatch { frozen, .. },
        ) => Some(frozen.owner == Owner::User(uid)),
        (
            Operation::EntryAdd | Operation::EntryRemove | Operation::EntrySet,
            Input::WishWatch { frozen, .. },
        ) => Some(matches!(frozen.owner, Owner::System | Owner::Default)),
        _ => None,
    });
    assert!(found, "{operation:?}");
}

/// What polkit can put into its question.
fn details(operation: Operation) -> Vec<&'static str> {
    match operation {
        Operation::WatchOwn | Operation::WatchAll => Vec::new(),
        Operation::BlockAdd | Operation::BlockRemove | Operation::BlockRelease => vec!["duration", "target"],
        Operation::EntryAddOwn | Operation::EntryRemoveOwn | Operation::EntrySetOwn => Vec::new(),
        Operation::EntryAdd | Operation::EntryRemove | Operation::EntrySet => vec!["target"],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_against_every_answer() {
    let stage = Stage::enforcing(Enforcer::Obeys).await;
    let cells = [
        (Verdict::Allow, QUIET, None),
        (Verdict::Allow, ASK, None),
        (Verdict::Deny, QUIET, Some(error::NOT_AUTHORIZED)),
        (Verdict::Deny, ASK, Some(error::NOT_AUTHORIZED)),
        (Verdict::Ask, QUIET, Some(error::INTERACTION_REQUIRED)),
        (Verdict::Ask, ASK, None),
        (Verdict::AskDismissed, ASK, Some(error::NOT_AUTHORIZED)),
        (Verdict::Error, QUIET, Some(error::NOT_AUTHORIZED)),
        (Verdict::Error, ASK, Some(error::NOT_AUTHORIZED)),
        (Verdict::AllowAfter(Duration::from_millis(300)), QUIET, None),
    ];
    for uid in [0, NOBODY, 1] {
        for operation in Operation::ALL {
            let row = operation.row();
            for (verdict, flags, refusal) in &cells {
                // Whatever the other actions say must not matter.
                for action in ACTIONS {
                    let opposite = if refusal.is_some() { Verdict::Allow } else { Verdict::Deny };
                    stage.polkit.set(action.id, opposite);
                }
                stage.polkit.set(row.action.id, verdict.clone());
                let caller = stage.bus.connect_as(uid).await.unwrap();
                let cell = format!("{operation:?} {verdict:?} {flags:?} uid {uid}");
                stage.seen.try_iter().for_each(drop);
                let before = stage.polkit.checks().len();
                match (perform(&stage, &caller, operation, *flags).await, refusal) {
                    (Ok(()), None) => heard(&stage, operation, uid),
                    (Err(name), Some(expected)) => {
                        assert_eq!(name, *expected, "{cell}");
                        let effect = |i: &Input| {
                            matches!(
                                i,
                                Input::Subscribe { .. } | Input::Wish { .. } | Input::WishWatch { .. }
                            )
                        };
                        assert!(!stage.seen.try_iter().any(|input| effect(&input)), "{cell}");
                    }
                    (got, expected) => panic!("{cell}: {got:?} instead of {expected:?}"),
                }
                let checks = stage.polkit.checks();
                let [check] = &checks[before..] else { panic!("{cell}: {checks:?}") };
                let mut keys: Vec<&str> = check.details.keys().map(String::as_str).collect();
                keys.sort_unstable();
                assert_eq!(keys, details(operation), "{cell}");
                let asked = Check {
                    subject_kind: "system-bus-name".into(),
                    subject_name: Some(caller.unique_name().unwrap().to_string()),
                    action: row.action.id.into(),
                    interactive: flags.contains(ASK),
                    details: check.details.clone(),
                };
                assert_eq!(*check, asked, "{cell}");
                // The user's bucket of calls fills at twenty a second.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_polkit_root_alone_may() {
    let stage = Stage::enforcing(Enforcer::Obeys).await;
    stage.polkit.set(ACTION_BLOCK_ADD, Verdict::Allow);
    let rules = [a_rule(&stage).await, a_rule(&stage).await];
    let own = {
        stage.polkit.set(ACTION_WATCH_OWN, Verdict::Allow);
        let callers = [stage.bus.connect_as(0).await.unwrap(), stage.bus.connect_as(1).await.unwrap()];
        [
            an_entry(&stage, &callers[0], "~/a.key").await,
            an_entry(&stage, &callers[0], "~/b.key").await,
            an_entry(&stage, &callers[1], "~/a.key").await,
        ]
    };
    let revision = stage.revision();
    stage.polkit.stop().await.unwrap();
    let options = program("/usr/bin/added", "1h");
    for (uid, flags) in [(1, QUIET), (1, ASK), (0, QUIET)] {
        let caller = stage.bus.connect_as(uid).await.unwrap();
        // Each change that is made makes another list.
        let mut made = revision;
        let mut next = || {
            made += 1;
            if uid == 0 { made - 1 } else { revision }
        };
        for operation in Operation::ALL {
            let done = match operation {
                Operation::WatchOwn | Operation::WatchAll => {
                    open(&caller, operation.row().scope, flags).await.map(drop)
                }
                Operation::BlockAdd => add(&caller, &options, flags).await.map(drop),
                Operation::BlockRemove => remove(&caller, rules[0], flags).await,
                Operation::BlockRelease => release(&caller, flags).await.map(|n| assert_eq!(n, 2)),
                Operation::EntryAddOwn => change(&caller, "Add", flags, &(next(), draft("~/c.key"))).await,
                Operation::EntryAdd => change(&caller, "Add", flags, &(next(), draft("/etc/c.key"))).await,
                Operation::EntryRemoveOwn => {
                    let id = if uid == 0 { own[0] } else { own[2] };
                    change(&caller, "Remove", flags, &(next(), id)).await
                }
                Operation::EntryRemove => change(&caller, "Remove", flags, &(next(), 10_000_u32)).await,
                Operation::EntrySetOwn => {
                    let id = if uid == 0 { own[1] } else { own[2] };
                    change(&caller, "Set", flags, &(next(), id, switch(false))).await
                }
                Operation::EntrySet => change(&caller, "Set", flags, &(next(), 1_u32, switch(false))).await,
            };
            let expected = if uid == 0 { Ok(()) } else { Err(error::NOT_AUTHORIZED.to_owned()) };
            assert_eq!(done, expected, "{operation:?} uid {uid}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_takes_its_dialog_along() {
    let stage = Stage::new().await;
    for action in ACTIONS {
        stage.polkit.set(action.id, Verdict::Silent);
    }
    let caller = stage.bus.connect_as(1).await.unwrap();
    let pending = tokio::spawn({
        let caller = caller.clone();
        async move { open(&caller, "all", ASK).await }
    });
    eventually(|| stage.polkit.checks().len() == 1).await;
    pending.abort();
    caller.close().await.unwrap();
    eventually(|| stage.polkit.cancelled().len() == 1).await;
    assert!(stage.seen.try_recv().is_err(), "nobody was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_the_caller_left_grants_nothing() {
    let stage = Stage::new().await;
    stage.polkit.set("org.sekhmet.helper.watch-all", Verdict::AllowAfter(Duration::from_millis(500)));
    let caller = stage.bus.connect_as(1).await.unwrap();
    let pending = tokio::spawn({
        let caller = caller.clone();
        async move { open(&caller, "all", QUIET).await }
    });
    eventually(|| stage.polkit.checks().len() == 1).await;
    pending.abort();
    caller.close().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stage.seen.try_recv().is_err(), "nobody was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dialog_for_one_connection_and_two_for_one_user() {
    let stage = Stage::new().await;
    stage.polkit.set("org.sekhmet.helper.watch-all", Verdict::Silent);
    let mut callers = Vec::new();
    for _ in 0..3 {
        callers.push(stage.bus.connect_as(1).await.unwrap());
    }
    let mut pending = Vec::new();
    for caller in &callers[..2] {
        let caller = caller.clone();
        pending.push(tokio::spawn(async move { open(&caller, "all", ASK).await }));
    }
    eventually(|| stage.polkit.checks().len() == 2).await;
    // The same connection again, then a third one of the same user.
    for caller in [&callers[0], &callers[2]] {
        assert_eq!(open(caller, "all", ASK).await.unwrap_err(), error::LIMITS_EXCEEDED);
    }
    // Without a dialog, and for others, nothing changes.
    stage.polkit.set("org.sekhmet.helper.watch-own", Verdict::Allow);
    assert!(open(&callers[0], "own", QUIET).await.is_ok());
    let other = stage.bus.connect_as(2).await.unwrap();
    assert!(open(&other, "own", ASK).await.is_ok());
    for task in pending {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes"]
async fn polkit_that_never_answers_is_a_no_after_two_minutes() {
    let stage = Stage::new().await;
    stage.polkit.set("org.sekhmet.helper.watch-all", Verdict::Silent);
    let caller = stage.bus.connect_as(1).await.unwrap();
    let asked = Instant::now();
    assert_eq!(open(&caller, "all", QUIET).await.unwrap_err(), error::NOT_AUTHORIZED);
    assert!(asked.elapsed() >= Duration::from_secs(119));
    assert_eq!(stage.polkit.cancelled().len(), 1);
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never became true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
