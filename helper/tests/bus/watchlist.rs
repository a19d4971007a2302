//! The watchlist over the bus: seen, changed by those who may, and by nobody who has not seen it.

use std::collections::HashMap;

use sekhmet_client::{
    CommandError,
    watchlist::{self as client, Change, Settings},
};
use sekhmet_common::{
    bus::{
        ACTION_CONFIGURE, ACTION_WATCH_ALL, ACTION_WATCH_OWN, ENTRY_ENABLED, ENTRY_EXPECTED, ENTRY_ID,
        ENTRY_LABEL, ENTRY_OWNER, ENTRY_PATTERN, ENTRY_SEVERITY, ENTRY_UID, WATCHLIST, error,
    },
    display::Text,
    watch::{ENTRIES_OF_USER_MAX, EntryDraft, Owner, Severity},
};
use sekhmet_helper::engine::input::Input;
use sekhmet_testkit::polkit::Verdict;
use zbus::{Connection, OwnedVariant, Variant, message::Flags};

use crate::stage::{Enforcer, OWNER, Stage, call};

const QUIET: Flags = Flags::empty();
const ASK: Flags = Flags::ALLOW_INTERACTIVE_AUTH;
const STRANGER: u32 = 3;

pub(crate) type Said = HashMap<&'static str, Variant<'static>>;

pub(crate) fn draft(pattern: &str) -> Said {
    HashMap::from([
        (ENTRY_PATTERN, Variant::from(pattern.as_bytes().to_vec())),
        (ENTRY_SEVERITY, Variant::from("low")),
    ])
}

pub(crate) fn switch(enabled: bool) -> Said {
    HashMap::from([(ENTRY_ENABLED, Variant::from(enabled))])
}

pub(crate) async fn change<B: serde::Serialize + zbus::Type>(
    caller: &Connection,
    method: &str,
    flags: Flags,
    body: &B,
) -> Result<(), String> {
    call(caller, WATCHLIST, method, flags, body).await.map(drop)
}

pub(crate) async fn add(
    caller: &Connection,
    stage: &Stage,
    said: &Said,
    flags: Flags,
) -> Result<u32, String> {
    let reply = call(caller, WATCHLIST, "Add", flags, &(stage.revision(), said)).await?;
    Ok(reply.body().deserialize().unwrap())
}

pub(crate) async fn remove(caller: &Connection, stage: &Stage, id: u32, flags: Flags) -> Result<(), String> {
    change(caller, "Remove", flags, &(stage.revision(), id)).await
}

pub(crate) async fn set(
    caller: &Connection,
    stage: &Stage,
    id: u32,
    said: &Said,
    flags: Flags,
) -> Result<(), String> {
    change(caller, "Set", flags, &(stage.revision(), id, said)).await
}

type Row = HashMap<String, OwnedVariant>;

async fn get(caller: &Connection) -> (u64, Vec<Row>) {
    call(caller, WATCHLIST, "Get", QUIET, &()).await.unwrap().body().deserialize().unwrap()
}

async fn ids(caller: &Connection) -> Vec<u32> {
    get(caller).await.1.iter().map(|row| u32::try_from(row[ENTRY_ID].clone()).unwrap()).collect()
}

fn text(row: &Row, key: &str) -> String {
    String::try_from(row[key].clone()).unwrap()
}

/// Nothing was wished since the last look.
fn nothing_wished(stage: &Stage) {
    let wish = stage.seen.try_iter().find(|input| matches!(input, Input::WishWatch { .. }));
    assert!(wish.is_none(), "{wish:?}");
}

/// Where users may watch what is their own, and nobody may configure without a password.
async fn stage(edges: Enforcer) -> Stage {
    let stage = Stage::enforcing(edges).await;
    stage.polkit.set(ACTION_WATCH_OWN, Verdict::Allow);
    stage.polkit.set(ACTION_CONFIGURE, Verdict::Ask);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_watches_own_files_without_a_password() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    let mut said = draft("~/.config/demo/**");
    said.insert(ENTRY_LABEL, Variant::from("demo\u{202e}"));
    said.insert(ENTRY_EXPECTED, Variant::from(vec![b"/usr/bin/demo".to_vec()]));
    let id = add(&caller, &stage, &said, QUIET).await.unwrap();
    let (revision, rows) = get(&caller).await;
    assert_eq!((id, revision, rows.len()), (10_002, 4, 4));
    let row = &rows[3];
    assert_eq!(Vec::<u8>::try_from(row[ENTRY_PATTERN].clone()).unwrap(), b"~/.config/demo/**");
    assert_eq!(Vec::<Vec<u8>>::try_from(row[ENTRY_EXPECTED].clone()).unwrap(), [b"/usr/bin/demo".to_vec()]);
    let words = [ENTRY_LABEL, ENTRY_SEVERITY, ENTRY_OWNER].map(|key| text(row, key));
    assert_eq!(words, ["demo\u{202e}", "low", "user"]);
    assert_eq!(u32::try_from(row[ENTRY_UID].clone()), Ok(OWNER));
    assert_eq!(bool::try_from(row[ENTRY_ENABLED].clone()), Ok(true));
    set(&caller, &stage, id, &switch(false), QUIET).await.unwrap();
    assert_eq!(bool::try_from(get(&caller).await.1[3][ENTRY_ENABLED].clone()), Ok(false));
    remove(&caller, &stage, id, QUIET).await.unwrap();
    assert_eq!(ids(&caller).await, [1, 10_000, 10_001]);
    assert!(stage.polkit.checks().iter().all(|check| check.action != ACTION_CONFIGURE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_others_asks_an_administrator_in_its_words() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let everybody =
        draft("~/.x/key.pem").into_iter().chain([(ENTRY_OWNER, Variant::from("system"))]).collect();
    let hostile = draft("/srv/\n\u{202e}/key");
    let off = switch(false);
    for (result, target) in [
        (add(&caller, &stage, &hostile, ASK).await.map(drop), "watch /srv/\\x0a\\u{202e}/key"),
        (add(&caller, &stage, &everybody, ASK).await.map(drop), "watch ~/.x/key.pem"),
        (set(&caller, &stage, 1, &off, ASK).await, "no longer watch /etc/shadow"),
        (set(&caller, &stage, 10_001, &off, ASK).await, "no longer watch ~/made-by-owner"),
        (remove(&caller, &stage, 10_000, ASK).await, "no longer watch /etc/made-by-admin"),
    ] {
        assert_eq!(result, Ok(()), "{target}");
        assert!(
            stage.polkit.checks().iter().any(|check| {
                check.action == ACTION_CONFIGURE && check.interactive && check.details["target"] == target
            }),
            "{target}"
        );
    }
    stage.seen.try_iter().for_each(drop);
    for verdict in [Verdict::Deny, Verdict::Ask] {
        let expected =
            if verdict == Verdict::Ask { error::INTERACTION_REQUIRED } else { error::NOT_AUTHORIZED };
        stage.polkit.set(ACTION_CONFIGURE, verdict);
        for refused in [
            add(&caller, &stage, &draft("/etc/x"), QUIET).await.map(drop),
            add(&caller, &stage, &everybody, QUIET).await.map(drop),
            set(&caller, &stage, 1, &off, QUIET).await,
            set(&caller, &stage, 10_001, &off, QUIET).await,
            remove(&caller, &stage, 10_001, QUIET).await,
            // That there is no such entry is not for everybody either.
            remove(&caller, &stage, 77, QUIET).await,
            add(&caller, &stage, &draft("/etc//x"), QUIET).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err(), expected);
        }
    }
    nothing_wished(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_the_entries_that_concern_it() {
    let stage = stage(Enforcer::Obeys).await;
    let owner = stage.bus.connect_as(OWNER).await.unwrap();
    let stranger = stage.bus.connect_as(STRANGER).await.unwrap();
    assert_eq!(ids(&owner).await, [1, 10_000, 10_001]);
    assert_eq!(ids(&stranger).await, [1, 10_000]);
    stage.polkit.set(ACTION_WATCH_ALL, Verdict::Allow);
    assert_eq!(ids(&stranger).await, [1, 10_000, 10_001]);
    stage.polkit.set(ACTION_WATCH_ALL, Verdict::Deny);
    stage.polkit.set(ACTION_WATCH_OWN, Verdict::Deny);
    let refused = call(&stranger, WATCHLIST, "Get", ASK, &()).await.unwrap_err();
    assert_eq!(refused, error::NOT_AUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_is_not_changed_unseen() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    let seen = stage.revision();
    add(&caller, &stage, &draft("~/a.key"), QUIET).await.unwrap();
    for stale in [
        change(&caller, "Add", QUIET, &(seen, draft("~/b.key"))).await,
        change(&caller, "Set", QUIET, &(seen, 10_001_u32, switch(false))).await,
        change(&caller, "Remove", QUIET, &(seen, 10_001_u32)).await,
        change(&caller, "Remove", QUIET, &(u64::MAX, 10_001_u32)).await,
    ] {
        assert_eq!(stale.unwrap_err(), error::CHANGED);
    }
    assert_eq!(ids(&caller).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_named_before_anybody_is_asked() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    let pattern = |text: &str| HashMap::from([(ENTRY_PATTERN, Variant::from(text.as_bytes().to_vec()))]);
    let of_user = draft("/etc/x").into_iter().chain([(ENTRY_OWNER, Variant::from("user"))]).collect();
    for (refused, expected) in [
        (add(&caller, &stage, &draft("/etc//x"), ASK).await.map(drop), error::INVALID_ARGUMENT),
        (add(&caller, &stage, &draft("~/**"), ASK).await.map(drop), error::INVALID_ARGUMENT),
        (add(&caller, &stage, &of_user, ASK).await.map(drop), error::INVALID_ARGUMENT),
        (set(&caller, &stage, 1, &pattern("/etc/x"), ASK).await, error::INVALID_ARGUMENT),
        (set(&caller, &stage, 10_001, &pattern("/etc/x"), ASK).await, error::INVALID_ARGUMENT),
        (remove(&caller, &stage, 1, ASK).await, error::INVALID_ARGUMENT),
        (remove(&caller, &stage, 77, ASK).await, error::UNKNOWN_ID),
    ] {
        assert_eq!(refused.unwrap_err(), expected);
    }
    assert!(stage.polkit.checks().iter().all(|check| !check.interactive));
    nothing_wished(&stage);
    let homeless = stage.bus.connect_as(4).await.unwrap();
    let refused = add(&homeless, &stage, &draft("~/a.key"), QUIET).await;
    assert_eq!(refused.unwrap_err(), error::INVALID_ARGUMENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_watched() {
    let stage = stage(Enforcer::Fails).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    assert_eq!(add(&caller, &stage, &draft("~/a.key"), QUIET).await.unwrap_err(), error::FAILED);
    assert_eq!(get(&caller).await.0, 3);
    assert_eq!(ids(&caller).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_have_so_many_entries() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    let mut added = 1;
    // The bucket of calls fills at twenty a second.
    let refused = loop {
        match add(&caller, &stage, &draft(&format!("~/{added}.key")), QUIET).await {
            Ok(_) => added += 1,
            Err(name) if added < ENTRIES_OF_USER_MAX && name == error::LIMITS_EXCEEDED => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(name) => break name,
        }
        assert!(added <= ENTRIES_OF_USER_MAX);
    };
    assert_eq!((refused.as_str(), added), (error::LIMITS_EXCEEDED, ENTRIES_OF_USER_MAX));
    let other = stage.bus.connect_as(STRANGER).await.unwrap();
    assert!(add(&other, &stage, &draft("~/a.key"), QUIET).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_whom_the_bus_names() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(STRANGER).await.unwrap();
    add(&caller, &stage, &draft("~/a.key"), QUIET).await.unwrap();
    let owner = stage.hears(|input| match input {
        Input::WishWatch { frozen, .. } => Some(frozen.owner),
        _ => None,
    });
    assert_eq!(owner, Owner::User(STRANGER));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_clients_fit() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(OWNER).await.unwrap();
    let draft = EntryDraft {
        pattern: Text::from(&b"~/\xff.key"[..]),
        label: "\u{202e}\\".into(),
        group: Text::default(),
        severity: Severity::High,
        expected: vec!["/usr/bin/demo".into()],
    };
    let add = Change::Add { draft: draft.clone(), is_system: false };
    let id = client::change(&caller, &add, false).await.unwrap();
    let list = client::get(&caller).await.unwrap();
    let entry = list.entries.iter().find(|entry| entry.id == id).unwrap();
    assert_eq!(
        (&entry.pattern, &entry.label, &entry.expected),
        (&draft.pattern, &draft.label, &draft.expected)
    );
    assert_eq!((entry.owner, entry.enabled), (Owner::User(OWNER), true));
    let off = Change::Set(id, Settings { enabled: Some(false), ..Settings::default() });
    assert_eq!(client::change(&caller, &off, false).await, Ok(id));
    assert_eq!(client::change(&caller, &Change::Remove(id), false).await, Ok(id));
    let everybody = Change::Add { draft, is_system: true };
    assert_eq!(client::change(&caller, &everybody, false).await, Err(CommandError::InteractionRequired));
    assert!(client::change(&caller, &everybody, true).await.is_ok());
}
