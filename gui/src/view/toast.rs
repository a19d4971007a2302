//! What is said about a request that came to its end: over the table, for some seconds, with the way back.

use egui::{Area, Id, Order, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

use crate::{
    command::{Command, Commands},
    icons,
    model::Model,
    text::{key, rule},
    theme::{Type, palette},
    widget::{
        button::{self, Look},
        paint,
    },
};

const HEIGHT: f32 = 40.0;

/// Draws the notice, if there is one, its lower edge at the bottom of a field.
pub(super) fn show(ui: &Ui, field: Rect, model: &Model, commands: &mut Commands) {
    let Some(notice) = model.requests.notice() else { return };
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let undo = if notice.undo { paint::width(painter, Type::Body, rule::UNDO) + 66.0 } else { 0.0 };
    let words = paint::width(painter, Type::Body, &notice.text);
    let width = (words + 92.0 + undo).min(field.width() - 32.0);
    let left = (field.center().x - width / 2.0).round();
    let frame = Rect::from_min_size(pos2(left, field.bottom() - 8.0 - HEIGHT), vec2(width, HEIGHT));
    let area = Area::new(Id::unique("notice")).order(Order::Foreground).fixed_pos(frame.min).fade_in(false);
    area.constrain(false).show(ui.ctx(), |ui| {
        let place = ui.allocate_rect(frame, Sense::hover());
        place.widget_info(|| WidgetInfo::labeled(Role::Status, true, &notice.text));
        if place.contains_pointer() {
            commands.push(Command::KeepNotice);
        }
        let painter = ui.painter();
        let edge = if notice.failed { p.notice } else { p.edge };
        painter.rect(frame, 6.0, p.raised, Stroke::new(1.0, edge), StrokeKind::Inside);
        let middle = frame.center().y;
        let (icon, color) = if notice.failed { (icons::WARNING, p.notice) } else { (icons::DONE, p.text2) };
        paint::icon(painter, pos2(frame.left() + 22.0, middle), Type::Icon(16), color, icon);
        let close = pos2(frame.right() - 22.0, middle);
        let mut end = close.x - 18.0;
        if notice.undo {
            let cap = end - 26.0;
            let x = cap - 8.0 - paint::width(painter, Type::Body, rule::UNDO) - 24.0;
            let id = ui.scope_id().with("undo");
            let response = button::button(ui, x, middle, id, Look::Outline, None, rule::UNDO);
            button::key_cap(ui, cap, middle, key::U, p);
            if response.clicked() {
                commands.push(Command::Undo);
            }
            end = x - 12.0;
        }
        let range = egui::Rangef::new(frame.left() + 40.0, end);
        paint::text_within(ui.painter(), range, middle, Type::Body, p.text, &notice.text);
        let id = ui.scope_id().with("dismiss");
        if button::icon_button(ui, close, id, icons::CLOSE, rule::DISMISS).clicked() {
            commands.push(Command::DismissNotice);
        }
    });
}
