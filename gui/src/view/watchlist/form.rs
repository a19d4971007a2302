//! The editor: a pattern, what it names, who may read it, and what it would match now.

use egui::{Id, Rangef, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::watch::Severity;

use super::PAD;
use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, watch::Form},
    text::{secrets, watchlist as words},
    theme::{Type, palette},
    view::Shown,
    widget::{
        button::{self, Look},
        paint::{self, Side},
    },
};

const FIELD: f32 = 30.0;
const SEVERITY: f32 = 216.0;
/// So many files are named under the form.
const NAMED: usize = 3;

/// Draws the editor at the top of a field. Returns the height below it.
pub(super) fn show(
    ui: &mut Ui,
    rect: Rect,
    model: &Model,
    shown: &mut Shown,
    commands: &mut Commands,
) -> f32 {
    let p = palette(ui.ctx());
    // Room for the preview only while there is one; typing moves nothing.
    let height = if model.screen.form.pattern.is_empty() { 190.0 } else { 238.0 };
    let card =
        Rect::from_min_size(pos2(rect.left() + PAD, rect.top()), vec2(rect.width() - 2.0 * PAD, height));
    ui.painter().rect(card, 6.0, p.panel, Stroke::new(1.0, p.line), StrokeKind::Inside);
    let inner = card.shrink2(vec2(16.0, 12.0));
    let form = &model.screen.form;
    let heading = if form.replaces.is_some() { words::CHANGE } else { words::NEW };
    let at = pos2(inner.left(), inner.top() + 9.0);
    let drawn = paint::text(ui.painter(), at, Side::Left, Type::BodyStrong, p.text, heading);
    if form.readers_only {
        let range = Rangef::new(drawn.right() + 10.0, inner.right());
        paint::text_within(ui.painter(), range, at.y, Type::Small, p.text3, words::READERS_ONLY);
    }
    let told = Rect::from_min_size(inner.min, vec2(inner.width(), 18.0));
    let told = ui.interact(told, ui.scope_id().with("form"), Sense::hover());
    let heading =
        if form.readers_only { format!("{heading}: {}", words::READERS_ONLY) } else { heading.into() };
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, &heading));
    let mut next = form.clone();
    let top = inner.top() + 26.0;
    let wide = inner.width() - SEVERITY - 16.0;
    let place = |x: f32, y: f32, width: f32| Rect::from_min_size(pos2(x, y), vec2(width, FIELD + 18.0));
    let left = inner.left();
    let fields = [
        (place(left, top, inner.width()), words::PATTERN, words::PATTERN_HINT, &mut next.pattern, true),
        (place(left, top + 54.0, wide * 0.45 - 8.0), words::LABEL, words::LABEL_HINT, &mut next.label, false),
        (
            place(left + wide * 0.45 + 8.0, top + 54.0, wide * 0.55 - 8.0),
            words::READERS,
            words::READERS_HINT,
            &mut next.readers,
            true,
        ),
    ];
    for (place, label, hint, value, mono) in fields {
        if form.readers_only && label != words::READERS {
            fixed(ui, place, label, value, mono);
            continue;
        }
        let focused = text_field(ui, place, label, hint, value, mono);
        shown.typing |= focused;
    }
    let place = place(inner.right() - SEVERITY, top + 54.0, SEVERITY);
    if form.readers_only {
        fixed(ui, place, words::SEVERITY, secrets::severity(form.severity), false);
    } else {
        severity(ui, place, &mut next);
    }
    let bottom = Rect::from_min_max(pos2(left, top + 112.0), inner.max);
    let actions = actions(ui, bottom, model, &mut next, commands);
    preview(ui, bottom.with_max_x(actions - 16.0), model);
    if next != *form {
        commands.push(Command::SetForm(next));
    }
    card.bottom()
}

/// A field with its name above it. Returns whether it has the focus.
fn text_field(ui: &mut Ui, place: Rect, label: &str, hint: &str, value: &mut String, mono: bool) -> bool {
    let p = palette(ui.ctx());
    let at = pos2(place.left(), place.top() + 8.0);
    paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, label);
    let frame = place.with_min_y(place.top() + 18.0);
    let id = Id::unique("form field").with(label);
    let focused = ui.memory(|m| m.has_focus(id));
    let stroke = if focused { Stroke::new(2.0, p.text) } else { Stroke::new(1.0, p.edge) };
    ui.painter().rect(frame, 4.0, p.bg, stroke, StrokeKind::Inside);
    let inner = frame.shrink2(vec2(10.0, 1.0));
    let kind = if mono { Type::Mono } else { Type::Body };
    let edit = egui::TextEdit::singleline(value)
        .id(id)
        .frame(egui::Frame::NONE)
        .font(kind.font())
        .text_color(p.text)
        .hint_text(egui::RichText::new(hint).color(p.text3))
        .char_limit(sekhmet_common::watch::PATTERN_MAX)
        .align(egui::Align2::LEFT_CENTER)
        .desired_width(inner.width())
        .min_size(inner.size())
        .margin(egui::Margin::ZERO)
        .clip_text(true);
    ui.put(inner, edit).accessible_name(label).has_focus()
}

/// What cannot be changed, where its field would stand.
fn fixed(ui: &Ui, place: Rect, label: &str, value: &str, mono: bool) {
    let p = palette(ui.ctx());
    let at = pos2(place.left(), place.top() + 8.0);
    paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, label);
    let kind = if mono { Type::Mono } else { Type::Body };
    let middle = place.top() + 18.0 + FIELD / 2.0;
    let (_, cut) = paint::text_within(ui.painter(), place.x_range(), middle, kind, p.text, value);
    let response = ui.interact(place, ui.scope_id().with(("fixed", label)), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("{label}: {value}")));
    if cut {
        response.on_hover_text(value);
    }
}

fn severity(ui: &Ui, place: Rect, form: &mut Form) {
    let p = palette(ui.ctx());
    let at = pos2(place.left(), place.top() + 8.0);
    paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, words::SEVERITY);
    let frame = place.with_min_y(place.top() + 18.0);
    let width = frame.width() / 3.0;
    for (i, choice) in [Severity::Low, Severity::Medium, Severity::High].into_iter().enumerate() {
        let segment = Rect::from_min_size(frame.min + vec2(width * i as f32, 0.0), vec2(width, FIELD));
        let (word, chosen) = (secrets::severity(choice), choice == form.severity);
        let response = ui.interact(segment, ui.scope_id().with(("severity", i)), Sense::click());
        let label = format!("{} {word}", words::SEVERITY);
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, &label));
        let painter = ui.painter();
        if chosen {
            painter.rect_filled(segment, 4.0, p.text);
        } else if response.hovered() {
            painter.rect_filled(segment, 4.0, p.sel);
        }
        let (kind, ink) = if chosen { (Type::BodyMedium, p.bg) } else { (Type::Body, p.text) };
        paint::text(painter, segment.center(), Side::Centre, kind, ink, word);
        button::focus_ring(ui, &response);
        if response.clicked() {
            form.severity = choice;
        }
    }
    ui.painter().rect_stroke(frame, 4.0, Stroke::new(1.0, p.edge), StrokeKind::Inside);
}

/// The buttons at the right. Returns their left edge.
fn actions(ui: &Ui, rect: Rect, model: &Model, next: &mut Form, commands: &mut Commands) -> f32 {
    let form = &model.screen.form;
    let label = if form.replaces.is_some() { words::REPLACE } else { words::ADD };
    let usable = !form.pattern.trim().is_empty() && form.error().is_none() && model.can_block();
    let width = paint::width(ui.painter(), Type::BodyMedium, label) + 24.0;
    let middle = rect.top() + 14.0;
    let x = rect.right() - width;
    if usable {
        let response = button::button(ui, x, middle, ui.scope_id().with("watch"), Look::Primary, None, label);
        if response.clicked() {
            commands.push(Command::Watch);
        }
    } else {
        button::disabled(ui, x, middle, ui.scope_id().with("watch"), label);
    }
    if *form == Form::default() {
        return x;
    }
    let x = x - 16.0 - paint::width(ui.painter(), Type::Body, words::CLEAR);
    if button::button(ui, x, middle, ui.scope_id().with("clear"), Look::Link, None, words::CLEAR).clicked() {
        *next = Form::default();
    }
    x
}

fn preview(ui: &Ui, rect: Rect, model: &Model) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let preview = &model.preview;
    let mut lines: Vec<(Type, egui::Color32, String)> = Vec::new();
    let mut icon = (icons::INFO, p.text3);
    if model.screen.form.pattern.trim().is_empty() {
        lines.push((Type::Small, p.text2, words::PREVIEW_EMPTY.to_owned()));
    } else if let Some(error) = model.screen.form.error() {
        icon = (icons::WARNING, p.notice);
        lines.push((Type::Small, p.notice, error));
    } else if preview.looking {
        lines.push((Type::Small, p.text2, words::LOOKING.to_owned()));
    } else {
        icon = (icons::KEY, if preview.count > 0 { p.secret } else { p.text3 });
        lines.push((Type::SmallMedium, p.text, words::matches(preview.count, preview.bounded)));
        for file in preview.files.iter().take(NAMED) {
            lines.push((Type::Mono, p.text2, model.path(file)));
        }
        match (preview.count.saturating_sub(NAMED.min(preview.files.len())), preview.unreadable) {
            (0, 0) if preview.count > 0 => {}
            (0, 0) if preview.home_only => lines.push((Type::Small, p.text3, words::HOME_ONLY.to_owned())),
            (0, 0) => lines.push((Type::Small, p.text3, words::OWN_FILES.to_owned())),
            (0, n) => lines.push((Type::Small, p.text3, words::unreadable(n))),
            (more, _) => lines.push((Type::Small, p.text3, crate::text::more(more))),
        }
    }
    let mut middle = rect.top() + 10.0;
    paint::icon(painter, pos2(rect.left() + 8.0, middle), Type::Icon(15), icon.1, icon.0);
    for (kind, color, line) in &lines {
        let range = Rangef::new(rect.left() + 22.0, rect.right());
        paint::text_within(painter, range, middle, *kind, *color, line);
        middle += 17.0;
    }
    let told = ui.interact(rect, ui.scope_id().with("preview"), Sense::hover());
    let all: Vec<&str> = lines.iter().map(|(_, _, line)| line.as_str()).collect();
    let label = format!("{}: {}", words::PREVIEW, all.join("; "));
    told.widget_info(|| WidgetInfo::labeled(Role::Status, true, &label));
    let hidden = preview.files.len().saturating_sub(NAMED);
    if hidden > 0 && !preview.looking {
        let files: Vec<String> = preview.files.iter().take(30).map(|file| model.path(file)).collect();
        told.on_hover_text(files.join("\n"));
    }
}
