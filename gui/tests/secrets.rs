//! Watched files in the window: the lens, badges, marks, the evidence, the watchlist with its preview, the desktop.

use std::{cell::RefCell, rc::Rc, time::Duration};

use egui::{Key, accesskit::Toggled};
use egui_kittest::kittest::{NodeT, Queryable};
use sekhmet_common::{
    coverage::{Mode, Source, SourceStatus, capability},
    event::Event,
    file::{AccessId, FileAccess},
    flow::FlowId,
    watch::{Entry, EntryId, Owner, Severity},
};
use sekhmet_gui::{
    link::Update,
    model::{
        requests::{Ticket, Wish},
        screen::Lens,
        tree::Node,
    },
    notify::{Chosen, Desktop, Notification},
    preferences::Preferences,
};

#[path = "support/scene.rs"]
mod scene;
#[path = "support/secrets.rs"]
mod secrets;
#[path = "support/window.rs"]
#[expect(dead_code, reason = "these tests need only a part of what works a window")]
mod window;

use window::Window;

/// The scene with its watched files.
fn machine(seconds: i64) -> Window {
    let mut w = Window::new([1440.0, 900.0]);
    let model = w.harness.state_mut().model_mut();
    (model.home, model.uid) = (Some("/home/ana".into()), 1000);
    w.tell(Update::Connected);
    w.hand.0.borrow_mut().now = scene::at(seconds);
    let until = scene::at(seconds);
    let events = secrets::woven_into(scene::events());
    w.tell(Update::Events(events.into_iter().filter(|e| e.at() <= until).collect()));
    w
}

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
fn the_watchlist_is_edited_and_shows_what_a_pattern_matches() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join(".demo")).expect("a folder");
    for name in ["a.key", "b.key", "c.txt"] {
        std::fs::write(home.path().join(".demo").join(name), "").expect("a file");
    }
    let mut w = machine(160);
    w.harness.state_mut().model_mut().home = home.path().to_str().map(str::to_owned);
    w.harness.set_size(egui::vec2(1440.0, 1400.0));
    w.key(Key::Num8);
    assert!(w.has("Watchlist: 13 entries in 7 groups"));
    assert!(w.has("~/.npmrc, npm token, severity high, by Sekhmet"));
    assert!(w.has("~/.lesshst, less history, severity low, by Sekhmet, switched off"));
    assert!(w.has("~/.config/demo/**, Demo tokens, severity medium, by you"));
    w.harness.get_by_label("Which files").focus();
    w.step();
    w.harness.event(egui::Event::Text("~/.demo/*.key".into()));
    w.step();
    for _ in 0..100 {
        if w.has("Preview: Matches 2 files now") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        w.step();
    }
    assert!(w.has("Preview: Matches 2 files now; ~/.demo/a.key; ~/.demo/b.key"));
    // Letters go into the field and nowhere else.
    w.key(Key::L);
    assert!(!w.harness.state().model().screen.local);
    w.click("Severity high");
    w.click("Watch");
    let wishes = std::mem::take(&mut w.hand.0.borrow_mut().wishes);
    let (ticket, Wish::Watch(draft)) = &wishes[0] else { panic!("{wishes:?}") };
    assert_eq!((draft.pattern.shown().as_str(), draft.severity), ("~/.demo/*.key", Severity::High));
    let mut entry = secrets::entry(90, "Own entries", "", "~/.demo/*.key", Severity::High, &[]);
    entry.owner = Owner::User(1000);
    w.tell(Update::Answer { ticket: *ticket, answer: Ok(None) });
    w.tell(Update::Events(vec![Event::WatchEntryAdded { at: scene::at(161), entry }]));
    assert!(w.has("~/.demo/*.key is watched from now on."));
    w.click("Stop watching ~/.demo/*.key");
    assert!(matches!(w.hand.0.borrow().wishes[..], [(_, Wish::Unwatch(EntryId(90)))]));
}

#[test]
fn what_is_no_pattern_says_why_and_cannot_be_watched() {
    let mut w = machine(160);
    w.key(Key::Num8);
    w.harness.get_by_label("Which files").focus();
    w.step();
    w.harness.event(egui::Event::Text("id_*".into()));
    w.step();
    assert!(w.has("Preview: The pattern: it begins with /, ~/ or **/"));
    w.click("Watch");
    assert!(w.hand.0.borrow().wishes.is_empty());
}

#[test]
fn entries_are_switched_and_changed() {
    let mut w = machine(160);
    w.harness.set_size(egui::vec2(1440.0, 1400.0));
    w.key(Key::Num8);
    w.click("Watch ~/.npmrc");
    let (ticket, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert_eq!(wish, Wish::Switch(vec![EntryId(6)], false));
    let entry = entry_of(6);
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    let off = Entry { enabled: false, ..entry };
    w.tell(Update::Events(vec![Event::WatchEntryAdded { at: scene::at(161), entry: off }]));
    assert!(w.has("~/.npmrc is no longer watched."));
    assert!(toggled(&w, "Watch ~/.npmrc") == Some(Toggled::False));
    assert!(!w.has("Stop watching ~/.npmrc"), "what came with Sekhmet stays in the list");
    // Of such an entry the helper changes nothing but the readers, so nothing else is offered.
    w.click("Change ~/.npmrc");
    assert!(w.has("It came with Sekhmet: only its expected readers can be changed."));
    assert!(w.has("Which files: ~/.npmrc") && w.has("Severity: high") && !w.has("Severity low"));
    w.harness.get_by_label("Expected readers").focus();
    w.step();
    w.key(Key::End);
    w.harness.event(egui::Event::Text(", /opt/npm".into()));
    w.step();
    w.click("Save changes");
    let (_, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    let Wish::Change(old, draft) = wish else { panic!("{wish:?}") };
    assert_eq!((old.id, draft.severity, &draft.label), (EntryId(6), Severity::High, &old.label));
    assert_eq!(draft.expected, ["/usr/bin/npm".into(), "/opt/npm".into()]);
    w.click("Change ~/.config/demo/**");
    w.click("Severity low");
    w.click("Save changes");
    let (_, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert!(
        matches!(wish, Wish::Change(old, draft) if old.id == EntryId(12) && draft.severity == Severity::Low)
    );
}

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
fn entry_of(id: u32) -> Entry {
    secrets::entries().into_iter().find(|e| e.id == EntryId(id)).expect("the entry")
}

fn toggled(w: &Window, label: &str) -> Option<Toggled> {
    w.harness.get_by_label(label).accesskit_node().toggled()
}

/// The helper did it, and the stream tells of these entries.
fn did(w: &mut Window, ticket: Ticket, entries: Vec<Entry>) {
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    let told = entries.into_iter().map(|entry| Event::WatchEntryAdded { at: scene::at(161), entry });
    w.tell(Update::Events(told.collect()));
}

#[test]
fn a_group_is_switched_as_a_whole_and_says_so_honestly() {
    let mut w = machine(160);
    w.harness.set_size(egui::vec2(1440.0, 1400.0));
    w.key(Key::Num8);
    let all = "Watch the group Developer credentials, 3 entries";
    assert_eq!(toggled(&w, all), Some(Toggled::True));
    assert_eq!(toggled(&w, "Watch the group Shell histories, 1 of 2 entries on"), Some(Toggled::Mixed));
    w.click(all);
    let (ticket, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert_eq!(wish, Wish::Switch(vec![EntryId(6), EntryId(7), EntryId(8)], false));
    // While it is asked for there is nothing to click, and nothing pretends to be done.
    assert!(!w.has("Watch the group Developer credentials"));
    assert!(w.has("Developer credentials: 3 entries"));
    assert!(!w.has("Watch ~/.npmrc") && w.has("~/.npmrc, npm token, severity high, by Sekhmet"));
    // The first was switched, then somebody said no: that is what stands there.
    let off = |id| Entry { enabled: false, ..entry_of(id) };
    let at = scene::at(161);
    w.tell(Update::Events(vec![Event::WatchEntryAdded { at, entry: off(6) }]));
    let reason = "1 of 3 entries were changed and the others were not: not authorised.".to_owned();
    w.tell(Update::Answer { ticket, answer: Err(reason.clone()) });
    assert!(w.has(&reason));
    let mixed = "Watch the group Developer credentials, 2 of 3 entries on";
    assert_eq!(toggled(&w, mixed), Some(Toggled::Mixed));
    // What is mixed is switched on, as far as it is not, and the way back restores the mixture.
    w.click(mixed);
    let (ticket, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert_eq!(wish, Wish::Switch(vec![EntryId(6)], true));
    did(&mut w, ticket, vec![entry_of(6)]);
    assert!(w.has("Developer credentials is watched from now on."));
    w.key(Key::U);
    let (_, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert_eq!(wish, Wish::Switch(vec![EntryId(6)], false));
    // Without a helper to ask there is no switch, but still the state.
    w.tell(Update::Lost { reason: "gone".into(), retry_in: None });
    assert!(!w.has("Watch the group") && w.has("Shell histories: 1 of 2 entries on"));
}

#[test]
fn what_is_removed_or_changed_can_be_undone() {
    let mut w = machine(160);
    w.harness.set_size(egui::vec2(1440.0, 1400.0));
    w.key(Key::Num8);
    w.click("Stop watching ~/.config/demo/**");
    let (ticket, _) = w.hand.0.borrow_mut().wishes.remove(0);
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    w.tell(Update::Events(vec![Event::WatchEntryRemoved { at: scene::at(161), id: EntryId(12) }]));
    assert!(w.has("~/.config/demo/** is no longer watched.") && w.has("Undo"));
    w.click("Undo");
    let (ticket, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    assert_eq!(wish, Wish::Restore(Box::new(entry_of(12))));
    did(&mut w, ticket, vec![Entry { id: EntryId(40), ..entry_of(12) }]);
    assert!(w.has("~/.config/demo/** is watched from now on."));
    assert!(w.harness.query_by_label("Undo").is_none(), "what takes back a step is none");
    // A change, and back.
    w.click("Change ~/.config/demo/**");
    w.click("Severity high");
    w.click("Save changes");
    let (ticket, _) = w.hand.0.borrow_mut().wishes.remove(0);
    let changed = Entry { id: EntryId(40), severity: Severity::High, ..entry_of(12) };
    did(&mut w, ticket, vec![changed.clone()]);
    w.click("Undo");
    let (_, wish) = w.hand.0.borrow_mut().wishes.remove(0);
    let Wish::Change(old, draft) = wish else { panic!("{wish:?}") };
    assert_eq!((*old, draft.severity), (changed, Severity::Medium));
}

#[test]
fn what_another_user_watches_is_not_brought_back_as_ones_own() {
    let mut w = machine(160);
    w.harness.set_size(egui::vec2(1440.0, 1400.0));
    let theirs = Entry { owner: Owner::User(1001), id: EntryId(60), pattern: "~/x".into(), ..entry_of(12) };
    w.tell(Update::Events(vec![Event::WatchEntryAdded { at: scene::at(160), entry: theirs }]));
    w.key(Key::Num8);
    w.click("Stop watching ~/x");
    let (ticket, _) = w.hand.0.borrow_mut().wishes.remove(0);
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    w.tell(Update::Events(vec![Event::WatchEntryRemoved { at: scene::at(161), id: EntryId(60) }]));
    assert!(w.has("~/x is no longer watched."));
    assert!(w.harness.query_by_label("Undo").is_none());
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
