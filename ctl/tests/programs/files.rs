//! The commands about watched files and the list of what is watched.

use sekhmet_common::{
    bus::error,
    coverage::{capability::KEPT_WATCHLIST, cost::UNWATCHED_UNTIL_RESTART},
    display::Text,
    event::Event,
    file::{Access, AccessId, Contact, ContactId, ContactReason, FileAccess, Outcome},
    flow::{Endpoint, FlowId, NameSource, RemoteName},
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId, Owner, Severity},
};
use sekhmet_testkit::bus::TestBus;
use serde_json::{Value, json};

use crate::scene::{HARMLESS, HOSTILE, Scene, at, ctl, shape, snapshot, text};

/// What would clear the screen; labels are strings, which cannot hold all that a path can.
const LABEL: &str = "ev\x1b[2Jil";

fn entry(id: u32, pattern: &str, owner: Owner) -> Entry {
    Entry {
        id: EntryId(id),
        pattern: pattern.into(),
        label: LABEL.into(),
        group: "SSH and GPG".into(),
        severity: Severity::High,
        expected: vec!["/usr/bin/ssh*".into(), "/usr/bin/gpg".into()],
        owner,
        enabled: true,
    }
}

fn access(id: u64, path: &[u8], at: Timestamp) -> FileAccess {
    FileAccess {
        id: AccessId(id),
        process: ProcessId(1),
        path: Text::from(path),
        requested_path: None,
        entry: EntryId(7),
        severity: Severity::High,
        access: Access::Read,
        result: Outcome::OK,
        count: 1,
        at,
        last_at: at,
        first_time: false,
        expected: true,
        mount_ns: None,
        contacts_left_out: 0,
    }
}

/// The snapshot with two entries, an old access, a new one that was refused, and what came after the old one.
fn watched() -> Vec<Event> {
    let mut events = snapshot();
    let end = events.pop().unwrap();
    let now = at(9);
    let refused = FileAccess {
        requested_path: Some("../k".into()),
        result: Outcome(13),
        count: 1_234,
        first_time: true,
        expected: false,
        mount_ns: Some(4_026_532_000),
        contacts_left_out: 40,
        entry: EntryId(99),
        ..access(2, b"/home/ada/.ssh/id_ed25519", Timestamp::now())
    };
    let contact = Contact {
        id: ContactId(5),
        access: AccessId(1),
        read_at: now,
        process: ProcessId(2),
        flow: FlowId(11),
        remote: Endpoint::new("198.51.100.2".parse().unwrap(), 443),
        remote_name: Some(RemoteName { name: Text::from(HOSTILE), source: NameSource::Tls }),
        reason: ContactReason::Sent,
        at: now,
        tx_bytes: 70_000,
    };
    events.extend([
        Event::WatchEntryAdded { at: now, entry: entry(7, "~/.ssh/id_*", Owner::Default) },
        Event::WatchEntryAdded { at: now, entry: entry(8, "~/.config/demo/**", Owner::User(1000)) },
        Event::FileAccessed { at: now, access: access(1, HOSTILE, now) },
        Event::FileAccessed { at: now, access: refused },
        Event::ContactAfter { at: now, contact },
        end,
    ]);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn files_has_exactly_its_fields() {
    let scene = Scene::telling(&watched()).await;
    let shown = scene.json(&["files", "--json"]);
    let owner = "process{id pid name exe cmdline uid user unit container}";
    for line in &shown {
        assert_eq!(
            shape(line),
            format!(
                "id {owner} path requested_path entry severity access result count at first_time last_at \
                 expected label mount_ns contacts contacts_left_out"
            )
        );
    }
    assert_eq!(shown.iter().map(|line| line["id"].clone()).collect::<Vec<_>>(), [1, 2]);
    let words = ["path", "entry", "severity", "access", "result", "label"].map(|key| shown[0][key].clone());
    assert_eq!(
        words,
        [json!(HARMLESS), json!(7), json!("high"), json!("read"), json!("ok"), json!("ev\\x1b[2Jil")]
    );
    let of_refused = ["requested_path", "result", "count", "first_time", "expected", "label", "mount_ns"];
    assert_eq!(
        of_refused.map(|key| shown[1][key].clone()),
        [
            json!("../k"),
            json!("EACCES"),
            json!(1234),
            json!(true),
            json!(false),
            Value::Null,
            json!(4_026_532_000_u32)
        ]
    );
    let contact = json!({
        "id": 5, "process": 2, "pid": 1002, "flow": 11,
        "remote": { "addr": "198.51.100.2", "port": 443, "name": HARMLESS, "name_source": "tls" },
        "reason": "sent", "at": "2025-11-21T04:40:00.000000009Z", "tx_bytes": 70_000,
    });
    assert_eq!((&shown[0]["contacts"], &shown[1]["contacts"]), (&json!([contact]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_last_minute() {
    let scene = Scene::telling(&watched()).await;
    let ids = |arguments: &[&str]| {
        let lines = scene.json(&[&["files", "--json"], arguments].concat());
        lines.iter().map(|line| line["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--since", "1m"]), [2]);
    assert_eq!(ids(&["--since", "60"]), [2]);
    assert_eq!(ids(&["--since", "0s"]), [] as [u64; 0]);
    // Longer than there have been nanoseconds.
    assert_eq!(ids(&["--since", "18446744073709551615"]), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_accesses_is_harmless() {
    let scene = Scene::telling(&watched()).await;
    let output = scene.run(&["files"]);
    let shown = text(&output.stdout);
    assert!(output.status.success() && !shown.contains('\x1b'), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[1].starts_with("2025-11-21 04:40:00") && lines[1].contains(HARMLESS), "{shown}");
    assert!(lines[1].contains(&format!("198.51.100.2:443 ({HARMLESS})")), "{shown}");
    for word in
        ["EACCES", "1,234", "40 more", "not expected, first time, container", "/home/ada/.ssh/id_ed25519"]
    {
        assert!(lines[2].contains(word), "{word}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchlist_is_whole_and_harmless() {
    let scene = Scene::telling(&watched()).await;
    let shown = scene.json(&["watchlist", "list", "--json"]);
    assert_eq!(
        shown[0].to_string(),
        serde_json::to_string(&entry(7, "~/.ssh/id_*", Owner::Default)).unwrap()
    );
    assert_eq!((shown.len(), &shown[1]["owner"]), (2, &json!({ "user": 1000 })));
    let output = scene.run(&["watchlist", "list"]);
    let shown = text(&output.stdout);
    assert!(!shown.contains('\x1b') && shown.contains("ev\\x1b[2Jil"), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].contains("everybody") && lines[1].ends_with("/usr/bin/ssh*, /usr/bin/gpg"), "{shown}");
    assert!(lines[2].contains("user 1000") && lines[2].contains("~/.config/demo/**"), "{shown}");
    assert!(scene.player.calls().is_empty() && scene.player.commands().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_added_switched_and_removed() {
    let scene = Scene::telling(&watched()).await;
    let shown = scene.json(&["watchlist", "add", "~/demo/**", "--json"]);
    assert_eq!((&shown[0]["id"], &shown[0]["pattern"]), (&json!(9), &json!("~/demo/**")));
    let output = scene.run(&[
        "watchlist",
        "add",
        "/srv/**",
        "--system",
        "--label",
        "Keys",
        "--group",
        "Mine",
        "--severity",
        "high",
        "--expect",
        "/usr/bin/ssh",
        "--expect",
        "/usr/bin/git",
    ]);
    assert_eq!(text(&output.stdout), "entry 10: /srv/** (Keys, high)\n");
    assert_eq!(scene.json(&["watchlist", "disable", "10", "--json"])[0]["enabled"], false);
    assert_eq!(text(&scene.run(&["watchlist", "enable", "10"]).stdout), "entry 10: /srv/** (Keys, high)\n");
    assert_eq!(text(&scene.run(&["watchlist", "remove", "10"]).stdout), "entry 10 removed\n");
    assert_eq!(scene.json(&["watchlist", "remove", "9", "--json"]), [json!({ "removed": 1 })]);
    assert_eq!(
        scene.player.commands(),
        [
            "AddEntry expected= pattern=~/demo/** severity=medium",
            "AddEntry expected=[\"/usr/bin/ssh\", \"/usr/bin/git\"] group=Mine label=Keys owner=system pattern=/srv/** \
             severity=high",
            "SetEntry 10 enabled=false",
            "SetEntry 10 enabled=true",
            "RemoveEntry 10",
            "RemoveEntry 9",
        ]
    );
    let output = scene.run(&["watchlist", "remove", "9"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

/// On a disk that is full or cannot be written what is switched off is off, and would be on again.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_watched_again_after_a_restart_is_said() {
    let scene = Scene::telling(&watched()).await;
    assert_eq!(text(&scene.run(&["watchlist", "disable", "8"]).stderr), "");
    scene.player.owe(KEPT_WATCHLIST, UNWATCHED_UNTIL_RESTART, "No space left on device");
    assert_eq!(text(&scene.run(&["watchlist", "enable", "8"]).stderr), "");
    for how in ["disable", "remove"] {
        let output = scene.run(&["watchlist", how, "8"]);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(0), false));
        let said = "(No space left on device): entry 8 is watched again after a restart";
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_an_expected_reader() {
    let scene = Scene::telling(&watched()).await;
    let output = scene.run(&["watchlist", "add", "/srv/k", "--reader", "package:openssh-client"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(scene.player.commands()[0].contains("expected=[\"package:openssh-client\"]"));
    let output = scene.run(&["watchlist", "add", "/srv/k", "--reader", "package:Open SSH"]);
    assert_eq!((output.status.code(), scene.player.commands().len()), (Some(2), 1));
    assert!(text(&output.stderr).contains("expected reader 1: the name of a package"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shell_made_of_the_own_home_is_the_own_home_again() {
    let scene = Scene::telling(&watched()).await;
    for (home, given, more, sent) in [
        ("/home/ada", "/home/ada/keys", None, "~/keys"),
        ("/home/ada", "/home/adam/keys", None, "/home/adam/keys"),
        ("/home/ada", "/home/ada", None, "/home/ada"),
        ("/", "/keys", None, "/keys"),
        ("/home/ada", "/home/ada/keys", Some("--system"), "/home/ada/keys"),
    ] {
        let mut command = scene.ctl(&["watchlist", "add", given]);
        assert!(command.args(more).env("HOME", home).output().unwrap().status.success());
        let said = scene.player.commands().pop().unwrap();
        assert!(said.contains(&format!(" pattern={sent} ")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_somebody_else_changed_is_looked_at_once_more() {
    let scene = Scene::telling(&watched()).await;
    scene.player.will_change(1);
    assert_eq!(scene.run(&["watchlist", "disable", "8"]).status.code(), Some(0));
    assert_eq!(scene.player.commands(), ["SetEntry 8 enabled=false"; 2]);
    scene.player.will_change(5);
    let output = scene.run(&["watchlist", "disable", "8"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert_eq!(scene.player.commands().len(), 4, "twice, and not for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_needs_a_password_asks_for_one() {
    let scene = Scene::telling(&watched()).await;
    assert!(scene.run(&["watchlist", "add", "~/demo", "--interactive"]).status.success());
    scene.player.refuse_commands(Some(error::INTERACTION_REQUIRED));
    let output = scene.run(&["watchlist", "add", "/demo"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("try --interactive"), "{}", text(&output.stderr));
    // Reading the list is a call of its own, and is refused here as well.
    assert!(!scene.run(&["watchlist", "list"]).status.success());
    let told = scene.player.commands();
    assert!(told.iter().all(|said| !said.ends_with("interactive")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_name_a_path_are_found_without_asking() {
    let scene = Scene::telling(&watched()).await;
    let named = |path: &str| {
        let mut command = scene.ctl(&["watchlist", "test", path, "--json"]);
        let output = command.env("HOME", "/nonexistent/ada").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        crate::scene::lines(&output.stdout).iter().map(|e| e["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(named("/nonexistent/ada/.ssh/id_rsa"), [7]);
    assert_eq!(named("/nonexistent/ada/x/../.ssh/id_rsa"), [7]);
    assert_eq!(named("/nonexistent/bob/.ssh/id_rsa"), [] as [u64; 0]);
    // For another user than the caller.
    assert_eq!(named("/nonexistent/ada/.config/demo/x"), [] as [u64; 0]);
    let output = scene.run(&["watchlist", "test", "/a\u{1b}[2J"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "no entry names /a\\x1b[2J\n"));
    assert!(scene.player.commands().is_empty() && scene.player.calls().is_empty());
}

#[test]
fn wrong_usage_is_2_and_no_helper_is_3() {
    let bus = TestBus::start().unwrap();
    for wrong in [
        &["files", "--since", "soon"][..],
        &["watchlist"],
        &["watchlist", "add"],
        &["watchlist", "add", "/x", "--severity", "extreme"],
        &["watchlist", "add", "relative/path"],
        &["watchlist", "add", "/**"],
        &["watchlist", "add", "/x", "--expect", "~/bin/x"],
        &["watchlist", "test"],
        &["watchlist", "remove", "all"],
        &["watchlist", "enable", "-1"],
    ] {
        let output = ctl(&bus, wrong).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}");
    }
    for command in [&["files"][..], &["watchlist", "list"], &["watchlist", "add", "~/x"]] {
        let output = ctl(&bus, command).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{command:?}");
        assert!(text(&output.stderr).contains("the helper is not running"), "{}", text(&output.stderr));
    }
}
