//! Marks over the chart: when an unexpected reader opened a watched file.

use egui::{Painter, Rangef, Rect, Role, Ui, pos2, vec2};
use sekhmet_common::file::AccessId;

use super::{LANE, chart::Chart};
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        ledger::second_of,
        secrets::{Opening, rows::Key},
        tree::Node,
    },
    text::{self, numbers, secrets as words, times},
    theme::{Palette, Type, palette},
    widget::{
        button,
        paint::{self, Bars, Side},
    },
};

/// Marks that are nearer to each other stand as one with a count.
const NEAR: f32 = 12.0;
/// The same where a count stands beside the icon, which the next icon must not cover.
const COUNTED: f32 = 26.0;

/// Marks that stand as one.
struct Mark {
    x: f32,
    accesses: Vec<AccessId>,
    /// Whether one of them is of what is selected.
    own: bool,
}

/// Draws the marks of the window.
pub(super) fn show(ui: &Ui, chart: &Chart, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let selection = model.screen.selected.is_some();
    for mark in marks(ui.painter(), chart, model) {
        let dimmed = selection && !mark.own;
        let color = if dimmed { p.text3 } else { p.secret };
        hairline(ui.painter(), mark.x, chart.plot.y_range(), color, dimmed);
        mark_ui(ui, &mark, chart, color, model, commands, p);
    }
}

fn marks(painter: &Painter, chart: &Chart, model: &Model) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for opening in model.ledger().secrets().unexpected() {
        let Some(x) = chart.x_of(painter, second_of(opening.access.at)) else { continue };
        let own = is_selected(opening, model);
        match marks.last_mut() {
            Some(last) if (x - last.x).abs() < if last.accesses.len() > 1 { COUNTED } else { NEAR } => {
                last.accesses.push(opening.access.id);
                last.own |= own;
            }
            _ => marks.push(Mark { x, accesses: vec![opening.access.id], own }),
        }
    }
    marks
}

/// Whether an access belongs to the selected row.
fn is_selected(opening: &Opening, model: &Model) -> bool {
    if let Some(Key::File(_, _, process, path, _)) = &model.screen.secret
        && model.screen.lens == crate::model::screen::Lens::Secrets
    {
        return opening.access.path == *path && process.is_none_or(|id| id == opening.access.process);
    }
    match &model.screen.selected {
        Some(Node::Group(key)) => opening.reader.program == *key,
        Some(Node::Process(_, id) | Node::Host(_, id, _) | Node::Flow(_, id, ..)) => {
            *id == Some(opening.access.process)
        }
        Some(Node::Exited) | None => false,
    }
}

/// A dashed line through the chart: 2 on, 2 off; of other programs 1 on, 3 off.
fn hairline(painter: &Painter, x: f32, y: Rangef, color: egui::Color32, dimmed: bool) {
    let (on, off) = if dimmed { (1.0, 3.0) } else { (2.0, 2.0) };
    let (x, line) = (paint::snap(painter, x), paint::pixels(painter, 1.0));
    let mut dashes = Bars::default();
    let mut top = paint::snap(painter, y.min);
    while top < y.max {
        dashes.add(Rangef::new(x, x + line), Rangef::new(top, (top + on).min(y.max)), color);
        top += on + off;
    }
    dashes.draw(painter);
}

fn mark_ui(
    ui: &Ui,
    mark: &Mark,
    chart: &Chart,
    color: egui::Color32,
    model: &Model,
    commands: &mut Commands,
    p: &Palette,
) {
    let centre = pos2(mark.x, chart.plot.top() - LANE / 2.0);
    let secrets = model.ledger().secrets();
    let Some(newest) = mark.accesses.last().and_then(|id| secrets.opening(*id)) else { return };
    let mut told: Vec<String> = Vec::new();
    for opening in mark.accesses.iter().rev().take(8).filter_map(|id| secrets.opening(*id)) {
        let access = &opening.access;
        let clock = times::clock(access.at, &model.zone);
        told.push(words::mark(
            &clock,
            &opening.reader.name,
            access.access,
            access.result,
            &model.path(&access.path),
        ));
    }
    if mark.accesses.len() > told.len() {
        told.push(text::more(mark.accesses.len() - told.len()));
    }
    let told = told.join("\n");
    let target = Rect::from_center_size(centre, vec2(24.0, LANE));
    let id = ui.scope_id().with(("mark", newest.access.id));
    let response = button::place(ui, target, id, Role::Button, &told);
    if response.hovered() {
        ui.painter().rect_filled(target, 4.0, p.sel);
    }
    let painter = ui.painter();
    if mark.accesses.len() > 1 {
        paint::icon(painter, centre - vec2(5.0, 0.0), Type::IconFill(14), color, icons::KEY);
        let count = numbers::count(mark.accesses.len() as u64);
        paint::text(painter, centre + vec2(4.0, 0.0), Side::Left, Type::Caption, color, count);
    } else {
        paint::icon(painter, centre, Type::IconFill(14), color, icons::KEY);
    }
    if response.on_hover_text(told).clicked() {
        commands.push(Command::ShowAccess(newest.access.id));
    }
}
