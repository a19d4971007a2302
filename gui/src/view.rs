//! The window's grid: three columns through the whole height, and which view stands in which field.

use egui::{Rangef, Rect, Ui, UiBuilder, pos2};

use panes::Pane;

use crate::{
    command::{Command, Commands},
    model::{Model, screen::Lens, status::Status},
    theme::{measure, palette},
    widget::paint,
};

mod coverage;
mod fields;
mod inspector;
mod keys;
mod lenses;
mod local_line;
mod menu;
mod panes;
mod rules;
mod secrets;
mod states;
mod table;
mod timeline;
mod toast;
mod top_bar;
mod watchlist;

/// What was shown in the last frame: for the dump beside a screenshot, and for the next frame.
#[derive(Default)]
pub struct Shown {
    /// The rows that were laid out, by their index in the tree.
    pub rows: std::ops::Range<usize>,
    /// The row of the selection as it stood on the screen: its index.
    selected_at: Option<usize>,
    /// How far the table was scrolled, in points.
    scrolled: f32,
    /// Chart scale of each direction, and since when it could shrink.
    scale: timeline::Scale,
    /// Whether the search box has the focus.
    searching: bool,
    /// Whether a field of a form has it.
    typing: bool,
    /// The cell whose menu is open, as it stands in this frame.
    anchor: Option<Rect>,
    /// How high the menu was.
    menu_height: f32,
}

/// The fields of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Over everything.
    pub top: Rect,
    /// At the left.
    pub lenses: Rect,
    /// In the middle.
    pub body: Rect,
    /// At the right; nothing in a small window while it is closed.
    pub inspector: Option<Rect>,
    /// Whether the inspector lies over the table.
    pub over: bool,
    /// Under everything.
    pub timeline: Rect,
    /// Where the legend begins, if there is room for it.
    pub legend: Option<f32>,
}

impl Grid {
    /// Divides a window.
    pub fn of(window: Rect, inspector_width: f32, inspector_open: bool) -> Self {
        let low = window.height() < measure::LOW;
        let compact = window.width() < measure::COMPACT;
        let timeline_height = if low { measure::TIMELINE_LOW } else { measure::TIMELINE };
        let lens_width =
            if window.width() < measure::NARROW { measure::LENSES_NARROW } else { measure::LENSES };
        let (left, right) = (window.left() + lens_width, window.right() - inspector_width);
        let (top, bottom) = (window.top() + measure::TOP_BAR, window.bottom() - timeline_height);
        let rows = Rangef::new(top, bottom);
        let body_right = if compact { window.right() } else { right };
        let field = |x: Rangef, y: Rangef| Rect::from_x_y_ranges(x, y);
        Self {
            top: field(window.x_range(), Rangef::new(window.top(), top)),
            lenses: field(Rangef::new(window.left(), left), rows),
            body: field(Rangef::new(left, body_right), rows),
            inspector: (!compact || inspector_open)
                .then(|| field(Rangef::new(right.max(left), window.right()), rows)),
            over: compact,
            timeline: field(window.x_range(), Rangef::new(bottom, window.bottom())),
            legend: (!compact).then_some(right),
        }
    }
}

/// Draws the window.
pub fn show(ui: &mut Ui, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let window = ui.max_rect();
    let grid = Grid::of(window, model.screen.inspector_width, model.screen.inspector_open);
    ui.painter().rect_filled(window, 0.0, p.panel);
    ui.painter().rect_filled(grid.body, 0.0, p.bg);

    shown.typing = false;
    panes::begin(ui, Pane::Top, &grid);
    top_bar::show(&mut field(ui, grid.top, "top"), &grid, model, shown, commands);
    panes::begin(ui, Pane::Lenses, &grid);
    lenses::show(&field(ui, grid.lenses, "lenses"), model, commands);
    panes::begin(ui, Pane::Table, &grid);
    body(ui, grid.body, model, shown, commands);
    panes::begin(ui, Pane::Inspector, &grid);
    if let Some(rect) = grid.inspector {
        if grid.over {
            ui.painter().rect_filled(rect, 0.0, p.panel);
        }
        inspector::show(&mut field(ui, rect, "inspector"), model, shown, commands);
    }
    panes::begin(ui, Pane::Timeline, &grid);
    timeline::show(&mut field(ui, grid.timeline, "timeline"), &grid, model, &mut shown.scale, commands);
    borders(ui, window, &grid);
    if let Some(rect) = grid.inspector {
        resize(ui, rect, window, commands);
    }
    panes::ring(ui, &grid);
    menu::show(ui, model, shown, commands);
    toast::show(ui, grid.body.with_max_y(grid.body.bottom() - measure::ROW), model, commands);
    keys::read(ui, &grid, model, shown, commands);
}

fn field(ui: &mut Ui, rect: Rect, name: &str) -> Ui {
    let mut field = ui.new_child(UiBuilder::new().id_salt(name).max_rect(rect));
    field.shrink_clip_rect(rect);
    field
}

/// The table, or what stands in its place.
fn body(ui: &mut Ui, rect: Rect, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let mut ui = field(ui, rect, "body");
    let empty = model.tree().rows.is_empty();
    match &model.status {
        Status::Connecting | Status::NoHelper { .. } | Status::Refused { .. }
            if model.live().events() == 0 =>
        {
            states::instead(&ui, rect, model, commands);
        }
        _ => {
            let rest = states::strips(&ui, rect, model, commands);
            if model.screen.lens == Lens::Coverage {
                coverage::show(&mut field(&mut ui, rest, "coverage"), model);
            } else if model.screen.lens == Lens::Rules {
                rules::show(&mut field(&mut ui, rest, "rules"), model, commands);
            } else if model.screen.lens == Lens::Secrets {
                secrets::show(&mut field(&mut ui, rest, "secrets"), model, commands);
            } else if model.screen.lens == Lens::Watchlist {
                watchlist::show(&mut field(&mut ui, rest, "watchlist"), model, shown, commands);
            } else {
                let (above, line) = rest.split_top_bottom_at_y(rest.bottom() - measure::ROW);
                local_line::show(&ui, line, model, commands);
                if empty {
                    states::empty(&ui, above, model, commands);
                } else {
                    table::show(&mut field(&mut ui, above, "table"), model, shown, commands);
                }
            }
        }
    }
}

/// The two lines through the whole height, and those across.
fn borders(ui: &Ui, window: Rect, grid: &Grid) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    paint::hline(painter, window.x_range(), grid.top.bottom() - 1.0, p.line);
    let full = Rangef::new(grid.top.bottom(), window.bottom());
    paint::vline(painter, grid.lenses.right() - 1.0, Rangef::new(full.min, grid.timeline.top()), p.line);
    if let Some(inspector) = grid.inspector {
        let bottom = if grid.over { grid.timeline.top() } else { full.max };
        paint::vline(painter, inspector.left(), Rangef::new(full.min, bottom), p.line);
    }
    paint::hline(painter, window.x_range(), grid.timeline.top(), p.edge);
}

/// The border of the inspector can be dragged.
fn resize(ui: &Ui, inspector: Rect, window: Rect, commands: &mut Commands) {
    let handle = Rect::from_center_size(
        pos2(inspector.left(), inspector.center().y),
        egui::vec2(6.0, inspector.height()),
    );
    let response = ui.interact(handle, ui.scope_id().with("inspector border"), egui::Sense::drag());
    let response = response.on_hover_and_drag_cursor(egui::CursorIcon::ResizeHorizontal);
    if let Some(pointer) = response.interact_pointer_pos().filter(|_| response.dragged()) {
        commands.push(Command::SetInspectorWidth((window.right() - pointer.x).round()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(width: f32, height: f32, open: bool) -> Grid {
        Grid::of(Rect::from_min_size(pos2(0.0, 0.0), egui::vec2(width, height)), 336.0, open)
    }

    #[test]
    fn the_fields_of_a_full_window() {
        let g = grid(1440.0, 900.0, false);
        assert_eq!((g.top.height(), g.lenses.width(), g.timeline.height()), (48.0, 184.0, 184.0));
        assert_eq!(g.inspector.map(|r| r.width()), Some(336.0));
        assert_eq!(g.body.x_range(), Rangef::new(184.0, 1104.0));
        assert!(g.body.bottom() == g.timeline.top() && !g.over);
    }

    #[test]
    fn what_gives_way_in_a_small_one() {
        assert_eq!(grid(1200.0, 900.0, false).lenses.width(), 48.0);
        assert!(grid(1200.0, 900.0, false).inspector.is_some());
        let small = grid(1024.0, 640.0, false);
        assert_eq!((small.inspector, small.legend, small.timeline.height()), (None, None, 132.0));
        assert_eq!(small.body.width(), 1024.0 - 48.0);
        assert!(grid(1024.0, 640.0, true).over);
    }
}
