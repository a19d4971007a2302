//! The commands that show what is, once: their fields, their tables, their failures.

use std::process::Stdio;

use sekhmet_common::bus::error;
use sekhmet_testkit::{bus::TestBus, player::Refusals};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::scene::{HARMLESS, Scene, ctl, ended, process, shape, text};

#[tokio::test(flavor = "multi_thread")]
async fn ps_has_exactly_its_fields() {
    let scene = Scene::new().await;
    let shown = scene.json(&["ps", "--json"]);
    assert_eq!(shown.len(), 2);
    for line in &shown {
        assert_eq!(
            shape(line),
            "id pid parent_id name exe cmdline uid user unit container started_at exited_at tx_bytes \
             rx_bytes open_flows blocked_by"
        );
    }
    let first = json!({
        "id": 1, "pid": 1001, "parent_id": null, "name": "curl", "exe": "/usr/bin/curl",
        "cmdline": ["curl", "-s"], "uid": 1000, "user": "ada", "unit": "app.scope", "container": null,
        "started_at": "2025-11-21T04:40:00Z", "exited_at": null, "tx_bytes": 420, "rx_bytes": 1_020_000,
        "open_flows": 1, "blocked_by": [],
    });
    assert_eq!(shown[0], first);
    assert_eq!((&shown[1]["parent_id"], &shown[1]["name"]), (&json!(1), &json!(HARMLESS)));
    assert_eq!(shown[1]["exited_at"], "2025-11-21T04:40:00.000000009Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_has_exactly_its_fields() {
    let scene = Scene::new().await;
    let shown = scene.json(&["flows", "--json"]);
    let tail = "state opened_at closed_at end_reason tx_bytes rx_bytes tx_packets rx_packets";
    let middle = "protocol direction local{addr port} remote{addr port name name_source}";
    let owner = "process{id pid name exe cmdline uid user unit container}";
    let shapes: Vec<String> = shown.iter().map(shape).collect();
    assert_eq!(
        shapes,
        [
            format!("id {owner} {middle} {tail}"),
            format!("id {owner} {middle} {tail}"),
            format!("id process {middle} {tail}")
        ]
    );
    let remote = json!({ "addr": "198.51.100.2", "port": 443, "name": HARMLESS, "name_source": "tls" });
    assert_eq!((&shown[0]["remote"], &shown[0]["process"]["pid"]), (&remote, &json!(1001)));
    let words = ["protocol", "direction", "state", "end_reason"].map(|key| shown[1][key].clone());
    assert_eq!(words, ["tcp", "outbound", "closed", "timed_out"]);
    assert_eq!((&shown[2]["process"], &shown[2]["rx_packets"]), (&Value::Null, &json!(300)));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_coverage_have_exactly_their_fields_and_need_no_stream() {
    let scene = Scene::new().await;
    scene.player.refuse(Refusals { own: Some(error::NOT_AUTHORIZED), all: Some(error::NOT_AUTHORIZED) });
    let expected = json!({
        "version": "0.0.0-player", "mode": "full", "uptime_ms": 1500,
        "sources": { "process start": "tp_btf sched_process_exec", "TCP bytes": "" },
        "made": { "exec": 7 }, "delivered": { "exec": 5 }, "lost": { "exec": 1 }, "filtered": { "exec": 1 },
        "in_flight": { "exec": 0 },
    });
    let shown = scene.json(&["status", "--json"]);
    assert_eq!(shown.iter().map(Value::to_string).collect::<Vec<_>>(), [expected.to_string()]);
    let shown = scene.json(&["coverage", "--json"]);
    assert_eq!(
        shown[1].to_string(),
        json!({
            "capability": "TCP bytes", "source": "", "status": "missing", "cost": "all", "reason": "EPERM",
        })
        .to_string()
    );
    for command in ["status", "coverage"] {
        assert_eq!(scene.run(&[command]).status.code(), Some(0));
    }
    assert!(scene.player.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_aligned_and_harmless() {
    let scene = Scene::new().await;
    let output = scene.run(&["ps"]);
    let shown = text(&output.stdout);
    assert!(!shown.contains('\x1b') && shown.contains(HARMLESS), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let end = column_end(lines[0], "RECEIVED");
    assert!(lines[1..3].iter().all(|line| column_end(line, "1.02 MB") == end), "{shown}");
    assert_eq!(lines[3], "and 1,234 processes of others with 5 open flows: 0.01 kB received, – sent");
    let output = scene.run(&["flows"]);
    let shown = text(&output.stdout);
    assert!(!shown.contains('\x1b') && shown.contains(HARMLESS) && shown.contains("kernel"), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let end = column_end(lines[0], "RECEIVED");
    assert!(lines[1..].iter().all(|line| column_end(line, "412 kB") == end), "{shown}");
}

/// The cell of the terminal where this text ends.
fn column_end(line: &str, text: &str) -> usize {
    line[..line.find(text).unwrap() + text.len()].width()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_so_and_shows_nothing() {
    let scene = Scene::new().await;
    for (name, said) in [
        (error::NOT_AUTHORIZED, "not authorised"),
        (error::INTERACTION_REQUIRED, "not authorised: an administrator"),
        (error::LIMITS_EXCEEDED, "too many clients"),
    ] {
        scene.player.refuse(Refusals { own: None, all: Some(name) });
        for command in [&["ps", "--json"][..], &["flows"], &["watch", "--json"]] {
            let output = scene.run(&[command, &["--all"]].concat());
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
            assert!(output.stdout.is_empty());
        }
    }
    let before = scene.player.calls().len();
    assert_eq!(scene.json(&["ps", "--all", "--interactive", "--json"]).len(), 2);
    assert_eq!(scene.json(&["ps", "--own", "--json"]).len(), 2);
    // Tests run as root in a container and as anybody else elsewhere.
    let usual = if rustix::process::geteuid().is_root() { "all" } else { "own" };
    scene.player.refuse(Refusals::default());
    scene.json(&["ps", "--json"]);
    assert_eq!(scene.player.calls()[before..], ["all interactive", "own", usual]);
}

#[test]
fn without_a_helper_the_status_is_3_within_seconds() {
    let bus = TestBus::start().unwrap();
    for command in ["ps", "flows", "status", "coverage"] {
        let begun = std::time::Instant::now();
        let output = ctl(&bus, &[command, "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(text(&output.stderr).contains("the helper is not running"), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty() && begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
    let nowhere = ["--bus", "unix:path=/nonexistent/bus"];
    let program = env!("CARGO_BIN_EXE_sekhmetctl");
    let output = std::process::Command::new(program).args(nowhere).arg("ps").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn a_helper_that_is_just_starting_is_waited_for() {
    let bus = TestBus::start().unwrap();
    let child = ctl(&bus, &["ps", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let events = crate::scene::snapshot();
    let _player = runtime.block_on(sekhmet_testkit::player::Player::start(&bus, &events)).unwrap();
    let (code, out, _err) = ended(child);
    assert_eq!((code, out.lines().count()), (Some(0), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_without_room_is_asked_again() {
    let scene = Scene::new().await;
    let full = Some(error::LIMITS_EXCEEDED);
    scene.player.refuse(Refusals { own: full, all: full });
    let child = scene.ctl(&["ps", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    crate::scene::eventually("a refusal", || !scene.player.calls().is_empty());
    scene.player.refuse(Refusals::default());
    let (code, out, _err) = ended(child);
    assert_eq!((code, out.lines().count()), (Some(0), 2));
}

#[test]
fn wrong_usage_is_2() {
    let bus = TestBus::start().unwrap();
    for wrong in [
        &["nonsense"][..],
        &[],
        &["ps", "--own", "--all"],
        &["watch", "--for", "soon"],
        &["watch", "--kinds", "exec"],
        &["record"],
    ] {
        let output = ctl(&bus, wrong).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_has_seen_enough_is_no_error() {
    let mut events = crate::scene::snapshot();
    let end = events.pop().unwrap();
    // More than a pipe holds.
    events.extend((100..700).map(|id| sekhmet_common::event::Event::ProcessStarted {
        at: crate::scene::at(1),
        process: process(id, &[b'x'; 100]),
    }));
    events.push(end);
    let scene = Scene::telling(&events).await;
    for arguments in [&["ps", "--json"][..], &["ps"]] {
        let mut child = scene.ctl(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _out, err) = ended(child);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
