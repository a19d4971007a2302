//! Watched files in the window: the lens, badges, marks, the evidence, the desktop.

use std::{cell::RefCell, rc::Rc};

use egui::Key;
use egui_kittest::kittest::Queryable;
use sekhmet_common::{
    coverage::{Mode, Source, SourceStatus, capability},
    event::Event,
    file::{AccessId, FileAccess},
    flow::FlowId,
    watch::EntryId,
};
use sekhmet_gui::{
    link::Update,
    model::{screen::Lens, tree::Node},
    notify::{Chosen, Desktop, Notification},
    preferences::Preferences,
};

#[path = "support/machine.rs"]
mod machine;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/secrets.rs"]
mod secrets;
#[path = "support/window.rs"]
#[expect(dead_code, reason = "these tests need only a part of what works a window")]
mod window;

use machine::machine;
use window::Window;

fn lens() -> Window {
    let mut w = machine(160);
    w.click("Secrets, 3");
    w
}

fn row(w: &mut Window, start: &str) {
    w.harness
        .get_by(|n| n.label().is_some_and(|l| l.starts_with(start) && l.contains(", severity ")))
        .click();
    w.step();
}

#[test]
fn unexpected_readers_stand_first_and_say_what_came_after() {
    let w = lens();
    assert!(w.has("Unexpected readers: 3 files"));
    assert!(w.has("Expected readers: 5 programs, no attention needed"));
    assert!(w.has("postinstall.js, program, unexpected reader, severity high, read, not found, 3 times"));
    assert!(w.has("~/.npmrc, npm token, file, unexpected reader, severity high, read, 2 times, last "));
    assert!(w.has("after that 1 new host"));
    assert!(
        w.has("~/.aws/credentials, cloud key, file, unexpected reader, severity high, not found, 1 time")
    );
    assert!(w.has("Firefox, program, expected reader, severity high, read, write, 9 times"));
    assert!(w.has("Watching 12 entries in 7 groups"));
    assert!(w.has("Fold postinstall.js") && w.has("Unfold Firefox"));
    let names: Vec<_> = w.harness.state().model().secrets().rows.iter().map(|r| r.last).collect();
    assert!(names[1] > names[5], "the newest reader above: {names:?}");
}

#[test]
fn keys_lead_to_the_lens_and_through_it() {
    let mut w = machine(160);
    w.key(Key::Num6);
    assert_eq!(w.harness.state().model().screen.lens, Lens::Secrets);
    for _ in 0..3 {
        w.key(Key::ArrowDown);
    }
    assert!(w.has("Inspector: ~/.npmrc"));
    w.key(Key::ArrowLeft);
    assert!(!w.has("Inspector: ~/.npmrc"));
    assert!(w.has("Inspector: postinstall.js"), "a process has the inspector of every other");
    w.key(Key::ArrowLeft);
    assert!(!w.has("~/.npmrc, npm token"), "folded");
    w.key(Key::ArrowRight);
    assert!(w.has("~/.npmrc, npm token"));
    w.key(Key::Escape);
    w.key(Key::Escape);
    assert_eq!(w.harness.state().model().screen.lens, Lens::Everything);
}

#[test]
fn evidence_tells_the_order_and_claims_no_more() {
    let mut w = lens();
    row(&mut w, "~/.npmrc");
    assert!(w.has("postinstall.js read this file. 0.8 s later it reached a host that it had not been seen to reach before."));
    assert!(w.has("After does not mean because. Sekhmet sees the order of events, not the content."));
    assert!(w.has(
        "14:03:59.204: Read ~/.npmrc, first time, 2 times within 1 s, npm token, asked for as ../../.npmrc"
    ));
    assert!(w.has("14:04:00.019: Connected to in.pkgstat.example, port 443, first contact, 0.8 s after"));
    assert!(w.has("Sent 3.10\u{a0}kB since the read"));
    row(&mut w, "~/.aws/credentials");
    assert!(w.has("14:03:59.231: Asked for ~/.aws/credentials, not found, cloud key"));
    w.harness.get_by_label("Copy evidence").click();
    let copied = (0..3).any(|_| {
        w.harness.step();
        let commands = &w.harness.output().platform_output.commands;
        commands
            .iter()
            .any(|c| matches!(c, egui::OutputCommand::CopyText(t) if t.contains("Asked for ~/.aws")))
    });
    assert!(copied);
    for word in ["leak", "stole", "because of"] {
        assert!(!w.has(word), "{word}");
    }
}

#[test]
fn rows_carry_badges_and_the_inspector_lists_files() {
    let mut w = machine(160);
    assert!(w.has("postinstall.js, program, level 1, folded, 2 secrets opened unexpectedly, download"));
    assert!(w.has("Firefox, application, level 1, folded, 2 secrets opened as expected, download"));
    w.click("Unfold postinstall.js");
    w.click_row("postinstall.js, process");
    assert!(w.has("Secrets: ~/.npmrc, 0.8 s before a new host"));
    w.click("Files 2");
    assert!(w.has("~/.npmrc, read · npm token · "));
    w.harness.get_by(|n| n.label().is_some_and(|l| l.starts_with("~/.npmrc, read · "))).click();
    w.step();
    assert_eq!(w.harness.state().model().screen.lens, Lens::Secrets);
    assert!(w.has("Inspector: ~/.npmrc"));
}

#[test]
fn a_host_says_how_soon_it_was_reached() {
    let mut w = machine(160);
    w.click("Unfold postinstall.js");
    w.harness.get_all_by_label("Unfold postinstall.js").last().expect("the process").click();
    w.step();
    let model = w.harness.state().model();
    let hosts = model.tree().rows.iter().filter(|row| matches!(row.node, Node::Host(..)));
    let details: Vec<String> = hosts.map(|row| model.words(&row.node).detail).collect();
    assert!(details.iter().any(|d| d.ends_with("0.8 s after the read")), "{details:?}");
}

#[test]
fn marks_stand_over_the_chart_and_lead_to_the_access() {
    let mut w = machine(160);
    assert!(w.has("14:03:59, postinstall.js read ~/.npmrc."));
    assert!(w.has("14:03:59, postinstall.js asked for ~/.aws/credentials: not found."));
    assert!(!w.has("id_ed25519"), "what is expected needs no mark");
    w.key(Key::OpenBracket);
    assert!(w.has("Inspector: "));
    assert_eq!(w.harness.state().model().screen.lens, Lens::Secrets);
    w.harness
        .get_by(|n| {
            n.label().is_some_and(|l| l.contains("npm read ") && l.contains(".env"))
                && n.role() == egui::accesskit::Role::Button
        })
        .click();
    w.step();
    assert!(w.has("invoice-renderer/deploy/production/.env"));
    // A step back and forth along the marks.
    w.key(Key::CloseBracket);
    assert!(w.has("Inspector: ~/.npmrc") || w.has("Inspector: ~/.aws/credentials"));
}

#[test]
fn accesses_outlive_their_process() {
    let mut w = lens();
    let id = sekhmet_common::process::ProcessId(211);
    let at = scene::at(161);
    w.hand.0.borrow_mut().now = scene::at(900);
    w.tell(Update::Events(vec![
        Event::FlowGone { at, id: FlowId(44) },
        Event::FlowGone { at, id: FlowId(46) },
        Event::FlowGone { at, id: FlowId(47) },
        Event::ProcessExited { at, id, exit_status: Some(0) },
        Event::ProcessGone { at, id },
    ]));
    assert!(w.has("~/.npmrc, npm token, file, unexpected reader"));
    row(&mut w, "postinstall.js, process");
    assert!(
        w.has("postinstall.js asked for 2 watched files. 0.8 s later it reached a host"),
        "without a process to inspect there is the evidence"
    );
    w.tell(Update::Events(vec![Event::FileAccessGone { at: scene::at(901), id: AccessId(5) }]));
    assert!(!w.has("~/.npmrc, npm token, file"));
}

#[test]
fn the_search_finds_programs_paths_and_labels() {
    let mut w = lens();
    for (search, found) in
        [("npm token", 4), ("ssh/id_", 2), ("file:inbox", 2), ("app:firefox", 2), ("nothing at all", 0)]
    {
        w.harness.state_mut().model_mut().screen.search_for(search);
        w.harness.state_mut().model_mut().invalidate();
        w.step();
        assert_eq!(w.harness.state().model().secrets().rows.len(), found, "{search}");
    }
    assert!(w.has("No opened file matches the search"));
}

fn source(status: SourceStatus) -> Update {
    let source = Source {
        capability: capability::WATCHED_FILES.into(),
        source: if status == SourceStatus::Missing { "".into() } else { "tracepoints".into() },
        status,
        cost: "Opens by io_uring are counted, not resolved.".into(),
        reason: "tracefs: permission denied".into(),
    };
    Update::Events(vec![Event::Coverage { at: scene::at(1), mode: Mode::Full, sources: vec![source] }])
}

#[test]
fn nothing_no_list_no_source_and_a_weak_one_are_said() {
    let mut w = Window::scene(10);
    w.click("Secrets");
    assert!(w.has("Nothing is watched. The watchlist is empty, or everything in it is switched off."));
    let at = scene::at(10);
    let entry = secrets::entries().remove(0);
    w.tell(Update::Events(vec![Event::WatchEntryAdded { at, entry }]));
    assert!(w.has("No watched file has been opened. Watching 1 entry since "));
    w.tell(source(SourceStatus::Missing));
    assert!(w.has(
        "This kernel offers no source for file opens. Which programs open watched files cannot be seen here."
    ));
    w.click("What is missing");
    assert_eq!(w.harness.state().model().screen.lens, Lens::Coverage);
    w.key(Key::Num6);
    w.tell(source(SourceStatus::Reduced));
    assert!(w.has("Some opens cannot be seen. Opens by io_uring are counted, not resolved."));
}

#[test]
fn a_reader_is_expected_from_its_evidence() {
    let mut w = lens();
    row(&mut w, "~/.npmrc");
    w.click("Expect this reader");
    let form = w.harness.state().model().screen.form.clone();
    assert_eq!(form.replaces, Some(EntryId(6)));
    assert_eq!(form.readers, "/usr/bin/npm, /usr/bin/node");
    assert!(w.has("Change an entry"));
}

#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<Notification>>>, Rc<RefCell<Vec<Chosen>>>);

impl Desktop for Told {
    fn notify(&mut self, notification: Notification) {
        self.0.borrow_mut().push(notification);
    }

    fn chosen(&mut self) -> Vec<Chosen> {
        std::mem::take(&mut self.1.borrow_mut())
    }
}

#[test]
fn a_click_on_a_notification_leads_to_the_access() {
    let told = Told::default();
    let mut w = Window::desktop([1440.0, 900.0], Box::new(told.clone()), Preferences::default());
    w.harness.state_mut().model_mut().home = Some("/home/ana".into());
    w.tell(Update::Connected);
    w.hand.0.borrow_mut().now = scene::at(160);
    w.tell(Update::Events(
        secrets::woven_into(scene::events()).into_iter().filter(|e| e.at() <= scene::at(160)).collect(),
    ));
    told.1.borrow_mut().push(Chosen(Some(AccessId(5))));
    w.step();
    assert_eq!(w.harness.state().model().screen.lens, Lens::Secrets);
    assert!(w.has("Inspector: ~/.npmrc"));
    // What is no longer listed, or was told of many, leads to the lens.
    for chosen in [Chosen(None), Chosen(Some(AccessId(999)))] {
        w.key(Key::Num1);
        told.1.borrow_mut().push(chosen);
        w.step();
        assert_eq!(w.harness.state().model().screen.lens, Lens::Secrets);
    }
}

#[test]
fn evidence_is_saved_to_be_read_and_for_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut w = lens();
    w.harness.state_mut().model_mut().saves_to = Some(folder.path().into());
    row(&mut w, "~/.npmrc");
    w.click("Save evidence");
    assert!(w.has("The evidence is in ") && w.has("and beside it as JSON."));
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path()).expect("the folder").map(|f| f.expect("a file").path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let json = std::fs::read_to_string(&files[0]).expect("the lines");
    let line: serde_json::Value = serde_json::from_str(&json).expect("one line of JSON");
    assert_eq!((&line["id"], &line["path"]), (&5.into(), &"/home/ana/.npmrc".into()));
    assert_eq!((&line["process"]["id"], &line["label"]), (&211.into(), &"npm token".into()));
    assert_eq!((&line["first_time"], &line["contacts"][0]["flow"]), (&true.into(), &47.into()));
    let text = std::fs::read_to_string(&files[1]).expect("the text");
    assert!(
        text.starts_with("/home/ana/.npmrc  npm token\npostinstall.js read this file. 0.8 s later "),
        "{text}"
    );
    assert!(
        text.contains("After does not mean because.") && text.contains("first contact, 0.8 s after"),
        "{text}"
    );
    w.harness.get_by_label("Copy evidence as JSON").click();
    let copied = (0..3).any(|_| {
        w.harness.step();
        let commands = &w.harness.output().platform_output.commands;
        commands.iter().any(|c| matches!(c, egui::OutputCommand::CopyText(t) if *t == json))
    });
    assert!(copied);
    w.harness.state_mut().model_mut().saves_to = Some(folder.path().join("nowhere"));
    w.click("Save evidence");
    assert!(w.has("The evidence was not saved: "));
}

#[test]
fn the_desktop_hears_of_unexpected_readers_unless_it_should_not() {
    let told = Told::default();
    let desktop = told.clone();
    let mut w = Window::desktop([1280.0, 720.0], Box::new(desktop), Preferences::default());
    w.tell(Update::Connected);
    w.hand.0.borrow_mut().now = scene::at(160);
    let old: Vec<Event> =
        secrets::woven_into(scene::events()).into_iter().filter(|e| e.at() <= scene::at(120)).collect();
    w.tell(Update::Events(old));
    assert!(told.0.borrow().is_empty(), "history is not news");
    let hostile = FileAccess {
        first_time: true,
        ..secrets::access(50, 190, "/home/ana/.ssh/\u{202e}<b>id", 1, 159_900)
    };
    w.tell(Update::Events(vec![Event::FileAccessed { at: scene::at(160), access: hostile }]));
    {
        let told = told.0.borrow();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].summary, "npm opened: SSH key");
        assert!(told[0].body.contains("It is not among the expected readers."), "{}", told[0].body);
        assert!(!told[0].body.contains('\u{202e}'));
    }
    w.click("Menu");
    w.click("Tell of unexpected readers");
    let again = secrets::access(51, 211, "/home/ana/.ssh/id_rsa", 1, 159_950);
    w.tell(Update::Events(vec![Event::FileAccessed { at: scene::at(160), access: again }]));
    assert_eq!(told.0.borrow().len(), 1, "switched off");
}

#[test]
fn five_thousand_files_are_a_list_like_any_other() {
    let mut w = machine(160);
    let at = scene::at(160);
    let events = (0..4_000_u64).map(|i| {
        let path = format!("/home/ana/deep/{}/{i}/.env", "very-long-folder-name/".repeat(6));
        Event::FileAccessed { at, access: secrets::access(100 + i, 190, &path, 8, 150_000) }
    });
    w.tell(Update::Events(events.collect()));
    w.key(Key::Num6);
    assert!(w.harness.state().model().secrets().rows.len() > 4_000);
    let told = egui_kittest::kittest::by()
        .predicate(|n| n.label().is_some_and(|l| l.contains("file, unexpected reader")));
    assert!((10..40).contains(&w.harness.query_all(told).count()));
}
