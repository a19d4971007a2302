//! The inspector's part in decisions: what was refused, and the button at its foot.

use egui::{Rect, Role, Stroke, StrokeKind, Ui, pos2, vec2};

use super::{
    PAD,
    entries::{Amount, Entry, Target, by_total},
};
use crate::{
    command::{Command, Commands},
    icons,
    model::{
        Model,
        block::{self, Menu},
        key::Member,
        tree::Node,
        verdict::{self, Verdict, Verdicts},
    },
    text::{rule, times},
    theme::{Type, palette},
    view::Shown,
    widget::{button, paint},
};

/// Draws the button that is always at the foot, where there is something to block. Returns the height above it.
pub(super) fn foot(
    ui: &Ui,
    rect: Rect,
    model: &Model,
    node: &Node,
    shown: &mut Shown,
    commands: &mut Commands,
) -> f32 {
    if !model.can_block() || !block::is_offered(model.live(), node) {
        return rect.bottom();
    }
    let p = palette(ui.ctx());
    let top = rect.bottom() - 52.0;
    paint::hline(ui.painter(), rect.x_range(), top, p.line);
    let name = model.words(node).name;
    let blocked = verdict_of(model, node).rule;
    let label = if blocked.is_some() { rule::WHY.to_owned() } else { rule::title(&name) };
    let place =
        Rect::from_min_size(pos2(rect.left() + PAD, top + 11.0), vec2(rect.width() - 2.0 * PAD, 30.0));
    let response = button::place(ui, place, ui.scope_id().with("block"), Role::Button, &label);
    let painter = ui.painter();
    let fill = if response.hovered() { p.sel } else { p.bg };
    painter.rect(place, 4.0, fill, Stroke::new(1.0, p.edge), StrokeKind::Inside);
    let width = paint::width(painter, Type::BodyMedium, &label).min(place.width() - 72.0);
    let x = place.center().x - width / 2.0;
    let middle = place.center().y;
    paint::icon(painter, pos2(x - 14.0, middle), Type::IconBold(14), p.text, icons::BLOCK);
    let range = egui::Rangef::new(x, place.right() - 36.0);
    let (words, _) = paint::text_within(painter, range, middle, Type::BodyMedium, p.text, &label);
    let at = pos2(words.right() + 14.0, middle);
    paint::icon(painter, at, Type::IconBold(10), p.text2, icons::CARET_DOWN);
    button::focus_ring(ui, &response);
    let open = model.screen.menu.as_ref().is_some_and(|menu| menu.node() == node);
    // The menu stands at the row; here only if the row is out of sight.
    if open && shown.anchor.is_none() {
        shown.anchor = Some(place);
    }
    if response.clicked() {
        commands.push(match (open, blocked) {
            (true, _) => Command::SetMenu(None),
            (false, Some(id)) => Command::SetMenu(Some(Menu::Reason(node.clone(), id))),
            (false, None) => Command::OpenBlockMenu(node.clone()),
        });
    }
    top
}

/// The verdict on a row.
pub(in crate::view) fn verdict_of(model: &Model, node: &Node) -> Verdict {
    let ledger = model.ledger();
    let verdicts = Verdicts::of(ledger.mirror());
    match node {
        Node::Group(key) => ledger.group(key).map(|g| verdicts.group(ledger, g)).unwrap_or_default(),
        Node::Process(_, member) => {
            ledger.proc(*member).map(|p| verdicts.proc(*member, p)).unwrap_or_default()
        }
        _ => Verdict::default(),
    }
}

/// What was refused to a row, most often first.
pub(super) fn refusals(model: &Model, node: &Node) -> Vec<Entry> {
    let ledger = model.ledger();
    let (members, host): (Vec<Member>, _) = match node {
        Node::Group(key) => {
            (ledger.group(key).map(|g| g.members.iter().copied().collect()).unwrap_or_default(), None)
        }
        Node::Process(_, member) => (vec![*member], None),
        Node::Host(_, member, host) => (vec![*member], Some(host)),
        Node::Exited | Node::Flow(..) => return vec![],
    };
    let mut entries = Vec::new();
    for member in members {
        let Some(proc) = ledger.proc(member) else { continue };
        for refusal in ledger.mirror().refusals_of(member) {
            let to = verdict::host_of(refusal);
            if host.is_some_and(|host| *host != to) {
                continue;
            }
            let last = times::ago(refusal.last_at, ledger.now(), &model.zone);
            entries.push(Entry {
                name: to.label(),
                detail: rule::refusal(refusal, &last),
                target: Target::Node(Node::Host(proc.program.clone(), member, to)),
                amount: Amount::Refused(refusal.attempts),
                ended: false,
            });
        }
    }
    by_total(entries)
}
