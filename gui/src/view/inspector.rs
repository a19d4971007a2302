//! The inspector: everything about the selected row, each thing at its fixed place.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};

use super::{Shown, fields};
use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, key::Member, screen::Tab, tree::Node},
    text::{self, numbers},
    theme::{Type, palette},
    widget::{
        button, cell,
        paint::{self, Side},
    },
};

mod decision;
mod entries;
mod evidence;

pub(super) use decision::verdict_of;
use entries::{Amount, Entry, Target, hosts, processes};

const FIELD: f32 = 24.0;
const ENTRY: f32 = 46.0;
const PAD: f32 = 16.0;

pub(super) fn show(ui: &mut Ui, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let rect = ui.max_rect();
    let p = palette(ui.ctx());
    if let Some(row) = evidence::row(model) {
        return evidence::show(ui, rect, row, model, commands);
    }
    let Some(node) = model.screen.selected.clone() else {
        let left = rect.left() + PAD;
        let at = pos2(left, rect.top() + 24.0);
        paint::text(ui.painter(), at, Side::Left, Type::Heading, p.text2, text::SELECT_A_ROW);
        let width = rect.width() - 2.0 * PAD;
        let at = pos2(left, rect.top() + 43.0);
        paint::paragraph(ui.painter(), at, width, 3, Type::Body, p.text3, text::SELECT_A_ROW_HINT);
        return;
    };
    title(ui, rect, model, &node, commands);
    let y = chips(ui, rect, rect.top() + 98.0, model, &node, commands);
    let y = totals(ui, rect, y, model, &node);
    paint::hline(ui.painter(), rect.x_range(), y, p.line);
    let y = field_list(ui, rect, y + 5.0, model, &node, commands);
    let foot = decision::foot(ui, rect, model, &node, shown, commands);
    let list = Rect::from_min_max(pos2(rect.left(), y + 6.0), pos2(rect.right(), foot));
    lists(ui, list, model, &node, commands);
}

fn title(ui: &Ui, rect: Rect, model: &Model, node: &Node, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let words = model.words(node);
    let middle = rect.top() + 24.0;
    let tile = Rect::from_center_size(pos2(rect.left() + PAD + 12.0, middle), vec2(24.0, 24.0));
    painter.rect_filled(tile, 4.0, p.sel);
    let icon = words.icon.unwrap_or(icons::GLOBE);
    paint::icon(painter, tile.center(), Type::Icon(16), p.text2, icon);
    let close = pos2(rect.right() - 24.0, middle);
    let range = Rangef::new(tile.right() + 10.0, close.x - 18.0);
    let kind = if words.mono { Type::MonoMedium } else { Type::Heading };
    let (name, _) = paint::text_within(painter, range, middle, kind, p.text, &words.name);
    let rest = Rangef::new(name.right() + 10.0, range.max);
    paint::text_within(painter, rest, middle, Type::Small, p.text3, &fields::subtitle(model, node));
    let told = ui.interact(name, ui.scope_id().with("title"), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, text::inspector::title(&words.name)));
    told.on_hover_text(words.name.clone());
    if button::icon_button(ui, close, ui.scope_id().with("close"), icons::CLOSE, text::CLOSE_INSPECTOR)
        .clicked()
    {
        commands.push(Command::OpenInspector(false));
    }
    let sentence = fields::identity(model, node);
    let at = pos2(rect.left() + PAD, rect.top() + 43.0);
    let room = rect.width() - 2.0 * PAD;
    let told = paint::paragraph(painter, at, room, 2, Type::Body, p.text2, &sentence);
    let told = ui.interact(told, ui.scope_id().with("identity"), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Label, true, &sentence));
}

/// The chain of parents as chips, the oldest cut away first. Returns the height below.
fn chips(ui: &Ui, rect: Rect, middle: f32, model: &Model, node: &Node, commands: &mut Commands) -> f32 {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let chain = fields::ancestry(model, node);
    if chain.is_empty() {
        return middle - 9.0;
    }
    // Wide enough for the heavier style of the last chip.
    let width = |name: &str| (paint::width(painter, Type::SmallMedium, name) + 12.0).ceil();
    const ARROW: f32 = 14.0;
    let room = rect.width() - 2.0 * PAD;
    let mut first = chain.len() - 1;
    let mut used = chain.last().map_or(0.0, |(_, name)| width(name));
    while first > 0 {
        let next = width(&chain[first - 1].1) + ARROW;
        let reserve = if first > 1 { width("…") + ARROW } else { 0.0 };
        if used + next + reserve > room {
            break;
        }
        used += next;
        first -= 1;
    }
    let mut x = rect.left() + PAD;
    let mut chip = |name: &str, own: bool, member: Option<Member>| {
        if x > rect.left() + PAD {
            let at = pos2(x + ARROW / 2.0, middle);
            paint::icon(painter, at, Type::IconBold(9), p.text3, icons::CARET_RIGHT);
            x += ARROW;
        }
        let w = width(name).min(rect.right() - PAD - x);
        let place = Rect::from_min_size(pos2(x, middle - 10.0), vec2(w, 20.0));
        painter.rect_filled(place, 3.0, if own { p.sel } else { p.hover });
        let (kind, color) = if own { (Type::SmallMedium, p.text) } else { (Type::Small, p.text2) };
        let range = Rangef::new(place.left() + 6.0, place.right() - 5.0);
        paint::text_within(painter, range, middle, kind, color, name);
        x += w;
        let member = member?;
        let id = ui.scope_id().with(("chip", member));
        let response = button::place(ui, place, id, Role::Button, &text::inspector::started_by(name));
        response.clicked().then_some(member)
    };
    if first > 0 {
        chip("…", false, None);
    }
    let last = chain.len() - 1;
    for (i, (member, name)) in chain.iter().enumerate().skip(first) {
        let target = (i != last).then_some(*member);
        if let Some(member) = chip(name, i == last, target)
            && let Some(proc) = model.ledger().proc(member)
        {
            commands.push(Command::Select(Node::Process(proc.program.clone(), member)));
        }
    }
    middle + 10.0
}

fn totals(ui: &Ui, rect: Rect, top: f32, model: &Model, node: &Node) -> f32 {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let (down_x, up_x) = number_columns(rect);
    for (x, arrow, color) in [(down_x, "↓", p.down), (up_x, "↑", p.up)] {
        paint::text(painter, pos2(x, top + 20.0), Side::Right, Type::Small, color, arrow);
    }
    let ledger = model.ledger();
    let (local, second) = (model.screen.local, ledger.second());
    let figures = model.figures(node);
    let (now, total) = (figures.rate(second, local), figures.total(second, local));
    let colors = if model.status.is_current() { [p.down, p.up] } else { [p.text3, p.text3] };
    for (y, label, figures, [down, up]) in [
        (top + 39.0, text::head::NOW, [numbers::rate(now.down), numbers::rate(now.up)], colors),
        (top + 59.0, text::head::WINDOW, [numbers::bytes(total.down), numbers::bytes(total.up)], [p.text; 2]),
    ] {
        let at = pos2(rect.left() + PAD, y);
        paint::text(painter, at, Side::Left, Type::Small, p.text3, label);
        cell::figure(painter, down_x, y, Type::Number, &figures[0], down, p);
        cell::figure(painter, up_x, y, Type::Number, &figures[1], up, p);
    }
    top + 75.0
}

/// Where the digits of both number columns end.
pub(super) fn number_columns(rect: Rect) -> (f32, f32) {
    let up = rect.right() - PAD - cell::RATE_UNIT;
    (up - 84.0, up)
}

fn field_list(ui: &Ui, rect: Rect, top: f32, model: &Model, node: &Node, commands: &mut Commands) -> f32 {
    let p = palette(ui.ctx());
    let mut y = top;
    for field in fields::fields(model, node) {
        let middle = y + FIELD / 2.0;
        let left = rect.left() + PAD;
        paint::text(ui.painter(), pos2(left, middle), Side::Left, Type::Small, p.text3, field.label);
        let range = Rangef::new(left + 84.0, rect.right() - PAD);
        let empty = field.value.is_empty();
        let (value, color) = if empty { (text::NONE, p.text3) } else { (field.value.as_str(), p.text) };
        let kind = if field.mono && !empty { Type::Mono } else { Type::Small };
        paint::text_within(ui.painter(), range, middle, kind, color, value);
        let place = Rect::from_x_y_ranges(range, Rangef::new(y, y + FIELD));
        let response = ui.interact(place, ui.scope_id().with(field.label), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{}: {value}", field.label)));
        if !empty {
            let copy = format!("{} {}", text::COPY, field.label.to_lowercase());
            if response.clone().on_hover_text(value).secondary_clicked() {
                commands.push(Command::Copy(field.value.clone()));
            }
            response.context_menu(|ui| {
                if ui.button(copy).clicked() {
                    commands.push(Command::Copy(field.value.clone()));
                    ui.close();
                }
            });
        }
        y += FIELD;
    }
    y
}

fn lists(ui: &mut Ui, rect: Rect, model: &Model, node: &Node, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let hosts = hosts(model, node);
    let processes = processes(model, node);
    let mut tabs = vec![];
    if matches!(node, Node::Group(_) | Node::Process(..)) {
        tabs.push((Tab::Hosts, text::HOSTS, hosts));
    }
    if matches!(node, Node::Group(_)) {
        tabs.push((Tab::Processes, text::PROCESSES, processes));
    }
    let files = entries::files(model, node);
    if !files.is_empty() {
        tabs.push((Tab::Files, text::secrets::FILES, files));
    }
    let refused = decision::refusals(model, node);
    if !refused.is_empty() {
        tabs.push((Tab::Refused, text::rule::REFUSED, refused));
    }
    if tabs.is_empty() {
        return;
    }
    let chosen = tabs.iter().position(|(tab, ..)| *tab == model.screen.tab).unwrap_or(0);
    let middle = rect.top() + 16.0;
    let mut x = rect.left() + PAD;
    for (i, (tab, name, entries)) in tabs.iter().enumerate() {
        let label = format!("{name} {}", numbers::count(entries.len() as u64));
        let kind = if i == chosen { Type::SmallMedium } else { Type::Small };
        let color = if i == chosen { p.text } else { p.text2 };
        let words = paint::text(ui.painter(), pos2(x, middle), Side::Left, kind, color, label.as_str());
        let place = Rect::from_x_y_ranges(
            words.expand2(vec2(8.0, 0.0)).x_range(),
            Rangef::new(rect.top(), rect.top() + 32.0),
        );
        if i == chosen {
            let bar =
                Rect::from_x_y_ranges(place.x_range(), Rangef::new(place.bottom() - 2.0, place.bottom()));
            ui.painter().rect_filled(bar, 0.0, p.text);
        }
        if button::place(ui, place, ui.scope_id().with(("tab", i)), Role::Tab, &label).clicked() {
            commands.push(Command::SetTab(*tab));
        }
        x = words.right() + 24.0;
    }
    paint::hline(ui.painter(), rect.x_range(), rect.top() + 32.0, p.line);
    if let Some((_, _, entries)) = tabs.get(chosen) {
        let list = Rect::from_min_max(pos2(rect.left(), rect.top() + 33.0), rect.max);
        entry_list(ui, list, entries, commands);
    }
}

fn entry_list(ui: &mut Ui, rect: Rect, entries: &[Entry], commands: &mut Commands) {
    if rect.height() < ENTRY {
        return;
    }
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("entries").max_rect(rect));
    inner.shrink_clip_rect(rect);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    let area = ScrollArea::vertical().auto_shrink(false).animated(false);
    area.show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(ENTRY * entries.len() as f32);
        let first = (viewport.min.y / ENTRY).floor().max(0.0) as usize;
        let last = ((viewport.max.y / ENTRY).ceil().max(0.0) as usize).min(entries.len());
        for (i, entry) in entries.get(first..last).unwrap_or_default().iter().enumerate() {
            let y = ui.max_rect().top() + (first + i) as f32 * ENTRY;
            let place = Rect::from_x_y_ranges(rect.x_range(), Rangef::new(y, y + ENTRY));
            entry_ui(ui, place, entry, commands);
        }
    });
}

fn entry_ui(ui: &Ui, rect: Rect, entry: &Entry, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let id = ui.scope_id().with(&entry.target);
    let response = ui.interact(rect, id, Sense::click());
    let label = format!("{}, {}", entry.name, entry.detail);
    response.widget_info(|| WidgetInfo::labeled(Role::ListItem, true, &label));
    if response.hovered() {
        painter.rect_filled(rect, 0.0, p.hover);
    }
    let color = if entry.ended { p.text3 } else { p.text };
    let range = Rangef::new(rect.left() + PAD, rect.right() - PAD);
    let kind = if matches!(entry.target, Target::Access(_)) { Type::Mono } else { Type::Body };
    let name_end = if matches!(entry.amount, Amount::Bytes(_)) { range.max } else { range.max - 44.0 };
    let name = Rangef::new(range.min, name_end);
    paint::text_within(painter, name, rect.top() + 15.0, kind, color, &entry.name);
    let middle = rect.top() + 33.0;
    let (down_x, up_x) = number_columns(rect);
    let end = if !matches!(entry.amount, Amount::Bytes(_)) { range.max } else { down_x - 44.0 };
    let range = Rangef::new(range.min, end);
    paint::text_within(painter, range, middle, Type::Small, p.text3, &entry.detail);
    match entry.amount {
        Amount::Bytes(total) => {
            for (x, value) in [(down_x, total.down), (up_x, total.up)] {
                cell::figure(painter, x, middle, Type::Number, &numbers::bytes(value), p.text2, p);
            }
        }
        Amount::Times(n, _) => {
            let at = pos2(rect.right() - PAD, rect.top() + 15.0);
            paint::text(painter, at, Side::Right, Type::Number, p.text2, numbers::count(n));
        }
        Amount::Refused(n) => {
            let at = pos2(rect.right() - PAD, rect.top() + 15.0);
            paint::text(painter, at, Side::Right, Type::Number, p.refused, numbers::count(n));
        }
    }
    paint::hline(painter, rect.x_range(), rect.bottom() - 1.0, p.line);
    button::focus_ring(ui, &response);
    if !response.clicked() {
        return;
    }
    match &entry.target {
        Target::Access(id) => commands.push(Command::ShowAccess(*id)),
        Target::Node(node) => {
            let mut above = node.parent();
            while let Some(node) = above {
                above = node.parent();
                commands.push(Command::Unfold(node, true));
            }
            commands.push(Command::Select(node.clone()));
            commands.push(Command::Reveal);
        }
    }
}
