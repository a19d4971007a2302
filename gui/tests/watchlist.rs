//! The watchlist in the window: entries and groups are edited, switched, removed and brought back, with a preview.

use std::time::Duration;

use egui::{Key, accesskit::Toggled};
use egui_kittest::kittest::{NodeT, Queryable};
use sekhmet_common::{
    event::Event,
    watch::{Entry, EntryId, Owner, Severity},
};
use sekhmet_gui::{
    link::Update,
    model::requests::{Ticket, Wish},
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
