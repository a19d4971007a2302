//! `top` on a pseudo-terminal and off one: what it draws, and the terminal afterwards.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use sekhmet_common::event::{Event, FlowCounters};
use serde_json::json;

use crate::scene::{HARMLESS, Scene, at, ended, eventually, flow, shape, text};

/// A terminal of 30 rows and 80 columns, and what was written to it.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 30, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let ours = File::from(ours);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, sink) = (ours.try_clone().unwrap(), Arc::clone(&written));
        thread::Builder::new()
            .name("terminal".into())
            .spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = reader.read(&mut buffer) {
                    sink.lock().unwrap().extend_from_slice(&buffer[..length]);
                }
            })
            .unwrap();
        Self { ours, theirs, written }
    }

    fn top(&self, scene: &Scene) -> Child {
        let end = || Stdio::from(self.theirs.try_clone().unwrap());
        scene.ctl(&["top"]).stdin(end()).stdout(end()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn shows(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.written.lock().unwrap()).contains(what)
    }

    fn modes(&self) -> LocalModes {
        tcgetattr(&self.theirs).unwrap().local_modes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_restores_the_terminal() {
    let scene = Scene::new().await;
    for way in ["q", "\x03", "INT", "TERM", "HUP"] {
        let terminal = Terminal::open();
        let before = terminal.modes();
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let child = terminal.top(&scene);
        eventually("a picture", || terminal.shows("curl") && terminal.shows(HARMLESS));
        assert!(!terminal.modes().intersects(LocalModes::ICANON | LocalModes::ECHO));
        let signal = |signal| kill_process(Pid::from_child(&child), signal).unwrap();
        match way {
            "INT" => signal(Signal::INT),
            "TERM" => signal(Signal::TERM),
            "HUP" => signal(Signal::HUP),
            key => (&terminal.ours).write_all(key.as_bytes()).unwrap(),
        }
        let (code, _out, err) = ended(child);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{way:?}");
        assert_eq!(terminal.modes(), before, "{way:?}");
        eventually("the usual screen", || terminal.shows("\x1b[?25h\x1b[?1049l"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_restores_the_terminal_and_loss_is_shown_in_it() {
    let scene = Scene::new().await;
    let terminal = Terminal::open();
    let before = terminal.modes();
    let child = terminal.top(&scene);
    eventually("a picture", || terminal.shows("curl"));
    scene.player.end_streams();
    scene.watched(1);
    scene.player.tell_raw(&[sekhmet_common::wire::VERSION + 1]);
    let (code, _out, err) = ended(child);
    assert_eq!(code, Some(1));
    assert!(err.contains("another version"), "{err}");
    assert_eq!(terminal.modes(), before);
    let terminal = Terminal::open();
    let mut child = terminal.top(&scene);
    eventually("a picture", || terminal.shows("curl"));
    scene.player.stop().await.unwrap();
    eventually("the loss", || terminal.shows("trying again"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_is_blocks_and_lines() {
    let scene = Scene::new().await;
    let output = scene.run(&["top", "--for", "1500ms"]);
    let shown = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(shown.contains("now ↓ – ↑ –   total ↓ 2.04 MB ↑ 0.84 kB"), "{shown}");
    assert!(shown.contains("others: 1,234 processes, 5 open flows, total ↓ 0.01 kB ↑ –\n"), "{shown}");
    assert!(shown.contains("REMOTE HOST") && shown.contains(HARMLESS) && !shown.contains('\x1b'), "{shown}");

    let child = scene.ctl(&["top", "--json", "--for", "3500ms"]).stdout(Stdio::piped()).spawn().unwrap();
    scene.watched(1);
    thread::sleep(std::time::Duration::from_millis(1200));
    let mut counters = flow(11, None).counters;
    counters.rx_bytes += 1_000_000;
    let moved = FlowCounters { id: flow(11, None).id, counters };
    scene.player.tell(&[Event::Traffic { at: at(60), flows: vec![moved] }]).unwrap();
    let (code, out, _err) = ended(child);
    assert_eq!(code, Some(0));
    let shown = crate::scene::lines(out.as_bytes());
    assert!((2..=4).contains(&shown.len()), "{out}");
    for line in &shown {
        assert_eq!(
            shape(line),
            "at tx_rate rx_rate tx_bytes rx_bytes running_processes open_flows processes hosts"
        );
    }
    assert_eq!((&shown[0]["rx_rate"], &shown[0]["running_processes"]), (&json!(0), &json!(1)));
    let fastest = shown.iter().map(|line| line["rx_rate"].as_u64().unwrap()).max();
    assert!((300_000..1_100_000).contains(&fastest.unwrap()), "{out}");
}
