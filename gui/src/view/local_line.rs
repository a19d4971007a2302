//! The line under the table: what is hidden, and the sum of what is shown.

use egui::{Rangef, Rect, Role, Ui, pos2};

use crate::{
    command::{Command, Commands},
    icons,
    model::Model,
    text::{self, numbers},
    theme::{Type, palette},
    widget::{
        button::{self, Look},
        paint::{self, Side},
    },
};

pub(super) fn show(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let middle = rect.center().y;
    paint::hline(painter, rect.x_range(), rect.top(), p.line);
    let tree = model.tree();
    let refused = model.ledger().mirror().refusals().map(|r| r.attempts).sum();
    let summary = text::summary(model.screen.lens, tree.programs, tree.open, refused);
    let end =
        paint::text(painter, pos2(rect.right() - 16.0, middle), Side::Right, Type::Small, p.text2, summary);

    let ledger = model.ledger();
    let total = ledger.total().local.series.total(ledger.second());
    let (down, up) = (numbers::bytes(total.down).joined(), numbers::bytes(total.up).joined());
    let line = text::local_line(model.screen.local, &down, &up);
    paint::icon(painter, pos2(rect.left() + 24.0, middle), Type::Icon(15), p.text3, icons::LOCAL);
    let action = if model.screen.local { text::HIDE } else { text::SHOW };
    let room = Rangef::new(rect.left() + 38.0, end.left() - 90.0);
    let (words, _) = paint::text_within(painter, room, middle, Type::Small, p.text2, &line);
    let told = ui.interact(words, ui.scope_id().with("local line"), egui::Sense::hover());
    told.widget_info(|| egui::WidgetInfo::labeled(Role::Label, true, &line));
    let link = button::button(
        ui,
        words.right() + 10.0,
        middle,
        ui.scope_id().with("local"),
        Look::Link,
        None,
        action,
    );
    button::key_cap(ui, link.rect.right() + 8.0, middle, text::key::L, p);
    if link.clicked() {
        commands.push(Command::ShowLocal(!model.screen.local));
    }
}
