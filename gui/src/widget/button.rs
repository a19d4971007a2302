//! Buttons, links, key caps: grey, with a ring in the text's colour for the keyboard.

use egui::{CornerRadius, Id, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

use super::paint::{self, Side};
use crate::theme::{Palette, Type, palette};

/// How a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Filled with the text's colour: the one thing to do.
    Primary,
    /// With an outline.
    Outline,
    /// Underlined words.
    Link,
}

/// Makes a place a button for pointer, keyboard and screen readers, and draws its focus ring.
pub fn place(ui: &Ui, rect: Rect, id: Id, role: Role, label: &str) -> Response {
    let response = ui.interact(rect, id, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(role, ui.is_enabled(), label));
    focus_ring(ui, &response);
    response
}

/// The ring around what the keyboard acts on: 2 points, inside the control.
pub fn focus_ring(ui: &Ui, response: &Response) {
    if response.has_focus() {
        let stroke = Stroke::new(2.0, palette(ui.ctx()).text);
        ui.painter().rect_stroke(response.rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    }
}

/// A button with words. `x` is its left edge, `middle` its height. Returns its response.
pub fn button(ui: &Ui, x: f32, middle: f32, id: Id, look: Look, icon: Option<&str>, label: &str) -> Response {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let kind = if look == Look::Primary { Type::BodyMedium } else { Type::Body };
    let pad = if look == Look::Link { 0.0 } else { 12.0 };
    let icon_width = if icon.is_some() { 22.0 } else { 0.0 };
    let width = paint::width(painter, kind, label) + 2.0 * pad + icon_width;
    let height = if look == Look::Link { 24.0 } else { 28.0 };
    let rect = Rect::from_min_size(pos2(x, middle - height / 2.0), vec2(width, height));
    let response = ui.interact(rect, id, Sense::click());
    let role = if look == Look::Link { Role::Link } else { Role::Button };
    response.widget_info(|| WidgetInfo::labeled(role, ui.is_enabled(), label));
    let color = match look {
        Look::Primary => {
            let fill = if response.hovered() { p.text2 } else { p.text };
            painter.rect_filled(rect, 4.0, fill);
            p.bg
        }
        Look::Outline => {
            let fill = if response.hovered() { p.sel } else { p.bg };
            painter.rect(rect, 4.0, fill, Stroke::new(1.0, p.edge), StrokeKind::Inside);
            p.text
        }
        Look::Link => p.text,
    };
    if let Some(icon) = icon {
        paint::icon(painter, pos2(x + pad + 7.0, middle), Type::Icon(16), color, icon);
    }
    let at = pos2(x + pad + icon_width, middle);
    let words = paint::text(painter, at, Side::Left, kind, color, label);
    if look == Look::Link {
        let line = if response.hovered() { p.text } else { p.edge };
        paint::hline(painter, words.x_range(), middle + 8.0, line);
    }
    focus_ring(ui, &response);
    response
}

/// A button that cannot be pressed at present. Its words stay legible.
pub fn disabled(ui: &Ui, x: f32, middle: f32, id: Id, label: &str) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let width = paint::width(painter, Type::BodyMedium, label) + 24.0;
    let rect = Rect::from_min_size(pos2(x, middle - 14.0), vec2(width, 28.0));
    painter.rect_stroke(rect, 4.0, Stroke::new(1.0, p.line), StrokeKind::Inside);
    paint::text(painter, rect.center(), Side::Centre, Type::BodyMedium, p.text3, label);
    let response = ui.interact(rect, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, false, label));
}

/// A quiet button that is only an icon, 28 by 28.
pub fn icon_button(ui: &Ui, centre: egui::Pos2, id: Id, icon: &str, label: &str) -> Response {
    let p = palette(ui.ctx());
    let rect = Rect::from_center_size(centre, vec2(28.0, 28.0));
    let response = place(ui, rect, id, Role::Button, label);
    if response.hovered() {
        ui.painter().rect_filled(rect, 4.0, p.sel);
    }
    let color = if response.hovered() { p.text } else { p.text2 };
    paint::icon(ui.painter(), centre, Type::Icon(16), color, icon);
    response.on_hover_text(label)
}

/// A switch, 28 by 28: on, off, or, where several have it in common, nothing of both.
/// `label` is what it switches, `hint` what a click does.
pub fn switch(ui: &Ui, centre: egui::Pos2, id: Id, on: Option<bool>, label: &str, hint: &str) -> Response {
    let p = palette(ui.ctx());
    let rect = Rect::from_center_size(centre, vec2(28.0, 28.0));
    let response = ui.interact(rect, id, Sense::click());
    response.widget_info(|| WidgetInfo {
        selected: on,
        ..WidgetInfo::labeled(Role::CheckBox, ui.is_enabled(), label)
    });
    focus_ring(ui, &response);
    let painter = ui.painter();
    if response.hovered() {
        painter.rect_filled(rect, 4.0, p.sel);
    }
    let ink = if response.hovered() { p.text } else { p.text2 };
    let track = Rect::from_center_size(centre, vec2(22.0, 12.0));
    let knob = track.center() + vec2(on.map_or(0.0, |on| if on { 5.0 } else { -5.0 }), 0.0);
    painter.rect_stroke(track, 6.0, Stroke::new(1.0, ink), StrokeKind::Inside);
    match on {
        Some(true) => {
            painter.rect_filled(track, 6.0, ink);
            painter.circle_filled(knob, 3.5, p.bg)
        }
        Some(false) => painter.circle_filled(knob, 3.0, ink),
        // Neither end: a bar in the middle, as in a check box that is neither.
        None => painter.rect_filled(Rect::from_center_size(knob, vec2(8.0, 2.0)), 0.0, ink),
    };
    response.on_hover_text(hint)
}

/// The cap of a key, its left edge at `x`. Returns where it is.
pub fn key_cap(ui: &Ui, x: f32, middle: f32, key: &str, p: &Palette) -> Rect {
    let painter = ui.painter();
    let width = (paint::width(painter, Type::Caption, key) + 10.0).max(18.0);
    let rect = Rect::from_min_size(pos2(x, middle - 9.0), vec2(width, 18.0));
    painter.rect_stroke(rect, 3.0, Stroke::new(1.0, p.edge), StrokeKind::Inside);
    paint::text(painter, rect.center() - vec2(0.0, 0.7), Side::Centre, Type::Caption, p.text3, key);
    rect
}
