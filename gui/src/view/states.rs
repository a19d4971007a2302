//! What stands instead of the table, or over it, when things are not as usual.

use std::time::Instant;

use egui::{Rect, Role, Ui, pos2};

use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, screen::Lens, search, status::Status},
    text::{self, state, times},
    theme::{Type, palette},
    widget::{
        button::{self, Look},
        paint::{self, Side},
        strip::{self, Strip},
    },
};

/// One state that fills the table's place.
struct State<'a> {
    icon: &'a str,
    heading: &'a str,
    sentence: &'a str,
    /// What the other side said, for those who look into it.
    answer: Option<&'a str>,
}

impl State<'_> {
    /// Draws heading and sentence. Returns where actions may stand: left edge and middle.
    fn show(&self, ui: &Ui, rect: Rect) -> (f32, f32) {
        let p = palette(ui.ctx());
        let painter = ui.painter();
        let left = rect.left() + 40.0;
        let mut y = rect.top() + (rect.height() * 0.24).clamp(40.0, 160.0);
        paint::icon(painter, pos2(left + 13.0, y), Type::Icon(26), p.text2, self.icon);
        y += 34.0;
        paint::text(painter, pos2(left, y), Side::Left, Type::Heading, p.text, self.heading);
        y += 16.0;
        let width = (rect.width() - 80.0).clamp(120.0, 420.0);
        let told = paint::paragraph(painter, pos2(left, y), width, 4, Type::Body, p.text2, self.sentence);
        y = told.bottom() + 4.0;
        if let Some(answer) = self.answer {
            let words = state::answer(answer);
            let told = paint::paragraph(painter, pos2(left, y), width, 3, Type::Small, p.text3, &words);
            y = told.bottom() + 4.0;
        }
        let label = format!("{}. {}", self.heading, self.sentence);
        let response = ui.interact(
            Rect::from_min_max(pos2(left, rect.top()), pos2(left + width, y)),
            ui.scope_id().with("state"),
            egui::Sense::hover(),
        );
        response.widget_info(|| egui::WidgetInfo::labeled(Role::Status, true, &label));
        (left, y + 24.0)
    }
}

/// One state with its heading and a sentence. Returns where an action may stand: left edge and middle.
pub(super) fn state(
    ui: &Ui,
    rect: Rect,
    icon: &str,
    heading: &str,
    sentence: &str,
    answer: Option<&str>,
) -> (f32, f32) {
    State { icon, heading, sentence, answer }.show(ui, rect)
}

/// Before there was any data: why, and what to do.
pub(super) fn instead(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let (state, action) = match &model.status {
        Status::NoHelper { error, .. } => (
            State {
                icon: icons::NO_HELPER,
                heading: state::NO_HELPER,
                sentence: state::NO_HELPER_TEXT,
                answer: Some(error),
            },
            Some((state::START_HELPER, None)),
        ),
        Status::Refused { error } => (
            State {
                icon: icons::NOT_AUTHORISED,
                heading: state::REFUSED,
                sentence: state::REFUSED_TEXT,
                answer: Some(error),
            },
            Some((state::ALLOW, Some(icons::ASKS))),
        ),
        _ => (
            State {
                icon: icons::NO_HELPER,
                heading: state::CONNECTING,
                sentence: state::CONNECTING_TEXT,
                answer: None,
            },
            None,
        ),
    };
    let (left, middle) = state.show(ui, rect);
    if let Some((label, icon)) = action {
        let id = ui.scope_id().with("state action");
        if button::button(ui, left, middle, id, Look::Primary, icon, label).clicked() {
            commands.push(Command::Retry);
        }
    }
}

/// No rows: nothing has talked, nothing does under this lens, or nothing matches.
pub(super) fn empty(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let screen = &model.screen;
    if !screen.query.is_empty() {
        return empty_search(ui, rect, model, commands);
    }
    let since = model.live().mirror().header().map(|h| h.watching_since).unwrap_or_default();
    let watching = state::nothing_text(&times::clock(since, &model.zone));
    let first = screen.lens == Lens::Everything;
    State {
        icon: icons::NOTHING,
        heading: if first { state::NOTHING } else { state::NOTHING_HERE },
        sentence: if first { &watching } else { state::NOTHING_HERE_TEXT },
        answer: None,
    }
    .show(ui, rect);
}

fn empty_search(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) {
    let screen = &model.screen;
    let mut sentence = state::empty_search_text(&screen.search, screen.query.host());
    if !screen.local {
        sentence = format!("{sentence} {}", state::SEARCH_LOCAL);
    }
    let state =
        State { icon: icons::SEARCH, heading: state::EMPTY_SEARCH, sentence: &sentence, answer: None };
    let (left, mut middle) = state.show(ui, rect);
    if let Some(host) = meant(model) {
        let suggestion = state::did_you_mean(&host);
        let at = pos2(left, middle);
        let p = palette(ui.ctx());
        let lead = paint::text(ui.painter(), at, Side::Left, Type::Body, p.text2, state::DID_YOU_MEAN);
        let id = ui.scope_id().with("did you mean");
        let x = lead.right() + 5.0;
        if button::button(ui, x, middle, id, Look::Link, None, &suggestion).clicked() {
            commands.push(Command::Search(suggestion));
        }
        middle += 36.0;
    }
    let id = ui.scope_id().with("clear");
    let clear = button::button(ui, left, middle, id, Look::Outline, None, state::CLEAR);
    button::key_cap(ui, clear.rect.right() + 8.0, middle, text::key::ESC, palette(ui.ctx()));
    if clear.clicked() {
        commands.push(Command::Search(String::new()));
    }
}

/// The host that was meant, if a name of one is near.
fn meant(model: &Model) -> Option<String> {
    let typed = model.screen.query.host()?;
    let ledger = model.ledger();
    let members = ledger.programs().values().flat_map(|g| &g.members);
    let names: Vec<String> = members
        .filter_map(|m| ledger.proc(*m))
        .flat_map(|p| p.hosts.iter())
        .filter(|(_, host)| ledger.host_figures(host).talked(model.screen.local))
        .map(|(key, _)| key.label())
        .collect();
    search::nearest(typed, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Draws the strips that apply, from above. Returns what is left.
pub(super) fn strips(ui: &Ui, rect: Rect, model: &Model, commands: &mut Commands) -> Rect {
    let mut rest = rect;
    let mut show = |strip: Strip<'_>, name: &str, command: Command| {
        let (line, below) = rest.split_top_bottom_at_y(rest.top() + strip::HEIGHT);
        rest = below;
        if strip.show(ui, line, ui.scope_id().with(name)).is_some_and(|r| r.clicked()) {
            commands.push(command);
        }
    };
    match &model.status {
        Status::Lost { since, retry_at, .. } => {
            let away = sekhmet_common::time::Timestamp::now().nanos_since(*since) / 1_000_000_000;
            let sentence = state::lost_text(&times::clock(*since, &model.zone), retry_at.map(seconds_to));
            let heading = state::lost(away);
            let strip = Strip {
                notice: true,
                icon: Some(icons::NO_HELPER),
                heading: &heading,
                sentence: &sentence,
                action: Some((state::TRY_NOW, None)),
            };
            show(strip, "lost", Command::Retry);
        }
        Status::Refused { error } => {
            let sentence = state::answer(error);
            let strip = Strip {
                notice: true,
                icon: Some(icons::NOT_AUTHORISED),
                heading: state::REFUSED,
                sentence: &sentence,
                action: Some((state::ALLOW, None)),
            };
            show(strip, "refused", Command::Retry);
        }
        _ => {}
    }
    if let Some((_, events)) = model.paused() {
        let sentence = text::paused_strip(events);
        let action = Some((text::GO_LIVE, Some(text::key::SPACE)));
        let strip = Strip { notice: false, icon: None, heading: "", sentence: &sentence, action };
        show(strip, "paused", Command::Pause(false));
    }
    if model.screen.all_refused && model.own_only() {
        let strip = Strip {
            notice: false,
            icon: Some(icons::NOT_AUTHORISED),
            heading: state::OWN_ONLY,
            sentence: state::OWN_ONLY_TEXT,
            action: Some((text::SHOW_ALL, None)),
        };
        show(strip, "own only", Command::ShowAll);
    }
    if model.health().reduced && model.screen.lens != Lens::Coverage {
        let strip = Strip {
            notice: true,
            icon: Some(icons::WARNING),
            heading: state::REDUCED,
            sentence: state::REDUCED_TEXT,
            action: Some((state::WHAT_IS_MISSING, None)),
        };
        show(strip, "reduced", Command::SetLens(Lens::Coverage));
    }
    rest
}

/// Whole seconds until then.
fn seconds_to(then: Instant) -> u64 {
    then.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000) as u64
}
