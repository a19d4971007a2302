//! Measures one second of a busy window: 10,000 flows move, rows are rebuilt and laid out.
//!
//! `cargo run --release --example bench_window [FLOWS [ROUNDS [LEVEL]]]` prints one JSON object.

use std::{
    cell::RefCell,
    io::{self, Write as _},
    rc::Rc,
    time::Instant,
};

use egui_kittest::Harness;
use sekhmet_common::{
    event::{Event, FlowCounters, TRAFFIC_FLOWS_MAX},
    flow::{Counters, FlowId},
    time::Timestamp,
};
use sekhmet_gui::{
    app::App,
    link::{Link, Update},
    settings::Settings,
};

#[path = "../tests/support/scene.rs"]
#[expect(dead_code, reason = "the measurement needs only a part of the scene")]
mod scene;

#[derive(Clone, Default)]
struct Feed(Rc<RefCell<(Vec<Update>, Timestamp)>>);

impl Link for Feed {
    fn poll(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.0.borrow_mut().0)
    }

    fn now(&self) -> Timestamp {
        self.0.borrow().1
    }
}

/// So many processes share the flows.
const FLOWS_EACH: u64 = 20;

fn snapshot(flows: u64) -> Vec<Event> {
    let mut events = scene::snapshot();
    for i in 0..flows {
        let process = 1_000 + i / FLOWS_EACH;
        if i % FLOWS_EACH == 0 {
            let exe = format!("/opt/tools/tool-{}", process % 250);
            events.push(Event::ProcessStarted {
                at: scene::at(0),
                process: scene::process(process, &exe, &["tool"]),
            });
        }
        let remote = format!("198.51.{}.{}", i / 250 % 250, i % 250);
        events.push(Event::FlowOpened {
            at: scene::at(0),
            flow: scene::flow(i + 1, process, &remote, 443, None),
        });
    }
    events
}

fn traffic(flows: u64, second: i64) -> Vec<Event> {
    let moved: Vec<FlowCounters> = (0..flows)
        .map(|i| {
            let bytes = u64::try_from(second).unwrap_or(0) * (700 + i % 97);
            let counters = Counters { tx_bytes: bytes / 9, rx_bytes: bytes, tx_packets: 1, rx_packets: 1 };
            FlowCounters { id: FlowId(i + 1), counters }
        })
        .collect();
    let at = scene::at(second);
    moved.chunks(TRAFFIC_FLOWS_MAX).map(|part| Event::Traffic { at, flows: part.to_vec() }).collect()
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let flows = arguments.next().and_then(Result::ok).unwrap_or(10_000);
    let rounds = arguments.next().and_then(Result::ok).unwrap_or(100);
    let unfold = arguments.next().and_then(Result::ok).and_then(|level| u8::try_from(level).ok());
    let feed = Feed::default();
    let link = feed.clone();
    let settings = Settings { unfold, ..Settings::default() };
    let mut window: Harness<'_, App> = Harness::builder()
        .with_size([1440.0, 900.0])
        .allow_missing_glyphs()
        .build_eframe(move |creation| App::new(&creation.egui_ctx, Box::new(link), &settings));
    feed.0.borrow_mut().0.extend([Update::Connected, Update::Events(snapshot(flows))]);
    window.run_steps(3);

    let (mut update, mut both) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let second = i64::try_from(round).unwrap_or(0) + 1;
        *feed.0.borrow_mut() = (vec![Update::Events(traffic(flows, second))], scene::at(second));
        let begin = Instant::now();
        window.state_mut().update();
        update.push(begin.elapsed().as_secs_f64() * 1e3);
        // One frame: what is left of the update, layout, painting to shapes and the accessibility tree.
        window.step();
        both.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    update.sort_by(f64::total_cmp);
    both.sort_by(f64::total_cmp);
    let result = serde_json::json!({
        "flows": flows,
        "rounds": rounds,
        "rows": window.state().model().tree().rows.len(),
        "update_ms": { "p50": percentile(&update, 0.5), "p95": percentile(&update, 0.95) },
        "update_and_layout_ms": { "p50": percentile(&both, 0.5), "p95": percentile(&both, 0.95) },
    });
    writeln!(io::stdout(), "{result}")
}
