//! A window that looks at the made-up machine with its watched files.

use sekhmet_gui::link::Update;

use super::{scene, secrets, window::Window};

/// The scene with its watched files.
pub(crate) fn machine(seconds: i64) -> Window {
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
