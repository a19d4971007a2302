//! The heads of the table: what each column is, and the order of rows.

use egui::{Rect, Role, Ui, pos2};

use super::columns::{Columns, amount_digits, rate_digits};
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        screen::{Column, Sort},
    },
    text::{self, head, table as told},
    theme::{Type, palette},
    widget::{
        button,
        paint::{self, Side},
    },
};

pub(super) fn show(ui: &Ui, rect: Rect, columns: &Columns, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    paint::hline(ui.painter(), rect.x_range(), rect.bottom() - 1.0, p.line);
    let mut head = Head { ui, rect, model, commands };
    let left = columns.program.min + 16.0;
    let name = head.show(left, Side::Left, head::PROGRAM, None, Some(Column::Program), told::BY_NAME);
    if model.is_holding() && model.paused().is_none() {
        let at = pos2(name.right() + 22.0, rect.center().y);
        paint::icon(ui.painter(), at, Type::Icon(14), p.text3, icons::HELD);
        let range = egui::Rangef::new(at.x + 12.0, columns.rule.min - 8.0);
        paint::text_within(ui.painter(), range, at.y, Type::Caption, p.text3, text::ORDER_HELD);
    }
    head.show(columns.rule.min, Side::Left, text::rule::HEAD, None, None, told::RULE);
    for (column, arrow, sort, what) in [
        (columns.now_down, "↓", Column::NowDown, told::BY_DOWN),
        (columns.now_up, "↑", Column::NowUp, told::BY_UP),
    ] {
        head.show(rate_digits(column) + 6.0, Side::Right, head::NOW, Some(arrow), Some(sort), what);
    }
    if let Some(spark) = columns.spark {
        head.show(spark.min + 6.0, Side::Left, head::SPARK, None, None, told::SPARK);
    }
    if let Some((down, up)) = columns.totals {
        for (column, arrow, sort, what) in [
            (down, "↓", Column::TotalDown, told::BY_TOTAL_DOWN),
            (up, "↑", Column::TotalUp, told::BY_TOTAL_UP),
        ] {
            let end = amount_digits(column) + 6.0;
            let words = head.show(end, Side::Right, head::WINDOW, Some(arrow), Some(sort), what);
            if model.screen.sort.is_none() && arrow == "↓" {
                head.caret(pos2(words.left() - 9.0, rect.center().y), false);
            }
        }
    }
    if let Some(open) = columns.open {
        head.show(open.max - 1.0, Side::Right, head::OPEN, None, Some(Column::Open), told::BY_OPEN);
    }
    if let Some(seen) = columns.seen {
        head.show(seen.max - 12.0, Side::Right, head::SEEN, None, Some(Column::Seen), told::BY_SEEN);
    }
}

struct Head<'a> {
    ui: &'a Ui,
    rect: Rect,
    model: &'a Model,
    commands: &'a mut Commands,
}

impl Head<'_> {
    /// Draws one head and makes it sort. Returns where its words are.
    fn show(
        &mut self,
        x: f32,
        side: Side,
        words: &str,
        arrow: Option<&str>,
        sort: Option<Column>,
        what: &str,
    ) -> Rect {
        let p = palette(self.ui.ctx());
        let painter = self.ui.painter();
        let middle = self.rect.center().y;
        let mut rect = Rect::NOTHING;
        let mut x = x;
        if let Some(arrow) = arrow {
            let color = if arrow == "↓" { p.down } else { p.up };
            let drawn = paint::text(painter, pos2(x, middle), side, Type::Small, color, arrow);
            rect = rect.union(drawn);
            x = drawn.left() - 4.0;
        }
        let chosen = self.model.screen.sort.filter(|s| Some(s.column) == sort);
        let color = if chosen.is_some() { p.text } else { p.text2 };
        rect = rect.union(paint::text(painter, pos2(x, middle), side, Type::Small, color, words));
        if let Some(Sort { reversed, .. }) = chosen {
            let at = if side == Side::Left { rect.right() + 9.0 } else { rect.left() - 9.0 };
            self.caret(pos2(at, middle), reversed);
        }
        if let Some(column) = sort {
            let target =
                Rect::from_x_y_ranges(rect.expand2(egui::vec2(8.0, 0.0)).x_range(), self.rect.y_range());
            let id = self.ui.scope_id().with(column);
            let label = told::sort_by(what);
            let response = button::place(self.ui, target, id, Role::ColumnHeader, &label);
            if response.clicked() {
                self.commands.push(Command::SortBy(column));
            }
        }
        rect
    }

    /// The filled caret that tells the order.
    fn caret(&self, at: egui::Pos2, reversed: bool) {
        let p = palette(self.ui.ctx());
        let icon = if reversed { icons::CARET_UP } else { icons::CARET_DOWN };
        paint::icon(self.ui.painter(), at, Type::IconFill(12), p.text, icon);
    }
}
