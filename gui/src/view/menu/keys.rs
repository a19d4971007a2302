//! What the keyboard does while a menu is open.

use egui::{Key, Modifiers, Ui};

use crate::{
    command::{Command, Commands},
    model::{
        Model,
        block::{self, Choice, Menu, Span},
    },
    view::panes,
};

/// The keys of an open menu. Returns whether there is one.
pub(in crate::view) fn keys(ui: &Ui, model: &Model, commands: &mut Commands) -> bool {
    let Some(menu) = &model.screen.menu else { return false };
    let pressed = |key: Key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
    // A control of the menu that has the focus is worked by Enter and Space itself.
    let on_control = ui.memory(|m| m.focused()).is_some() && !panes::is_focused(ui);
    match menu {
        Menu::Block(choice) => {
            let step = |key, by: isize| if pressed(key) { by } else { 0 };
            let scope = step(Key::ArrowDown, 1) + step(Key::ArrowUp, -1);
            let span = step(Key::ArrowRight, 1) + step(Key::ArrowLeft, -1);
            if scope != 0 || span != 0 {
                commands.push(Command::SetMenu(Some(Menu::Block(moved(choice, scope, span, model)))));
            }
            if !on_control && pressed(Key::Enter) {
                commands.push(Command::Block(choice.clone()));
            }
        }
        Menu::Reason(_, id) => {
            if !on_control && pressed(Key::Enter) {
                commands.push(Command::Unblock(*id));
            }
        }
    }
    true
}

/// The choice some places further, as far as there are any.
fn moved(choice: &Choice, scope: isize, span: isize, model: &Model) -> Choice {
    let mut next = choice.clone();
    let offers = block::offers(model.live(), &choice.node);
    if let Some(at) = offers.iter().position(|o| o.scope == choice.scope)
        && let Some(offer) = offers.get(at.saturating_add_signed(scope))
    {
        next = next.with_scope(offer.scope);
    }
    let spans: Vec<Span> = Span::ALL.into_iter().filter(|s| s.suits(next.scope)).collect();
    if let Some(at) = spans.iter().position(|s| *s == next.span)
        && let Some(to) = spans.get(at.saturating_add_signed(span))
    {
        next.span = *to;
    }
    next
}
