//! One row of the Secrets lens: a section, a program, a process or a file.

use egui::{Painter, Rangef, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::watch::Severity;

use super::Columns;
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        describe::Words,
        key::GroupKey,
        secrets::rows::{After, Expected, Key, Row},
        tree::Node,
    },
    text::{self, numbers, secrets as words, times},
    theme::{Palette, Type, measure, palette},
    widget::{
        badge, button, cell,
        paint::{self, Side},
    },
};

/// The first caret's distance from the left edge, as in the table.
const CARET: f32 = 16.0;

pub(super) fn show(
    ui: &Ui,
    rect: Rect,
    row: &Row,
    columns: &Columns,
    model: &Model,
    commands: &mut Commands,
) {
    if let Key::Section(expected) = row.key {
        return section(ui, rect, expected, model);
    }
    let p = palette(ui.ctx());
    let id = egui::Id::unique("secret").with(&row.key);
    let response = ui.interact(rect, id, Sense::click());
    let selected = model.screen.secret.as_ref() == Some(&row.key);
    let name = Name::of(row, model);
    let told = sentence(row, &name, model);
    response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, selected, &told));
    if selected {
        ui.painter().rect_filled(rect, 0.0, p.sel);
        let bar = Rect::from_min_size(rect.min, vec2(3.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, p.text);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 0.0, p.hover);
    }
    let turned = caret(ui, rect, row, &name, commands);
    let cut = name.show(ui.painter(), rect, row, columns.name.max - 12.0, selected, p);
    cells(ui.painter(), rect.center().y, row, columns, model, p);
    button::focus_ring(ui, &response);
    if cut && response.hovered() {
        response.clone().on_hover_text_at_pointer(&name.full);
    }
    if turned {
        return;
    }
    if response.double_clicked() && row.unfolded.is_some() {
        commands.push(Command::TurnSecret(row.key.clone()));
    } else if response.clicked() {
        commands.push(Command::SelectSecret(row.key.clone()));
    }
}

fn section(ui: &Ui, rect: Rect, Expected(expected): Expected, model: &Model) {
    let p = palette(ui.ctx());
    let rows = model.secrets();
    let (heading, note) = if expected {
        (words::EXPECTED, words::no_attention(rows.expected))
    } else {
        (words::UNEXPECTED, words::files(rows.unexpected))
    };
    let middle = rect.center().y + 1.0;
    let at = pos2(rect.left() + 16.0, middle);
    let drawn = paint::text(ui.painter(), at, Side::Left, Type::SmallMedium, p.text, heading);
    let at = pos2(drawn.right() + 8.0, middle);
    paint::text(ui.painter(), at, Side::Left, Type::Small, p.text3, note.as_str());
    paint::hline(ui.painter(), rect.x_range(), rect.bottom() - 1.0, p.line);
    let told = ui.interact(rect, ui.scope_id().with(("section", expected)), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, format!("{heading}: {note}")));
}

/// What stands at the left of a row.
struct Name {
    words: Words,
    full: String,
    badge: Option<String>,
    note: Option<&'static str>,
    unexpected: bool,
}

impl Name {
    fn of(row: &Row, model: &Model) -> Self {
        let secrets = model.ledger().secrets();
        let reader = row.accesses.last().and_then(|id| secrets.opening(*id)).map(|o| &o.reader);
        let mut name =
            Self { words: Words::default(), full: String::new(), badge: None, note: None, unexpected: true };
        match &row.key {
            Key::Section(_) => {}
            Key::Program(Expected(expected), key) => {
                name.unexpected = !expected;
                name.words = model.words(&Node::Group(key.clone()));
                if name.words.name.is_empty() {
                    name.words.name = reader.map(|r| r.program_name.clone()).unwrap_or_default();
                    name.words.icon = Some(icons::TERMINAL);
                }
                if *expected {
                    name.words.detail = labels(row, model);
                } else {
                    name.words.detail = readers(row, key, std::mem::take(&mut name.words.detail), model);
                }
            }
            Key::Process(_, _) => {
                name.words.name = reader.map(|r| r.name.clone()).unwrap_or_default();
                name.words.detail = reader.map(|r| r.pid.to_string()).unwrap_or_default();
                name.words.icon = Some(icons::PROCESS);
            }
            Key::File(Expected(expected), _, _, path, entry) => {
                name.unexpected = !expected;
                name.words.name = model.path(path);
                name.words.mono = true;
                name.badge = Some(model.entry_label(*entry)).filter(|label| !label.is_empty());
                name.note = row.first_time.then_some(words::FIRST_TIME);
                name.full = path.shown();
            }
        }
        if name.full.is_empty() {
            name.full = format!("{}  {}", name.words.name, name.words.detail);
        }
        name
    }

    /// Draws icon, name, badge and note. Returns whether something was cut.
    fn show(&self, painter: &Painter, rect: Rect, row: &Row, end: f32, selected: bool, p: &Palette) -> bool {
        let middle = rect.center().y;
        let caret = rect.left() + CARET + f32::from(row.level) * measure::INDENT;
        let (left, kind) = match (&row.key, self.words.icon) {
            (Key::File(..), _) => {
                let color = if self.unexpected { p.secret } else { p.text3 };
                let at = pos2(caret + 20.0, middle);
                paint::icon(painter, at, Type::IconFill(14), color, icons::KEY);
                (caret + 33.0, Type::Mono)
            }
            (Key::Process(..), icon) => {
                let at = pos2(caret + 20.0, middle);
                paint::icon(painter, at, Type::Icon(15), p.text3, icon.unwrap_or(icons::PROCESS));
                (caret + 33.0, Type::Body)
            }
            (_, icon) => {
                let tile = Rect::from_center_size(pos2(caret + 22.0, middle), vec2(20.0, 20.0));
                painter.rect_filled(tile, 4.0, if selected { p.bg } else { p.sel });
                paint::icon(painter, tile.center(), Type::Icon(14), p.text2, icon.unwrap_or(icons::TERMINAL));
                (caret + 38.0, Type::BodyMedium)
            }
        };
        // A path of a usual length stays whole and its badge gives way; of a long one both give way in the middle.
        let badge_width = self.badge.as_ref().map_or(0.0, |b| badge::secret_width(painter, b, false) + 8.0);
        let room = end - left;
        let whole = paint::width(painter, kind, &self.words.name) + 1.0;
        let least = if whole <= room * 0.65 { whole } else { room * 0.55 };
        let room = (room - badge_width).max(least).max(48.0);
        let range = Rangef::new(left, left + room);
        let (drawn, cut) = paint::text_within(painter, range, middle, kind, p.text, &self.words.name);
        let mut x = drawn.right() + 8.0;
        if let Some(label) = &self.badge {
            let range = Rangef::new(x, end);
            let drawn = badge::label(painter, range, middle, label, self.unexpected, p);
            x = drawn.right() + 8.0;
        }
        if let Some(note) = self.note {
            // Two words that are cut say nothing.
            if paint::width(painter, Type::Small, note) <= end - x {
                paint::text(painter, pos2(x, middle), Side::Left, Type::Small, p.text3, note);
            }
        } else if !self.words.detail.is_empty() && end - x > 24.0 {
            let range = Rangef::new(x, end);
            paint::text_within(painter, range, middle, Type::Small, p.text3, &self.words.detail);
        }
        cut
    }
}

/// How many processes of a program were readers, where there are several. What else is known of the program is about
/// all of its processes, so it stands there only if that is the same.
fn readers(row: &Row, program: &GroupKey, detail: String, model: &Model) -> String {
    let ledger = model.ledger();
    let opened = row.accesses.iter().filter_map(|id| ledger.secrets().opening(*id));
    let readers: std::collections::BTreeSet<_> = opened.map(|opening| opening.access.process).collect();
    let all = ledger.group(program).map_or(0, |group| group.members.len());
    match readers.len() {
        n if n > 1 => words::processes(n),
        n if n == all => detail,
        _ => String::new(),
    }
}

/// The labels of what a row stands for.
fn labels(row: &Row, model: &Model) -> String {
    let secrets = model.ledger().secrets();
    let entries: std::collections::BTreeSet<_> =
        row.accesses.iter().filter_map(|id| secrets.opening(*id)).map(|o| o.access.entry).collect();
    let labels: Vec<String> = entries.into_iter().take(4).map(|id| model.entry_label(id)).collect();
    labels.join(", ")
}

/// Draws guides and caret. Returns whether the caret was clicked.
fn caret(ui: &Ui, rect: Rect, row: &Row, name: &Name, commands: &mut Commands) -> bool {
    let p = palette(ui.ctx());
    for level in 0..row.level {
        let x = rect.left() + CARET + f32::from(level) * measure::INDENT;
        paint::vline(ui.painter(), x, rect.y_range(), p.line);
    }
    let Some(unfolded) = row.unfolded else { return false };
    let centre = pos2(rect.left() + CARET + f32::from(row.level) * measure::INDENT, rect.center().y);
    let target = Rect::from_center_size(centre, vec2(24.0, measure::ROW));
    let label = text::table::fold(unfolded, &name.words.name);
    let id = egui::Id::unique("secret caret").with(&row.key);
    let response = button::place(ui, target, id, Role::DisclosureTriangle, &label);
    let color = if response.hovered() { p.text } else { p.text2 };
    let icon = if unfolded { icons::CARET_DOWN } else { icons::CARET_RIGHT };
    paint::icon(ui.painter(), centre, Type::IconBold(12), color, icon);
    if response.clicked() {
        commands.push(Command::TurnSecret(row.key.clone()));
    }
    response.clicked()
}

fn cells(painter: &Painter, middle: f32, row: &Row, columns: &Columns, model: &Model, p: &Palette) {
    if let Some(column) = columns.severity {
        let color = match row.severity {
            Severity::High => p.text,
            Severity::Medium => p.text2,
            Severity::Low => p.text3,
        };
        let at = pos2(column.min, middle);
        paint::text(painter, at, Side::Left, Type::Small, color, words::severity(row.severity));
    }
    let range = Rangef::new(columns.access.min, columns.access.max - 8.0);
    let access = words::access(&row.ways, &row.results);
    paint::text_within(painter, range, middle, Type::Small, p.text2, &access);
    if let Some(x) = columns.times {
        let times = numbers::count(row.times);
        paint::text(painter, pos2(x, middle), Side::Right, Type::Number, p.text, times);
    }
    let at = pos2(columns.last.min, middle);
    paint::text(painter, at, Side::Left, Type::Small, p.text2, last(row, model));
    after(painter, columns.after, middle, row, p);
    let sent = if row.after.hosts.is_empty() { 0.0 } else { row.after.sent as f64 };
    let figure = numbers::bytes(sent);
    cell::figure(painter, columns.sent, middle, Type::Number, &figure, p.up, p);
}

/// The clock of today, else the date.
fn last(row: &Row, model: &Model) -> String {
    if model.ledger().now().nanos_since(row.last) < 86_400_000_000_000 {
        times::clock(row.last, &model.zone)
    } else {
        times::date(row.last, &model.zone)
    }
}

fn after(painter: &Painter, column: Rangef, middle: f32, row: &Row, p: &Palette) {
    let After { hosts, .. } = &row.after;
    let end = column.max - 8.0;
    let range = |x: f32| Rangef::new(x, end.max(x));
    let one = (hosts.len() == 1 && matches!(row.key, Key::File(..))).then(|| hosts.iter().next()).flatten();
    let new = row.after.new_hosts() > 0;
    let color = if new { p.text } else { p.text2 };
    let mut x = column.min;
    if new && matches!(row.key, Key::File(..)) {
        painter.circle_filled(pos2(x + 4.0, middle), 3.0, p.secret);
        x += 12.0;
    }
    match one {
        Some((host, new)) => {
            let (drawn, _) =
                paint::text_within(painter, range(x), middle, Type::Small, p.text2, words::host(*new));
            let kind = if *new { Type::SmallMedium } else { Type::Small };
            paint::text_within(painter, range(drawn.right() + 5.0), middle, kind, color, &host.label());
        }
        None => {
            let words = words::hosts(row.after.new_hosts(), hosts.len());
            let color = if hosts.is_empty() { p.text3 } else { color };
            paint::text_within(painter, range(x), middle, Type::Small, color, &words);
        }
    }
}

/// The row as a sentence.
fn sentence(row: &Row, name: &Name, model: &Model) -> String {
    let file = matches!(row.key, Key::File(..));
    let kind = words::kind(file, matches!(row.key, Key::Process(..)), name.unexpected);
    let what = name.badge.as_ref().map_or_else(|| kind.to_owned(), |badge| format!("{badge}, {kind}"));
    let after = words::hosts(row.after.new_hosts(), row.after.hosts.len());
    let access = words::access(&row.ways, &row.results);
    words::row(
        &name.words.name,
        &what,
        words::severity(row.severity),
        &access,
        row.times,
        &last(row, model),
        &after,
    )
}
