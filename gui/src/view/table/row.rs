//! One row: guides, caret, icon, name, numbers, sparkline.

use egui::{Color32, Rangef, Rect, Role, Ui, pos2, vec2};

use super::columns::{Columns, amount_digits, rate_digits};
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        describe::Words,
        series::{Both, SPARK_STEPS},
        tree::{Node, Row},
    },
    text::{self, numbers, table as told, times},
    theme::{Palette, Type, measure, palette},
    widget::{
        badge, button, cell,
        paint::{self, Side},
        sparkline,
    },
};

/// The first caret's distance from the table's left edge.
const CARET: f32 = 16.0;

/// The largest rate in the last minute of any of these rows: one scale, so rows can be compared.
pub(super) fn peak(model: &Model, rows: &[Row]) -> f64 {
    rows.iter().flat_map(|row| spark(model, row)).map(|step| step.down.max(step.up)).fold(0.0, f64::max)
}

fn spark(model: &Model, row: &Row) -> [Both; SPARK_STEPS] {
    let local = model.screen.local;
    let second = model.ledger().second();
    model.figures(&row.node).spark(second, local)
}

/// The row as a sentence.
pub(super) fn sentence(row: &Row, words: &Words) -> String {
    let (down, up) = (numbers::rate(row.now.down), numbers::rate(row.now.up));
    let rate = |f: numbers::Figure| if f.is_none() { told::NO_RATE.to_owned() } else { f.joined() };
    let verdict = text::rule::verdict(row.verdict);
    let figures = [rate(down), rate(up)];
    let told = [verdict, text::secrets::badge_told(row.secret.unexpected, row.secret.expected)];
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let told = told.join(", ");
    text::row_label(&words.name, words.kind, row.level, row.unfolded, &told, [&figures[0], &figures[1]])
}

/// Draws guides and caret. Returns whether the caret was clicked.
pub(super) fn caret_ui(ui: &Ui, rect: Rect, row: &Row, words: &Words, commands: &mut Commands) -> bool {
    let p = palette(ui.ctx());
    for level in 0..row.level {
        let x = rect.left() + CARET + f32::from(level) * measure::INDENT;
        paint::vline(ui.painter(), x, rect.y_range(), p.line);
    }
    let Some(unfolded) = row.unfolded else { return false };
    let centre = pos2(rect.left() + CARET + f32::from(row.level) * measure::INDENT, rect.center().y);
    let target = Rect::from_center_size(centre, vec2(24.0, measure::ROW));
    let label = told::fold(unfolded, &words.name);
    let id = egui::Id::unique("caret").with(&row.node);
    let response = button::place(ui, target, id, Role::DisclosureTriangle, &label);
    let color = if response.hovered() { p.text } else { p.text2 };
    let icon = if unfolded { icons::CARET_DOWN } else { icons::CARET_RIGHT };
    paint::icon(ui.painter(), centre, Type::IconBold(12), color, icon);
    if response.clicked() {
        commands.push(Command::Unfold(row.node.clone(), !unfolded));
    }
    response.clicked()
}

/// Draws the cells. Returns the full words if they were cut.
pub(super) fn cells(
    ui: &Ui,
    rect: Rect,
    row: &Row,
    words: &Words,
    columns: &Columns,
    peak: f64,
    model: &Model,
) -> Option<String> {
    let p = palette(ui.ctx());
    let middle = rect.center().y;
    let painter = ui.painter();
    let fresh = model.status.is_current();
    let quiet = row.ended || !fresh;
    let selected = model.screen.selected.as_ref() == Some(&row.node);
    let badge = secret(row, model);
    let end = columns.program.max - 12.0;
    let cut = name(ui, rect, row, words, badge.as_deref(), end, quiet, selected);
    let pick = |color: Color32| if quiet { p.text3 } else { color };
    for (column, value, color) in
        [(columns.now_down, row.now.down, p.down), (columns.now_up, row.now.up, p.up)]
    {
        let figure = numbers::rate(value);
        cell::figure(painter, rate_digits(column), middle, Type::Number, &figure, pick(color), p);
    }
    if let Some(column) = columns.spark {
        let place = Rect::from_min_size(pos2(column.min + 6.0, middle - 11.0), sparkline::SIZE);
        spark_ui(ui, place, row, words, peak, quiet, model);
    }
    if let Some((down, up)) = columns.totals {
        for (column, value) in [(down, row.total.down), (up, row.total.up)] {
            let figure = numbers::bytes(value);
            cell::figure(painter, amount_digits(column), middle, Type::Number, &figure, pick(p.text), p);
        }
    }
    if let Some(column) = columns.open {
        let (n, color) = (row.open, if row.open == 0 { p.text3 } else { pick(p.text) });
        let at = pos2(column.max - 1.0, middle);
        let text = numbers::count(u64::from(n));
        paint::text(painter, at, Side::Right, Type::Number, color, text);
    }
    if let Some(column) = columns.seen {
        let ledger = model.ledger();
        let seen =
            if row.last.0 == 0 { "–".into() } else { times::ago(row.last, ledger.now(), &model.zone) };
        paint::text(painter, pos2(column.max - 12.0, middle), Side::Right, Type::Small, p.text3, seen);
    }
    cut.then(|| format!("{}  {}", words.name, words.detail))
}

/// What the badge of a row says: the file, if it is one that nobody expected, else how many.
fn secret(row: &Row, model: &Model) -> Option<String> {
    let secret = row.secret;
    let opening = secret.newest.and_then(|id| model.ledger().secrets().opening(id))?;
    let process = matches!(row.node, Node::Process(..));
    Some(match (secret.unexpected, secret.expected) {
        (1, _) if process => {
            let access = &opening.access;
            text::secrets::badge(access.access, access.result, &model.path(&access.path))
        }
        (0, expected) => numbers::count(expected as u64),
        (unexpected, _) => numbers::count(unexpected as u64),
    })
}

/// Icon, name, badge and grey text. Returns whether something was cut.
#[expect(clippy::too_many_arguments, reason = "what a row's first cell is made of")]
fn name(
    ui: &Ui,
    rect: Rect,
    row: &Row,
    words: &Words,
    secret: Option<&str>,
    end: f32,
    quiet: bool,
    selected: bool,
) -> bool {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let middle = rect.center().y;
    let caret = rect.left() + CARET + f32::from(row.level) * measure::INDENT;
    let top = matches!(row.node, Node::Group(_) | Node::Exited);
    let color = if quiet { p.text3 } else { p.text };
    let left = match words.icon {
        Some(icon) if top => {
            tile(painter, pos2(caret + 22.0, middle), icon, quiet, selected, p);
            caret + 38.0
        }
        Some(icon) => {
            paint::icon(painter, pos2(caret + 20.0, middle), Type::Icon(15), p.text3, icon);
            caret + 33.0
        }
        None => caret + 12.0,
    };
    let kind = match (top, words.mono) {
        (true, _) => Type::BodyMedium,
        (false, true) => Type::Mono,
        (false, false) => Type::Body,
    };
    // The second text gives way first, then the badge's words; its sign stays, and last the name is cut.
    let sign = if secret.is_some() { 32.0 } else { 0.0 };
    let range = Rangef::new(left, (end - sign).max(left));
    let (drawn, cut) = paint::text_within(painter, range, middle, kind, color, &words.name);
    let mut rest = Rangef::new(drawn.right() + 8.0, end);
    if let Some(word) = secret
        && let Some(badge) =
            badge::secret(painter, rest, middle, word, row.secret.unexpected > 0 && !quiet, p)
    {
        rest.min = badge.right() + 8.0;
    }
    if words.detail.is_empty() || cut {
        return cut;
    }
    if rest.span() < 24.0 {
        return true;
    }
    paint::text_within(painter, rest, middle, Type::Small, p.text3, &words.detail).1
}

/// The tile that stands for a program.
fn tile(painter: &egui::Painter, centre: egui::Pos2, icon: &str, quiet: bool, selected: bool, p: &Palette) {
    let rect = Rect::from_center_size(centre, vec2(20.0, 20.0));
    painter.rect_filled(rect, 4.0, if selected { p.bg } else { p.sel });
    let color = if quiet { p.text3 } else { p.text2 };
    paint::icon(painter, centre, Type::Icon(14), color, icon);
}

fn spark_ui(ui: &Ui, place: Rect, row: &Row, words: &Words, peak: f64, quiet: bool, model: &Model) {
    let p = palette(ui.ctx());
    let steps = spark(model, row);
    let colors = if quiet { [p.rest, p.rest, p.line] } else { [p.mark_down, p.mark_up, p.line] };
    sparkline::sparkline(ui.painter(), place, &steps, peak, colors);
    let response = ui.interact(place, egui::Id::unique("spark").with(&row.node), egui::Sense::hover());
    response.widget_info(|| {
        let figure_of = |value: f64, of: fn(&Both) -> f64| {
            let figure = numbers::rate(value);
            let rate = if figure.is_none() { told::NO_RATE.to_owned() } else { figure.joined() };
            let trend = match sparkline::trend(steps.iter().map(of)) {
                sparkline::Trend::Rising => told::RISING,
                sparkline::Trend::Steady => told::STEADY,
                sparkline::Trend::Falling => told::FALLING,
            };
            told::trend(&rate, trend)
        };
        let (down, up) = (figure_of(row.now.down, |s| s.down), figure_of(row.now.up, |s| s.up));
        let label = told::spark(&words.name, &down, &up);
        egui::WidgetInfo::labeled(Role::GraphicsObject, true, label)
    });
}
