//! The way to the helper. The only file that knows the client library.

use std::{collections::HashMap, io, time::Duration};

use crossbeam_channel::{Receiver, bounded};
use sekhmet_client::{
    Command, CommandError, Link as Client, Options, Outcome, Refusal, Request, Update as Told, View,
    update::CommandId,
    watchlist::{Change, Settings},
};
use sekhmet_common::{
    event::Event,
    time::Timestamp,
    watch::{Entry, EntryDraft},
};

use super::{Link, Update};
use crate::{
    model::requests::{Done, Ticket, Wish},
    text::rule,
};

/// Frames that may wait for the window. Beyond it the client reads no further, and the helper answers with a
/// fresh snapshot instead of a growing queue.
const WAITING_MAX: usize = 256;

/// A connection that keeps itself alive.
pub(super) struct Live {
    client: Client,
    inbox: Receiver<Told>,
    request: Request,
    /// Whether the last answer was a refusal, so that another try needs the person.
    refused: bool,
    /// Commands without an answer yet.
    commands: HashMap<CommandId, Ticket>,
}

impl Live {
    /// Starts the client's thread. Everything is asked for first, without a dialog; who may not see that
    /// gets the own programs.
    pub(super) fn spawn(ctx: egui::Context) -> io::Result<Self> {
        let (outbox, inbox) = bounded(WAITING_MAX);
        let request = Request { view: View::All, interactive: false };
        let client = Client::spawn(Options { address: None, request }, move |told| {
            let wake_in = patience(&told);
            // Nobody takes it only while the window is closing.
            drop(outbox.send(told));
            ctx.request_repaint_after(wake_in);
        })?;
        Ok(Self { client, inbox, request, refused: false, commands: HashMap::new() })
    }

    fn ask(&mut self, view: View, interactive: bool) {
        self.request = Request { view, interactive };
        self.client.ask(self.request);
    }

    fn translate(&mut self, told: Told) -> Option<Update> {
        if !matches!(told, Told::CommandDone { .. }) {
            self.refused = matches!(told, Told::Refused { .. });
        }
        match told {
            Told::Connected { .. } => Some(Update::Connected),
            Told::Events(events) => Some(Update::Events(events)),
            Told::Lost { reason, retry_in } => {
                Some(Update::Lost { reason: reason.to_string(), retry_in: Some(retry_in) })
            }
            Told::Refused { error: Refusal::NotAuthorized | Refusal::InteractionRequired }
                if self.request.view == View::All =>
            {
                let asked_for = self.request.interactive;
                self.ask(View::Own, false);
                asked_for.then_some(Update::AllRefused)
            }
            Told::Refused { error } => Some(Update::Refused { error: error.to_string() }),
            Told::CommandDone { id, result } => {
                let ticket = self.commands.remove(&id)?;
                Some(Update::Answer { ticket, answer: result.map(done).map_err(|e| failure(&e)) })
            }
        }
    }
}

impl Link for Live {
    fn poll(&mut self) -> Vec<Update> {
        let told: Vec<Told> = self.inbox.try_iter().collect();
        told.into_iter().filter_map(|told| self.translate(told)).collect()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn retry(&mut self) {
        if self.refused {
            // A person asked, so polkit may ask the person.
            self.ask(self.request.view, true);
        } else {
            self.client.try_now();
        }
    }

    fn show_all(&mut self) {
        self.ask(View::All, true);
    }

    fn wish(&mut self, ticket: Ticket, wish: Wish) -> Result<(), &'static str> {
        let command = match wish {
            Wish::Block(draft) => Command::Add(draft),
            Wish::Unblock(id) => Command::Remove(id),
            Wish::Watch(draft) => Command::Watchlist(Change::Add { draft, is_system: false }),
            Wish::Change(entry, draft) => Command::Watchlist(Change::Set(entry.id, settings(&entry, draft))),
            Wish::Unwatch(id) => Command::Watchlist(Change::Remove(id)),
            Wish::Restore(entry) => Command::Watchlist(Change::Restore(*entry)),
            Wish::Switch(ids, on) => {
                let wanted = Settings { enabled: Some(on), ..Settings::default() };
                Command::Watchlist(Change::SetAll(ids, wanted))
            }
        };
        // A person asked, so polkit may ask the person.
        let id = self.client.command(command, true).ok_or(rule::BUSY)?;
        self.commands.insert(id, ticket);
        Ok(())
    }
}

/// What is to be different about an entry. What is as before is not said: of an entry that came with Sekhmet only the
/// readers may be.
fn settings(entry: &Entry, draft: EntryDraft) -> Settings {
    fn other<T: PartialEq>(new: T, old: &T) -> Option<T> {
        (new != *old).then_some(new)
    }
    Settings {
        label: other(draft.label_or_pattern(), &entry.label),
        pattern: other(draft.pattern, &entry.pattern),
        group: other(draft.group, &entry.group),
        severity: other(draft.severity, &entry.severity),
        expected: other(draft.expected, &entry.expected),
        enabled: None,
    }
}

fn done(outcome: Outcome) -> Done {
    match outcome {
        Outcome::Added(id) => Some(id),
        Outcome::Removed(_) | Outcome::Released(_) | Outcome::Entry(_) => None,
    }
}

/// Why a command was not done, as a sentence.
fn failure(error: &CommandError) -> String {
    match error {
        CommandError::NotAuthorized | CommandError::InteractionRequired => {
            rule::nothing_changed(rule::NOT_CONFIRMED)
        }
        // The text says how far it came.
        CommandError::Failed(text) => rule::failed(text),
        other => rule::nothing_changed(&other.to_string()),
    }
}

/// How long the window may wait before it shows this: figures change once a second, all else at once.
fn patience(told: &Told) -> Duration {
    let is_figures =
        |event: &Event| matches!(event, Event::Traffic { .. } | Event::Others { .. } | Event::Balance { .. });
    match told {
        Told::Events(events) if events.iter().all(is_figures) => {
            let into_second = Timestamp::now().0.rem_euclid(1_000_000_000);
            Duration::from_nanos(u64::try_from(1_050_000_000 - into_second).unwrap_or(0))
        }
        // What begins or ends is gathered for a moment: a storm of processes is not a storm of frames.
        Told::Events(_) => Duration::from_millis(200),
        _ => Duration::ZERO,
    }
}
