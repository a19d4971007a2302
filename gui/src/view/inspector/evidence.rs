//! The inspector on opened files: what happened in which order, and what that does not say.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::{file::ContactReason, time::Timestamp};

use super::PAD;
use crate::{
    command::{Command, Commands},
    evidence::Evidence as Saved,
    icons,
    model::{
        Model,
        secrets::{
            evidence::{self, Evidence, Step},
            host_of,
            rows::{Expected, Key, Row},
        },
    },
    text::{self, numbers, secrets as words, times},
    theme::{Palette, Type, palette},
    widget::{
        button::{self, Look},
        paint::{self, Side},
    },
};

const STEP: f32 = 42.0;
const LANES: f32 = 104.0;

/// The row whose evidence the inspector shows.
pub(super) fn row(model: &Model) -> Option<&Row> {
    let key =
        model.screen.secret.as_ref().filter(|_| model.screen.lens == crate::model::screen::Lens::Secrets)?;
    let is_file = matches!(key, Key::File(..));
    // A program or a process that is still listed has the inspector of every other row.
    if !is_file && model.screen.selected.is_some() {
        return None;
    }
    model.secrets().rows.iter().find(|row| row.key == *key)
}

pub(super) fn show(ui: &mut Ui, rect: Rect, row: &Row, model: &Model, commands: &mut Commands) {
    let evidence = Evidence::of(model.ledger().secrets(), &row.accesses);
    let Some((opening, contact)) = evidence.gist() else { return };
    let p = palette(ui.ctx());
    let access = &opening.access;
    title(ui, rect, row, model, commands);
    let mut sentence = match row.files {
        1 => words::opened(&opening.reader.name, access.access, access.result),
        n => words::opened_several(&opening.reader.name, n),
    };
    if let Some(contact) = contact {
        let other =
            (contact.process != access.process).then(|| process_name(model, contact.process)).flatten();
        let delay = contact.at.nanos_since(contact.read_at);
        sentence = format!("{sentence} {}", words::reached(delay, other.as_deref(), contact.reason));
    }
    let width = rect.width() - 2.0 * PAD;
    let at = pos2(rect.left() + PAD, rect.top() + 44.0);
    let told = paint::paragraph(ui.painter(), at, width, 3, Type::Body, p.text, &sentence);
    let response = ui.interact(told, ui.scope_id().with("evidence"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &sentence));
    let at = pos2(rect.left() + PAD, told.bottom() + 4.0);
    let hedge = paint::paragraph(ui.painter(), at, width, 2, Type::Small, p.text3, words::NOT_BECAUSE);
    let response = ui.interact(hedge, ui.scope_id().with("hedge"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, words::NOT_BECAUSE));
    let mut y = hedge.bottom() + 12.0;
    paint::hline(ui.painter(), rect.x_range(), y, p.line);
    if contact.is_some() {
        lanes(ui, Rect::from_min_size(pos2(rect.left(), y), vec2(rect.width(), LANES)), &evidence, model);
        y += LANES;
        paint::hline(ui.painter(), rect.x_range(), y, p.line);
    }
    let foot = foot(ui, rect, row, (&evidence, &sentence), model, commands);
    steps(ui, Rect::from_min_max(pos2(rect.left(), y + 4.0), pos2(rect.right(), foot)), &evidence, model);
}

fn process_name(model: &Model, id: sekhmet_common::process::ProcessId) -> Option<String> {
    model.ledger().proc(Some(id)).map(|proc| proc.label.clone())
}

fn title(ui: &Ui, rect: Rect, row: &Row, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let middle = rect.top() + 24.0;
    let tile = Rect::from_center_size(pos2(rect.left() + PAD + 12.0, middle), vec2(24.0, 24.0));
    let unexpected = matches!(row.key, Key::File(Expected(false), ..));
    painter.rect_filled(tile, 4.0, if unexpected { p.secret_bg } else { p.sel });
    let ink = if unexpected { p.secret } else { p.text2 };
    paint::icon(painter, tile.center(), Type::IconFill(15), ink, icons::KEY);
    let close = pos2(rect.right() - 24.0, middle);
    let (name, label) = match &row.key {
        Key::File(_, _, _, path, entry) => (model.path(path), model.entry_label(*entry)),
        _ => (words::files(row.files), String::new()),
    };
    let end = close.x - 18.0;
    let label_width = paint::width(painter, Type::Small, &label).min(110.0);
    let range = Rangef::new(tile.right() + 10.0, end - label_width - 10.0);
    let (drawn, _) = paint::text_within(painter, range, middle, Type::MonoMedium, p.text, &name);
    let range = Rangef::new(drawn.right() + 10.0, end);
    paint::text_within(painter, range, middle, Type::Small, p.text3, &label);
    let told = ui.interact(drawn, ui.scope_id().with("title"), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, text::inspector::title(&name)));
    told.on_hover_text(&name);
    let id = ui.scope_id().with("close");
    if button::icon_button(ui, close, id, icons::CLOSE, text::CLOSE_INSPECTOR).clicked() {
        commands.push(Command::OpenInspector(false));
    }
}

/// Files above, network below, on one line of time; between a read and a contact lies the span.
fn lanes(ui: &Ui, rect: Rect, evidence: &Evidence<'_>, model: &Model) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let (Some(first), Some(last)) = (evidence.steps.first(), evidence.steps.last()) else { return };
    let (from, to) = (first.at(), last.at());
    let span = to.nanos_since(from).max(1_000_000) as f64;
    let x_range = Rangef::new(rect.left() + PAD + 66.0, rect.right() - PAD - 8.0);
    let x_of = |at: Timestamp| x_range.min + (at.nanos_since(from) as f64 / span) as f32 * x_range.span();
    let (files, network) = (rect.top() + 26.0, rect.top() + 62.0);
    for (y, name) in [(files, words::LANE_FILES), (network, words::LANE_NETWORK)] {
        paint::text(painter, pos2(rect.left() + PAD, y), Side::Left, Type::Small, p.text3, name);
        paint::hline(painter, x_range, y, p.line);
    }
    for step in &evidence.steps {
        if let Step::Reached(contact) = step {
            let place = Rect::from_x_y_ranges(
                Rangef::new(x_of(contact.read_at), x_of(contact.at).max(x_of(contact.read_at) + 2.0)),
                Rangef::new(files + 9.0, network - 4.0),
            );
            painter.rect_filled(place, 0.0, p.secret_bg);
            for x in [place.left(), place.right()] {
                let ends = [pos2(x, files), pos2(x, network)];
                painter.extend(Shape::dashed_line(&ends, Stroke::new(1.0, p.secret), 2.0, 2.0));
            }
            let words = words::delay(contact.at.nanos_since(contact.read_at));
            let width = paint::width(painter, Type::Caption, &words);
            let y = (files + network) / 2.0 + 2.0;
            let (x, side) = if width + 8.0 <= place.width() {
                (place.center().x, Side::Centre)
            } else if place.right() + 6.0 + width <= rect.right() - 4.0 {
                (place.right() + 6.0, Side::Left)
            } else {
                (place.left() - 6.0, Side::Right)
            };
            paint::text(painter, pos2(x, y), side, Type::Caption, p.secret, words);
        }
    }
    for step in &evidence.steps {
        let at = x_of(step.at());
        match step {
            Step::Opened(_) => {
                paint::icon(painter, pos2(at, files), Type::IconFill(13), p.secret, icons::KEY);
            }
            Step::Reached(_) => {
                painter.circle_filled(pos2(at, network), 3.5, p.text);
            }
        }
    }
    let y = rect.bottom() - 14.0;
    let clock = |at: Timestamp| times::millis(at, &model.zone);
    paint::text(painter, pos2(x_range.min, y), Side::Left, Type::Caption, p.text3, clock(from));
    if to > from {
        paint::text(painter, pos2(x_range.max + 8.0, y), Side::Right, Type::Caption, p.text3, clock(to));
    }
}

/// A step as it is listed: icon, words, what stands below, when.
type Told = (&'static str, egui::Color32, String, String, Timestamp);

fn told(step: &Step<'_>, model: &Model, p: &Palette) -> Vec<Told> {
    match step {
        Step::Opened(opening) => {
            let a = &opening.access;
            let requested = a.requested_path.as_ref().filter(|r| **r != a.path).map(|r| r.shown_within(60));
            let label = model.entry_label(a.entry);
            let detail = words::step_detail(a.result, a.count, a.first_time, &label, requested.as_deref());
            let color = if a.expected { p.text2 } else { p.secret };
            vec![(
                icons::KEY,
                color,
                words::step_opened(a.access, a.result, &model.path(&a.path)),
                detail,
                a.at,
            )]
        }
        Step::Reached(contact) => {
            let new = contact.reason == ContactReason::NewRemote;
            let delay = words::delay(contact.at.nanos_since(contact.read_at));
            let detail = words::step_remote(contact.remote.port, new, &delay);
            let mut steps = vec![(
                icons::REACHED,
                p.text2,
                words::step_reached(&host_of(contact).label()),
                detail,
                contact.at,
            )];
            if contact.tx_bytes > 0 {
                let sent = words::step_sent(&numbers::bytes(contact.tx_bytes as f64).joined());
                steps.push((icons::SENT, p.up, sent, contact.remote.to_string(), contact.at));
            }
            steps
        }
    }
}

fn steps(ui: &mut Ui, rect: Rect, evidence: &Evidence<'_>, model: &Model) {
    if rect.height() < STEP {
        return;
    }
    let p = palette(ui.ctx());
    let all: Vec<Told> = evidence.steps.iter().flat_map(|step| told(step, model, p)).collect();
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("steps").max_rect(rect));
    inner.shrink_clip_rect(rect);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    ScrollArea::vertical().auto_shrink(false).animated(false).show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(STEP * all.len() as f32);
        let first = (viewport.min.y / STEP).floor().max(0.0) as usize;
        let last = ((viewport.max.y / STEP).ceil().max(0.0) as usize).min(all.len());
        for (i, (icon, color, words, detail, at)) in all.iter().enumerate().take(last).skip(first) {
            let y = ui.max_rect().top() + i as f32 * STEP;
            let place = Rect::from_x_y_ranges(rect.x_range(), Rangef::new(y, y + STEP));
            let painter = ui.painter();
            let style = if *icon == icons::KEY { Type::IconFill(14) } else { Type::Icon(14) };
            paint::icon(painter, pos2(rect.left() + PAD + 8.0, y + 14.0), style, *color, icon);
            let clock = times::millis(*at, &model.zone);
            let at = pos2(rect.right() - PAD, y + 14.0);
            let time = paint::text(painter, at, Side::Right, Type::Small, p.text3, clock.as_str());
            let range = Rangef::new(rect.left() + PAD + 24.0, time.left() - 8.0);
            paint::text_within(painter, range, y + 14.0, Type::Body, p.text, words);
            let range = Rangef::new(range.min, rect.right() - PAD);
            paint::text_within(painter, range, y + 31.0, Type::Small, p.text3, detail);
            let response = ui.interact(place, ui.scope_id().with(("step", i)), Sense::hover());
            response.widget_info(|| {
                WidgetInfo::labeled(Role::ListItem, true, format!("{clock}: {words}, {detail}"))
            });
        }
    });
}

/// Everything that the inspector tells, to be read elsewhere.
fn readable(row: &Row, evidence: &Evidence<'_>, sentence: &str, model: &Model, p: &Palette) -> String {
    let title = match &row.key {
        Key::File(_, _, _, path, entry) => format!("{}  {}", path.shown(), model.entry_label(*entry)),
        _ => words::files(row.files),
    };
    let mut text = words::evidence_head(title.trim_end(), sentence);
    for (_, _, words, detail, at) in evidence.steps.iter().flat_map(|step| told(step, model, p)) {
        text.push_str(&format!("{at}  {words}  ({detail})\n"));
    }
    text
}

/// The buttons at the foot. Returns the height above them.
fn foot(
    ui: &Ui,
    rect: Rect,
    row: &Row,
    (evidence, sentence): (&Evidence<'_>, &str),
    model: &Model,
    commands: &mut Commands,
) -> f32 {
    let p = palette(ui.ctx());
    let top = rect.bottom() - 52.0;
    paint::hline(ui.painter(), rect.x_range(), top, p.line);
    let middle = top + 26.0;
    let mut x = rect.left() + PAD;
    let id = |name: &str| ui.scope_id().with(name);
    let newest = row.accesses.last().filter(|_| matches!(row.key, Key::File(Expected(false), ..)));
    if let Some(newest) = newest.filter(|_| model.can_block()) {
        let response = button::button(ui, x, middle, id("expect"), Look::Outline, None, words::EXPECT);
        x = response.rect.right() + 8.0;
        if response.clicked() {
            commands.push(Command::Expect(*newest));
        }
    }
    let text = || readable(row, evidence, sentence, model, p);
    let json = || {
        let ledger = model.ledger();
        evidence::json(ledger.secrets(), ledger.mirror(), &row.accesses)
            .unwrap_or_else(|error| error.to_string())
    };
    let response = button::button(ui, x, middle, id("save"), Look::Outline, None, words::SAVE_EVIDENCE);
    if response.clicked() {
        commands.push(Command::SaveEvidence(Saved { text: text(), json: json() }));
    }
    let at = pos2(rect.right() - PAD - 10.0, middle);
    if button::icon_button(ui, at - vec2(28.0, 0.0), id("copy"), icons::COPY, words::COPY_EVIDENCE).clicked()
    {
        commands.push(Command::Copy(text()));
    }
    if button::icon_button(ui, at, id("json"), icons::JSON, words::COPY_JSON).clicked() {
        commands.push(Command::Copy(json()));
    }
    top
}
