//! The tree-table: only the rows in sight are laid out.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, vec2};

use super::Shown;
use crate::{
    command::{Command, Commands},
    model::{Model, tree::Row},
    theme::{measure, palette},
};

mod columns;
mod head;
mod row;
pub(super) mod rule_cell;

use columns::Columns;

pub(super) fn show(ui: &mut Ui, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let rect = ui.max_rect();
    let (head, body) = rect.split_top_bottom_at_y(rect.top() + measure::ROW);
    let columns = Columns::of(body);
    head::show(ui, head, &columns, model, commands);

    let rows = &model.tree().rows;
    let height = measure::ROW * rows.len() as f32;
    let mut area = ScrollArea::vertical().id_salt("rows").auto_shrink(false).animated(false);
    if let Some(offset) = offset_for_selection(model, shown, body.height(), height) {
        area = area.vertical_scroll_offset(offset);
    }
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("table body").max_rect(body));
    inner.shrink_clip_rect(body);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    let output = area.show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(height);
        let first = (viewport.min.y / measure::ROW).floor().max(0.0) as usize;
        let last = ((viewport.max.y / measure::ROW).ceil().max(0.0) as usize).min(rows.len());
        let visible = rows.get(first..last).unwrap_or_default();
        let table = Table { columns: &columns, peak: row::peak(model, visible), model };
        let top = ui.max_rect().top();
        for (i, row) in visible.iter().enumerate() {
            let y = top + (first + i) as f32 * measure::ROW;
            let rect = Rect::from_x_y_ranges(body.x_range(), Rangef::new(y, y + measure::ROW));
            row_ui(ui, rect, row, &table, shown, commands);
        }
        first..last
    });
    shown.rows = output.inner;
    shown.scrolled = output.state.clamped_offset().y;
    shown.selected_at = model.selected_index();
}

/// Where to scroll so that the selected row stays where it was, or comes into sight when it was moved.
fn offset_for_selection(model: &Model, shown: &Shown, height: f32, content: f32) -> Option<f32> {
    let index = model.selected_index()?;
    let top = index as f32 * measure::ROW;
    let most = (content - height).max(0.0);
    if model.screen.reveal {
        let (low, high) = (top + measure::ROW - height, top);
        let clamped = shown.scrolled.clamp(low.min(high), high.max(low));
        return (clamped != shown.scrolled).then(|| clamped.clamp(0.0, most));
    }
    let before = shown.selected_at? as f32 * measure::ROW;
    let was_visible = before + measure::ROW > shown.scrolled && before < shown.scrolled + height;
    (was_visible && before != top).then(|| (shown.scrolled + top - before).clamp(0.0, most))
}

/// What all rows of a frame have in common.
struct Table<'a> {
    columns: &'a Columns,
    /// The largest rate of any row in sight: the scale of the sparklines.
    peak: f64,
    model: &'a Model,
}

fn row_ui(ui: &Ui, rect: Rect, row: &Row, table: &Table<'_>, shown: &mut Shown, commands: &mut Commands) {
    let Table { columns, peak, model } = *table;
    let id = egui::Id::unique("row").with(&row.node);
    let response = ui.interact(rect, id, Sense::click());
    let words = model.words(&row.node);
    let selected = model.screen.selected.as_ref() == Some(&row.node);
    response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, selected, row::sentence(row, &words)));
    let p = palette(ui.ctx());
    if selected {
        ui.painter().rect_filled(rect, 0.0, p.sel);
        let bar = Rect::from_min_size(rect.min, vec2(3.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, p.text);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 0.0, p.hover);
    }
    let caret = row::caret_ui(ui, rect, row, &words, commands);
    let cut = row::cells(ui, rect, row, &words, columns, peak, model);
    let near = selected || response.contains_pointer();
    let cell = rule_cell::RuleCell { row, words: &words, near, model };
    let decided = cell.show(ui, columns.rule, rect, shown, commands);
    crate::widget::button::focus_ring(ui, &response);
    if let Some(full) = cut
        && response.hovered()
    {
        response.clone().on_hover_text_at_pointer(full);
    }
    if caret || decided {
        return;
    }
    if response.clicked() {
        commands.push(Command::Select(row.node.clone()));
    }
    if response.double_clicked()
        && let Some(unfolded) = row.unfolded
    {
        commands.push(Command::Unfold(row.node.clone(), !unfolded));
    }
}
