//! A strip over the table that says what is different just now.

use egui::{Id, Rect, Response, Role, Ui, WidgetInfo, pos2};

use super::{button, paint};
use crate::theme::{Type, palette};

/// Height of a strip.
pub const HEIGHT: f32 = 34.0;

/// What a strip shows.
pub struct Strip<'a> {
    /// Whether it is about something that is not as it should be.
    pub notice: bool,
    /// An icon before the words.
    pub icon: Option<&'a str>,
    /// The words in bold.
    pub heading: &'a str,
    /// The words after them.
    pub sentence: &'a str,
    /// A button at the right, with the key that does the same.
    pub action: Option<(&'a str, Option<&'a str>)>,
}

impl Strip<'_> {
    /// Draws the strip. Returns the response of its button.
    pub fn show(&self, ui: &Ui, rect: Rect, id: Id) -> Option<Response> {
        let p = palette(ui.ctx());
        let painter = ui.painter();
        painter.rect_filled(rect, 0.0, if self.notice { p.notice_bg } else { p.sel });
        let middle = rect.center().y;
        let mut x = rect.left() + 16.0;
        if let Some(icon) = self.icon {
            let color = if self.notice { p.notice } else { p.text2 };
            paint::icon(painter, pos2(x + 7.0, middle), Type::Icon(16), color, icon);
            x += 24.0;
        }
        let action = self.action.map(|(label, key)| self.action_ui(ui, rect, id, label, key));
        let end = action.as_ref().map_or(rect.right(), |r| r.rect.left()) - 12.0;
        let range = |from: f32| egui::Rangef::new(from, end.max(from));
        if !self.heading.is_empty() {
            let (words, _) =
                paint::text_within(painter, range(x), middle, Type::SmallMedium, p.text, self.heading);
            x = words.right() + 6.0;
        }
        paint::text_within(painter, range(x), middle, Type::Small, p.text2, self.sentence);
        // Told politely when it appears: it is a label that changes.
        let told = ui.interact(rect, id.with("told"), egui::Sense::hover());
        let sentence = format!("{} {}", self.heading, self.sentence);
        told.widget_info(|| WidgetInfo::labeled(Role::Status, true, sentence.trim()));
        action
    }

    fn action_ui(&self, ui: &Ui, rect: Rect, id: Id, label: &str, key: Option<&str>) -> Response {
        let p = palette(ui.ctx());
        let key_width = key.map_or(0.0, |k| paint::width(ui.painter(), Type::Caption, k) + 18.0);
        let width = paint::width(ui.painter(), Type::Small, label) + 20.0 + key_width;
        let button = Rect::from_min_size(
            pos2(rect.right() - 12.0 - width, rect.center().y - 12.0),
            egui::vec2(width, 24.0),
        );
        let response = button::place(ui, button, id.with(label), Role::Button, label);
        let stroke = egui::Stroke::new(1.0, if response.hovered() { p.text } else { p.edge });
        ui.painter().rect_stroke(button, 4.0, stroke, egui::StrokeKind::Inside);
        let at = pos2(button.left() + 10.0, button.center().y);
        let words = paint::text(ui.painter(), at, paint::Side::Left, Type::Small, p.text, label);
        if let Some(key) = key {
            button::key_cap(ui, words.right() + 8.0, button.center().y, key, p);
        }
        response
    }
}
