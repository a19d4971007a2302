//! The fields of the window as the keyboard steps through them: `F6` to the next one, `Shift+F6` back.

use egui::{
    CornerRadius, EventFilter, Id, Key, Modifiers, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
};

use super::Grid;
use crate::{text::pane, theme::palette};

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Top,
    Lenses,
    Table,
    Inspector,
    Timeline,
}

impl Pane {
    const ALL: [Self; 5] = [Self::Top, Self::Lenses, Self::Table, Self::Inspector, Self::Timeline];

    fn id(self) -> Id {
        Id::unique("pane").with(self as u8)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Top => pane::TOP,
            Self::Lenses => pane::LENSES,
            Self::Table => pane::TABLE,
            Self::Inspector => pane::INSPECTOR,
            Self::Timeline => pane::TIMELINE,
        }
    }

    fn rect(self, grid: &Grid) -> Option<Rect> {
        match self {
            Self::Top => Some(grid.top),
            Self::Lenses => Some(grid.lenses),
            Self::Table => Some(grid.body),
            Self::Inspector => grid.inspector,
            Self::Timeline => Some(grid.timeline),
        }
    }
}

/// Whether the keyboard is on a field as a whole and not on a control in it.
pub(super) fn is_focused(ui: &Ui) -> bool {
    ui.memory(|m| m.focused()).is_some_and(|id| Pane::ALL.iter().any(|pane| pane.id() == id))
}

/// Tells screen readers of a field; to be called before its contents, so that `Tab` goes on within it.
pub(super) fn begin(ui: &Ui, pane: Pane, grid: &Grid) {
    let Some(rect) = pane.rect(grid) else { return };
    let id = pane.id();
    // Without the focus it is no stop of `Tab`.
    let focused = ui.memory(|m| m.has_focus(id));
    let sense = if focused { Sense::focusable_noninteractive() } else { Sense::hover() };
    let response = ui.interact(rect, id, sense);
    response.widget_info(|| WidgetInfo::labeled(Role::Pane, true, pane.name()));
    if focused {
        // Arrows move the selection, not the focus.
        let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(id, filter));
    }
}

/// The ring around the field that the keyboard is on; to be called after everything else is drawn.
pub(super) fn ring(ui: &Ui, grid: &Grid) {
    let focused = ui.memory(|m| m.focused());
    let pane = Pane::ALL.into_iter().find(|pane| focused == Some(pane.id()));
    if let Some(rect) = pane.and_then(|pane| pane.rect(grid)) {
        let stroke = Stroke::new(2.0, palette(ui.ctx()).text);
        ui.painter().rect_stroke(rect, CornerRadius::ZERO, stroke, StrokeKind::Inside);
    }
}

/// `F6` and `Shift+F6`.
pub(super) fn keys(ui: &Ui, grid: &Grid) {
    let back = ui.input_mut(|i| i.consume_key(Modifiers::SHIFT, Key::F6));
    if !back && !ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::F6)) {
        return;
    }
    let panes: Vec<Pane> = Pane::ALL.into_iter().filter(|pane| pane.rect(grid).is_some()).collect();
    let at = current(ui, grid).and_then(|pane| panes.iter().position(|p| *p == pane));
    let next = match (at, back) {
        (Some(at), false) => (at + 1) % panes.len(),
        (Some(at), true) => (at + panes.len() - 1) % panes.len(),
        // Where the keyboard works anyway, before it was anywhere.
        (None, _) => panes.iter().position(|p| *p == Pane::Table).unwrap_or(0),
    };
    if let Some(pane) = panes.get(next) {
        ui.memory_mut(|m| m.request_focus(pane.id()));
    }
}

/// The field that has the focus, or whose control has it.
fn current(ui: &Ui, grid: &Grid) -> Option<Pane> {
    let id = ui.memory(|m| m.focused())?;
    if let Some(pane) = Pane::ALL.into_iter().find(|pane| pane.id() == id) {
        return Some(pane);
    }
    let at = ui.ctx().read_response(id)?.rect.center();
    // An inspector over the table comes first.
    [Pane::Inspector, Pane::Top, Pane::Lenses, Pane::Table, Pane::Timeline]
        .into_iter()
        .find(|pane| pane.rect(grid).is_some_and(|rect| rect.contains(at)))
}
