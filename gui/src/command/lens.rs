//! What commands do in the Secrets lens.

use sekhmet_common::file::AccessId;

use crate::model::{
    Model,
    screen::Lens,
    secrets::{
        Opening,
        rows::{Expected, Key, Row},
    },
    tree::Node,
    watch::Form,
};

/// Selects a row; the program or process that it is about is selected with it, if it is still listed.
pub(super) fn select(key: Key, model: &mut Model) {
    model.screen.selected = node_of(&key, model);
    model.screen.secret = Some(key);
}

/// The row of the tree that a row is about.
fn node_of(key: &Key, model: &Model) -> Option<Node> {
    let ledger = model.ledger();
    let (program, process) = match key {
        Key::Section(_) => return None,
        Key::Program(_, program) => (program, None),
        Key::Process(program, id) => (program, Some(*id)),
        Key::File(_, program, id, ..) => (program, *id),
    };
    let process = process.filter(|id| ledger.proc(Some(*id)).is_some());
    match (process, key) {
        (Some(id), _) => Some(Node::Process(program.clone(), Some(id))),
        (None, Key::Process(..)) => None,
        (None, _) => ledger.group(program).map(|_| Node::Group(program.clone())),
    }
}

/// Unfolds what is folded, and the other way round.
pub(super) fn turn(key: &Key, model: &mut Model) {
    if !model.screen.secrets_turned.remove(key) {
        model.screen.secrets_turned.insert(key.clone());
    }
}

/// Goes to an access: its row is unfolded, selected and brought into sight.
pub(super) fn show(id: AccessId, model: &mut Model) {
    let Some(Opening { access, reader }) = model.ledger().secrets().opening(id) else { return };
    let process = (!access.expected).then_some(access.process);
    let program = reader.program.clone();
    let key =
        Key::File(Expected(access.expected), program.clone(), process, access.path.clone(), access.entry);
    let folds = access.expected.then_some(Key::Program(Expected(true), program));
    let mut above = key.parent();
    while let Some(row) = above {
        above = row.parent();
        model.screen.secrets_turned.remove(&row);
    }
    // Those that are expected are folded unless somebody unfolds them.
    model.screen.secrets_turned.extend(folds);
    if model.screen.lens != Lens::Secrets {
        model.screen.search_for("");
        model.screen.lens = Lens::Secrets;
    }
    model.screen.menu = None;
    select(key, model);
    model.screen.reveal = true;
}

/// Goes to the mark after the selected access, or before it.
pub(super) fn next_mark(by: isize, model: &mut Model) {
    let secrets = model.ledger().secrets();
    let marks: Vec<AccessId> = secrets.unexpected().iter().map(|o| o.access.id).collect();
    let Some(last) = marks.len().checked_sub(1) else { return };
    let current = match &model.screen.secret {
        Some(Key::File(_, _, process, path, entry)) => marks.iter().rposition(|id| {
            secrets.opening(*id).is_some_and(|o| {
                o.access.path == *path
                    && o.access.entry == *entry
                    && process.is_none_or(|p| p == o.access.process)
            })
        }),
        _ => None,
    };
    let next = current.map_or(last, |at| at.saturating_add_signed(by).min(last));
    if let Some(id) = marks.get(next) {
        show(*id, model);
    }
}

/// Opens the entry of an access in the editor, with its reader among those that are expected.
pub(super) fn expect(id: AccessId, model: &mut Model) {
    let Some(Opening { access, reader }) = model.ledger().secrets().opening(id) else { return };
    let Some(entry) = model.ledger().mirror().entry(access.entry) else { return };
    model.screen.form = Form::expecting(entry, &reader.exe);
    model.screen.lens = Lens::Watchlist;
}

fn rows(model: &Model) -> impl Iterator<Item = &Row> {
    model.secrets().rows.iter().filter(|row| !matches!(row.key, Key::Section(_)))
}

fn selected(model: &Model) -> Option<usize> {
    let key = model.screen.secret.as_ref()?;
    rows(model).position(|row| row.key == *key)
}

/// Selects the row so many places below the selected one.
pub(super) fn move_by(by: isize, model: &mut Model) {
    let Some(last) = rows(model).count().checked_sub(1) else { return };
    let next = match selected(model) {
        Some(at) => at.saturating_add_signed(by).min(last),
        None if by > 1 => last,
        None => 0,
    };
    let key = rows(model).nth(next).map(|row| row.key.clone());
    if let Some(key) = key {
        select(key, model);
    }
    model.screen.reveal = true;
    model.hold_for_key();
}

/// Unfolds the selected row or goes to its first child; folds it or goes to its parent.
pub(super) fn unfold(deeper: bool, model: &mut Model) {
    let row = selected(model).and_then(|at| rows(model).nth(at)).map(|row| (row.key.clone(), row.unfolded));
    let Some((key, unfolded)) = row else { return move_by(0, model) };
    match (deeper, unfolded) {
        (true, Some(false)) | (false, Some(true)) => turn(&key, model),
        (true, Some(true)) => return move_by(1, model),
        (true, None) => {}
        (false, _) => {
            if let Some(parent) = key.parent() {
                select(parent, model);
                model.screen.reveal = true;
            }
        }
    }
    model.hold_for_key();
}
