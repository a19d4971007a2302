//! The page of rules: each as a sentence, who made it and when, how often it was needed, and its end.

use egui::{Rangef, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::rule::Rule;

use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        verdict::{self, Hits},
    },
    text::{
        numbers,
        rule::{self, head},
        times,
    },
    theme::{Palette, Type, palette},
    widget::{
        button,
        paint::{self, Side},
    },
};

const ROW: f32 = 34.0;
const PAD: f32 = 24.0;

pub(super) fn show(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    let rect = ui.max_rect();
    let mirror = model.ledger().mirror();
    let p = palette(ui.ctx());
    let rules: Vec<&Rule> = mirror.rules().collect();
    let hits = verdict::hits(mirror);
    let sum = hits.values().map(|h| h.count).fold(0, u64::saturating_add);
    let at = pos2(rect.left() + PAD, rect.top() + 32.0);
    let title = paint::text(ui.painter(), at, Side::Left, Type::Page, p.text, rule::RULES);
    let at = pos2(title.right() + 12.0, rect.top() + 34.0);
    let summary = rule::rules_summary(rules.len(), sum);
    paint::text(ui.painter(), at, Side::Left, Type::Body, p.text3, summary.as_str());
    let told = ui.interact(title, ui.scope_id().with("title"), Sense::hover());
    told.widget_info(|| WidgetInfo::labeled(Role::Heading, true, format!("{}: {summary}", rule::RULES)));
    if rules.is_empty() {
        return empty(ui, rect, p);
    }
    let columns = Columns::of(rect);
    let middle = rect.top() + 76.0;
    columns.heads(ui, middle, p);
    paint::hline(ui.painter(), rect.x_range(), middle + 16.0, p.line);
    let list = Rect::from_min_max(pos2(rect.left(), middle + 17.0), rect.max);
    let mut inner = ui.new_child(egui::UiBuilder::new().id_salt("rules").max_rect(list));
    inner.shrink_clip_rect(list);
    inner.spacing_mut().item_spacing = vec2(0.0, 0.0);
    ScrollArea::vertical().auto_shrink(false).animated(false).show_viewport(&mut inner, |ui, viewport| {
        ui.set_height(ROW * rules.len() as f32);
        let first = (viewport.min.y / ROW).floor().max(0.0) as usize;
        let last = ((viewport.max.y / ROW).ceil().max(0.0) as usize).min(rules.len());
        // The newest rule stands first.
        for (i, found) in rules.iter().rev().enumerate().take(last).skip(first) {
            let y = ui.max_rect().top() + i as f32 * ROW;
            let row = Rect::from_x_y_ranges(list.x_range(), Rangef::new(y, y + ROW));
            let hits = hits.get(&found.id).copied().unwrap_or_default();
            columns.row(ui, row, (found, hits), model, commands);
        }
    });
}

fn empty(ui: &Ui, rect: Rect, p: &Palette) {
    let at = pos2(rect.left() + PAD, rect.top() + 84.0);
    paint::text(ui.painter(), at, Side::Left, Type::Heading, p.text, rule::NO_RULES);
    let at = pos2(rect.left() + PAD, rect.top() + 100.0);
    let width = (rect.width() - 2.0 * PAD).clamp(120.0, 420.0);
    let told = paint::paragraph(ui.painter(), at, width, 3, Type::Body, p.text2, rule::NO_RULES_TEXT);
    let told = ui.interact(told, ui.scope_id().with("empty"), Sense::hover());
    let label = format!("{}. {}", rule::NO_RULES, rule::NO_RULES_TEXT);
    told.widget_info(|| WidgetInfo::labeled(Role::Status, true, &label));
}

/// Right edges of the columns, from the right; what there is no room for is left out.
struct Columns {
    number: f32,
    sentence: Rangef,
    lasts: Option<f32>,
    made_by: Option<f32>,
    hits: f32,
    last_hit: Option<f32>,
    remove: f32,
}

impl Columns {
    fn of(rect: Rect) -> Self {
        let width = rect.width();
        let mut right = rect.right() - 16.0;
        let mut take = |width: f32, has: bool| {
            has.then(|| {
                right -= width;
                right
            })
        };
        let remove = take(28.0, true).unwrap_or(rect.right());
        let last_hit = take(76.0, width > 560.0).map(|left| left + 64.0);
        let hits = take(56.0, true).unwrap_or(remove) + 44.0;
        let made_by = take(130.0, width > 700.0);
        let lasts = take(112.0, width > 640.0);
        let sentence = Rangef::new(rect.left() + PAD + 40.0, right - 12.0);
        Self { number: rect.left() + PAD, sentence, lasts, made_by, hits, last_hit, remove: remove + 14.0 }
    }

    fn heads(&self, ui: &Ui, middle: f32, p: &Palette) {
        let put = |x: f32, side: Side, words: &str| {
            paint::text(ui.painter(), pos2(x, middle), side, Type::Small, p.text3, words);
        };
        put(self.number, Side::Left, head::NUMBER);
        put(self.sentence.min, Side::Left, head::RULE);
        put(self.hits, Side::Right, head::HITS);
        for (x, words) in [(self.lasts, head::LASTS), (self.made_by, head::MADE_BY)] {
            if let Some(x) = x {
                put(x, Side::Left, words);
            }
        }
        if let Some(x) = self.last_hit {
            put(x, Side::Right, head::LAST_HIT);
        }
    }

    fn row(&self, ui: &Ui, row: Rect, (found, hits): (&Rule, Hits), model: &Model, commands: &mut Commands) {
        let p = palette(ui.ctx());
        let painter = ui.painter();
        let middle = row.center().y;
        let ledger = model.ledger();
        let left = found.expires_at.map(|end| end.nanos_since(ledger.now()) / 1_000_000_000);
        let lasts = rule::lasts(found, left);
        let made = format!("{}, {}", rule::maker(found), made_at(found, model));
        let last = hits.last.map_or_else(|| "–".to_owned(), |at| times::ago(at, ledger.now(), &model.zone));
        let sentence = found.sentence();
        let id = ui.scope_id().with(("rule", found.id));
        let response = ui.interact(row, id, Sense::hover());
        let label = rule::row(found, &lasts, &made, hits.count, &last);
        response.widget_info(|| WidgetInfo::labeled(Role::ListItem, true, &label));
        if response.contains_pointer() {
            painter.rect_filled(row, 0.0, p.hover);
        }
        paint::text(
            painter,
            pos2(self.number, middle),
            Side::Left,
            Type::Number,
            p.text3,
            found.id.to_string(),
        );
        // Only the verb has a colour.
        let short = rule::without_lifetime(found);
        let (verb, rest) = short.split_once(' ').unwrap_or(("", &short));
        let at = pos2(self.sentence.min, middle);
        let drawn = paint::text(painter, at, Side::Left, Type::BodyMedium, p.refused, verb);
        let range = Rangef::new(drawn.right() + 4.0, self.sentence.max);
        let (_, cut) = paint::text_within(painter, range, middle, Type::Body, p.text, rest);
        for (x, words) in [(self.lasts, lasts.as_str()), (self.made_by, made.as_str())] {
            if let Some(x) = x {
                let range = Rangef::new(x, x + if Some(x) == self.lasts { 104.0 } else { 122.0 });
                paint::text_within(painter, range, middle, Type::Small, p.text2, words);
            }
        }
        let (count, color) = match hits.count {
            0 => ("–".to_owned(), p.text3),
            n => (numbers::count(n), p.text),
        };
        paint::text(painter, pos2(self.hits, middle), Side::Right, Type::Number, color, count);
        if let Some(x) = self.last_hit {
            paint::text(painter, pos2(x, middle), Side::Right, Type::Small, p.text3, last);
        }
        if cut && response.hovered() {
            response.on_hover_text_at_pointer(sentence);
        }
        if model.requests.is_removing(found.id) {
            let at = pos2(self.remove + 14.0, middle);
            paint::text(painter, at, Side::Right, Type::SmallMedium, p.text2, rule::ASKING);
        } else if model.can_block() {
            let id = ui.scope_id().with(("remove", found.id));
            let at = pos2(self.remove, middle);
            if button::icon_button(ui, at, id, icons::REMOVE, &rule::remove(found)).clicked() {
                commands.push(Command::Unblock(found.id));
            }
        }
    }
}

/// The time for a rule of today, else the date.
fn made_at(found: &Rule, model: &Model) -> String {
    if model.ledger().now().nanos_since(found.added_at) < 86_400_000_000_000 {
        times::minute(found.added_at, &model.zone)
    } else {
        times::date(found.added_at, &model.zone)
    }
}
