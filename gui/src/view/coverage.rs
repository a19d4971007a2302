//! The page on what can be seen on this machine, and what was lost on the way.

use egui::{Rangef, Rect, Role, ScrollArea, Ui, WidgetInfo, pos2, vec2};
use sekhmet_common::coverage::{KindBalance, Source, SourceStatus};

use crate::{
    icons,
    model::Model,
    text::{self, coverage as words, numbers, times},
    theme::{Palette, Type, palette},
    widget::paint::{self, Side},
};

const ROW: f32 = 26.0;
const PAD: f32 = 24.0;

pub(super) fn show(ui: &mut Ui, model: &Model) {
    ScrollArea::vertical().auto_shrink(false).animated(false).show(ui, |ui| {
        let mirror = model.live().mirror();
        let width = ui.available_width();
        let (sources, balance) = (mirror.coverage(), mirror.balance());
        let costs = sources.iter().filter(|s| !s.cost.is_empty()).count();
        let height = 120.0 + 3.0 * 76.0 + ROW * (sources.len() + balance.len() + costs) as f32;
        let (rect, _) = ui.allocate_exact_size(vec2(width, height), egui::Sense::hover());
        let page = Page { ui, p: palette(ui.ctx()), left: rect.left() + PAD, right: rect.right() - PAD };
        let mut y = page.heading(rect.top() + 30.0, model);
        y = page.costs(y, sources);
        y = page.sources(y, sources, model);
        page.balance(y, balance, model);
    });
}

struct Page<'a> {
    ui: &'a Ui,
    p: &'static Palette,
    left: f32,
    right: f32,
}

impl Page<'_> {
    fn text(&self, x: f32, y: f32, kind: Type, color: egui::Color32, words: &str) -> Rect {
        paint::text(self.ui.painter(), pos2(x, y), Side::Left, kind, color, words)
    }

    fn within(&self, x: f32, end: f32, y: f32, kind: Type, color: egui::Color32, words: &str) {
        paint::text_within(self.ui.painter(), Rangef::new(x, end), y, kind, color, words);
    }

    /// A line that is told as one sentence.
    fn told(&self, y: f32, name: &str, sentence: String) {
        let rect = Rect::from_x_y_ranges(Rangef::new(self.left, self.right), Rangef::new(y - 13.0, y + 13.0));
        let response =
            self.ui.interact(rect, self.ui.scope_id().with((name, y as i32)), egui::Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &sentence));
    }

    fn heading(&self, y: f32, model: &Model) -> f32 {
        let health = model.health();
        let heading = match health.permille() {
            Some(permille) => words::heading(permille),
            None => words::NOTHING_COUNTED.to_owned(),
        };
        self.text(self.left, y, Type::Page, self.p.text, &heading);
        let sentence = words::sentence(health.made, health.lost);
        self.within(self.left, self.right, y + 28.0, Type::Body, self.p.text2, &sentence);
        self.told(y, "heading", format!("{heading}. {sentence}"));
        y + 64.0
    }

    fn section(&self, y: f32, title: &str, note: &str, heads: &[(f32, &str)]) -> f32 {
        let drawn = self.text(self.left, y, Type::BodyStrong, self.p.text, title);
        self.within(drawn.right() + 10.0, self.right, y, Type::Small, self.p.text3, note);
        for (x, head) in heads {
            self.text(self.left + x, y + 27.0, Type::Small, self.p.text3, head);
        }
        let line = Rangef::new(self.left - PAD, self.right + PAD);
        paint::hline(self.ui.painter(), line, y + 41.0, self.p.line);
        y + 41.0 + ROW / 2.0 + 2.0
    }

    fn costs(&self, y: f32, sources: &[Source]) -> f32 {
        let weak: Vec<&Source> = sources.iter().filter(|s| !s.cost.is_empty()).collect();
        let heads = [(26.0, words::WHAT), (220.0, words::COST)];
        let mut y = self.section(y, words::COSTS, &words::weak(weak.len()), &heads);
        for source in weak {
            let (icon, color) = mark(source.status, self.p);
            paint::icon(self.ui.painter(), pos2(self.left + 8.0, y), Type::Icon(15), color, icon);
            let capability = text::sentence_case(&source.capability.shown());
            self.within(self.left + 26.0, self.left + 210.0, y, Type::Body, self.p.text, &capability);
            let cost = source.cost.shown();
            self.within(self.left + 220.0, self.right, y, Type::Body, self.p.text2, &cost);
            self.told(y, "cost", format!("{capability}: {cost}"));
            y += ROW;
        }
        y + 14.0
    }

    fn sources(&self, y: f32, sources: &[Source], model: &Model) -> f32 {
        let version = model.live().mirror().header().map(|h| h.version.shown()).unwrap_or_default();
        let note = words::chosen_by(&version);
        let span = self.right - self.left;
        let (source_x, state_x, instead_x) = (span * 0.24, span * 0.62, span * 0.76);
        let heads = [
            (0.0, words::WHAT),
            (source_x, words::SOURCE),
            (state_x, words::STATE),
            (instead_x, words::REASON),
        ];
        let mut y = self.section(y, words::SOURCES, &note, &heads);
        for source in sources {
            let (capability, name) = (text::sentence_case(&source.capability.shown()), source.source.shown());
            let name = if name.is_empty() { "–".to_owned() } else { name };
            let status = text::source_status(source.status);
            self.within(self.left, self.left + source_x - 8.0, y, Type::Body, self.p.text, &capability);
            self.within(self.left + source_x, self.left + state_x - 8.0, y, Type::Mono, self.p.text2, &name);
            let (icon, color) = mark(source.status, self.p);
            let x = self.left + state_x;
            paint::icon(self.ui.painter(), pos2(x + 7.0, y), Type::Icon(15), color, icon);
            self.text(x + 20.0, y, Type::Small, color, status);
            let reason = source.reason.shown();
            let reason = if reason.is_empty() { "–".to_owned() } else { reason };
            self.within(self.left + instead_x, self.right, y, Type::Small, self.p.text3, &reason);
            self.told(y, "source", format!("{capability}: {name}, {status}"));
            y += ROW;
        }
        y + 14.0
    }

    fn balance(&self, y: f32, kinds: &[KindBalance], model: &Model) {
        let since = model.live().mirror().header().map(|h| h.watching_since).unwrap_or_default();
        let clock = times::minute(since, &model.zone);
        let note = words::equation(&clock);
        let span = self.right - self.left;
        let columns = [0.42, 0.58, 0.74, 0.88].map(|part| self.left + span * part);
        let mut y = self.section(y, words::BALANCE, &note, &[(0.0, words::RECORDS)]);
        for (x, head) in columns.into_iter().zip(words::ACCOUNTS) {
            let at = pos2(x, y - ROW / 2.0 - 16.0);
            paint::text(self.ui.painter(), at, Side::Right, Type::Small, self.p.text3, head);
        }
        for kind in kinds {
            let name = text::record_kind(kind.kind);
            self.text(self.left, y, Type::Body, self.p.text, name);
            let values = [kind.made, kind.delivered, kind.filtered, kind.lost];
            for (i, (x, value)) in columns.into_iter().zip(values).enumerate() {
                let lost = i == 3 && value > 0;
                let (style, color) =
                    if lost { (Type::BodyStrong, self.p.notice) } else { (Type::Number, self.p.text) };
                paint::text(self.ui.painter(), pos2(x, y), Side::Right, style, color, numbers::count(value));
            }
            self.told(y, "balance", words::account(name, values));
            y += ROW;
        }
    }
}

fn mark(status: SourceStatus, p: &Palette) -> (&'static str, egui::Color32) {
    match status {
        SourceStatus::Best | SourceStatus::Equal => (icons::CHECK, p.text2),
        SourceStatus::Reduced => (icons::WARNING, p.notice),
        SourceStatus::Missing => (icons::NO_DATA, p.notice),
    }
}
