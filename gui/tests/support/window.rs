//! A window in a test: its link, its clock, and the ways to work it.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use egui::Key;
use egui_kittest::{Harness, kittest::Queryable};
use sekhmet_common::time::Timestamp;
use sekhmet_gui::{
    app::App,
    link::{Link, Update},
    model::requests::{Ticket, Wish},
    notify::{Desktop, Silent},
    preferences::Preferences,
    settings::Settings,
};

use super::scene;

/// A link whose updates and clock the test sets.
#[derive(Clone, Default)]
pub(crate) struct Hand(pub(crate) Rc<RefCell<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) updates: VecDeque<Update>,
    pub(crate) now: Timestamp,
    pub(crate) retries: usize,
    pub(crate) wishes: Vec<(Ticket, Wish)>,
}

impl Link for Hand {
    fn poll(&mut self) -> Vec<Update> {
        self.0.borrow_mut().updates.drain(..).collect()
    }

    fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    fn retry(&mut self) {
        self.0.borrow_mut().retries += 1;
    }

    fn wish(&mut self, ticket: Ticket, wish: Wish) -> Result<(), &'static str> {
        self.0.borrow_mut().wishes.push((ticket, wish));
        Ok(())
    }
}

pub(crate) struct Window {
    pub(crate) hand: Hand,
    pub(crate) harness: Harness<'static, App>,
}

impl Window {
    pub(crate) fn new(size: [f32; 2]) -> Self {
        Self::desktop(size, Box::new(Silent), Preferences::default())
    }

    /// A window that tells a desktop of what the desktop should hear.
    pub(crate) fn desktop(size: [f32; 2], desktop: Box<dyn Desktop>, preferences: Preferences) -> Self {
        let hand = Hand::default();
        hand.0.borrow_mut().now = scene::at(0);
        let link = hand.clone();
        let harness =
            Harness::builder().with_size(size).allow_missing_glyphs().build_eframe(move |creation| {
                App::new(&creation.egui_ctx, Box::new(link), &Settings::default())
                    .with_desktop(desktop, preferences)
            });
        Self { hand, harness }
    }

    /// The scene, played for so many seconds.
    pub(crate) fn scene(seconds: i64) -> Self {
        let mut window = Self::new([1440.0, 900.0]);
        window.tell(Update::Connected);
        window.play(-1, seconds);
        window
    }

    pub(crate) fn tell(&mut self, update: Update) {
        self.hand.0.borrow_mut().updates.push_back(update);
        self.step();
    }

    pub(crate) fn play(&mut self, from: i64, to: i64) {
        let events = scene::events();
        let part =
            events.into_iter().filter(|e| e.at() <= scene::at(to) && (from < 0 || e.at() > scene::at(from)));
        self.hand.0.borrow_mut().now = scene::at(to);
        self.tell(Update::Events(part.collect()));
    }

    pub(crate) fn step(&mut self) {
        self.harness.run_steps(3);
    }

    pub(crate) fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.step();
    }

    pub(crate) fn click_row(&mut self, start: &str) {
        self.harness
            .get_by(|n| n.label().is_some_and(|l| l.starts_with(start) && l.contains(", level ")))
            .click();
        self.step();
    }

    pub(crate) fn key(&mut self, key: Key) {
        self.harness.key_press(key);
        self.step();
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.harness
            .query_all(egui_kittest::kittest::by().predicate({
                let part = part.to_owned();
                // Plain texts are told as the value of a label.
                move |n| n.label().or_else(|| n.value()).is_some_and(|l| l.contains(&part))
            }))
            .next()
            .is_some()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let model = self.harness.state().model();
        model.tree().rows.iter().map(|row| model.words(&row.node).name).collect()
    }
}
