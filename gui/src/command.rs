//! What a view may ask for, and the only place where it is done.

use sekhmet_common::{
    file::AccessId,
    rule::RuleId,
    watch::{Entry, EntryId},
};

mod lens;

use crate::{
    evidence::{self, Evidence},
    link::Link,
    model::{
        Model,
        block::{self, Choice, Consequence, Menu},
        requests::{Requests, Ticket, Wish},
        screen::{Column, Lens, Tab},
        secrets,
        tree::{Node, Row},
        watch::Form,
    },
    text::secrets as words,
};

/// One wish, pushed while drawing and carried out after the frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Select a row.
    Select(Node),
    /// Select a row of the Secrets lens.
    SelectSecret(secrets::rows::Key),
    /// Unfold a row of the Secrets lens, or fold it.
    TurnSecret(secrets::rows::Key),
    /// Go to an access in the Secrets lens.
    ShowAccess(AccessId),
    /// Go to the mark of the timeline so many places further.
    NextMark(isize),
    /// Set what stands in the editor of the watchlist.
    SetForm(Form),
    /// Watch what stands there.
    Watch,
    /// Take an entry off the watchlist.
    Unwatch(EntryId),
    /// Switch an entry on, or off.
    SwitchEntry(EntryId),
    /// Switch these entries, which have a name in common, on, or off.
    SwitchGroup(String, Vec<EntryId>, bool),
    /// Open the entry of an access in the editor, with its reader among those that are expected.
    Expect(AccessId),
    /// Tell the desktop of unexpected readers, or do not.
    SetAlerts(bool),
    /// Bring the selected row into sight.
    Reveal,
    /// Select the row so many places below the selected one.
    Move(isize),
    /// Select the first row, or the last.
    MoveToEnd(bool),
    /// Unfold the selected row or go to its first child.
    Deeper,
    /// Fold the selected row or go to its parent.
    Shallower,
    /// Unfold or fold a row.
    Unfold(Node, bool),
    /// Close the innermost thing that is open.
    StepBack,
    /// Look through another lens.
    SetLens(Lens),
    /// Search for this.
    Search(String),
    /// Show or hide LAN and loopback.
    ShowLocal(bool),
    /// Stop the picture or let it go on.
    Pause(bool),
    /// Sort by this column, or turn its order round.
    SortBy(Column),
    /// Make the inspector this wide.
    SetInspectorWidth(f32),
    /// Open or close the inspector.
    OpenInspector(bool),
    /// List something else in the inspector.
    SetTab(Tab),
    /// Show the chart as a table, or as a chart.
    ChartAsTable(bool),
    /// Show the selection alone in the chart, to its own scale.
    ChartAlone(bool),
    /// Follow the desktop's theme, or force one.
    SetTheme(egui::ThemePreference),
    /// Put text on the clipboard.
    Copy(String),
    /// Save evidence in the person's folder.
    SaveEvidence(Evidence),
    /// Try at once to reach the helper.
    Retry,
    /// Ask for the programs of other users too.
    ShowAll,
    /// Open a menu over the table, or replace it, or close it.
    SetMenu(Option<Menu>),
    /// Open the block menu of a row.
    OpenBlockMenu(Node),
    /// Block what was chosen.
    Block(Choice),
    /// Block a row's own scope at once.
    BlockAtOnce(Node),
    /// Remove a rule.
    Unblock(RuleId),
    /// Take back the last step.
    Undo,
    /// Keep the notice for a moment longer.
    KeepNotice,
    /// Take the notice away.
    DismissNotice,
    /// Close the window.
    Quit,
}

/// The wishes of one frame.
#[derive(Debug, Default)]
pub struct Commands(Vec<Command>);

impl Commands {
    /// Adds a wish.
    pub fn push(&mut self, command: Command) {
        self.0.push(command);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Carries out the wishes of a frame.
pub fn run(commands: Commands, model: &mut Model, link: &mut dyn Link, ctx: &egui::Context) {
    if commands.is_empty() {
        return;
    }
    for command in commands.0 {
        match command {
            Command::Retry => link.retry(),
            Command::ShowAll => link.show_all(),
            Command::Copy(text) => ctx.copy_text(text),
            Command::SaveEvidence(evidence) => save(&evidence, model),
            Command::SetTheme(theme) => ctx.set_theme(theme),
            Command::Block(choice) => block(&choice, model, link),
            Command::BlockAtOnce(node) => {
                if let Some(choice) = Choice::of(model.live(), &node) {
                    block(&choice, model, link);
                }
            }
            Command::Unblock(id) => unblock(id, model, link),
            Command::Undo => undo(model, link),
            Command::Watch => watch(model, link),
            Command::Unwatch(id) => {
                let uid = model.uid;
                change(id, |requests, entry| requests.unwatch(entry, uid), model, link);
            }
            Command::SwitchEntry(id) => change(id, Requests::switch, model, link),
            Command::SwitchGroup(name, ids, on) => switch_group(&name, ids, on, model, link),
            Command::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            choice => choose(choice, model),
        }
    }
    model.invalidate();
    ctx.request_repaint();
}

/// Carries out what changes nothing but the screen.
fn choose(command: Command, model: &mut Model) {
    match command {
        Command::Select(node) => model.screen.selected = Some(node),
        Command::SelectSecret(key) => lens::select(key, model),
        Command::TurnSecret(key) => lens::turn(&key, model),
        Command::ShowAccess(id) => lens::show(id, model),
        Command::NextMark(by) => lens::next_mark(by, model),
        Command::SetForm(form) => model.screen.form = form,
        Command::Expect(id) => lens::expect(id, model),
        Command::SetAlerts(on) => model.alerts.set_on(on),
        Command::Reveal => model.screen.reveal = true,
        Command::Move(by) => move_by(model, by),
        Command::MoveToEnd(last) => move_by(model, if last { isize::MAX } else { isize::MIN }),
        Command::Deeper => deeper(model),
        Command::Shallower => shallower(model),
        Command::Unfold(node, unfolded) => model.screen.set_unfolded(&node, unfolded),
        Command::StepBack => step_back(model),
        Command::SetLens(lens) => {
            model.screen.menu = None;
            model.screen.lens = lens;
            model.screen.reveal = true;
        }
        Command::Search(text) => model.screen.search_for(&text),
        Command::ShowLocal(local) => model.screen.local = local,
        Command::Pause(paused) => model.set_paused(paused),
        Command::SortBy(column) => {
            model.screen.sort_by(column);
            model.hold(false);
        }
        Command::SetInspectorWidth(width) => {
            let range = crate::theme::measure::INSPECTOR_RANGE;
            model.screen.inspector_width = width.clamp(*range.start(), *range.end());
        }
        Command::OpenInspector(open) => {
            model.screen.inspector_open = open;
            if !open {
                (model.screen.selected, model.screen.secret) = (None, None);
            }
        }
        Command::ChartAsTable(table) => model.screen.chart_as_table = table,
        Command::ChartAlone(alone) => model.screen.chart_alone = alone,
        Command::SetTab(tab) => model.screen.tab = tab,
        Command::SetMenu(menu) => model.screen.menu = menu,
        Command::OpenBlockMenu(node) => {
            model.screen.menu = Choice::of(model.live(), &node).map(Menu::Block);
        }
        Command::KeepNotice => model.requests.keep_notice(),
        Command::DismissNotice => model.requests.dismiss(),
        Command::SetTheme(_)
        | Command::Copy(_)
        | Command::SaveEvidence(_)
        | Command::Retry
        | Command::ShowAll
        | Command::Block(_)
        | Command::BlockAtOnce(_)
        | Command::Unblock(_)
        | Command::Undo
        | Command::Watch
        | Command::Unwatch(_)
        | Command::SwitchEntry(_)
        | Command::SwitchGroup(..)
        | Command::Quit => {}
    }
}

fn save(evidence: &Evidence, model: &mut Model) {
    let saved = model.saves_to.clone().ok_or_else(|| std::io::ErrorKind::NotFound.into());
    match saved.and_then(|folder| evidence::save(&folder, model.live().now(), evidence)) {
        Ok(path) => {
            let path = model.path(&sekhmet_common::display::Text::from(path.to_string_lossy().as_ref()));
            model.requests.tell(words::saved(&path), false);
        }
        Err(error) => model.requests.tell(words::not_saved(&error.to_string()), true),
    }
}

fn block(choice: &Choice, model: &mut Model, link: &mut dyn Link) {
    model.screen.menu = None;
    let offers = block::offers(model.live(), &choice.node);
    let Some(offer) = offers.into_iter().find(|offer| offer.scope == choice.scope) else { return };
    let closes = Consequence::of(model.live(), choice).closes;
    let wish = model.requests.block(&choice.node, &offer.name, choice.draft(), closes);
    ask(wish, model, link);
}

fn unblock(id: RuleId, model: &mut Model, link: &mut dyn Link) {
    model.screen.menu = None;
    let Some(rule) = model.live().mirror().rule(id).filter(|_| !model.requests.is_removing(id)).cloned()
    else {
        return;
    };
    let wish = model.requests.unblock(&rule);
    ask(wish, model, link);
}

fn watch(model: &mut Model, link: &mut dyn Link) {
    let form = std::mem::take(&mut model.screen.form);
    let replaced = form.replaces.and_then(|id| model.live().mirror().entry(id)).cloned();
    let wish = model.requests.watch(&form, replaced.as_ref());
    ask(wish, model, link);
}

/// Asks for those that are not yet as wished; what is being changed is left to its own request.
fn switch_group(name: &str, ids: Vec<EntryId>, on: bool, model: &mut Model, link: &mut dyn Link) {
    let mirror = model.live().mirror();
    let differs = |id: &EntryId| mirror.entry(*id).is_some_and(|entry| entry.enabled != on);
    let ids: Vec<EntryId> =
        ids.into_iter().filter(|id| differs(id) && !model.requests.is_changing(*id)).collect();
    if !ids.is_empty() {
        let wish = model.requests.switch_all(name, ids, on);
        ask(wish, model, link);
    }
}

fn change(
    id: EntryId,
    wish: impl FnOnce(&mut Requests, &Entry) -> (Ticket, Wish),
    model: &mut Model,
    link: &mut dyn Link,
) {
    let Some(entry) = model.live().mirror().entry(id).cloned() else { return };
    if model.requests.is_changing(id) {
        return;
    }
    let wish = wish(&mut model.requests, &entry);
    ask(wish, model, link);
}

fn undo(model: &mut Model, link: &mut dyn Link) {
    if let Some(wish) = model.undo() {
        ask(wish, model, link);
    }
}

fn ask((ticket, wish): (Ticket, Wish), model: &mut Model, link: &mut dyn Link) {
    if let Err(reason) = link.wish(ticket, wish) {
        model.requests.answer(ticket, Err(reason.to_owned()));
    }
}

fn selected_row(model: &Model) -> Option<(usize, &Row)> {
    let index = model.selected_index()?;
    Some((index, model.tree().rows.get(index)?))
}

fn move_by(model: &mut Model, by: isize) {
    if model.screen.lens == Lens::Secrets {
        return lens::move_by(by, model);
    }
    let rows = &model.tree().rows;
    let Some(last) = rows.len().checked_sub(1) else { return };
    let next = match model.selected_index() {
        Some(index) => index.saturating_add_signed(by).min(last),
        None if by > 1 => last,
        None => 0,
    };
    let node = rows.get(next).map(|row| row.node.clone());
    model.screen.selected = node;
    model.screen.reveal = true;
    model.hold_for_key();
}

fn deeper(model: &mut Model) {
    if model.screen.lens == Lens::Secrets {
        return lens::unfold(true, model);
    }
    let Some((_, row)) = selected_row(model) else { return move_by(model, 0) };
    match (row.unfolded, row.node.clone()) {
        (Some(false), node) => model.screen.set_unfolded(&node, true),
        (Some(true), _) => move_by(model, 1),
        (None, _) => {}
    }
    model.hold_for_key();
}

fn shallower(model: &mut Model) {
    if model.screen.lens == Lens::Secrets {
        return lens::unfold(false, model);
    }
    let Some((_, row)) = selected_row(model) else { return };
    let node = row.node.clone();
    if row.unfolded == Some(true) {
        model.screen.set_unfolded(&node, false);
    } else if let Some(parent) = node.parent() {
        model.screen.selected = Some(parent);
        model.screen.reveal = true;
    }
    model.hold_for_key();
}

/// One step back at a time: inspector over the table, search, pause, selection, lens.
fn step_back(model: &mut Model) {
    if model.screen.menu.is_some() {
        model.screen.menu = None;
    } else if model.screen.inspector_open {
        model.screen.inspector_open = false;
    } else if !model.screen.search.is_empty() {
        model.screen.search_for("");
    } else if model.paused().is_some() {
        model.set_paused(false);
    } else if model.screen.selected.is_some() || model.screen.secret.is_some() {
        (model.screen.selected, model.screen.secret) = (None, None);
    } else {
        model.screen.lens = Lens::Everything;
    }
}
