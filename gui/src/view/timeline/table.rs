//! The chart as a table: a row for each half minute, everybody beside what is selected.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};

use super::stack::{SECONDS, Stack};
use crate::{
    model::{Model, series::Both},
    text::{self, numbers, timeline as words, times},
    theme::{Palette, Type, palette},
    widget::{
        cell,
        paint::{self, Side},
    },
};

/// Seconds in a row.
const STEP: usize = 30;
const ROW: f32 = 22.0;
const NAME: f32 = 96.0;
const COLUMN: f32 = 96.0;

/// Draws the table in place of the chart, the newest half minute above.
pub(super) fn show(ui: &mut Ui, rect: Rect, model: &Model, stack: &Stack) {
    let p = palette(ui.ctx());
    let whom = [(words::EVERYBODY, Some(stack.totals()))].into_iter().chain(
        stack.layers.iter().filter(|l| l.selected).map(|l| (l.name.as_str(), Some(l.seconds.clone()))),
    );
    let columns: Vec<(&str, Vec<Both>)> = whom.filter_map(|(name, of)| Some((name, of?))).collect();
    let middle = rect.top() + 11.0;
    let at = pos2(rect.left(), middle);
    paint::text(ui.painter(), at, Side::Left, Type::Small, p.text2, words::FROM);
    for (i, (name, _)) in columns.iter().enumerate() {
        let [down, up] = ends(rect, i);
        let range = Rangef::new(down - COLUMN + 12.0, down - 14.0);
        paint::text_within(ui.painter(), range, middle, Type::Small, p.text2, name);
        for (x, arrow, color) in [(down, "↓", p.down), (up, "↑", p.up)] {
            paint::text(ui.painter(), pos2(x, middle), Side::Right, Type::Small, color, arrow);
        }
    }
    let body = rect.with_min_y(rect.top() + ROW);
    paint::hline(ui.painter(), rect.x_range(), body.top(), p.line);
    let begin = model.ledger().second().saturating_sub(SECONDS as u32);
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("chart table").max_rect(body));
    inner.shrink_clip_rect(body);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    ScrollArea::vertical().auto_shrink(false).animated(false).show(&mut inner, |ui| {
        for step in (0..SECONDS / STEP).rev() {
            let (row, _) = ui.allocate_exact_size(vec2(body.width(), ROW), Sense::hover());
            let second = i64::from(begin) + (step * STEP) as i64;
            let from = times::clock(sekhmet_common::time::Timestamp(second * 1_000_000_000), &model.zone);
            step_ui(ui, row, step, &from, &columns, p);
        }
    });
}

/// Where the digits of both directions end.
fn ends(rect: Rect, column: usize) -> [f32; 2] {
    let left = rect.left() + NAME + column as f32 * 2.6 * COLUMN;
    [left + 1.2 * COLUMN, left + 2.2 * COLUMN]
}

fn step_ui(ui: &Ui, row: Rect, step: usize, from: &str, columns: &[(&str, Vec<Both>)], p: &Palette) {
    let painter = ui.painter();
    let middle = row.center().y;
    paint::text(painter, pos2(row.left(), middle), Side::Left, Type::Number, p.text3, from);
    for (i, (name, seconds)) in columns.iter().enumerate() {
        let part = seconds.get(step * STEP..(step + 1) * STEP).unwrap_or_default();
        let sum = part.iter().fold(Both::default(), |sum, second| sum + *second);
        let mean = [sum.down, sum.up].map(|bytes| numbers::rate(bytes / STEP as f64));
        for ((x, figure), color) in ends(row, i).into_iter().zip(&mean).zip([p.down, p.up]) {
            cell::figure(painter, x, middle, Type::Number, figure, color, p);
        }
        let told = mean.map(|f| if f.is_none() { text::table::NO_RATE.to_owned() } else { f.joined() });
        let place = Rect::from_x_y_ranges(
            Rangef::new(if i == 0 { row.left() } else { ends(row, i - 1)[1] + 40.0 }, ends(row, i)[1] + 40.0),
            row.y_range(),
        );
        let response = ui.interact(place, ui.scope_id().with(("step", step, i)), Sense::hover());
        response.widget_info(|| {
            WidgetInfo::labeled(Role::Cell, true, words::step(from, name, &told[0], &told[1]))
        });
    }
}
