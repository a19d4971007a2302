//! The window as a person, or a screen reader, meets it: found by label, worked by pointer and keys.

use std::time::Duration;

use egui::Key;
use egui_kittest::kittest::Queryable;
use sekhmet_common::{
    coverage::Mode,
    event::{Event, FlowCounters},
    flow::{Counters, FlowId},
};
use sekhmet_gui::{link::Update, model::screen::Lens};

#[path = "support/scene.rs"]
mod scene;
#[path = "support/window.rs"]
mod window;

use window::Window;

#[test]
fn a_click_on_a_process_shows_its_hosts() {
    let mut w = Window::scene(120);
    w.click("Unfold Firefox");
    w.click_row("firefox, process");
    assert!(w.has("Inspector: firefox"));
    assert!(w.has("Hosts 3"));
    assert!(w.has("video.example, name from DNS"));
    assert!(w.has("Path: /usr/lib/firefox/firefox"));
    assert!(w.has("User: ana"));
    assert!(w.has("Started by systemd"));
}

#[test]
fn rows_carry_their_figures_for_those_who_hear_them() {
    let w = Window::scene(120);
    assert!(w.has("backup.py, program, level 1, folded, download 1."));
    assert!(w.has("Firefox, last 60 seconds: download "));
    assert!(w.has("All programs, 13:57 to 14:03: download peak") || w.has("All programs, "));
}

#[test]
fn local_traffic_is_counted_and_shown_on_demand() {
    let mut w = Window::scene(60);
    assert!(!w.names().contains(&"psql".to_owned()));
    assert!(w.has("LAN and loopback: hidden, ↓"));
    w.key(Key::L);
    assert!(w.names().contains(&"psql".to_owned()));
    assert!(w.has("LAN and loopback: shown"));
}

#[test]
fn search_filters_and_suggests() {
    let mut w = Window::scene(120);
    w.harness.state_mut().model_mut().screen.search_for("host:vault");
    w.harness.state_mut().model_mut().invalidate();
    w.step();
    assert_eq!(w.names(), ["backup.py", "backup.py", "vault.backup.example"][..1]);
    w.harness.state_mut().model_mut().screen.search_for("host:vidoe.example"); // typos: wrong on purpose
    w.harness.state_mut().model_mut().invalidate();
    w.step();
    assert!(w.has("Nothing matches in the last 5 min"));
    w.click("host:video.example");
    assert_eq!(w.names()[0], "Firefox");
    w.key(Key::Escape);
    assert!(w.names().len() > 5);
}

#[test]
fn typing_into_the_search_box_filters() {
    let mut w = Window::scene(60);
    w.harness.event(egui::Event::Text("/".into()));
    w.step();
    w.harness.event(egui::Event::Text("thunder".into()));
    w.step();
    assert_eq!(w.names(), ["Thunderbird"]);
    w.key(Key::Escape);
    assert!(w.names().len() > 5);
}

#[test]
fn a_paused_picture_stands_still_while_collecting_goes_on() {
    let mut w = Window::scene(60);
    let before = w.harness.state().model().ledger().total().total(scene::at(60).0 as u32, false);
    w.key(Key::Space);
    w.play(60, 90);
    assert!(w.has("Paused at 14:02:50") || w.has("Paused at "));
    assert!(w.has("Collecting goes on: "));
    let model = w.harness.state().model();
    assert_eq!(model.ledger().second(), (scene::BEGIN + 60) as u32);
    assert_eq!(model.live().second(), (scene::BEGIN + 90) as u32);
    assert_eq!(model.ledger().total().total(scene::at(60).0 as u32, false), before);
    w.harness.get_all_by_label("Go live").last().expect("the strip's button").click();
    w.step();
    assert!(w.harness.state().model().paused().is_none());
}

/// Makes one flow of the scene talk far more than all others.
fn shout(flow: u64, seconds: i64, bytes: u64) -> Update {
    let counters = Counters { tx_bytes: 0, rx_bytes: bytes, tx_packets: 0, rx_packets: 1 };
    let flows = vec![FlowCounters { id: FlowId(flow), counters }];
    Update::Events(vec![Event::Traffic { at: scene::at(seconds), flows }])
}

#[test]
fn rows_do_not_jump_under_the_pointer() {
    let mut w = Window::scene(60);
    let before = w.names();
    assert_ne!(before[0], "ssh");
    w.harness.hover_at(egui::pos2(600.0, 300.0));
    w.step();
    w.hand.0.borrow_mut().now = scene::at(62);
    w.tell(shout(70, 61, 900_000_000_000));
    assert_eq!(w.names(), before);
    w.harness.hover_at(egui::pos2(600.0, 10.0));
    w.step();
    assert_eq!(w.names()[0], "ssh");
}

#[test]
fn the_keyboard_walks_the_tree() {
    let mut w = Window::scene(60);
    w.key(Key::ArrowDown);
    w.key(Key::ArrowRight);
    w.key(Key::ArrowRight);
    let selected = w.harness.state().model().selected_index();
    assert_eq!(selected, Some(1));
    w.key(Key::ArrowLeft);
    w.key(Key::ArrowLeft);
    assert_eq!(w.harness.state().model().selected_index(), Some(0));
    assert_eq!(w.harness.state().model().tree().rows[0].unfolded, Some(false));
    w.key(Key::End);
    let model = w.harness.state().model();
    assert_eq!(model.selected_index(), Some(model.tree().rows.len() - 1));
    w.key(Key::Num3);
    assert_eq!(w.harness.state().model().screen.lens, Lens::Services);
    assert!(w.names().contains(&"sshd".to_owned()) && !w.names().contains(&"Firefox".to_owned()));
}

#[test]
fn every_lens_has_its_rows() {
    let mut w = Window::scene(120);
    for (lens, name) in [("Containers, ", "n8n-prod"), ("Users, ", "ana"), ("Applications, ", "Firefox")] {
        w.harness.get_by(|n| n.label().is_some_and(|l| l.starts_with(lens))).click();
        w.step();
        assert!(w.names().contains(&name.to_owned()), "{lens}");
    }
    w.click("Coverage");
    assert!(w.has("Accepted connections: owner of the listening socket, reduced"));
    assert!(w.has("Programs executed: made "));
}

#[test]
fn no_helper_is_said_and_can_be_started() {
    let mut w = Window::new([1280.0, 720.0]);
    assert!(w.has("Looking for the helper"));
    w.tell(Update::Lost { reason: "name has no owner".into(), retry_in: Some(Duration::from_secs(2)) });
    assert!(w.has("The helper is not running"));
    assert!(w.has("Not collecting"));
    w.click("Start the helper");
    assert_eq!(w.hand.0.borrow().retries, 1);
}

#[test]
fn a_refusal_is_said_and_can_be_asked_again() {
    let mut w = Window::new([1280.0, 720.0]);
    w.tell(Update::Refused { error: "not authorised".into() });
    assert!(w.has("You have not allowed watching yet"));
    w.click("Allow watching");
    assert_eq!(w.hand.0.borrow().retries, 1);
}

#[test]
fn a_lost_helper_leaves_the_picture() {
    let mut w = Window::scene(60);
    let before = w.names();
    w.tell(Update::Lost { reason: "closed".into(), retry_in: Some(Duration::from_secs(2)) });
    w.hand.0.borrow_mut().now = scene::at(400);
    w.step();
    assert!(w.has("The helper went away "));
    assert!(w.has("Reconnecting"));
    assert_eq!(w.names(), before);
    w.click("Try now");
    assert_eq!(w.hand.0.borrow().retries, 1);
    w.tell(Update::Connected);
    assert!(!w.has("The helper went away "));
}

#[test]
fn nothing_yet_is_a_state_of_its_own() {
    let mut w = Window::new([1280.0, 720.0]);
    w.tell(Update::Connected);
    w.tell(Update::Events(scene::snapshot()));
    assert!(w.has("Nothing has talked yet"));
    assert!(w.has("The first connection appears here within one second."));
}

#[test]
fn a_reduced_view_is_said() {
    let mut w = Window::scene(10);
    w.tell(Update::Events(vec![Event::Coverage { at: scene::at(10), mode: Mode::Reduced, sources: vec![] }]));
    assert!(w.has("Reduced view."));
    w.click("What is missing");
    assert_eq!(w.harness.state().model().screen.lens, Lens::Coverage);
}

#[test]
fn others_are_one_row() {
    let mut w = Window::scene(10);
    let others = |s: i64, rx: u64| Event::Others {
        at: scene::at(s),
        processes: 212,
        open_flows: 31,
        tx_bytes: 0,
        rx_bytes: rx,
    };
    w.hand.0.borrow_mut().now = scene::at(13);
    w.tell(Update::Events(vec![others(11, 0), others(12, 5_000_000_000)]));
    assert_eq!(w.names()[0], "Other users and the system");
    w.click_row("Other users and the system");
    assert!(w.has("212 processes of other users and of the system."));
}

#[test]
fn rows_are_built_once_for_the_same_data() {
    let mut w = Window::scene(60);
    let builds = w.harness.state().model().builds();
    for _ in 0..10 {
        w.harness.step();
    }
    assert_eq!(w.harness.state().model().builds(), builds);
}

#[test]
fn only_rows_in_sight_are_laid_out() {
    let mut w = Window::new([1440.0, 900.0]);
    w.tell(Update::Connected);
    let mut events = scene::snapshot();
    for i in 0..5_000 {
        let process = scene::process(1_000 + i, &format!("/opt/tools/tool-{i}"), &["tool"]);
        events.push(Event::ProcessStarted { at: scene::at(0), process });
        let flow = scene::flow(1_000 + i, 1_000 + i, &format!("198.51.100.{}", i % 250), 443, None);
        events.push(Event::FlowOpened { at: scene::at(0), flow });
    }
    w.tell(Update::Events(events));
    assert_eq!(w.harness.state().model().tree().rows.len(), 5_000);
    let laid_out = w.harness.query_all(
        egui_kittest::kittest::by()
            .predicate(|n| n.label().is_some_and(|l| l.contains(", program, level 1"))),
    );
    assert!((10..40).contains(&laid_out.count()));
}

#[test]
fn hostile_names_do_not_break_a_row() {
    let mut w = Window::scene(10);
    let mut process = scene::process(500, "/tmp/x", &[]);
    process.exe = sekhmet_common::display::Text::from(&b"/tmp/\xff\x1b[2J\n\xe2\x80\xaegnp.exe"[..]);
    process.name = sekhmet_common::display::Text::from(&b"\xff\x1b[2J\n\xe2\x80\xaegnp.exe"[..]);
    let flow = scene::flow(500, 500, "198.51.100.66", 443, Some(&"very-long-label.".repeat(40)));
    w.tell(Update::Events(vec![
        Event::ProcessStarted { at: scene::at(10), process },
        Event::FlowOpened { at: scene::at(10), flow },
    ]));
    let names = w.names();
    let name = names.iter().find(|n| n.contains("gnp.exe")).expect("the row");
    assert!(!name.contains(['\x1b', '\n', '\u{202e}']));
}

#[test]
fn the_inspector_opens_over_a_small_window() {
    let mut w = Window::scene(60);
    w.harness.set_size(egui::vec2(1024.0, 640.0));
    w.key(Key::ArrowDown);
    assert!(!w.has("Inspector: "));
    w.key(Key::Enter);
    assert!(w.has("Inspector: "));
    w.key(Key::Escape);
    assert!(!w.has("Inspector: "));
}

#[test]
fn f6_steps_through_the_fields() {
    let mut w = Window::scene(60);
    let focused = |w: &Window| {
        let label = std::cell::RefCell::new(String::new());
        let told = egui_kittest::kittest::by().predicate(|n| {
            let found = n.is_focused();
            if found {
                *label.borrow_mut() = n.label().unwrap_or_default();
            }
            found
        });
        w.harness.query_all(told).for_each(drop);
        label.take()
    };
    w.key(Key::F6);
    assert_eq!(focused(&w), "Table");
    // The keys of the table still work, and the focus stays.
    w.key(Key::ArrowDown);
    assert_eq!(w.harness.state().model().selected_index(), Some(0));
    assert_eq!(focused(&w), "Table");
    let mut seen = vec![];
    for _ in 0..5 {
        w.key(Key::F6);
        seen.push(focused(&w));
    }
    assert_eq!(seen, ["Inspector pane", "Timeline pane", "Top bar", "Lenses", "Table"]);
    w.harness.key_press_modifiers(egui::Modifiers::SHIFT, Key::F6);
    w.step();
    assert_eq!(focused(&w), "Lenses");
    // From the field, Tab goes to its first control.
    w.key(Key::Tab);
    assert!(focused(&w).starts_with("Everything"), "{}", focused(&w));
    w.key(Key::F6);
    assert_eq!(focused(&w), "Table");
}

#[test]
fn the_chart_opens_as_a_table_and_shows_the_selection_alone() {
    let mut w = Window::scene(120);
    assert!(!w.has("All programs: download"));
    w.key(Key::T);
    assert!(w.has(", All programs: download "));
    w.click_row("backup.py, program");
    assert!(w.has(", backup.py: download "));
    w.key(Key::T);
    assert!(!w.has(", backup.py: download "));
    w.key(Key::Z);
    assert!(w.harness.state().model().screen.chart_alone);
    assert!(w.has("backup.py, "));
}
