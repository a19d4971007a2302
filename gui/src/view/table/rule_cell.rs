//! The cell that decides: a quiet sign at rest, a button under the pointer, a badge once a rule is in force.

use egui::{Rangef, Rect, Role, Stroke, StrokeKind, Ui, pos2, vec2};

use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        block::{self, Menu},
        describe::Words,
        tree::Row,
    },
    text::{self, rule, times},
    theme::{Type, palette},
    view::Shown,
    widget::{
        badge, button,
        paint::{self, Side},
    },
};

const BUTTON: egui::Vec2 = vec2(76.0, 22.0);

/// One row's cell.
pub(super) struct RuleCell<'a> {
    pub(super) row: &'a Row,
    pub(super) words: &'a Words,
    /// Whether the pointer or the selection is on the row.
    pub(super) near: bool,
    pub(super) model: &'a Model,
}

impl RuleCell<'_> {
    /// Draws the cell. Returns whether it took a click.
    pub(super) fn show(
        &self,
        ui: &Ui,
        column: Rangef,
        row: Rect,
        shown: &mut Shown,
        commands: &mut Commands,
    ) -> bool {
        let p = palette(ui.ctx());
        let left = pos2(column.min, row.center().y);
        let verdict = self.row.verdict;
        if self.model.requests.is_asking(&self.row.node) {
            let drawn = paint::text(ui.painter(), left, Side::Left, Type::SmallMedium, p.text2, rule::ASKING);
            self.told(ui, drawn, &format!("{}: {}", self.words.name, rule::ASKING));
            return false;
        }
        let target = Rect::from_min_size(pos2(left.x - 6.0, left.y - BUTTON.y / 2.0), BUTTON);
        if let Some(id) = verdict.rule {
            return self.badge(ui, target, id, shown, commands);
        }
        let offered = self.model.can_block() && block::is_offered(self.model.live(), &self.row.node);
        let note = match (verdict.blocked, verdict.refused) {
            (0, 0) => None,
            (0, refused) => Some(rule::refused(refused)),
            (blocked, _) => Some(rule::some_blocked(blocked)),
        };
        if !offered {
            if let Some(note) = note {
                let color = if self.row.ended { p.text3 } else { p.refused };
                paint::text(ui.painter(), left, Side::Left, Type::Small, color, note);
            }
            return false;
        }
        self.button(ui, target, note, shown, commands)
    }

    fn told(&self, ui: &Ui, rect: Rect, label: &str) {
        let id = egui::Id::unique("rule told").with(&self.row.node);
        let response = ui.interact(rect, id, egui::Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(Role::Status, true, label));
    }

    /// `Blocked`, with the reason behind it.
    fn badge(
        &self,
        ui: &Ui,
        target: Rect,
        id: sekhmet_common::rule::RuleId,
        shown: &mut Shown,
        commands: &mut Commands,
    ) -> bool {
        let mirror = self.model.ledger().mirror();
        let reason = mirror.rule(id).map_or_else(
            || rule::UNKNOWN_RULE.to_owned(),
            |r| rule::reason(r, &times::clock(r.added_at, &self.model.zone)),
        );
        let label = format!("{} {}: {reason}", self.words.name, rule::BLOCKED.to_lowercase());
        let node = &self.row.node;
        let response = button::place(ui, target, egui::Id::unique("rule").with(node), Role::Button, &label);
        let removing = self.model.requests.is_removing(id);
        let word = if removing { rule::ASKING } else { rule::BLOCKED };
        badge::refused(ui.painter(), pos2(target.left(), target.center().y), word, palette(ui.ctx()));
        button::focus_ring(ui, &response);
        self.anchor(target, shown);
        if response.clicked() {
            let open = self.menu_open();
            commands.push(Command::SetMenu((!open).then(|| Menu::Reason(node.clone(), id))));
        }
        let clicked = response.clicked();
        response.on_hover_text(reason);
        clicked
    }

    fn button(
        &self,
        ui: &Ui,
        target: Rect,
        note: Option<String>,
        shown: &mut Shown,
        commands: &mut Commands,
    ) -> bool {
        let p = palette(ui.ctx());
        let painter = ui.painter();
        let node = &self.row.node;
        let id = egui::Id::unique("rule").with(node);
        let response = ui.interact(target, id, egui::Sense::click());
        let label = rule::cell(&self.words.name);
        response.widget_info(|| egui::WidgetInfo::labeled(Role::Button, true, &label));
        let open = self.menu_open();
        self.anchor(target, shown);
        let middle = target.center().y;
        if open || self.near || response.has_focus() {
            let (fill, ink) = if open { (p.text, p.bg) } else { (p.bg, p.text) };
            let fill = if response.hovered() && !open { p.sel } else { fill };
            painter.rect(target, 4.0, fill, Stroke::new(1.0, p.edge), StrokeKind::Inside);
            paint::icon(painter, pos2(target.left() + 14.0, middle), Type::IconBold(13), ink, icons::BLOCK);
            let at = pos2(target.left() + 25.0, middle);
            paint::text(painter, at, Side::Left, Type::SmallMedium, ink, rule::BLOCK);
            let at = pos2(target.right() - 11.0, middle);
            paint::icon(painter, at, Type::IconBold(10), ink, icons::CARET_DOWN);
        } else if let Some(note) = note {
            let at = pos2(target.left() + 6.0, middle);
            paint::text(painter, at, Side::Left, Type::Small, p.refused, note);
        } else {
            let at = pos2(target.left() + 14.0, middle);
            paint::icon(painter, at, Type::Icon(14), p.edge, icons::BLOCK);
        }
        button::focus_ring(ui, &response);
        if response.clicked() {
            commands.push(if open { Command::SetMenu(None) } else { Command::OpenBlockMenu(node.clone()) });
        }
        response.clicked()
    }

    fn menu_open(&self) -> bool {
        self.model.screen.menu.as_ref().is_some_and(|menu| *menu.node() == self.row.node)
    }

    /// Where the menu of this row stands.
    fn anchor(&self, target: Rect, shown: &mut Shown) {
        if self.menu_open() {
            shown.anchor = Some(target);
        }
    }
}

/// The words of the verdict in the inspector.
pub(in crate::view) fn verdict(model: &Model, row: &crate::model::verdict::Verdict) -> String {
    let mirror = model.ledger().mirror();
    match row.rule {
        Some(id) => mirror.rule(id).map_or_else(
            || rule::UNKNOWN_RULE.to_owned(),
            |r| rule::blocked_since(r, &times::minute(r.added_at, &model.zone)),
        ),
        None if row.blocked > 0 => text::sentence_case(&rule::some_blocked(row.blocked)),
        None => rule::ALLOWED.to_owned(),
    }
}
