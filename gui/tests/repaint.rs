//! How often the window draws: once a second at most while nothing changes, never while it is hidden.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use egui::ViewportId;
use sekhmet_common::time::Timestamp;
use sekhmet_gui::link::Update;

#[path = "support/scene.rs"]
mod scene;
#[path = "support/window.rs"]
#[expect(dead_code, reason = "these tests need only a part of what works a window")]
mod window;

use window::Window;

/// The pause before the next frame that the last one asked for.
fn asked_for(w: &Window) -> Duration {
    let output = w.harness.output().viewport_output.get(&ViewportId::ROOT);
    output.map_or(Duration::ZERO, |v| v.repaint_delay)
}

/// Draws frames as an integration does, each when the one before asked for it, and counts them.
fn frames(w: &mut Window, time: Duration) -> usize {
    let end = w.hand.0.borrow().now.plus_nanos(time.as_nanos() as i64);
    let mut frames = 0;
    loop {
        let next = w.hand.0.borrow().now.plus_nanos(asked_for(w).as_nanos().min(1 << 60) as i64);
        if next > end {
            w.hand.0.borrow_mut().now = end;
            return frames;
        }
        w.hand.0.borrow_mut().now = next;
        w.harness.step();
        frames += 1;
        assert!(frames < 1000, "draws without end");
    }
}

#[test]
fn an_idle_window_draws_once_a_second() {
    let mut w = Window::scene(120);
    // A moment within a second, as on any other day.
    w.hand.0.borrow_mut().now = Timestamp(scene::at(125).0 + 345_678_901);
    w.step();
    let drawn = frames(&mut w, Duration::from_secs(60));
    assert!((59..=60).contains(&drawn), "{drawn} frames in 60 s");
}

#[test]
fn a_selected_row_and_a_paused_picture_draw_no_more() {
    let mut w = Window::scene(120);
    w.key(egui::Key::ArrowDown);
    w.key(egui::Key::ArrowRight);
    w.step();
    let drawn = frames(&mut w, Duration::from_secs(20));
    assert!(drawn <= 20, "{drawn} frames in 20 s");
    w.key(egui::Key::Space);
    assert!(w.harness.state().model().paused().is_some());
    let drawn = frames(&mut w, Duration::from_secs(20));
    assert!(drawn <= 20, "{drawn} frames in 20 s");
}

#[test]
fn a_hidden_window_listens_but_neither_builds_nor_draws() {
    for (minimized, occluded) in [(true, false), (false, true)] {
        let mut w = Window::scene(60);
        let (builds, events) =
            (w.harness.state().model().builds(), w.harness.state().model().live().events());
        let mut input = w.harness.input_mut().clone();
        let viewport = input.viewports.entry(ViewportId::ROOT).or_default();
        (viewport.minimized, viewport.occluded) = (Some(minimized), Some(occluded));
        let ctx = w.harness.ctx.clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        ctx.set_request_repaint_callback(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        for second in 61..=90 {
            let new = scene::events()
                .into_iter()
                .filter(|e| e.at() > scene::at(second - 1) && e.at() <= scene::at(second));
            w.hand.0.borrow_mut().updates.push_back(Update::Events(new.collect()));
            w.hand.0.borrow_mut().now = scene::at(second);
            // What an integration runs in place of a frame while nothing of the window can be seen.
            let output = ctx.run_logic(&input, |ctx| w.harness.state_mut().wake(ctx));
            assert!(output.viewport_commands.is_empty());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0, "frames that nobody sees");
        let model = w.harness.state().model();
        assert_eq!(model.builds(), builds, "rows that nobody sees");
        assert!(model.live().events() > events + 29);
        assert_eq!(model.live().second(), (scene::BEGIN + 90) as u32);
        // Seen again, it shows the present.
        w.harness.step();
        assert_eq!(w.harness.state().model().builds(), builds + 1);
    }
}
