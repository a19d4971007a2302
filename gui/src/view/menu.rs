//! The menu under a rule cell: whom to block, for how long and with what consequence; or why a row is blocked.

use egui::{Area, Id, Order, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, pos2, vec2};
use sekhmet_common::rule::RuleId;

use super::Shown;
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        block::{self, Choice, Consequence, Menu, Offer, Span},
        tree::Node,
        verdict,
    },
    text::{self, rule, times},
    theme::{Palette, Type, palette},
    widget::{
        button::{self, Look},
        paint::{self, Side},
    },
};

mod keys;

pub(super) use keys::keys;

const WIDTH: f32 = 396.0;
const PAD: f32 = 16.0;
const LINE: f32 = 30.0;

/// Draws what is open, under its cell or above it.
pub(super) fn show(ui: &Ui, model: &Model, shown: &mut Shown, commands: &mut Commands) {
    let anchor = shown.anchor.take();
    let Some(menu) = &model.screen.menu else { return };
    // A row that was scrolled away takes its menu with it; the keyboard opens menus of rows in sight.
    let Some(anchor) = anchor else { return commands.push(Command::SetMenu(None)) };
    let window = ui.ctx().content_rect();
    let height = shown.menu_height.max(120.0);
    let below = anchor.bottom() + 4.0;
    let top = if below + height <= window.bottom() - 8.0 {
        below
    } else {
        (anchor.top() - 4.0 - height).max(window.top() + 8.0)
    };
    let left = anchor.left().min(window.right() - WIDTH - 8.0).max(window.left() + 8.0);
    let area = Area::new(Id::unique("rule menu"))
        .order(Order::Foreground)
        .fixed_pos(pos2(left, top))
        .constrain(false)
        .fade_in(false);
    let place = area.show(ui.ctx(), |ui| {
        let frame = Rect::from_min_size(ui.max_rect().min, vec2(WIDTH, height));
        let ground = ui.painter().add(egui::Shape::Noop);
        let p = palette(ui.ctx());
        let mut page = Page { ui, p, left: frame.left(), y: frame.top(), commands };
        match menu {
            Menu::Block(choice) => page.block(choice, model),
            Menu::Reason(node, id) => page.reason(node, *id, model),
        }
        let frame = Rect::from_min_max(frame.min, pos2(frame.right(), page.y));
        let shape =
            egui::epaint::RectShape::new(frame, 6.0, p.raised, Stroke::new(1.0, p.edge), StrokeKind::Inside);
        let shadow = ui.style().visuals.popup_shadow.as_shape(frame, 6.0);
        ui.painter().set(ground, egui::Shape::Vec(vec![shadow.into(), shape.into()]));
        ui.allocate_rect(frame, Sense::hover());
        frame
    });
    let frame = place.inner;
    if frame.height() != shown.menu_height {
        shown.menu_height = frame.height();
        ui.ctx().request_repaint();
    }
    let outside = |at: Pos2| !frame.contains(at) && !anchor.contains(at);
    let pressed = ui.input(|i| i.pointer.any_pressed().then(|| i.pointer.interact_pos()).flatten());
    if pressed.is_some_and(outside) {
        commands.push(Command::SetMenu(None));
    }
}

struct Page<'a> {
    ui: &'a mut Ui,
    p: &'static Palette,
    left: f32,
    y: f32,
    commands: &'a mut Commands,
}

impl Page<'_> {
    fn right(&self) -> f32 {
        self.left + WIDTH
    }

    fn id(&self, name: impl std::hash::Hash + std::fmt::Debug) -> Id {
        self.ui.scope_id().with(name)
    }

    fn choose(&mut self, choice: Choice) {
        self.commands.push(Command::SetMenu(Some(Menu::Block(choice))));
    }

    fn title(&mut self, title: &str, detail: &str) {
        let middle = self.y + 22.0;
        let painter = self.ui.painter();
        let close = pos2(self.right() - 24.0, middle);
        let range = egui::Rangef::new(self.left + PAD, close.x - 18.0);
        let (drawn, _) = paint::text_within(painter, range, middle, Type::BodyStrong, self.p.text, title);
        let rest = egui::Rangef::new(drawn.right() + 10.0, range.max);
        paint::text_within(painter, rest, middle, Type::Small, self.p.text3, detail);
        let told = self.ui.interact(drawn, self.id("title"), Sense::hover());
        told.widget_info(|| egui::WidgetInfo::labeled(Role::Heading, true, title));
        if button::icon_button(self.ui, close, self.id("close"), icons::CLOSE, rule::CLOSE).clicked() {
            self.commands.push(Command::SetMenu(None));
        }
        self.y += 40.0;
    }

    fn caption(&mut self, words: &str) {
        let at = pos2(self.left + PAD, self.y + 12.0);
        paint::text(self.ui.painter(), at, Side::Left, Type::Small, self.p.text3, words);
        self.y += 24.0;
    }

    fn rule(&mut self) {
        let x = egui::Rangef::new(self.left + 1.0, self.right() - 1.0);
        paint::hline(self.ui.painter(), x, self.y, self.p.line);
    }

    fn block(&mut self, choice: &Choice, model: &Model) {
        let words = model.words(&choice.node);
        self.title(&rule::title(&words.name), &words.detail);
        self.caption(rule::WHAT);
        let offers = block::offers(model.live(), &choice.node);
        for (i, offer) in offers.iter().enumerate() {
            self.offer(i, offer, choice);
        }
        self.y += 8.0;
        self.caption(rule::HOW_LONG);
        self.spans(choice);
        if choice.more {
            self.more(choice);
        }
        self.y += 14.0;
        let name = offers.iter().find(|o| o.scope == choice.scope).map_or("", |o| o.name.as_str());
        self.consequence(choice, model);
        self.confirm(choice, name);
        self.foot(choice);
    }

    fn offer(&mut self, index: usize, offer: &Offer, choice: &Choice) {
        let chosen = offer.scope == choice.scope;
        let (name, detail) = rule::offer(offer);
        let row = Rect::from_min_size(pos2(self.left + 1.0, self.y), vec2(WIDTH - 2.0, LINE));
        let label = format!("{name}, {detail}");
        let response = self.pick(row, ("offer", index), Role::RadioButton, chosen, true, &label);
        let painter = self.ui.painter();
        let middle = row.center().y;
        if chosen {
            painter.rect_filled(row, 0.0, self.p.sel);
        } else if response.hovered() {
            painter.rect_filled(row, 0.0, self.p.hover);
        }
        let icon = icons::RADIO[usize::from(chosen)];
        paint::icon(painter, pos2(row.left() + PAD + 7.0, middle), Type::Icon(16), self.p.text2, icon);
        let range = egui::Rangef::new(row.left() + PAD + 24.0, row.right() - PAD);
        let kind = if chosen { Type::BodyMedium } else { Type::Body };
        let (drawn, _) = paint::text_within(painter, range, middle, kind, self.p.text, &name);
        let rest = egui::Rangef::new(drawn.right() + 8.0, range.max);
        paint::text_within(painter, rest, middle, Type::Small, self.p.text3, &detail);
        button::focus_ring(self.ui, &response);
        if response.clicked() {
            self.choose(choice.clone().with_scope(offer.scope));
        }
        self.y += LINE;
    }

    /// A radio button, a segment or a check box without its looks.
    fn pick(
        &self,
        rect: Rect,
        name: impl std::hash::Hash + std::fmt::Debug,
        role: Role,
        chosen: bool,
        enabled: bool,
        label: &str,
    ) -> Response {
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let response = self.ui.interact(rect, self.id(name), sense);
        response.widget_info(|| egui::WidgetInfo::selected(role, enabled, chosen, label));
        response
    }

    fn spans(&mut self, choice: &Choice) {
        let all = Rect::from_min_size(pos2(self.left + PAD, self.y), vec2(WIDTH - 2.0 * PAD, 28.0));
        let width = all.width() / Span::ALL.len() as f32;
        for (i, span) in Span::ALL.into_iter().enumerate() {
            let chosen = span == choice.span;
            let possible = span.suits(choice.scope);
            let place =
                Rect::from_min_size(pos2(all.left() + width * i as f32, all.top()), vec2(width, 28.0));
            let words = rule::span(span);
            let response = self.pick(place, ("span", i), Role::RadioButton, chosen, possible, words);
            let painter = self.ui.painter();
            let ink = if chosen {
                painter.rect_filled(place, 4.0, self.p.text);
                self.p.bg
            } else if !possible {
                self.p.text3
            } else {
                if response.hovered() {
                    painter.rect_filled(place, 4.0, self.p.sel);
                }
                self.p.text
            };
            let kind = if chosen { Type::BodyMedium } else { Type::Body };
            paint::text(painter, place.center(), Side::Centre, kind, ink, words);
            button::focus_ring(self.ui, &response);
            if !possible {
                response.on_hover_text(rule::ONLY_PROGRAMS);
            } else if response.clicked() {
                self.choose(Choice { span, ..choice.clone() });
            }
        }
        self.ui.painter().rect_stroke(all, 4.0, Stroke::new(1.0, self.p.edge), StrokeKind::Inside);
        self.y += 28.0;
    }

    fn more(&mut self, choice: &Choice) {
        self.y += 10.0;
        let with = |drop, local| Choice { drop, local, ..choice.clone() };
        for (name, hint, chosen, next) in [
            (rule::DROP, rule::DROP_HINT, choice.drop, with(!choice.drop, choice.local)),
            (rule::LOCAL, rule::LOCAL_HINT, choice.local, with(choice.drop, !choice.local)),
        ] {
            let row = Rect::from_min_size(pos2(self.left + 1.0, self.y), vec2(WIDTH - 2.0, LINE));
            let response = self.pick(row, name, Role::CheckBox, chosen, true, name);
            let painter = self.ui.painter();
            if response.hovered() {
                painter.rect_filled(row, 0.0, self.p.hover);
            }
            let middle = row.center().y;
            let icon = icons::CHECKBOX[usize::from(chosen)];
            paint::icon(painter, pos2(row.left() + PAD + 7.0, middle), Type::Icon(16), self.p.text2, icon);
            let at = pos2(row.left() + PAD + 24.0, middle);
            let drawn = paint::text(painter, at, Side::Left, Type::Body, self.p.text, name);
            let at = pos2(drawn.right() + 8.0, middle);
            paint::text(painter, at, Side::Left, Type::Small, self.p.text3, hint);
            button::focus_ring(self.ui, &response);
            if response.clicked() {
                self.choose(next);
            }
            self.y += LINE;
        }
    }

    fn consequence(&mut self, choice: &Choice, model: &Model) {
        let found = Consequence::of(model.live(), choice);
        let (first, rest) = (rule::closes(found.closes), rule::consequence(choice, &found));
        let ground = self.ui.painter().add(egui::Shape::Noop);
        let top = self.y;
        let painter = self.ui.painter();
        let at = pos2(self.left + PAD, top + 20.0);
        paint::text(painter, at, Side::Left, Type::BodyStrong, self.p.text, first.as_str());
        let at = pos2(self.left + PAD, top + 32.0);
        let drawn = paint::paragraph(painter, at, WIDTH - 2.0 * PAD, 4, Type::Body, self.p.text2, &rest);
        let bottom = drawn.bottom() + 12.0;
        let rect = Rect::from_min_max(pos2(self.left + 1.0, top), pos2(self.right() - 1.0, bottom));
        self.ui.painter().set(ground, egui::Shape::rect_filled(rect, 0.0, self.p.panel));
        let told = self.ui.interact(rect, self.id("consequence"), Sense::hover());
        told.widget_info(|| egui::WidgetInfo::labeled(Role::Label, true, format!("{first} {rest}")));
        self.rule();
        self.y = bottom;
        self.rule();
        self.y += 12.0;
    }

    fn confirm(&mut self, choice: &Choice, name: &str) {
        let label = rule::confirm(name, choice.span);
        if self.primary(&label, "confirm").clicked() {
            self.commands.push(Command::Block(choice.clone()));
        }
    }

    /// The button over the whole width that Enter presses.
    fn primary(&mut self, label: &str, name: &str) -> Response {
        let rect = Rect::from_min_size(pos2(self.left + PAD, self.y), vec2(WIDTH - 2.0 * PAD, 34.0));
        let response = button::place(self.ui, rect, self.id(name), Role::Button, label);
        let painter = self.ui.painter();
        painter.rect_filled(rect, 4.0, if response.hovered() { self.p.text2 } else { self.p.text });
        let key = paint::width(painter, Type::Caption, text::key::ENTER) + 18.0;
        let range = egui::Rangef::new(rect.left() + 34.0, rect.right() - key - 8.0);
        let width = paint::width(painter, Type::BodyMedium, label).min(range.span());
        let x = (rect.center().x - width / 2.0).max(range.min);
        let middle = rect.center().y;
        let at = pos2(x - 16.0, middle);
        paint::icon(painter, at, Type::IconBold(15), self.p.bg, icons::BLOCK);
        let range = egui::Rangef::new(x, range.max);
        let (drawn, _) = paint::text_within(painter, range, middle, Type::BodyMedium, self.p.bg, label);
        let cap = drawn.right() + 10.0;
        let words = paint::text(
            painter,
            pos2(cap + 5.0, middle),
            Side::Left,
            Type::Caption,
            self.p.bg,
            text::key::ENTER,
        );
        let cap = Rect::from_min_max(pos2(cap, middle - 9.0), pos2(words.right() + 5.0, middle + 9.0));
        painter.rect_stroke(cap, 3.0, Stroke::new(1.0, self.p.rest), StrokeKind::Inside);
        if response.has_focus() {
            painter.rect_stroke(rect.expand(2.0), 5.0, Stroke::new(2.0, self.p.text), StrokeKind::Outside);
        }
        self.y += 34.0;
        response
    }

    fn foot(&mut self, choice: &Choice) {
        let middle = self.y + 22.0;
        let painter = self.ui.painter();
        let at = pos2(self.left + PAD + 7.0, middle);
        paint::icon(painter, at, Type::Icon(14), self.p.text3, icons::ASKS);
        let at = pos2(self.left + PAD + 20.0, middle);
        paint::text(painter, at, Side::Left, Type::Small, self.p.text3, rule::ASKS);
        let words = if choice.more { rule::LESS } else { rule::MORE };
        let x = self.right() - PAD - paint::width(painter, Type::Body, words);
        if button::button(self.ui, x, middle, self.id("more"), Look::Link, None, words).clicked() {
            self.choose(Choice { more: !choice.more, ..choice.clone() });
        }
        self.y += 42.0;
    }

    fn reason(&mut self, node: &Node, id: RuleId, model: &Model) {
        let words = model.words(node);
        self.title(&rule::blocked_title(&words.name), &words.detail);
        let mirror = model.ledger().mirror();
        let width = WIDTH - 2.0 * PAD;
        let at = pos2(self.left + PAD, self.y);
        let Some(found) = mirror.rule(id) else {
            let painter = self.ui.painter();
            let drawn = paint::paragraph(painter, at, width, 3, Type::Body, self.p.text2, rule::UNKNOWN_RULE);
            self.y = drawn.bottom() + 14.0;
            return;
        };
        let sentence = rule::reason(found, &times::clock(found.added_at, &model.zone));
        let painter = self.ui.painter();
        let drawn = paint::paragraph(painter, at, width, 4, Type::Body, self.p.text, &sentence);
        let hits = verdict::hits(mirror).get(&id).map_or(found.hits, |h| h.count);
        let record = rule::record(&rule::maker(found), hits);
        let at = pos2(self.left + PAD, drawn.bottom() + 6.0);
        let record_at = paint::paragraph(painter, at, width, 2, Type::Small, self.p.text3, &record);
        let told = self.ui.interact(drawn.union(record_at), self.id("reason"), Sense::hover());
        told.widget_info(|| egui::WidgetInfo::labeled(Role::Label, true, format!("{sentence} {record}")));
        self.y = record_at.bottom() + 14.0;
        let middle = self.y + 14.0;
        let left = self.left + PAD;
        let mut end = left;
        if model.can_block() {
            let id_of = self.id("unblock");
            let response = button::button(self.ui, left, middle, id_of, Look::Primary, None, rule::UNBLOCK);
            end = response.rect.right() + 16.0;
            if response.clicked() {
                self.commands.push(Command::Unblock(id));
            }
        }
        let all = button::button(self.ui, end, middle, self.id("all"), Look::Link, None, rule::SHOW_RULES);
        if all.clicked() {
            self.commands.push(Command::SetLens(crate::model::screen::Lens::Rules));
        }
        self.y += 42.0;
    }
}
