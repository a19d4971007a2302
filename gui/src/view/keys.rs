//! What the keyboard does.

use egui::{Key, Modifiers, Ui};

use super::{Grid, Shown, panes};
use crate::{
    command::{Command, Commands},
    model::{Model, block, screen::Lens},
};

/// Where the search box's focus is asked for.
pub(super) fn search_id() -> egui::Id {
    egui::Id::unique("search box")
}

/// Reads the keys of this frame.
pub(super) fn read(ui: &Ui, grid: &Grid, model: &Model, shown: &Shown, commands: &mut Commands) {
    let pressed = |key: Key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
    if pressed(Key::Escape) {
        if shown.searching {
            ui.memory_mut(|m| m.surrender_focus(search_id()));
        }
        commands.push(Command::StepBack);
    }
    panes::keys(ui, grid);
    if shown.searching {
        if pressed(Key::ArrowDown) || pressed(Key::Enter) {
            ui.memory_mut(|m| m.surrender_focus(search_id()));
            commands.push(Command::Move(0));
        }
        return;
    }
    if shown.typing {
        return;
    }
    if super::menu::keys(ui, model, commands) || egui::Popup::is_any_open(ui.ctx()) {
        return;
    }
    let slash = ui.input(|i| i.events.iter().any(|e| matches!(e, egui::Event::Text(t) if t == "/")));
    if slash || ui.input_mut(|i| i.consume_key(Modifiers::CTRL, Key::F)) {
        ui.memory_mut(|m| m.request_focus(search_id()));
        return;
    }
    // A control that has the focus keeps the keys that work it.
    let on_control = ui.memory(|m| m.focused()).is_some() && !panes::is_focused(ui);
    for (key, command) in [
        (Key::ArrowUp, Command::Move(-1)),
        (Key::ArrowDown, Command::Move(1)),
        (Key::PageUp, Command::Move(-10)),
        (Key::PageDown, Command::Move(10)),
        (Key::Home, Command::MoveToEnd(false)),
        (Key::End, Command::MoveToEnd(true)),
        (Key::ArrowRight, Command::Deeper),
        (Key::ArrowLeft, Command::Shallower),
        (Key::L, Command::ShowLocal(!model.screen.local)),
        (Key::OpenBracket, Command::NextMark(-1)),
        (Key::CloseBracket, Command::NextMark(1)),
        (Key::T, Command::ChartAsTable(!model.screen.chart_as_table)),
        (Key::Z, Command::ChartAlone(!model.screen.chart_alone)),
    ] {
        if pressed(key) {
            commands.push(command);
        }
    }
    if !on_control {
        if pressed(Key::Space) {
            commands.push(Command::Pause(model.paused().is_none()));
        }
        if pressed(Key::Enter) && model.screen.selected.is_some() {
            commands.push(Command::OpenInspector(true));
        }
    }
    decisions(ui, model, commands);
    if pressed(Key::Num0) {
        commands.push(Command::Pause(false));
    }
    let digits =
        [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6, Key::Num7, Key::Num8, Key::Num9];
    for (key, lens) in digits.into_iter().zip(Lens::ALL) {
        if pressed(key) {
            commands.push(Command::SetLens(lens));
        }
    }
    if ui.input_mut(|i| i.consume_key(Modifiers::CTRL, Key::Q)) {
        commands.push(Command::Quit);
    }
}

/// Keys that block and take back.
fn decisions(ui: &Ui, model: &Model, commands: &mut Commands) {
    let pressed = |modifiers, key| ui.input_mut(|i| i.consume_key(modifiers, key));
    if pressed(Modifiers::CTRL, Key::Z) || pressed(Modifiers::NONE, Key::U) {
        commands.push(Command::Undo);
    }
    // On a host or a connection, the keys are about its process.
    let mut node = model.screen.selected.clone().filter(|_| model.can_block());
    while let Some(n) = &node
        && !block::is_offered(model.live(), n)
    {
        node = n.parent();
    }
    let Some(node) = node else { return };
    if pressed(Modifiers::SHIFT, Key::B) {
        commands.push(Command::BlockAtOnce(node));
    } else if pressed(Modifiers::NONE, Key::B) {
        commands.push(Command::Reveal);
        commands.push(Command::OpenBlockMenu(node));
    }
}
