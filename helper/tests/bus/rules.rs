//! Rules over the bus: asked for, asked about, enforced, listed, removed.

use std::{collections::HashMap, time::Duration};

use sekhmet_common::{
    bus::{
        OPTION_ANSWER, OPTION_LIFETIME, OPTION_PROCESS, OPTION_PROGRAM, OPTION_PROGRAM_OF, OPTION_WAYS,
        RULES, error,
    },
    process::ProcessId,
    rule::RuleId,
};
use sekhmet_helper::engine::input::{Deed, Input, Observation, ProcessKey, Wish};
use sekhmet_testkit::polkit::Verdict;
use zbus::{Connection, OwnedVariant, Variant, message::Flags};

use crate::{
    authority::eventually,
    stage::{EXE, Enforcer, OWNER, PID, PROCESS, Stage, call},
};

const QUIET: Flags = Flags::empty();
const ASK: Flags = Flags::ALLOW_INTERACTIVE_AUTH;
const ADD: &str = "org.sekhmet.helper.block-add";
const REMOVE: &str = "org.sekhmet.helper.block-remove";
const WATCH_OWN: &str = "org.sekhmet.helper.watch-own";
const WATCH_ALL: &str = "org.sekhmet.helper.watch-all";

pub(crate) type Options<'a> = HashMap<&'a str, Variant<'a>>;

pub(crate) fn program(path: &str, lifetime: &'static str) -> Options<'static> {
    HashMap::from([
        (OPTION_PROGRAM, Variant::from(path.as_bytes().to_vec())),
        (OPTION_LIFETIME, Variant::from(lifetime)),
    ])
}

fn process(id: u64, lifetime: &'static str) -> Options<'static> {
    HashMap::from([(OPTION_PROCESS, Variant::from(id)), (OPTION_LIFETIME, Variant::from(lifetime))])
}

pub(crate) async fn add(caller: &Connection, options: &Options<'_>, flags: Flags) -> Result<u64, String> {
    Ok(call(caller, RULES, "Add", flags, options).await?.body().deserialize().unwrap())
}

pub(crate) async fn remove(caller: &Connection, id: u64, flags: Flags) -> Result<(), String> {
    call(caller, RULES, "Remove", flags, &id).await.map(|reply| assert!(reply.body().is_empty()))
}

pub(crate) async fn release(caller: &Connection, flags: Flags) -> Result<u64, String> {
    Ok(call(caller, RULES, "Release", flags, &()).await?.body().deserialize().unwrap())
}

async fn list(caller: &Connection) -> Result<Vec<HashMap<String, OwnedVariant>>, String> {
    Ok(call(caller, RULES, "List", QUIET, &()).await?.body().deserialize().unwrap())
}

async fn listed(caller: &Connection) -> Vec<u64> {
    let rows = list(caller).await.unwrap();
    rows.iter().map(|row| u64::try_from(row["id"].clone()).unwrap()).collect()
}

fn text(row: &HashMap<String, OwnedVariant>, key: &str) -> String {
    String::try_from(row[key].clone()).unwrap()
}

fn wished(stage: &Stage) -> Wish {
    stage.hears(|input| match input {
        Input::Wish { wish, .. } => Some(wish.clone()),
        _ => None,
    })
}

/// Nothing was wished since the last look.
pub(crate) fn nothing_wished(stage: &Stage) {
    let wish = stage.seen.try_iter().find(|input| matches!(input, Input::Wish { .. }));
    assert!(wish.is_none(), "{wish:?}");
}

pub(crate) async fn stage(edges: Enforcer) -> Stage {
    let stage = Stage::enforcing(edges).await;
    for action in [ADD, REMOVE, WATCH_OWN] {
        stage.polkit.set(action, Verdict::Allow);
    }
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_added_listed_and_removed() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let mut options = program(EXE, "1h");
    options.insert(OPTION_WAYS, Variant::from("outbound"));
    options.insert(OPTION_ANSWER, Variant::from("drop"));
    assert_eq!(add(&caller, &options, QUIET).await, Ok(1));
    let wish = wished(&stage);
    assert_eq!(wish.by, 1, "the bus says who wants it");
    assert!(matches!(wish.deed, Deed::Add(_)));
    assert_eq!(stage.polkit.checks()[0].details["target"], format!("every run of {EXE} and what it starts"));
    assert_eq!(stage.polkit.checks()[0].details["duration"], "for 1 hour");

    let rows = list(&caller).await.unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let words = ["subject", "direction", "answer", "extent", "lifetime"].map(|key| text(row, key));
    let subject = format!("every run of {EXE} and what it starts");
    assert_eq!(words, [subject.as_str(), "outbound", "drop", "outside", "1h"]);
    assert!(text(row, "sentence").starts_with(&format!("Block {subject}")));
    assert_eq!(u32::try_from(row["added_by"].clone()), Ok(1));
    assert_eq!(u64::try_from(row["hits"].clone()), Ok(0));
    assert!(i64::try_from(row["added_at"].clone()).unwrap() > 0);
    assert_eq!(row.len(), 10);

    remove(&caller, 1, QUIET).await.unwrap();
    assert_eq!(wished(&stage), Wish { deed: Deed::Remove(vec![RuleId(1)]), by: 1 });
    assert!(listed(&caller).await.is_empty());
    assert_eq!(remove(&caller, 1, QUIET).await.unwrap_err(), error::UNKNOWN_ID);
}

#[tokio::test(flavor = "multi_thread")]
async fn release_removes_all_and_says_how_many() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for options in [process(PROCESS, "until-exit"), program("/usr/bin/wget", "always")] {
        add(&caller, &options, QUIET).await.unwrap();
    }
    let before = stage.polkit.checks().len();
    assert_eq!(release(&caller, QUIET).await, Ok(2));
    let checks = &stage.polkit.checks()[before..];
    assert_eq!(checks.len(), 1, "one question for all");
    assert_eq!(checks[0].details["target"], "all 2 blocked programs and processes");
    assert_eq!(release(&caller, QUIET).await, Ok(0));
    assert!(listed(&caller).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_password_for_nothing() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (verdict, flags, expected) in [
        (Verdict::Ask, ASK, Ok(0)),
        (Verdict::Ask, QUIET, Err(error::INTERACTION_REQUIRED)),
        (Verdict::Deny, ASK, Err(error::NOT_AUTHORIZED)),
    ] {
        stage.polkit.set(REMOVE, verdict);
        assert_eq!(release(&caller, flags).await, expected.map_err(str::to_owned));
    }
    assert!(stage.polkit.checks().iter().all(|check| !check.interactive));
    nothing_wished(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_says_what_will_be_done_and_that_is_done() {
    let stage = stage(Enforcer::Obeys).await;
    stage.polkit.set(ADD, Verdict::Ask);
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (options, target, duration) in [
        (process(PROCESS, "until-exit"), format!("curl (PID {PID}) and what it starts"), "until it exits"),
        (
            HashMap::from([
                (OPTION_PROGRAM_OF, Variant::from(PROCESS)),
                (OPTION_LIFETIME, Variant::from("always")),
            ]),
            format!("every run of {EXE} and what it starts"),
            "always",
        ),
        (
            program("/opt/a\n\u{202e}b", "90s"),
            "every run of /opt/a\\x0a\\u{202e}b and what it starts".into(),
            "for 90 seconds",
        ),
    ] {
        add(&caller, &options, ASK).await.unwrap();
        let check = stage.polkit.checks().pop().unwrap();
        assert!(check.interactive);
        let details = HashMap::from([
            ("target".to_owned(), target.clone()),
            ("duration".to_owned(), duration.to_owned()),
        ]);
        assert_eq!(check.details, details);
        let Deed::Add(rule) = wished(&stage).deed else { panic!() };
        assert_eq!((rule.subject.target(), rule.draft.lifetime.phrase()), (target, duration.to_owned()));
    }
    let long = format!("/{}", "x".repeat(4000));
    add(&caller, &program(&long, "always"), ASK).await.unwrap();
    let target = stage.polkit.checks().pop().unwrap().details["target"].clone();
    assert!(target.chars().count() <= 200 && target.ends_with("and what it starts"), "{target}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_not_is_told_to_those_alone_who_could_have_it_done() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (verdict, flags, expected) in [
        (Verdict::Allow, QUIET, error::UNKNOWN_ID),
        (Verdict::Allow, ASK, error::UNKNOWN_ID),
        (Verdict::Ask, ASK, error::UNKNOWN_ID),
        (Verdict::Ask, QUIET, error::INTERACTION_REQUIRED),
        (Verdict::Deny, QUIET, error::NOT_AUTHORIZED),
        (Verdict::Deny, ASK, error::NOT_AUTHORIZED),
        (Verdict::Error, ASK, error::NOT_AUTHORIZED),
    ] {
        stage.polkit.set(ADD, verdict.clone());
        stage.polkit.set(REMOVE, verdict.clone());
        let asked = add(&caller, &process(99, "until-exit"), flags).await;
        assert_eq!(asked.unwrap_err(), expected, "{verdict:?} {flags:?}");
        assert_eq!(remove(&caller, 99, flags).await.unwrap_err(), expected, "{verdict:?} {flags:?}");
        assert!(stage.polkit.checks().iter().all(|check| !check.interactive), "no dialog for what cannot be");
    }
    nothing_wished(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_can_be_is_named() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (options, expected) in [
        (process(0, "until-exit"), error::UNKNOWN_ID),
        (process(u64::MAX, "until-exit"), error::UNKNOWN_ID),
        (process(PROCESS, "always"), error::INVALID_ARGUMENT),
        (program("/usr/bin/nobody-runs-this", "until-exit"), error::INVALID_ARGUMENT),
    ] {
        assert_eq!(add(&caller, &options, QUIET).await.unwrap_err(), expected, "{options:?}");
    }
    nothing_wished(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_edges_cannot_do_leaves_no_rule() {
    let stage = stage(Enforcer::Fails).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let asked = add(&caller, &program(EXE, "always"), QUIET).await;
    assert_eq!(asked.unwrap_err(), error::FAILED);
    assert!(listed(&caller).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_block_says_so_before_anybody_is_asked() {
    let stage = stage(Enforcer::Absent).await;
    stage.polkit.set(ADD, Verdict::Ask);
    let caller = stage.bus.connect_as(1).await.unwrap();
    assert_eq!(add(&caller, &program(EXE, "always"), ASK).await.unwrap_err(), error::UNAVAILABLE);
    assert!(stage.polkit.checks().iter().all(|check| !check.interactive));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_that_nothing_was_changed() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (verdict, flags) in [(Verdict::Deny, QUIET), (Verdict::Ask, QUIET), (Verdict::AskDismissed, ASK)] {
        stage.polkit.set(ADD, verdict);
        let mut replies = zbus::MessageStream::from(&caller);
        add(&caller, &program(EXE, "always"), flags).await.unwrap_err();
        let reply = loop {
            let message = crate::stage::next(&mut replies).await.unwrap().unwrap();
            if message.header().error_name().is_some() {
                break message;
            }
        };
        let said: String = reply.body().deserialize().unwrap();
        assert!(said.ends_with("; nothing was changed"), "{said}");
    }
    nothing_wished(&stage);
    assert!(listed(&caller).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_during_the_dialog_is_not_replaced_by_another() {
    let stage = stage(Enforcer::Obeys).await;
    stage.polkit.set(ADD, Verdict::AllowAfter(Duration::from_millis(500)));
    let caller = stage.bus.connect_as(1).await.unwrap();
    let pending = tokio::spawn({
        let caller = caller.clone();
        async move { add(&caller, &process(PROCESS, "until-exit"), ASK).await }
    });
    eventually(|| stage.polkit.checks().len() == 1).await;
    let at = sekhmet_common::time::Timestamp::now();
    stage.observe(Observation::Exited { at, key: ProcessKey { tgid: PID, start_ns: 1 }, status: Some(0) });
    assert_eq!(pending.await.unwrap().unwrap_err(), error::UNKNOWN_ID);
    assert!(listed(&caller).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_takes_its_dialog_and_its_wish_along() {
    let stage = stage(Enforcer::Obeys).await;
    for (verdict, cancelled) in [(Verdict::Silent, 1), (Verdict::AllowAfter(Duration::from_millis(500)), 2)] {
        stage.polkit.set(ADD, verdict);
        let before = stage.polkit.checks().len();
        let caller = stage.bus.connect_as(1).await.unwrap();
        let pending = tokio::spawn({
            let caller = caller.clone();
            async move { add(&caller, &program(EXE, "always"), ASK).await }
        });
        eventually(|| stage.polkit.checks().len() > before).await;
        pending.abort();
        caller.close().await.unwrap();
        eventually(|| stage.polkit.cancelled().len() == cancelled).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    nothing_wished(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn dialogs_about_rules_and_streams_share_their_limits() {
    let stage = stage(Enforcer::Obeys).await;
    stage.polkit.set(ADD, Verdict::Silent);
    stage.polkit.set(REMOVE, Verdict::Silent);
    let mut callers = Vec::new();
    for _ in 0..3 {
        callers.push(stage.bus.connect_as(1).await.unwrap());
    }
    let mut pending = Vec::new();
    for caller in &callers[..2] {
        let caller = caller.clone();
        pending.push(tokio::spawn(async move { add(&caller, &program(EXE, "always"), ASK).await }));
    }
    eventually(|| stage.polkit.checks().len() == 2).await;
    for caller in [&callers[0], &callers[2]] {
        assert_eq!(release(caller, ASK).await.unwrap_err(), error::LIMITS_EXCEEDED);
        let opened = crate::stage::open(caller, "own", ASK).await;
        assert_eq!(opened.unwrap_err(), error::LIMITS_EXCEEDED);
    }
    // Without a dialog, and for others, nothing changes.
    assert!(list(&callers[0]).await.is_ok());
    let other = stage.bus.connect_as(2).await.unwrap();
    assert!(crate::stage::open(&other, "own", ASK).await.is_ok());
    pending.iter().for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_the_rules_that_it_may_see() {
    let stage = stage(Enforcer::Obeys).await;
    let maker = stage.bus.connect_as(1).await.unwrap();
    let of_process = add(&maker, &process(PROCESS, "until-exit"), QUIET).await.unwrap();
    let of_program = add(&maker, &program("/usr/bin/wget", "always"), QUIET).await.unwrap();
    let owner = stage.bus.connect_as(OWNER).await.unwrap();
    let stranger = stage.bus.connect_as(3).await.unwrap();
    for caller in [&maker, &owner] {
        assert_eq!(listed(caller).await, [of_process, of_program]);
    }
    assert_eq!(listed(&stranger).await, [of_program]);
    stage.polkit.set(WATCH_ALL, Verdict::Allow);
    assert_eq!(listed(&stranger).await, [of_process, of_program]);
    // An administrator who would have to authenticate is not asked for a list.
    stage.polkit.set(WATCH_ALL, Verdict::Ask);
    let reply = call(&stranger, RULES, "List", ASK, &()).await.unwrap();
    assert_eq!(reply.body().deserialize::<Vec<HashMap<String, OwnedVariant>>>().unwrap().len(), 1);
    assert!(stage.polkit.checks().iter().all(|check| check.action != WATCH_ALL || !check.interactive));
    // Who may not even watch what is his own sees nothing.
    stage.polkit.set(WATCH_OWN, Verdict::Deny);
    assert_eq!(list(&stranger).await.unwrap_err(), error::NOT_AUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_for_the_process_that_was_named() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    add(&caller, &process(PROCESS, "until-exit"), QUIET).await.unwrap();
    let Deed::Add(rule) = wished(&stage).deed else { panic!() };
    assert_eq!(rule.process, Some(ProcessKey { tgid: PID, start_ns: 1 }));
    assert_eq!(rule.draft.wanted, sekhmet_common::rule::Wanted::Process(ProcessId(PROCESS)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes"]
async fn polkit_that_never_answers_changes_nothing() {
    let stage = stage(Enforcer::Obeys).await;
    stage.polkit.set(ADD, Verdict::Silent);
    let caller = stage.bus.connect_as(1).await.unwrap();
    assert_eq!(add(&caller, &program(EXE, "always"), ASK).await.unwrap_err(), error::NOT_AUTHORIZED);
    nothing_wished(&stage);
    assert_eq!(stage.polkit.cancelled().len(), 1);
}
