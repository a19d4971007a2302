//! The Secrets lens: who opened watched files, how, and whom they reached after.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::coverage::{Source, SourceStatus, capability::WATCHED_FILES};

use super::states;
use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, screen::Lens},
    text::{secrets as words, times},
    theme::{Type, measure, palette},
    widget::{
        button::{self, Look},
        paint::{self, Side},
        strip::{self, Strip},
    },
};

mod columns;
mod row;

use columns::Columns;

pub(super) fn show(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    let (mut rect, line) = ui.max_rect().split_top_bottom_at_y(ui.max_rect().bottom() - measure::ROW);
    foot(ui, line, model, commands);
    if let Some(source) = source(model).filter(|s| s.status == SourceStatus::Reduced) {
        let (place, rest) = rect.split_top_bottom_at_y(rect.top() + strip::HEIGHT);
        rect = rest;
        let cost = source.cost.shown();
        let strip = Strip {
            notice: true,
            icon: Some(icons::WARNING),
            heading: words::REDUCED,
            sentence: &cost,
            action: Some((crate::text::state::WHAT_IS_MISSING, None)),
        };
        if strip.show(ui, place, ui.scope_id().with("reduced")).is_some_and(|r| r.clicked()) {
            commands.push(Command::SetLens(Lens::Coverage));
        }
    }
    if model.secrets().rows.is_empty() {
        return empty(ui, rect, model, commands);
    }
    let (head, body) = rect.split_top_bottom_at_y(rect.top() + measure::ROW);
    let columns = Columns::of(body);
    columns.heads(ui, head, model);
    list(ui, body, &columns, model, commands);
}

fn list(ui: &mut Ui, body: Rect, columns: &Columns, model: &Model, commands: &mut Commands) {
    let rows = &model.secrets().rows;
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("secrets").max_rect(body));
    inner.shrink_clip_rect(body);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    let reveal = model.screen.reveal.then(|| selected_at(model)).flatten();
    ScrollArea::vertical().auto_shrink(false).animated(false).show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(measure::ROW * rows.len() as f32);
        let top = ui.max_rect().top();
        let place = |i: usize| {
            let y = top + i as f32 * measure::ROW;
            Rect::from_x_y_ranges(body.x_range(), Rangef::new(y, y + measure::ROW))
        };
        let first = (viewport.min.y / measure::ROW).floor().max(0.0) as usize;
        let last = ((viewport.max.y / measure::ROW).ceil().max(0.0) as usize).min(rows.len());
        for (i, row) in rows.get(first..last).unwrap_or_default().iter().enumerate() {
            row::show(ui, place(first + i), row, columns, model, commands);
        }
        if let Some(index) = reveal {
            ui.scroll_to_rect(place(index), None);
        }
    });
}

/// Where the selected row stands.
fn selected_at(model: &Model) -> Option<usize> {
    let selected = model.screen.secret.as_ref()?;
    model.secrets().rows.iter().position(|row| row.key == *selected)
}

/// What tells of opened files on this machine.
pub(super) fn source(model: &Model) -> Option<&Source> {
    let sources = model.live().mirror().coverage();
    sources.iter().find(|source| source.capability.as_bytes() == WATCHED_FILES.as_bytes())
}

fn empty(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let mirror = model.live().mirror();
    let entries = mirror.entries().filter(|e| e.enabled).count();
    let since = mirror.header().map(|h| h.watching_since).unwrap_or_default();
    let missing = source(model).filter(|s| s.status == SourceStatus::Missing);
    let since = words::nothing_text(&times::clock(since, &model.zone), entries);
    let (icon, heading, sentence) = match missing {
        Some(_) => (icons::NOT_AUTHORISED, words::NO_SOURCE, words::NO_SOURCE_TEXT),
        None if !model.ledger().secrets().is_empty() => {
            (icons::SEARCH, words::NO_MATCH, words::NO_MATCH_TEXT)
        }
        None if entries == 0 => (icons::KEY, words::NOTHING_WATCHED, words::NOTHING_WATCHED_TEXT),
        None => (icons::KEY, words::NOTHING, since.as_str()),
    };
    let answer = missing.map(|source| source.reason.shown()).filter(|reason| !reason.is_empty());
    let (left, middle) = states::state(ui, rect, icon, heading, sentence, answer.as_deref());
    let (label, command) = match missing {
        Some(_) => (crate::text::state::WHAT_IS_MISSING, Command::SetLens(Lens::Coverage)),
        None => (words::EDIT, Command::SetLens(Lens::Watchlist)),
    };
    if button::button(ui, left, middle, ui.scope_id().with("empty"), Look::Outline, None, label).clicked() {
        commands.push(command);
    }
}

fn foot(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let middle = rect.center().y;
    paint::hline(painter, rect.x_range(), rect.top(), p.line);
    let mirror = model.ledger().mirror();
    let groups: std::collections::BTreeSet<_> =
        mirror.entries().filter(|e| e.enabled).map(|e| &e.group).collect();
    let line = words::watching(mirror.entries().filter(|e| e.enabled).count(), groups.len());
    paint::icon(painter, pos2(rect.left() + 24.0, middle), Type::Icon(15), p.text3, icons::WATCHLIST);
    let at = pos2(rect.left() + 38.0, middle);
    let drawn = paint::text(painter, at, Side::Left, Type::Small, p.text2, line.as_str());
    let told = ui.interact(drawn, ui.scope_id().with("watching"), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Label, true, &line));
    let id = ui.scope_id().with("edit");
    let link = button::button(ui, drawn.right() + 10.0, middle, id, Look::Link, None, words::EDIT);
    let range = Rangef::new(link.rect.right() + 24.0, rect.right() - 16.0);
    if paint::width(painter, Type::Small, words::NEVER_READS) <= range.span() {
        let at = pos2(range.max, middle);
        paint::text(painter, at, Side::Right, Type::Small, p.text2, words::NEVER_READS);
    }
    if link.clicked() {
        commands.push(Command::SetLens(Lens::Watchlist));
    }
}
