//! The link against a real bus and a player in the helper's place.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

use sekhmet_client::watchlist::{Change, Settings};
use sekhmet_client::{
    Command, CommandError, CommandId, Link, Options, Outcome, Reason, Refusal, Request, Update, View, status,
};
use sekhmet_common::{
    bus::error,
    display::Text,
    event::Event,
    process::ProcessId,
    rule::RuleId,
    time::Timestamp,
    watch::{Entry, EntryDraft, EntryId, Owner, Severity},
    wire,
};
use sekhmet_testkit::{
    bus::TestBus,
    player::{Player, Refusals},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn snapshot(version: &str) -> Vec<Event> {
    let at = Timestamp(1);
    vec![
        Event::SnapshotBegin { at, version: version.into(), watching_since: at, mode: Default::default() },
        Event::SnapshotEnd { at },
    ]
}

fn gone(id: u64) -> Event {
    Event::ProcessGone { at: Timestamp(2), id: ProcessId(id) }
}

fn link(bus: &TestBus, request: Request) -> (Link, Receiver<Update>) {
    let (sender, updates) = sync_channel(1000);
    let options = Options { address: Some(bus.address().into()), request };
    let link = Link::spawn(options, move |update| sender.send(update).unwrap()).unwrap();
    (link, updates)
}

/// The next update that fits, whatever comes before it.
fn until<T>(updates: &Receiver<Update>, fits: impl Fn(Update) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut before = Vec::new();
    loop {
        match updates.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(update) => match fits(update.clone()) {
                Some(found) => return found,
                None => before.push(update),
            },
            Err(_) => panic!("never came; before: {before:?}"),
        }
    }
}

fn connected(update: Update) -> Option<String> {
    match update {
        Update::Connected { version, .. } => Some(version.shown()),
        _ => None,
    }
}

fn refused(update: Update) -> Option<Refusal> {
    match update {
        Update::Refused { error } => Some(error),
        _ => None,
    }
}

fn lost(update: Update) -> Option<Reason> {
    match update {
        Update::Lost { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_the_snapshot_and_what_follows() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    let (link, updates) = link(&bus, Request::default());
    assert_eq!(
        updates.recv_timeout(PATIENCE).unwrap(),
        Update::Connected { version: "1".into(), mode: Default::default() }
    );
    assert_eq!(updates.recv_timeout(PATIENCE).unwrap(), Update::Events(snapshot("1")));
    player.tell(&[gone(7)]).unwrap();
    assert_eq!(updates.recv_timeout(PATIENCE).unwrap(), Update::Events(vec![gone(7)]));
    link.stop();
    assert_eq!(updates.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_again_within_two_seconds_of_a_restart() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("first")).await.unwrap();
    let (_link, updates) = link(&bus, Request::default());
    assert_eq!(until(&updates, connected), "first");
    player.stop().await.unwrap();
    assert_eq!(until(&updates, lost), Reason::Ended);
    assert_eq!(until(&updates, lost), Reason::NoHelper);
    // Longer than the longest pause, so that the link sits in one.
    std::thread::sleep(Duration::from_millis(2500));
    let again = Instant::now();
    let _player = Player::start(&bus, &snapshot("second")).await.unwrap();
    assert_eq!(until(&updates, connected), "second");
    assert!(again.elapsed() < Duration::from_secs(2), "{:?}", again.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_the_bus() {
    let mut bus = TestBus::start().unwrap();
    let _player = Player::start(&bus, &snapshot("first")).await.unwrap();
    let (_link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    bus.kill().unwrap();
    drop(_player);
    until(&updates, |u| lost(u).filter(|r| matches!(r, Reason::NoBus(_))));
    bus.restart().unwrap();
    let _player = Player::start(&bus, &snapshot("second")).await.unwrap();
    assert_eq!(until(&updates, connected), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_the_user() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    player.refuse(Refusals { own: None, all: Some(error::INTERACTION_REQUIRED) });
    let (link, updates) = link(&bus, Request { view: View::All, interactive: false });
    assert_eq!(until(&updates, refused), Refusal::InteractionRequired);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(player.calls(), ["all"], "asks once");
    link.ask(Request { view: View::All, interactive: true });
    until(&updates, connected);
    // The stream breaks: the next try asks nobody.
    player.end_streams();
    assert_eq!(until(&updates, refused), Refusal::InteractionRequired);
    assert_eq!(player.calls(), ["all", "all interactive", "all"]);
    link.ask(Request { view: View::Own, interactive: false });
    until(&updates, connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_own_word() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    for (name, expected) in [
        (error::NOT_AUTHORIZED, Refusal::NotAuthorized),
        (error::LIMITS_EXCEEDED, Refusal::LimitsExceeded),
        (
            "org.freedesktop.DBus.Error.UnknownMethod",
            Refusal::Other("the helper is older than this program".into()),
        ),
        ("org.freedesktop.DBus.Error.AccessDenied", Refusal::Other("the bus's policy forbids it".into())),
    ] {
        player.refuse(Refusals { own: Some(name), all: None });
        let (_link, updates) = link(&bus, Request::default());
        assert_eq!(until(&updates, refused), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_of_another_version_is_named_and_not_asked_again() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    let (_link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    player.tell_raw(&[wire::VERSION + 1, 1, 2, 3]);
    assert_eq!(until(&updates, refused), Refusal::OtherVersion(wire::VERSION + 1));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(player.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_make_no_sense_end_a_stream_and_not_the_link() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    let (_link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    for bad in [&[wire::VERSION, 250][..], &vec![wire::VERSION; wire::FRAME_MAX + 1]] {
        player.tell_raw(bad);
        assert!(matches!(until(&updates, lost), Reason::BadFrame(_)));
        until(&updates, connected);
    }
}

fn done(update: Update) -> Option<(CommandId, Result<Outcome, CommandError>)> {
    match update {
        Update::CommandDone { id, result } => Some((id, result)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_run_while_the_stream_goes_on() {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    let (link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    let removed = link.command(Command::Remove(RuleId(7)), false).unwrap();
    assert_eq!(until(&updates, done), (removed, Ok(Outcome::Removed(RuleId(7)))));
    let released = link.command(Command::Release, true).unwrap();
    assert_ne!(removed, released);
    assert_eq!(until(&updates, done), (released, Ok(Outcome::Released(3))));
    assert_eq!(player.commands(), ["Remove 7", "Release interactive"]);
    let draft = EntryDraft {
        pattern: "~/demo/**".into(),
        label: Text::default(),
        group: Text::default(),
        severity: Severity::High,
        expected: Vec::new(),
    };
    let wanted = Change::Add { draft, is_system: false };
    let added = link.command(Command::Watchlist(wanted), false).unwrap();
    assert_eq!(until(&updates, done), (added, Ok(Outcome::Entry(EntryId(1)))));
    let settings = Settings { severity: Some(Severity::Low), ..Settings::default() };
    let changed = link.command(Command::Watchlist(Change::Set(EntryId(1), settings)), true).unwrap();
    assert_eq!(until(&updates, done), (changed, Ok(Outcome::Entry(EntryId(1)))));
    player.tell(&[gone(7)]).unwrap();
    until(&updates, |update| (update == Update::Events(vec![gone(7)])).then_some(()));
    assert_eq!(player.calls(), ["own"], "the same stream");
    let said = &player.commands()[2..];
    assert_eq!(
        said,
        ["AddEntry expected= pattern=~/demo/** severity=high", "SetEntry 1 severity=low interactive"]
    );
}

fn entry(id: u32) -> Entry {
    Entry {
        id: EntryId(id),
        pattern: format!("/etc/{id}.key").into(),
        label: "keys".into(),
        group: "demo".into(),
        severity: Severity::High,
        expected: Vec::new(),
        owner: Owner::Default,
        enabled: true,
    }
}

/// A player whose watchlist has entries with these numbers.
async fn watching(bus: &TestBus, ids: &[u32]) -> Player {
    let at = Timestamp(1);
    let mut events = snapshot("1");
    let end = events.pop();
    events.extend(ids.iter().map(|id| Event::WatchEntryAdded { at, entry: entry(*id) }));
    events.extend(end);
    Player::start(bus, &events).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_switched_entry_by_entry_until_one_is_refused() {
    let bus = TestBus::start().unwrap();
    let player = watching(&bus, &[1, 2, 3]).await;
    let (link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    let off = Settings { enabled: Some(false), ..Settings::default() };
    let switch = |ids: &[u32]| {
        let ids = ids.iter().copied().map(EntryId).collect();
        link.command(Command::Watchlist(Change::SetAll(ids, off.clone())), true).unwrap()
    };
    // Somebody else is faster once; nothing is said twice to an entry that was switched.
    player.will_change(1);
    let all = switch(&[1, 2, 3]);
    assert_eq!(until(&updates, done), (all, Ok(Outcome::Entry(EntryId(3)))));
    let said: Vec<String> =
        [1, 1, 2, 3].iter().map(|n| format!("SetEntry {n} enabled=false interactive")).collect();
    assert_eq!(player.commands(), said);
    let some = switch(&[1, 9, 3]);
    let (answered, result) = until(&updates, done);
    assert_eq!(answered, some);
    let Err(CommandError::Failed(text)) = result else { panic!("{result:?}") };
    assert!(text.starts_with("1 of 3 entries were changed and the others were not: "), "{text}");
    assert!(!player.commands().last().unwrap().contains("SetEntry 3"), "the first refusal ends it");
    let none = switch(&[9]);
    let refused = CommandError::UnknownId("refused by the player".into());
    assert_eq!(until(&updates, done), (none, Err(refused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_comes_back_as_it_was() {
    let bus = TestBus::start().unwrap();
    let player = watching(&bus, &[4]).await;
    let (link, updates) = link(&bus, Request::default());
    until(&updates, connected);
    let own = Entry { owner: Owner::User(1000), pattern: "~/a".into(), enabled: false, ..entry(7) };
    for (entry, id) in [(Entry { owner: Owner::System, ..entry(8) }, 5), (own, 6)] {
        let back = link.command(Command::Watchlist(Change::Restore(entry)), false).unwrap();
        assert_eq!(until(&updates, done), (back, Ok(Outcome::Entry(EntryId(id)))));
    }
    assert_eq!(
        player.commands(),
        [
            "AddEntry expected= group=demo label=keys owner=system pattern=/etc/8.key severity=high",
            "AddEntry expected= group=demo label=keys pattern=~/a severity=high",
            "SetEntry 6 enabled=false",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_without_a_stream_and_without_a_bus() {
    let mut bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    player.refuse(Refusals { own: Some(error::NOT_AUTHORIZED), all: None });
    let (link, updates) = link(&bus, Request::default());
    until(&updates, refused);
    for (name, expected) in [
        (error::NOT_AUTHORIZED, CommandError::NotAuthorized),
        (error::INTERACTION_REQUIRED, CommandError::InteractionRequired),
        (error::UNKNOWN_ID, CommandError::UnknownId("refused by the player".into())),
        (error::INVALID_ARGUMENT, CommandError::Invalid("refused by the player".into())),
        (error::LIMITS_EXCEEDED, CommandError::LimitsExceeded("refused by the player".into())),
        (error::UNAVAILABLE, CommandError::Unavailable("refused by the player".into())),
        (error::FAILED, CommandError::Failed("refused by the player".into())),
        (
            "org.freedesktop.DBus.Error.UnknownMethod",
            CommandError::Refused("the helper is older than this program".into()),
        ),
    ] {
        player.refuse_commands(Some(name));
        let id = link.command(Command::Release, false).unwrap();
        assert_eq!(until(&updates, done), (id, Err(expected)));
    }
    player.stop().await.unwrap();
    let id = link.command(Command::Release, false).unwrap();
    assert_eq!(until(&updates, done), (id, Err(CommandError::NoHelper(Reason::NoHelper))));
    bus.kill().unwrap();
    until(&updates, |u| lost(u).filter(|r| matches!(r, Reason::NoBus(_))));
    let id = link.command(Command::Release, false).unwrap();
    let (answered, result) = until(&updates, done);
    assert_eq!(answered, id);
    assert!(matches!(result, Err(CommandError::NoHelper(Reason::NoBus(_)))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_while_nobody_answers() {
    let bus = TestBus::start().unwrap();
    let (link, updates) = link(&bus, Request::default());
    assert_eq!(until(&updates, lost), Reason::NoHelper);
    let asked = Instant::now();
    link.stop();
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_needs_no_stream() {
    let bus = TestBus::start().unwrap();
    assert_eq!(status(Some(bus.address())).await, Err(Reason::NoHelper));
    let player = Player::start(&bus, &snapshot("1")).await.unwrap();
    let status = status(Some(bus.address())).await.unwrap();
    assert_eq!(
        (status.version.as_str(), status.mode.as_str(), status.uptime_ms),
        ("0.0.0-player", "full", 1500)
    );
    assert_eq!(status.sources[1].reason, "EPERM");
    assert_eq!((status.kinds[0].made, status.kinds[0].filtered), (7, 1));
    assert_eq!(player.streams(), 0);
}
