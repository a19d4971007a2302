//! Where the columns of the Secrets lens stand, and their heads.

use egui::{Rangef, Rect, Ui, pos2};

use crate::{
    icons,
    model::Model,
    text::{self, secrets::head},
    theme::{Type, palette},
    widget::{
        cell::{AMOUNT_UNIT, UNIT_GAP},
        paint::{self, Side},
    },
};

const SEVERITY: f32 = 68.0;
const ACCESS: f32 = 92.0;
const TIMES: f32 = 42.0;
const LAST: f32 = 72.0;
const AFTER: Rangef = Rangef { min: 132.0, max: 210.0 };
const SENT: f32 = 78.0;
/// The name is never narrower.
const NAME_LEAST: f32 = 260.0;
/// How grave a file is stands in a column only beside names of this width.
const NAME_FIRST: f32 = 330.0;

/// The columns from left to right; those without room are absent.
pub(super) struct Columns {
    /// The whole width of the names.
    pub(super) name: Rangef,
    pub(super) severity: Option<Rangef>,
    pub(super) access: Rangef,
    /// Where the digits end.
    pub(super) times: Option<f32>,
    pub(super) last: Rangef,
    pub(super) after: Rangef,
    /// Where the digits end.
    pub(super) sent: f32,
}

impl Columns {
    pub(super) fn of(table: Rect) -> Self {
        let least = NAME_LEAST + ACCESS + LAST + AFTER.min + SENT;
        let has_times = table.width() >= least + TIMES;
        let has_severity = table.width() >= least + TIMES + SEVERITY + NAME_FIRST - NAME_LEAST;
        let optional = if has_times { TIMES } else { 0.0 } + if has_severity { SEVERITY } else { 0.0 };
        let after = (AFTER.min + (table.width() - least - optional) * 0.25).clamp(AFTER.min, AFTER.max);
        let name = table.width() - optional - ACCESS - LAST - after - SENT;
        let mut x = table.left() + name;
        let mut next = |width: f32| {
            let range = Rangef::new(x, x + width);
            x += width;
            range
        };
        Self {
            name: Rangef::new(table.left(), table.left() + name),
            severity: has_severity.then(|| next(SEVERITY)),
            access: next(ACCESS),
            times: has_times.then(|| next(TIMES).max - 10.0),
            last: next(LAST),
            after: next(after),
            sent: next(SENT).max - 12.0 - AMOUNT_UNIT - UNIT_GAP,
        }
    }

    pub(super) fn heads(&self, ui: &Ui, rect: Rect, model: &Model) {
        let p = palette(ui.ctx());
        let painter = ui.painter();
        let middle = rect.center().y;
        let head = |x: f32, side: Side, words: &str| {
            paint::text(painter, pos2(x, middle), side, Type::Small, p.text2, words)
        };
        let name = head(self.name.min + 16.0, Side::Left, head::NAME);
        if model.is_holding() && model.paused().is_none() {
            let at = pos2(name.right() + 22.0, middle);
            paint::icon(painter, at, Type::Icon(14), p.text3, icons::HELD);
            let range = Rangef::new(at.x + 12.0, self.name.max - 8.0);
            paint::text_within(painter, range, middle, Type::Caption, p.text3, text::ORDER_HELD);
        }
        if let Some(severity) = self.severity {
            head(severity.min, Side::Left, head::SEVERITY);
        }
        head(self.access.min, Side::Left, head::ACCESS);
        if let Some(times) = self.times {
            head(times, Side::Right, head::TIMES);
        }
        head(self.last.min, Side::Left, head::LAST);
        head(self.after.min, Side::Left, head::AFTER);
        head(self.sent + UNIT_GAP + AMOUNT_UNIT, Side::Right, head::SENT);
        paint::hline(painter, rect.x_range(), rect.bottom() - 1.0, p.line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(width: f32) -> Columns {
        Columns::of(Rect::from_min_size(pos2(184.0, 0.0), egui::vec2(width, 100.0)))
    }

    #[test]
    fn columns_fill_the_page_and_give_way_in_order() {
        for width in [640.0, 700.0, 760.0, 920.0, 1600.0] {
            let c = columns(width);
            assert!(c.name.span() >= NAME_LEAST - 0.01 || width < 640.0, "{width}: {}", c.name.span());
            assert!((c.sent + 12.0 + AMOUNT_UNIT + UNIT_GAP - 184.0 - width).abs() < 0.01, "{width}");
        }
        assert!(columns(920.0).severity.is_some());
        assert!(columns(760.0).severity.is_none(), "a window of 1280");
        assert!(columns(700.0).severity.is_none() && columns(700.0).times.is_some());
        assert!(columns(640.0).times.is_none());
    }
}
