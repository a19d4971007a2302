//! The page on what is watched: the editor with its preview above, the entries by group below.

use egui::{Rect, Role, Sense, Ui, WidgetInfo, pos2};
use sekhmet_common::watch::Entry;

use super::Shown;
use crate::{
    command::Commands,
    model::Model,
    text::watchlist as words,
    theme::{Type, palette},
    widget::paint::{self, Side},
};

mod form;
mod list;

const PAD: f32 = 24.0;

pub(super) fn show(ui: &mut Ui, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let rect = ui.max_rect();
    let p = palette(ui.ctx());
    let mut entries: Vec<&Entry> = model.live().mirror().entries().collect();
    // Own entries first, then group by group in the order of their names.
    entries.sort_by(|a, b| {
        let place = |e: &Entry| (!crate::model::watch::is_own(e, model.uid), e.group.shown(), e.id);
        place(a).cmp(&place(b))
    });
    let mut groups: Vec<_> = entries.iter().map(|e| &e.group).collect();
    groups.dedup();
    let at = pos2(rect.left() + PAD, rect.top() + 32.0);
    let title = paint::text(ui.painter(), at, Side::Left, Type::Page, p.text, words::WATCHLIST);
    let at = pos2(title.right() + 12.0, rect.top() + 34.0);
    let summary = words::summary(entries.len(), groups.len());
    paint::text(ui.painter(), at, Side::Left, Type::Body, p.text3, summary.as_str());
    let told = ui.interact(title, ui.scope_id().with("title"), Sense::hover());
    let label = format!("{}: {summary}", words::WATCHLIST);
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, &label));
    let bottom = form::show(ui, rect.with_min_y(rect.top() + 60.0), model, shown, commands);
    let rest = Rect::from_min_max(pos2(rect.left(), bottom + 12.0), rect.max);
    list::show(ui, rest, &entries, model, commands);
}
