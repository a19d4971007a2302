//! The last five minutes: download grows up, upload grows down, a column for each second.

use egui::{Rangef, Rect, Role, Sense, Ui, WidgetInfo, pos2};

use super::{Grid, inspector};
use crate::{
    command::Commands,
    model::{Model, ledger::second_of},
    text::{self, numbers, timeline as words, times},
    theme::{Palette, Type, measure, palette},
    widget::{
        cell,
        paint::{self, Side},
    },
};

mod chart;
mod marks;
mod scale;
mod stack;
mod table;

pub(super) use scale::Scale;
use stack::Stack;

/// Height of the lane for marks.
const LANE: f32 = 22.0;
/// Height of the time axis.
const AXIS: f32 = 18.0;

pub(super) fn show(ui: &mut Ui, grid: &Grid, model: &Model, scale: &mut Scale, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let rect = grid.timeline;
    ui.painter().rect_filled(rect, 0.0, p.panel);
    let right = grid.legend.unwrap_or(rect.right());
    let wide = grid.lenses.width() >= measure::LENSES;
    // In a small window the scale stands inside the chart's field.
    let scale_right = if wide { grid.lenses.right() - 8.0 } else { grid.lenses.right() + 60.0 };
    let field = Rect::from_min_max(pos2(grid.lenses.right(), rect.top() + 1.0), pos2(right, rect.bottom()));
    if wide {
        ui.painter().rect_filled(field, 0.0, p.bg);
        heading(ui, rect, model, p);
    } else {
        ui.painter().rect_filled(
            Rect::from_min_max(pos2(rect.left(), rect.top() + 1.0), field.max),
            0.0,
            p.bg,
        );
    }
    let left = if wide { field.left() + 12.0 } else { scale_right + 6.0 };
    let plot = Rect::from_min_max(
        pos2(paint::snap(ui.painter(), left), rect.top() + LANE),
        pos2(right - 8.0, rect.bottom() - AXIS),
    );
    let stack = Stack::of(model);
    let response = ui.interact(plot, ui.scope_id().with("chart"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::GraphicsObject, true, sentence(model, &stack)));
    let range = scale.update(&stack, ui.input(|i| i.time));
    let chart = chart::Chart { plot, range, second: model.ledger().second() };
    let mut pointed = None;
    if model.screen.chart_as_table {
        table::show(ui, plot.with_min_y(rect.top() + 8.0).with_max_y(rect.bottom()), model, &stack);
    } else {
        chart.grid(ui.painter(), scale_right, p);
        chart.columns(ui.painter(), &stack, !model.status.is_current(), p);
        chart.gaps(ui.painter(), model.ledger().gaps(), p);
        chart.times(ui.painter(), model, p);
        marks::show(ui, &chart, model, commands);
        pointed = response.hover_pos().and_then(|at| chart.second_at(at.x));
        if let Some(index) = pointed {
            chart.hairline(ui.painter(), index, p);
        }
    }
    if let Some(legend) = grid.legend {
        let field = Rect::from_min_max(pos2(legend, rect.top() + 1.0), rect.max);
        legend_ui(ui, field, model, &stack, pointed, p);
    }
}

fn heading(ui: &Ui, rect: Rect, model: &Model, p: &Palette) {
    let left = rect.left() + 16.0;
    let at = pos2(left, rect.top() + 18.0);
    paint::text(ui.painter(), at, Side::Left, Type::BodyStrong, p.text, text::TIMELINE);
    let caption = match (model.screen.selected.is_some(), model.screen.chart_alone) {
        (true, true) => words::ALONE,
        (true, false) => text::TIMELINE_SELECTION,
        (false, _) => text::TIMELINE_ALL,
    };
    let at = pos2(left, rect.top() + 37.0);
    paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, caption);
    let at = pos2(left, rect.top() + 55.0);
    let window = words::last(text::head::WINDOW);
    paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, window);
}

/// Six rows in the order of the stack; with the pointer on the chart, at that second.
fn legend_ui(ui: &Ui, rect: Rect, model: &Model, stack: &Stack, pointed: Option<usize>, p: &Palette) {
    let painter = ui.painter();
    let (down_x, up_x) = inspector::number_columns(rect);
    let ledger = model.ledger();
    let begin = ledger.second().saturating_sub(stack::SECONDS as u32);
    let at = pointed.map_or(ledger.now(), |i| {
        sekhmet_common::time::Timestamp(i64::from(begin + i as u32) * 1_000_000_000)
    });
    let clock = times::clock(at, &model.zone);
    let title = match pointed {
        Some(_) => clock,
        None if ledger.now() == Default::default() => text::head::NOW.to_owned(),
        None => format!("{}, {clock}", text::head::NOW),
    };
    let middle = rect.top() + 18.0;
    paint::text(painter, pos2(rect.left() + 16.0, middle), Side::Left, Type::BodyStrong, p.text, title);
    for (x, arrow, color) in [(down_x, "↓", p.down), (up_x, "↑", p.up)] {
        paint::text(painter, pos2(x, middle), Side::Right, Type::Small, color, arrow);
    }
    let mut y = rect.top() + 40.0;
    for (i, layer) in stack.layers.iter().enumerate() {
        if y + 10.0 > rect.bottom() {
            break;
        }
        let (down, up) = stack.colors(i, p);
        let swatch = Rect::from_min_size(pos2(rect.left() + 16.0, y - 6.5), egui::vec2(12.0, 6.0));
        painter.rect_filled(swatch, 0.0, down);
        painter.rect_filled(swatch.translate(egui::vec2(0.0, 7.0)), 0.0, up);
        let kind = if layer.selected { Type::BodyStrong } else { Type::Body };
        let range = Rangef::new(rect.left() + 34.0, down_x - 46.0);
        let color = if layer.selected { p.text } else { p.text2 };
        paint::text_within(painter, range, y, kind, color, &layer.name);
        let values = pointed.map_or(layer.now, |i| layer.seconds.get(i).copied().unwrap_or_default());
        for (x, value) in [(down_x, values.down), (up_x, values.up)] {
            let color = if layer.selected { p.text } else { p.text2 };
            cell::figure(painter, x, y, Type::Number, &numbers::rate(value), color, p);
        }
        y += 22.0;
    }
}

/// The chart as a sentence.
fn sentence(model: &Model, stack: &Stack) -> String {
    let ledger = model.ledger();
    let end = ledger.now();
    let begin = end.plus_nanos(-(stack::SECONDS as i64) * 1_000_000_000);
    let who = stack.layers.iter().find(|l| l.selected).map_or(words::ALL_PROGRAMS, |l| l.name.as_str());
    let totals = stack.totals();
    let peak = |of: fn(&crate::model::series::Both) -> f64| {
        let (second, value) = totals
            .iter()
            .map(of)
            .enumerate()
            .fold((0, 0.0), |best, (i, v)| if v > best.1 { (i, v) } else { best });
        if value <= 0.0 {
            return words::NO_PEAK.to_owned();
        }
        let at = i64::from(second_of(begin)) + second as i64;
        let at = sekhmet_common::time::Timestamp(at * 1_000_000_000);
        words::peak(&numbers::rate(value).joined(), &times::minute(at, &model.zone))
    };
    let [from, to] = [begin, end].map(|at| times::minute(at, &model.zone));
    words::sentence(who, [&from, &to], &peak(|b| b.down), &peak(|b| b.up))
}
