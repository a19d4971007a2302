//! Opens the real window on a made-up machine whose programs can be blocked: to try things out, and for pictures.
//!
//! `cargo run --example play_scene -- [WIDTHxHEIGHT [dark|light [ROWS]]]`; ROWS adds so many programs with long names.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use sekhmet_common::{
    event::Event,
    flow::{Direction, EndReason, Endpoint, FlowState, Protocol},
    mirror::Mirror,
    process::ProcessId,
    refusal::{Refusal, RefusalId},
    rule::{Rule, RuleEnd, RuleId, Subject, Wanted},
    time::Timestamp,
    watch::{Entry, EntryId, Owner},
};
use sekhmet_gui::{
    app,
    link::{Link, Update},
    model::requests::{Ticket, Wish},
    settings::{Settings, ThemeChoice},
};

#[path = "../tests/support/scene.rs"]
mod scene;
#[path = "../tests/support/secrets.rs"]
mod secrets;

/// The scene has been going on for so long when the window opens.
const BEGIN: i64 = 160;
/// So long the made-up helper thinks about a wish.
const THINKS: Duration = Duration::from_millis(1500);

struct Machine {
    ctx: egui::Context,
    begin: Instant,
    events: VecDeque<Event>,
    mirror: Mirror,
    wishes: VecDeque<(Instant, Ticket, Wish)>,
    rules: u32,
    connected: bool,
}

impl Machine {
    fn update(&mut self, out: &mut Vec<Update>, events: Vec<Event>) {
        events.iter().for_each(|event| self.mirror.apply(event));
        out.push(Update::Events(events));
    }

    /// A change of the watchlist.
    fn edit(&mut self, wish: Wish) -> Vec<Event> {
        let at = self.now();
        match wish {
            Wish::Watch(draft) => {
                self.rules += 1;
                let entry = Entry {
                    id: EntryId(900 + self.rules),
                    label: draft.label_or_pattern(),
                    pattern: draft.pattern,
                    group: draft.group,
                    severity: draft.severity,
                    expected: draft.expected,
                    owner: Owner::User(1000),
                    enabled: true,
                };
                vec![Event::WatchEntryAdded { at, entry }]
            }
            Wish::Change(old, draft) => {
                let entry = Entry {
                    label: draft.label_or_pattern(),
                    pattern: draft.pattern,
                    group: draft.group,
                    severity: draft.severity,
                    expected: draft.expected,
                    ..*old
                };
                vec![Event::WatchEntryAdded { at, entry }]
            }
            Wish::Restore(entry) => vec![Event::WatchEntryAdded { at, entry: *entry }],
            Wish::Switch(ids, on) => {
                let entries = ids.iter().filter_map(|id| self.mirror.entry(*id)).cloned();
                entries.map(|e| Event::WatchEntryAdded { at, entry: Entry { enabled: on, ..e } }).collect()
            }
            Wish::Unwatch(id) => vec![Event::WatchEntryRemoved { at, id }],
            Wish::Block(_) | Wish::Unblock(_) => vec![],
        }
    }

    fn fulfil(&mut self, wish: Wish) -> (Result<Option<RuleId>, String>, Vec<Event>) {
        let at = self.now();
        match wish {
            Wish::Watch(_) | Wish::Change(..) | Wish::Restore(_) | Wish::Switch(..) | Wish::Unwatch(_) => {
                (Ok(None), self.edit(wish))
            }
            Wish::Unblock(id) => {
                let bound: Vec<ProcessId> = self.mirror.blocked().map(|(id, _)| id).collect();
                let mut events = vec![Event::RuleRemoved { at, id, end: RuleEnd::Removed }];
                events.extend(bound.into_iter().map(|id| Event::ProcessRules { at, id, rules: vec![] }));
                (Ok(None), events)
            }
            Wish::Block(draft) => {
                let asked = match draft.wanted {
                    Wanted::Process(id) | Wanted::ProgramOf(id) => id,
                    Wanted::Path(_) => {
                        return (Err("Nothing was changed. The request was not confirmed.".into()), vec![]);
                    }
                };
                let Some(process) = self.mirror.process(asked).cloned() else {
                    return (Err("Nothing was changed. It has ended meanwhile.".into()), vec![]);
                };
                self.rules += 1;
                let id = RuleId(self.rules);
                let subject = match draft.wanted {
                    Wanted::Process(_) => Subject::Process {
                        process: Some(asked),
                        pid: process.pid,
                        name: process.name.clone(),
                        exe: process.exe.clone(),
                    },
                    _ => Subject::Program { exe: process.exe.clone() },
                };
                let (ways, answer, extent, lifetime) =
                    (draft.ways, draft.answer, draft.extent, draft.lifetime);
                let rule = Rule {
                    id,
                    subject,
                    ways,
                    answer,
                    extent,
                    lifetime,
                    added_at: at,
                    expires_at: None,
                    added_by: 1000,
                    added_by_user: Some("ana".into()),
                    hits: 0,
                };
                let mut events = vec![
                    Event::RuleAdded { at, rule },
                    Event::ProcessRules { at, id: asked, rules: vec![id] },
                ];
                for flow in self.mirror.flows_of(Some(asked)).filter(|f| f.state != FlowState::Closed) {
                    events.push(Event::FlowClosed {
                        at,
                        id: flow.id,
                        end_reason: EndReason::Blocked,
                        counters: flow.counters,
                    });
                    events.push(Event::Refused {
                        at,
                        refusal: Refusal {
                            id: RefusalId(flow.id.0),
                            rule: id,
                            process: Some(asked),
                            protocol: Protocol::Tcp,
                            direction: Direction::Outbound,
                            remote: Endpoint::new(flow.remote.addr, flow.remote.port),
                            remote_name: flow.remote_name.clone(),
                            first_at: at,
                            last_at: at,
                            attempts: 3,
                        },
                    });
                }
                (Ok(Some(id)), events)
            }
        }
    }
}

impl Link for Machine {
    fn poll(&mut self) -> Vec<Update> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.connected, true) {
            out.push(Update::Connected);
        }
        let now = self.now();
        let mut due = Vec::new();
        while let Some(mut event) = self.events.pop_front_if(|event| event.at() <= now) {
            // What was blocked moves nothing any more.
            if let Event::Traffic { flows, .. } = &mut event {
                let is_closed = |id| self.mirror.flow(id).is_some_and(|f| f.state == FlowState::Closed);
                flows.retain(|moved| !is_closed(moved.id));
            }
            due.push(event);
        }
        if !due.is_empty() {
            self.update(&mut out, due);
        }
        while let Some((_, ticket, wish)) = self.wishes.pop_front_if(|(due, ..)| *due <= Instant::now()) {
            let (answer, events) = self.fulfil(wish);
            out.push(Update::Answer { ticket, answer });
            self.update(&mut out, events);
        }
        out
    }

    fn now(&self) -> Timestamp {
        let nanos = i64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(i64::MAX);
        scene::at(BEGIN).plus_nanos(nanos)
    }

    fn wish(&mut self, ticket: Ticket, wish: Wish) -> Result<(), &'static str> {
        self.wishes.push_back((Instant::now() + THINKS, ticket, wish));
        self.ctx.request_repaint_after(THINKS);
        Ok(())
    }
}

/// Programs with names that need more room than there is.
fn many(rows: u64) -> Vec<Event> {
    let at = scene::at(0);
    (0..rows)
        .flat_map(|i| {
            let exe = format!(
                "/opt/vendor/bin/{i}-is-a-program-whose-name-needs-more-room-than-a-column-can-give-to-it-{i}"
            );
            let host = format!("service-{i}.a-rather-long-host-name.region-{}.cloud.example", i % 7);
            let addr = format!("198.51.{}.{}", i / 250 % 250, i % 250);
            let process = scene::process(10_000 + i, &exe, &["main"]);
            let flow = scene::flow(10_000 + i, 10_000 + i, &addr, 443, Some(&host));
            [Event::ProcessStarted { at, process }, Event::FlowOpened { at, flow }]
        })
        .collect()
}

fn main() -> Result<(), eframe::Error> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().and_then(|size| {
        let (width, height) = size.split_once('x')?;
        Some([width.parse().ok()?, height.parse().ok()?])
    });
    let theme = match arguments.next().as_deref() {
        Some("light") => ThemeChoice::Light,
        _ => ThemeChoice::Dark,
    };
    let rows = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let settings = Settings { size, theme: Some(theme), ..Settings::default() };
    let options = app::native_options(&settings);
    eframe::run_native(
        sekhmet_common::bus::APP_ID,
        options,
        Box::new(move |creation| {
            let mut events: VecDeque<Event> = secrets::woven_into(scene::events()).into();
            let snapshot = scene::snapshot().len();
            for (i, event) in many(rows).into_iter().enumerate() {
                events.insert(snapshot + i, event);
            }
            let machine = Machine {
                ctx: creation.egui_ctx.clone(),
                begin: Instant::now(),
                events,
                mirror: Mirror::new(),
                wishes: VecDeque::new(),
                rules: 0,
                connected: false,
            };
            let mut app = app::App::new(&creation.egui_ctx, Box::new(machine), &settings);
            let model = app.model_mut();
            (model.home, model.uid) = (Some("/home/ana".to_owned()), 1000);
            Ok(Box::new(app))
        }),
    )
}
