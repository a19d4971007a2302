//! Every row of the table against every answer that polkit can give.

use std::time::{Duration, Instant};

use sekhmet_common::bus::error;
use sekhmet_helper::{
    bus::actions::{ACTIONS, Operation},
    engine::input::{Input, Scope},
};
use sekhmet_testkit::polkit::{Check, Verdict};
use zbus::message::Flags;

use crate::stage::{Stage, frame, open};

const QUIET: Flags = Flags::empty();
const ASK: Flags = Flags::ALLOW_INTERACTIVE_AUTH;
const NOBODY: u32 = 65534;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_against_every_answer() {
    let stage = Stage::new().await;
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
                let before = stage.polkit.checks().len();
                match (open(&caller, row.scope, *flags).await, refusal) {
                    (Ok(stream), None) => {
                        let events = frame(&stream).unwrap();
                        assert!(!events.is_empty(), "{cell}");
                        let scope = stage.hears(|input| match input {
                            Input::Subscribe { scope, .. } => Some(*scope),
                            _ => None,
                        });
                        let expected = match operation {
                            Operation::WatchOwn => Scope::Own(uid),
                            Operation::WatchAll => Scope::All,
                        };
                        assert_eq!(scope, expected, "{cell}");
                    }
                    (Err(name), Some(expected)) => assert_eq!(name, *expected, "{cell}"),
                    (got, expected) => panic!("{cell}: {got:?} instead of {expected:?}"),
                }
                let checks = stage.polkit.checks();
                let name = caller.unique_name().unwrap().to_string();
                let asked = Check {
                    subject_kind: "system-bus-name".into(),
                    subject_name: Some(name),
                    action: row.action.id.into(),
                    interactive: flags.contains(ASK),
                };
                assert_eq!(checks[before..], [asked], "{cell}");
            }
        }
        // The user's bucket of calls fills at twenty a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_polkit_root_alone_may() {
    let stage = Stage::new().await;
    let bus = &stage.bus;
    stage.polkit.stop().await.unwrap();
    for operation in Operation::ALL {
        let scope = operation.row().scope;
        let root = bus.connect_as(0).await.unwrap();
        assert!(open(&root, scope, QUIET).await.is_ok(), "{operation:?}");
        for flags in [QUIET, ASK] {
            let user = bus.connect_as(1).await.unwrap();
            assert_eq!(open(&user, scope, flags).await.unwrap_err(), error::NOT_AUTHORIZED, "{operation:?}");
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
