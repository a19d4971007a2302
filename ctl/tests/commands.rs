//! `sekhmetctl` as a program, with a player of recorded events in the helper's place.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Read,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use sekhmet_common::{bus::error, event::Event, log};
use sekhmet_testkit::{
    bus::TestBus,
    player::{Player, Refusals, read_log},
};
use serde_json::Value;

const LOG: &str = include_str!("data/two-programs.jsonl");

fn ctl(bus: &TestBus, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekhmetctl"));
    command.args(["--bus-address", bus.address()]).args(arguments).stdin(Stdio::null());
    command
}

async fn run(bus: &TestBus, arguments: &[&str]) -> Output {
    let mut command = ctl(bus, arguments);
    // The player answers on this runtime.
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
}

async fn stage() -> (TestBus, Player) {
    let bus = TestBus::start().unwrap();
    let player = Player::start(&bus, &read_log(LOG).unwrap()).await.unwrap();
    (bus, player)
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_has_exactly_its_fields() {
    let (bus, _player) = stage().await;
    let output = run(&bus, &["ps", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(
            keys(line),
            "id pid parent_id name exe cmdline uid user unit container started_at exited_at tx_bytes rx_bytes open_flows"
        );
    }
    let curl = &lines[1];
    assert_eq!((curl["pid"].as_u64(), curl["name"].as_str()), (Some(4321), Some("curl")));
    assert_eq!(curl["cmdline"], serde_json::json!(["curl", "-s", "http://\\x1b[31mhost/"]));
    assert_eq!((curl["tx_bytes"].as_u64(), curl["open_flows"].as_u64()), (Some(70), Some(1)));
    assert_eq!(curl["exited_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_has_exactly_its_fields() {
    let (bus, _player) = stage().await;
    let lines = lines(&run(&bus, &["--json", "flows"]).await);
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(
            keys(line),
            "id process protocol direction local remote state opened_at closed_at end_reason tx_bytes rx_bytes tx_packets rx_packets"
        );
        assert_eq!(keys(&line["local"]), "addr port");
        assert_eq!(keys(&line["remote"]), "addr port name name_source");
    }
    let [open, closed, kernel] = &lines[..] else { panic!() };
    assert_eq!(keys(&open["process"]), "id pid name exe cmdline uid user unit container");
    assert_eq!(
        (open["protocol"].as_str(), open["direction"].as_str(), open["state"].as_str()),
        (Some("tcp"), Some("outbound"), Some("open"))
    );
    assert_eq!(
        (open["remote"]["addr"].as_str(), open["remote"]["port"].as_u64()),
        (Some("198.51.100.2"), Some(80))
    );
    assert_eq!(
        (open["remote"]["name"].as_str(), open["remote"]["name_source"].as_str()),
        (Some("web.example"), Some("dns"))
    );
    assert_eq!((closed["state"].as_str(), closed["end_reason"].as_str()), (Some("closed"), Some("refused")));
    assert_eq!(kernel["process"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_coverage_have_their_fields_and_need_no_right() {
    let (bus, player) = stage().await;
    player.refuse(Refusals { own: Some(error::NOT_AUTHORIZED), all: Some(error::NOT_AUTHORIZED) });
    let output = run(&bus, &["status", "--json"]).await;
    let status = &lines(&output)[0];
    assert_eq!(keys(status), "version mode uptime_ms sources made delivered lost filtered");
    assert_eq!((status["mode"].as_str(), status["uptime_ms"].as_u64()), (Some("full"), Some(1500)));
    assert_eq!((status["made"]["exec"].as_u64(), status["lost"]["exec"].as_u64()), (Some(7), Some(1)));
    assert_eq!(status["sources"]["TCP bytes"]["reason"], "EPERM");
    let coverage = lines(&run(&bus, &["coverage", "--json"]).await);
    assert_eq!(keys(&coverage[0]), "capability source status cost reason");
    let table = text(&run(&bus, &["coverage"]).await);
    assert!(table.contains("full view") && table.contains("all: EPERM"), "{table}");
    assert!(text(&run(&bus, &["status"]).await).contains("0.0.0-player"));
    assert!(player.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_for_people_and_harmless() {
    let (bus, _player) = stage().await;
    let ps = text(&run(&bus, &["ps"]).await);
    assert!(ps.starts_with("PID") || ps.contains(" PID"), "{ps}");
    assert!(ps.contains("curl -s http://\\x1b[31mhost/"), "{ps}");
    assert!(ps.contains("and 5 processes of others with 2 open flows"), "{ps}");
    let flows = text(&run(&bus, &["flows"]).await);
    assert!(
        flows.contains("curl[4321]") && flows.contains("→") && flows.contains("198.51.100.2:80"),
        "{flows}"
    );
    assert!(flows.contains("refused") && flows.contains("kernel"), "{flows}");
    for shown in [ps, flows] {
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_shows_what_happens_and_ends_in_time() {
    let (bus, player) = stage().await;
    let started = Instant::now();
    let mut command = ctl(&bus, &["watch", "--json", "--for", "1500ms"]);
    let watching = tokio::task::spawn_blocking(move || command.output().unwrap());
    while player.streams() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = [
        r#"{"type":"process_exited","at":"2026-01-01T00:00:09Z","id":2,"exit_status":0}"#,
        r#"{"type":"lost","at":"2026-01-01T00:00:10Z","kind":"exec","count":3}"#,
    ];
    player.tell(&told.map(|line| log::from_line(line).unwrap())).unwrap();
    let output = watching.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert!(started.elapsed() >= Duration::from_millis(1500));
    assert_eq!(lines(&output), told.map(|line| serde_json::from_str::<Value>(line).unwrap()), "no snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_can_begin_with_what_exists_and_choose() {
    let (bus, _player) = stage().await;
    let all = lines(&run(&bus, &["watch", "--json", "--snapshot", "--for", "200ms"]).await);
    let recorded: Vec<Value> = LOG.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all, recorded, "the log as it was recorded");
    let some = ["watch", "--snapshot", "--for", "200ms", "--kinds", "flow_opened,flow_closed"];
    let shown = text(&run(&bus, &some).await);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(shown.lines().all(|l| l.contains("flow_opened")), "{shown}");
    assert!(shown.contains("curl[4321]  tcp 198.51.100.1:40000 → 198.51.100.2:80 (web.example)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_can_be_played_again() {
    let (bus, _player) = stage().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl");
    let path = file.to_str().unwrap();
    let output = run(&bus, &["record", path, "--for", "300ms"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let events = read_log(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(events, read_log(LOG).unwrap());
    let again = run(&bus, &["record", path, "--for", "300ms"]).await;
    assert_eq!(again.status.code(), Some(1), "does not overwrite");
    assert!(complaint(&again).contains("log.jsonl"));
    let standard = run(&bus, &["record", "-", "--for", "300ms"]).await;
    assert_eq!(read_log(&text(&standard)).unwrap(), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn top_prints_blocks_where_there_is_no_terminal() {
    let (bus, _player) = stage().await;
    let output = run(&bus, &["top", "--for", "700ms", "--every", "300ms"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let shown = text(&output);
    assert_eq!(shown.matches("open flows, ↓").count(), 2, "{shown}");
    assert!(shown.contains("4321") && !shown.contains('\x1b'), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_are_as_documented() {
    let bus = TestBus::start().unwrap();
    for what in ["status", "coverage", "ps", "flows", "watch", "top", "record"] {
        let arguments: &[&str] = if what == "record" { &["record", "-"] } else { &[what] };
        let output = run(&bus, arguments).await;
        assert_eq!(output.status.code(), Some(3), "{what}");
        assert_eq!(complaint(&output), "sekhmetctl: the helper does not run\n", "{what}");
    }
    let player = Player::start(&bus, &read_log(LOG).unwrap()).await.unwrap();
    player.refuse(Refusals { own: Some(error::NOT_AUTHORIZED), all: Some(error::INTERACTION_REQUIRED) });
    for what in ["ps", "flows", "watch", "top"] {
        let output = run(&bus, &[what, "--own"]).await;
        assert_eq!(
            (output.status.code(), complaint(&output).as_str()),
            (Some(1), "sekhmetctl: not authorised\n"),
            "{what}"
        );
        let output = run(&bus, &[what, "--all"]).await;
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(complaint(&output).contains("--interactive"), "{what}");
    }
    assert_eq!(run(&bus, &["ps", "--all", "--interactive"]).await.status.code(), Some(0));
    for wrong in [&["nonsense"][..], &[], &["watch", "--for", "10"], &["watch", "--kinds", "x"], &["record"]]
    {
        assert_eq!(run(&bus, wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    let no_bus = Command::new(env!("CARGO_BIN_EXE_sekhmetctl"))
        .args(["--bus-address", "unix:path=/nonexistent", "ps"])
        .output();
    assert_eq!(no_bus.unwrap().status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let (bus, player) = stage().await;
    let mut child = ctl(&bus, &["watch", "--json", "--snapshot"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let event = Event::ProcessGone { at: Default::default(), id: sekhmet_common::process::ProcessId(1) };
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        player.tell(std::slice::from_ref(&event)).unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "goes on without a reader");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_survives_a_restart_of_the_helper() {
    let (bus, player) = stage().await;
    let mut command = ctl(&bus, &["watch", "--json", "--snapshot", "--for", "4s"]);
    let watching = tokio::task::spawn_blocking(move || command.output().unwrap());
    while player.streams() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    player.stop().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _player = Player::start(&bus, &read_log(LOG).unwrap()).await.unwrap();
    let output = watching.await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(complaint(&output).contains("waiting for the helper"));
    let begins = lines(&output).iter().filter(|line| line["type"] == "snapshot_begin").count();
    assert_eq!(begins, 2);
}
