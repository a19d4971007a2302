//! The commands that follow a stream: what they tell, when they end, what they leave behind.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sekhmet_common::log;
use sekhmet_testkit::player::Player;

use crate::scene::{HARMLESS, HOSTILE, Scene, at, ended, exited, process, snapshot};

fn spawn(scene: &Scene, arguments: &[&str]) -> Child {
    scene.ctl(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_tells_what_follows_the_snapshot_at_once() {
    let scene = Scene::new().await;
    let mut child = spawn(&scene, &["watch", "--json"]);
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    scene.watched(1);
    for id in [1, 2] {
        scene.player.tell(&[exited(id)]).unwrap();
        let line = told.next().unwrap().unwrap();
        assert_eq!(log::from_line(&line).unwrap(), exited(id));
        assert!(line.starts_with("{\"type\":\"process_exited\",\"at\":\"2025-"), "{line}");
    }
    signal(&child, Signal::INT);
    assert_eq!(ended(child).0, Some(0));
    assert!(told.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_ends_after_its_time_and_shows_the_snapshot_on_request() {
    let scene = Scene::new().await;
    let begun = Instant::now();
    let shown = scene.json(&["watch", "--json", "--snapshot", "--for", "1s"]);
    assert!((1..4).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let read: Vec<_> = shown.iter().map(|l| log::from_line(&l.to_string()).unwrap()).collect();
    assert_eq!(read, snapshot());
    let kinds = ["--kinds", "flow_opened,others", "--kinds", "balance"];
    let shown = scene.json(&[&["watch", "--json", "--snapshot", "--for", "1"][..], &kinds].concat());
    let types: Vec<&str> = shown.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["flow_opened", "flow_opened", "flow_opened", "others", "balance"]);
    assert!(scene.json(&["watch", "--json", "--for", "500ms"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_for_people_is_one_harmless_line_per_event() {
    let scene = Scene::new().await;
    let child = spawn(&scene, &["watch", "--for", "2s"]);
    scene.watched(1);
    let started =
        sekhmet_common::event::Event::ProcessStarted { at: at(7_000_000), process: process(3, HOSTILE) };
    scene.player.tell(&[started, exited(3)]).unwrap();
    let (code, out, err) = ended(child);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!(
            "04:40:00.007  process_started  {HARMLESS}[1003] by ada: {HARMLESS} -s\n\
             04:40:00.000  process_exited   {HARMLESS}[1003] exited with 1\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_says_when_the_helper_goes_and_comes() {
    let scene = Scene::new().await;
    let mut child = spawn(&scene, &["watch", "--json"]);
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    scene.watched(1);
    scene.player.stop().await.unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "sekhmetctl: the helper has closed the stream; trying again");
    let player = Player::start(&scene.bus, &snapshot()).await.unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "sekhmetctl: connected again, helper 1");
    player.tell(&[exited(1)]).unwrap();
    assert_eq!(log::from_line(&told.next().unwrap().unwrap()).unwrap(), exited(1));
    signal(&child, Signal::TERM);
    assert_eq!(ended(child).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_that_never_saw_a_helper_ends_with_3() {
    let bus = sekhmet_testkit::bus::TestBus::start().unwrap();
    let output = crate::scene::ctl(&bus, &["watch", "--json", "--for", "1s"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_notices_that_its_reader_has_gone() {
    let scene = Scene::new().await;
    let mut child = spawn(&scene, &["watch", "--json"]);
    scene.watched(1);
    drop(child.stdout.take());
    std::thread::sleep(Duration::from_millis(100));
    let (code, _out, err) = ended(child);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}
