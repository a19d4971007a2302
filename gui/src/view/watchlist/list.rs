//! The entries of the watchlist, group by group.

use egui::{Painter, Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::{
    display::Text,
    watch::{Entry, Owner},
};

use super::PAD;
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        watch::{self, Form},
    },
    text::{
        rule, secrets,
        watchlist::{self as words, head},
    },
    theme::{Palette, Type, measure, palette},
    view::states,
    widget::{
        button,
        paint::{self, Side},
    },
};

/// A line of the list.
enum Line<'a> {
    Group(&'a [&'a Entry]),
    Entry(&'a Entry),
}

pub(super) fn show(ui: &mut Ui, rect: Rect, entries: &[&Entry], model: &Model, commands: &mut Commands) {
    if entries.is_empty() {
        states::state(ui, rect, icons::KEY, words::EMPTY, words::EMPTY_TEXT, None);
        return;
    }
    let columns = Columns::of(rect);
    let (heads, body) = rect.split_top_bottom_at_y(rect.top() + measure::ROW);
    columns.heads(ui.painter(), heads, palette(ui.ctx()));
    let lines: Vec<Line<'_>> = entries
        .chunk_by(|a, b| a.group == b.group && is_own(a, model) == is_own(b, model))
        .flat_map(|chunk| {
            [Line::Group(chunk)].into_iter().chain(chunk.iter().map(|entry| Line::Entry(entry)))
        })
        .collect();
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("entries").max_rect(body));
    inner.shrink_clip_rect(body);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    ScrollArea::vertical().auto_shrink(false).animated(false).show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(measure::ROW * lines.len() as f32);
        let first = (viewport.min.y / measure::ROW).floor().max(0.0) as usize;
        let last = ((viewport.max.y / measure::ROW).ceil().max(0.0) as usize).min(lines.len());
        for (i, line) in lines.iter().enumerate().take(last).skip(first) {
            let y = ui.max_rect().top() + i as f32 * measure::ROW;
            let row = Rect::from_x_y_ranges(body.x_range(), Rangef::new(y, y + measure::ROW));
            match line {
                Line::Group(entries) => columns.group(ui, row, entries, model, commands),
                Line::Entry(entry) => columns.row(ui, row, entry, model, commands),
            }
        }
    });
}

fn is_own(entry: &Entry, model: &Model) -> bool {
    watch::is_own(entry, model.uid)
}

struct Columns {
    files: Rangef,
    label: Rangef,
    severity: f32,
    readers: Option<Rangef>,
    owner: Option<f32>,
    switch: f32,
    edit: f32,
    remove: f32,
}

impl Columns {
    fn of(rect: Rect) -> Self {
        let (left, right) = (rect.left() + PAD, rect.right() - PAD);
        let remove = right - 14.0;
        let edit = remove - 30.0;
        let switch = edit - 30.0;
        let mut end = switch - 22.0;
        let wide = rect.width() >= 700.0;
        let owner = wide.then(|| {
            end -= 92.0;
            end
        });
        let room = end - left - 66.0;
        let readers_width = if rect.width() >= 820.0 { room * 0.27 } else { 0.0 };
        let readers = (readers_width > 0.0).then(|| Rangef::new(end - readers_width, end - 12.0));
        let severity = end - readers_width - 66.0;
        let files = Rangef::new(left, left + (severity - left) * 0.56);
        Self {
            files,
            label: Rangef::new(files.max + 12.0, severity - 12.0),
            severity,
            readers,
            owner,
            switch,
            edit,
            remove,
        }
    }

    fn heads(&self, painter: &Painter, rect: Rect, p: &Palette) {
        let middle = rect.center().y;
        let heads = [
            (Some(self.files.min), head::FILES),
            (Some(self.label.min), head::LABEL),
            (Some(self.severity), head::SEVERITY),
            (self.readers.map(|r| r.min), head::READERS),
            (self.owner, head::OWNER),
        ];
        for (x, words) in heads {
            if let Some(x) = x {
                paint::text(painter, pos2(x, middle), Side::Left, Type::Small, p.text2, words);
            }
        }
        paint::hline(painter, rect.x_range(), rect.bottom() - 1.0, p.line);
    }

    /// A heading with the name of its entries, how many of them are watched, and their common switch.
    fn group(&self, ui: &Ui, row: Rect, entries: &[&Entry], model: &Model, commands: &mut Commands) {
        let Some(first) = entries.first() else { return };
        let p = palette(ui.ctx());
        let painter = ui.painter();
        let middle = row.center().y + 1.0;
        let name =
            if first.group.is_empty() { words::NO_GROUP.to_owned() } else { first.group.shown_within(60) };
        let on = entries.iter().filter(|entry| entry.enabled).count();
        let watched = words::watched_of(on, entries.len());
        let range = Rangef::new(row.left() + PAD, self.switch - 140.0);
        let (drawn, _) = paint::text_within(painter, range, middle, Type::SmallMedium, p.text, &name);
        let at = pos2(drawn.right() + 8.0, middle);
        paint::text(painter, at, Side::Left, Type::Small, p.text3, watched.as_str());
        paint::hline(painter, row.x_range(), row.bottom() - 1.0, p.line);
        // The same name may stand over one's own entries and over those of others.
        let id = |what: &str| ui.scope_id().with((what, first.id));
        let told = ui.interact(row, id("group"), Sense::hover());
        told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, format!("{name}: {watched}")));
        if entries.iter().any(|entry| model.requests.is_changing(entry.id)) {
            let at = pos2(self.remove + 14.0, middle);
            paint::text(painter, at, Side::Right, Type::SmallMedium, p.text2, rule::ASKING);
        } else if model.can_block() {
            let state = match on {
                0 => Some(false),
                on if on == entries.len() => Some(true),
                _ => None,
            };
            let label = words::switch_group(&name, on, entries.len());
            let hint = words::switch_group_hint(on, entries.len());
            let at = pos2(self.switch, middle);
            if button::switch(ui, at, id("group-switch"), state, &label, &hint).clicked() {
                let ids = entries.iter().map(|entry| entry.id).collect();
                commands.push(Command::SwitchGroup(name, ids, state != Some(true)));
            }
        }
    }

    fn row(&self, ui: &Ui, row: Rect, entry: &Entry, model: &Model, commands: &mut Commands) {
        let p = palette(ui.ctx());
        let response = ui.interact(row, ui.scope_id().with(("entry", entry.id)), Sense::hover());
        let sentence = words::row(entry, model.uid);
        response.widget_info(|| WidgetInfo::labeled(Role::ListItem, true, &sentence));
        let painter = ui.painter();
        if response.contains_pointer() || model.screen.form.replaces == Some(entry.id) {
            painter.rect_filled(row, 0.0, p.hover);
        }
        let middle = row.center().y;
        let ink = if entry.enabled { p.text } else { p.text3 };
        let second = if entry.enabled { p.text2 } else { p.text3 };
        let pattern = entry.pattern.shown();
        let (_, cut) = paint::text_within(painter, self.files, middle, Type::Mono, ink, &pattern);
        let label = entry.label.shown();
        paint::text_within(painter, self.label, middle, Type::Small, second, &label);
        let state = if entry.enabled { secrets::severity(entry.severity) } else { words::OFF };
        paint::text(painter, pos2(self.severity, middle), Side::Left, Type::Small, second, state);
        if let Some(range) = self.readers {
            let readers: Vec<String> = entry.expected.iter().map(Text::shown).collect();
            let readers = if readers.is_empty() { crate::text::NONE.to_owned() } else { readers.join(", ") };
            paint::text_within(painter, range, middle, Type::Small, p.text3, &readers);
        }
        if let Some(x) = self.owner {
            let owner = words::owner(entry.owner, model.uid);
            paint::text(painter, pos2(x, middle), Side::Left, Type::Small, p.text3, owner);
        }
        if model.requests.is_changing(entry.id) {
            let at = pos2(self.remove + 14.0, middle);
            paint::text(painter, at, Side::Right, Type::SmallMedium, p.text2, rule::ASKING);
        } else if model.can_block() {
            let id = |name: &str| ui.scope_id().with((name, entry.id));
            let (label, hint) = (words::switch(&pattern), words::switch_hint(entry.enabled));
            let at = pos2(self.switch, middle);
            if button::switch(ui, at, id("switch"), Some(entry.enabled), &label, hint).clicked() {
                commands.push(Command::SwitchEntry(entry.id));
            }
            let label = words::edit(&pattern);
            if button::icon_button(ui, pos2(self.edit, middle), id("edit"), icons::EDIT, &label).clicked() {
                commands.push(Command::SetForm(Form::of(entry)));
            }
            // What came with Sekhmet is switched off, not removed.
            let at = pos2(self.remove, middle);
            if entry.owner != Owner::Default
                && button::icon_button(ui, at, id("remove"), icons::REMOVE, &words::remove(&pattern))
                    .clicked()
            {
                commands.push(Command::Unwatch(entry.id));
            }
        }
        if cut {
            response.on_hover_text_at_pointer(pattern);
        }
    }
}
