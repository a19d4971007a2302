//! Blocking from the window: button, menu, consequence, the wait for the event, badge, undo, the page of rules.

use std::{net::Ipv4Addr, time::Duration};

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use sekhmet_common::{
    event::Event,
    flow::{Direction, Endpoint, NameSource, Protocol, RemoteName},
    process::ProcessId,
    refusal::{Refusal, RefusalId},
    rule::{Answer, Extent, Lifetime, Rule, RuleEnd, RuleId, Subject, Wanted, Ways},
};
use sekhmet_gui::{
    link::Update,
    model::{requests::Wish, screen::Lens},
};

#[path = "support/scene.rs"]
mod scene;
#[path = "support/window.rs"]
mod window;

use window::Window;

const BACKUP: ProcessId = ProcessId(11);

fn rule(id: u32, subject: Subject, lifetime: Lifetime) -> Rule {
    Rule {
        id: RuleId(id),
        subject,
        ways: Ways::Both,
        answer: Answer::Reject,
        extent: Extent::Outside,
        lifetime,
        added_at: scene::at(120),
        expires_at: None,
        added_by: 1000,
        added_by_user: Some("ana".into()),
        hits: 0,
    }
}

/// The back-up, blocked until it exits.
fn backup_rule(id: u32) -> Rule {
    let subject = Subject::Process {
        process: Some(BACKUP),
        pid: 48_011,
        name: "backup.py".into(),
        exe: "/usr/bin/python3.11".into(),
    };
    rule(id, subject, Lifetime::UntilExit)
}

/// What the helper tells when a rule came into force for one process.
fn in_force(rule: Rule, process: ProcessId) -> Update {
    let (at, rules) = (scene::at(120), vec![rule.id]);
    Update::Events(vec![Event::RuleAdded { at, rule }, Event::ProcessRules { at, id: process, rules }])
}

fn removed(id: u32, process: ProcessId) -> Update {
    let at = scene::at(121);
    Update::Events(vec![
        Event::RuleRemoved { at, id: RuleId(id), end: RuleEnd::Removed },
        Event::ProcessRules { at, id: process, rules: vec![] },
    ])
}

fn refused(id: u64, process: ProcessId, name: Option<&str>, attempts: u64) -> Event {
    Event::Refused {
        at: scene::at(120),
        refusal: Refusal {
            id: RefusalId(id),
            rule: RuleId(7),
            process: Some(process),
            protocol: Protocol::Tcp,
            direction: Direction::Outbound,
            remote: Endpoint::new(Ipv4Addr::new(203, 0, 113, 99).into(), 443),
            remote_name: name.map(|n| RemoteName { name: n.into(), source: NameSource::Dns }),
            first_at: scene::at(119),
            last_at: scene::at(120),
            attempts,
        },
    }
}

/// The only wish, taken off the link.
fn wish(w: &Window) -> (sekhmet_gui::model::requests::Ticket, Wish) {
    let mut wishes = std::mem::take(&mut w.hand.0.borrow_mut().wishes);
    assert_eq!(wishes.len(), 1, "{wishes:?}");
    wishes.remove(0)
}

/// Selects the back-up's process.
fn backup() -> Window {
    let mut w = Window::scene(120);
    w.click("Unfold backup.py");
    w.click_row("backup.py, process");
    w
}

#[test]
fn a_click_a_choice_and_the_consequence_before_it() {
    let mut w = backup();
    w.harness.get_all_by_label("Block backup.py, menu").last().expect("the process's button").click();
    w.step();
    assert!(w.has("This process, backup.py, and what it starts"));
    assert!(w.has("python3.11, whenever it runs, /usr/bin/python3.11"));
    assert!(w.has("Closes 1 open connection at once. Traffic inside this machine is not touched."));
    w.click("1 hour");
    w.click("More choices");
    w.click("Drop silently");
    w.click("Also on this machine");
    assert!(w.has("Traffic inside this machine is refused, too."));
    w.click("Block backup.py for 1 hour");
    let (_, wish) = wish(&w);
    let Wish::Block(draft) = wish else { panic!("{wish:?}") };
    assert_eq!(draft.wanted, Wanted::Process(BACKUP));
    assert_eq!(
        (draft.lifetime, draft.answer, draft.extent),
        (Lifetime::Seconds(3600), Answer::Drop, Extent::Everywhere)
    );
    assert!(!w.has("whenever it runs"), "the menu closes");
}

#[test]
fn asking_lasts_until_the_event_and_then_there_is_a_way_back() {
    let mut w = backup();
    w.key(Key::B);
    assert!(w.has("Block backup.py until it exits"));
    w.key(Key::Enter);
    let (ticket, _) = wish(&w);
    assert!(w.has("backup.py: Asking…"));
    w.tell(Update::Answer { ticket, answer: Ok(Some(RuleId(7))) });
    assert!(w.has("backup.py: Asking…"), "an answer is not yet the event");
    w.tell(in_force(backup_rule(7), BACKUP));
    assert!(!w.has("Asking…"));
    assert!(w.has("backup.py is blocked until it exits. Closed 1 connection."));
    assert!(w.has("backup.py blocked: Block backup.py (PID 48011) and what it starts until it exits. Rule 7, in force since "));
    assert!(w.has("backup.py, process, level 2, folded, blocked, download"));
    assert!(w.has("backup.py, program, level 1, unfolded, blocked, download"));
    assert!(w.has("Verdict: Blocked since "));
    w.key(Key::U);
    let (ticket, undo) = wish(&w);
    assert_eq!(undo, Wish::Unblock(RuleId(7)));
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    w.tell(removed(7, BACKUP));
    assert!(w.has("backup.py is no longer blocked."));
    assert!(w.has("Verdict: Allowed, no rule matches"));
    // There is nothing more to undo.
    w.key(Key::U);
    assert!(w.hand.0.borrow().wishes.is_empty());
}

#[test]
fn a_refused_prompt_changes_nothing_and_says_so() {
    let mut w = backup();
    w.harness.key_press_modifiers(Modifiers::SHIFT, Key::B);
    w.step();
    let (ticket, wish) = wish(&w);
    assert!(matches!(wish, Wish::Block(draft) if draft.wanted == Wanted::Process(BACKUP)));
    w.tell(Update::Answer {
        ticket,
        answer: Err("Nothing was changed. The request was not confirmed.".into()),
    });
    assert!(w.has("Nothing was changed. The request was not confirmed."));
    assert!(!w.has("Asking…") && !w.has("Undo"));
    w.click("Dismiss");
    assert!(!w.has("Nothing was changed."));
}

#[test]
fn a_helper_that_goes_away_leaves_no_question_open() {
    let mut w = backup();
    w.harness.key_press_modifiers(Modifiers::SHIFT, Key::B);
    w.step();
    assert!(w.has("Asking…"));
    w.tell(Update::Lost { reason: "closed".into(), retry_in: Some(Duration::from_secs(2)) });
    assert!(!w.has("Asking…"));
    assert!(w.has("The helper went away before it answered."));
    assert!(!w.has("Block backup.py, menu"), "there is nobody to ask");
}

#[test]
fn a_program_is_blocked_from_its_row_and_tells_what_else_it_runs() {
    let mut w = Window::scene(120);
    let mut other = scene::process(300, "/usr/bin/python3.11", &["python3", "-m", "http.server"]);
    other.parent_id = Some(ProcessId(3));
    let child = {
        let mut child = scene::process(301, "/usr/bin/gzip", &["gzip"]);
        child.parent_id = Some(ProcessId(300));
        child
    };
    let at = scene::at(120);
    w.tell(Update::Events(vec![
        Event::ProcessStarted { at, process: other },
        Event::ProcessStarted { at, process: child },
        Event::FlowOpened { at, flow: scene::flow(300, 300, "198.51.100.9", 443, None) },
        Event::FlowOpened { at, flow: scene::flow(301, 301, "198.51.100.9", 443, None) },
        // This machine's own business, but a question of a name goes on from here.
        Event::FlowOpened { at, flow: scene::flow(302, 300, "127.0.0.1", 8080, None) },
        Event::FlowOpened { at, flow: scene::flow(303, 300, "127.0.0.53", 53, None) },
    ]));
    w.click_row("backup.py, program");
    w.key(Key::B);
    assert!(w.has("Block backup.py until it exits"), "not every other Python program");
    w.key(Key::ArrowDown);
    assert!(w.has("Block python3.11 until it exits"));
    assert!(w.has("Closes 4 open connections at once."));
    assert!(w.has(
        "Includes 2 running processes and 1 child of theirs. python3.11 also runs http.server: blocked, too."
    ));
    // Always is not for a process.
    w.key(Key::ArrowRight);
    w.key(Key::ArrowRight);
    w.key(Key::ArrowRight);
    assert!(w.has("Block python3.11 always"));
    w.key(Key::ArrowUp);
    assert!(w.has("Block backup.py until restart"));
    assert!(w.has("Other programs that python3.11 runs keep working."));
    w.key(Key::Escape);
    assert!(w.harness.state().model().screen.menu.is_none());
    assert!(w.hand.0.borrow().wishes.is_empty());
}

#[test]
fn rows_without_anything_to_block_have_no_button() {
    let mut w = Window::scene(170);
    assert!(!w.has("Block 1 exited program, menu"));
    w.click("Unfold Firefox");
    w.click("Unfold firefox");
    assert!(!w.has("Block video.example, menu"));
    assert!(w.has("Block Firefox, menu") && w.has("Block firefox, menu"));
    // On a host, the key is about its process.
    w.click_row("video.example, host");
    w.key(Key::B);
    assert!(w.has("This process, firefox"));
}

#[test]
fn what_was_refused_is_seen_in_tree_and_inspector() {
    let mut w = backup();
    w.tell(in_force(backup_rule(7), BACKUP));
    w.tell(Update::Events(vec![
        refused(1, BACKUP, Some("vault.backup.example"), 2),
        refused(2, BACKUP, Some("other.backup.example"), 40),
    ]));
    assert!(w.has("backup.py, program, level 1, unfolded, blocked, 42 refused, download"));
    assert!(w.has("42 refused"), "the line under the table");
    w.click("Unfold backup.py");
    assert!(w.has("vault.backup.example, host, level 3, folded, 2 refused"));
    assert!(w.has("other.backup.example, host, level 3, 40 refused"), "tried, but never reached");
    w.click("Refused 2");
    assert!(w.has("other.backup.example, TCP 443, last "));
    w.click_row("other.backup.example, host");
    assert!(w.has("Inspector: other.backup.example"));
    // A silent process is shown as long as it is blocked.
    w.hand.0.borrow_mut().now = scene::at(900);
    w.step();
    assert!(w.has("backup.py, program"));
}

#[test]
fn a_badge_tells_why_and_takes_the_rule_away() {
    let mut w = backup();
    w.tell(in_force(Rule { hits: 12, ..backup_rule(7) }, BACKUP));
    let badge = |n: &egui_kittest::kittest::AccessKitNode<'_>| {
        n.label().is_some_and(|l| l.starts_with("backup.py blocked: "))
    };
    w.harness.query_all(egui_kittest::kittest::by().predicate(badge)).last().expect("the badge").click();
    w.step();
    assert!(w.has("Made by ana. It has refused 12 attempts."));
    w.click("Unblock");
    assert_eq!(wish(&w).1, Wish::Unblock(RuleId(7)));
}

#[test]
fn the_page_lists_rules_and_removes_them() {
    let mut w = Window::scene(120);
    w.click("Rules");
    assert!(w.has("Nothing is blocked"));
    let curl = Subject::Program { exe: "/usr/bin/curl".into() };
    let timed = Rule { expires_at: Some(scene::at(120 + 3600)), ..rule(9, curl, Lifetime::Seconds(3600)) };
    let at = scene::at(120);
    w.tell(in_force(backup_rule(7), BACKUP));
    w.tell(Update::Events(vec![
        Event::RuleAdded { at, rule: timed },
        refused(1, BACKUP, Some("vault.backup.example"), 3),
    ]));
    assert!(w.has("Rules: 2 rules, 3 refused"));
    assert!(w.has("Rules, 2"));
    assert!(w.has("Rule 7: Block backup.py (PID 48011) and what it starts until it exits, lasts until it exits, made by ana, "));
    assert!(w.has("3 hits, last now"));
    assert!(w.has("Rule 9: Block every run of /usr/bin/curl and what it starts for 1 hour, lasts 1 h left, made by ana, "));
    w.click("Unblock: remove rule 9");
    let (ticket, wish_) = wish(&w);
    assert_eq!(wish_, Wish::Unblock(RuleId(9)));
    w.tell(Update::Answer { ticket, answer: Ok(None) });
    w.tell(removed(9, ProcessId(999)));
    assert!(w.has("curl is no longer blocked.") && !w.has("Rule 9: "));
    // What was removed can be had again, by its path.
    w.harness.key_press_modifiers(Modifiers::CTRL, Key::Z);
    w.step();
    let Wish::Block(draft) = wish(&w).1 else { panic!("not a block") };
    assert_eq!(draft.wanted, Wanted::Path("/usr/bin/curl".into()));
    w.key(Key::Num7);
    assert_eq!(w.harness.state().model().screen.lens, Lens::Rules);
}

#[test]
fn a_click_outside_closes_the_menu_and_rows_stay_under_it() {
    let mut w = backup();
    w.key(Key::B);
    assert!(w.harness.state().model().is_holding());
    w.harness.hover_at(egui::pos2(40.0, 700.0));
    w.harness.drag_at(egui::pos2(40.0, 700.0));
    w.harness.drop_at(egui::pos2(40.0, 700.0));
    w.step();
    assert!(w.harness.state().model().screen.menu.is_none());
}

#[test]
fn a_rule_that_may_not_be_seen_blocks_all_the_same() {
    let mut w = backup();
    let at = scene::at(120);
    w.tell(Update::Events(vec![Event::ProcessRules { at, id: BACKUP, rules: vec![RuleId(40)] }]));
    assert!(w.has("backup.py blocked: By a rule that only an administrator may see."));
}

#[test]
fn hosts_that_were_only_refused_are_found() {
    let mut w = Window::scene(120);
    w.tell(in_force(backup_rule(7), BACKUP));
    w.tell(Update::Events(vec![refused(1, BACKUP, Some("upload.example"), 2), refused(2, BACKUP, None, 1)]));
    for (search, found) in [
        ("host:upload", &["backup.py", "backup.py", "upload.example"][..]),
        ("upload.example port:443", &["backup.py", "backup.py", "upload.example"]),
        ("host:203.0.113.99 -upload", &["backup.py", "backup.py", "203.0.113.99"]),
        ("upload port:80", &[]),
        ("app:firefox upload", &[]),
    ] {
        w.harness.state_mut().model_mut().screen.search_for(search);
        w.harness.state_mut().model_mut().invalidate();
        w.step();
        assert_eq!(w.names(), found, "{search}");
    }
}

#[test]
fn a_lifetime_that_does_not_suit_cannot_be_chosen() {
    let mut w = backup();
    w.key(Key::B);
    w.click("Always");
    assert!(w.has("Block backup.py until it exits"), "no process outlives a restart");
    w.key(Key::ArrowDown);
    w.click("Always");
    assert!(w.has("Block python3.11 always"));
}
