//! Where events come from: the helper, or a recorded log.

use std::{path::Path, time::Duration};

use sekhmet_common::{event::Event, time::Timestamp};

use crate::model::requests::{Done, Ticket, Wish};

mod live;
pub mod replay;

/// What a link tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The helper answered; events follow.
    Connected,
    /// Events, in their order.
    Events(Vec<Event>),
    /// There was a helper and it went away, or none was found.
    Lost {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Option<Duration>,
    },
    /// The helper answered and refused.
    Refused {
        /// What it said.
        error: String,
    },
    /// The programs of other users were asked for and may not be shown.
    AllRefused,
    /// What became of a wish.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// What was done, or why nothing was.
        answer: Result<Done, String>,
    },
    /// A recorded log is over.
    Ended,
}

/// A way to the events.
pub trait Link {
    /// What came since the last call. Never waits.
    fn poll(&mut self) -> Vec<Update>;

    /// The present of the events: the clock on the wall, or that of a log.
    fn now(&self) -> Timestamp;

    /// Whether events come from a log.
    fn is_replay(&self) -> bool {
        false
    }

    /// Tries at once to reach the helper.
    fn retry(&mut self) {}

    /// Asks for the programs of other users too, with a question to the person.
    fn show_all(&mut self) {}

    /// Asks the helper to change the rules. The answer comes as [`Update::Answer`].
    ///
    /// # Errors
    /// If there is nobody to ask: why.
    fn wish(&mut self, _ticket: Ticket, _wish: Wish) -> Result<(), &'static str> {
        Err(crate::text::rule::RECORDING)
    }
}

/// Opens a recorded log.
///
/// # Errors
/// If the file cannot be read or holds no event.
pub fn replay(path: &Path, start: Duration) -> Result<Box<dyn Link>, replay::ReplayError> {
    Ok(Box::new(replay::Replay::open(path, start)?))
}

/// Connects to the helper. The context is woken when there is something to see.
///
/// # Errors
/// If the thread of the connection cannot be started.
pub fn live(ctx: egui::Context) -> std::io::Result<Box<dyn Link>> {
    Ok(Box::new(live::Live::spawn(ctx)?))
}
