//! The top bar: mode, search, live or paused, the machine's rates, health, menu.

use egui::{Id, Rect, Role, Stroke, StrokeKind, Ui, pos2, vec2};

use super::{Grid, Shown, keys};
use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, status::Status},
    text::{self, numbers, times},
    theme::{Type, measure, palette},
    widget::{
        button, cell,
        paint::{self, Side},
    },
};

/// Width of the digits of a rate at their widest, `<0.01`, in points.
const WIDEST_DIGITS: f32 = 42.0;

pub(super) fn show(ui: &mut Ui, grid: &Grid, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let rect = grid.top;
    let middle = rect.center().y;
    mode(ui, rect, grid.lenses.width() >= measure::LENSES);
    let menu_x = rect.right() - 26.0;
    menu(ui, pos2(menu_x, middle), model, commands);
    let health_left = health(ui, menu_x - 34.0, middle, rect.width() >= measure::COMPACT, model, commands);
    let rates_right = grid.legend.unwrap_or(health_left - 24.0).min(health_left - 24.0);
    let rates_left = rates(ui, rates_right - 20.0, middle, model);

    let left = grid.lenses.right() + 12.0;
    let room = rates_left - left - 160.0;
    let width = room.clamp(180.0, 316.0);
    let field = Rect::from_min_size(pos2(left, middle - 15.0), vec2(width, 30.0));
    search(ui, field, model, shown, commands);
    live(ui, field.right() + 20.0, rates_left - 12.0, middle, model, commands);
}

fn mode(ui: &Ui, rect: Rect, wide: bool) {
    let p = palette(ui.ctx());
    let middle = rect.center().y;
    let (icon_x, width) = if wide { (rect.left() + 28.0, 120.0) } else { (rect.left() + 24.0, 48.0) };
    paint::icon(ui.painter(), pos2(icon_x, middle), Type::Icon(16), p.text, icons::OBSERVE);
    if wide {
        let at = pos2(rect.left() + 42.0, middle);
        paint::text(ui.painter(), at, Side::Left, Type::BodyStrong, p.text, text::OBSERVE);
    }
    let place = Rect::from_min_size(rect.min, vec2(width, rect.height()));
    let response = ui.interact(place, ui.scope_id().with("mode"), egui::Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(Role::Status, true, text::OBSERVE));
    response.on_hover_text(text::OBSERVE_HINT);
}

fn search(ui: &mut Ui, field: Rect, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let middle = field.center().y;
    let stroke = if shown.searching { Stroke::new(2.0, p.text) } else { Stroke::new(1.0, p.edge) };
    ui.painter().rect(field, 4.0, p.bg, stroke, StrokeKind::Inside);
    paint::icon(ui.painter(), pos2(field.left() + 18.0, middle), Type::Icon(16), p.text2, icons::SEARCH);
    let mut typed = model.screen.search.clone();
    let inner = Rect::from_min_max(
        pos2(field.left() + 34.0, field.top() + 1.0),
        pos2(field.right() - 32.0, field.bottom() - 1.0),
    );
    let hint = egui::RichText::new(text::SEARCH_HINT).color(p.text3);
    let edit = egui::TextEdit::singleline(&mut typed)
        .id(keys::search_id())
        .frame(egui::Frame::NONE)
        .font(Type::Body.font())
        .text_color(p.text)
        .hint_text(hint)
        .char_limit(256)
        .align(egui::Align2::LEFT_CENTER)
        .desired_width(inner.width())
        .min_size(inner.size())
        .margin(egui::Margin::ZERO)
        .clip_text(true);
    let response = ui.put(inner, edit).accessible_name(text::SEARCH_LABEL);
    shown.searching = response.has_focus();
    if response.changed() {
        commands.push(Command::Search(typed));
    }
    let end = pos2(field.right() - 18.0, middle);
    if model.screen.search.is_empty() {
        let (w, p) = (18.0, palette(ui.ctx()));
        button::key_cap(ui, end.x - w / 2.0, middle, text::key::SLASH, p);
    } else if button::icon_button(ui, end, Id::unique("clear search"), icons::CLOSE, text::CLEAR_SEARCH)
        .clicked()
    {
        commands.push(Command::Search(String::new()));
    }
}

/// What is shown: the present, a paused picture, a recording, or nothing new.
fn live(ui: &Ui, x: f32, end: f32, middle: f32, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let range = |from: f32| egui::Rangef::new(from, end.max(from));
    let paused = model.paused();
    let (icon, words, strong) = match (&model.status, paused) {
        (_, Some((at, _))) => (Some(icons::PAUSE), text::paused_at(&times::clock(at, &model.zone)), true),
        (Status::Live, None) => (None, text::LIVE.to_owned(), true),
        (Status::Replay { ended: false }, None) => (Some(icons::RECORDING), text::REPLAY.to_owned(), true),
        (Status::Replay { ended: true }, None) => {
            (Some(icons::RECORDING), text::REPLAY_ENDED.to_owned(), false)
        }
        (Status::Lost { .. }, None) => (Some(icons::NO_HELPER), text::RECONNECTING.to_owned(), false),
        (Status::NoHelper { .. }, None) => (Some(icons::NO_HELPER), text::NOT_COLLECTING.to_owned(), false),
        (Status::Refused { .. }, None) => (Some(icons::ASKS), text::NOT_WATCHING.to_owned(), false),
        (Status::Connecting, None) => (None, text::CONNECTING.to_owned(), false),
    };
    let color = if strong { p.text } else { p.text3 };
    match icon {
        Some(icon) => {
            let kind = if paused.is_some() { Type::IconFill(16) } else { Type::Icon(16) };
            paint::icon(painter, pos2(x + 4.0, middle), kind, color, icon);
        }
        None => {
            painter.circle_filled(pos2(x + 3.0, middle), 3.0, color);
        }
    }
    let kind = if paused.is_some() { Type::BodyMedium } else { Type::Body };
    let (rect, _) = paint::text_within(painter, range(x + 16.0), middle, kind, color, &words);
    let moving = matches!(model.status, Status::Live | Status::Replay { ended: false });
    let label = if paused.is_some() { text::GO_LIVE } else { text::PAUSE };
    let at = pos2(rect.right() + 18.0, middle);
    if (moving || paused.is_some()) && at.x + 14.0 < end {
        let icon = if paused.is_some() { icons::PLAY } else { icons::PAUSE };
        if button::icon_button(ui, at, ui.scope_id().with("pause"), icon, label).clicked() {
            commands.push(Command::Pause(paused.is_none()));
        }
    }
    let response = ui.interact(rect, ui.scope_id().with("live"), egui::Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(Role::Status, true, &words));
}

/// The machine's rates; they stay live whatever is shown below. Returns their left edge.
fn rates(ui: &Ui, right: f32, middle: f32, model: &Model) -> f32 {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let ledger = model.live();
    let now = ledger.total().rate(ledger.second(), model.screen.local);
    let current = model.status.is_current();
    let mut end = right;
    let mut told = Vec::new();
    for (arrow, value, color, name) in [("↑", now.up, p.up, "upload"), ("↓", now.down, p.down, "download")]
    {
        let figure = if current { numbers::rate(value) } else { numbers::Figure::none() };
        told.push(format!("{name} {}", figure.joined()));
        // A box of fixed width, so that the bar stands still while numbers change.
        let digits_right = end - cell::RATE_UNIT - cell::UNIT_GAP;
        let drawn = cell::figure(painter, digits_right, middle, Type::Rate, &figure, p.text, p);
        let arrow_at = pos2(drawn.left() - 12.0, middle);
        paint::text(painter, arrow_at, Side::Centre, Type::Rate, color, arrow);
        end = digits_right - WIDEST_DIGITS - 36.0;
    }
    let rect = Rect::from_min_max(pos2(end, middle - 12.0), pos2(right, middle + 12.0));
    let response = ui.interact(rect, ui.scope_id().with("rates"), egui::Sense::hover());
    told.reverse();
    let label = told.join(", ");
    response.widget_info(|| egui::WidgetInfo::labeled(Role::Label, true, &label));
    end
}

/// One figure for how much arrived; a click opens the page on it. Returns its left edge.
fn health(ui: &Ui, right: f32, middle: f32, wide: bool, model: &Model, commands: &mut Commands) -> f32 {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let health = model.health();
    let known = health.permille().filter(|_| model.status.is_current());
    let (figure, icon, color) = match known {
        None => (text::NO_DATA.to_owned(), icons::NO_DATA, p.text3),
        Some(permille) if health.is_troubled() => (numbers::percent(permille), icons::WARNING, p.notice),
        Some(permille) => (numbers::percent(permille), icons::HEALTHY, p.text2),
    };
    let name_width = if wide { paint::width(painter, Type::Body, text::HEALTH) + 6.0 } else { 0.0 };
    let width = 22.0 + name_width + paint::width(painter, Type::BodyMedium, &figure);
    let left = right - width;
    let rect = Rect::from_min_max(pos2(left - 6.0, middle - 14.0), pos2(right + 6.0, middle + 14.0));
    let label = format!("{} {figure}", text::HEALTH);
    let response = button::place(ui, rect, ui.scope_id().with("health"), Role::Button, &label);
    if response.hovered() {
        painter.rect_filled(rect, 4.0, p.sel);
    }
    paint::icon(painter, pos2(left + 8.0, middle), Type::Icon(16), color, icon);
    if wide {
        paint::text(painter, pos2(left + 22.0, middle), Side::Left, Type::Body, p.text2, text::HEALTH);
    }
    let color = if known.is_none() {
        p.text3
    } else if health.is_troubled() {
        p.notice
    } else {
        p.text
    };
    paint::text(painter, pos2(right, middle), Side::Right, Type::BodyMedium, color, figure);
    if response.clicked() {
        commands.push(Command::SetLens(crate::model::screen::Lens::Coverage));
    }
    left
}

fn menu(ui: &Ui, centre: egui::Pos2, model: &Model, commands: &mut Commands) {
    let response = button::icon_button(ui, centre, ui.scope_id().with("menu"), icons::MENU, text::MENU);
    egui::Popup::menu(&response).align(egui::RectAlign::BOTTOM_END).show(|ui| {
        ui.set_min_width(196.0);
        let mut local = model.screen.local;
        if ui.checkbox(&mut local, text::MENU_LOCAL).clicked() {
            commands.push(Command::ShowLocal(local));
        }
        let mut alerts = model.alerts.is_on();
        if ui.checkbox(&mut alerts, text::secrets::MENU_ALERTS).clicked() {
            commands.push(Command::SetAlerts(alerts));
        }
        if model.own_only() && ui.button(text::SHOW_ALL).clicked() {
            commands.push(Command::ShowAll);
            ui.close();
        }
        ui.separator();
        ui.label(egui::RichText::new(text::THEME).font(Type::Caption.font()).color(palette(ui.ctx()).text3));
        let current = ui.options(|o| o.theme_preference);
        for (theme, name) in [
            (egui::ThemePreference::System, text::THEME_SYSTEM),
            (egui::ThemePreference::Dark, text::THEME_DARK),
            (egui::ThemePreference::Light, text::THEME_LIGHT),
        ] {
            if ui.radio(current == theme, name).clicked() {
                commands.push(Command::SetTheme(theme));
            }
        }
        ui.separator();
        if ui.button(text::QUIT).clicked() {
            commands.push(Command::Quit);
        }
    });
}
