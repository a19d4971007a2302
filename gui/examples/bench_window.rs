//! Measures one second of a busy window: every one of 10,000 flows moves, rows are rebuilt and laid out.
//!
//! `cargo run --release --example bench_window [FLOWS [ROUNDS [LOOK]]]` prints one JSON object for each way to look
//! at them and fails if the slowest twentieth of the frames takes longer than 8 ms.
//!
//! Times are those of the processor that the thread had: what else the machine does is not the window's.

use std::{cell::RefCell, io, process::ExitCode, rc::Rc, time::Instant};

use egui_kittest::Harness;
use sekhmet_common::{
    event::{Event, FlowCounters, TRAFFIC_FLOWS_MAX},
    file::{ACCESSES_MAX, Access, AccessId, Contact, ContactId, ContactReason, FileAccess, Outcome},
    flow::{Counters, Endpoint, FlowId},
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId, Owner, Severity},
};
use sekhmet_gui::{
    app::App,
    link::{Link, Update},
    settings::{LensChoice, Settings},
};

#[path = "../tests/support/scene.rs"]
#[expect(dead_code, reason = "the measurement needs only a part of the scene")]
mod scene;

/// Update and layout of one frame, in milliseconds.
const LIMIT_MS: f64 = 8.0;
/// So many processes share the flows.
const FLOWS_EACH: u64 = 20;
/// So many rounds are not counted: fonts, first allocations.
const WARM_UP: i64 = 3;

/// A way to look at the flows.
struct Look {
    name: &'static str,
    /// Down to which level rows are unfolded.
    unfold: u8,
    search: &'static str,
    /// One of so many flows moves in a second.
    moving: u64,
    /// Files that are listed as opened.
    accesses: u64,
    /// The page that is looked at.
    lens: Option<LensChoice>,
    /// Whether the limit applies. With every flow a row of its own there are twice as many rows as flows.
    judged: bool,
}

const PLAIN: Look =
    Look { name: "folded", unfold: 0, search: "", moving: 1, accesses: 0, lens: None, judged: true };

const LOOKS: [Look; 8] = [
    PLAIN,
    Look { name: "folded, one in ten moves", moving: 10, ..PLAIN },
    Look { name: "processes unfolded", unfold: 1, ..PLAIN },
    Look { name: "search", search: "tool-1", ..PLAIN },
    Look {
        name: "folded, beside as many watched files as are listed",
        accesses: ACCESSES_MAX as u64,
        ..PLAIN
    },
    Look {
        name: "as many watched files as are listed",
        accesses: ACCESSES_MAX as u64,
        lens: Some(LensChoice::Secrets),
        ..PLAIN
    },
    Look {
        name: "as many watched files as are listed, search",
        accesses: ACCESSES_MAX as u64,
        lens: Some(LensChoice::Secrets),
        search: "token-1",
        ..PLAIN
    },
    Look { name: "everything unfolded", unfold: 3, judged: false, ..PLAIN },
];

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

/// As many accesses: half of them expected, every fourth with a host that was reached after. Most programs open few
/// files, one opens a thousand.
fn opened(accesses: u64, flows: u64) -> Vec<Event> {
    let at = scene::at(0);
    let processes = (flows / FLOWS_EACH).max(1);
    let entry = Entry {
        id: EntryId(1),
        pattern: "/home/ana/work/**/token-*".into(),
        label: "token".into(),
        group: "tokens".into(),
        severity: Severity::High,
        expected: vec![],
        owner: Owner::Default,
        enabled: true,
    };
    let mut events = vec![Event::WatchEntryAdded { at, entry }];
    for i in 0..accesses {
        let process = if i % 4 == 0 { 1_000 } else { 1_000 + i % processes };
        let access = FileAccess {
            id: AccessId(i + 1),
            process: ProcessId(process),
            path: format!("/home/ana/work/{}/a folder with a long name/token-{i}", i % 60).as_str().into(),
            requested_path: None,
            entry: EntryId(1),
            severity: Severity::High,
            access: Access::Read,
            result: if i % 3 == 0 { Outcome(2) } else { Outcome::OK },
            count: 1 + i % 5,
            at,
            last_at: at,
            first_time: i % 7 == 0,
            expected: i % 2 == 0,
            mount_ns: None,
            contacts_left_out: 0,
        };
        let contact = (i % 4 == 1).then(|| Contact {
            id: ContactId(i + 1),
            access: access.id,
            read_at: at,
            process: access.process,
            flow: FlowId((process - 1_000) * FLOWS_EACH + 1),
            remote: Endpoint::new(std::net::Ipv4Addr::new(198, 51, 100, (i % 250) as u8).into(), 443),
            remote_name: None,
            reason: ContactReason::NewRemote,
            at,
            tx_bytes: 4_000 + i,
        });
        events.push(Event::FileAccessed { at, access });
        events.extend(contact.map(|contact| Event::ContactAfter { at, contact }));
    }
    events
}

fn traffic(flows: u64, second: i64, moving: u64) -> Vec<Event> {
    let moved: Vec<FlowCounters> = (0..flows)
        .filter(|i| (i + second.unsigned_abs()).is_multiple_of(moving))
        .map(|i| {
            let bytes = second.unsigned_abs() * (700 + i % 97);
            let counters = Counters { tx_bytes: bytes / 9, rx_bytes: bytes, tx_packets: 1, rx_packets: 1 };
            FlowCounters { id: FlowId(i + 1), counters }
        })
        .collect();
    let at = scene::at(second);
    moved.chunks(TRAFFIC_FLOWS_MAX).map(|part| Event::Traffic { at, flows: part.to_vec() }).collect()
}

/// Processor time of this thread, in milliseconds.
fn spent() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn percentile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * part) as usize;
    let ms = sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default();
    (ms * 100.0).round() / 100.0
}

fn figures(times: &[f64]) -> serde_json::Value {
    serde_json::json!({ "p50": percentile(times, 0.5), "p95": percentile(times, 0.95) })
}

/// Measures one look. Returns whether it kept the limit.
fn measure(look: &Look, flows: u64, rounds: i64, out: &mut impl io::Write) -> io::Result<bool> {
    let feed = Feed::default();
    let link = feed.clone();
    let (unfold, search) = (Some(look.unfold), Some(look.search.to_owned()));
    let settings = Settings { unfold, search, lens: look.lens, ..Settings::default() };
    let mut window: Harness<'_, App> = Harness::builder()
        .with_size([1440.0, 900.0])
        .allow_missing_glyphs()
        .build_eframe(move |creation| App::new(&creation.egui_ctx, Box::new(link), &settings));
    let accesses = if look.accesses > 0 { opened(look.accesses, flows) } else { vec![] };
    feed.0.borrow_mut().0.extend([
        Update::Connected,
        Update::Events(snapshot(flows)),
        Update::Events(accesses),
    ]);
    window.run_steps(3);

    let (mut update, mut layout, mut both, mut wall) = (vec![], vec![], vec![], vec![]);
    for second in 1..=rounds + WARM_UP {
        *feed.0.borrow_mut() = (vec![Update::Events(traffic(flows, second, look.moving))], scene::at(second));
        let (clock, begin) = (Instant::now(), spent());
        window.state_mut().update();
        let middle = spent();
        // One frame: what is left of the update, layout, painting to shapes and the accessibility tree.
        window.step();
        let end = spent();
        if second > WARM_UP {
            update.push(middle - begin);
            layout.push(end - middle);
            both.push(end - begin);
            wall.push(clock.elapsed().as_secs_f64() * 1e3);
        }
    }
    let kept = percentile(&both, 0.95) <= LIMIT_MS;
    let result = serde_json::json!({
        "look": look.name,
        "flows": flows,
        "rounds": rounds,
        "accesses": window.state().model().ledger().secrets().openings().count(),
        "rows": match look.lens {
            Some(_) => window.state().model().secrets().rows.len(),
            None => window.state().model().tree().rows.len(),
        },
        "update_ms": figures(&update),
        "layout_ms": figures(&layout),
        "update_and_layout_ms": figures(&both),
        "by_the_clock_ms": figures(&wall),
        "limit_p95_ms": look.judged.then_some(LIMIT_MS),
        "kept": kept,
    });
    writeln!(out, "{result}")?;
    Ok(kept || !look.judged)
}

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>());
    let flows = arguments.next().and_then(Result::ok).unwrap_or(10_000);
    let rounds = arguments.next().and_then(Result::ok).unwrap_or(100);
    let only = std::env::args().nth(3);
    let mut out = io::stdout();
    let mut kept = true;
    for look in LOOKS.iter().filter(|look| only.as_ref().is_none_or(|name| look.name == name)) {
        kept &= measure(look, flows.into(), rounds.into(), &mut out)?;
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
